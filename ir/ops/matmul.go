package ops

import "github.com/seed-c851cfd2/moec/ir"

func matmulOps() []*ir.Op { return nil }
