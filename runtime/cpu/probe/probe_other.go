//go:build !amd64 && !arm64

package probe

import (
	"unsafe"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
)

// peakLoop is the loop for p and its operations per round.
func peakLoop(isa.Features, layout.Precision) (loop func(n int), ops float64) {
	return portablePeak, 8 * 2
}

func readLoop(isa.Features) func(x unsafe.Pointer, n int) { return portableRead }
