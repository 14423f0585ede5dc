package passes

import (
	"context"

	"github.com/seed-c851cfd2/moec/ir"
)

// Softmaxes finds Softmax in exp(x - max) / sum.
func Softmaxes() Pass {
	return Pass{
		Name: "softmax", Doc: "Find Softmax written out as exp(x - max) / sum.", Effect: Rounding,
		Run: func(_ context.Context, g *ir.Graph) (bool, error) {
			e := &edit{g: g}
			e.rules(map[string][]rule{"Div": {spelledSoftmax}})
			return e.done()
		},
	}
}

func spelledSoftmax(e *edit, n *ir.Node) bool {
	exp, sum := def(n.Inputs[0], "Exp"), def(n.Inputs[1], "ReduceSum")
	if exp == nil || sum == nil || sum.Inputs[0] != n.Inputs[0] {
		return false
	}
	sub := def(exp.Inputs[0], "Sub")
	if sub == nil {
		return false
	}
	top := def(sub.Inputs[1], "ReduceMax")
	if top == nil || top.Inputs[0] != sub.Inputs[0] {
		return false
	}
	a, ok1 := oneAxis(sum)
	b, ok2 := oneAxis(top)
	if !ok1 || !ok2 || a != b {
		return false
	}
	return e.replace(n.Outputs[0], e.add("Softmax", values(sub.Inputs[0]), nodes(top, sub, exp, sum, n), "axis", a))
}

// oneAxis is the axis of a reduction over one that keeps it, counted from the front.
func oneAxis(n *ir.Node) (int64, bool) {
	axes, ok := constInts(input(n, 1))
	r := int64(n.Inputs[0].Type.Rank())
	if !ok || len(axes) != 1 || intAttr(n, "keepdims") != 1 || r < 1 {
		return 0, false
	}
	return (axes[0] + r) % r, true
}
