package ffn

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
	"github.com/seed-c851cfd2/moec/runtime/cpu/pool"
)

// variants are the kernel sets that this machine can run, by level name.
func variants() map[string]*gemm.Kernels {
	all := map[string]*gemm.Kernels{}
	for _, name := range isa.Levels() {
		f, _ := isa.Detect().Cap(name)
		if f.String() == name {
			all[name] = gemm.New(f).ShareFrom(0) // small shapes too
		}
	}
	return all
}

var precisions = []layout.Precision{layout.F32, layout.BF16, layout.I8}

func floats(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = rng.Float32()*2 - 1
	}
	return x
}

func poison(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(math.NaN())
	}
	return x
}

func pack(t testing.TB, p layout.Precision, rng *rand.Rand, k, n int) *layout.Matrix {
	t.Helper()
	m, err := layout.Pack(p, layout.RowMajor(floats(rng, k*n), k, n))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// interval is a value and a bound on the error of computing it.
type interval struct{ v, e float64 }

// product is x*m column by column in float64 on the packed weights, with the
// error that f32 chains, and the precision's rounding of x, may add to that of x.
func product(k *gemm.Kernels, x []interval, m *layout.Matrix, bias []float32) []interval {
	return productFrom(k, x, m, 0, 0, bias)
}

// productFrom is product with the rows of m from first on, of an x that is quantised in a
// row whose largest magnitude is its own or top.
func productFrom(k *gemm.Kernels, x []interval, m *layout.Matrix, first int, top float64, bias []float32) []interval {
	y := make([]interval, m.N)
	rowMax := max(top, largest(x))
	for j := range y {
		mag, in, col := 0.0, 0.0, 0.0
		if bias != nil {
			y[j].v = float64(bias[j])
			mag = math.Abs(y[j].v)
		}
		for l, a := range x {
			w := float64(m.At(first+l, j))
			y[j].v += a.v * w
			mag += math.Abs(a.v * w)
			in += a.e * math.Abs(w)
			col += math.Abs(w)
		}
		y[j].e = in + float64(len(x)+6)*0x1p-24*(mag+in) + 1e-30
		switch {
		case m.Precision == layout.I8:
			y[j].e += rowMax / 255 * 1.001 * col // half a step of a range of 2*rowMax
		case m.Precision == layout.BF16 && k.Features().BF16:
			y[j].e += 0x1p-8 * (mag + in)
		}
	}
	return y
}

// largest is the largest magnitude of x.
func largest(x []interval) float64 {
	top := 0.0
	for _, a := range x {
		top = max(top, math.Abs(a.v)+a.e)
	}
	return top
}

// mlpRef is the output of an MLP without its bias for one row.
func mlpRef(k *gemm.Kernels, w *Weights, x []float32, gate float64) []interval {
	return productFrom(k, hiddenRef(k, w, x, gate), w.Down, w.First, 0, nil)
}

// hiddenRef is the hidden layer of an MLP for one row.
func hiddenRef(k *gemm.Kernels, w *Weights, x []float32, gate float64) []interval {
	in := make([]interval, len(x))
	for i, v := range x {
		in[i].v = float64(v)
	}
	apply := func(h []interval) {
		for i, a := range h {
			// The steepest activation has slope 1.13.
			h[i] = interval{w.Act.Exact(a.v), 1.13*a.e + 1e-6*max(1, math.Abs(a.v))}
		}
	}
	h := product(k, in, w.Up, w.UpBias)
	if w.Gate != nil {
		g := product(k, in, w.Gate, w.GateBias)
		apply(g)
		for i, a := range g {
			b := h[i]
			h[i] = interval{a.v * b.v, math.Abs(a.v)*b.e + math.Abs(b.v)*a.e + a.e*b.e + 1e-7*math.Abs(a.v*b.v)}
		}
	} else {
		apply(h)
	}
	for i := range h {
		h[i].v *= gate
		h[i].e = h[i].e*math.Abs(gate) + 2e-7*math.Abs(h[i].v)
	}
	return h
}

// threads are pools of 1, 2 and 8 threads, closed at the end of the test.
func threads(t testing.TB) []pool.Runner {
	var rs []pool.Runner
	for _, n := range []int{1, 2, 8} {
		p := pool.New(n)
		t.Cleanup(p.Close)
		rs = append(rs, p)
	}
	return rs
}

// sameBits fails if a and b differ in a bit.
func sameBits(t *testing.T, name string, a, b []float32) {
	t.Helper()
	for i, v := range a {
		if math.Float32bits(v) != math.Float32bits(b[i]) {
			t.Fatalf("%s: element %d is %v and %v", name, i, v, b[i])
		}
	}
}

// within fails if row is not the expected one plus start, to its bounds.
func within(t *testing.T, name string, row []float32, want []interval, begin func(j int) float64) {
	t.Helper()
	for j, w := range want {
		b := begin(j)
		tol := w.e + 4e-7*(math.Abs(b)+math.Abs(w.v))
		if d := math.Abs(float64(row[j]) - b - w.v); !(d <= tol) {
			t.Fatalf("%s: column %d = %v, want %v within %.3g", name, j, row[j], b+w.v, tol)
		}
	}
}

func randomWeights(t testing.TB, p layout.Precision, rng *rand.Rand, d, f, dv int, gated bool) Weights {
	w := Weights{Up: pack(t, p, rng, d, f), Down: pack(t, p, rng, f, dv), Act: act.Kind(rng.IntN(int(act.Tanh) + 1))}
	if gated {
		w.Gate = pack(t, p, rng, d, f)
	}
	if rng.IntN(2) == 0 {
		w.UpBias = floats(rng, f)
		if gated {
			w.GateBias = floats(rng, f)
		}
	}
	if rng.IntN(2) == 0 {
		w.DownBias = floats(rng, dv)
	}
	return w
}
