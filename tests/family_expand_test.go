package tests

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/eval"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// expanded replaces the only node of a case's graph by its body.
func expanded(g *ir.Graph, body ops.Body) error {
	n := g.Nodes[0]
	outs, err := ops.ExpandBody(body, g, n)
	if err != nil {
		return err
	}
	for i, v := range n.Outputs {
		if v != nil {
			g.ReplaceUses(v, outs[i])
		}
	}
	g.Remove(n)
	if err := g.Sort(); err != nil {
		return err
	}
	if err := ir.Infer(g); err != nil {
		return err
	}
	return ir.Verify(g)
}

// nearly compares results element by element: off by at most tol times the largest
// value (and at least tol).
func nearly(t *testing.T, what string, got, want *tensor.Tensor, tol float64) {
	t.Helper()
	a, err := got.Float64s()
	if err != nil {
		t.Fatal(err)
	}
	b, err := want.Float64s()
	if err != nil {
		t.Fatal(err)
	}
	if got.DType() != want.DType() || ir.TypeOf(got).String() != ir.TypeOf(want).String() {
		t.Errorf("%s is %s, want %s", what, got, want)
		return
	}
	largest := 1.0
	for _, x := range b {
		if !math.IsInf(x, 0) && !math.IsNaN(x) {
			largest = math.Max(largest, math.Abs(x))
		}
	}
	for i := range b {
		if d := math.Abs(a[i] - b[i]); !(d <= tol*largest) && !(math.IsNaN(a[i]) && math.IsNaN(b[i])) && a[i] != b[i] {
			t.Errorf("%s: element %d is %g, want %g", what, i, a[i], b[i])
			return
		}
	}
}

// bodyTolerance allows what rounding to the type between standard ops does: f64 none to
// speak of, the others a few roundings of 2^-24, 2^-11 and 2^-8.
var bodyTolerance = map[tensor.DType]float64{tensor.F64: 1e-12, tensor.F32: 1e-5, tensor.F16: 1e-2, tensor.BF16: 8e-2, tensor.I64: 0}

// Every body computes what Eval computes. The interpreter's standard ops round to f32
// between steps, hence the tolerance; onnxruntime is held to the same one.
func TestFamilyBodiesMatchEval(t *testing.T) {
	table := ops.NewTable()
	held := 0
	for _, c := range append(familyCases(), typedCases()...) {
		g, ins := c.graph(t, table)
		want, err := eval.Run(context.Background(), g, ins, eval.Options{})
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		for _, body := range ops.Bodies() {
			t.Run(c.name+"/"+string(body), func(t *testing.T) {
				g, ins := c.graph(t, table)
				if err := expanded(g, body); err != nil {
					if body == ops.BodyORT && strings.Contains(err.Error(), "cannot hold") {
						return
					}
					t.Fatal(err)
				}
				if body == ops.BodyORT && c.op == "moec::MoE" {
					held++
				}
				for _, n := range g.Nodes {
					if d := n.Op.Domain; d != ir.DomainONNX && !(d == ir.DomainMicrosoft && body == ops.BodyORT) {
						t.Errorf("the body holds %s", n.Op)
					}
				}
				got, err := eval.Run(context.Background(), g, ins, eval.Options{})
				if err != nil {
					t.Fatal(err)
				}
				for i := range want {
					nearly(t, g.Outputs[i].Name, got[i], want[i], bodyTolerance[got[i].DType()])
				}
			})
		}
	}
	if held < 20 {
		t.Errorf("only %d cases fit onnxruntime's MoE", held)
	}
}
