package cuda

import (
	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/codegen/ptx"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// manyRounds is the number of elements taken up to which a block that searches its row once per element beats
// threads that count, each for its own element, those before it: both look at every element that often.
const manyRounds = 64

// topK is the first elements of each line and where they stood.
func (l *Lowering) topK(n *ir.Node) (*Choice, error) {
	x := n.Inputs[0]
	dt, err := l.storage(x.Type.DType)
	if err != nil {
		return nil, err
	}
	a := n.Attrs.(*ops.TopKAttrs)
	d := l.dims.of(x)
	axis := axisOf(a.Axis, len(d))
	if axis >= len(d) {
		return nil, decline("the largest of a scalar")
	}
	inner := ptx.Elems(d[axis+1:])
	args, err := l.operands(x)
	if err != nil {
		return nil, err
	}
	c := &Choice{Kernel: plan.KernelLaunch}
	var out []ptx.Expr
	for i, v := range n.Outputs {
		if l.present(n, i) {
			out = l.dims.of(v)
		}
	}
	for i, size := range []int{dt.Size(), tensor.I64.Size()} {
		if l.present(n, i) {
			args = append(args, Operand{Value: n.Outputs[i]})
			continue
		}
		args = append(args, Operand{Temp: len(c.Temps)}) // nobody reads it
		c.Temps = append(c.Temps, plan.Temp{Bytes: ptx.Elems(out).MulN(size).String()})
	}
	count := out[axis]
	var s spec
	if fixed, ok := count.Const(); ok && fixed > 0 && fixed <= manyRounds && inner.Is(1) && dt == l.float {
		s = ptx.TopK{Rows: ptx.Elems(d[:axis]), D: d[axis], K: int(fixed), DType: dt, Smallest: !a.Largest}
	} else {
		s = ptx.Rank{Outer: ptx.Elems(d[:axis]), D: d[axis], Inner: inner, K: count, DType: dt, Smallest: !a.Largest}
	}
	k, err := emit(s)
	if err != nil {
		return nil, err
	}
	c.Launches = []Launch{{Kernel: k, Args: args}}
	return c, nil
}

// gatherElements picks single elements along an axis.
func (l *Lowering) gatherElements(n *ir.Node) (*Choice, error) {
	x, index := n.Inputs[0], n.Inputs[1]
	dt, err := l.storage(x.Type.DType)
	if err != nil {
		return nil, err
	}
	d := l.dims.of(x)
	return l.launch(n, ptx.GatherElements{
		Shape: d, Count: l.dims.of(index), Axis: axisOf(n.Attrs.(*ops.AxisAttrs).Axis, len(d)), DType: dt, Index: index.Type.DType,
	}, x, index)
}

// scatterElements puts or folds updates into a copy of the data.
func (l *Lowering) scatterElements(n *ir.Node) (*Choice, error) {
	x, index, updates := n.Inputs[0], n.Inputs[1], n.Inputs[2]
	dt, err := l.storage(x.Type.DType)
	if err != nil {
		return nil, err
	}
	a := n.Attrs.(*ops.ScatterAttrs)
	d := l.dims.of(x)
	return l.launch(n, ptx.Scatter{
		Shape: d, Count: l.dims.of(index), Axis: axisOf(a.Axis, len(d)), DType: dt, Index: index.Type.DType, Reduce: a.Reduction,
	}, x, index, updates)
}

// scatterND puts or folds slices into a copy of the data.
func (l *Lowering) scatterND(n *ir.Node) (*Choice, error) {
	x, index, updates := n.Inputs[0], n.Inputs[1], n.Inputs[2]
	dt, err := l.storage(x.Type.DType)
	if err != nil {
		return nil, err
	}
	d, id := l.dims.of(x), l.dims.of(index)
	if len(id) < 1 {
		return nil, decline("a scatter by a scalar")
	}
	depth, err := constDim(id[len(id)-1])
	if err != nil {
		return nil, err
	}
	if depth > len(d) {
		return nil, decline("a scatter along %d axes of %d", depth, len(d))
	}
	return l.launch(n, ptx.ScatterND{
		Axes: d[:depth], Inner: ptx.Elems(d[depth:]), Count: ptx.Elems(id[:len(id)-1]), DType: dt, Reduce: n.Attrs.(*ops.ScatterNDAttrs).Reduction,
	}, x, index, updates)
}
