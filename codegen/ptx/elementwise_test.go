package ptx

import (
	"fmt"
	"math"
	"testing"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// TestFunctions sweeps every float function of one argument against math in float64.
func TestFunctions(t *testing.T) {
	sq := func(x float64) float64 { return x * x }
	sigmoid := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	gelu := func(x float64) float64 { return x / 2 * (1 + math.Erf(x/math.Sqrt2)) }
	cases := []struct {
		fn   Fn
		c    []float64
		lo   float64
		hi   float64
		want func(float64) float64
		tol  float64 // relative to max(|want|, 1e-3)
	}{
		{"exp", nil, -87, 88, math.Exp, 4e-7},
		{"log", nil, 1e-30, 1e6, math.Log, 3e-7},
		{"sqrt", nil, 0, 1e6, math.Sqrt, 1e-7},
		{"rsqrt", nil, 1e-6, 1e6, func(x float64) float64 { return 1 / math.Sqrt(x) }, 2e-7},
		{"reciprocal", nil, -9, 9, func(x float64) float64 { return 1 / x }, 1e-7},
		{"tanh", nil, -10, 10, math.Tanh, 3e-7},
		{"tanh", nil, -1e-3, 1e-3, math.Tanh, 3e-7},
		{"erf", nil, -5, 5, math.Erf, 4e-7},
		{"sin", nil, -2000, 2000, math.Sin, 2e-4}, // relative to 1e-3 near the zeros: 2e-7 absolute
		{"cos", nil, -2000, 2000, math.Cos, 2e-4},
		{"sigmoid", nil, -80, 80, sigmoid, 4e-7},
		{"softplus", nil, -30, 60, func(x float64) float64 { return math.Log1p(math.Exp(x)) }, 2e-4},
		{"gelu", nil, -8, 8, gelu, 2e-4},
		{"gelutanh", nil, -8, 8, func(x float64) float64 {
			return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
		}, 2e-4},
		{"silu", nil, -20, 20, func(x float64) float64 { return x * sigmoid(x) }, 1e-6},
		{"mish", nil, -20, 20, func(x float64) float64 { return x * math.Tanh(math.Log1p(math.Exp(x))) }, 2e-4},
		{"relu", nil, -2, 2, func(x float64) float64 { return math.Max(x, 0) }, 0},
		{"square", nil, -9, 9, sq, 1e-7},
		{"neg", nil, -9, 9, func(x float64) float64 { return -x }, 0},
		{"abs", nil, -9, 9, math.Abs, 0},
		{"sign", nil, -2, 2, func(x float64) float64 {
			if x == 0 {
				return 0
			}
			return math.Copysign(1, x)
		}, 0},
		{"floor", nil, -9, 9, math.Floor, 0},
		{"ceil", nil, -9, 9, math.Ceil, 0},
		{"round", nil, -9, 9, math.RoundToEven, 0},
		{"softsign", nil, -9, 9, func(x float64) float64 { return x / (1 + math.Abs(x)) }, 2e-7},
		{"hardswish", nil, -5, 5, func(x float64) float64 { return x * math.Min(math.Max(x/6+.5, 0), 1) }, 3e-4},
		{"leakyrelu", []float64{.1}, -5, 5, func(x float64) float64 { return math.Max(x, .1*x) }, 1e-6},
		{"elu", []float64{1.5}, -5, 5, func(x float64) float64 {
			if x < 0 {
				return 1.5 * (math.Exp(x) - 1)
			}
			return x
		}, 2e-4},
		{"hardsigmoid", []float64{.2, .5}, -5, 5, func(x float64) float64 { return math.Min(math.Max(.2*x+.5, 0), 1) }, 2e-4},
		{"clip", []float64{-1, 2}, -5, 5, func(x float64) float64 { return math.Min(math.Max(x, -1), 2) }, 0},
		{"affine", []float64{3, 1}, -5, 5, func(x float64) float64 { return 3*x + 1 }, 1e-3},
		{"f16", nil, -70000, 70000, func(x float64) float64 { return float64(tensor.ToFloat16(float32(x)).Float32()) }, 0},
		{"bf16", nil, -9, 9, func(x float64) float64 { return float64(tensor.ToBFloat16(float32(x)).Float32()) }, 0},
		{"powc", []float64{3}, -5, 5, func(x float64) float64 { return x * x * x }, 2e-7},
		{"powc", []float64{-.5}, .1, 50, func(x float64) float64 { return 1 / math.Sqrt(x) }, 2e-7},
		{"powc", []float64{1.7}, 0.01, 50, func(x float64) float64 { return math.Pow(x, 1.7) }, 2e-6},
	}
	const n = 1000
	for _, c := range cases {
		t.Run(fmt.Sprint(c.fn, c.c), func(t *testing.T) {
			x := make([]float32, n)
			for i := range x {
				x[i] = float32(c.lo + (c.hi-c.lo)*float64(i)/(n-1))
			}
			var p Program
			p.In(tensor.F32)
			p.Out(p.DoC(c.fn, c.c, 0), tensor.F32)
			k, err := Elementwise{Shape: []Expr{N(n)}, Prog: p, Inputs: []View{{Strides: []Expr{N(1)}}}, Outputs: []View{{Strides: []Expr{N(1)}}}}.Kernel()
			op := single(t, k, err, map[string]Expr{"in0": N(n), "out0": N(n)})
			got := unpack(tensor.F32, run(t, op, nil, map[string][]byte{"in0": packAs(tensor.F32, x)})["out0"])
			for i, g := range got {
				w := c.want(float64(x[i]))
				if d := math.Abs(float64(g) - w); float64(g) != w && !(d <= c.tol*math.Max(math.Abs(w), 1e-3)) {
					t.Fatalf("%s(%g) = %g, want %g", c.fn, x[i], g, w)
				}
			}
		})
	}
}

// TestElementwiseBroadcast runs a mixed chain with every kind of stride over sizes that include 0 and 1.
func TestElementwiseBroadcast(t *testing.T) {
	// out[i,j,k] = bf16(where(m[j,k] < lim, a[i,j,k]*b[k] + c[i,0,k], d[k,i,j])), d walked permuted
	b, s, h := Sym("batch"), N(3), Sym("h")
	shape := []Expr{b, s, h}
	for _, dims := range []map[string]int64{{"batch": 0, "h": 5}, {"batch": 1, "h": 1}, {"batch": 2, "h": 7}, {"batch": 5, "h": 64}} {
		t.Run(fmt.Sprint(dims), func(t *testing.T) {
			var p Program
			a, bb, c, d, m := p.In(tensor.F32), p.In(tensor.F16), p.In(tensor.BF16), p.In(tensor.F32), p.In(tensor.I64)
			lim := p.DoC("constint", []float64{2})
			sum := p.Do("add", p.Do("mul", a, bb), c)
			p.Out(p.Do("where", p.Do("lt", m, lim), sum, d), tensor.BF16)
			p.Out(p.Do("eq", m, lim), tensor.Bool)
			in := []View{
				Contiguous(shape),
				{Strides: []Expr{N(0), N(0), N(1)}},
				{Strides: []Expr{h, N(0), N(1)}},
				{Strides: []Expr{N(3), N(1), b.MulN(3)}},
				{Strides: []Expr{N(0), h, N(1)}},
			}
			k, err := Elementwise{Shape: shape, Inputs: in, Outputs: []View{Contiguous(shape), Contiguous(shape)}, Prog: p}.Kernel()
			all := Elems(shape)
			op := single(t, k, err, map[string]Expr{"in0": all, "in1": h, "in2": b.Mul(h), "in3": all, "in4": h.MulN(3), "out0": all, "out1": all})
			r := seeded(t)
			B, S, H := int(dims["batch"]), 3, int(dims["h"])
			va, vb, vc, vd := gauss(r, B*S*H), rounded(tensor.F16, gauss(r, H)), rounded(tensor.BF16, gauss(r, B*H)), gauss(r, B*S*H)
			vm := make([]int64, S*H)
			for i := range vm {
				vm[i] = int64(r.IntN(5)) - 1
			}
			out := run(t, op, dims, map[string][]byte{
				"in0": packAs(tensor.F32, va), "in1": packAs(tensor.F16, vb), "in2": packAs(tensor.BF16, vc),
				"in3": packAs(tensor.F32, vd), "in4": packI64(vm),
			})
			got := unpack(tensor.BF16, out["out0"])
			for i := range B {
				for j := range S {
					for l := range H {
						w := vd[l*B*3+i*3+j]
						if vm[j*H+l] < 2 {
							w = va[(i*S+j)*H+l]*vb[l] + vc[i*H+l]
						}
						at := (i*S+j)*H + l
						if g := got[at]; math.Abs(float64(g-w)) > math.Abs(float64(w))/200+1e-6 {
							t.Fatalf("[%d %d %d] = %g, want %g", i, j, l, g, w)
						}
						if (out["out1"][at] == 1) != (vm[j*H+l] == 2) {
							t.Fatalf("[%d %d %d]: equality is wrong", i, j, l)
						}
					}
				}
			}
		})
	}
}
