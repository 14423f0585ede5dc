package ops

import (
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// resizedAxes are the axes that a Resize changes, as positions among those that it speaks of; ok is false where axes
// depend on each other or on a region.
func resizedAxes(n *ir.Node) (axes, at []int, ok bool) {
	a, x := n.Attrs.(*ResizeAttrs), n.Inputs[0]
	axes, err := resizeAxes(a, x.Type.Rank())
	scales, sizes := nodeInput(n, 2), nodeInput(n, 3)
	if err != nil || a.CoordinateTransformationMode == "tf_crop_and_resize" || a.KeepAspectRatioPolicy != "stretch" || scales == nil && sizes == nil {
		return nil, nil, false
	}
	for i, axis := range axes {
		if scales.IsConst() {
			if s, err := scales.Const.Float64s(); err == nil && i < len(s) && s[i] == 1 {
				continue
			}
		}
		if sizes.IsConst() {
			if s, err := sizes.Const.Int64s(); err == nil && i < len(s) && x.Type.Shape[axis].IsKnown() && x.Type.Shape[axis].Size == s[i] {
				continue
			}
		}
		at = append(at, i)
	}
	return axes, at, true
}

func nodeInput(n *ir.Node, i int) *ir.Value {
	if i < len(n.Inputs) {
		return n.Inputs[i]
	}
	return nil
}

// simplerResize resamples axis after axis: by a Gather of positions, or by the product with a matrix. Positions are what
// the same Resize makes of 0, 1, 2, ..., the matrix what it makes of the identity: both follow from shapes alone.
func simplerResize(g *ir.Graph, n *ir.Node) ([]*ir.Value, error) {
	e, a := &expander{g: g, n: n}, n.Attrs.(*ResizeAttrs)
	y := n.Inputs[0]
	dt := y.Type.DType
	axes, at, _ := resizedAxes(n)
	for _, i := range at {
		axis := int64(axes[i])
		size := e.op("Shape", []*ir.Value{y}, "start", axis, "end", axis+1)
		if int(axis) == y.Type.Rank()-1 {
			size = e.op("Shape", []*ir.Value{y}, "start", axis)
		}
		one := func(v *ir.Value) *ir.Value { // the axis's own scale or size
			if v == nil {
				return nil
			}
			return e.op("Slice", []*ir.Value{v, e.ints(int64(i)), e.ints(int64(i) + 1)})
		}
		resample := func(v *ir.Value) *ir.Value {
			op := g.Op("Resize")
			b := *a
			b.Axes = []int64{0}
			m := g.Add(op, &b, []*ir.Value{v, nil, one(nodeInput(n, 2)), one(nodeInput(n, 3))}, "")
			m.Origin = n.Origin
			if err := ir.InferNode(m); err != nil && e.err == nil {
				e.err = ir.NodeError(m, err)
			}
			return m.Outputs[0]
		}
		if a.Mode == "nearest" {
			zero, step := g.NewConst("", tensor.Scalar(int64(0))), g.NewConst("", tensor.Scalar(int64(1)))
			all := e.op("Range", []*ir.Value{zero, e.op("Squeeze", []*ir.Value{size, e.ints(0)}), step})
			from := e.op("Cast", []*ir.Value{resample(e.op("Cast", []*ir.Value{all}, "to", tensor.F32))}, "to", tensor.I64)
			y = e.op("Gather", []*ir.Value{y, from}, "axis", axis)
			continue
		}
		square := e.op("ConstantOfShape", []*ir.Value{e.op("Concat", []*ir.Value{size, size}, "axis", int64(0))})
		by := resample(e.op("EyeLike", []*ir.Value{square}, "dtype", dt)) // [out, in]
		if int(axis) == y.Type.Rank()-1 {
			y = e.op("MatMul", []*ir.Value{y, e.op("Transpose", []*ir.Value{by}, "perm", []int64{1, 0})})
		} else {
			y = e.op("MatMul", []*ir.Value{by, y})
		}
	}
	return []*ir.Value{y}, e.err
}

// resizeIsSimple reports a Resize that simplerResize writes: positions along any axis, products along the last two.
func resizeIsSimple(n *ir.Node) bool {
	axes, at, ok := resizedAxes(n)
	if !ok || n.Attrs.(*ResizeAttrs).Mode == "nearest" {
		return ok && n.Inputs[0].Type.Rank() > 0
	}
	return !slices.ContainsFunc(at, func(i int) bool { return axes[i] < n.Inputs[0].Type.Rank()-2 })
}
