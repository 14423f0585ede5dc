package passes

import (
	"context"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// QKV joins the Linears that make q, k and v of one Attention out of one input into one
// Linear, whose output Attention reads in parts: x is read once, and one wide product
// runs better than three narrow ones. Every column keeps its own dot product.
func QKV() Pass {
	return Pass{
		Name: "qkv", Doc: "Join the Linears that make q, k and v of the same input into one.", Effect: Exact,
		Run: func(_ context.Context, g *ir.Graph) (bool, error) {
			e := &edit{g: g}
			e.rules(map[string][]rule{"moec::Attention": {joinQKV}})
			return e.done()
		},
	}
}

func joinQKV(e *edit, n *ir.Node) bool {
	for i := range 2 {
		l := def(n.Inputs[i], "moec::Linear")
		if l == nil {
			continue
		}
		// The operands with the same source; those of the same Linear among them.
		var parts []*ir.Node
		var operands []int
		for j := i; j < 3; j++ {
			m := def(n.Inputs[j], "moec::Linear")
			if m != nil && m.Inputs[0] == l.Inputs[0] && e.joinable(m, n) {
				operands = append(operands, j)
				if !slices.Contains(parts, m) {
					parts = append(parts, m)
				}
			}
		}
		if len(parts) > 1 && slices.Contains(parts, l) {
			return e.join(n, parts, operands)
		}
	}
	return false
}

// joinable reports whether a Linear is a product and a bias of constants, for nobody but
// the Attention n, which reads it in the layout that knows parts.
func (e *edit) joinable(l, n *ir.Node) bool {
	v := l.Outputs[0]
	if len(l.Inputs) > 3 || stringAttr(l, "activation") != "" || !l.Inputs[1].IsConst() || e.g.IsOutput(v) {
		return false
	}
	if b := input(l, 2); b != nil && !b.IsConst() {
		return false
	}
	for _, u := range v.Users() {
		if u != n {
			return false
		}
	}
	a := n.Attrs.(*ops.FusedAttentionAttrs)
	for j, layout := range []string{a.QLayout, a.KLayout, a.VLayout} {
		if n.Inputs[j] == v && layout != ops.LayoutBSD {
			return false
		}
	}
	return len(n.Inputs) < 4 || n.Inputs[3] != v
}

func (e *edit) join(n *ir.Node, parts []*ir.Node, operands []int) bool {
	var weights, biases []*tensor.Tensor
	begin := map[*ir.Node]int64{}
	width, biased := int64(0), false
	for _, l := range parts {
		w := l.Inputs[1].Const
		cols := w.Shape()[1]
		begin[l] = width
		width += int64(cols)
		weights = append(weights, w)
		b := tensor.New(w.DType(), cols)
		if v := input(l, 2); v != nil {
			b, biased = v.Const, true
		}
		biases = append(biases, b)
	}
	ins := values(parts[0].Inputs[0], e.g.NewConst("", besides(weights...)))
	if biased {
		ins = append(ins, e.g.NewConst("", besides(biases...)))
	}
	y := e.add("moec::Linear", ins, parts)
	a := *n.Attrs.(*ops.FusedAttentionAttrs)
	for _, j := range operands {
		at := []*int64{&a.QOffset, &a.KOffset, &a.VOffset}[j]
		*at += begin[n.Inputs[j].Def]
		e.g.SetInput(n, j, y)
	}
	n.Attrs = &a
	e.changed = true
	return true
}
