package cuda

import (
	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/codegen/ptx"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// attr is an attribute of a node, the zero value when it is absent.
func attr[T any](n *ir.Node, name string) T {
	for _, a := range ir.AttrsOf(n.Attrs) {
		if v, ok := a.Value.(T); ok && a.Name == name {
			return v
		}
	}
	var zero T
	return zero
}

// constInts are the elements of a constant integer input; ok is false when it is computed.
func constInts(n *ir.Node, i int) (v []int64, ok bool) {
	if x := input(n, i); !x.IsConst() {
		return nil, false
	}
	v, err := n.Inputs[i].Const.Int64s()
	return v, err == nil
}

// pad puts elements around a value.
func (l *Lowering) pad(n *ir.Node) (*Choice, error) {
	x := n.Inputs[0]
	dt, err := l.storage(x.Type.DType)
	if err != nil {
		return nil, err
	}
	d := l.dims.of(x)
	pads, ok := constInts(n, 1)
	if !ok {
		return nil, decline("padding that is computed")
	}
	axes := make([]int64, len(d))
	for i := range axes {
		axes[i] = int64(i)
	}
	if input(n, 3) != nil {
		if axes, ok = constInts(n, 3); !ok {
			return nil, decline("padding along computed axes")
		}
	}
	s := ptx.Pad{Shape: l.dims.of(n.Outputs[0]), Size: d, Before: make([]ptx.Expr, len(d)), DType: dt, Mode: attr[string](n, "mode")}
	for i, a := range axes {
		s.Before[axisOf(a, len(d))] = ptx.N(int(pads[i]))
		if (pads[i] < 0 || pads[i+len(axes)] < 0) && s.Mode != "constant" {
			return nil, decline("%s padding that cuts", s.Mode)
		}
	}
	if v := input(n, 2); v != nil {
		if s.Value, ok = scalarOf(v); !ok {
			return nil, decline("padding with a computed value")
		}
		if x.Type.DType == tensor.F32 {
			s.Value = float64(plan.Clamp(float32(s.Value), l.float))
		}
	}
	return l.launch(n, s, x)
}

// repeat is a value repeated along its dimensions.
func (l *Lowering) repeat(n *ir.Node) (*Choice, error) {
	x := n.Inputs[0]
	dt, err := l.storage(x.Type.DType)
	if err != nil {
		return nil, err
	}
	repeats, ok := constInts(n, 1)
	if !ok {
		return nil, decline("repeats that are computed")
	}
	var shape []ptx.Expr
	var in, out ptx.View
	from, to := ptx.Contiguous(l.dims.of(x)), ptx.Contiguous(l.dims.of(n.Outputs[0]))
	for i, d := range l.dims.of(x) {
		shape = append(shape, ptx.N(int(repeats[i])), d)
		in.Strides = append(in.Strides, ptx.N(0), from.Strides[i])
		out.Strides = append(out.Strides, to.Strides[i].Mul(d), to.Strides[i])
	}
	if len(shape) == 0 {
		return nil, decline("a scalar that is repeated")
	}
	var p ptx.Program
	p.Out(p.In(dt), dt)
	return l.elements(n, "tile", shape, p, []ptx.View{in}, out, x)
}

// elements is one launch of a program over a shape.
func (l *Lowering) elements(n *ir.Node, name string, shape []ptx.Expr, p ptx.Program, in []ptx.View, out ptx.View, ins ...*ir.Value) (*Choice, error) {
	return l.launch(n, ptx.Elementwise{Name: name, Shape: shape, Inputs: in, Outputs: []ptx.View{out}, Prog: p}, ins...)
}

// zero adds the number 0 in the kind of a stored type.
func zero(p *ptx.Program, dt tensor.DType) int {
	switch dt {
	case tensor.F64:
		return p.DoC("constdouble", []float64{0})
	case tensor.F32, tensor.F16, tensor.BF16:
		return p.DoC("const", []float64{0})
	case tensor.Bool:
		return p.Do("bool", p.DoC("constint", []float64{0}))
	}
	return p.DoC("constint", []float64{0})
}

// trilu keeps a triangle of each matrix.
func (l *Lowering) trilu(n *ir.Node) (*Choice, error) {
	x := n.Inputs[0]
	dt, err := l.storage(x.Type.DType)
	if err != nil {
		return nil, err
	}
	diagonal := 0.0
	if k := input(n, 1); k != nil {
		var ok bool
		if diagonal, ok = scalarOf(k); !ok {
			return nil, decline("a triangle from a computed diagonal")
		}
	}
	shape := l.dims.of(x)
	if len(shape) < 2 {
		return nil, decline("a triangle of a vector")
	}
	var p ptx.Program
	v := p.In(dt)
	row, col := p.DoC(ptx.Coord, []float64{float64(len(shape) - 2)}), p.DoC(ptx.Coord, []float64{float64(len(shape) - 1)})
	side := ptx.Fn("le")
	if attr[bool](n, "upper") {
		side = "ge"
	}
	keep := p.Do(side, p.Do("sub", col, row), p.DoC("constint", []float64{diagonal}))
	p.Out(p.Do("where", keep, v, zero(&p, dt)), dt)
	all := ptx.Contiguous(shape)
	return l.elements(n, "trilu", shape, p, []ptx.View{all}, all, x)
}

// oneHot compares indices with the positions along a new axis.
func (l *Lowering) oneHot(n *ir.Node) (*Choice, error) {
	index, values := n.Inputs[0], n.Inputs[2]
	dt, err := l.storage(values.Type.DType)
	if err != nil {
		return nil, err
	}
	if index.Type.DType != tensor.I64 && index.Type.DType != tensor.I32 {
		return nil, decline("one-hot vectors of %s", index.Type.DType)
	}
	shape := l.dims.of(n.Outputs[0])
	axis := axisOf(attr[int64](n, "axis"), len(shape))
	depth, ok := shape[axis].Const()
	if !ok {
		return nil, decline("one-hot vectors of computed length")
	}
	var p ptx.Program
	i, off, on := p.In(index.Type.DType), p.In(dt), p.In(dt)
	at := p.DoC(ptx.Coord, []float64{float64(axis)})
	behind := p.Do("add", i, p.DoC("constint", []float64{float64(depth)})) // negative indices count from the end
	p.Out(p.Do("where", p.Do("or", p.Do("eq", i, at), p.Do("eq", behind, at)), on, off), dt)
	view := ptx.View{Strides: make([]ptx.Expr, len(shape))}
	for j, s := range ptx.Contiguous(l.dims.of(index)).Strides {
		if j >= axis {
			j++
		}
		view.Strides[j] = s
	}
	first := ptx.View{Strides: make([]ptx.Expr, len(shape))}
	second := ptx.View{Strides: make([]ptx.Expr, len(shape)), Offset: ptx.N(1)}
	return l.elements(n, "onehot", shape, p, []ptx.View{view, first, second}, ptx.Contiguous(shape), index, values, values)
}
