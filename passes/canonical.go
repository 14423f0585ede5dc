package passes

import (
	"context"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
)

// Canonical removes nodes that do nothing and brings the rest into one spelling, so that
// later passes look for one. Its rules are in canonical_*.go.
func Canonical() Pass {
	return Pass{
		Name: "canonical", Doc: "Remove nodes that do nothing and bring the rest into one spelling.", Effect: Exact,
		Run: func(_ context.Context, g *ir.Graph) (bool, error) {
			e := &edit{g: g}
			e.rules(canonicalRules())
			return e.done()
		},
	}
}

// rule rewrites around one node and reports whether it did.
type rule func(e *edit, n *ir.Node) bool

// rules applies rules to every node until none fires. Every firing removes a node or
// moves it towards a form no rule leaves, so this ends; the bound turns a rule that
// breaks that into an error instead of a hang.
func (e *edit) rules(byOp map[string][]rule) {
	for range 64 {
		fired := false
		for _, n := range append([]*ir.Node(nil), e.g.Nodes...) {
			for _, r := range byOp[n.Op.String()] {
				if n.Removed() || !e.read(n) {
					break
				}
				if r(e, n) {
					fired = true
				}
			}
		}
		if !fired {
			return
		}
		removeDead(e.g)
	}
	e.fail(ir.ErrGraph)
}

// read reports whether anybody reads an output of n.
func (e *edit) read(n *ir.Node) bool {
	for _, v := range n.Outputs {
		if v != nil && e.wanted(v) {
			return true
		}
	}
	return false
}

func canonicalRules() map[string][]rule {
	return map[string][]rule{
		"Identity":  {dropNode},
		"Dropout":   {dropDropout},
		"Cast":      {dropCast, mergeCasts},
		"Transpose": {dropTranspose, mergeTransposes, sinkThroughTranspose},
		"Reshape":   {dropSame, constShape, mergeReshapes, transposeInReshapes},
		"Flatten":   {dropSame, toReshape},
		"Squeeze":   {dropSame, toReshape},
		"Unsqueeze": {dropSame, toReshape},
		"Expand":    {dropSame, dropBroadcast},
		"Concat":    {dropConcat},
		"Slice":     {dropSlice},
		"Pad":       {dropPad},
		"Add":       {constRight, dropZero},
		"Sub":       {dropZero},
		"Mul":       {constRight, dropOne, mulToNeg, sinkThroughFactor, unflattenProduct},
		"Div":       {dropOne, sinkThroughFactor},
		"MatMul":    {sinkThroughMatMul},
		"Softmax":   {sinkThroughSoftmax},
		"Pow":       {dropOne},
		"Relu":      {unflattenActivation},
		"Gelu":      {unflattenActivation},
		"Swish":     {unflattenActivation},
		"Neg":       {dropInverse},
		"Not":       {dropInverse},
		"Sum":       {sumToAdd},

		"moec::Linear": {unflatten},
	}
}

func dropNode(e *edit, n *ir.Node) bool { return e.replace(n.Outputs[0], n.Inputs[0]) }

// dropDropout: outside training Dropout is the identity.
func dropDropout(e *edit, n *ir.Node) bool {
	if m := input(n, 2); m != nil {
		if on, ok := number(m); !ok || on != 0 {
			return false
		}
	}
	if len(n.Outputs) > 1 && n.Outputs[1] != nil {
		return false
	}
	return dropNode(e, n)
}

func dropCast(e *edit, n *ir.Node) bool {
	return n.Inputs[0].Type.DType == n.Outputs[0].Type.DType && dropNode(e, n)
}

// mergeCasts drops the first of two casts when it loses nothing: bool or a narrow
// integer or half float through a wider type of its kind.
func mergeCasts(e *edit, n *ir.Node) bool {
	first := def(n.Inputs[0], "Cast")
	if first == nil {
		return false
	}
	from, via := first.Inputs[0].Type.DType, n.Inputs[0].Type.DType
	wider := via.Size() > from.Size() &&
		(from.IsFloat() && via.IsFloat() || from.IsInt() && via.IsInt() && from.IsSigned() == via.IsSigned())
	if !wider {
		return false
	}
	if from == n.Outputs[0].Type.DType {
		return e.replace(n.Outputs[0], first.Inputs[0])
	}
	if from.IsFloat() && !n.Outputs[0].Type.DType.IsFloat() {
		return false // floats to integers and strings: keep the spelling
	}
	e.g.SetInput(n, 0, first.Inputs[0])
	n.Origin = ir.Merge(first, n)
	e.changed = true
	return true
}

// constRight puts a constant operand of a commutative node second.
func constRight(e *edit, n *ir.Node) bool {
	a, b := n.Inputs[0], n.Inputs[1]
	if !a.IsConst() || b.IsConst() {
		return false
	}
	e.g.SetInput(n, 0, b)
	e.g.SetInput(n, 1, a)
	e.changed = true
	return true
}

func dropZero(e *edit, n *ir.Node) bool { return dropNeutral(e, n, 0) }

func dropOne(e *edit, n *ir.Node) bool { return dropNeutral(e, n, 1) }

// dropNeutral removes x+0, x-0, x*1, x/1, x^1 where the constant does not stretch x.
func dropNeutral(e *edit, n *ir.Node, neutral float64) bool {
	c, ok := uniform(n.Inputs[1])
	if !ok || c != neutral || n.Inputs[0].Type.DType != n.Outputs[0].Type.DType || !keepsShape(n.Inputs[0], n.Outputs[0]) {
		return false
	}
	return dropNode(e, n)
}

// mulToNeg spells x * -1 as Neg.
func mulToNeg(e *edit, n *ir.Node) bool {
	c, ok := uniform(n.Inputs[1])
	dt := n.Inputs[0].Type.DType
	if !ok || c != -1 || !(dt.IsFloat() || dt.IsSigned()) || !keepsShape(n.Inputs[0], n.Outputs[0]) {
		return false
	}
	return e.replace(n.Outputs[0], e.add("Neg", values(n.Inputs[0]), nodes(n)))
}

// dropInverse removes -(-x) and not(not x).
func dropInverse(e *edit, n *ir.Node) bool {
	if first := def(n.Inputs[0], n.Op.String()); first != nil {
		return e.replace(n.Outputs[0], first.Inputs[0])
	}
	return false
}

// sumToAdd spells Sum of one or two values as Add.
func sumToAdd(e *edit, n *ir.Node) bool {
	switch len(n.Inputs) {
	case 1:
		return dropNode(e, n)
	case 2:
		return e.replace(n.Outputs[0], e.add("Add", n.Inputs, nodes(n)))
	}
	return false
}

func dropConcat(e *edit, n *ir.Node) bool { return len(n.Inputs) == 1 && dropNode(e, n) }

// dropBroadcast lets readers that broadcast anyway read what was expanded.
func dropBroadcast(e *edit, n *ir.Node) bool {
	x, y := n.Inputs[0], n.Outputs[0]
	fired := false
	for _, u := range append([]*ir.Node(nil), y.Users()...) {
		if !u.Is("Add", "Sub", "Mul", "Div", "Where", "And", "Or", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Pow", "Min", "Max") {
			continue
		}
		for i, v := range u.Inputs {
			if v == y && sameWithout(u, i, x) {
				e.g.SetInput(u, i, x)
				e.changed, fired = true, true
			}
		}
	}
	return fired
}

// sameWithout reports whether a broadcasting node has the same output shape when its
// i-th operand is x.
func sameWithout(u *ir.Node, i int, x *ir.Value) bool {
	out := u.Outputs[0].Type
	shapes := make([][]ir.Dim, len(u.Inputs))
	for j, v := range u.Inputs {
		if j == i {
			v = x
		}
		if !v.Type.Ranked {
			return false
		}
		shapes[j] = v.Type.Shape
	}
	got, err := ops.BroadcastDims(shapes...)
	return err == nil && out.Ranked && sameDims(got, out.Shape)
}
