package ptx

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"testing"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// moeData is a mixture of experts with its numbers, and the plain evaluation of it.
type moeData struct {
	MoE
	tokens int
	in     map[string][]float32
}

func newMoEData(r *rand.Rand, s MoE, tokens int) *moeData {
	m := &moeData{MoE: s, tokens: tokens, in: map[string][]float32{}}
	add := func(have bool, name string, n int, scale float64) {
		if !have {
			return
		}
		v := gauss(r, n)
		for i := range v {
			v[i] *= float32(scale)
		}
		m.in[name] = rounded(s.DType, v)
	}
	add(true, "x", tokens*s.D, 1)
	add(!s.Logits, "sel", s.E*s.D, 1/math.Sqrt(float64(s.D)))
	add(s.Logits, "logits", tokens*s.E, 1)
	add(true, "w1", s.E*s.D*s.G, 1/math.Sqrt(float64(s.D)))
	add(s.Gated, "up", s.E*s.D*s.G, 1/math.Sqrt(float64(s.D)))
	add(true, "w2", s.E*s.G*s.Dv, 1/math.Sqrt(float64(s.G)))
	add(s.SelBias, "sel_bias", s.E, 1)
	add(s.Bias, "bias", s.E*s.G, 1)
	add(s.UpBias, "up_bias", s.E*s.G, 1)
	add(s.OutBias, "out_bias", s.E*s.Dv, 1)
	add(s.OBias, "o_bias", s.Dv, 1)
	add(s.Base, "base", tokens*s.Dv, 1)
	return m
}

// bytes packs the inputs as an Op wants them.
func (m *moeData) bytes(t testing.TB, op *Op) map[string][]byte {
	out := map[string][]byte{}
	for name, v := range m.in {
		if name == "w1" && m.Gated {
			v = append(append([]float32{}, v...), m.in["up"]...)
		}
		out[name] = packAs(m.DType, v)
		if b, ok := op.Buffer(name); ok && b.Pack != nil {
			p, err := b.Pack.Bytes(v)
			if err != nil {
				t.Fatal(err)
			}
			out[name] = p
		}
	}
	return out
}

func activation(fn Fn, x float64) float64 {
	switch fn {
	case "relu":
		return math.Max(x, 0)
	case "gelu":
		return x / 2 * (1 + math.Erf(x/math.Sqrt2))
	case "silu":
		return x / (1 + math.Exp(-x))
	}
	return x
}

// eval is the formula, in float64.
func (m *moeData) eval() []float64 {
	y := make([]float64, m.tokens*m.Dv)
	at := func(name string, i int) float64 {
		if v := m.in[name]; v != nil {
			return float64(v[i])
		}
		return 0
	}
	for t := range m.tokens {
		l := make([]float64, m.E)
		order := make([]int, m.E)
		for e := range l {
			order[e] = e
			l[e] = at("sel_bias", e)
			if m.Logits {
				l[e] += at("logits", t*m.E+e)
				continue
			}
			for d := range m.D {
				l[e] += at("x", t*m.D+d) * at("sel", e*m.D+d)
			}
		}
		sort.SliceStable(order, func(i, j int) bool { return l[order[i]] > l[order[j]] })
		z := 0.0
		for _, v := range l {
			z += math.Exp(v)
		}
		score := func(e int) float64 {
			switch m.Gate {
			case GateSigmoid:
				return 1 / (1 + math.Exp(-l[e]))
			case GateSoftmaxBefore:
				return math.Exp(l[e]) / z
			}
			return l[e]
		}
		chosen := order[:min(m.K, m.E)]
		if m.ByThreshold {
			n := 0
			for n < len(chosen) && (n < m.MinK || score(chosen[n]) >= float64(m.Threshold)) {
				n++
			}
			chosen = chosen[:n]
		}
		part := 0.0
		for _, e := range chosen {
			part += math.Exp(l[e])
		}
		for j := range m.Dv {
			y[t*m.Dv+j] = at("o_bias", j) + at("base", t*m.Dv+j)
		}
		for _, e := range chosen {
			g := 1.0
			switch m.Gate {
			case GateSigmoid, GateSoftmaxBefore:
				g = score(e)
			case GateSoftmaxAfter:
				g = math.Exp(l[e]) / part
			case GateNoisyTopK:
				g = math.Exp(l[e]) / z / (part/z + float64(m.GateEps))
			}
			for j := range m.Dv {
				y[t*m.Dv+j] += g * at("out_bias", e*m.Dv+j)
			}
			for j := range m.G {
				u, up := at("bias", e*m.G+j), at("up_bias", e*m.G+j)
				for d := range m.D {
					u += at("x", t*m.D+d) * at("w1", (e*m.D+d)*m.G+j)
					if m.Gated {
						up += at("x", t*m.D+d) * at("up", (e*m.D+d)*m.G+j)
					}
				}
				h := activation(m.Activation, u)
				if m.Gated {
					h *= up
				}
				for k := range m.Dv {
					y[t*m.Dv+k] += g * h * at("w2", (e*m.G+j)*m.Dv+k)
				}
			}
		}
	}
	return y
}

func moeCases() map[string]struct {
	MoE
	tokens []int
} {
	type c = struct {
		MoE
		tokens []int
	}
	return map[string]c{
		"sigma":          {MoE{D: 37, E: 7, G: 24, Dv: 37, K: 2, Activation: "relu"}, []int{0, 1, 5, 65}},
		"sigma_wide":     {MoE{D: 64, E: 16, G: 128, Dv: 48, K: 4, Activation: "relu", Bias: true, OBias: true}, []int{3, 70}},
		"one_expert":     {MoE{D: 12, E: 1, G: 40, Dv: 20, K: 3, Activation: "gelu", OBias: true}, []int{1, 33}},
		"all_experts":    {MoE{D: 16, E: 3, G: 8, Dv: 6, K: 5, Gate: GateSoftmaxBefore, OutBias: true}, []int{9}},
		"many_experts":   {MoE{D: 20, E: 150, G: 16, Dv: 24, K: 3, Gate: GateSoftmaxAfter, Activation: "relu", SelBias: true}, []int{40}},
		"1024_experts":   {MoE{D: 12, E: 1024, G: 8, Dv: 8, K: 2, Gate: GateSoftmaxBefore}, []int{18}},
		"big_experts":    {MoE{D: 24, E: 3, G: 300, Dv: 20, K: 1, Activation: "relu", OutBias: true, Bias: true, Base: true}, []int{17}},
		"noisy":          {MoE{D: 16, E: 6, G: 32, Dv: 16, K: 2, Gate: GateNoisyTopK, GateEps: 1e-6, Activation: "relu"}, []int{11}},
		"one":            {MoE{D: 16, E: 6, G: 32, Dv: 16, K: 1, Gate: GateOne, Activation: "relu"}, []int{11}},
		"gated":          {MoE{D: 32, E: 4, G: 70, Dv: 32, K: 2, Gate: GateSoftmaxAfter, Gated: true, UpBias: true, Bias: true, Activation: "silu"}, []int{19}},
		"threshold":      {MoE{D: 16, E: 6, G: 32, Dv: 17, K: 4, ByThreshold: true, Threshold: .6, Activation: "relu", OBias: true, Base: true}, []int{23}},
		"threshold_min":  {MoE{D: 16, E: 6, G: 32, Dv: 16, K: 6, ByThreshold: true, Threshold: .3, MinK: 1, Gate: GateSoftmaxBefore}, []int{23}},
		"logits":         {MoE{D: 16, E: 6, G: 32, Dv: 16, K: 2, Logits: true, Activation: "relu"}, []int{23}},
		"thirty_three_k": {MoE{D: 8, E: 40, G: 8, Dv: 8, K: 36, Gate: GateSoftmaxAfter}, []int{4}},
	}
}

func TestMoEPrefill(t *testing.T) {
	for name, c := range moeCases() {
		for _, tokens := range c.tokens {
			for _, v := range []struct {
				math Math
				rows int
			}{{Exact, 0}, {TF32x3, 0}, {TF32x3, 32}} {
				t.Run(fmt.Sprintf("%s_%d_%v_%d", name, tokens, v.math, v.rows), func(t *testing.T) {
					s := c.MoE
					s.Tokens, s.DType, s.Math, s.TileRows = Sym("T"), tensor.F32, v.math, v.rows
					op, err := s.Prefill()
					if err != nil {
						t.Fatal(err)
					}
					m := newMoEData(seeded(t), s, tokens)
					out := run(t, op, map[string]int64{"T": int64(tokens)}, m.bytes(t, op))
					near(t, "y", unpack(tensor.F32, out["y"]), m.eval(), 5e-6)
				})
			}
		}
	}
}

// TestMoEPrefill16 runs the same cases on tensor cores, against the evaluation of the rounded numbers. The
// bound is that of rounding the hidden units and the slots to the format: bf16 has 8 significant bits.
func TestMoEPrefill16(t *testing.T) {
	for name, c := range moeCases() {
		for _, dt := range []tensor.DType{tensor.BF16, tensor.F16} {
			tokens := c.tokens[len(c.tokens)-1]
			t.Run(fmt.Sprintf("%s_%d_%v", name, tokens, dt), func(t *testing.T) {
				s := c.MoE
				s.Tokens, s.DType, s.Math = Sym("T"), dt, Tensor16
				op, err := s.Prefill()
				if err != nil {
					t.Fatal(err)
				}
				m := newMoEData(seeded(t), s, tokens)
				out := run(t, op, map[string]int64{"T": int64(tokens)}, m.bytes(t, op))
				tol := 2e-3
				if dt == tensor.BF16 {
					tol = 1e-2
				}
				near(t, "y", unpack(dt, out["y"]), m.eval(), tol)
			})
		}
	}
}

// TestMoEDecode runs the same cases in one launch, a few tokens of each.
func TestMoEDecode(t *testing.T) {
	for name, c := range moeCases() {
		for _, dt := range []tensor.DType{tensor.F32, tensor.BF16} {
			tokens := min(c.tokens[len(c.tokens)-1], 3)
			t.Run(fmt.Sprintf("%s_%d_%v", name, tokens, dt), func(t *testing.T) {
				s := c.MoE
				s.Tokens, s.DType = Sym("T"), dt
				tol := 3e-6
				if dt != tensor.F32 {
					s.Math, tol = Tensor16, 1e-2
				}
				op, err := s.Decode()
				if err != nil {
					t.Fatal(err)
				}
				m := newMoEData(seeded(t), s, tokens)
				out := run(t, op, map[string]int64{"T": int64(tokens)}, m.bytes(t, op))
				near(t, "y", unpack(dt, out["y"]), m.eval(), tol)
			})
		}
	}
}

// TestSinkhorn compares with the iteration written out, and lets the ranks choose experts.
func TestSinkhorn(t *testing.T) {
	lse := func(v []float64) float64 {
		s := 0.0
		for _, x := range v {
			s += math.Exp(x)
		}
		return math.Log(s)
	}
	for _, c := range []struct {
		seqs, tokens, e, iters int
		truly                  bool
	}{{2, 5, 7, 3, false}, {1, 70, 40, 3, true}, {3, 1, 1, 2, false}, {2, 4, 6, 0, false}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			k, err := Sinkhorn{Sequences: Sym("s"), Tokens: Sym("t"), MaxTokens: 128, E: c.e, Iters: c.iters, True: c.truly}.Kernel()
			all := Sym("s").Mul(Sym("t")).MulN(c.e)
			op := single(t, k, err, map[string]Expr{"x": all, "ranks": all})
			x := gauss(seeded(t), c.seqs*c.tokens*c.e)
			got := unpack(tensor.F32, run(t, op, map[string]int64{"s": int64(c.seqs), "t": int64(c.tokens)}, map[string][]byte{"x": packAs(tensor.F32, x)})["ranks"])
			want := make([]float64, len(x))
			for q := range c.seqs {
				at := func(i, e int) int { return (q*c.tokens+i)*c.e + e }
				row, col := make([]float64, c.tokens), make([]float64, c.e)
				sign, rs, cs := -1.0, math.Log(float64(c.tokens)), math.Log(float64(c.e))
				if c.truly {
					sign, rs, cs = 1, cs, rs
				}
				for range c.iters {
					for i := range row {
						v := make([]float64, c.e)
						for e := range v {
							v[e] = float64(x[at(i, e)]) + sign*col[e]
						}
						row[i] = rs - lse(v)
					}
					for e := range col {
						v := make([]float64, c.tokens)
						for i := range v {
							v[i] = float64(x[at(i, e)]) + sign*row[i]
						}
						col[e] = cs - lse(v)
					}
				}
				for i := range row {
					for e := range col {
						want[at(i, e)] = float64(x[at(i, e)]) + row[i] + col[e]
					}
				}
			}
			near(t, "ranks", got, want, 2e-6)
		})
	}
	s := MoE{Tokens: Sym("T"), D: 4, E: 5, G: 8, Dv: 4, K: 2, DType: tensor.F32, Logits: true, Ranks: true}
	op, err := s.Prefill()
	if err != nil {
		t.Fatal(err)
	}
	m := newMoEData(seeded(t), s, 2)
	in := m.bytes(t, op)
	in["ranks"] = packAs(tensor.F32, []float32{0, 5, 1, 4, 2, 9, 0, 0, 9, 1})
	ids := unpackU32(run(t, op, map[string]int64{"T": 2}, in)["ids"])
	if fmt.Sprint(ids) != "[1 3 0 3]" {
		t.Errorf("experts %v, want [1 3 0 3]: ranks decide, not logits", ids)
	}
}

// TestMoETies checks the rule for equal scores, NaN and infinities: higher first, then lower index, NaN last.
func TestMoETies(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	rows := [][]float32{
		{1, 1, 1, 1, 1}, {0, float32(math.Copysign(0, -1)), 0, -1, 0}, {nan, -inf, 2, nan, -inf}, {nan, nan, nan, nan, nan}, {inf, 3, inf, -3, 3},
	}
	want := [][]uint32{{0, 1, 2}, {0, 1, 2}, {2, 1, 4}, {0, 1, 2}, {0, 2, 1}}
	s := MoE{Tokens: Sym("T"), D: 4, E: 5, G: 8, Dv: 4, K: 3, DType: tensor.F32, Logits: true}
	op, err := s.Prefill()
	if err != nil {
		t.Fatal(err)
	}
	m := newMoEData(seeded(t), s, len(rows))
	m.in["logits"] = nil
	for _, r := range rows {
		m.in["logits"] = append(m.in["logits"], r...)
	}
	ids := unpackU32(run(t, op, map[string]int64{"T": int64(len(rows))}, m.bytes(t, op))["ids"])
	for i, w := range want {
		if got := ids[3*i : 3*i+3]; fmt.Sprint(got) != fmt.Sprint(w) {
			t.Errorf("token %d with logits %v: experts %v, want %v", i, rows[i], got, w)
		}
	}
}
