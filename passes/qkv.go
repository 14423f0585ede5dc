package passes

import (
	"context"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// QKV joins the Linears that make q, k and v of one Attention out of one input into one
// Linear, whose output Attention reads in parts: x is read once, and one wide product
// runs better than three narrow ones. Every column keeps its own dot product. Rotations
// of what became one value are joined too.
func QKV() Pass {
	return Pass{
		Name: "qkv", Doc: "Join the Linears that make q, k and v of the same input into one.", Effect: Exact,
		Run: func(_ context.Context, g *ir.Graph) (bool, error) {
			e := &edit{g: g}
			e.rules(map[string][]rule{"moec::Attention": {joinQKV, joinRotaries}})
			return e.done()
		},
	}
}

func joinQKV(e *edit, n *ir.Node) bool {
	for i := range 2 {
		l := projection(n, i)
		if l == nil || !e.joinable(l, n) {
			continue
		}
		parts := nodes(l)
		for j := i + 1; j < 3; j++ {
			m := projection(n, j)
			if m != nil && m.Inputs[0] == l.Inputs[0] && !slices.Contains(parts, m) && e.joinable(m, n) {
				parts = append(parts, m)
			}
		}
		if len(parts) > 1 {
			return e.join(n, parts)
		}
	}
	return false
}

// projection is the Linear that makes input i of an Attention: directly, through a
// rotation of its heads, or, behind a cache, through one that is appended to it.
func projection(n *ir.Node, i int) *ir.Node {
	v := n.Inputs[i]
	if c := def(v, "Concat"); c != nil && len(c.Inputs) == 2 {
		v = c.Inputs[1]
		if def(v, "moec::Rotary") == nil {
			return nil
		}
	}
	if r := def(v, "moec::Rotary"); r != nil {
		v = r.Inputs[0]
	}
	return def(v, "moec::Linear")
}

// joinable reports whether a Linear is a product and a bias of constants, read by none
// but the Attention n and rotations, in the layout that knows parts.
func (e *edit) joinable(l, n *ir.Node) bool {
	v := l.Outputs[0]
	if len(l.Inputs) > 3 || stringAttr(l, "activation") != "" || !l.Inputs[1].IsConst() || e.g.IsOutput(v) {
		return false
	}
	if b := input(l, 2); b != nil && !b.IsConst() {
		return false
	}
	for _, u := range v.Users() {
		at := offsets(u, n)
		for i, x := range u.Inputs {
			if x == v && (i >= len(at) || at[i] == nil) {
				return false
			}
		}
	}
	return true
}

// offsets are where in the last axis a node begins to read its first inputs, when it is
// the Attention n or a rotation; nil for an input of another layout.
func offsets(u, n *ir.Node) []*int64 {
	part := func(layout string, at *int64) *int64 {
		if layout != ops.LayoutBSD {
			return nil
		}
		return at
	}
	if r, ok := u.Attrs.(*ops.FusedRotaryAttrs); ok {
		return []*int64{part(r.Layout, &r.Offset)}
	}
	if u != n {
		return nil
	}
	a := u.Attrs.(*ops.FusedAttentionAttrs)
	return []*int64{part(a.QLayout, &a.QOffset), part(a.KLayout, &a.KOffset), part(a.VLayout, &a.VOffset)}
}

func (e *edit) join(n *ir.Node, parts []*ir.Node) bool {
	var weights, biases []*tensor.Tensor
	begin := map[*ir.Node]int64{}
	width, biased := int64(0), false
	for _, l := range parts {
		w := l.Inputs[1].Const
		cols := w.Shape()[1]
		begin[l] = width
		width += int64(cols)
		weights = append(weights, w)
		b := tensor.New(w.DType(), cols)
		if v := input(l, 2); v != nil {
			b, biased = v.Const, true
		}
		biases = append(biases, b)
	}
	ins := values(parts[0].Inputs[0], e.g.NewConst("", besides(weights...)))
	if biased {
		ins = append(ins, e.g.NewConst("", besides(biases...)))
	}
	y := e.add("moec::Linear", ins, parts)
	for _, l := range parts {
		v := l.Outputs[0]
		for _, u := range slices.Clone(v.Users()) {
			u.Attrs = cloneAttrs(u.Attrs)
			for i, at := range offsets(u, n) {
				if u.Inputs[i] == v {
					*at += begin[l]
					e.g.SetInput(u, i, y)
				}
			}
		}
	}
	e.changed = true
	return true
}

// cloneAttrs copies the attributes whose offsets change: nodes may share a struct.
func cloneAttrs(attrs any) any {
	switch a := attrs.(type) {
	case *ops.FusedAttentionAttrs:
		c := *a
		return &c
	case *ops.FusedRotaryAttrs:
		c := *a
		return &c
	}
	return attrs
}

// joinRotaries turns queries and keys that lie side by side in one value together. The
// values behind them pass, so that Attention reads one value.
func joinRotaries(e *edit, n *ir.Node) bool {
	q, k := def(n.Inputs[0], "moec::Rotary"), def(n.Inputs[1], "moec::Rotary")
	if q == nil || k == nil || q == k || !slices.Equal(q.Inputs, k.Inputs) || !e.g.OnlyUse(n.Inputs[0]) || !e.g.OnlyUse(n.Inputs[1]) {
		return false
	}
	r, s, x := *q.Attrs.(*ops.FusedRotaryAttrs), k.Attrs.(*ops.FusedRotaryAttrs), q.Inputs[0]
	a := *n.Attrs.(*ops.FusedAttentionAttrs)
	if r.Layout != ops.LayoutBSD || s.Layout != ops.LayoutBSD || r.HeadDim != s.HeadDim || r.RotaryDim != s.RotaryDim ||
		r.Interleaved != s.Interleaved || r.Tail != 0 || s.Tail != 0 || r.Offset+r.Heads*r.HeadDim != s.Offset ||
		r.Heads != a.Heads || s.Heads != a.KVHeads || len(n.Inputs) > 3 && n.Inputs[3] == x {
		return false
	}
	r.Heads += s.Heads
	r.OutLayout = ops.LayoutBSD
	withValues := n.Inputs[2] == x && a.VLayout == ops.LayoutBSD && a.VOffset == r.Offset+r.Heads*r.HeadDim
	if withValues {
		r.Tail = a.KVHeads * a.VHeadDim
	}
	y := e.addAttrs(q.Op, &r, q.Inputs, nodes(q, k), 1).Outputs[0]
	a.QLayout, a.QOffset, a.KLayout, a.KOffset = ops.LayoutBSD, 0, ops.LayoutBSD, a.Heads*a.HeadDim
	e.g.SetInput(n, 0, y)
	e.g.SetInput(n, 1, y)
	if withValues {
		a.VOffset = r.Heads * r.HeadDim
		e.g.SetInput(n, 2, y)
	}
	n.Attrs = &a
	e.changed = true
	return true
}
