package gemm

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
)

// TestRoundAndWiden: rounding agrees with layout.RoundBF16 on numbers of every kind, and
// widening undoes it, at every level and for lengths about those of vectors.
func TestRoundAndWiden(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 9))
	for level, kern := range variants() {
		for _, n := range []int{1, 2, 15, 16, 17, 31, 32, 33, 64, 100, 1001} {
			x := make([]float32, n)
			for i := range x {
				bits := rng.Uint32()
				switch rng.IntN(4) {
				case 0:
					bits &= 0x807fffff // denormals
				case 1:
					bits |= 0x7f800000 // infinities and NaNs
				case 2:
					bits = bits&^0xffff | 0x8000 // ties
				}
				x[i] = math.Float32frombits(bits)
			}
			dst, back := make([]float32, (n+1)/2), make([]float32, n)
			kern.RoundBF16(dst, 0, x, 0, 1, n)
			h := make([]uint16, n)
			for i := range h {
				h[i] = uint16(words32(dst)[i/2] >> (16 * (i % 2)))
				if want := layout.RoundBF16(x[i]); h[i] != want {
					t.Fatalf("%s: %x rounds to %x, want %x", level, math.Float32bits(x[i]), h[i], want)
				}
			}
			if n%2 != 0 && words32(dst)[n/2]>>16 != 0 {
				t.Fatalf("%s: an odd end is not zero", level)
			}
			kern.WidenBF16(back, h)
			for i, v := range back {
				if math.Float32bits(v) != uint32(h[i])<<16 {
					t.Fatalf("%s: %x widens to %x", level, h[i], math.Float32bits(v))
				}
			}
		}
	}
}

// TestWidenRows: rows at any distance widen as one does, and nothing between them changes.
func TestWidenRows(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	for level, kern := range variants() {
		for _, n := range []int{0, 1, 2, 15, 16, 17, 32, 46, 64, 100} {
			for _, rows := range []int{0, 1, 3, 7} {
				const gap = -7
				dstStride, words := n+3, (n+1)/2+1
				x, dst := make([]float32, rows*words), make([]float32, rows*dstStride)
				for i := range x {
					words32(x)[i] = rng.Uint32()
				}
				for i := range dst {
					dst[i] = gap
				}
				kern.WidenRows(dst, dstStride, x, words, rows, n)
				for i, got := range dst {
					r, c := i/dstStride, i%dstStride
					want := uint32(0)
					if c < n {
						want = words32(x)[r*words+c/2] >> (16 * (c % 2)) << 16
					} else {
						want = math.Float32bits(gap)
					}
					if math.Float32bits(got) != want {
						t.Fatalf("%s: %d rows of %d: (%d, %d) is %#x, want %#x", level, rows, n, r, c, math.Float32bits(got), want)
					}
				}
			}
		}
	}
}
