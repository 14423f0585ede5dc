package ptx

import (
	"math"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen/plan/expr"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

func gpu(t *testing.T, name string) GPU {
	g, err := GPUByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestGPUByName(t *testing.T) {
	if _, err := GPUByName("voodoo2"); err == nil || !strings.Contains(err.Error(), "a100") {
		t.Errorf("an unknown GPU: %v, want an error that lists the known ones", err)
	}
}

// TestPlanPKM holds the rule gather-or-densify to its arithmetic: 4 heads of 128 slots over 64^2 values of 1024
// are a product at prefill (0.9 ms against 7.6 ms of gathering on an A100), 1024^2 values are gathered.
func TestPlanPKM(t *testing.T) {
	s := PKM{Tokens: Sym("T"), H: 4, N1: 136, N2: 136, D1: 512, D2: 512, X2: 512, D: 1024, Dv: 1024, KNN: 128, DType: tensor.BF16, Math: Tensor16, Weighting: "relu"}
	for _, c := range []struct {
		n, tokens int
		want      bool
	}{{136, 32768, true}, {1024, 32768, false}, {136, 1, false}} {
		s.N1, s.N2 = c.n, c.n
		op, err := Planner{GPU: gpu(t, "a100"), Tokens: c.tokens}.PKM(s)
		if err != nil {
			t.Fatal(err)
		}
		_, densified := op.Buffer("weights")
		if densified != c.want {
			t.Errorf("%d^2 values, %d tokens: densified %t, want %t (%s)", c.n, c.tokens, densified, c.want, op.Reason)
		}
		assemble(t, op)
	}
}

// TestPlanMoE: one token goes through one launch, many through three; the decode bound is the bytes of the chosen
// experts, 2.1 MB at d=1024 and K G = 512: 2.3 us on a 3090.
func TestPlanMoE(t *testing.T) {
	s := MoE{Tokens: Sym("T"), D: 1024, E: 32, G: 128, Dv: 1024, K: 4, DType: tensor.BF16, Math: Tensor16, Activation: "relu"}
	one, err := Planner{GPU: gpu(t, "3090"), Tokens: 1}.MoE(s)
	if err != nil {
		t.Fatal(err)
	}
	if len(one.Launches) != 1 || !strings.Contains(one.Bound, "2.3 us") {
		t.Errorf("one token: %d launches, bound %q; want 1 and 2.3 us", len(one.Launches), one.Bound)
	}
	many, err := Planner{GPU: gpu(t, "3090"), Tokens: 32768}.MoE(s)
	if err != nil {
		t.Fatal(err)
	}
	if len(many.Launches) != 3 || many.Launches[2].Kernel.Threads != 128 {
		t.Errorf("32768 tokens: %d launches, %d threads; want 3 launches and tiles of 128 rows", len(many.Launches), many.Launches[2].Kernel.Threads)
	}
	few, err := Planner{GPU: gpu(t, "a100"), Tokens: 100}.MoE(s)
	if err != nil {
		t.Fatal(err)
	}
	if len(few.Launches) != 3 || few.Launches[2].Kernel.Threads != 32 {
		t.Errorf("100 tokens, 12.5 rows per expert: %d threads, want a tile of 32 rows", few.Launches[2].Kernel.Threads)
	}
	for _, op := range []*Op{one, many, few} {
		assemble(t, op)
	}
}

// TestPlanMLP: 1536 hidden units over 384 outputs are not worth fusing (12 partial rows of 384 against one of
// 1536), 128 are.
func TestPlanMLP(t *testing.T) {
	s := MLP{Tokens: Sym("T"), D: 384, F: 1536, Dv: 384, DType: tensor.F32, Activation: "gelu", Bias1: true, Bias2: true}
	p := Planner{GPU: gpu(t, "a100"), Tokens: 512}
	wide, err := p.MLP(s)
	if err != nil {
		t.Fatal(err)
	}
	s.F = 128
	narrow, err := p.MLP(s)
	if err != nil {
		t.Fatal(err)
	}
	if len(wide.Launches) != 2 || len(narrow.Launches) != 1 {
		t.Errorf("launches: %d for 1536 hidden units, %d for 128; want 2 and 1", len(wide.Launches), len(narrow.Launches))
	}
}

// TestPlanGemm: few rows get flat tiles, many rows the large one.
func TestPlanGemm(t *testing.T) {
	p := Planner{GPU: gpu(t, "h100"), Tokens: 0}
	small, _, _ := p.Gemm(Tensor16, 1, 8, 4096, 4096)
	large, why, bound := p.Gemm(Tensor16, 1, 8192, 8192, 8192)
	if small.M != 16 || large.M != 128 || why == "" {
		t.Errorf("tiles %v for 8 rows and %v for 8192", small, large)
	}
	// 2*8192^3 / (989e12*.62) = 1.79 ms of products; 4096 tiles that read 256 rows of 8192 each, 17 GB through L2, are more.
	if math.Abs(bound.Compute-1793) > 5 || bound.Limit != "L2" || math.Abs(bound.L2-3124) > 5 {
		t.Errorf("bound %v, want 1793 us of arithmetic and 3124 us of L2", bound)
	}
}

func TestExpr(t *testing.T) {
	b, s := Sym("batch"), Sym("seq")
	dims := map[string]int64{"batch": 3, "seq": 10}
	for _, c := range []struct {
		e    Expr
		text string
		want int64
	}{
		{b.Mul(s).MulN(4).AddN(-1), "4*batch*seq-1", 119},
		{b.Mul(s).CeilDiv(128), "ceildiv(batch*seq,128)", 1},
		{s.MulN(64).CeilDiv(32), "2*seq", 20},
		{s.Add(b).Add(s.MulN(-1)), "batch", 3},
		{s.AddN(7).Min(b.MulN(2)), "min(seq+7,2*batch)", 6},
		{N(0), "0", 0},
	} {
		if c.e.String() != c.text {
			t.Errorf("%s prints as %s", c.text, c.e)
		}
		got, err := c.e.Eval(dims)
		if err != nil || got != c.want {
			t.Errorf("%s = %d, %v; want %d", c.e, got, err, c.want)
		}
		back, err := expr.Parse(c.e.String())
		if err != nil || !back.Equal(c.e) {
			t.Errorf("%s parses as %s, %v", c.e, back, err)
		}
	}
	for _, bad := range []string{"", "2*", "ceildiv(a,0)", "ceildiv(a,b)", "f(a,b)", "min(a)", "a b)", "a)"} {
		if e, err := expr.Parse(bad); err == nil {
			t.Errorf("%q parses as %s", bad, e)
		}
	}
	if _, err := Sym("x").Eval(dims); err == nil || !strings.Contains(err.Error(), `"x"`) {
		t.Errorf("a missing dimension: %v", err)
	}
}
