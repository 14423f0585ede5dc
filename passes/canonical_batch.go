package passes

import (
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
)

// Older exporters multiply batches of matrices with batch and heads flattened into one
// axis. These rules move that flattening, a Reshape from [b,h,m,n] to [b*h,m,n], towards
// the outputs until it meets its inverse, which leaves plain products of four axes.

// flattened is the value of four axes behind v when v only flattens its leading two.
func flattened(v *ir.Value) *ir.Value {
	n := def(v, "Reshape")
	if n == nil {
		return nil
	}
	x, y := n.Inputs[0].Type, v.Type
	if x.Rank() != 4 || y.Rank() != 3 || !sameDims(x.Shape[2:], y.Shape[1:]) || !ir.MulDim(x.Shape[0], x.Shape[1]).Same(y.Shape[0]) {
		return nil
	}
	return n.Inputs[0]
}

// flatten is v [b,h,m,n] as [b*h,m,n].
func (e *edit) flatten(v *ir.Value, from *ir.Node) *ir.Value {
	s := v.Type.Shape
	out := ir.MakeType(v.Type.DType, ir.MulDim(s[0], s[1]), s[2], s[3])
	shape, ok := reshapeTo(v.Type, out)
	if ok {
		return e.add("Reshape", values(v, e.ints(shape...)), nodes(from))
	}
	tail := e.add("Shape", values(v), nodes(from), "start", int64(2))
	to := e.add("Concat", values(e.ints(-1), tail), nodes(from), "axis", int64(0))
	y := e.add("Reshape", values(v, to), nodes(from))
	y.Type = out // one node alone does not see what its target shape holds
	return y
}

func sinkThroughMatMul(e *edit, n *ir.Node) bool {
	x, y := flattened(n.Inputs[0]), flattened(n.Inputs[1])
	if x == nil || y == nil || !sameDims(x.Type.Shape[:2], y.Type.Shape[:2]) {
		return false
	}
	return e.replace(n.Outputs[0], e.flatten(e.add("MatMul", values(x, y), nodes(n)), n))
}

func sinkThroughTranspose(e *edit, n *ir.Node) bool {
	x := flattened(n.Inputs[0])
	if x == nil || !slices.Equal(perm(n), []int64{0, 2, 1}) {
		return false
	}
	return e.replace(n.Outputs[0], e.flatten(e.add("Transpose", values(x), nodes(n), "perm", []int64{0, 1, 3, 2}), n))
}

func sinkThroughSoftmax(e *edit, n *ir.Node) bool {
	x := flattened(n.Inputs[0])
	if axis := intAttr(n, "axis"); x == nil || axis != -1 && axis != 2 {
		return false
	}
	return e.replace(n.Outputs[0], e.flatten(e.add("Softmax", values(x), nodes(n), "axis", int64(-1)), n))
}

// sinkThroughFactor: products and quotients with a number.
func sinkThroughFactor(e *edit, n *ir.Node) bool {
	x := flattened(n.Inputs[0])
	if _, ok := number(n.Inputs[1]); x == nil || !ok || !sameType(n.Inputs[0].Type, n.Outputs[0].Type) {
		return false
	}
	return e.replace(n.Outputs[0], e.flatten(e.add(n.Op.Name, values(x, n.Inputs[1]), nodes(n)), n))
}
