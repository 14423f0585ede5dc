package passes

import (
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
)

// How the heads of q, k and v were split from, and the output's are merged into, values
// that hold them side by side.

// ungroup undoes the repetition of key and value heads for groups of query heads:
// reshape(expand([b,h,1,s,d] to [b,h,g,s,d]) to [b,h*g,s,d]), on both or on neither.
func (a *attention) ungroup(k, v *ir.Value) (k2, v2 *ir.Value, heads int64) {
	k2, v2 = repeated(k), repeated(v)
	if k2 == nil || v2 == nil || k2.Type.Shape[1] != v2.Type.Shape[1] {
		return k, v, k.Type.Shape[1].Size
	}
	for _, x := range []*ir.Value{k, v} {
		a.from = append(a.from, x.Def, x.Def.Inputs[0].Def)
	}
	return k2, v2, k2.Type.Shape[1].Size
}

// repeated is the value whose heads x repeats, each g times in a row; nil when x is not
// of that form.
func repeated(x *ir.Value) *ir.Value {
	merge := def(x, "Reshape")
	if merge == nil {
		return nil
	}
	expand := def(merge.Inputs[0], "Expand")
	if expand == nil {
		return nil
	}
	insert := def(expand.Inputs[0], "Reshape", "Unsqueeze")
	if insert == nil {
		return nil
	}
	from, thin, wide, to := insert.Inputs[0].Type, expand.Inputs[0].Type, expand.Outputs[0].Type, x.Type
	if from.Rank() != 4 || thin.Rank() != 5 || wide.Rank() != 5 || to.Rank() != 4 {
		return nil
	}
	f, t, w, o := from.Shape, thin.Shape, wide.Shape, to.Shape
	ok := sameDims(t, []ir.Dim{f[0], f[1], ir.Known(1), f[2], f[3]}) &&
		sameDims([]ir.Dim{w[0], w[1], w[3], w[4]}, f) &&
		w[2].IsKnown() && f[1].IsKnown() && o[1] == ir.Known(f[1].Size*w[2].Size) &&
		sameDims([]ir.Dim{o[0], o[2], o[3]}, []ir.Dim{f[0], f[2], f[3]})
	if !ok {
		return nil
	}
	return insert.Inputs[0]
}

// split looks behind x [b,h,s,d] for the value [b,s,...] that it was split from, and for
// where in its last axis the heads begin.
func (a *attention) split(x *ir.Value) (src *ir.Value, offset int64, layout string, from []*ir.Node) {
	if src, offset, from = unpacked(x); src != nil {
		return src, offset, ops.LayoutBSD, from
	}
	tr := def(x, "Transpose")
	if tr == nil || !slices.Equal(perm(tr), []int64{0, 2, 1, 3}) {
		return x, 0, ops.LayoutBHSD, nil
	}
	rs := def(tr.Inputs[0], "Reshape")
	if rs == nil || !splitsLast(rs) {
		return x, 0, ops.LayoutBHSD, nil
	}
	src, from = rs.Inputs[0], nodes(tr, rs)
	if whole, at, n := partOfLast(src); whole != nil {
		return whole, at, ops.LayoutBSD, append(from, n)
	}
	return src, 0, ops.LayoutBSD, from
}

// splitsLast reports whether a Reshape does nothing but split the last axis of [b,s,h*d].
func splitsLast(n *ir.Node) bool {
	x, y := n.Inputs[0].Type, n.Outputs[0].Type
	return x.Rank() == 3 && y.Rank() == 4 && sameDims(x.Shape[:2], y.Shape[:2]) &&
		y.Shape[2].IsKnown() && y.Shape[3].IsKnown() && x.Shape[2] == ir.Known(y.Shape[2].Size*y.Shape[3].Size)
}

// partOfLast looks behind v for a value of which it is a run of the last axis, cut out
// by Split or Slice.
func partOfLast(v *ir.Value) (whole *ir.Value, at int64, n *ir.Node) {
	last := int64(v.Type.Rank() - 1)
	if n := def(v, "Split"); n != nil {
		if axis := intAttr(n, "axis"); axis != -1 && axis != last {
			return nil, 0, nil
		}
		for _, o := range n.Outputs[:v.Index] {
			if o == nil || !o.Type.Shape[last].IsKnown() {
				return nil, 0, nil
			}
			at += o.Type.Shape[last].Size
		}
		return n.Inputs[0], at, n
	}
	if n := def(v, "Slice"); n != nil && n.Inputs[0].Type.Ranked {
		start, ok1 := constInts(input(n, 1))
		axes, ok2 := constInts(input(n, 3))
		steps, ok3 := constInts(input(n, 4))
		width := n.Inputs[0].Type.Shape[last]
		if ok1 && ok2 && len(start) == 1 && len(axes) == 1 && (axes[0] == -1 || axes[0] == last) &&
			(input(n, 4) == nil || ok3 && steps[0] == 1) && width.IsKnown() && v.Type.Shape[last].IsKnown() {
			if at = start[0]; at < 0 {
				at += width.Size
			}
			if at >= 0 && at+v.Type.Shape[last].Size <= width.Size {
				return n.Inputs[0], at, n
			}
		}
	}
	return nil, 0, nil
}

// unpacked looks behind x [b,h,s,d] for [b,s,p*h*d] seen as [b,s,p,h,d], transposed to
// [p,b,h,s,d] and indexed: how vision transformers pack q, k and v.
func unpacked(x *ir.Value) (src *ir.Value, offset int64, from []*ir.Node) {
	var part *ir.Node
	var packed *ir.Value
	index := int64(0)
	if n := def(x, "Gather"); n != nil {
		i, ok := number(n.Inputs[1])
		if !ok || intAttr(n, "axis") != 0 || n.Inputs[1].Type.Rank() != 0 || i < 0 {
			return nil, 0, nil
		}
		part, packed, index = n, n.Inputs[0], int64(i)
	} else if n := def(x, "Reshape", "Squeeze"); n != nil {
		cut := def(n.Inputs[0], "Split")
		if cut == nil || intAttr(cut, "axis") != 0 || n.Inputs[0].Type.Rank() != 5 || n.Inputs[0].Type.Shape[0] != ir.Known(1) {
			return nil, 0, nil
		}
		if !sameDims(n.Inputs[0].Type.Shape[1:], x.Type.Shape) {
			return nil, 0, nil
		}
		part, packed, index = cut, cut.Inputs[0], int64(n.Inputs[0].Index)
		for _, o := range cut.Outputs[:index] {
			if o == nil || o.Type.Shape[0] != ir.Known(1) {
				return nil, 0, nil
			}
		}
	}
	tr := def(packed, "Transpose")
	if tr == nil || !slices.Equal(perm(tr), []int64{2, 0, 3, 1, 4}) {
		return nil, 0, nil
	}
	rs := def(tr.Inputs[0], "Reshape")
	if rs == nil {
		return nil, 0, nil
	}
	s, t := rs.Inputs[0].Type, rs.Outputs[0].Type
	if s.Rank() != 3 || t.Rank() != 5 || !sameDims(s.Shape[:2], t.Shape[:2]) || !s.Shape[2].IsKnown() {
		return nil, 0, nil
	}
	for _, d := range t.Shape[2:] {
		if !d.IsKnown() {
			return nil, 0, nil
		}
	}
	return rs.Inputs[0], index * t.Shape[3].Size * t.Shape[4].Size, nodes(rs, tr, part)
}

// merge looks ahead of the output [b,h,s,d] for the merging of its heads.
func (a *attention) merge(y *ir.Value) *ir.Value {
	a.attrs.OutLayout = ops.LayoutBHSD
	if !a.e.g.OnlyUse(y) {
		return y
	}
	tr := y.Users()[0]
	if !tr.Is("Transpose") || !slices.Equal(perm(tr), []int64{0, 2, 1, 3}) || !a.e.g.OnlyUse(tr.Outputs[0]) {
		return y
	}
	rs := tr.Outputs[0].Users()[0]
	if !rs.Is("Reshape") || rs.Inputs[0] != tr.Outputs[0] {
		return y
	}
	x, z := tr.Outputs[0].Type, rs.Outputs[0].Type
	if z.Rank() == 3 && sameDims(x.Shape[:2], z.Shape[:2]) && z.Shape[2] == ir.Known(a.attrs.Heads*a.attrs.VHeadDim) {
		a.from = append(a.from, tr, rs)
		a.attrs.OutLayout = ops.LayoutBSD
		return rs.Outputs[0]
	}
	if z.Rank() == 2 && z.Shape[1] == ir.Known(a.attrs.Heads*a.attrs.VHeadDim) {
		// Flattened for a Gemm: the flattening stays, behind the merged heads.
		a.from = append(a.from, tr)
		a.attrs.OutLayout = ops.LayoutBSD
		return tr.Outputs[0]
	}
	return y
}
