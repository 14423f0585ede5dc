package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// MicrosoftConvAttrs are the attributes of com.microsoft's FusedConv.
type MicrosoftConvAttrs struct {
	Activation       string    `attr:"activation"`
	ActivationParams []float32 `attr:"activation_params"`
	AutoPad          string    `attr:"auto_pad"`
	Dilations        []int64   `attr:"dilations"`
	Group            int64     `attr:"group"`
	KernelShape      []int64   `attr:"kernel_shape"`
	Pads             []int64   `attr:"pads"`
	Strides          []int64   `attr:"strides"`
}

func (a *MicrosoftConvAttrs) conv() *ConvAttrs {
	return &ConvAttrs{AutoPad: a.AutoPad, Dilations: a.Dilations, Group: a.Group, KernelShape: a.KernelShape, Pads: a.Pads, Strides: a.Strides}
}

func microsoftConvOps() []*ir.Op {
	return []*ir.Op{
		{
			Domain: ir.DomainMicrosoft, Name: "FusedConv", Since: 1, Doc: "Conv, an added tensor and an activation.",
			Attrs: func() any { return &MicrosoftConvAttrs{AutoPad: "NOTSET", Group: 1} },
			MinIn: 2, MaxIn: 4, MinOut: 1, MaxOut: 1, Cost: convCost(1),
			Infer: func(c *ir.InferCtx) error {
				if err := wantFloat(c, 0, 1, 2, 3); err != nil {
					return err
				}
				return inferConv(c, c.Attrs.(*MicrosoftConvAttrs).conv(), c.In(0), c.In(1), c.In(0).DType)
			},
			Eval: evalMicrosoftConv,
		},
		{
			Domain: ir.DomainMicrosoft, Name: "NhwcConv", Since: 1, Doc: "Conv of an image with its channels last.",
			Attrs: newConvAttrs, MinIn: 2, MaxIn: 3, MinOut: 1, MaxOut: 1, Cost: convCost(1),
			Infer: func(c *ir.InferCtx) error {
				if err := wantFloat(c, 0, 1, 2); err != nil {
					return err
				}
				x := c.In(0)
				if x.Ranked && x.Rank() > 2 {
					x.Shape = channelsFirst(x.Shape)
				}
				if err := inferConv(c, c.Attrs.(*ConvAttrs), x, c.In(1), x.DType); err != nil {
					return err
				}
				if len(c.Outs) > 0 && c.Outs[0].Ranked {
					c.Outs[0].Shape = channelsLast(c.Outs[0].Shape)
				}
				return nil
			},
			Eval: evalNhwcConv,
		},
	}
}

// channelsFirst reorders [N, spatial..., C] to [N, C, spatial...].
func channelsFirst[E any](s []E) []E {
	out := []E{s[0], s[len(s)-1]}
	return append(out, s[1:len(s)-1]...)
}

// channelsLast undoes channelsFirst.
func channelsLast[E any](s []E) []E {
	out := append([]E{s[0]}, s[2:]...)
	return append(out, s[1])
}

// counting is 0, 1, ... n-1: channelsFirst and channelsLast make permutations of it.
func counting(n int) []int64 {
	out := make([]int64, n)
	for i := range out {
		out[i] = int64(i)
	}
	return out
}

// toChannelsFirst moves the last axis of a float image to the second place.
func toChannelsFirst(x *tensor.Tensor) (*tensor.Tensor, error) {
	if err := tensorRank("the input", x, 3, -1); err != nil {
		return nil, err
	}
	if !x.DType().IsFloat() {
		return nil, fmt.Errorf("%w: %s", ir.ErrType, x)
	}
	shape := x.Shape()
	y := tensor.New(x.DType(), channelsFirst(shape)...)
	swapChannels(y, x, shape[0], tensor.NumElems(shape[1:len(shape)-1]), shape[len(shape)-1])
	return y, nil
}

// toChannelsLast moves the second axis of an image of rank 3 or more to the end.
func toChannelsLast(x *tensor.Tensor) *tensor.Tensor {
	shape := x.Shape()
	y := tensor.New(x.DType(), channelsLast(shape)...)
	swapChannels(y, x, shape[0], shape[1], tensor.NumElems(shape[2:]))
	return y
}

// convEval runs the Eval of Conv on other inputs and returns its output.
func convEval(c *ir.EvalCtx, a *ConvAttrs, ins ...*tensor.Tensor) (*tensor.Tensor, error) {
	inner := &ir.EvalCtx{Context: c.Context, Attrs: a, Ins: ins, Outs: make([]*tensor.Tensor, 1), Want: []bool{true}, MaxElems: c.MaxElems}
	if err := byFloat(inner, 0, evalConv[float32], evalConv[float64]); err != nil {
		return nil, err
	}
	return inner.Outs[0], nil
}

func evalMicrosoftConv(c *ir.EvalCtx) error {
	if err := need(c, 0, 1); err != nil {
		return err
	}
	a := c.Attrs.(*MicrosoftConvAttrs)
	act, err := fusedConvActivation(a)
	if err != nil {
		return err
	}
	y, err := convEval(c, a.conv(), c.In(0), c.In(1), c.In(2))
	if err != nil {
		return err
	}
	if err := wantShape("the added tensor", c.In(3), y.Shape()...); err != nil {
		return err
	}
	v, err := allReals[float64](y, c.In(3))
	if err != nil {
		return err
	}
	out := make([]float64, len(v[0]))
	for i, e := range v[0] {
		if v[1] != nil {
			e += v[1][i]
		}
		out[i] = act(e)
	}
	return putReals(c, 0, y.DType(), out, y.Shape()...)
}

func fusedConvActivation(a *MicrosoftConvAttrs) (activation, error) {
	p := a.ActivationParams
	param := func(i int, def float64) float64 {
		if i < len(p) {
			return float64(p[i])
		}
		return def
	}
	switch a.Activation {
	case "":
		return func(x float64) float64 { return x }, nil
	case "Clip":
		lo, hi := param(0, math.Inf(-1)), param(1, math.Inf(1))
		return func(x float64) float64 { return math.Min(math.Max(x, lo), hi) }, nil
	case "HardSwish":
		return func(x float64) float64 { return x * math.Max(0, math.Min(1, x/6+0.5)) }, nil
	case "Relu", "Tanh", "Sigmoid", "LeakyRelu", "HardSigmoid":
		return bindActivation(a.Activation, func(def float64) float64 { return param(0, def) }, func(def float64) float64 { return param(1, def) })
	}
	return nil, fmt.Errorf("%w: activation %q", ir.ErrAttr, a.Activation)
}

func evalNhwcConv(c *ir.EvalCtx) error {
	if err := need(c, 0, 1); err != nil {
		return err
	}
	x := c.In(0)
	first, err := toChannelsFirst(x)
	if err != nil {
		return err
	}
	y, err := convEval(c, c.Attrs.(*ConvAttrs), first, c.In(1), c.In(2))
	if err != nil {
		return err
	}
	out, err := c.Out(0, x.DType(), channelsLast(y.Shape())...)
	if err != nil {
		return err
	}
	swapChannels(out, y, y.Shape()[0], y.Shape()[1], tensor.NumElems(y.Shape()[2:]))
	return nil
}

// swapChannels copies [n,a,b] to [n,b,a].
func swapChannels(dst, src *tensor.Tensor, n, a, b int) {
	es := src.DType().Size()
	d, s := dst.Bytes(), src.Bytes()
	for i := range n {
		for j := range a {
			for k := range b {
				from, to := ((i*a+j)*b+k)*es, ((i*b+k)*a+j)*es
				copy(d[to:to+es], s[from:])
			}
		}
	}
}
