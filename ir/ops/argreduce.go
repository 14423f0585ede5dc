package ops

import (
	"fmt"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// ArgReduceAttrs: where the extreme element along Axis stands; of equal ones the
// first, or the last with SelectLastIndex.
type ArgReduceAttrs struct {
	Axis            int64 `attr:"axis"`
	KeepDims        bool  `attr:"keepdims"`
	SelectLastIndex bool  `attr:"select_last_index"`
}

func argReduceOps() []*ir.Op {
	return []*ir.Op{
		argReduceOp("ArgMax", "Index of the largest element along an axis.", 1),
		argReduceOp("ArgMin", "Index of the smallest element along an axis.", -1),
	}
}

func argReduceOp(name, doc string, sign int) *ir.Op {
	return typed(&ir.Op{
		Name: name, Since: 13, Doc: doc,
		Attrs: func() any { return &ArgReduceAttrs{KeepDims: true} },
		MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
		Infer: func(c *ir.InferCtx) error {
			x, a := c.In(0), c.Attrs.(*ArgReduceAttrs)
			if !x.Ranked {
				c.SetOut(0, ir.Unranked(tensor.I64))
				return nil
			}
			axis, err := normAxis(a.Axis, len(x.Shape))
			if err != nil {
				return err
			}
			c.SetOut(0, ir.MakeType(tensor.I64, reducedShape(x.Shape, axis, a.KeepDims, ir.Known(1))...))
			return nil
		},
		Eval: func(c *ir.EvalCtx) error { return evalArgReduce(c, sign) },
		Cost: costReduce,
	}, numberTypes)
}

// reducedShape is a shape with one axis made 1, or dropped.
func reducedShape[T any](shape []T, axis int, keep bool, one T) []T {
	out := slices.Clone(shape)
	if keep {
		out[axis] = one
		return out
	}
	return slices.Delete(out, axis, axis+1)
}

func evalArgReduce(c *ir.EvalCtx, sign int) error {
	x, a := c.In(0), c.Attrs.(*ArgReduceAttrs)
	axis, err := normAxis(a.Axis, x.Rank())
	if err != nil {
		return err
	}
	outer, n, inner := splitAt(x.Shape(), axis)
	if n == 0 && outer*inner > 0 {
		return fmt.Errorf("%w: no extreme along the empty axis %d of %s", ir.ErrShape, axis, x)
	}
	out, err := c.Out(0, tensor.I64, reducedShape(x.Shape(), axis, a.KeepDims, 1)...)
	if err != nil {
		return err
	}
	compare, err := ordering(x)
	if err != nil {
		return err
	}
	if sign < 0 && x.DType().IsFloat() {
		// A NaN is the extreme either way, as in NumPy.
		if compare, err = nanFirst(x, compare); err != nil {
			return err
		}
	}
	z := tensor.Data[int64](out)
	for o := range outer {
		for i := range inner {
			base, best := o*n*inner+i, 0
			for j := 1; j < n; j++ {
				d := sign * compare(base+j*inner, base+best*inner)
				if d > 0 || d == 0 && a.SelectLastIndex {
					best = j
				}
			}
			z[o*inner+i] = int64(best)
		}
	}
	return nil
}

// nanFirst orders NaN below all numbers.
func nanFirst(x *tensor.Tensor, compare func(i, j int) int) (func(i, j int) int, error) {
	v, err := floatsOf(x)
	return func(i, j int) int {
		if v[i] != v[i] || v[j] != v[j] {
			return -compare(i, j)
		}
		return compare(i, j)
	}, err
}
