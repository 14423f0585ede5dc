package cuda

import (
	"slices"

	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// A model in f16 or bf16 is lowered as one in f32, of which kernels know everything, with conversions where it begins
// and ends. The formats' numbers are f32 numbers, so that nothing is lost; but what the model rounds in between stays
// exact, and what would overflow in f16 does not. A target of 16-bit precision then keeps the values in 16 bits, and multiplies them on tensor cores.

func narrow(dt tensor.DType) bool { return dt == tensor.F16 || dt == tensor.BF16 }

// promote is a copy of g with its f16 and bf16 values in f32, or g itself where there are none, or where something
// depends on their bits.
func promote(g *ir.Graph) *ir.Graph {
	if !slices.ContainsFunc(g.Values(), func(v *ir.Value) bool { return narrow(v.Type.DType) }) {
		return g
	}
	for _, n := range g.Nodes {
		if len(n.Subgraphs) > 0 || n.Is("BitCast") {
			return g
		}
	}
	for _, v := range g.Outputs {
		if v.Def == nil && narrow(v.Type.DType) {
			return g
		}
	}
	h := g.Clone()
	outs := make([]tensor.DType, len(h.Outputs))
	for i, v := range h.Outputs {
		outs[i] = v.Type.DType
	}
	for _, v := range h.Values() {
		if !v.IsConst() || !narrow(v.Type.DType) {
			continue
		}
		t, err := plan.Convert(v.Const, tensor.F32)
		if err != nil {
			return g
		}
		v.Const, v.Type.DType = t, tensor.F32
	}
	for _, n := range h.Nodes {
		if err := promoteAttrs(n); err != nil {
			return g
		}
	}
	for _, v := range h.Inputs {
		if narrow(v.Type.DType) {
			users := slices.Clone(v.Users())
			wide := convert(h, v, tensor.F32)
			for _, n := range users {
				for i, x := range n.Inputs {
					if x == v {
						h.SetInput(n, i, wide)
					}
				}
			}
		}
	}
	done := map[*ir.Value]*ir.Value{}
	for i, v := range h.Outputs {
		if !narrow(outs[i]) {
			continue
		}
		if done[v] == nil {
			done[v] = convert(h, v, outs[i])
			v.Name, done[v].Name = done[v].Name, v.Name
		}
		h.Outputs[i] = done[v]
	}
	if h.Sort() != nil || ir.Infer(h) != nil {
		return g
	}
	return h
}

// promoteAttrs puts f32 in the place of the narrow types that a node's attributes name.
func promoteAttrs(n *ir.Node) error {
	cloned := false
	set := func(name string, v any) error {
		if !cloned {
			n.Attrs, cloned = ir.CloneAttrs(n.Attrs), true
		}
		return ir.SetAttr(n.Attrs, name, v)
	}
	for _, a := range ir.AttrsOf(n.Attrs) {
		var err error
		switch v := a.Value.(type) {
		case tensor.DType:
			if narrow(v) {
				err = set(a.Name, tensor.F32)
			}
		case *tensor.Tensor:
			if narrow(v.DType()) {
				var t *tensor.Tensor
				if t, err = plan.Convert(v, tensor.F32); err == nil {
					err = set(a.Name, t)
				}
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// convert adds the conversion of a value.
func convert(g *ir.Graph, v *ir.Value, to tensor.DType) *ir.Value {
	op := g.Op("Cast")
	a := op.Attrs().(*ops.CastAttrs)
	a.To = to
	return g.Add(op, a, []*ir.Value{v}, "").Outputs[0]
}
