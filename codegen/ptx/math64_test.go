package ptx

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

func packF64(v []float64) []byte {
	out := make([]byte, 8*len(v))
	for i, x := range v {
		binary.LittleEndian.PutUint64(out[8*i:], math.Float64bits(x))
	}
	return out
}

func unpackF64(b []byte) []float64 {
	out := make([]float64, len(b)/8)
	for i := range out {
		out[i] = math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:]))
	}
	return out
}

func gauss64(t testing.TB, n int) []float64 {
	r, out := seeded(t), make([]float64, n)
	for i := range out {
		out[i] = r.NormFloat64()
	}
	return out
}

// near64 fails when got differs from want by more than tol times max(1, |want|).
func near64(t testing.TB, what string, got, want []float64, tol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers, want %d", what, len(got), len(want))
	}
	for i, g := range got {
		w := want[i]
		if g == w || math.IsNaN(g) && math.IsNaN(w) {
			continue
		}
		if !(math.Abs(g-w) <= tol*math.Max(1, math.Abs(w))) {
			t.Fatalf("%s: element %d of %d is %.17g, want %.17g", what, i, len(got), g, w)
		}
	}
}

// TestFunctions64 sweeps the f64 functions of one argument against package math, special values among the arguments.
func TestFunctions64(t *testing.T) {
	sigmoid := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	softplus := func(x float64) float64 { return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }
	cases := []struct {
		fn     Fn
		c      []float64
		lo, hi float64
		want   func(float64) float64
		tol    float64 // relative to |want|
	}{
		{"exp", nil, -750, 712, math.Exp, 4e-16},
		{"exp", nil, -1, 1, math.Exp, 4e-16},
		{"log", nil, 0, 1e6, math.Log, 4e-16},
		{"log", nil, 0.9, 1.1, math.Log, 1e-15},
		{"log", nil, 0, 1e-307, func(x float64) float64 { return math.Log(x*0x1p60) - 60*math.Ln2 }, 4e-16}, // Go's is off for subnormal numbers
		{"log", nil, -1, -1e-9, math.Log, 0},
		{"sqrt", nil, 0, 1e6, math.Sqrt, 0},
		{"rsqrt", nil, 1e-6, 1e6, func(x float64) float64 { return 1 / math.Sqrt(x) }, 3e-16},
		{"reciprocal", nil, -9, 9, func(x float64) float64 { return 1 / x }, 0},
		{"tanh", nil, -25, 25, math.Tanh, 1e-15},
		{"tanh", nil, -0.7, 0.7, math.Tanh, 1e-15},
		{"erf", nil, -7, 7, math.Erf, 4e-15},
		{"erf", nil, -1e-3, 1e-3, math.Erf, 1e-15},
		{"sin", nil, -3, 3, math.Sin, 1e-15},
		{"cos", nil, -1.5, 1.5, math.Cos, 1e-15},
		{"sigmoid", nil, -700, 80, sigmoid, 1e-15},
		{"softplus", nil, -700, 60, softplus, 1e-15},
		{"softplus", nil, -2, 2, softplus, 1e-15},
		{"gelu", nil, -1, 8, func(x float64) float64 { return x / 2 * (1 + math.Erf(x/math.Sqrt2)) }, 3e-15},
		{"gelutanh", nil, -1, 8, func(x float64) float64 {
			return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
		}, 3e-15},
		{"silu", nil, -20, 20, func(x float64) float64 { return x * sigmoid(x) }, 1e-15},
		{"mish", nil, -20, 20, func(x float64) float64 { return x * math.Tanh(softplus(x)) }, 2e-15},
		{"relu", nil, -2, 2, func(x float64) float64 { return math.Max(x, 0) }, 0},
		{"square", nil, -9, 9, func(x float64) float64 { return x * x }, 0},
		{"neg", nil, -9, 9, func(x float64) float64 { return -x }, 0},
		{"abs", nil, -9, 9, math.Abs, 0},
		{"floor", nil, -9, 9, math.Floor, 0},
		{"ceil", nil, -9, 9, math.Ceil, 0},
		{"round", nil, -9, 9, math.RoundToEven, 0},
		{"softsign", nil, -9, 9, func(x float64) float64 { return x / (1 + math.Abs(x)) }, 3e-16},
		{"hardswish", nil, -2.9, 5, func(x float64) float64 { return x * math.Min(math.Max(x/6+.5, 0), 1) }, 1e-14},
		{"leakyrelu", []float64{.1}, -5, 5, func(x float64) float64 { return math.Max(x, .1*x) }, 0},
		{"elu", []float64{1.5}, -50, -1, func(x float64) float64 { return 1.5 * (math.Exp(x) - 1) }, 1e-15},
		{"hardsigmoid", []float64{.2, .5}, -2, 5, func(x float64) float64 { return math.Min(math.Max(.2*x+.5, 0), 1) }, 1e-15},
		{"clip", []float64{-1, 2}, -5, 5, func(x float64) float64 { return math.Min(math.Max(x, -1), 2) }, 0},
		{"affine", []float64{3, 1}, 0, 5, func(x float64) float64 { return 3*x + 1 }, 3e-16},
		{"powc", []float64{3}, -5, 5, func(x float64) float64 { return x * x * x }, 3e-16},
		{"powc", []float64{-.5}, .1, 50, func(x float64) float64 { return 1 / math.Sqrt(x) }, 3e-16},
		{"powc", []float64{1.7}, 0.01, 50, func(x float64) float64 { return math.Pow(x, 1.7) }, 4e-15},
		{"sign", nil, 1, 2, func(float64) float64 { return 1 }, 0},
	}
	const n = 301
	for _, c := range cases {
		t.Run(fmt.Sprint(c.fn, c.c, c.lo), func(t *testing.T) {
			x := make([]float64, n)
			for i := range x {
				x[i] = c.lo + (c.hi-c.lo)*float64(i)/(n-1)
			}
			x[n-2] = math.NaN()
			if c.fn == "exp" || c.fn == "log" || c.fn == "tanh" || c.fn == "erf" || c.fn == "sigmoid" || c.fn == "relu" {
				x[n-1], x[0] = math.Inf(1), math.Inf(-1)
			}
			var p Program
			p.In(tensor.F64)
			p.Out(p.DoC(c.fn, c.c, 0), tensor.F64)
			k, err := Elementwise{Shape: []Expr{N(n)}, Prog: p, Inputs: []View{{Strides: []Expr{N(1)}}}, Outputs: []View{{Strides: []Expr{N(1)}}}}.Kernel()
			op := single(t, k, err, map[string]Expr{"in0": N(n), "out0": N(n)})
			got := unpackF64(run(t, op, nil, map[string][]byte{"in0": packF64(x)})["out0"])
			for i, g := range got {
				w := c.want(x[i])
				if c.fn == "sign" && i == n-2 {
					w = math.NaN()
				}
				if g == w || math.IsNaN(g) && math.IsNaN(w) || math.Abs(g-w) < 5e-324*2 {
					continue
				}
				if d := math.Abs(g - w); !(d <= c.tol*math.Abs(w)) {
					t.Fatalf("%s(%g) = %.17g, want %.17g: off by %.3g of it", c.fn, x[i], g, w, d/math.Abs(w))
				}
			}
		})
	}
}

// TestPrograms64 runs what joins f64 with other kinds: conversions, comparisons, selection, powers of two tensors.
func TestPrograms64(t *testing.T) {
	n := Sym("n")
	var p Program
	a, b, f, m, o := p.In(tensor.F64), p.In(tensor.F64), p.In(tensor.F32), p.In(tensor.I64), p.In(tensor.Bool)
	sum := p.Do("add", p.Do("mul", a, p.Do("double", f)), p.Do("double", m))
	p.Out(p.Do("where", o, sum, p.DoC("constdouble", []float64{0.1})), tensor.F64)
	p.Out(p.Do("float", p.Do("div", a, b)), tensor.F32)
	p.Out(p.Do("int", p.Do("mul", a, p.DoC("constdouble", []float64{100}))), tensor.I64)
	p.Out(p.Do("and", p.Do("lt", a, b), p.Do("bool", a)), tensor.Bool)
	p.Out(p.Do("pow", p.Do("abs", a), b), tensor.F64)
	p.Out(p.Do("max", p.Do("min", a, b), p.Do("neg", b)), tensor.F64)
	p.Out(o, tensor.F64)
	flat := Contiguous([]Expr{n})
	views := func(k int) []View { return slices.Repeat([]View{flat}, k) }
	k, err := Elementwise{Shape: []Expr{n}, Inputs: views(5), Outputs: views(7), Prog: p}.Kernel()
	elems := map[string]Expr{}
	for i := range 5 {
		elems[fmt.Sprint("in", i)] = n
	}
	for i := range 7 {
		elems[fmt.Sprint("out", i)] = n
	}
	op := single(t, k, err, elems)
	for _, n := range []int{0, 1, 63, 300} {
		r := seeded(t)
		va, vb, vf, vm, vo := gauss64(t, n), gauss64(t, n), gauss(r, n), make([]int64, n), make([]byte, n)
		for i := range n {
			va[i] -= 0.3
			vm[i], vo[i] = int64(r.IntN(7))-3, byte(r.IntN(2))
		}
		if n > 2 {
			va[0], vb[1] = 0, math.NaN()
		}
		out := run(t, op, map[string]int64{"n": int64(n)}, map[string][]byte{
			"in0": packF64(va), "in1": packF64(vb), "in2": packAs(tensor.F32, vf), "in3": packI64(vm), "in4": vo,
		})
		want := make([][]float64, 7)
		for i := range n {
			sel := 0.1
			if vo[i] == 1 {
				sel = va[i]*float64(vf[i]) + float64(vm[i])
			}
			less := 0.0
			if va[i] < vb[i] && va[i] != 0 {
				less = 1
			}
			for j, w := range []float64{sel, float64(float32(va[i] / vb[i])), math.Trunc(va[i] * 100), less, math.Pow(math.Abs(va[i]), vb[i]), max(min(va[i], vb[i]), -vb[i]), float64(vo[i])} {
				want[j] = append(want[j], w)
			}
		}
		got := [][]float64{unpackF64(out["out0"]), nil, nil, nil, unpackF64(out["out4"]), unpackF64(out["out5"]), unpackF64(out["out6"])}
		for _, x := range unpack(tensor.F32, out["out1"]) {
			got[1] = append(got[1], float64(x))
		}
		for _, x := range unpackI64(out["out2"]) {
			got[2] = append(got[2], float64(x))
		}
		for _, x := range out["out3"] {
			got[3] = append(got[3], float64(x))
		}
		for j := range want {
			near64(t, fmt.Sprintf("output %d of %d", j, n), got[j], want[j], map[int]float64{4: 1e-14}[j])
		}
	}
}

// TestGemm64 compares the f64 product with loops, in the same order and so to the bit, batches repeated and transposed.
func TestGemm64(t *testing.T) {
	for _, c := range [][4]int{{0, 3, 5, 2}, {1, 1, 1, 1}, {3, 7, 9, 2}, {5, 33, 0, 1}, {2, 17, 40, 3}} {
		m, n, k, batch := c[0], c[1], c[2], c[3]
		M, NN, K, B := Sym("m"), Sym("n"), Sym("k"), Sym("b")
		g := Gemm{
			Batch: []Expr{B}, M: M, N: NN, K: K,
			A:     Matrix{DType: tensor.F64, Row: K, Col: N(1), Batch: []Expr{M.Mul(K)}},
			B:     Matrix{DType: tensor.F64, Row: N(1), Col: K, Batch: []Expr{N(0)}}, // transposed, one for all
			C:     Matrix{DType: tensor.F64, Row: NN, Col: N(1), Batch: []Expr{M.Mul(NN)}},
			Extra: []Matrix{{Row: N(0), Col: N(1), Batch: []Expr{N(0)}}},
		}
		g.Epilogue.In(tensor.F64)
		g.Epilogue.In(tensor.F64)
		g.Epilogue.Out(g.Epilogue.Do("relu", g.Epilogue.Do("add", 0, 1)), tensor.F64)
		kern, err := g.Kernel()
		op := single(t, kern, err, map[string]Expr{"a": B.Mul(M).Mul(K), "b": NN.Mul(K), "extra1": NN, "c": B.Mul(M).Mul(NN)})
		a, w, bias := gauss64(t, batch*m*k), gauss64(t, n*k), gauss64(t, n)
		dims := map[string]int64{"m": int64(m), "n": int64(n), "k": int64(k), "b": int64(batch)}
		got := unpackF64(run(t, op, dims, map[string][]byte{"a": packF64(a), "b": packF64(w), "extra1": packF64(bias)})["c"])
		var want []float64
		for row := range batch * m {
			for col := range n {
				acc := 0.0
				for i := range k {
					acc = math.FMA(a[row*k+i], w[col*k+i], acc)
				}
				want = append(want, max(acc+bias[col], 0))
			}
		}
		near64(t, fmt.Sprint(c), got, want, 0)
	}
}
