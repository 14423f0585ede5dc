package rows

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
)

// each runs f for every variant this machine has and lengths that end in every way.
func each(t *testing.T, f func(t *testing.T, k *Kernels, n int, rng *rand.Rand)) {
	base, err := isa.FromEnv()
	if err != nil {
		t.Fatal(err)
	}
	for _, level := range isa.Levels() {
		feat, err := base.Cap(level)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(level, func(t *testing.T) {
			for _, n := range []int{0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 127, 384, 1001} {
				f(t, New(feat), n, rand.New(rand.NewPCG(uint64(n), 7)))
			}
		})
	}
}

// guarded returns n random floats between sentinels, and a check that they still stand.
func guarded(t *testing.T, rng *rand.Rand, n int) ([]float32, func()) {
	b := make([]float32, n+32)
	for i := range b {
		b[i] = float32(rng.NormFloat64())
	}
	lo, hi := append([]float32(nil), b[:16]...), append([]float32(nil), b[n+16:]...)
	return b[16 : n+16 : n+16], func() {
		t.Helper()
		for i := range 16 {
			if b[i] != lo[i] || b[n+16+i] != hi[i] {
				t.Fatalf("n=%d: wrote outside of the row", n)
			}
		}
	}
}

func near(t *testing.T, what string, n int, got float32, want, tol float64) {
	t.Helper()
	if !(math.Abs(float64(got)-want) <= tol) {
		t.Fatalf("%s, n=%d: %v, want %v", what, n, got, want)
	}
}

func TestRows(t *testing.T) {
	each(t, func(t *testing.T, k *Kernels, n int, rng *rand.Rand) {
		x, okX := guarded(t, rng, n)
		y, okY := guarded(t, rng, n)
		z, okZ := guarded(t, rng, n)
		dst, okD := guarded(t, rng, n)
		var sum, squares float64
		top := math.Inf(-1)
		for _, v := range x {
			sum += float64(v)
			squares += (float64(v) - 0.25) * (float64(v) - 0.25)
			top = max(top, float64(v))
		}
		near(t, "sum", n, k.Sum(x), sum, 1e-4)
		near(t, "squares", n, k.Squares(x, 0.25), squares, 1e-6*squares)
		if n > 0 {
			near(t, "max", n, k.Max(x, float32(math.Inf(-1))), top, 0)
		}
		near(t, "max under a floor", n, k.Max(x, 100), 100, 0)
		k.Add(dst, x, y)
		for i := range dst {
			near(t, "add", n, dst[i], float64(x[i]+y[i]), 0)
		}
		k.Affine(dst, x, 0.5, 2, y, z)
		for i := range dst {
			near(t, "affine", n, dst[i], (float64(x[i])-0.5)*2*float64(y[i])+float64(z[i]), 1e-5)
		}
		e := append([]float32(nil), x...)
		got := k.ExpSum(e, float32(top))
		var want float64
		for i := range e {
			p := math.Exp(float64(x[i] - float32(top))) // the difference is rounded first
			want += p
			near(t, "exp", n, e[i], p, 2.5e-7*p)
		}
		near(t, "sum of exp", n, got, want, 1e-5*want)
		words := (n+1)/2 + 1
		halves, tops, sums := make([]uint32, 3*words), []float32{float32(top), float32(top) + 1, float32(top) + 2}, make([]float32, 3)
		for r := range tops {
			halves[(r+1)*words-1] = 12345
		}
		k.ExpSumRows(halves, words, x, 0, n, tops, sums) // the same row three times
		for r := range tops {
			want := 0.0
			for i := range x {
				p := math.Exp(float64(x[i] - tops[r]))
				want += p
				h := halves[r*words+i/2] >> (i % 2 * 16) << 16
				near(t, "bf16 of exp", n, math.Float32frombits(h), p, p*(0x1p-8+1e-5))
			}
			near(t, "sum of exp for bf16", n, sums[r], want, 2e-5*want)
			if halves[(r+1)*words-1] != 12345 || n%2 == 1 && halves[r*words+n/2]>>16 != 0 {
				t.Fatalf("n=%d: bf16 of exp ends in %x", n, halves[n/2:])
			}
		}
		for _, add := range [][]float32{nil, append([]float32(nil), y...)} {
			one, rows := append([]float32(nil), x...), append(append(append([]float32(nil), x...), 7), x...)
			want := k.ScaleMax(one, 0.3, add, -9)
			tops := []float32{-9, 8}
			k.ScaleMaxRows(rows, n+1, n, 0.3, add, 0, tops)
			near(t, "top of rows", n, tops[0], float64(want), 0)
			near(t, "top under a floor", n, tops[1], float64(max(want, 8)), 0)
			for i := range one {
				near(t, "scaled", n, rows[i], float64(one[i]), 0)
				near(t, "scaled", n, rows[n+1+i], float64(one[i]), 0)
			}
			near(t, "between rows", n, rows[n], 7, 0)
		}
		if n > 0 {
			y := make([]float32, 3*n+4)
			k.ScaleRows(y, n+2, e, 0, []float32{2, -3, 0.5}, n)
			for r, f := range []float32{2, -3, 0.5} {
				for i := range n {
					if r*(n+2)+i < len(y) {
						near(t, "scaled row", n, y[r*(n+2)+i], float64(e[i]*f), 0)
					}
				}
			}
		}
		k.Scale(x, x, 0.5)
		okX()
		okY()
		okZ()
		okD()
	})
}

func TestSoftmaxOddRows(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	each(t, func(t *testing.T, k *Kernels, n int, rng *rand.Rand) {
		if n < 3 {
			return
		}
		for _, c := range []struct {
			name string
			at   float32
			rest float32
			want func(i int) float64
		}{
			{"one far above", 200, 0, func(i int) float64 {
				if i == n-1 {
					return 1
				}
				return 0
			}},
			{"all -inf", -inf, -inf, func(int) float64 { return math.NaN() }},
			{"one nan", nan, 1, func(int) float64 { return math.NaN() }},
			{"one inf", inf, 1, func(int) float64 { return math.NaN() }},
			{"one -inf", -inf, 1, func(i int) float64 {
				if i == n-1 {
					return 0
				}
				return 1 / float64(n-1)
			}},
		} {
			x := make([]float32, n)
			for i := range x {
				x[i] = c.rest
			}
			x[n-1] = c.at
			k.Softmax(x)
			for i, v := range x {
				w := c.want(i)
				if !(math.Abs(float64(v)-w) <= 1e-6) && !(w != w && v != v) {
					t.Fatalf("%s, n=%d: element %d is %v, want %v", c.name, n, i, v, w)
				}
			}
		}
	})
}
