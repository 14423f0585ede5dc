package cuda

import (
	"slices"

	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/codegen/ptx"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
)

// isMove reports nodes whose output's elements are elements of the input, at places that strides describe.
func isMove(n *ir.Node) bool { return n.Is("Transpose", "Slice", "Expand", "Split", "Concat") }

// movement turns a view of the input of v's node into one of v.
func (l *Lowering) movement(v *ir.Value) (func(ptx.View) ptx.View, error) {
	n := v.Def
	in, out := l.dims.of(n.Inputs[0]), l.dims.of(v)
	switch n.Op.Name {
	case "Transpose":
		perm, err := n.Attrs.(*ops.TransposeAttrs).Order(len(in))
		if err != nil {
			return nil, err
		}
		return func(v ptx.View) ptx.View {
			w := ptx.View{Offset: v.Offset}
			for _, p := range perm {
				w.Strides = append(w.Strides, v.Strides[p])
			}
			return w
		}, nil
	case "Expand":
		return func(v ptx.View) ptx.View {
			w := ptx.View{Offset: v.Offset, Strides: make([]ptx.Expr, len(out))}
			for i, d := range in {
				at := len(out) - len(in) + i
				w.Strides[at] = stretch(v.Strides[i], d, out[at])
			}
			return w
		}, nil
	case "Slice":
		return l.slice(n, in)
	case "Split":
		axis := axisOf(n.Attrs.(*ops.SplitAttrs).Axis, len(in))
		at := ptx.N(0)
		for _, o := range n.Outputs[:v.Index] {
			if o == nil {
				return nil, decline("a split with a part that nobody reads")
			}
			at = at.Add(l.dims.of(o)[axis])
		}
		return func(v ptx.View) ptx.View {
			return ptx.View{Offset: v.Offset.Add(v.Strides[axis].Mul(at)), Strides: v.Strides}
		}, nil
	}
	return nil, decline("%s is not a movement of strides", n.Op)
}

// strided is how a value lies in memory without a launch that moves its elements: a view of the value behind the
// movements that nobody has made a launch of.
func (l *Lowering) strided(v *ir.Value) (ptx.View, *ir.Value) {
	c := &chainBuilder{l: l}
	if n := v.Def; n != nil && isMove(n) && !n.Is("Concat") && c.free(n, nil) {
		if r, err := c.through(v); err == nil {
			return r.view, r.source
		}
	}
	return ptx.Contiguous(l.dims.of(v)), v
}

// slice is a Slice of constant starts and steps; its ends show in the output's dimensions.
func (l *Lowering) slice(n *ir.Node, in []ptx.Expr) (func(ptx.View) ptx.View, error) {
	ints := func(i int) ([]int64, error) {
		if i >= len(n.Inputs) || n.Inputs[i] == nil {
			return nil, nil
		}
		if !n.Inputs[i].IsConst() {
			return nil, decline("a slice whose start, axes or steps are computed")
		}
		return n.Inputs[i].Const.Int64s()
	}
	starts, err := ints(1)
	if err != nil {
		return nil, err
	}
	axes, err := ints(3)
	if err != nil {
		return nil, err
	}
	steps, err := ints(4)
	if err != nil {
		return nil, err
	}
	type cut struct {
		axis  int
		start ptx.Expr
		step  int64
	}
	var cuts []cut
	for i, s := range starts {
		c := cut{axis: i, step: 1}
		if axes != nil {
			c.axis = int(axes[i])
			if c.axis < 0 {
				c.axis += len(in)
			}
		}
		if steps != nil {
			c.step = steps[i]
		}
		dim := in[c.axis]
		if c.step < 1 {
			return nil, decline("a slice that runs backwards")
		}
		switch {
		case s >= 0 && s < 1<<31:
			c.start = ptx.N(int(s)).Min(dim)
		case s >= 0:
			c.start = dim
		case s > -(1 << 31):
			c.start = dim.AddN(int(s)).Max(ptx.N(0))
		}
		if s == 0 {
			c.start = ptx.N(0)
		}
		cuts = append(cuts, c)
	}
	return func(v ptx.View) ptx.View {
		w := ptx.View{Offset: v.Offset, Strides: slices.Clone(v.Strides)}
		for _, c := range cuts {
			w.Offset = w.Offset.Add(v.Strides[c.axis].Mul(c.start))
			w.Strides[c.axis] = v.Strides[c.axis].MulN(int(c.step))
		}
		return w
	}, nil
}

// concat is a launch per input, which may compute the input on the way.
func (l *Lowering) concat(n *ir.Node) (*Choice, error) {
	out := n.Outputs[0]
	shape := l.dims.of(out)
	axis := int(n.Attrs.(*ops.ConcatAttrs).Axis)
	if axis < 0 {
		axis += len(shape)
	}
	c := &Choice{Kernel: plan.KernelLaunch}
	inside := map[*ir.Node]bool{}
	at := ptx.N(0)
	for _, v := range n.Inputs {
		view := ptx.Contiguous(shape)
		view.Offset = view.Strides[axis].Mul(at)
		dims := l.dims.of(v)
		at = at.Add(dims[axis])
		b := &chainBuilder{l: l, shape: dims, inside: map[*ir.Node]bool{}, views: map[*ir.Value]*read{}}
		k, args, err := b.part(v, view)
		if err != nil {
			return nil, err
		}
		for m := range b.inside {
			inside[m] = true
		}
		c.Launches = append(c.Launches, Launch{Kernel: k, Args: append(args, Operand{Value: out})})
	}
	l.take(inside, n)
	return c, nil
}

// part writes a value into a part of another: computed there when nobody else reads it, else copied.
func (c *chainBuilder) part(v *ir.Value, out ptx.View) (*ptx.Kernel, []Operand, error) {
	if len(v.Users()) == 1 && !c.l.g.IsOutput(v) {
		return c.build(v, out)
	}
	dt, err := c.l.storage(v.Type.DType)
	if err != nil {
		return nil, nil, err
	}
	a, err := c.l.operand(v)
	if err != nil {
		return nil, nil, err
	}
	var p ptx.Program
	p.Out(p.In(dt), dt)
	k, err := emit(ptx.Elementwise{Name: "move", Shape: c.shape, Inputs: []ptx.View{ptx.Contiguous(c.shape)}, Outputs: []ptx.View{out}, Prog: p})
	if err != nil {
		return nil, nil, err
	}
	return k, []Operand{a}, nil
}

// split is a launch per part that somebody reads.
func (l *Lowering) split(n *ir.Node) (*Choice, error) {
	if !n.Is("Split") {
		return nil, decline("no kernel for %s with %d outputs", n.Op, len(n.Outputs))
	}
	in := n.Inputs[0]
	dims := l.dims.of(in)
	axis := int(n.Attrs.(*ops.SplitAttrs).Axis)
	if axis < 0 {
		axis += len(dims)
	}
	dt, err := l.storage(in.Type.DType)
	if err != nil {
		return nil, err
	}
	a, err := l.operand(in)
	if err != nil {
		return nil, err
	}
	c := &Choice{Kernel: plan.KernelLaunch}
	at := ptx.N(0)
	for _, v := range n.Outputs {
		if v == nil {
			return nil, decline("a split with a part that nobody reads")
		}
		shape := l.dims.of(v)
		view := ptx.Contiguous(dims)
		view.Offset = view.Strides[axis].Mul(at)
		at = at.Add(shape[axis])
		var p ptx.Program
		p.Out(p.In(dt), dt)
		k, err := emit(ptx.Elementwise{Name: "move", Shape: shape, Inputs: []ptx.View{view}, Outputs: []ptx.View{ptx.Contiguous(shape)}, Prog: p})
		if err != nil {
			return nil, err
		}
		c.Launches = append(c.Launches, Launch{Kernel: k, Args: []Operand{a, {Value: v}}})
	}
	return c, nil
}
