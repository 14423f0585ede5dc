package ptx

import (
	"fmt"
	"math"
	"sort"
	"testing"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// mlpEval is the formula, in float64; keep sees a token's hidden units before the second product.
func mlpEval(s MLP, tokens int, in map[string][]float32, keep func(h []float64)) []float64 {
	at := func(name string, i int) float64 {
		if v := in[name]; v != nil {
			return float64(v[i])
		}
		return 0
	}
	y := make([]float64, tokens*s.Dv)
	h := make([]float64, s.F)
	for t := range tokens {
		for j := range h {
			u, up := at("b1", j), at("up_bias", j)
			for d := range s.D {
				u += at("x", t*s.D+d) * at("w1", d*s.F+j)
				up += at("x", t*s.D+d) * at("up", d*s.F+j)
			}
			h[j] = activation(s.Activation, u)
			if s.Gated {
				h[j] *= up
			}
		}
		if keep != nil {
			keep(h)
		}
		for k := range s.Dv {
			y[t*s.Dv+k] = at("b2", k) + at("residual", t*s.Dv+k)
			for j := range h {
				y[t*s.Dv+k] += h[j] * at("w2", j*s.Dv+k)
			}
		}
	}
	return y
}

// runMLP runs an Op of an MLP on random numbers and compares it with the formula.
func runMLP(t *testing.T, s MLP, tokens int, tol float64, keep func(w2 []float32) func(h []float64)) {
	op, err := s.Op()
	if err != nil {
		t.Fatal(err)
	}
	r := seeded(t)
	in := map[string][]float32{}
	add := func(have bool, name string, n int, scale float64) {
		if have {
			v := gauss(r, n)
			for i := range v {
				v[i] *= float32(scale)
			}
			in[name] = rounded(s.DType, v)
		}
	}
	add(true, "x", tokens*s.D, 1)
	add(true, "w1", s.D*s.F, 1/math.Sqrt(float64(s.D)))
	add(s.Gated, "up", s.D*s.F, 1/math.Sqrt(float64(s.D)))
	add(true, "w2", s.F*s.Dv, 1/math.Sqrt(float64(s.F)))
	add(s.Bias1, "b1", s.F, 1)
	add(s.UpBias, "up_bias", s.F, 1)
	add(s.Bias2, "b2", s.Dv, 1)
	add(s.Residual, "residual", tokens*s.Dv, 1)
	bytes := map[string][]byte{}
	for _, b := range op.Buffers {
		v := in[b.Name]
		if b.Name == "w1" && s.Gated {
			v = append(append([]float32{}, v...), in["up"]...)
		}
		switch {
		case b.Name == "norm":
			n := make([]float32, s.F)
			for j := range n {
				sum := 0.0
				for k := range s.Dv {
					sum += float64(in["w2"][j*s.Dv+k]) * float64(in["w2"][j*s.Dv+k])
				}
				n[j] = float32(math.Sqrt(sum))
			}
			bytes["norm"] = packAs(tensor.F32, n)
		case b.Pack != nil:
			p, err := b.Pack.Bytes(v)
			if err != nil {
				t.Fatal(err)
			}
			bytes[b.Name] = p
		case v != nil:
			bytes[b.Name] = packAs(s.DType, v)
		}
	}
	var k func([]float64)
	if keep != nil {
		k = keep(in["w2"])
	}
	var gamma, beta []float32
	if s.Norm != nil {
		gamma, beta = normParams(t, s.Norm, s.Dv, bytes)
	}
	out := run(t, op, map[string]int64{"T": int64(tokens)}, bytes)
	if s.Norm != nil {
		checkNorm(t, s.Norm, s.Dv, s.DType, out, mlpEval(s, tokens, in, k), gamma, beta, tol)
		return
	}
	near(t, "y", unpack(s.DType, out["y"]), mlpEval(s, tokens, in, k), tol)
}

func TestMLP(t *testing.T) {
	cases := map[string]MLP{
		"plain":    {D: 20, F: 50, Dv: 12, Activation: "relu"},
		"biases":   {D: 64, F: 128, Dv: 64, Activation: "gelu", Bias1: true, Bias2: true, Residual: true},
		"wide":     {D: 37, F: 300, Dv: 37, Activation: "relu", Bias1: true, Bias2: true},
		"swiglu":   {D: 32, F: 96, Dv: 32, Activation: "silu", Gated: true, UpBias: true},
		"gated":    {D: 37, F: 50, Dv: 12, Activation: "gelu", Gated: true, Bias1: true, UpBias: true, Bias2: true},
		"identity": {D: 8, F: 8, Dv: 8},
	}
	for name, s := range cases {
		for _, fused := range []bool{false, true} {
			for _, dt := range []tensor.DType{tensor.F32, tensor.BF16} {
				for _, tokens := range []int{0, 1, 67} {
					t.Run(fmt.Sprintf("%s_fused%t_%v_%d", name, fused, dt, tokens), func(t *testing.T) {
						s := s
						s.Tokens, s.DType, s.Fused = Sym("T"), dt, fused
						tol := 3e-6
						if dt != tensor.F32 {
							s.Math, tol = Tensor16, 1.2e-2
						}
						runMLP(t, s, tokens, tol, nil)
					})
				}
			}
		}
	}
}

func TestTopKMLP(t *testing.T) {
	for _, c := range []struct {
		f, k      int
		norm, mag bool
		act       Fn
	}{{300, 17, false, false, "relu"}, {64, 1, true, false, "gelu"}, {33, 20, true, true, ""}, {40, 40, false, false, "relu"}, {8200, 100, false, false, ""}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			s := MLP{Tokens: Sym("T"), D: 16, F: c.f, Dv: 12, DType: tensor.F32, Activation: c.act, Bias1: true, Bias2: true, TopK: c.k, UseNorm: c.norm, Magnitude: c.mag}
			runMLP(t, s, 5, 3e-6, func(w2 []float32) func([]float64) {
				return func(h []float64) {
					v := make([]float64, len(h))
					for j := range h {
						v[j] = h[j]
						if c.mag {
							v[j] = math.Abs(v[j])
						}
						if c.norm {
							n := 0.0
							for k := range 12 {
								n += float64(w2[j*12+k]) * float64(w2[j*12+k])
							}
							v[j] *= math.Sqrt(n)
						}
					}
					order := append([]float64{}, v...)
					sort.Sort(sort.Reverse(sort.Float64Slice(order)))
					for j := range h {
						if v[j] < order[c.k-1] {
							h[j] = 0
						}
					}
				}
			})
		})
	}
}

// TestTopKMaskTies: all equal to the K-th stay; a row with fewer than K numbers stays whole.
func TestTopKMaskTies(t *testing.T) {
	nan := float32(math.NaN())
	rows := [][]float32{{1, 3, 3, 2, 3, -1}, {0, float32(math.Copysign(0, -1)), -1, -2, -3, 0}, {nan, 5, nan, nan, nan, nan}, {nan, 5, 4, 3, 2, 1}}
	want := [][]float32{{0, 3, 3, 0, 3, 0}, {0, 0, 0, 0, 0, 0}, {nan, 5, nan, nan, nan, nan}, {0, 5, 4, 0, 0, 0}}
	var x []float32
	for _, r := range rows {
		x = append(x, r...)
	}
	k, err := TopKMask{Rows: Sym("T"), F: 6, K: 2, DType: tensor.F32}.Kernel()
	if err != nil {
		t.Fatal(err)
	}
	op := &Op{Name: "mask", Launches: []Launch{{k, []string{"h"}}}, Buffers: []Buffer{{Name: "h", Role: Input, DType: tensor.F32, Elems: Sym("T").MulN(6)}}}
	got := unpack(tensor.F32, run(t, op, map[string]int64{"T": int64(len(rows))}, map[string][]byte{"h": packAs(tensor.F32, x)})["h"])
	for i, r := range want {
		for j, w := range r {
			if g := got[6*i+j]; g != w && !(math.IsNaN(float64(g)) && math.IsNaN(float64(w))) {
				t.Errorf("row %d: got %v, want %v", i, got[6*i:6*i+6], r)
				break
			}
		}
	}
}
