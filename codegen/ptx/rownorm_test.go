package ptx

import (
	"fmt"
	"testing"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// normParams draws a norm's parameters.
func normParams(t testing.TB, n *RowNorm, d int, in map[string][]byte) (gamma, beta []float32) {
	r := seeded(t)
	gamma, beta = rounded(n.Scale, gauss(r, d)), rounded(n.Scale, gauss(r, d))
	in["gamma"] = packAs(n.Scale, gamma)
	if n.Beta {
		in["beta"] = packAs(n.Scale, beta)
	}
	return gamma, beta
}

// checkNorm compares the sums with the formula, and y with the norm of the sums as stored.
func checkNorm(t testing.TB, n *RowNorm, d int, dt tensor.DType, out map[string][]byte, want []float64, gamma, beta []float32, tol float64) {
	t.Helper()
	sum := unpack(dt, out["sum"])
	near(t, "sum", sum, want, tol)
	stored := make([]float64, len(sum))
	for i, x := range sum {
		stored[i] = float64(x)
	}
	tol = 3e-6
	if dt != tensor.F32 {
		tol = 4e-3
	}
	near(t, "y", unpack(dt, out["y"]), normEval(*n, d, stored, gamma, beta), tol)
}

// TestMoENorm: rows normalised by whoever finishes a token: the only block that has it, the last of several, and the
// last block at decode.
func TestMoENorm(t *testing.T) {
	cases := moeCases()
	wide := cases["sigma_wide"].MoE
	wide.Dv = 1100
	for name, c := range map[string]struct {
		s      MoE
		norm   RowNorm
		tokens []int
	}{
		"sigma":      {cases["sigma"].MoE, RowNorm{Beta: true, Eps: 1e-5}, []int{0, 1, 67}},
		"sigma_wide": {wide, RowNorm{RMS: true, Eps: 1e-6}, []int{9}},
		"one":        {cases["one"].MoE, RowNorm{RMS: true, Eps: 1e-6}, []int{1, 35}},
		"residual":   {cases["big_experts"].MoE, RowNorm{Eps: 1e-5}, []int{17}},
		"threshold":  {cases["threshold_min"].MoE, RowNorm{Beta: true, Eps: 1e-5}, []int{23}},
	} {
		for _, dt := range []tensor.DType{tensor.F32, tensor.BF16} {
			for _, tokens := range c.tokens {
				for _, decode := range []bool{false, true} {
					if decode && tokens > 9 {
						continue
					}
					t.Run(fmt.Sprintf("%s_%d_%v_decode%t", name, tokens, dt, decode), func(t *testing.T) {
						s := c.s
						s.Tokens, s.DType, s.Norm = Sym("T"), dt, &c.norm
						s.Norm.Scale = dt
						tol := 3e-6
						if dt != tensor.F32 {
							s.Math, tol = Tensor16, 1e-2
						}
						build := s.Prefill
						if decode {
							build = s.Decode
						}
						op, err := build()
						if err != nil {
							t.Fatal(err)
						}
						m := newMoEData(seeded(t), s, tokens)
						in := m.bytes(t, op)
						gamma, beta := normParams(t, s.Norm, s.Dv, in)
						out := run(t, op, map[string]int64{"T": int64(tokens)}, in)
						checkNorm(t, s.Norm, s.Dv, dt, out, m.eval(), gamma, beta, tol)
					})
				}
			}
		}
	}
	s := cases["threshold"].MoE
	s.Tokens, s.DType, s.Norm = Sym("T"), tensor.F32, &RowNorm{Scale: tensor.F32}
	if _, err := s.Prefill(); err == nil {
		t.Error("tokens without experts have no block that could normalise them")
	}
}

// TestMLPNorm: the second product of an MLP normalises its rows, in one launch and in two.
func TestMLPNorm(t *testing.T) {
	for name, s := range map[string]MLP{
		"plain":    {D: 20, F: 50, Dv: 12, Activation: "relu"},
		"residual": {D: 64, F: 300, Dv: 64, Activation: "gelu", Bias1: true, Bias2: true, Residual: true},
		"odd":      {D: 37, F: 30, Dv: 37, Activation: "relu", Bias1: true, Residual: true},
		"swiglu":   {D: 32, F: 96, Dv: 132, Activation: "silu", Gated: true, UpBias: true, Residual: true},
	} {
		for _, fused := range []bool{false, true} {
			for _, dt := range []tensor.DType{tensor.F32, tensor.BF16} {
				for _, tokens := range []int{0, 1, 67} {
					t.Run(fmt.Sprintf("%s_fused%t_%v_%d", name, fused, dt, tokens), func(t *testing.T) {
						s := s
						s.Tokens, s.DType, s.Fused = Sym("T"), dt, fused
						s.Norm = &RowNorm{Scale: dt, RMS: s.Gated, Beta: s.Bias1, Eps: 1e-5}
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
