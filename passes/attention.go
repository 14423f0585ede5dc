package passes

import (
	"context"
	"math"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Attentions finds scaled dot-product attention, with the splitting and merging of heads
// around it, in MatMul, Softmax, MatMul.
func Attentions() Pass {
	return Pass{
		Name: "attention", Doc: "Find attention, with its head splitting and merging, around a Softmax.", Effect: Rounding,
		Run: func(_ context.Context, g *ir.Graph) (bool, error) {
			e := &edit{g: g}
			e.rules(map[string][]rule{"Softmax": {findAttention}})
			return e.done()
		},
	}
}

// attention is what the matcher has gathered around one Softmax.
type attention struct {
	e     *edit
	attrs *ops.FusedAttentionAttrs
	scale float64
	mask  *ir.Value // nil: none
	not   bool      // the mask is true where it hides
	from  []*ir.Node
	dt    tensor.DType
}

// findAttention climbs down from the Softmax to the output and up to q and k:
//
//	softmax(mask(scale (q @ k^T))) @ v
func findAttention(e *edit, soft *ir.Node) bool {
	s := soft.Inputs[0]
	// Half-precision models widen the scores for the Softmax alone.
	wide := def(s, "Cast")
	if wide != nil && e.g.OnlyUse(s) && wide.Inputs[0].Type.DType.IsFloat() && wide.Inputs[0].Type.DType.Size() < s.Type.DType.Size() {
		s = wide.Inputs[0]
	} else {
		wide = nil
	}
	r := s.Type.Rank()
	axis := intAttr(soft, "axis")
	if !s.Type.DType.IsFloat() || r != 4 && r != 3 || axis != -1 && axis != int64(r-1) {
		return false
	}
	a := &attention{
		e: e, scale: 1, dt: s.Type.DType, from: nodes(soft),
		attrs: newAttention(e),
	}
	weights := a.nanGuard(soft.Outputs[0])
	if wide != nil {
		if !e.g.OnlyUse(weights) || !weights.Users()[0].Is("Cast") {
			return false
		}
		back := weights.Users()[0]
		weights = back.Outputs[0]
		a.from = append(a.from, wide, back)
		if weights.Type.DType != a.dt {
			return false
		}
	}
	if !e.g.OnlyUse(weights) {
		return false
	}
	pv := weights.Users()[0]
	if !pv.Is("MatMul") || pv.Inputs[0] != weights || pv.Inputs[1] == weights {
		return false
	}
	s = a.peelScale(a.peelMasks(a.peelScale(s)))
	qk := def(s, "MatMul")
	if qk == nil || !e.g.OnlyUse(s) {
		return false
	}
	a.from = append(a.from, qk, pv)
	q, k, v := a.peelFactor(qk.Inputs[0]), a.keys(a.peelFactor(qk.Inputs[1])), pv.Inputs[1]
	if k == nil {
		return false
	}
	k = a.peelFactor(k)
	if r == 3 {
		return a.single(q, k, v, pv)
	}
	return a.heads(q, k, v, pv)
}

// nanGuard passes where(isnan(w), 0, w), which makes positions that see nothing zero.
func (a *attention) nanGuard(w *ir.Value) *ir.Value {
	users := w.Users()
	if len(users) != 2 || a.e.g.IsOutput(w) {
		return w
	}
	for i, u := range users {
		where := users[1-i]
		if !u.Is("IsNaN") || !where.Is("Where") || !a.e.g.OnlyUse(u.Outputs[0]) ||
			where.Inputs[0] != u.Outputs[0] || where.Inputs[2] != w {
			continue
		}
		if zero, ok := number(where.Inputs[1]); !ok || zero != 0 || !sameType(w.Type, where.Outputs[0].Type) {
			continue
		}
		a.attrs.NaNToZero = true
		a.from = append(a.from, u, where)
		return where.Outputs[0]
	}
	return w
}

// peelScale takes products and quotients with numbers off the scores.
func (a *attention) peelScale(s *ir.Value) *ir.Value {
	if a.mask != nil || a.e.g.OnlyUse(s) {
		return a.peelFactor(s)
	}
	return s
}

// peelFactor takes a product or quotient with a number off a value: a factor of the
// scores wherever it stands among q, k and their product.
func (a *attention) peelFactor(v *ir.Value) *ir.Value {
	n := def(v, "Mul", "Div")
	if n == nil || !a.e.g.OnlyUse(v) {
		return v
	}
	c, ok := number(n.Inputs[1])
	if !ok || !sameType(n.Inputs[0].Type, v.Type) || c == 0 || a.scaledMask(n) {
		return v
	}
	if n.Is("Div") {
		c = 1 / c
	}
	a.scale *= c
	a.from = append(a.from, n)
	return n.Inputs[0]
}

// scaledMask reports whether a factor applies to the sum of scores and mask, not to the
// scores alone.
func (a *attention) scaledMask(n *ir.Node) bool {
	x := n.Inputs[0]
	return a.mask == nil && def(x, "MatMul") == nil && def(x, "Add", "Where") != nil
}

// scoreMask is one mask on the scores: a value that is added, or the choice between the
// scores and a number by a bool value.
type scoreMask struct {
	v    *ir.Value
	bool bool
	not  bool    // bool: true hides
	fill float64 // bool: what stands where the mask hides
	n    *ir.Node
}

// peelMasks takes one or two masks off the scores and joins them.
func (a *attention) peelMasks(s *ir.Value) *ir.Value {
	inner, outer := a.oneMask(s)
	if outer == nil {
		return s
	}
	if deeper, second := a.oneMask(inner); second != nil {
		joined := a.join(outer, second)
		if joined == nil {
			return s
		}
		inner, outer = deeper, joined
		a.from = append(a.from, second.n)
	}
	a.mask, a.not = outer.v, outer.not
	if outer.bool {
		a.attrs.Fill = float32(outer.fill)
	}
	a.from = append(a.from, outer.n)
	return inner
}

func (a *attention) oneMask(s *ir.Value) (scores *ir.Value, m *scoreMask) {
	n := def(s, "Add", "Where")
	if n == nil || !a.e.g.OnlyUse(s) {
		return s, nil
	}
	small := func(v *ir.Value) bool { return v.Type.Ranked && len(v.Type.Shape) <= 4 }
	if n.Is("Add") {
		for i, x := range n.Inputs {
			v := n.Inputs[1-i]
			if isScores(x, 5) && sameType(x.Type, s.Type) && small(v) {
				return x, &scoreMask{v: v, n: n}
			}
		}
		return s, nil
	}
	for i := 1; i <= 2; i++ {
		x := n.Inputs[i]
		fill, ok := number(n.Inputs[3-i])
		if ok && isScores(x, 5) && sameType(x.Type, s.Type) && small(n.Inputs[0]) {
			return x, &scoreMask{v: n.Inputs[0], bool: true, not: i == 2, fill: fill, n: n}
		}
	}
	return s, nil
}

// join makes one added mask of two, or nil. A number that hides must be so large that
// scores vanish beside it: then adding it is choosing it.
func (a *attention) join(outer, inner *scoreMask) *scoreMask {
	e := a.e
	from := nodes(outer.n, inner.n)
	choose := func(m *scoreMask, shown *ir.Value) *ir.Value {
		t, err := ops.ScalarOf(a.dt, m.fill)
		if err != nil {
			return nil
		}
		hidden := e.g.NewConst("", t)
		if m.not {
			shown, hidden = hidden, shown
		}
		return e.add("Where", values(m.v, shown, hidden), from)
	}
	hides := func(m *scoreMask) bool { return m.fill <= largeMask(a.dt) }
	var v *ir.Value
	switch {
	case outer.bool && !inner.bool && hides(outer) && inner.v.Type.DType == a.dt:
		v = choose(outer, inner.v)
	case !outer.bool && inner.bool && hides(inner) && outer.v.Type.DType == a.dt:
		t, err := ops.ScalarOf(a.dt, 0)
		if err != nil {
			return nil
		}
		v = e.add("Add", values(choose(inner, e.g.NewConst("", t)), outer.v), from)
	case !outer.bool && !inner.bool:
		v = e.add("Add", values(inner.v, outer.v), from)
	}
	if v == nil || !v.Type.Ranked || len(v.Type.Shape) > 4 {
		return nil
	}
	return &scoreMask{v: v, n: outer.n}
}

// largeMask is the number from which on down scores of up to some thousands vanish in a
// sum of the element type.
func largeMask(dt tensor.DType) float64 {
	if dt == tensor.F16 {
		return math.Inf(-1) // f16 has no room for both
	}
	return -1e30
}

// isScores reports whether v is q @ k^T, perhaps scaled and masked: the operand of a sum
// that is not the mask.
func isScores(v *ir.Value, depth int) bool {
	n := def(v, "MatMul", "Mul", "Div", "Add", "Where")
	if n == nil || depth == 0 {
		return false
	}
	switch n.Op.Name {
	case "MatMul":
		return !n.Inputs[1].IsConst()
	case "Add":
		return isScores(n.Inputs[0], depth-1) || isScores(n.Inputs[1], depth-1)
	case "Where":
		return isScores(n.Inputs[1], depth-1) || isScores(n.Inputs[2], depth-1)
	}
	_, ok := number(n.Inputs[1])
	return ok && isScores(n.Inputs[0], depth-1)
}

// keys undoes the transposition of the last two axes of k^T. When more than that was
// permuted at once, a Transpose of the rest remains, which the layouts may absorb.
func (a *attention) keys(kt *ir.Value) *ir.Value {
	n := def(kt, "Transpose")
	if n == nil {
		if r := kt.Type.Rank(); r >= 3 {
			return a.e.add("Transpose", values(kt), nil, "perm", swapLast(identityPerm(r)))
		}
		return nil
	}
	p := swapLast(slices.Clone(perm(n)))
	a.from = append(a.from, n)
	if slices.Equal(p, identityPerm(len(p))) {
		return n.Inputs[0]
	}
	return a.e.add("Transpose", values(n.Inputs[0]), nodes(n), "perm", p)
}

func identityPerm(r int) []int64 {
	p := make([]int64, r)
	for i := range p {
		p[i] = int64(i)
	}
	return p
}

func swapLast(p []int64) []int64 {
	if r := len(p); r >= 2 {
		p[r-1], p[r-2] = p[r-2], p[r-1]
	}
	return p
}

// single emits attention over [batch, position, width]: one head.
func (a *attention) single(q, k, v *ir.Value, pv *ir.Node) bool {
	if a.mask != nil && len(a.mask.Type.Shape) > 2 || q.Type.Rank() != 3 || k.Type.Rank() != 3 || v.Type.Rank() != 3 ||
		!sameBatch(0, q, k, v) || !q.Type.Shape[2].IsKnown() || !v.Type.Shape[2].IsKnown() {
		return false
	}
	a.attrs.Heads, a.attrs.KVHeads = 1, 1
	a.attrs.HeadDim, a.attrs.VHeadDim = q.Type.Shape[2].Size, v.Type.Shape[2].Size
	return a.emit(q, k, v, pv.Outputs[0])
}

// sameBatch reports whether values certainly agree in one axis.
func sameBatch(axis int, vs ...*ir.Value) bool {
	for _, v := range vs[1:] {
		if !v.Type.Shape[axis].Same(vs[0].Type.Shape[axis]) {
			return false
		}
	}
	return true
}

// heads emits attention over [batch, head, position, head dim], reading and writing the
// heads side by side where a Transpose and a Reshape did nothing but split and merge them.
func (a *attention) heads(q, k, v *ir.Value, pv *ir.Node) bool {
	for _, x := range []*ir.Value{q, k, v} {
		if x.Type.Rank() != 4 || !x.Type.Shape[1].IsKnown() || !x.Type.Shape[3].IsKnown() {
			return false
		}
	}
	a.attrs.Heads, a.attrs.HeadDim, a.attrs.VHeadDim = q.Type.Shape[1].Size, q.Type.Shape[3].Size, v.Type.Shape[3].Size
	k, v, a.attrs.KVHeads = a.ungroup(k, v)
	if !sameBatch(0, q, k, v) || a.attrs.KVHeads < 1 || a.attrs.Heads%a.attrs.KVHeads != 0 ||
		k.Type.Shape[1] != v.Type.Shape[1] || a.attrs.HeadDim < 1 || a.attrs.VHeadDim < 1 {
		return false
	}
	var nq, nk, nv []*ir.Node
	q, a.attrs.QOffset, a.attrs.QLayout, nq = a.split(q)
	k, a.attrs.KOffset, a.attrs.KLayout, nk = a.split(k)
	v, a.attrs.VOffset, a.attrs.VLayout, nv = a.split(v)
	a.from = slices.Concat(a.from, nq, nk, nv)
	out := a.merge(pv.Outputs[0])
	return a.emit(q, k, v, out)
}

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

// emit replaces out by the Attention node.
func (a *attention) emit(q, k, v, out *ir.Value) bool {
	e := a.e
	a.attrs.Scale = float32(a.scale)
	if a.dt == tensor.F64 && (float64(a.attrs.Scale) != a.scale || float64(a.attrs.Fill) != 0 && !math.IsInf(float64(a.attrs.Fill), 0)) {
		return false // the attributes are f32: too coarse for f64
	}
	ins := values(q, k, v)
	if m := a.mask; m != nil {
		if m.Type.DType != tensor.Bool && m.Type.DType != a.dt {
			return false
		}
		if a.not {
			m = e.add("Not", values(m), nodes(m.Def))
		}
		ins = append(ins, m)
	}
	y := e.addAttrs(e.g.Op("moec::Attention"), a.attrs, ins, a.from, 1).Outputs[0]
	if out.Type.Rank() == 4 && a.attrs.OutLayout == ops.LayoutBSD {
		// The Transpose is absorbed, the flattening behind it is not.
		rs := out.Users()[0]
		return e.replace(rs.Outputs[0], e.add("Reshape", values(y, e.ints(-1, a.attrs.Heads*a.attrs.VHeadDim)), nodes(rs)))
	}
	return e.replace(out, y)
}
