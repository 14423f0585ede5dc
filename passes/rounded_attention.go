package passes

import (
	"context"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// RoundedProjections keeps in bf16 what linear layers give to attention, and attention to
// linear layers: the products of programs of lower precision round these anyway, so that nothing
// changes but the memory traffic.
func RoundedProjections() Pass {
	return Pass{
		Name: "roundedprojections", Doc: "Keep queries, keys, values and heads in bf16.", Effect: Halving,
		Run: func(_ context.Context, g *ir.Graph) (bool, error) {
			r := &roundEdit{edit: &edit{g: g}, takes: map[*ir.Value]bool{}}
			for _, n := range attentions(g) {
				r.attention(n)
			}
			return r.done()
		},
	}
}

// attentions are the attention nodes whose operands can be rounded: linear layers give them,
// and nodes alone that are in the list read them.
func attentions(g *ir.Graph) []*ir.Node {
	var list []*ir.Node
	for _, n := range g.Nodes {
		a, ok := n.Attrs.(*ops.FusedAttentionAttrs)
		if ok && !a.Wide && evenHeads(a) && !slices.ContainsFunc(n.Inputs[:3], func(v *ir.Value) bool { return !ofLinear(g, v) }) {
			list = append(list, n)
		}
	}
	for before := -1; before != len(list); { // until what is left agrees
		before = len(list)
		list = slices.DeleteFunc(list, func(n *ir.Node) bool {
			for _, v := range n.Inputs[:3] {
				for _, u := range v.Users() {
					if !slices.Contains(list, u) || input(u, 3) == v {
						return true
					}
				}
			}
			return false
		})
	}
	return list
}

// attention rounds the operands of n, and its output if the readers of that take it.
func (r *roundEdit) attention(n *ir.Node) {
	c := *n.Attrs.(*ops.FusedAttentionAttrs)
	c.Wide, c.Rounded = true, feedsLinear(r.g, n.Outputs[0])
	for i := range 3 {
		r.rounded(n.Inputs[i])
	}
	old := n.Outputs[0]
	r.replace(old, r.addAttrs(n.Op, &c, slices.Clone(n.Inputs), nodes(n), 1).Outputs[0])
}

// evenHeads reports whether each row of a head begins with a whole word of two.
func evenHeads(a *ops.FusedAttentionAttrs) bool {
	for _, l := range []string{a.QLayout, a.KLayout, a.VLayout, a.OutLayout} {
		if l != ops.LayoutBSD {
			return false
		}
	}
	return (a.HeadDim|a.VHeadDim|a.QOffset|a.KOffset|a.VOffset)%2 == 0
}

// ofLinear reports whether v is a linear layer's alone, in rows of whole words.
func ofLinear(g *ir.Graph, v *ir.Value) bool {
	if v.Type.DType != tensor.F32 || v.Type.Rank() != 3 || v.Def == nil || !v.Def.Is("moec::Linear") || g.IsOutput(v) {
		return false
	}
	width := v.Type.Shape[2]
	return packed(v.Def) && width.IsKnown() && width.Size%2 == 0 && input(v.Def, 3) == nil
}

// packed reports whether a linear layer's weights are constants, as the kernels need them.
func packed(n *ir.Node) bool {
	w := n.Inputs[1]
	return w.IsConst() && w.Const.DType() == tensor.F32 && w.Const.Rank() == 2 && w.Const.Shape()[0]%2 == 0
}

// rounded makes the layer that gives v round it, once.
func (r *roundEdit) rounded(v *ir.Value) {
	if v.Type.DType == tensor.BF16 {
		return
	}
	a := *v.Def.Attrs.(*ops.LinearAttrs)
	a.Rounded = true
	r.replace(v, r.addAttrs(v.Def.Op, &a, slices.Clone(v.Def.Inputs), nodes(v.Def), 1).Outputs[0])
}

// feedsLinear reports whether linear layers alone read v, as what they multiply.
func feedsLinear(g *ir.Graph, v *ir.Value) bool {
	users := v.Users()
	yes := !g.IsOutput(v) && len(users) > 0
	for _, n := range users {
		yes = yes && n.Is("moec::Linear") && packed(n) && n.Inputs[0] == v && !slices.Contains(n.Inputs[1:], v)
	}
	return yes
}
