package cuda_test

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

var update = flag.Bool("update", false, "rewrite the golden plans")

// builder adds nodes to a graph under test.
type builder struct{ g *ir.Graph }

func (b builder) node(op string, attrs any, ins ...*ir.Value) *ir.Value {
	o := b.g.Op(op)
	if attrs == nil && o.Attrs != nil {
		attrs = o.Attrs()
	}
	return b.g.Add(o, attrs, ins, "").Outputs[0]
}

func (b builder) weight(name string, shape ...int) *ir.Value {
	t := tensor.New(tensor.F32, shape...)
	for i := range tensor.Data[float32](t) {
		tensor.Data[float32](t)[i] = float32(i%7-3) / 8
	}
	return b.g.NewConst(name, t)
}

func compile(t *testing.T, g *ir.Graph, target codegen.Target) *plan.Program {
	t.Helper()
	if err := ir.Infer(g); err != nil {
		t.Fatal(err)
	}
	target.Device = "cuda"
	p, err := codegen.Compile(context.Background(), g, target)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestPlanText holds the text of a plan: a linear layer, a mixture of experts, an elementwise chain read through a
// transposition, and shape arithmetic.
func TestPlanText(t *testing.T) {
	g := ir.NewGraph("small", ops.NewTable())
	b := builder{g}
	x := g.AddInput("x", ir.MakeType(tensor.F32, ir.Sym("batch"), ir.Sym("seq"), ir.Known(32)))
	h := b.node("moec::Linear", &ops.LinearAttrs{Activation: ops.ActGELU}, x, b.weight("w", 32, 32), b.weight("b", 32))
	moe := g.Op("moec::MoE").Attrs().(*ops.MoEAttrs)
	moe.K = 2
	y := b.node("moec::MoE", moe, h, b.weight("w1", 4, 32, 16), b.weight("w2", 4, 16, 32), b.weight("sel", 4, 32))
	turned := b.node("Transpose", &ops.TransposeAttrs{Perm: []int64{0, 2, 1}}, y)
	z := b.node("Sigmoid", nil, b.node("Mul", nil, turned, turned))
	g.Outputs = []*ir.Value{z, b.node("Shape", nil, z)}
	p := compile(t, g, codegen.Target{GPU: "a100"})
	var text bytes.Buffer
	if err := plan.Print(&text, p); err != nil {
		t.Fatal(err)
	}
	// Kernels' names end in a hash of their text, which is not the subject here.
	got := regexp.MustCompile(`_[0-9a-f]{8} grid`).ReplaceAllString(text.String(), "_# grid")
	file := filepath.Join("testdata", "small.plan")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the plan changed; go test ./codegen/cuda -update rewrites %s. It is now:\n%s", file, got)
	}
}

// TestDataDecidesShape: what comes after a shape that only the data decides runs on the host, weights in plain order.
func TestDataDecidesShape(t *testing.T) {
	g := ir.NewGraph("open", ops.NewTable())
	b := builder{g}
	x := g.AddInput("x", ir.MakeType(tensor.F32, ir.Sym("n"), ir.Known(4)))
	at := b.node("Transpose", nil, b.node("NonZero", nil, x))
	y := b.node("MatMul", nil, b.node("Cast", &ops.CastAttrs{To: tensor.F32}, at), b.weight("w", 2, 3))
	g.Outputs = []*ir.Value{y}
	p := compile(t, g, codegen.Target{})
	for _, st := range p.Main().Steps {
		if st.Kernel != plan.KernelRef || !strings.Contains(st.Note, "the data decides a shape") {
			t.Errorf("%s: %s, %q", st.Op, st.Kernel, st.Note)
		}
	}
	if p.Consts[0].Layout != "" {
		t.Errorf("the weight is packed as %q", p.Consts[0].Layout)
	}
}

// TestPrecision: 16-bit programs store weights in 16 bits, and unknown GPUs and precisions are errors that list what
// there is.
func TestPrecision(t *testing.T) {
	graph := func() *ir.Graph {
		g := ir.NewGraph("linear", ops.NewTable())
		b := builder{g}
		x := g.AddInput("x", ir.MakeType(tensor.F32, ir.Sym("n"), ir.Known(8)))
		g.Outputs = []*ir.Value{b.node("moec::Linear", nil, x, b.weight("w", 8, 8))}
		if err := ir.Infer(g); err != nil {
			t.Fatal(err)
		}
		return g
	}
	p := compile(t, graph(), codegen.Target{Precision: "bf16"})
	if dt := p.Consts[0].Data.DType(); dt != tensor.BF16 {
		t.Errorf("the weight is stored as %s", dt)
	}
	for _, bad := range []codegen.Target{{Device: "cuda", GPU: "voodoo"}, {Device: "cuda", Precision: "int8"}} {
		if _, err := codegen.Compile(context.Background(), graph(), bad); err == nil || !strings.Contains(err.Error(), "bf16") && !strings.Contains(err.Error(), "a100") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
