package passes

import (
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
)

func sameDims(a, b []ir.Dim) bool {
	return slices.EqualFunc(a, b, ir.Dim.Same)
}

func sameType(a, b ir.Type) bool {
	return a.DType == b.DType && a.Ranked && b.Ranked && sameDims(a.Shape, b.Shape)
}

// dropSame removes a reshaping or expanding node whose output has its input's shape.
func dropSame(e *edit, n *ir.Node) bool {
	return sameType(n.Inputs[0].Type, n.Outputs[0].Type) && dropNode(e, n)
}

func dropTranspose(e *edit, n *ir.Node) bool {
	for i, p := range perm(n) {
		if int64(i) != p {
			return false
		}
	}
	return perm(n) != nil && dropNode(e, n)
}

// perm is the permutation of a Transpose, nil when it depends on an unknown rank.
func perm(n *ir.Node) []int64 {
	p := intsAttr(n, "perm")
	if t := n.Inputs[0].Type; len(p) == 0 && t.Ranked {
		p = make([]int64, len(t.Shape))
		for i := range p {
			p[i] = int64(len(p) - 1 - i)
		}
	}
	return p
}

func mergeTransposes(e *edit, n *ir.Node) bool {
	first := def(n.Inputs[0], "Transpose")
	if first == nil {
		return false
	}
	p, q := perm(first), perm(n)
	if p == nil || len(p) != len(q) {
		return false
	}
	r := make([]int64, len(q))
	for i := range q {
		r[i] = p[q[i]]
	}
	return e.replace(n.Outputs[0], e.add("Transpose", values(first.Inputs[0]), nodes(first, n), "perm", r))
}

// reshapeTo finds a constant shape that takes a value of type in to type out in every
// run: known sizes, 0 for an axis copied from the same place, and -1 for one more. (In
// an empty value, one where a copied size is zero, -1 comes out as zero.)
func reshapeTo(in, out ir.Type) ([]int64, bool) {
	if !in.Ranked || !out.Ranked {
		return nil, false
	}
	shape := make([]int64, len(out.Shape))
	open := -1
	for i, d := range out.Shape {
		switch {
		case d.IsKnown() && d.Size > 0:
			shape[i] = d.Size
		case i < len(in.Shape) && d.Same(in.Shape[i]):
			shape[i] = 0
		case open < 0 && !d.IsKnown():
			open, shape[i] = i, -1
		default:
			return nil, false
		}
	}
	return shape, true
}

// constShape gives Reshape a constant target shape where the types allow one: the
// arithmetic that computed it becomes dead.
func constShape(e *edit, n *ir.Node) bool {
	if n.Inputs[1].IsConst() {
		return false
	}
	return toReshape(e, n)
}

// toReshape spells a node that only changes the shape as a Reshape to a constant shape.
func toReshape(e *edit, n *ir.Node) bool {
	x, y := n.Inputs[0], n.Outputs[0]
	shape, ok := reshapeTo(x.Type, y.Type)
	if !ok {
		return false
	}
	return e.replace(y, e.add("Reshape", values(x, e.ints(shape...)), nodes(n)))
}

// mergeReshapes drops the first of two Reshapes.
func mergeReshapes(e *edit, n *ir.Node) bool {
	first := def(n.Inputs[0], "Reshape")
	if first == nil {
		return false
	}
	x, y := first.Inputs[0], n.Outputs[0]
	if sameType(x.Type, y.Type) {
		return e.replace(y, x)
	}
	if !e.g.OnlyUse(n.Inputs[0]) {
		return false // the first one stays, and others may match it
	}
	shape, ok := reshapeTo(x.Type, y.Type)
	if !ok {
		return false
	}
	return e.replace(y, e.add("Reshape", values(x, e.ints(shape...)), nodes(first, n)))
}

// transposeInReshapes turns a swap of the last two axes, done with the leading axes
// flattened into one, into the same swap without the flattening.
func transposeInReshapes(e *edit, n *ir.Node) bool {
	tr := def(n.Inputs[0], "Transpose")
	if tr == nil || !slices.Equal(perm(tr), []int64{0, 2, 1}) {
		return false
	}
	flat := def(tr.Inputs[0], "Reshape")
	if flat == nil {
		return false
	}
	x, y := flat.Inputs[0], n.Outputs[0]
	r := x.Type.Rank()
	mid := tr.Inputs[0].Type
	if r < 4 || y.Type.Rank() != r || !sameDims(mid.Shape[1:], x.Type.Shape[r-2:]) ||
		!sameDims(x.Type.Shape[:r-2], y.Type.Shape[:r-2]) ||
		!x.Type.Shape[r-2].Same(y.Type.Shape[r-1]) || !x.Type.Shape[r-1].Same(y.Type.Shape[r-2]) {
		return false
	}
	p := make([]int64, r)
	for i := range p {
		p[i] = int64(i)
	}
	p[r-2], p[r-1] = p[r-1], p[r-2]
	return e.replace(y, e.add("Transpose", values(x), nodes(flat, tr, n), "perm", p))
}

// dropSlice removes a Slice that takes all: steps of one and the same sizes.
func dropSlice(e *edit, n *ir.Node) bool {
	if s := input(n, 4); s != nil {
		steps, ok := constInts(s)
		if !ok || slices.ContainsFunc(steps, func(x int64) bool { return x != 1 }) {
			return false
		}
	}
	return dropSame(e, n)
}

// dropPad removes a Pad by nothing.
func dropPad(e *edit, n *ir.Node) bool {
	pads, ok := constInts(n.Inputs[1])
	return ok && !slices.ContainsFunc(pads, func(x int64) bool { return x != 0 }) && dropNode(e, n)
}
