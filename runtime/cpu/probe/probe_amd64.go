package probe

import (
	"unsafe"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
)

//go:generate go run ./gen

func fmaZ(n int)
func fmaY(n int)
func bf16Z(n int)
func i8Z(n int)

//go:noescape
func readZ(x unsafe.Pointer, n int)

//go:noescape
func readY(x unsafe.Pointer, n int)

// peakLoop is the loop for p and its operations per round.
func peakLoop(f isa.Features, p layout.Precision) (loop func(n int), ops float64) {
	switch {
	case p == layout.BF16 && f.BF16:
		return bf16Z, 12 * 64
	case p == layout.I8 && f.VNNI:
		return i8Z, 12 * 128
	case f.AVX512:
		return fmaZ, 12 * 32
	case f.AVX2:
		return fmaY, 12 * 16
	}
	return portablePeak, 8 * 2
}

func readLoop(f isa.Features) func(x unsafe.Pointer, n int) {
	switch {
	case f.AVX512:
		return readZ
	case f.AVX2:
		return readY
	}
	return portableRead
}
