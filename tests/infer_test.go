package tests

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/eval"
	"github.com/seed-c851cfd2/moec/ir/onnx"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// TestInferenceHolds runs the node tests with every dimension of every input first known
// and then a name of its own: what inference said of each value, sizes and equal names
// alike, must hold for the value computed.
func TestInferenceHolds(t *testing.T) {
	if testing.Short() {
		t.Skip("the conformance suite takes some seconds")
	}
	cases := readCases(t, nodeTests)
	table := ops.NewTable()
	checked := 0
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		ins, err := cases[name].values("input")
		if err != nil {
			continue // a type moec does not hold; the conformance test says which
		}
		for _, symbolic := range []bool{false, true} {
			g, err := onnx.Decode(context.Background(), cases[name]["model.onnx"], onnx.Options{Ops: table})
			if err != nil || len(ins) != len(g.Inputs) {
				continue
			}
			if symbolic {
				nameDims(g)
				if err := ir.Infer(g); err != nil {
					t.Errorf("%s: with named dimensions: %v", name, err)
					continue
				}
			}
			sizes := dimSizes{}
			var broken error
			note := func(v *ir.Value, x *tensor.Tensor) {
				if err := sizes.check(v, x); err != nil && broken == nil {
					broken = err
				}
				checked++
			}
			for i, v := range g.Inputs {
				note(v, ins[i])
			}
			if _, err := eval.Run(context.Background(), g, ins, eval.Options{Observe: note}); err == nil && broken != nil {
				t.Errorf("%s (symbolic %v): %v", name, symbolic, broken)
			}
		}
	}
	if checked < 10000 {
		t.Errorf("only %d values were checked", checked)
	}
}

func nameDims(g *ir.Graph) {
	for i, v := range g.Inputs {
		for d := range v.Type.Shape {
			v.Type.Shape[d] = ir.Sym(fmt.Sprintf("s%d_%d", i, d))
		}
	}
}

// dimSizes are the sizes that named dims turned out to have.
type dimSizes map[string]int64

func (s dimSizes) check(v *ir.Value, x *tensor.Tensor) error {
	if x == nil || !v.Type.Ranked {
		return nil
	}
	if len(v.Type.Shape) != x.Rank() || v.Type.DType != x.DType() {
		return fmt.Errorf("%q is %s, inferred as %s", v.Name, x, v.Type)
	}
	for i, d := range v.Type.Shape {
		n := int64(x.Shape()[i])
		if d.IsKnown() && d.Size != n {
			return fmt.Errorf("%q is %s, inferred as %s", v.Name, x, v.Type)
		}
		if d.IsKnown() || d.Name == "" {
			continue
		}
		if have, ok := s[d.Name]; ok && have != n {
			return fmt.Errorf("%q is %s, inferred as %s, where %s was %d", v.Name, x, v.Type, d.Name, have)
		}
		s[d.Name] = n
	}
	return nil
}

// TestExportsStaySymbolic infers the exported models of the zoo: through all the shape
// arithmetic that exporters write, no dimension is lost.
func TestExportsStaySymbolic(t *testing.T) {
	files, err := filepath.Glob("testdata/models/zoo/*.onnx")
	if err != nil || len(files) == 0 {
		t.Fatalf("no models (%v)", err)
	}
	for _, file := range append(files, "testdata/detrans/detrans.onnx") {
		g, err := onnx.LoadFile(context.Background(), file, onnx.Options{Ops: ops.NewTable()})
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		for _, n := range g.Nodes {
			for _, v := range n.Outputs {
				if v == nil {
					continue
				}
				if !v.Type.Ranked || slices.ContainsFunc(v.Type.Shape, func(d ir.Dim) bool { return !d.IsKnown() && d.Name == "" }) {
					t.Errorf("%s: node %q (%s) gives %s", filepath.Base(file), n.Name, n.Op, v.Type)
				}
			}
		}
	}
}
