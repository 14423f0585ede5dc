package cuda

import (
	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/codegen/ptx"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// attention is one launch for all heads.
func (l *Lowering) attention(n *ir.Node) (*Choice, error) {
	a := n.Attrs.(*ops.FusedAttentionAttrs)
	q, k, v, y := n.Inputs[0], n.Inputs[1], n.Inputs[2], n.Outputs[0]
	for _, x := range []*ir.Value{q, k, v, y} {
		if x.Type.DType != tensor.F32 {
			return nil, decline("attention of %s", x.Type.DType)
		}
	}
	if a.Softcap != 0 {
		return nil, decline("attention with a soft cap")
	}
	v, vOffset := beforeRotary(v, a)
	// Heads apart are read where they lie, before they were split and turned.
	heads := func(x *ir.Value, layout string) (ptx.View, *ir.Value) {
		if layout == ops.LayoutBHSD {
			if view, from := l.strided(x); view.Strides[3].Is(1) {
				return view, from
			}
		}
		return ptx.Contiguous(l.dims.of(x)), x
	}
	lay := func(x *ir.Value, layout string, offset, dim int64, s ptx.View) (h ptx.Heads, batch, rows ptx.Expr) {
		d := l.dims.of(x)
		h.Offset = s.Offset.AddN(int(offset))
		if layout == ops.LayoutBHSD {
			h.Row, h.Head, h.Batch = s.Strides[2], s.Strides[1], s.Strides[0]
			return h, d[0], d[2]
		}
		h.Row, h.Head, h.Batch = d[2], ptx.N(int(dim)), d[1].Mul(d[2])
		return h, d[0], d[1]
	}
	s := ptx.Attention{
		Heads: int(a.Heads), KVHeads: int(a.KVHeads), HeadDim: int(a.HeadDim), VHeadDim: int(a.VHeadDim),
		DType: l.float, Math: l.math, Scale: a.Scale, Causal: a.Causal, NaNToZero: a.NaNToZero,
	}
	qView, qFrom := heads(q, a.QLayout)
	kView, kFrom := heads(k, a.KLayout)
	vView, vFrom := heads(v, a.VLayout)
	s.Q, s.Batch, s.Queries = lay(q, a.QLayout, a.QOffset, a.HeadDim, qView)
	s.K, _, s.Keys = lay(k, a.KLayout, a.KOffset, a.HeadDim, kView)
	s.V, _, _ = lay(v, a.VLayout, vOffset, a.VHeadDim, vView)
	s.Y, _, _ = lay(y, a.OutLayout, 0, a.VHeadDim, ptx.Contiguous(l.dims.of(y)))
	ins := []*ir.Value{kFrom, vFrom}
	if m := input(n, 3); m != nil {
		dt, err := l.storage(m.Type.DType)
		if err != nil {
			return nil, err
		}
		d := l.dims.of(m)
		if len(d) > 4 {
			return nil, decline("an attention mask of rank %d", len(d))
		}
		want := []ptx.Expr{s.Batch, ptx.N(s.Heads), s.Queries, s.Keys}
		st := make([]ptx.Expr, 4)
		for i, x := range ptx.Contiguous(d).Strides {
			at := 4 - len(d) + i
			st[at] = stretch(x, d[i], want[at])
		}
		s.Mask = &ptx.AttentionMask{DType: dt, Batch: st[0], Head: st[1], Row: st[2], Col: st[3], Fill: a.Fill}
		ins = append(ins, m)
	}
	args, note, err := l.queries(n, &s)
	if err != nil {
		return nil, err
	}
	if args == nil {
		if args, err = l.operands(qFrom); err != nil {
			return nil, err
		}
	}
	kern, err := emit(s)
	if err != nil {
		return nil, err
	}
	if args, err = l.more(args, ins...); err != nil {
		return nil, err
	}
	return launchOne(kern, "scores stay on the multiprocessor"+note, append(args, Operand{Value: y})...), nil
}

// beforeRotary is where an attention reads its values: values that pass a rotation of what lies before them are read from
// what it turns, so that nothing copies them.
func beforeRotary(v *ir.Value, a *ops.FusedAttentionAttrs) (from *ir.Value, offset int64) {
	if v.Def == nil || !v.Def.Is("moec::Rotary") || a.VLayout != ops.LayoutBSD {
		return v, a.VOffset
	}
	r := v.Def.Attrs.(*ops.FusedRotaryAttrs)
	if r.Layout != ops.LayoutBSD || r.OutLayout != ops.LayoutBSD || a.VOffset < r.Heads*r.HeadDim {
		return v, a.VOffset
	}
	return v.Def.Inputs[0], r.Offset + a.VOffset
}

// queries lets an attention compute its queries, where they are a product that nobody else reads, and gives what it
// reads instead of them; nil where they stay a launch of their own. The text is the planner's reason.
func (l *Lowering) queries(n *ir.Node, s *ptx.Attention) (args []Operand, note string, err error) {
	p, a := n.Inputs[0].Def, n.Attrs.(*ops.FusedAttentionAttrs)
	if p == nil || !p.Is("MatMul", "moec::Linear") || l.choices[p] != nil || !l.g.OnlyUse(n.Inputs[0]) || a.QLayout != ops.LayoutBSD || a.QOffset != 0 ||
		!l.joins(p) || activationOf(p) != ops.ActNone || p.Inputs[1].Const.Shape()[1] != s.Heads*s.HeadDim || len(l.siblings(p)) > 1 {
		return nil, "", nil
	}
	for _, v := range n.Inputs[1:] {
		if v == n.Inputs[0] {
			return nil, "", nil
		}
	}
	x, w, b := p.Inputs[0], p.Inputs[1], input(p, 2)
	d := l.dims.of(x)
	if len(d) != 3 {
		return nil, "", nil
	}
	t := *s
	t.Project = &ptx.QueryProjection{D: w.Const.Shape()[0], Bias: b != nil}
	t.Q = ptx.Heads{Batch: d[1].Mul(d[2]), Row: d[2]}
	inside, why := l.planner.Queries(t, l.dims.estimate(t.Batch), l.dims.estimate(t.Queries))
	if why != "" {
		note = "; " + why
	}
	if !inside {
		return nil, note, nil
	}
	if _, err := t.Kernel(); err != nil {
		return nil, "", nil
	}
	c := &Choice{Kernel: plan.KernelInside, Note: "inside " + n.Name, Pack: map[int]*plan.Const{}}
	if c.Pack[1], err = l.packed(w, t.PackQuery()); err != nil {
		return nil, "", err
	}
	if args, err = l.operands(x); err != nil {
		return nil, "", err
	}
	args = append(args, Operand{Const: c.Pack[1]})
	if b != nil {
		if args, err = l.more(args, b); err != nil {
			return nil, "", err
		}
	}
	*s, l.choices[p] = t, c
	return args, note, nil
}
