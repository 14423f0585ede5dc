package ops

import (
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
)

// einsumIsSimple reports an equation of one or two operands whose indices stand once in each and mean one size each,
// so that it is a product of matrices.
func einsumIsSimple(n *ir.Node) bool {
	t, ok := einsumTermsOf(n)
	if !ok || len(t.ins) > 2 {
		return false
	}
	for i, idx := range t.ins {
		for j, r := range idx {
			if slices.Contains(idx[:j], r) {
				return false
			}
			if at := slices.Index(t.ins[0], r); i == 1 && at >= 0 {
				a, b := n.Inputs[0].Type.Shape[at], n.Inputs[1].Type.Shape[j]
				same := a.IsKnown() && b.IsKnown() && a.Size == b.Size || a.Name != "" && a.Name == b.Name
				if !same { // one may be repeated
					return false
				}
			}
		}
	}
	return true
}

func einsumTermsOf(n *ir.Node) (einsumTerms, bool) {
	var ranks []int
	for _, v := range n.Inputs {
		if v == nil || !v.Type.Ranked {
			return einsumTerms{}, false
		}
		ranks = append(ranks, v.Type.Rank())
	}
	t, err := parseEinsum(n.Attrs.(*EinsumAttrs).Equation, ranks)
	return t, err == nil
}

// einsumOperand is an operand and the names of its dimensions.
type einsumOperand struct {
	v   *ir.Value
	idx []rune
}

// simplerEinsum sums what only one operand has, and multiplies [shared, rows, summed] by [shared, summed, columns].
func simplerEinsum(g *ir.Graph, n *ir.Node) ([]*ir.Value, error) {
	e := &expander{g: g, n: n}
	t, _ := einsumTermsOf(n)
	ops := make([]einsumOperand, len(t.ins))
	for i, idx := range t.ins {
		ops[i] = einsumOperand{n.Inputs[i], idx}
		var alone []int64
		var kept []rune
		for j, r := range idx {
			if slices.Contains(t.out, r) || len(t.ins) == 2 && slices.Contains(t.ins[1-i], r) {
				kept = append(kept, r)
			} else {
				alone = append(alone, int64(j))
			}
		}
		if len(alone) > 0 {
			ops[i] = einsumOperand{e.op("ReduceSum", []*ir.Value{ops[i].v, e.ints(alone...)}, "keepdims", int64(0)), kept}
		}
	}
	y := ops[0]
	if len(ops) == 2 {
		y = e.einsumProduct(ops[0], ops[1], t.out)
	}
	return []*ir.Value{e.einsumOrder(y, t.out)}, e.err
}

// einsumOrder puts the dimensions of an operand into an order.
func (e *expander) einsumOrder(o einsumOperand, order []rune) *ir.Value {
	if slices.Equal(o.idx, order) {
		return o.v
	}
	perm := make([]int64, len(order))
	for i, r := range order {
		perm[i] = int64(slices.Index(o.idx, r))
	}
	return e.op("Transpose", []*ir.Value{o.v}, "perm", perm)
}

func (e *expander) einsumProduct(a, b einsumOperand, out []rune) einsumOperand {
	var shared, summed, rows, cols []rune
	for _, r := range a.idx {
		switch inB := slices.Contains(b.idx, r); {
		case inB && slices.Contains(out, r):
			shared = append(shared, r)
		case inB:
			summed = append(summed, r)
		default:
			rows = append(rows, r)
		}
	}
	for _, r := range b.idx {
		if !slices.Contains(a.idx, r) {
			cols = append(cols, r)
		}
	}
	size := func(group []rune) *ir.Value { // the product of the sizes, [1]
		p := e.ints(1)
		for _, r := range group {
			p = e.op("Mul", []*ir.Value{p, e.einsumSize(a, b, r)})
		}
		return p
	}
	flat := func(o einsumOperand, groups ...[]rune) *ir.Value { // one dimension per group
		v := e.einsumOrder(o, slices.Concat(groups...))
		shape := make([]*ir.Value, len(groups))
		for i, group := range groups {
			shape[i] = size(group)
		}
		return e.op("Reshape", []*ir.Value{v, e.op("Concat", shape, "axis", int64(0))}, "allowzero", int64(1))
	}
	y := e.op("MatMul", []*ir.Value{flat(a, shared, rows, summed), flat(b, shared, summed, cols)})
	idx := slices.Concat(shared, rows, cols)
	if len(idx) == 0 {
		return einsumOperand{e.op("Squeeze", []*ir.Value{y}), idx}
	}
	shape := make([]*ir.Value, len(idx))
	for i, r := range idx {
		shape[i] = e.einsumSize(a, b, r)
	}
	return einsumOperand{e.op("Reshape", []*ir.Value{y, e.op("Concat", shape, "axis", int64(0))}, "allowzero", int64(1)), idx}
}

// einsumSize is the size of an index, [1].
func (e *expander) einsumSize(a, b einsumOperand, r rune) *ir.Value {
	o := a
	if !slices.Contains(a.idx, r) {
		o = b
	}
	at := int64(slices.Index(o.idx, r))
	return e.op("Slice", []*ir.Value{e.op("Shape", []*ir.Value{o.v}), e.ints(at), e.ints(at + 1)})
}
