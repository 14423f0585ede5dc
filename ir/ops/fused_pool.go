package ops

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// The kinds of moec::Pool.
const (
	PoolMax     = "max"
	PoolAverage = "average"
	PoolGlobal  = "global" // the mean of all positions; it has no window
)

// FusedPoolAttrs are the attributes of moec::Pool: the kind, and those of MaxPool and
// AveragePool.
type FusedPoolAttrs struct {
	Kind            string  `attr:"kind"` // PoolMax, ...
	AutoPad         string  `attr:"auto_pad"`
	CeilMode        bool    `attr:"ceil_mode"`
	CountIncludePad bool    `attr:"count_include_pad"`
	Dilations       []int64 `attr:"dilations"`
	KernelShape     []int64 `attr:"kernel_shape"`
	Pads            []int64 `attr:"pads"`
	Strides         []int64 `attr:"strides"`
}

// FusePool gives the attributes of the same pool with channels last; nil for one that
// moec::Pool does not have. A nil attrs stands for GlobalAveragePool.
func FusePool(attrs any) *FusedPoolAttrs {
	switch a := attrs.(type) {
	case nil:
		return &FusedPoolAttrs{Kind: PoolGlobal, AutoPad: "NOTSET"}
	case *MaxPoolAttrs:
		return &FusedPoolAttrs{PoolMax, a.AutoPad, a.CeilMode, false, a.Dilations, a.KernelShape, a.Pads, a.Strides}
	case *AveragePoolAttrs:
		return &FusedPoolAttrs{PoolAverage, a.AutoPad, a.CeilMode, a.CountIncludePad, a.Dilations, a.KernelShape, a.Pads, a.Strides}
	}
	return nil
}

// Pool are the attributes of the standard pool: *MaxPoolAttrs, *AveragePoolAttrs, or nil
// for the mean of all positions.
func (a *FusedPoolAttrs) Pool() any {
	switch a.Kind {
	case PoolMax:
		return &MaxPoolAttrs{a.AutoPad, a.CeilMode, a.Dilations, a.KernelShape, a.Pads, 0, a.Strides}
	case PoolAverage:
		return &AveragePoolAttrs{a.AutoPad, a.CeilMode, a.CountIncludePad, a.Dilations, a.KernelShape, a.Pads, a.Strides}
	}
	return nil
}

// op is the standard op on images with channels first.
func (a *FusedPoolAttrs) op() (*ir.Op, error) {
	switch a.Kind {
	case PoolMax:
		return poolOps()[1], nil
	case PoolAverage:
		return poolOps()[0], nil
	case PoolGlobal:
		return globalPoolOps()[0], nil
	}
	return nil, fmt.Errorf("%w: no pool of kind %q", ir.ErrAttr, a.Kind)
}

// fusedPoolOp is a pool of an image with its channels last, [N,spatial...,C].
func fusedPoolOp() *ir.Op {
	return &ir.Op{
		Domain: ir.DomainMoec, Name: "Pool", Since: 1, Doc: "Maximum or mean over windows of an image with its channels last.",
		Attrs: func() any { return &FusedPoolAttrs{Kind: PoolMax, AutoPad: "NOTSET"} },
		MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
		Infer: inferFusedPool, Eval: evalFusedPool, Expand: expandFusedPool,
		Cost: func(c *ir.CostCtx) ir.Cost {
			a := c.Attrs.(*FusedPoolAttrs)
			if a.Kind == PoolGlobal {
				return ir.Cost{FLOPs: movedBytes(c.Ins) / 4, Bytes: movedBytes(c.Ins, c.Outs)}
			}
			inner := *c
			inner.Attrs = a.Pool()
			return poolCost(&inner)
		},
	}
}

func inferFusedPool(c *ir.InferCtx) error {
	a := c.Attrs.(*FusedPoolAttrs)
	op, err := a.op()
	if err != nil {
		return err
	}
	x := c.In(0)
	if err := wantRank("the input", x, 3, -1); err != nil {
		return err
	}
	if x.Ranked {
		x.Shape = channelsFirst(x.Shape)
	}
	inner := &ir.InferCtx{Attrs: a.Pool(), Ins: []ir.Type{x}, Outs: make([]ir.Type, 1)}
	if err := op.Infer(inner); err != nil {
		return err
	}
	y := inner.Outs[0]
	if y.Ranked {
		y.Shape = channelsLast(y.Shape)
	}
	c.SetOut(0, y)
	return nil
}

func evalFusedPool(c *ir.EvalCtx) error {
	if err := need(c, 0); err != nil {
		return err
	}
	a := c.Attrs.(*FusedPoolAttrs)
	op, err := a.op()
	if err != nil {
		return err
	}
	x, err := toChannelsFirst(c.In(0))
	if err != nil {
		return err
	}
	inner := &ir.EvalCtx{
		Context: c.Context, Attrs: a.Pool(), Ins: []*tensor.Tensor{x},
		Outs: make([]*tensor.Tensor, 1), Want: []bool{true}, MaxElems: c.MaxElems,
	}
	if err := op.Eval(inner); err != nil {
		return err
	}
	y := toChannelsLast(inner.Outs[0])
	out, err := c.Out(0, y.DType(), y.Shape()...)
	if err != nil {
		return err
	}
	copy(out.Bytes(), y.Bytes())
	return nil
}

func expandFusedPool(g *ir.Graph, n *ir.Node) ([]*ir.Value, error) {
	e := &expander{g: g, n: n}
	a := n.Attrs.(*FusedPoolAttrs)
	op, err := a.op()
	if err != nil {
		return nil, err
	}
	rank := n.Inputs[0].Type.Rank()
	if rank < 3 {
		return nil, fmt.Errorf("%w: the rank of an image with its channels last is not known", ir.ErrShape)
	}
	x := e.op("Transpose", n.Inputs[:1], "perm", channelsFirst(counting(rank)))
	var attrs []any
	for _, at := range ir.AttrsOf(a.Pool()) {
		attrs = append(attrs, at.Name, at.Value)
	}
	y := e.op(op.Name, []*ir.Value{x}, attrs...)
	return []*ir.Value{e.op("Transpose", []*ir.Value{y}, "perm", channelsLast(counting(rank)))}, e.err
}
