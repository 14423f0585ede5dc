package cuda

import (
	"github.com/seed-c851cfd2/moec/codegen/ptx"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
)

// Rotary positions multiply by cosines and add the vector with its halves exchanged, the first of them negated, times
// sines. Exporters spell the exchange as Concat(Neg(Slice), Slice); inside a chain it is a view whose last dimension is cut in
// two, walked backwards.

// rotation is the length of the halves that a Concat exchanges, and the value they are of.
func (l *Lowering) rotation(n *ir.Node) (half int, x *ir.Value) {
	if !n.Is("Concat") || len(n.Inputs) != 2 || n.Inputs[0].Def == nil || n.Inputs[1].Def == nil || !n.Inputs[0].Def.Is("Neg") {
		return 0, nil
	}
	neg := n.Inputs[0].Def
	hi, lo := neg.Inputs[0].Def, n.Inputs[1].Def
	if hi == nil || !hi.Is("Slice") || !lo.Is("Slice") || hi.Inputs[0] != lo.Inputs[0] {
		return 0, nil
	}
	x = hi.Inputs[0]
	d := l.dims.of(x)
	a := n.Attrs.(*ops.ConcatAttrs).Axis
	size, ok := d[len(d)-1].Const()
	if !ok || size%2 != 0 || size < 2 || axisOf(a, len(d)) != len(d)-1 {
		return 0, nil
	}
	half = int(size / 2)
	for s, start := range map[*ir.Node]int{hi: half, lo: 0} {
		steps, err := l.movement(s.Outputs[0])
		out := l.dims.of(s.Outputs[0])
		if err != nil || !out[len(out)-1].Is(half) {
			return 0, nil
		}
		before := ptx.Contiguous(d)
		after := steps(before)
		if !after.Offset.Is(start) || !sameView(ptx.View{Strides: after.Strides}, ptx.View{Strides: before.Strides}) {
			return 0, nil
		}
	}
	return half, x
}

// rotationNodes are the nodes that an exchange consists of, besides the Concat.
func rotationNodes(n *ir.Node) []*ir.Node { return []*ir.Node{n.Inputs[0].Def} }

// turns reports an exchange of halves that the chain can take in: nobody else reads its parts, and the chain cuts its
// last dimension nowhere else.
func (c *chainBuilder) turns(n *ir.Node) bool {
	half, _ := c.l.rotation(n)
	if half == 0 || c.half != 0 && c.half != half || len(n.Inputs[0].Users()) != 1 || !c.free(n.Inputs[0].Def, nil) {
		return false
	}
	last := c.shape[len(c.shape)-1]
	return last.Is(2 * half)
}

// collectTurned reads the value whose halves a Concat exchanges.
func (c *chainBuilder) collectTurned(v *ir.Value) error {
	_, x := c.l.rotation(v.Def)
	dt, err := c.l.storage(x.Type.DType)
	if err != nil {
		return err
	}
	view, source, err := c.follow(x)
	if err != nil {
		return err
	}
	if view, err = c.broadcast(view, c.l.dims.of(x)); err != nil {
		return err
	}
	r := &read{view: view, source: source, dt: dt, turned: true}
	c.views[v] = r
	c.reads = append(c.reads, r)
	return nil
}

// cut splits the last dimension of the iteration into two halves; those of turned reads change places.
func (c *chainBuilder) cut(e *ptx.Elementwise) {
	last := len(e.Shape) - 1
	e.Shape = append(append([]ptx.Expr{}, e.Shape[:last]...), ptx.N(2), ptx.N(c.half))
	split := func(v ptx.View, turned bool) ptx.View {
		s := v.Strides[last]
		far := s.MulN(c.half)
		w := ptx.View{Offset: v.Offset, Strides: append([]ptx.Expr{}, v.Strides[:last]...)}
		if turned {
			w.Offset = w.Offset.Add(far)
			far = far.MulN(-1)
		}
		w.Strides = append(w.Strides, far, s)
		return w
	}
	for i, r := range c.reads {
		e.Inputs[i] = split(e.Inputs[i], r.turned)
	}
	for i := range e.Outputs {
		e.Outputs[i] = split(e.Outputs[i], false)
	}
}
