package ops

import (
	"fmt"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// FusedConvAttrs are the attributes of moec::Conv: those of Conv, and the activation.
type FusedConvAttrs struct {
	AutoPad     string     `attr:"auto_pad"`
	Dilations   []int64    `attr:"dilations"`
	Group       int64      `attr:"group"`
	KernelShape []int64    `attr:"kernel_shape"`
	Pads        []int64    `attr:"pads"`
	Strides     []int64    `attr:"strides"`
	Activation  Activation `attr:"activation"` // ActReLU, ...; empty for none
	// ChannelsLast: x, the residual and y are [N,spatial...,C]; the weights are not.
	ChannelsLast bool `attr:"channels_last"`
	// Rounded: y is bf16, rounded once.
	Rounded bool `attr:"rounded"`
}

// Conv are the attributes of the convolution alone.
func (a *FusedConvAttrs) Conv() *ConvAttrs {
	return &ConvAttrs{AutoPad: a.AutoPad, Dilations: a.Dilations, Group: a.Group, KernelShape: a.KernelShape, Pads: a.Pads, Strides: a.Strides}
}

// FuseConv gives the attributes of a convolution followed by an activation.
func FuseConv(a *ConvAttrs, activation Activation) *FusedConvAttrs {
	return &FusedConvAttrs{
		AutoPad: a.AutoPad, Dilations: a.Dilations, Group: a.Group, KernelShape: a.KernelShape,
		Pads: a.Pads, Strides: a.Strides, Activation: activation,
	}
}

// fusedConvOp is a convolution with its epilogue, in the order residual networks have it:
//
//	y = activation(conv(x, w) + bias + residual)
//
// Inputs: x [N,C,...], w [M,C/group,...], bias [M], optional, as Conv takes them;
// residual, optional, of y's shape. All of one float type, but for images that are kept in
// bf16 beside weights in f32: x and the residual may be, and y is with rounded; sums are
// f32 all the same. With channels_last the channels of x, residual and y come last.
func fusedConvOp() *ir.Op {
	conv := convOps()[0]
	return &ir.Op{
		Domain: ir.DomainMoec, Name: "Conv", Since: 1, Doc: "activation(Conv(x, w, bias) + residual).",
		Attrs: func() any { return FuseConv(newConvAttrs().(*ConvAttrs), ActNone) },
		MinIn: 2, MaxIn: 4, MinOut: 1, MaxOut: 1,
		Infer: func(c *ir.InferCtx) error { return inferFusedConv(c, conv) },
		Eval:  func(c *ir.EvalCtx) error { return evalFusedConv(c, conv) },
		Cost:  conv.Cost, Expand: expandFusedConv,
	}
}

func inferFusedConv(c *ir.InferCtx, conv *ir.Op) error {
	a := c.Attrs.(*FusedConvAttrs)
	if err := checkActivation(a.Activation); err != nil {
		return err
	}
	inner := &ir.InferCtx{Attrs: a.Conv(), Ins: slices.Clone(c.Ins[:min(3, len(c.Ins))]), Outs: make([]ir.Type, 1)}
	if x := c.In(0); a.ChannelsLast && x.Ranked && len(x.Shape) > 2 {
		inner.Ins[0].Shape = channelsFirst(x.Shape)
	}
	mixed := c.In(1).DType == tensor.F32
	if mixed && c.In(0).DType == tensor.BF16 {
		inner.Ins[0].DType = tensor.F32
	}
	if err := conv.Infer(inner); err != nil {
		return err
	}
	y, r := inner.Outs[0], c.In(3)
	if a.ChannelsLast && y.Ranked {
		y.Shape = channelsLast(y.Shape)
	}
	if r.DType != tensor.Invalid && r.DType != y.DType && !(mixed && r.DType == tensor.BF16) {
		return fmt.Errorf("%w: residual is %s, x is %s", ir.ErrType, r.DType, y.DType)
	}
	if r.Ranked && y.Ranked {
		if len(r.Shape) != len(y.Shape) {
			return fmt.Errorf("%w: residual %s for output %s", ir.ErrShape, r, y)
		}
		for i, d := range r.Shape {
			if !fits(d, y.Shape[i]) {
				return fmt.Errorf("%w: residual %s for output %s", ir.ErrShape, r, y)
			}
		}
	}
	if a.Rounded {
		y.DType = tensor.BF16
	}
	c.SetOut(0, y)
	return nil
}

func evalFusedConv(c *ir.EvalCtx, conv *ir.Op) error {
	a := c.Attrs.(*FusedConvAttrs)
	act, ok := a.Activation.fn()
	if !ok {
		return checkActivation(a.Activation)
	}
	inner := &ir.EvalCtx{
		Context: c.Context, Attrs: a.Conv(), Ins: slices.Clone(c.Ins[:min(3, len(c.Ins))]),
		Outs: make([]*tensor.Tensor, 1), Want: []bool{true}, MaxElems: c.MaxElems,
	}
	if err := need(c, 0, 1); err != nil {
		return err
	}
	if c.In(0).DType() == tensor.BF16 && c.In(1).DType() == tensor.F32 {
		x := tensor.New(tensor.F32, c.In(0).Shape()...)
		for i, h := range tensor.Data[tensor.BFloat16](c.In(0)) {
			tensor.Data[float32](x)[i] = h.Float32()
		}
		inner.Ins[0] = x
	}
	if a.ChannelsLast {
		var err error
		if inner.Ins[0], err = toChannelsFirst(inner.Ins[0]); err != nil {
			return err
		}
	}
	if err := conv.Eval(inner); err != nil {
		return err
	}
	if a.ChannelsLast {
		inner.Outs[0] = toChannelsLast(inner.Outs[0])
	}
	shape := inner.Outs[0].Shape()
	y, err := inner.Outs[0].Float64s()
	if err != nil {
		return err
	}
	if c.Has(3) {
		r, rs, err := fusedFloats(c, 3, "residual")
		if err != nil {
			return err
		}
		if !slices.Equal(rs, shape) {
			return fmt.Errorf("%w: residual %v for output %v", ir.ErrShape, rs, shape)
		}
		for i := range y {
			y[i] += r[i]
		}
	}
	for i := range y {
		y[i] = act(y[i])
	}
	dt := inner.Outs[0].DType()
	if a.Rounded {
		dt = tensor.BF16
	}
	return fusedStore(c, 0, dt, y, shape...)
}

func expandFusedConv(g *ir.Graph, n *ir.Node) ([]*ir.Value, error) {
	e := &expander{g: g, n: n}
	a := n.Attrs.(*FusedConvAttrs)
	attrs := []any{"auto_pad", a.AutoPad, "group", a.Group}
	for name, v := range map[string][]int64{"dilations": a.Dilations, "kernel_shape": a.KernelShape, "pads": a.Pads, "strides": a.Strides} {
		if v != nil {
			attrs = append(attrs, name, v)
		}
	}
	ins := slices.Clone(n.Inputs[:min(3, len(n.Inputs))])
	rank := n.Inputs[0].Type.Rank()
	dt := n.Inputs[1].Type.DType
	same := func(v *ir.Value) *ir.Value {
		if v.Type.DType == dt {
			return v
		}
		return e.op("Cast", []*ir.Value{v}, "to", dt)
	}
	ins[0] = same(ins[0])
	if a.ChannelsLast {
		if rank < 3 {
			return nil, fmt.Errorf("%w: the rank of an image with its channels last is not known", ir.ErrShape)
		}
		ins[0] = e.op("Transpose", ins[:1], "perm", channelsFirst(counting(rank)))
	}
	y := e.op("Conv", ins, attrs...)
	if a.ChannelsLast {
		y = e.op("Transpose", []*ir.Value{y}, "perm", channelsLast(counting(rank)))
	}
	if len(n.Inputs) > 3 && n.Inputs[3] != nil {
		y = e.op("Add", []*ir.Value{y, same(n.Inputs[3])})
	}
	y = e.activation(a.Activation, y)
	if a.Rounded && dt != tensor.BF16 {
		y = e.op("Cast", []*ir.Value{y}, "to", tensor.BF16)
	}
	return []*ir.Value{y}, e.err
}
