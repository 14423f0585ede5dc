package cuda

import (
	"slices"
	"strings"

	"github.com/seed-c851cfd2/moec/codegen/ptx"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// norm is a normalisation over the last axis, with the residual sum before it: inside the launch that computes the
// rows, or a launch of its own.
func (l *Lowering) norm(n *ir.Node) (*Choice, error) {
	float, err := l.oneFloat(n)
	if err != nil {
		return nil, err
	}
	c, why, err := l.normInside(n)
	if c != nil || err != nil {
		return c, err
	}
	x := n.Inputs[0]
	d := l.dims.of(x)
	if len(d) < 1 {
		return nil, decline("normalisation of a scalar")
	}
	s := ptx.Norm{Rows: ptx.Elems(d[:len(d)-1]), D: d[len(d)-1], DType: float, Scale: float}
	ins := []*ir.Value{x}
	params := n.Inputs[1:]
	switch a := n.Attrs.(type) {
	case *ops.SkipNormAttrs:
		s.RMS, s.Eps, s.Residual = a.Kind == ops.NormRMS, a.Epsilon, true
		if !ptx.Elems(l.dims.of(n.Inputs[1])).Equal(ptx.Elems(d)) {
			return nil, decline("a residual that is broadcast")
		}
		ins = append(ins, n.Inputs[1])
		params = n.Inputs[2:]
		s.Sum = l.present(n, 1)
	case *ops.LayerNormAttrs:
		if a.Axis != -1 && a.Axis != int64(len(d)-1) || l.present(n, 1) || l.present(n, 2) {
			return nil, decline("normalisation over more than the last axis, or with its statistics")
		}
		s.RMS, s.Eps = n.Is("RMSNormalization"), a.Epsilon
	}
	for i, p := range params {
		if p == nil {
			continue
		}
		if pd := l.dims.of(p); len(pd) != 1 || !pd[0].Equal(s.D) {
			return nil, decline("a scale or bias that is broadcast")
		}
		ins = append(ins, p)
		if i > 0 {
			s.Beta = true
		}
	}
	args, err := l.operands(ins...)
	if err != nil {
		return nil, err
	}
	args = append(args, Operand{Value: n.Outputs[0]})
	if s.Sum {
		args = append(args, Operand{Value: n.Outputs[1]})
	}
	k, err := emit(s)
	if err != nil {
		return nil, err
	}
	return launchOne(k, why, args...), nil
}

// instanceNorm normalises each channel of each image; the scale of a channel is applied by a second launch, unless
// there is one channel.
func (l *Lowering) instanceNorm(n *ir.Node) (*Choice, error) {
	if err := allF32(n); err != nil {
		return nil, err
	}
	x, y := n.Inputs[0], n.Outputs[0]
	d := l.dims.of(x)
	if len(d) < 3 {
		return nil, decline("instance normalisation without space")
	}
	space := ptx.Elems(d[2:])
	size, err := constDim(space)
	if err != nil {
		return nil, err
	}
	ones := tensor.New(tensor.F32, size)
	for i := range size {
		tensor.Data[float32](ones)[i] = 1
	}
	norm, err := emit(ptx.Norm{Rows: d[0].Mul(d[1]), D: space, DType: l.float, Scale: tensor.F32, Eps: n.Attrs.(*ops.InstanceNormAttrs).Epsilon})
	if err != nil {
		return nil, err
	}
	args, err := l.operands(x)
	if err != nil {
		return nil, err
	}
	gamma := Operand{Const: l.extra(n, "ones", ones)}
	c := launchOne(norm, "", append(args, gamma, Operand{Value: y})...)
	channel := ptx.View{Strides: []ptx.Expr{{}, ptx.N(1), {}}}
	var p ptx.Program
	v, s, b := p.In(l.float), p.In(l.float), p.In(l.float)
	p.Out(p.Do("add", p.Do("mul", v, s), b), l.float)
	shape := []ptx.Expr{d[0], d[1], space}
	all := ptx.Contiguous(shape)
	k, err := emit(ptx.Elementwise{Name: "channel_affine", Shape: shape, Inputs: []ptx.View{all, channel, channel}, Outputs: []ptx.View{all}, Prog: p})
	if err != nil {
		return nil, err
	}
	args, err = l.more([]Operand{{Value: y}}, n.Inputs[1], n.Inputs[2])
	if err != nil {
		return nil, err
	}
	c.Launches = append(c.Launches, Launch{Kernel: k, Args: append(args, Operand{Value: y})})
	return c, nil
}

func axisOf(a int64, rank int) int {
	if a < 0 {
		a += int64(rank)
	}
	return int(a)
}

func (l *Lowering) softmax(n *ir.Node) (*Choice, error) {
	float, err := l.oneFloat(n)
	if err != nil {
		return nil, err
	}
	d := l.dims.of(n.Inputs[0])
	axis := axisOf(n.Attrs.(*ops.SoftmaxAttrs).Axis, len(d))
	if axis >= len(d) {
		return nil, decline("softmax of a scalar")
	}
	return l.launch(n, ptx.Softmax{Outer: ptx.Elems(d[:axis]), D: d[axis], Inner: ptx.Elems(d[axis+1:]), DType: float, Log: n.Is("LogSoftmax")}, n.Inputs[0])
}

// fold is a reduction of some axes.
func (l *Lowering) fold(n *ir.Node, kind string, axes []int, last bool) (*Choice, error) {
	x := n.Inputs[0]
	d := l.dims.of(x)
	strides := ptx.Contiguous(d).Strides
	dt, err := l.storage(x.Type.DType)
	if err != nil {
		return nil, err
	}
	s := ptx.Reduce{Kind: kind, DType: dt, Last: last}
	var inner []ptx.Expr
	for i := range d {
		if slices.Contains(axes, i) {
			s.Inner = append(s.Inner, d[i])
			inner = append(inner, strides[i])
		} else {
			s.Outer = append(s.Outer, d[i])
			s.In.Strides = append(s.In.Strides, strides[i])
		}
	}
	s.In.Strides = append(s.In.Strides, inner...)
	return l.launch(n, s, x)
}

func (l *Lowering) reduce(n *ir.Node) (*Choice, error) {
	rank := len(l.dims.of(n.Inputs[0]))
	var axes []int
	if a := input(n, 1); a != nil {
		if !a.IsConst() {
			return nil, decline("a reduction over computed axes")
		}
		given, err := a.Const.Int64s()
		if err != nil {
			return nil, err
		}
		for _, x := range given {
			axes = append(axes, axisOf(x, rank))
		}
	}
	if len(axes) == 0 {
		if n.Attrs.(*ops.ReduceAttrs).NoopWithEmptyAxes {
			return nil, decline("a reduction over no axes")
		}
		for i := range rank {
			axes = append(axes, i)
		}
	}
	if n.Is("ReduceLogSum") {
		return l.fold(n, "logsum", axes, false)
	}
	return l.fold(n, strings.ToLower(strings.TrimPrefix(n.Op.Name, "Reduce")), axes, false)
}

func (l *Lowering) argReduce(n *ir.Node) (*Choice, error) {
	a := n.Attrs.(*ops.ArgReduceAttrs)
	return l.fold(n, strings.ToLower(n.Op.Name), []int{axisOf(a.Axis, len(l.dims.of(n.Inputs[0])))}, a.SelectLastIndex)
}

func (l *Lowering) globalPool(n *ir.Node) (*Choice, error) {
	if _, err := l.oneFloat(n); err != nil {
		return nil, err
	}
	var axes []int
	for i := 2; i < len(l.dims.of(n.Inputs[0])); i++ {
		axes = append(axes, i)
	}
	kind := "mean"
	if n.Is("GlobalMaxPool") {
		kind = "max"
	}
	return l.fold(n, kind, axes, false)
}

// gather picks slices along an axis.
func (l *Lowering) gather(n *ir.Node) (*Choice, error) {
	x, index := n.Inputs[0], n.Inputs[1]
	dt, err := l.storage(x.Type.DType)
	if err != nil {
		return nil, err
	}
	if index.Type.DType != tensor.I64 && index.Type.DType != tensor.I32 {
		return nil, decline("gather by %s", index.Type.DType)
	}
	d := l.dims.of(x)
	axis := axisOf(n.Attrs.(*ops.AxisAttrs).Axis, len(d))
	return l.launch(n, ptx.Gather{
		Outer: ptx.Elems(d[:axis]), Axis: d[axis], Inner: ptx.Elems(d[axis+1:]), Count: ptx.Elems(l.dims.of(index)),
		DType: dt, Index: index.Type.DType,
	}, x, index)
}
