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

// TestReducePlain folds f64 and integers along the middle axis, and the logarithm of the sum of exponentials in f32.
func TestReducePlain(t *testing.T) {
	const outer, inner = 3, 5
	f64s := map[string]func(v []float64) float64{
		"sum": func(v []float64) (s float64) { return foldOf(v, 0, func(a, x float64) float64 { return a + x }) },
		"mean": func(v []float64) float64 {
			return foldOf(v, 0, func(a, x float64) float64 { return a + x }) / float64(len(v))
		},
		"max": func(v []float64) float64 {
			return foldOf(v, math.Inf(-1), func(a, x float64) float64 { return max(a, x) })
		},
		"min": func(v []float64) float64 {
			return foldOf(v, math.Inf(1), func(a, x float64) float64 { return min(a, x) })
		},
		"prod": func(v []float64) float64 { return foldOf(v, 1, func(a, x float64) float64 { return a * x }) },
		"l1":   func(v []float64) float64 { return foldOf(v, 0, func(a, x float64) float64 { return a + math.Abs(x) }) },
		"l2": func(v []float64) float64 {
			return math.Sqrt(foldOf(v, 0, func(a, x float64) float64 { return a + x*x }))
		},
		"sumsquare": func(v []float64) float64 { return foldOf(v, 0, func(a, x float64) float64 { return a + x*x }) },
		"logsum":    func(v []float64) float64 { return math.Log(foldOf(v, 0, func(a, x float64) float64 { return a + x })) },
		"logsumexp": func(v []float64) float64 {
			top := foldOf(v, math.Inf(-1), func(a, x float64) float64 { return max(a, x) })
			if math.IsInf(top, 0) {
				return top
			}
			return top + math.Log(foldOf(v, 0, func(a, x float64) float64 { return a + math.Exp(x-top) }))
		},
		"argmax": func(v []float64) float64 { return float64(slices.Index(v, slices.Max(v))) },
		"argmin": func(v []float64) float64 { return float64(slices.Index(v, slices.Min(v))) },
	}
	for what, fold := range f64s {
		for _, dt := range []tensor.DType{tensor.F64, tensor.I64, tensor.I32, tensor.F32} {
			for _, d := range []int{0, 1, 7, 70} {
				float := dt == tensor.F64 || dt == tensor.F32
				if !float && (what == "l2" || what == "logsum" || what == "logsumexp") || d == 0 && (what[0] == 'a' || what[0] == 'm') || dt == tensor.F32 && what != "logsumexp" {
					continue
				}
				for _, along := range []bool{true, false} { // the axis lies innermost, or not
					t.Run(fmt.Sprint(what, dt, d, along), func(t *testing.T) {
						D := Sym("d")
						s := Reduce{Kind: what, Outer: []Expr{N(outer), N(inner)}, Inner: []Expr{D}, DType: dt}
						s.In.Strides = []Expr{D.MulN(inner), N(1), N(inner)}
						if along {
							s.In.Strides = []Expr{D.MulN(inner), D, N(1)}
						}
						k, err := s.Kernel()
						op := single(t, k, err, map[string]Expr{"x": D.MulN(outer * inner), "y": N(outer * inner)})
						x := gauss64(t, outer*inner*d)
						for i := range x {
							x[i] *= 3
							if !float {
								x[i] = math.Round(x[i])
							}
							if dt == tensor.F32 {
								x[i] = float64(float32(x[i]))
							}
							if what == "logsum" {
								x[i] = math.Abs(x[i])
							}
						}
						if what == "logsumexp" && d > 1 {
							x[0] = math.Inf(1)
							for i := range d { // one result sums nothing but zeros
								at := 1 + i*inner
								if along {
									at = d + i
								}
								x[at] = math.Inf(-1)
							}
						}
						in := packF64(x)
						switch dt {
						case tensor.F32:
							var v []float32
							for _, e := range x {
								v = append(v, float32(e))
							}
							in = packAs(dt, v)
						case tensor.I64, tensor.I32:
							in = nil
							for _, e := range x {
								in = append(in, packI64([]int64{int64(e)})[:dt.Size()]...)
							}
						}
						out := run(t, op, map[string]int64{"d": int64(d)}, map[string][]byte{"x": in})["y"]
						var got, want []float64
						for i := range outer * inner {
							switch {
							case what[0] == 'a' || dt == tensor.I64:
								got = append(got, float64(unpackI64(out)[i]))
							case dt == tensor.I32:
								got = append(got, float64(int32(unpackU32(out)[i])))
							case dt == tensor.F32:
								got = append(got, float64(unpack(dt, out)[i]))
							default:
								got = append(got, unpackF64(out)[i])
							}
							var line []float64
							for j := range d {
								if along {
									line = append(line, x[i*d+j])
								} else {
									line = append(line, x[(i/inner*d+j)*inner+i%inner])
								}
							}
							w := fold(line)
							if !float && what == "mean" {
								w = math.Trunc(w)
							}
							if dt == tensor.I32 && what == "prod" {
								p := int32(1)
								for _, e := range line {
									p *= int32(e)
								}
								w = float64(p)
							} else if dt == tensor.I64 && what == "prod" {
								p := int64(1)
								for _, e := range line {
									p *= int64(e)
								}
								w = float64(p)
							}
							want = append(want, w)
						}
						tol := 1e-14
						if dt == tensor.F32 {
							tol = 1e-6
						}
						near64(t, what, got, want, tol)
					})
				}
			}
		}
	}
}

func foldOf(v []float64, acc float64, f func(a, x float64) float64) float64 {
	for _, x := range v {
		acc = f(acc, x)
	}
	return acc
}

// TestRows64 holds softmax, its logarithm and both norms in f64 to the formulas.
func TestRows64(t *testing.T) {
	for _, size := range [][3]int{{0, 3, 1}, {1, 1, 1}, {3, 7, 1}, {2, 40, 3}, {9, 33, 1}} {
		outer, d, inner := size[0], size[1], size[2]
		all := Sym("o").Mul(Sym("d")).Mul(Sym("i"))
		dims := map[string]int64{"o": int64(outer), "d": int64(d), "i": int64(inner)}
		x := gauss64(t, outer*d*inner)
		for _, log := range []bool{false, true} {
			k, err := Softmax{Outer: Sym("o"), D: Sym("d"), Inner: Sym("i"), DType: tensor.F64, Log: log}.Kernel()
			op := single(t, k, err, map[string]Expr{"x": all, "y": all})
			got := unpackF64(run(t, op, dims, map[string][]byte{"x": packF64(x)})["y"])
			want := make([]float64, len(x))
			for o := range outer {
				for i := range inner {
					sum := 0.0
					for j := range d {
						sum += math.Exp(x[(o*d+j)*inner+i])
					}
					for j := range d {
						at := (o*d+j)*inner + i
						if want[at] = math.Exp(x[at]) / sum; log {
							want[at] = x[at] - math.Log(sum)
						}
					}
				}
			}
			near64(t, fmt.Sprint("softmax", size, log), got, want, 2e-15)
		}
		if inner != 1 {
			continue
		}
		for _, rms := range []bool{false, true} {
			k, err := Norm{Rows: Sym("o"), D: Sym("d"), DType: tensor.F64, Scale: tensor.F64, RMS: rms, Beta: !rms, Residual: true, Sum: true, Eps: 1e-3}.Kernel()
			elems := map[string]Expr{"x": all, "residual": all, "gamma": Sym("d"), "y": all, "sum": all}
			in := map[string][]byte{"x": packF64(x), "residual": packF64(x), "gamma": packF64(gauss64(t, d))}
			gamma, beta := gauss64(t, d), make([]float64, d)
			if !rms {
				elems["beta"], beta = Sym("d"), gauss64(t, d)
				in["beta"] = packF64(beta)
			}
			out := run(t, single(t, k, err, elems), dims, in)
			want, sums := make([]float64, len(x)), make([]float64, len(x))
			for o := range outer {
				row, mean, square := sums[o*d:(o+1)*d], 0.0, 0.0
				for j := range row {
					row[j] = 2 * x[o*d+j]
					mean += row[j] / float64(d)
				}
				if rms {
					mean = 0
				}
				for _, v := range row {
					square += (v - mean) * (v - mean) / float64(d)
				}
				for j, v := range row {
					want[o*d+j] = (v-mean)/math.Sqrt(square+float64(float32(1e-3)))*gamma[j] + beta[j]
				}
			}
			near64(t, fmt.Sprint("norm", size, rms), unpackF64(out["y"]), want, 1e-13)
			near64(t, fmt.Sprint("sum", size, rms), unpackF64(out["sum"]), sums, 0)
		}
	}
}

// TestRank compares with a stable sort: several types, both orders, ties, NaN, K from 0 to all, axes inside.
func TestRank(t *testing.T) {
	for _, dt := range []tensor.DType{tensor.F64, tensor.F32, tensor.I64} {
		for _, c := range [][4]int{{2, 0, 3, 0}, {1, 1, 1, 1}, {3, 7, 1, 7}, {2, 40, 5, 3}, {0, 4, 2, 1}, {1, 300, 1, 20}} {
			for _, smallest := range []bool{false, true} {
				outer, d, inner, k := c[0], c[1], c[2], c[3]
				O, D, I, K := Sym("o"), Sym("d"), Sym("i"), Sym("k")
				kern, err := Rank{Outer: O, D: D, Inner: I, K: K, DType: dt, Smallest: smallest}.Kernel()
				few := O.Mul(K).Mul(I)
				op := single(t, kern, err, map[string]Expr{"x": O.Mul(D).Mul(I), "values": few, "indices": few})
				x := gauss64(t, outer*d*inner)
				for i := range x {
					if x[i] = math.Round(x[i] * 3); i%11 == 5 && dt != tensor.I64 {
						x[i] = math.NaN()
					}
				}
				var in []byte
				switch dt {
				case tensor.F64:
					in = packF64(x)
				case tensor.I64:
					for _, v := range x {
						in = append(in, packI64([]int64{int64(v)})...)
					}
				default:
					for _, v := range x {
						in = append(in, packAs(dt, []float32{float32(v)})...)
					}
				}
				dims := map[string]int64{"o": int64(outer), "d": int64(d), "i": int64(inner), "k": int64(k)}
				out := run(t, op, dims, map[string][]byte{"x": in})
				indices, values := unpackI64(out["indices"]), []float64(nil)
				switch dt {
				case tensor.F64:
					values = unpackF64(out["values"])
				case tensor.I64:
					for _, v := range unpackI64(out["values"]) {
						values = append(values, float64(v))
					}
				default:
					for _, v := range unpack(dt, out["values"]) {
						values = append(values, float64(v))
					}
				}
				for o := range outer {
					for i := range inner {
						order := make([]int, d)
						for j := range order {
							order[j] = j
						}
						at := func(j int) float64 { return x[(o*d+j)*inner+i] }
						key := func(j int) float64 {
							if v := at(j); v == v {
								return v
							}
							return math.Inf(1)
						}
						slices.SortStableFunc(order, func(p, q int) int {
							if !smallest {
								p, q = q, p
							}
							switch a, b := key(p), key(q); {
							case a < b:
								return -1
							case a > b:
								return 1
							}
							return 0
						})
						for j, p := range order[:k] {
							place := (o*k+j)*inner + i
							if v := values[place]; indices[place] != int64(p) || v != at(p) && v == v {
								t.Fatalf("%s %v smallest %t: place %d is %g at %d, want %g at %d", dt, c, smallest, place, v, indices[place], at(p), p)
							}
						}
					}
				}
			}
		}
	}
}

// TestScatter compares with the definition: repeated and negative indices, an axis in the middle, updates that cover
// less than the data, all reductions.
func TestScatter(t *testing.T) {
	for _, reduce := range []string{"none", "add", "mul", "min", "max"} {
		for _, dt := range []tensor.DType{tensor.F64, tensor.F32, tensor.I64} {
			for _, c := range [][2][3]int{{{2, 5, 3}, {2, 4, 3}}, {{1, 1, 1}, {1, 1, 1}}, {{3, 40, 2}, {2, 9, 1}}, {{2, 3, 4}, {2, 0, 4}}, {{0, 2, 2}, {0, 2, 2}}} {
				shape, count := c[0], c[1]
				dims, S, C := map[string]int64{}, make([]Expr, 3), make([]Expr, 3)
				for i := range 3 {
					S[i], C[i] = Sym(fmt.Sprint("s", i)), Sym(fmt.Sprint("c", i))
					dims[fmt.Sprint("s", i)], dims[fmt.Sprint("c", i)] = int64(shape[i]), int64(count[i])
				}
				k, err := Scatter{Shape: S, Count: C, Axis: 1, DType: dt, Index: tensor.I64, Reduce: reduce}.Kernel()
				op := single(t, k, err, map[string]Expr{"data": Elems(S), "y": Elems(S), "index": Elems(C), "updates": Elems(C)})
				r := seeded(t)
				n, m := shape[0]*shape[1]*shape[2], count[0]*count[1]*count[2]
				data, updates, index := gauss64(t, n), gauss64(t, m), make([]int64, m)
				for i := range data {
					data[i] = math.Round(data[i] * 4)
				}
				for i := range updates {
					updates[i], index[i] = math.Round(updates[i]*4), int64(r.IntN(2*shape[1])-shape[1])
				}
				pack := func(v []float64) []byte {
					if dt == tensor.F64 {
						return packF64(v)
					}
					var out []byte
					for _, x := range v {
						if dt == tensor.I64 {
							out = append(out, packI64([]int64{int64(x)})...)
						} else {
							out = append(out, packAs(dt, []float32{float32(x)})...)
						}
					}
					return out
				}
				got := run(t, op, dims, map[string][]byte{"data": pack(data), "updates": pack(updates), "index": packI64(index)})["y"]
				want := slices.Clone(data)
				for i := range m {
					a, b, e := i/(count[1]*count[2]), i/count[2]%count[1], i%count[2]
					to := index[(a*count[1]+b)*count[2]+e]
					if to < 0 {
						to += int64(shape[1])
					}
					at := (a*shape[1]+int(to))*shape[2] + e
					switch u := updates[i]; reduce {
					case "none":
						want[at] = u
					case "add":
						want[at] += u
					case "mul":
						want[at] *= u
					case "min":
						want[at] = min(want[at], u)
					case "max":
						want[at] = max(want[at], u)
					}
				}
				for i, w := range want {
					if dt != tensor.F32 && math.Abs(w) > 1<<52 || dt == tensor.F32 && math.Abs(w) > 1<<23 {
						want = want[:i] // products past what is exact
						break
					}
				}
				if n := len(pack(want)); string(got[:n]) != string(pack(want)) {
					t.Fatalf("%s of %s, %v: wrong", reduce, dt, c)
				}
			}
		}
	}
}

// TestScatterND compares with the definition: tuples of one and two indices, repeated and negative ones, all reductions.
func TestScatterND(t *testing.T) {
	for _, reduce := range []string{"none", "add", "mul", "min", "max"} {
		for _, c := range []struct {
			axes         []int
			inner, count int
		}{{[]int{5}, 3, 4}, {[]int{4, 3}, 1, 9}, {[]int{2, 70}, 2, 33}, {[]int{1}, 1, 0}, {[]int{3, 2, 2}, 5, 7}} {
			dims, A, slices := map[string]int64{"i": int64(c.inner), "c": int64(c.count)}, make([]Expr, len(c.axes)), 1
			for i, a := range c.axes {
				A[i] = Sym(fmt.Sprint("a", i))
				dims[fmt.Sprint("a", i)], slices = int64(a), slices*a
			}
			all, some := Elems(A).Mul(Sym("i")), Sym("c").Mul(Sym("i"))
			k, err := ScatterND{Axes: A, Inner: Sym("i"), Count: Sym("c"), DType: tensor.F64, Reduce: reduce}.Kernel()
			op := single(t, k, err, map[string]Expr{"data": all, "y": all, "index": Sym("c").MulN(len(A)), "updates": some})
			r := seeded(t)
			data, updates, index := gauss64(t, slices*c.inner), gauss64(t, c.count*c.inner), make([]int64, c.count*len(A))
			for i := range index {
				a := c.axes[i%len(A)]
				index[i] = int64(r.IntN(2*a) - a)
			}
			got := unpackF64(run(t, op, dims, map[string][]byte{"data": packF64(data), "updates": packF64(updates), "index": packI64(index)})["y"])
			for i := range c.count {
				slice := 0
				for d, a := range c.axes {
					slice = slice*a + (int(index[i*len(A)+d])+a)%a
				}
				for j := range c.inner {
					u, to := updates[i*c.inner+j], &data[slice*c.inner+j]
					switch reduce {
					case "none":
						*to = u
					case "add":
						*to += u
					case "mul":
						*to *= u
					case "min":
						*to = min(*to, u)
					case "max":
						*to = max(*to, u)
					}
				}
			}
			near64(t, fmt.Sprint(reduce, c), got, data, 0)
		}
	}
}
