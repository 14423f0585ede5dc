package cuda_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// TestTheSameContainer: compiling a graph again gives the same bytes, where a chain of elementwise nodes reads more
// tensors than one launch takes, and where a recurrent layer has its inputs converted.
func TestTheSameContainer(t *testing.T) {
	f32 := func(dims ...int64) ir.Type {
		d := make([]ir.Dim, len(dims))
		for i, n := range dims {
			d[i] = ir.Known(n)
		}
		return ir.MakeType(tensor.F32, d...)
	}
	wide := func() *ir.Graph {
		g := ir.NewGraph("wide", ops.NewTable())
		b := builder{g}
		var terms []*ir.Value
		for i := range 16 {
			terms = append(terms, g.AddInput(fmt.Sprintf("x%d", i), f32(64)))
		}
		for len(terms) > 1 { // a balanced tree: many nodes can be taken in next
			terms = append(terms[2:], b.node("Mul", nil, b.node("Neg", nil, terms[0]), terms[1]))
		}
		g.Outputs = terms
		return g
	}
	recurrent := func() *ir.Graph {
		g := ir.NewGraph("gru", ops.NewTable())
		b := builder{g}
		x, h := g.AddInput("x", f32(5, 2, 8)), g.AddInput("h", f32(1, 2, 4))
		attrs := g.Op("GRU").Attrs().(*ops.RecurrentAttrs)
		hidden := int64(4)
		attrs.HiddenSize = &hidden
		g.Outputs = []*ir.Value{b.node("GRU", attrs, x, b.weight("w", 1, 12, 8), b.weight("r", 1, 12, 4), nil, nil, h)}
		return g
	}
	for _, c := range []struct {
		name   string
		graph  func() *ir.Graph
		target codegen.Target
	}{
		{"wide chain", wide, codegen.Target{}},
		{"recurrent in f16", recurrent, codegen.Target{Precision: "f16", GPU: "h200"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var first []byte
			for range 30 {
				p := compile(t, c.graph(), c.target)
				for _, st := range p.Main().Steps {
					if st.Kernel == plan.KernelRef {
						t.Fatalf("%s runs on the host: %s", st.Op, st.Note)
					}
				}
				var b bytes.Buffer
				if err := plan.Write(&b, p); err != nil {
					t.Fatal(err)
				}
				if first == nil {
					first = b.Bytes()
				}
				if !bytes.Equal(first, b.Bytes()) {
					t.Fatal("two compilations give different containers")
				}
			}
		})
	}
}
