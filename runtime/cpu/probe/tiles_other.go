//go:build !amd64

package probe

import (
	"time"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
)

// LoadedTiles is zero: there are no tile registers.
func LoadedTiles(isa.Features, layout.Precision, bool, time.Duration) Rate { return Rate{} }
