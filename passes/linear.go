package passes

import (
	"context"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Linears turns products with a constant matrix, and Gemm, into moec::Linear with its
// bias, on inputs of any rank.
func Linears() Pass {
	return Pass{
		Name: "linear", Doc: "Turn MatMul and Gemm with a constant weight, and their bias, into Linear.", Effect: Rounding,
		Run: func(_ context.Context, g *ir.Graph) (bool, error) {
			e := &edit{g: g}
			e.rules(map[string][]rule{
				"MatMul": {matmulLinear},
				"Gemm":   {gemmLinear},
				"Add":    {linearBias},
				"Mul":    {linearScale},
				"Div":    {linearScale},
			})
			return e.done()
		},
	}
}

// matmulLinear: x @ w with a constant matrix w.
func matmulLinear(e *edit, n *ir.Node) bool {
	x, w := n.Inputs[0], n.Inputs[1]
	if !w.IsConst() || w.Const.Rank() != 2 || !w.Const.DType().IsFloat() || x.Type.Rank() < 1 || w.Const.DType() != x.Type.DType {
		return false
	}
	return e.replace(n.Outputs[0], e.add("moec::Linear", values(x, w), nodes(n)))
}

// gemmLinear: alpha a b + beta c with constant b and c, either matrix transposed or not.
// The factors go into the constants.
func gemmLinear(e *edit, n *ir.Node) bool {
	a, b, c := n.Inputs[0], n.Inputs[1], input(n, 2)
	if !b.IsConst() || !b.Const.DType().IsFloat() {
		return false
	}
	w := b.Const
	if intAttr(n, "transB") != 0 {
		w = transposed(w)
	}
	alpha, beta := floatAttr(n, "alpha"), floatAttr(n, "beta")
	ins := values(a, b)
	if w = scaled(w, alpha); w != b.Const {
		ins[1] = e.g.NewConst("", w)
	}
	if c != nil && beta != 0 {
		bias := lastAxisVector(c, w.Shape()[1])
		if bias == nil {
			return false
		}
		ins = append(ins, e.vector(c, scaled(bias, beta)))
	}
	if intAttr(n, "transA") != 0 {
		ins[0] = e.add("Transpose", values(a), nodes(n), "perm", []int64{1, 0})
	}
	return e.replace(n.Outputs[0], e.add("moec::Linear", ins, nodes(n)))
}

// vector is v when it is t already, else a new constant.
func (e *edit) vector(v *ir.Value, t *tensor.Tensor) *ir.Value {
	if v.IsConst() && tensor.Equal(v.Const, t) {
		return v
	}
	return e.g.NewConst("", t)
}

// plain reports whether a Linear has neither activation nor residual, and is read once.
func (e *edit) plain(n *ir.Node) bool {
	return n != nil && len(n.Inputs) < 4 && n.Inputs[1].IsConst() && (len(n.Inputs) < 3 || n.Inputs[2] == nil || n.Inputs[2].IsConst()) && stringAttr(n, "activation") == "" && e.g.OnlyUse(n.Outputs[0])
}

// linearBias: (x @ w) + a constant along the last axis. A second bias joins the first.
func linearBias(e *edit, n *ir.Node) bool {
	for i := range 2 {
		l, c := def(n.Inputs[i], "moec::Linear"), n.Inputs[1-i]
		if !e.plain(l) || !keepsShape(n.Inputs[i], n.Outputs[0]) {
			continue
		}
		bias := lastAxisVector(c, l.Inputs[1].Const.Shape()[1])
		if bias == nil {
			continue
		}
		b := e.vector(c, bias)
		if old := input(l, 2); old != nil {
			b = e.g.NewConst("", elementwise(old.Const, bias, func(x, y float64) float64 { return x + y }))
		}
		return e.replace(n.Outputs[0], e.add("moec::Linear", values(l.Inputs[0], l.Inputs[1], b), nodes(l, n)))
	}
	return false
}

// linearScale: (x @ w + b) times or over a number: into the constants.
func linearScale(e *edit, n *ir.Node) bool {
	l := def(n.Inputs[0], "moec::Linear")
	c, ok := number(n.Inputs[1])
	if !ok || c == 0 || !e.plain(l) || len(l.Inputs[1].Users()) > 1 || !sameType(n.Inputs[0].Type, n.Outputs[0].Type) {
		return false
	}
	if n.Is("Div") {
		c = 1 / c
	}
	ins := slices.Clone(l.Inputs)
	for i := 1; i < len(ins); i++ {
		if ins[i] == nil {
			continue
		}
		ins[i] = e.g.NewConst("", scaled(ins[i].Const, c))
	}
	return e.replace(n.Outputs[0], e.add("moec::Linear", ins, nodes(l, n)))
}

// unflatten moves a Reshape that only regroups leading axes from before a Linear to
// behind it, where it meets its inverse: Gemm wants two axes, models have three.
func unflatten(e *edit, n *ir.Node) bool {
	r := def(n.Inputs[0], "Reshape")
	if r == nil || len(n.Inputs) > 3 || !n.Inputs[1].IsConst() {
		return false
	}
	x, flat := r.Inputs[0].Type, n.Inputs[0].Type
	if x.Rank() < 2 || flat.Rank() != 2 || x.Rank() == 2 || !x.Shape[x.Rank()-1].Same(flat.Shape[1]) {
		return false
	}
	ins := slices.Clone(n.Inputs)
	ins[0] = r.Inputs[0]
	y := e.addAttrs(n.Op, n.Attrs, ins, nodes(n), 1).Outputs[0]
	shape := e.ints(-1, int64(n.Inputs[1].Const.Shape()[1]))
	return e.replace(n.Outputs[0], e.add("Reshape", values(y, shape), nodes(r)))
}

// unflattened is the value behind v when v regroups the leading axes of a Linear's
// output into one.
func unflattened(v *ir.Value) *ir.Value {
	r := def(v, "Reshape")
	if r == nil || def(r.Inputs[0], "moec::Linear", "Relu", "Gelu", "Swish", "Mul") == nil {
		return nil
	}
	x, flat := r.Inputs[0].Type, v.Type
	if x.Rank() < 3 || flat.Rank() != 2 || !x.Shape[x.Rank()-1].Same(flat.Shape[1]) || !flat.Shape[1].IsKnown() {
		return nil
	}
	return r.Inputs[0]
}

// unflattenActivation moves the Reshape that unflatten has put behind a Linear on through
// the activation that follows, towards the next Linear.
func unflattenActivation(e *edit, n *ir.Node) bool {
	x := unflattened(n.Inputs[0])
	if x == nil {
		return false
	}
	return e.flattenLeading(n, values(x))
}

// unflattenProduct does the same for the product of a gated layer's two branches.
func unflattenProduct(e *edit, n *ir.Node) bool {
	x, y := unflattened(n.Inputs[0]), unflattened(n.Inputs[1])
	if x == nil || y == nil || !sameType(x.Type, y.Type) {
		return false
	}
	return e.flattenLeading(n, values(x, y))
}

// flattenLeading computes n on values that keep their leading axes, and regroups after it.
func (e *edit) flattenLeading(n *ir.Node, ins []*ir.Value) bool {
	last := n.Outputs[0].Type.Shape[1]
	y := e.addAttrs(n.Op, n.Attrs, ins, nodes(n), 1).Outputs[0]
	return e.replace(n.Outputs[0], e.add("Reshape", values(y, e.ints(-1, last.Size)), nodes(n)))
}
