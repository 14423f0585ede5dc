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
	loose bool      // the mask's last axis is only known to fit if values are as many as keys
	from  []*ir.Node
	dt    tensor.DType
}

// findAttention climbs down from the Softmax to the output and up to q and k:
//
//	softmax(mask(cap(scale (q @ k^T)))) @ v
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
	s = a.peelCap(a.peelScale(a.peelMasks(a.peelScale(s))))
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

// peelCap takes the soft cap c tanh(s/c) off the scores, of which c is peeled already.
func (a *attention) peelCap(s *ir.Value) *ir.Value {
	n := def(s, "Tanh")
	c := a.scale
	if n == nil || !a.e.g.OnlyUse(s) || !(float32(c) > 0) || math.IsInf(float64(float32(c)), 1) {
		return s
	}
	a.attrs.Softcap, a.scale = float32(c), 1
	a.from = append(a.from, n)
	s = a.peelScale(a.peelScale(n.Inputs[0])) // the division by c, and the scale
	a.scale *= c
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
	if a.mask != nil && len(a.mask.Type.Shape) > 2 || a.loose || q.Type.Rank() != 3 || k.Type.Rank() != 3 || v.Type.Rank() != 3 ||
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
	if !sameBatch(0, q, k, v) || a.loose && !sameBatch(2, k, v) || a.attrs.KVHeads < 1 || a.attrs.Heads%a.attrs.KVHeads != 0 ||
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

// emit replaces out by the Attention node.
func (a *attention) emit(q, k, v, out *ir.Value) bool {
	e := a.e
	a.attrs.Scale = float32(a.scale)
	if a.dt == tensor.F64 && (a.attrs.Softcap != 0 || float64(a.attrs.Scale) != a.scale || float64(a.attrs.Fill) != 0 && !math.IsInf(float64(a.attrs.Fill), 0)) {
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
