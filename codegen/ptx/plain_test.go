package ptx

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

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
