// Package eval is the reference interpreter: it runs a graph node by node with each
// op's Eval. No plan, no threads, no reuse of memory; it is the meaning that every
// pass, kernel and device is held to.
package eval

import (
	"context"
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Options tune a run.
type Options struct {
	// Observe sees every value a node of the outermost graph produces.
	Observe func(v *ir.Value, t *tensor.Tensor)
	// MaxElems bounds the elements of one value; 0 means no bound.
	MaxElems int
}

// Run evaluates g for inputs given in the order of g.Inputs and returns its outputs
// in order. Cancelling ctx stops it between nodes.
func Run(ctx context.Context, g *ir.Graph, ins []*tensor.Tensor, opt Options) ([]*tensor.Tensor, error) {
	if len(ins) != len(g.Inputs) {
		return nil, fmt.Errorf("%w: graph %q takes %d inputs, got %d", ir.ErrInput, g.Name, len(g.Inputs), len(ins))
	}
	vals := make(map[*ir.Value]*tensor.Tensor)
	uses := make(map[*ir.Value]int)
	for _, n := range g.Nodes {
		for _, v := range n.Inputs {
			uses[v]++
		}
	}
	for _, v := range g.Outputs {
		uses[v]++
	}
	for i, v := range g.Inputs {
		if ins[i] != nil && v.Type.DType != tensor.Invalid && ins[i].DType() != v.Type.DType {
			return nil, fmt.Errorf("%w: input %q is %s, want %s", ir.ErrInput, v.Name, ins[i].DType(), v.Type.DType)
		}
		vals[v] = ins[i]
	}
	get := func(v *ir.Value) *tensor.Tensor {
		if v.IsConst() {
			return v.Const
		}
		return vals[v]
	}
	for _, n := range g.Nodes {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		outs, err := node(ctx, n, get, opt)
		if err != nil {
			return nil, ir.NodeError(n, err)
		}
		for i, v := range n.Outputs {
			if v == nil {
				continue
			}
			vals[v] = outs[i]
			if opt.Observe != nil {
				opt.Observe(v, outs[i])
			}
		}
		for _, v := range n.Inputs {
			if uses[v]--; uses[v] == 0 {
				delete(vals, v) // the last reader is done
			}
		}
	}
	outs := make([]*tensor.Tensor, len(g.Outputs))
	for i, v := range g.Outputs {
		if outs[i] = get(v); outs[i] == nil {
			return nil, fmt.Errorf("%w: output %q was not computed", ir.ErrGraph, v.Name)
		}
	}
	return outs, nil
}

// Node evaluates one node on given inputs, captures last.
func Node(ctx context.Context, n *ir.Node, ins []*tensor.Tensor, opt Options) ([]*tensor.Tensor, error) {
	byValue := make(map[*ir.Value]*tensor.Tensor, len(ins))
	for i, v := range n.Inputs {
		byValue[v] = ins[i]
	}
	return node(ctx, n, func(v *ir.Value) *tensor.Tensor { return byValue[v] }, opt)
}

func node(ctx context.Context, n *ir.Node, get func(*ir.Value) *tensor.Tensor, opt Options) (outs []*tensor.Tensor, err error) {
	own := len(n.Inputs) - n.Captures
	c := &ir.EvalCtx{
		Context:  ctx,
		Attrs:    n.Attrs,
		Ins:      make([]*tensor.Tensor, own),
		Outs:     make([]*tensor.Tensor, len(n.Outputs)),
		Want:     make([]bool, len(n.Outputs)),
		OutTypes: make([]ir.Type, len(n.Outputs)),
		MaxElems: opt.MaxElems,
	}
	for i, v := range n.Inputs[:own] {
		if v == nil {
			continue
		}
		if c.Ins[i] = get(v); c.Ins[i] == nil {
			return nil, fmt.Errorf("%w: input %q has no value", ir.ErrGraph, v.Name)
		}
	}
	for i, v := range n.Outputs {
		if c.Want[i] = v != nil; v != nil {
			c.OutTypes[i] = v.Type
		}
	}
	if len(n.Subgraphs) > 0 {
		caps := make([]*tensor.Tensor, n.Captures)
		for j, v := range n.Inputs[own:] {
			caps[j] = get(v)
		}
		inner := opt
		inner.Observe = nil
		c.Sub = func(i int, ins []*tensor.Tensor) ([]*tensor.Tensor, error) {
			all := append(append(make([]*tensor.Tensor, 0, len(ins)+len(caps)), ins...), caps...)
			return Run(ctx, n.Subgraphs[i], all, inner)
		}
	}
	if n.Op.Eval == nil {
		return nil, fmt.Errorf("%w: %s has no evaluation", ir.ErrUnsupportedOp, n.Op)
	}
	if err := n.Op.Eval(c); err != nil {
		return nil, err
	}
	for i := range c.Outs {
		if c.Want[i] && c.Outs[i] == nil {
			return nil, fmt.Errorf("%w: %s gave no output %d", ir.ErrGraph, n.Op, i)
		}
	}
	return c.Outs, nil
}
