package session_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/codegen/plan/expr"
	"github.com/seed-c851cfd2/moec/cuda"
	"github.com/seed-c851cfd2/moec/cuda/emu"
	"github.com/seed-c851cfd2/moec/cuda/session"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/eval"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// variantCase is one layer y = f(x) of [n, d] vectors whose launches depend on n.
type variantCase struct {
	d     int
	build func(g *ir.Graph, x *ir.Value, w func(name string, shape ...int) *ir.Value) *ir.Value
	few   string // what the name of a kernel begins with that few tokens take; unless order
	many  string // and of one that only many take
	order bool   // the variants add in the same order
	much  bool   // work at the cut
}

func variantCases() map[string]variantCase {
	moe := func(shared, gated bool) func(*ir.Graph, *ir.Value, func(string, ...int) *ir.Value) *ir.Value {
		return func(g *ir.Graph, x *ir.Value, w func(string, ...int) *ir.Value) *ir.Value {
			a := g.Op("moec::MoE").Attrs().(*ops.MoEAttrs)
			a.K = 2
			in := make([]*ir.Value, ops.MoEInSharedW2+1)
			in[ops.MoEInX], in[ops.MoEInW1], in[ops.MoEInW2], in[ops.MoEInSel] = x, w("w1", 6, 40, 20), w("w2", 6, 20, 40), w("sel", 6, 40)
			in[ops.MoEInBias] = w("bias", 6, 20)
			if gated {
				in[ops.MoEInUp] = w("up", 6, 40, 20)
			}
			if shared {
				in[ops.MoEInSharedW1], in[ops.MoEInSharedW2] = w("sw1", 40, 24), w("sw2", 24, 40)
			} else {
				in = in[:ops.MoEInBias+1]
			}
			for len(in) > 0 && in[len(in)-1] == nil {
				in = in[:len(in)-1]
			}
			return g.Add(g.Op("moec::MoE"), a, in, "y").Outputs[0]
		}
	}
	return map[string]variantCase{
		"moe":        {d: 40, build: moe(false, false), few: "moe_decode", many: "moe_router"},
		"moe_shared": {d: 40, build: moe(true, false), few: "moe_decode", many: "moe_router"},
		"linear": {d: 256, order: true, much: true, build: func(g *ir.Graph, x *ir.Value, w func(string, ...int) *ir.Value) *ir.Value {
			return g.Add(g.Op("moec::Linear"), &ops.LinearAttrs{Activation: ops.ActReLU}, []*ir.Value{x, w("w", 256, 2048)}, "y").Outputs[0]
		}},
		"pkm": {d: 64, much: true, few: "pkm_scores", many: "pkm_values", build: func(g *ir.Graph, x *ir.Value, w func(string, ...int) *ir.Value) *ir.Value {
			a := g.Op("moec::PKM").Attrs().(*ops.PKMAttrs)
			a.KNN, a.Weighting = 8, "relu"
			return g.Add(g.Op("moec::PKM"), a, []*ir.Value{x, w("k0", 4, 16, 32), w("k1", 4, 16, 32), w("v", 256, 512)}, "y").Outputs[0]
		}},
	}
}

// TestVariants runs each layer on both sides of every cut against the interpreter, sees that each side has its own
// kernels, and compares the bits of the rows that both have: equal where the plan says that the order of additions
// is, and everywhere for a session that keeps to one order.
func TestVariants(t *testing.T) {
	for name, c := range variantCases() {
		for _, precision := range []string{"f32", "bf16"} {
			if c.order && precision != "f32" || c.much && testing.Short() {
				continue // where launches do not decide, a cut comes with much work for the emulator
			}
			t.Run(name+"_"+precision, func(t *testing.T) { c.run(t, precision) })
		}
	}
}

func (c variantCase) run(t *testing.T, precision string) {
	g := ir.NewGraph("net", ops.NewTable())
	r := rand.New(rand.NewPCG(1, 2))
	x := g.AddInput("x", ir.MakeType(tensor.F32, ir.Sym("n"), ir.Known(int64(c.d))))
	y := c.build(g, x, func(name string, shape ...int) *ir.Value { return g.NewConst(name, random(r, .3, shape...)) })
	g.Outputs = []*ir.Value{y}
	if err := ir.Infer(g); err != nil {
		t.Fatal(err)
	}
	p, err := codegen.Compile(context.Background(), g, codegen.Target{Device: "cuda", Precision: precision})
	if err != nil {
		t.Fatal(err)
	}
	st := p.Main().Steps[0]
	if len(st.Variants) == 0 {
		t.Fatal("the plan has no variants")
	}
	var text bytes.Buffer
	if err := plan.Print(&text, p); err != nil {
		t.Fatal(err)
	}
	sizes := []int{0, 1}
	for _, v := range st.Variants {
		other := !c.order && !slices.ContainsFunc(v.Launches, func(l plan.Launch) bool { return strings.HasPrefix(l.Kernel, c.many) })
		if v.Reorders != other {
			t.Errorf("when %s: reorders is %t", v.When, v.Reorders)
		}
		if !strings.Contains(text.String(), "when "+v.When+":") || v.Launches[0].Note == "" {
			t.Errorf("the plan does not say when and why:\n%s", text.String())
		}
		cond, err := expr.ParseCond(v.When)
		if err != nil {
			t.Fatal(err)
		}
		if n, ok := cond.Right.Const(); ok && n < 400 { // more takes long
			sizes = append(sizes, int(n), int(n)+1)
		}
	}
	t.Logf("%d variants, run at %v rows", len(st.Variants), sizes)

	all := random(r, 1, sizes[len(sizes)-1]+1, c.d)
	for _, sameOrder := range []bool{false, true} {
		var used map[string]bool
		drv := cuda.Emulator{
			Options: emu.Options{Checks: emu.AllChecks, Seed: 1},
			Stats:   func(l cuda.Launch, _ emu.Stats) { used[l.Kernel.Name()] = true },
		}
		dev, err := drv.Open(0)
		if err != nil {
			t.Fatal(err)
		}
		s, err := session.New(p, dev, session.Options{Separate: true, BatchInvariant: sameOrder})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		kernels := map[string]bool{}
		var first []float32
		for _, n := range sizes {
			used = map[string]bool{}
			in := tensor.Of(tensor.Data[float32](all)[:n*c.d], n, c.d)
			out, err := s.Run(context.Background(), map[string]*tensor.Tensor{"x": in})
			if err != nil {
				t.Fatalf("%d rows: %v", n, err)
			}
			want, err := eval.Run(context.Background(), g, []*tensor.Tensor{in}, eval.Options{})
			if err != nil {
				t.Fatal(err)
			}
			got, ref := tensor.Data[float32](out["y"]), tensor.Data[float32](want[0])
			near(t, fmt.Sprintf("%d rows", n), got, ref, map[string]float64{"f32": 1e-5, "bf16": 2e-2}[precision])
			if n == 0 {
				continue
			}
			row := got[:len(got)/n]
			if first == nil {
				first = row
			} else if (c.order || sameOrder) && !slices.Equal(first, row) {
				t.Errorf("row 0 of %d has other bits than alone", n)
			}
			few, many := false, false
			for k := range used {
				few, many = few || strings.HasPrefix(k, c.few), many || strings.HasPrefix(k, c.many)
			}
			switch {
			case c.order:
			case sameOrder || n > sizes[2]:
				if !many {
					t.Errorf("%d rows, same order %t: runs %v", n, sameOrder, slices.Sorted(maps.Keys(used)))
				}
			case !few || many:
				t.Errorf("%d rows, same order %t: runs %v", n, sameOrder, slices.Sorted(maps.Keys(used)))
			}
			kernels[fmt.Sprint(slices.Sorted(maps.Keys(used)))] = true
		}
		if !sameOrder && len(kernels) < 2 {
			t.Errorf("all sizes run the kernels %v", kernels)
		}
	}
}

// random has numbers that 16 bits hold, so that selections by score are the same at every precision.
func random(r *rand.Rand, scale float64, shape ...int) *tensor.Tensor {
	t := tensor.New(tensor.F32, shape...)
	for i := range tensor.Data[float32](t) {
		tensor.Data[float32](t)[i] = tensor.ToBFloat16(float32(r.NormFloat64() * scale)).Float32()
	}
	return t
}

// near bounds the difference relative to the largest magnitude.
func near(t *testing.T, what string, got, want []float32, tol float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers, want %d", what, len(got), len(want))
	}
	top, worst := 1.0, 0.0
	for i := range want {
		top = max(top, float64(max(want[i], -want[i])))
		worst = max(worst, float64(max(got[i]-want[i], want[i]-got[i])))
	}
	if !(worst <= tol*top) {
		t.Errorf("%s: off by %g, allowed %g", what, worst, tol*top)
	}
}
