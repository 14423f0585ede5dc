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
func bf16T(n int, cfg *[64]byte)

//go:noescape
func i8T(n int, cfg *[64]byte)

// wholeTiles shapes all eight tiles as 16 rows of 64 bytes.
func wholeTiles() *[64]byte {
	cfg := &[64]byte{0: 1}
	for t := range 8 {
		cfg[16+2*t], cfg[48+t] = 64, 16
	}
	return cfg
}

//go:noescape
func readZ(x unsafe.Pointer, n int)

//go:noescape
func readY(x unsafe.Pointer, n int)

// peakLoop is the loop for p and its operations per round.
func peakLoop(f isa.Features, p layout.Precision) (loop func(n int), ops float64) {
	cfg, tiles := wholeTiles(), f.AMX && !isa.TilesEmulated
	switch {
	case p == layout.BF16 && tiles:
		return func(n int) { bf16T(n, cfg) }, 4 * 2 * 16 * 16 * 32
	case p == layout.I8 && tiles:
		return func(n int) { i8T(n, cfg) }, 4 * 2 * 16 * 16 * 64
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
