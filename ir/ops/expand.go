package ops

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

func expandOps() []*ir.Op {
	return []*ir.Op{
		typed(&ir.Op{
			Name: "Expand", Since: 13, Doc: "The input broadcast with the shape in input 1.",
			MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
			Infer: inferExpand,
			Eval: func(c *ir.EvalCtx) error {
				want, err := evalSizes(c, 1)
				if err != nil {
					return err
				}
				shape, err := BroadcastShapes(c.In(0).Shape(), want)
				if err != nil {
					return err
				}
				out, err := c.Out(0, c.In(0).DType(), shape...)
				if err != nil {
					return err
				}
				return broadcastInto(out, c.In(0))
			},
		}, anyType, i64Type),
		typed(&ir.Op{
			Name: "Tile", Since: 13, Doc: "The input repeated along each dimension as often as input 1 says.",
			MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
			Infer: inferTile,
			Eval:  evalTile,
		}, anyType, i64Type),
	}
}

// evalSizes are the elements of input i as the dimensions of a shape.
func evalSizes(c *ir.EvalCtx, i int) ([]int, error) {
	v, err := evalInts(c, i)
	if err != nil {
		return nil, err
	}
	out := make([]int, len(v))
	for j, n := range v {
		if n < 0 {
			return nil, fmt.Errorf("%w: negative size in %v", ir.ErrShape, v)
		}
		out[j] = sizeInt(n)
	}
	return out, nil
}

func inferExpand(c *ir.InferCtx) error {
	x := c.In(0)
	want, ok := contents(c, 1)
	if !ok || !x.Ranked {
		rank := -1
		if n := vectorLen(c.In(1)); n >= 0 && x.Ranked {
			rank = max(n, len(x.Shape))
		}
		c.SetOut(0, rankedUnknown(x.DType, rank))
		return nil
	}
	dims := make([]ir.Dim, len(want))
	for i, w := range want {
		if w.exact && w.dim.Size < -1 {
			return fmt.Errorf("%w: negative size %d", ir.ErrShape, w.dim.Size)
		}
		dims[i] = w.dim
	}
	s, err := BroadcastDims(x.Shape, dims)
	if err != nil {
		return err
	}
	c.SetOut(0, ir.MakeType(x.DType, s...))
	if v, ok := contents(c, 0); ok && len(v) == 1 && len(s) == 1 && s[0].IsKnown() && s[0].Size <= maxContents {
		repeatContent(c, v[0], int(s[0].Size))
	}
	return nil
}

// repeatContent states that output 0 holds n times the same element.
func repeatContent(c *ir.InferCtx, v content, n int) {
	out := make([]content, n)
	for i := range out {
		out[i] = v
	}
	setContents(c, 0, out)
}

func inferTile(c *ir.InferCtx) error {
	x := c.In(0)
	reps, ok := contents(c, 1)
	if !x.Ranked {
		c.SetOut(0, rankedUnknown(x.DType, vectorLen(c.In(1))))
		return nil
	}
	if !ok {
		c.SetOut(0, rankedUnknown(x.DType, len(x.Shape)))
		return nil
	}
	if len(reps) != len(x.Shape) {
		return fmt.Errorf("%w: %d repeats for %s", ir.ErrShape, len(reps), x)
	}
	s := make([]ir.Dim, len(reps))
	for i, r := range reps {
		if r.exact && r.dim.Size < 0 {
			return fmt.Errorf("%w: %d repeats", ir.ErrShape, r.dim.Size)
		}
		s[i] = ir.MulDim(x.Shape[i], r.dim)
	}
	c.SetOut(0, ir.MakeType(x.DType, s...))
	return nil
}

func evalTile(c *ir.EvalCtx) error {
	x := c.In(0)
	reps, err := evalSizes(c, 1)
	if err != nil {
		return err
	}
	if len(reps) != x.Rank() {
		return fmt.Errorf("%w: %d repeats for %s", ir.ErrShape, len(reps), x)
	}
	// Each dimension is seen as [repeats, size], the repeats with stride 0.
	strides := tensor.Strides(x.Shape())
	shape := make([]int, len(reps))
	wide, wideStrides := []int{}, []int{}
	for i, r := range reps {
		n, ok := tensor.CheckedElems([]int{x.Shape()[i], r})
		if !ok {
			return fmt.Errorf("%w: %v times %v", ir.ErrLimit, x.Shape(), reps)
		}
		shape[i] = n
		wide = append(wide, r, x.Shape()[i])
		wideStrides = append(wideStrides, 0, strides[i])
	}
	out, err := c.Out(0, x.DType(), shape...)
	if err != nil {
		return err
	}
	if out.Len() > 0 {
		copyStrided(out.Reshape(wide...), x, 0, wideStrides)
	}
	return nil
}
