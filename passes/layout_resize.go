package passes

import (
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// image takes note of tokens [n, positions, c] that become an image [n, c, spatial...], by a Transpose and the
// Reshape n: with channels last they are one as they lie.
func (l *lastEdit) image(n *ir.Node) bool {
	tr := def(n.Inputs[0], "Transpose")
	if tr == nil || !slices.Equal(perm(tr), []int64{0, 2, 1}) {
		return false
	}
	t, y := tr.Outputs[0].Type, n.Outputs[0].Type
	if t.Rank() != 3 || y.Rank() < 4 || y.Rank() > 5 || !sameDims(t.Shape[:2], y.Shape[:2]) {
		return false
	}
	shape := []int64{0}
	for _, d := range append(slices.Clone(y.Shape[2:]), y.Shape[1]) {
		if !d.IsKnown() || d.Size == 0 {
			return false
		}
		shape = append(shape, d.Size)
	}
	l.last[n.Outputs[0]] = l.add("Reshape", values(tr.Inputs[0], l.ints(shape...)), nodes(tr, n))
	return true
}

// resize moves a Resize of positions alone.
func (l *lastEdit) resize(n *ir.Node) {
	x, a := n.Inputs[0], n.Attrs.(*ops.ResizeAttrs)
	img, in, out := l.last[x], x.Type, n.Outputs[0].Type
	if img == nil || out.Rank() != in.Rank() || a.CoordinateTransformationMode == "tf_crop_and_resize" {
		return
	}
	axes := a.Axes
	if axes == nil {
		for i := range in.Rank() {
			axes = append(axes, int64(i))
		}
	}
	scales, sizes := input(n, 2), input(n, 3)
	if empty(scales) {
		scales = nil
	}
	if empty(sizes) {
		sizes = nil
	}
	var factors []float32
	if scales != nil {
		if !scales.IsConst() || scales.Const.DType() != tensor.F32 || scales.Const.Len() != len(axes) {
			return
		}
		factors = tensor.Data[float32](scales.Const)
	}
	if (scales == nil) == (sizes == nil) || sizes != nil && a.KeepAspectRatioPolicy != "stretch" {
		return
	}
	var to []int64
	var by []float32
	b := *a
	b.Axes = nil
	for i, ax := range axes {
		if ax < 0 {
			ax += int64(in.Rank())
		}
		switch d := out.Shape[ax]; {
		case ax < 2 && (!d.Same(in.Shape[ax]) || factors != nil && factors[i] != 1):
			return
		case ax < 2:
			continue
		case factors != nil:
			by = append(by, factors[i])
		case d.IsKnown():
			to = append(to, d.Size)
		default:
			return
		}
		b.Axes = append(b.Axes, ax-1)
	}
	if len(b.Axes) == 0 {
		return
	}
	ins := values(img, nil)
	if factors != nil {
		ins = append(ins, l.g.NewConst("", tensor.Of(by, len(by))))
	} else {
		ins = append(ins, nil, l.ints(to...))
	}
	l.becomes(n, l.addAttrs(n.Op, &b, ins, nodes(n), 1).Outputs[0])
}

// empty reports whether v is absent or a constant without elements, by which older operator sets say so.
func empty(v *ir.Value) bool { return v == nil || v.IsConst() && v.Const.Len() == 0 }
