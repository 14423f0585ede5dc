package gemm

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
)

// Integers are exact, and so every variant gives the bits of the portable kernels: where
// sums start from zero, what follows rounds the same way.
func TestInt8IntegersAreExact(t *testing.T) {
	plain := New(isa.Features{})
	for level, kern := range variants() {
		rng := rand.New(rand.NewPCG(21, 22))
		for _, s := range [][3]int{{1, 1, 1}, {5, 7, 17}, {6, 64, 32}, {13, 70, 49}, {9, 1031, 40}, {4, 3, 16}} {
			m, k, n := s[0], s[1], s[2]
			w := floats(rng, k*n)
			for i := range k { // columns at the ends of the range
				w[i*n], w[i*n+n/2] = -1, 1
			}
			b, err := layout.Pack(layout.I8, layout.RowMajor(w, k, n))
			if err != nil {
				t.Fatal(err)
			}
			x := Rows{Data: floats(rng, m*k), Stride: k}
			for i := range k { // the ends of the range in one row, one side of it in another
				x.Data[i] = float32(1 - 2*(i/2%2))
				x.Data[(m-1)*k+i] = 1
			}
			run := func(kern *Kernels) []float32 {
				c := make([]float32, m*n)
				a := kern.Prepare(layout.I8, x, m, k, nil, make([]float32, kern.OperandLen(layout.I8, m, k)))
				kern.Run(&Block{A: a, M: m, B: b, N1: n, K1: k, C: Rows{Data: c, Stride: n}})
				return c
			}
			want := run(plain)
			for i, v := range run(kern) {
				if math.Float32bits(v) != math.Float32bits(want[i]) {
					t.Fatalf("%s %v: element %d is %v, want %v", level, s, i, v, want[i])
				}
			}
		}
	}
}

// Rows are quantised to the same bytes by every variant.
func TestQuantizeRowBytes(t *testing.T) {
	plain := New(isa.Features{})
	for level, kern := range variants() {
		rng := rand.New(rand.NewPCG(23, 24))
		for n := 1; n < 70; n++ {
			x := floats(rng, n)
			for i := range x {
				if i%3 == 0 {
					x[i] = float32(math.Round(float64(x[i])*8)) / 8 // halves of a step among them
				}
			}
			got, want := make([]uint32, (n+3)/4), make([]uint32, (n+3)/4)
			gs, gz := kern.quantize(got, x)
			ws, wz := plain.quantize(want, x)
			if gs != ws || gz != wz {
				t.Fatalf("%s n=%d: scale %v and zero %x, want %v and %x", level, n, gs, gz, ws, wz)
			}
			for i := range x {
				if g, w := got[i/4]>>(i%4*8)&255, want[i/4]>>(i%4*8)&255; g != w {
					t.Fatalf("%s n=%d: byte %d is %d, want %d", level, n, i, g, w)
				}
			}
			for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
				x[rng.IntN(n)] = float32(bad)
				if s, _ := kern.quantize(got, x); s == s {
					t.Fatalf("%s n=%d: scale %v of a row with %v", level, n, s, bad)
				}
			}
		}
	}
}
