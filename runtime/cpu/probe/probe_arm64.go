package probe

import (
	"unsafe"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
)

//go:generate go run ./gen

func fmaV(n int)
func sdotV(n int)
func smullV(n int)

//go:noescape
func readV(x unsafe.Pointer, n int)

// peakLoop is the loop for p and its operations per round.
func peakLoop(f isa.Features, p layout.Precision) (loop func(n int), ops float64) {
	switch {
	case p == layout.I8 && f.Dot:
		return sdotV, 16 * 32
	case p == layout.I8 && f.NEON:
		return smullV, 16 * 32
	case f.NEON:
		return fmaV, 16 * 8
	}
	return portablePeak, 8 * 2
}

func readLoop(f isa.Features) func(x unsafe.Pointer, n int) {
	if f.NEON {
		return readV
	}
	return portableRead
}
