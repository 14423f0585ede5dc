package passes

import (
	"context"
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Densify gives mixtures back their dense form where every token selects every expert
// with weight 1: the same work in one product, without a router.
func Densify() Pass {
	return Pass{
		Name: "densify", Doc: "Make one dense MLP of a mixture whose experts are all always on.", Effect: Rounding,
		Run: func(ctx context.Context, g *ir.Graph) (bool, error) {
			e := &edit{g: g}
			e.rules(map[string][]rule{"moec::MoE": {func(e *edit, n *ir.Node) bool { return denseMixture(ctx, e, n) }}})
			return e.done()
		},
	}
}

func denseMixture(ctx context.Context, e *edit, n *ir.Node) bool {
	a := n.Attrs.(*ops.MoEAttrs)
	w1, w2, up := input(n, ops.MoEInW1), input(n, ops.MoEInW2), input(n, ops.MoEInUp)
	if a.Gate != ops.GateNone || a.Selection != ops.SelectTopK || len(n.Outputs) > 1 || !w1.IsConst() || !w2.IsConst() || up != nil && !up.IsConst() {
		return false
	}
	experts := w1.Const.Shape()[0]
	if a.K < int64(experts) {
		return false
	}
	// What else a mixture may have, a dense MLP has not. Logits and selectors decide
	// nothing here, but a NaN in them would show in what is selected, not in its weight.
	for i, v := range n.Inputs {
		switch i {
		case ops.MoEInX, ops.MoEInSel, ops.MoEInSelBias, ops.MoEInW1, ops.MoEInW2, ops.MoEInUp, ops.MoEInLogits:
		case ops.MoEInBias, ops.MoEInUpBias, ops.MoEInOBias:
			if v != nil && !v.IsConst() {
				return false
			}
		default:
			if v != nil {
				return false
			}
		}
	}
	hidden := experts * w1.Const.Shape()[2]
	flat := func(v *ir.Value) *ir.Value {
		if v == nil {
			return nil
		}
		return e.g.NewConst("", v.Const.Reshape(hidden))
	}
	down := e.g.NewConst("", w2.Const.Reshape(hidden, w2.Const.Shape()[2]))
	var y *ir.Value
	if up != nil {
		y = e.add("moec::GatedMLP", trimmed(n.Inputs[0], e.side(w1), e.side(up), down,
			flat(input(n, ops.MoEInBias)), flat(input(n, ops.MoEInUpBias)), input(n, ops.MoEInOBias)), nodes(n), "activation", string(a.Activation))
	} else {
		y = e.add("moec::MLP", trimmed(n.Inputs[0], e.side(w1), down, flat(input(n, ops.MoEInBias)), input(n, ops.MoEInOBias)), nodes(n), "activation", string(a.Activation))
	}
	if !e.replace(n.Outputs[0], y) {
		return false
	}
	LeaveReceipt(ctx, Receipt{
		Pass: "densify", Node: n.Name, Origin: n.Origin, From: n.Op.String(), To: y.Def.Op.String(),
		Note: fmt.Sprintf("all %d experts are on for every token: the dense form does the same work in one product", experts),
	})
	return true
}

// side lays the columns of experts [E,D,G] side by side: [D, E*G].
func (e *edit) side(v *ir.Value) *ir.Value {
	s := v.Const.Shape()
	experts, d, g := s[0], s[1], s[2]
	out := tensor.New(v.Const.DType(), d, experts*g)
	n := g * v.Const.DType().Size()
	src, dst := v.Const.Bytes(), out.Bytes()
	for x := range experts {
		for i := range d {
			copy(dst[(i*experts+x)*n:][:n], src[(x*d+i)*n:][:n])
		}
	}
	return e.g.NewConst("", out)
}
