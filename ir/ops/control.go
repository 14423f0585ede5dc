package ops

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

func controlOps() []*ir.Op {
	return []*ir.Op{
		{
			Name: "If", Since: 25, Doc: "Runs the then- or the else-branch.",
			MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: -1, Infer: inferIf, Eval: evalIf, Cost: noCost,
		},
		{ // the first two inputs count but may be absent, so none is required
			Name: "Loop", Since: 25, Doc: "Runs its body a number of times or while a condition holds, carrying values along.",
			MinIn: 0, MaxIn: -1, MinOut: 1, MaxOut: -1, Infer: inferLoop, Eval: evalLoop, Cost: noCost,
		},
		{
			Name: "Scan", Since: 25, Doc: "Runs its body over slices of its inputs, carrying states and stacking outputs.",
			Attrs: func() any { return &ScanAttrs{} },
			MinIn: 1, MaxIn: -1, MinOut: 1, MaxOut: -1, Infer: inferScan, Eval: evalScan, Cost: noCost,
		},
	}
}

// noCost: what the bodies cost is counted at their own nodes.
func noCost(*ir.CostCtx) ir.Cost { return ir.Cost{} }

func inferIf(c *ir.InferCtx) error {
	if err := wantScalarBool(c, 0); err != nil {
		return err
	}
	if c.Sub == nil {
		return fmt.Errorf("%w: If has no branches", ir.ErrGraph)
	}
	var merged []ir.Type
	for i := range 2 {
		outs, err := c.Sub(i, nil)
		if err != nil {
			return err
		}
		if len(outs) < len(c.Outs) {
			return fmt.Errorf("%w: branch %d gives %d outputs, want %d", ir.ErrGraph, i, len(outs), len(c.Outs))
		}
		if i == 0 {
			merged = append(merged, outs...)
			continue
		}
		for j := range c.Outs {
			merged[j] = commonType(merged[j], outs[j])
		}
	}
	for j := range c.Outs {
		c.SetOut(j, merged[j])
	}
	return nil
}

func wantScalarBool(c *ir.InferCtx, i int) error {
	if c.Has(i) && c.In(i).DType != tensor.Bool {
		return fmt.Errorf("%w: condition is %s", ir.ErrType, c.In(i).DType)
	}
	return nil
}

// commonType is what is certain when a value is of either type.
func commonType(a, b ir.Type) ir.Type {
	if a.DType != b.DType {
		return ir.Type{}
	}
	if !a.Ranked || !b.Ranked || len(a.Shape) != len(b.Shape) {
		return ir.Unranked(a.DType)
	}
	out := ir.MakeType(a.DType, append([]ir.Dim(nil), a.Shape...)...)
	for i := range out.Shape {
		if !a.Shape[i].Same(b.Shape[i]) {
			out.Shape[i] = ir.Unknown()
		}
	}
	return out
}

// scalarOf reads a one-element tensor as an integer (bools as 0 and 1).
func scalarOf(name string, t *tensor.Tensor) (int64, error) {
	v, err := t.Int64s()
	if err != nil {
		return 0, fmt.Errorf("%w: %s: %w", ir.ErrType, name, err)
	}
	if len(v) != 1 {
		return 0, fmt.Errorf("%w: %s is %s, want one element", ir.ErrShape, name, t)
	}
	return v[0], nil
}

func evalIf(c *ir.EvalCtx) error {
	if err := need(c, 0); err != nil {
		return err
	}
	cond, err := scalarOf("the condition", c.In(0))
	if err != nil {
		return err
	}
	branch := 0
	if cond == 0 {
		branch = 1
	}
	outs, err := callSub(c, branch, nil, len(c.Outs))
	if err != nil {
		return err
	}
	for i := range c.Outs {
		c.Set(i, outs[i])
	}
	return nil
}

// callSub runs a subgraph that must give at least n outputs.
func callSub(c *ir.EvalCtx, i int, ins []*tensor.Tensor, n int) ([]*tensor.Tensor, error) {
	if c.Sub == nil {
		return nil, fmt.Errorf("%w: the node has no subgraph", ir.ErrGraph)
	}
	outs, err := c.Sub(i, ins)
	if err != nil {
		return nil, err
	}
	if len(outs) < n {
		return nil, fmt.Errorf("%w: subgraph %d gives %d outputs, want %d", ir.ErrGraph, i, len(outs), n)
	}
	return outs, nil
}
