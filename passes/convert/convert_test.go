package convert

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/eval"
	"github.com/seed-c851cfd2/moec/ir/irtext"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/passes"
)

// Two sites of one MLP, a gated one, and a pair of layers that is no MLP.
const dense = `graph(x: f32[n,8]) {
  g1 = MatMul(x, w1=f32[8,32]rand(1)) @first
  h1 = Add(g1, b1=f32[32]rand(2))
  a1 = Relu(h1)
  y1 = MatMul(a1, w2=f32[32,8]rand(3)) @first/down
  s1 = Add(y1, x)
  g2 = MatMul(s1, w1) @second
  h2 = Add(g2, b1)
  a2 = Relu(h2)
  y2 = MatMul(a2, w2) @second/down
  gate = MatMul(y2, wg=f32[8,24]rand(4)) @gate
  up = MatMul(y2, wu=f32[8,24]rand(5)) @up
  ga = Swish(gate)
  m = Mul(ga, up)
  y3 = MatMul(m, wd=f32[24,8]rand(6)) @down
  t1 = MatMul(y3, wt=f32[8,16]rand(7)) @tanh
  t2 = Tanh(t1)
  y = MatMul(t2, wv=f32[16,8]rand(8)) @tanh/down
  return y
}`

func interpret(ctx context.Context, g *ir.Graph, ins []*tensor.Tensor) ([]*tensor.Tensor, error) {
	return eval.Run(ctx, g, ins, eval.Options{})
}

func parse(t *testing.T) *ir.Graph {
	t.Helper()
	g, err := irtext.Parse(dense, ops.NewTable(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := ir.Infer(g); err != nil {
		t.Fatal(err)
	}
	return g
}

// outputs runs a graph on the same inputs every time.
func outputs(t *testing.T, g *ir.Graph) []float64 {
	t.Helper()
	rng := rand.New(rand.NewPCG(1, 1))
	x := tensor.New(tensor.F32, 5, 8)
	for i := range tensor.Data[float32](x) {
		tensor.Data[float32](x)[i] = float32(rng.NormFloat64())
	}
	out, err := interpret(context.Background(), g, []*tensor.Tensor{x})
	if err != nil {
		t.Fatal(err)
	}
	v, err := out[0].Float64s()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// With nothing dropped a conversion reorders sums and no more: products of at most 32
// terms of f32, four layers deep, of values near 1.
func TestNothingDroppedIsTheDenseModel(t *testing.T) {
	want := outputs(t, parse(t))
	for _, o := range []Options{{To: ToSigmaMoE, Experts: 4, K: 4}, {To: ToSigmaMoE, Keep: 1}, {To: ToTopK, Keep: 1}} {
		o.Seed, o.Eval = 3, interpret
		g := parse(t)
		r, err := Run(context.Background(), g, o)
		if err != nil {
			t.Fatal(err)
		}
		if err := ir.Verify(g); err != nil {
			t.Fatal(err)
		}
		for i, v := range outputs(t, g) {
			if math.Abs(v-want[i]) > 1e-5*math.Max(1, math.Abs(want[i])) {
				t.Errorf("%+v: output %d is %g, dense %g", o, i, v, want[i])
			}
		}
		for _, m := range r.MLPs {
			if m.Action == "rewritten" && (m.Error == nil || *m.Error > 1e-5 || m.HiddenShare != 1) {
				t.Errorf("%+v: receipt %+v", o, m)
			}
		}
	}
}

// An MLP stays dense where its experts would take longer, and only when that is asked for.
func TestSlowerStaysDense(t *testing.T) {
	for _, c := range []struct {
		o         Options
		rewritten bool
	}{
		{Options{To: ToSigmaMoE, Keep: 1}, true},
		{Options{To: ToSigmaMoE, Keep: 1, Faster: true}, false},
		{Options{To: ToTopK, Keep: 1, Faster: true}, true},
		{Options{To: ToSigmaMoE, Experts: 2, K: 1, Faster: true}, true},
	} {
		g := parse(t)
		r, err := Run(context.Background(), g, c.o)
		if err != nil {
			t.Fatal(err)
		}
		if m := r.MLPs[0]; (m.Action == "rewritten") != c.rewritten || !c.rewritten && !strings.Contains(m.Reason, "times as long") {
			t.Errorf("%+v: %+v", c.o, m)
		}
		if err := ir.Verify(g); err != nil {
			t.Error(err)
		}
	}
}

func TestReceiptSaysWhatBecameOfEachMLP(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want []string // name: action and the reason, as far as given
	}{
		{Options{To: ToSigmaMoE, Keep: 0.25}, []string{"first: rewritten weights only", "second: rewritten", "gate: rewritten", "tanh/down: left"}},
		{Options{To: ToTopK, K: 8}, []string{"first: rewritten", "second: rewritten", "gate: left a gated MLP", "tanh/down: left"}},
		{Options{To: ToPKM, K: 8}, []string{"first: rewritten", "second: rewritten", "gate: left a gated MLP", "tanh/down: left"}},
		{Options{To: ToSigmaMoE, Exclude: []string{"second/down", "gate"}}, []string{"first: rewritten", "second: left excluded by name", "gate: left excluded by name", "tanh/down: left"}},
	} {
		c.o.Eval = interpret
		g := parse(t)
		r, err := Run(context.Background(), g, c.o)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range r.MLPs {
			got = append(got, m.Name+": "+m.Action+" "+m.Reason)
			if sparse := m.Action == "rewritten" && c.o.To != ToPKM; sparse && (m.FLOPs[1] >= m.FLOPs[0] || m.HiddenShare != 0.25) {
				t.Errorf("%+v: %+v", c.o, m)
			}
			if m.Action == "left" && (m.Params[0] != m.Params[1] || m.Error != nil) {
				t.Errorf("%+v: left, and yet %+v", c.o, m)
			}
		}
		if !slices.EqualFunc(got, c.want, strings.HasPrefix) {
			t.Errorf("%+v:\n got %q\nwant %q", c.o, got, c.want)
		}
		if err := ir.Verify(g); err != nil {
			t.Error(err)
		}
	}
}

// Conversions are functions of weights, options and seed.
func TestSameSeedSameModel(t *testing.T) {
	text := func(seed uint64) string {
		g := parse(t)
		if _, err := Run(context.Background(), g, Options{To: ToSigmaMoE, Seed: seed}); err != nil {
			t.Fatal(err)
		}
		return irtext.String(g)
	}
	if first := text(5); first != text(5) {
		t.Error("the same seed gives two models")
	}
}

func TestSharedWeightsShareExperts(t *testing.T) {
	g := parse(t)
	if _, err := Run(context.Background(), g, Options{To: ToSigmaMoE, Keep: 0.5}); err != nil {
		t.Fatal(err)
	}
	var sites []*ir.Node
	for _, n := range g.Nodes {
		if n.Is("moec::MoE") && slices.ContainsFunc(n.Origin, func(s string) bool { return s == "first" || s == "second" }) {
			sites = append(sites, n)
		}
	}
	if len(sites) != 2 || !tensor.Equal(sites[0].Inputs[ops.MoEInW1].Const, sites[1].Inputs[ops.MoEInW1].Const) {
		t.Errorf("%d sites, or other experts at each", len(sites))
	}
}

// A refused conversion changes nothing and says which option, layer and remedy.
func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		o    Options
		kind error
		says string
	}{
		{Options{To: "resnet"}, ir.ErrAttr, "sigma-moe, pkm or topk"},
		{Options{To: ToSigmaMoE, Keep: 1.5}, ir.ErrAttr, "between 0 and 1"},
		{Options{To: ToSigmaMoE, Keep: math.NaN()}, ir.ErrAttr, "between 0 and 1"},
		{Options{To: ToSigmaMoE, Experts: -1}, ir.ErrShape, "-1 experts"},
		{Options{To: ToTopK, K: -1}, ir.ErrShape, "K is -1"},
		{Options{To: ToSigmaMoE, Experts: 5}, ir.ErrShape, "32 hidden units are not divisible among 5 experts; leave the MLP out with --exclude first"},
		{Options{To: ToSigmaMoE, Experts: 16}, ir.ErrShape, "24 hidden units are not divisible among 16 experts; leave the MLP out with --exclude gate"},
		{Options{To: ToSigmaMoE, Experts: 4, K: 5}, ir.ErrShape, "K is 5, the number of experts is 4"},
		{Options{To: ToTopK, K: 33}, ir.ErrShape, "K is 33, the MLP has 32 hidden units"},
	} {
		g := parse(t)
		_, err := Run(context.Background(), g, c.o)
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v", c.o, err)
		}
		if text := irtext.String(g); strings.Contains(text, "MoE") || strings.Contains(text, "TopKMLP") {
			t.Errorf("%+v: rewritten in spite of the error", c.o)
		}
	}
	g := parse(t)
	for _, v := range g.Values() {
		if v.Name == "w2" {
			tensor.Data[float32](v.Const)[7] = float32(math.NaN())
		}
	}
	if _, err := Run(context.Background(), g, Options{To: ToTopK}); !errors.Is(err, ir.ErrInput) || !strings.Contains(err.Error(), `"w2" holds NaN`) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Run(ctx, parse(t), Options{To: ToTopK}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// As a pass it takes what earlier passes left, subgraphs too, and leaves receipts.
func TestPassLeavesReceipts(t *testing.T) {
	one, err := Pass(Options{To: ToSigmaMoE, Exclude: []string{"first", "second"}, Eval: interpret})
	if err != nil {
		t.Fatal(err)
	}
	two, err := Pass(Options{To: ToTopK, K: 4})
	if err != nil {
		t.Fatal(err)
	}
	g := parse(t)
	rep, err := passes.Run(context.Background(), g, passes.Options{
		Pipeline: append(passes.UpTo("feedforward"), one, two), Verify: true, Check: &passes.Check{Eval: interpret, Seed: 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range rep.Receipts {
		got = append(got, r.Node+" "+r.From+" "+r.To)
		if len(r.Origin) == 0 || r.FLOPsAfter >= r.FLOPsBefore || (r.To == "moec::MoE") != (r.Measured["error"] > 0) {
			t.Errorf("%+v", r)
		}
	}
	if want := []string{"gate moec::GatedMLP moec::MoE", "first moec::MLP moec::TopKMLP", "second moec::MLP moec::TopKMLP"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
