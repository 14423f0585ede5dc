package ops

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// FusedGroupNormAttrs are the attributes of moec::GroupNorm: those of GroupNormalization,
// and what is applied to the result.
type FusedGroupNormAttrs struct {
	Epsilon    float32    `attr:"epsilon"`
	NumGroups  int64      `attr:"num_groups"`
	Activation Activation `attr:"activation"`
}

// norm are the attributes of the standard op. Its arithmetic is in f32 whatever the type,
// as kernels have it.
func (a *FusedGroupNormAttrs) norm() *GroupNormAttrs {
	return &GroupNormAttrs{Epsilon: a.Epsilon, NumGroups: a.NumGroups, StashType: 1}
}

// fusedGroupNormOp normalises groups of channels of an image with its channels last,
// [N,spatial...,C], and applies an activation.
func fusedGroupNormOp() *ir.Op {
	return &ir.Op{
		Domain: ir.DomainMoec, Name: "GroupNorm", Since: 1, Doc: "GroupNormalization of an image with its channels last, then an activation.",
		Attrs: func() any { return &FusedGroupNormAttrs{Epsilon: 1e-5, NumGroups: 1, Activation: ActNone} },
		MinIn: 3, MaxIn: 3, MinOut: 1, MaxOut: 1, Cost: normCost,
		Infer: inferFusedGroupNorm, Eval: evalFusedGroupNorm, Expand: expandFusedGroupNorm,
	}
}

func inferFusedGroupNorm(c *ir.InferCtx) error {
	a := c.Attrs.(*FusedGroupNormAttrs)
	if err := checkActivation(a.Activation); err != nil {
		return err
	}
	x := c.In(0)
	if err := wantRank("the input", x, 3, -1); err != nil {
		return err
	}
	if x.Ranked {
		if d := x.Shape[x.Rank()-1]; a.NumGroups < 1 || d.IsKnown() && d.Size%a.NumGroups != 0 {
			return fmt.Errorf("%w: num_groups %d for %s", ir.ErrAttr, a.NumGroups, x)
		}
		x.Shape = channelsFirst(x.Shape)
	}
	inner := &ir.InferCtx{Attrs: a.norm(), Ins: []ir.Type{x, c.In(1), c.In(2)}, Outs: make([]ir.Type, 1)}
	if err := inferChannelNorm(inner); err != nil {
		return err
	}
	c.SetOut(0, c.In(0))
	return nil
}

func evalFusedGroupNorm(c *ir.EvalCtx) error {
	if err := need(c, 0, 1, 2); err != nil {
		return err
	}
	a := c.Attrs.(*FusedGroupNormAttrs)
	act, ok := a.Activation.fn()
	if !ok {
		return checkActivation(a.Activation)
	}
	x, err := toChannelsFirst(c.In(0))
	if err != nil {
		return err
	}
	inner := &ir.EvalCtx{
		Context: c.Context, Attrs: a.norm(), Ins: []*tensor.Tensor{x, c.In(1), c.In(2)},
		Outs: make([]*tensor.Tensor, 1), Want: []bool{true}, MaxElems: c.MaxElems,
	}
	if err := byFloat(inner, 0, groupNorm[float32], groupNorm[float64]); err != nil {
		return err
	}
	y, err := toChannelsLast(inner.Outs[0]).Float64s()
	if err != nil {
		return err
	}
	for i, v := range y {
		y[i] = act(v)
	}
	return fusedStore(c, 0, c.In(0).DType(), y, c.In(0).Shape()...)
}

func expandFusedGroupNorm(g *ir.Graph, n *ir.Node) ([]*ir.Value, error) {
	e := &expander{g: g, n: n}
	a := n.Attrs.(*FusedGroupNormAttrs)
	rank := n.Inputs[0].Type.Rank()
	if rank < 3 {
		return nil, fmt.Errorf("%w: the rank of an image with its channels last is not known", ir.ErrShape)
	}
	x := e.op("Transpose", n.Inputs[:1], "perm", channelsFirst(counting(rank)))
	y := e.op("GroupNormalization", []*ir.Value{x, n.Inputs[1], n.Inputs[2]}, "epsilon", a.Epsilon, "num_groups", a.NumGroups)
	y = e.activation(a.Activation, y)
	return []*ir.Value{e.op("Transpose", []*ir.Value{y}, "perm", channelsLast(counting(rank)))}, e.err
}
