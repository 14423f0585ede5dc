package ops

import (
	"fmt"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
)

func squeezeOps() []*ir.Op {
	return []*ir.Op{
		typed(&ir.Op{
			Name: "Squeeze", Since: 25, Doc: "Drops dimensions of size 1: those named by axes, or all.",
			MinIn: 1, MaxIn: 2, MinOut: 1, MaxOut: 1,
			Infer: inferSqueeze,
			Eval: func(c *ir.EvalCtx) error {
				s := c.In(0).Shape()
				drop, err := squeezeAxes(c, s)
				if err != nil {
					return err
				}
				return copyOut(c, c.In(0), slices.DeleteFunc(slices.Clone(s), dropper[int](drop))...)
			},
		}, anyType, i64Type),
		typed(&ir.Op{
			Name: "Unsqueeze", Since: 25, Doc: "Inserts dimensions of size 1 so that they stand at axes in the result.",
			MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error {
				x := c.In(0)
				axes, ok := knownInts(c, 1)
				if !ok || !x.Ranked {
					rank := -1
					if n := vectorLen(c.In(1)); x.Ranked && n >= 0 {
						rank = len(x.Shape) + n
					}
					c.SetOut(0, rankedUnknown(x.DType, rank))
					passContents(c)
					return nil
				}
				s, err := unsqueezed(x.Shape, axes, ir.Known(1))
				if err != nil {
					return err
				}
				c.SetOut(0, ir.MakeType(x.DType, s...))
				passContents(c)
				return nil
			},
			Eval: func(c *ir.EvalCtx) error {
				axes, err := evalInts(c, 1)
				if err != nil {
					return err
				}
				s, err := unsqueezed(c.In(0).Shape(), axes, 1)
				if err != nil {
					return err
				}
				return copyOut(c, c.In(0), s...)
			},
		}, anyType, i64Type),
	}
}

// dropper is true for the elements, taken in order, whose position is in drop.
func dropper[T any](drop []int) func(T) bool {
	i := -1
	return func(T) bool { i++; return slices.Contains(drop, i) }
}

func squeezeAxes(c *ir.EvalCtx, s []int) ([]int, error) {
	var drop []int
	if !c.Has(1) {
		for i, d := range s {
			if d == 1 {
				drop = append(drop, i)
			}
		}
		return drop, nil
	}
	axes, err := evalInts(c, 1)
	if err != nil {
		return nil, err
	}
	if drop, err = normAxes(axes, len(s)); err != nil {
		return nil, err
	}
	for _, a := range drop {
		if s[a] != 1 {
			return nil, fmt.Errorf("%w: axis %d of %v is not 1", ir.ErrShape, a, s)
		}
	}
	return drop, nil
}

func inferSqueeze(c *ir.InferCtx) error {
	x := c.In(0)
	passContents(c)
	c.SetOut(0, ir.Unranked(x.DType))
	var drop []int
	if c.Has(1) {
		axes, ok := knownInts(c, 1)
		if !ok {
			if n := vectorLen(c.In(1)); n >= 0 && x.Ranked && len(x.Shape) >= n {
				c.SetOut(0, rankedUnknown(x.DType, len(x.Shape)-n))
			}
			return nil
		}
		if !x.Ranked {
			return nil
		}
		var err error
		if drop, err = normAxes(axes, len(x.Shape)); err != nil {
			return err
		}
		for _, a := range drop {
			if d := x.Shape[a]; d.IsKnown() && d.Size != 1 {
				return fmt.Errorf("%w: axis %d of %s is not 1", ir.ErrShape, a, x)
			}
		}
	} else {
		if !x.Ranked {
			return nil
		}
		for i, d := range x.Shape {
			if !d.IsKnown() {
				return nil // whether it is dropped shows only at run time
			}
			if d.Size == 1 {
				drop = append(drop, i)
			}
		}
	}
	c.SetOut(0, ir.MakeType(x.DType, slices.DeleteFunc(slices.Clone(x.Shape), dropper[ir.Dim](drop))...))
	return nil
}

// unsqueezed inserts one at the axes of the resulting shape.
func unsqueezed[T any](s []T, axes []int64, one T) ([]T, error) {
	rank := len(s) + len(axes)
	at, err := normAxes(axes, rank)
	if err != nil {
		return nil, err
	}
	out := make([]T, 0, rank)
	for i := range rank {
		if slices.Contains(at, i) {
			out = append(out, one)
			continue
		}
		out = append(out, s[0])
		s = s[1:]
	}
	return out, nil
}
