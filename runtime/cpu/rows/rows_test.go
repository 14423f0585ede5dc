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
