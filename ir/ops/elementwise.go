package ops

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// inferBroadcast: all inputs have one element type; the output has it too, with the
// broadcast shape.
func inferBroadcast(c *ir.InferCtx) error {
	dt := tensor.Invalid
	var shapes [][]ir.Dim
	ranked := true
	for i := range c.NumIn() {
		t := c.In(i)
		if t.DType == tensor.Invalid {
			continue
		}
		if dt != tensor.Invalid && t.DType != dt {
			return fmt.Errorf("%w: %s and %s", ir.ErrType, dt, t.DType)
		}
		dt = t.DType
		shapes = append(shapes, t.Shape)
		ranked = ranked && t.Ranked
	}
	if !ranked {
		c.SetOut(0, ir.Unranked(dt))
		return nil
	}
	s, err := BroadcastDims(shapes...)
	if err != nil {
		return err
	}
	c.SetOut(0, ir.MakeType(dt, s...))
	return nil
}

// elementwiseOps are the ops that work on each element alone. Owner: extend here and in
// sibling files.
func elementwiseOps() []*ir.Op {
	return []*ir.Op{
		{
			Name: "Add", Since: 14, Doc: "Sum of two broadcast tensors.",
			MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
			Infer: inferBroadcast,
			Eval: func(c *ir.EvalCtx) error {
				a, b := c.In(0), c.In(1)
				shape, err := BroadcastShapes(a.Shape(), b.Shape())
				if err != nil {
					return err
				}
				if a.DType() != tensor.F32 || b.DType() != tensor.F32 {
					return fmt.Errorf("%w: %s", ir.ErrType, a.DType())
				}
				out, err := c.Out(0, tensor.F32, shape...)
				if err != nil {
					return err
				}
				x, y, z := tensor.Data[float32](a), tensor.Data[float32](b), tensor.Data[float32](out)
				eachIndex(shape, [][]int{broadcastStrides(a.Shape(), shape), broadcastStrides(b.Shape(), shape)},
					func(i int, o []int) { z[i] = x[o[0]] + y[o[1]] })
				return nil
			},
		},
	}
}
