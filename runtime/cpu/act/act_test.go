package act

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
)

func variants() map[string]*Kernels {
	all := map[string]*Kernels{}
	for _, name := range isa.Levels()[:min(3, len(isa.Levels()))] {
		f, _ := isa.Detect().Cap(name)
		if f.String() == name {
			all[name] = New(f)
		}
	}
	return all
}

var kinds = []Kind{Identity, Relu, Gelu, GeluTanh, Silu, Sigmoid, Tanh, Relu6, HardSwish, QuickGelu, Relu2}

// limit is the documented bound.
func limit(k Kind, x float64) float64 {
	switch k {
	case Sigmoid:
		return 2e-7
	case Tanh:
		return 2e-7
	case Identity, Relu, Relu6:
		return 0
	case Relu2: // one rounding
		if x*x > math.MaxFloat32 {
			return math.Inf(1)
		}
		return 0x1.01p-24 * x * x
	}
	return 5e-7 * math.Max(1, math.Abs(x))
}

func TestAgainstFloat64(t *testing.T) {
	var xs []float32
	for x := -12.0; x <= 12; x += 0.00037 {
		xs = append(xs, float32(x))
	}
	for e := -149; e < 128; e++ {
		v := float32(math.Ldexp(1.37, e))
		xs = append(xs, v, -v)
	}
	xs = append(xs, 0, math.MaxFloat32, -math.MaxFloat32, 5.3, -5.3, 0.6, -0.6, 87, -87, 87.5, -88.5)
	for level, ks := range variants() {
		for _, k := range kinds {
			got := append([]float32(nil), xs...)
			ks.Apply(k, got, 1)
			worst, at := 0.0, float32(0)
			for i, x := range xs {
				want := k.Exact(float64(x))
				d := math.Abs(float64(got[i]) - want)
				if !(d <= limit(k, float64(x))+1e-44) {
					t.Fatalf("%s %v(%v) = %v, want %v", level, k, x, got[i], want)
				}
				if d > worst && math.Abs(float64(x)) <= 12 {
					worst, at = d, x
				}
				if k == Tanh && math.Abs(float64(x)) > 1e-30 && d > 3e-7*math.Abs(want) {
					t.Fatalf("%s tanh(%v) = %v: %.3g relative error", level, x, got[i], d/math.Abs(want))
				}
			}
			t.Logf("%s %v: worst error %.3g at %v", level, k, worst, at)
		}
	}
}

func TestNaNAndInfinity(t *testing.T) {
	inf := float32(math.Inf(1))
	for level, ks := range variants() {
		for _, k := range kinds {
			x := []float32{float32(math.NaN()), inf, 1}
			ks.Apply(k, x, 1)
			if x[0] == x[0] {
				t.Errorf("%s %v(NaN) = %v", level, k, x[0])
			}
			if want := float32(k.Exact(math.Inf(1))); x[1] != want {
				t.Errorf("%s %v(inf) = %v, want %v", level, k, x[1], want)
			}
			if x[2] != x[2] {
				t.Errorf("%s %v: a NaN spread", level, k)
			}
		}
	}
}

// Lengths around the vector width: the same bits wherever an element is, the gate
// applied, nothing written past the end.
func TestLengthsAndGate(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for level, ks := range variants() {
		for _, k := range kinds {
			one := make([]float32, 1)
			for n := range 40 {
				x := make([]float32, n+1)
				y := make([]float32, n+1)
				for i := range x {
					x[i], y[i] = rng.Float32()*8-4, rng.Float32()
				}
				got := append([]float32(nil), x...)
				ks.Apply(k, got[:n], 0.75)
				for i := range n {
					one[0] = x[i]
					ks.Apply(k, one, 1)
					if got[i] != one[0]*0.75 {
						t.Fatalf("%s %v n=%d: element %d is %v, alone %v", level, k, n, i, got[i], one[0]*0.75)
					}
				}
				sum, prod := append([]float32(nil), x...), append([]float32(nil), x...)
				ks.Add(sum[:n], y)
				ks.Mul(prod[:n], y)
				for i := range n {
					if sum[i] != x[i]+y[i] || prod[i] != x[i]*y[i] {
						t.Fatalf("%s n=%d: add or mul of element %d", level, n, i)
					}
				}
				if got[n] != x[n] || sum[n] != x[n] || prod[n] != x[n] {
					t.Fatalf("%s %v n=%d: wrote past the end", level, k, n)
				}
			}
		}
	}
}

func TestExpAndAxpy(t *testing.T) {
	for level, ks := range variants() {
		var x []float32
		for v := -87.2; v < 87.9; v += 0.00731 {
			x = append(x, float32(v))
		}
		x = append(x, -1000, 1000, float32(math.NaN()))
		got := append([]float32(nil), x...)
		ks.Exp(got)
		for i, v := range x {
			want := math.Exp(math.Max(float64(float32(-87.3)), math.Min(88, float64(v))))
			if d := math.Abs(float64(got[i]) - want); v == v && !(d <= 3e-7*want) || v != v && got[i] == got[i] {
				t.Fatalf("%s exp(%v) = %v, want %v", level, v, got[i], want)
			}
		}
		for n := range 35 {
			a, b := make([]float32, n+1), make([]float32, n+1)
			for i := range a {
				a[i], b[i] = float32(i), float32(i*i)
			}
			ks.Axpy(a[:n], 0.5, b[:n])
			for i := range n + 1 {
				want := float32(i)
				if i < n {
					want += float32(i*i) / 2
				}
				if a[i] != want {
					t.Fatalf("%s axpy n=%d: element %d = %v, want %v", level, n, i, a[i], want)
				}
			}
		}
	}
}

func TestParse(t *testing.T) {
	for _, k := range kinds {
		if got, err := Parse(k.String()); err != nil || got != k {
			t.Errorf("Parse(%q) = %v, %v", k.String(), got, err)
		}
	}
	if _, err := Parse("swish9"); err == nil {
		t.Error("unknown name accepted")
	}
}

func BenchmarkApply(b *testing.B) {
	for level, ks := range variants() {
		for _, k := range kinds {
			b.Run(level+"/"+k.String(), func(b *testing.B) {
				x := make([]float32, 1024)
				for range b.N {
					ks.Apply(k, x, 1)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1024, "ns/element")
			})
		}
	}
}
