package ops

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// TransposeAttrs: dimension i of the result is dimension Perm[i] of the input; absent,
// the order is reversed.
type TransposeAttrs struct {
	Perm []int64 `attr:"perm"`
}

// Order is the permutation for an input of the given rank.
func (a *TransposeAttrs) Order(rank int) ([]int, error) {
	if a.Perm == nil {
		out := make([]int, rank)
		for i := range out {
			out[i] = rank - 1 - i
		}
		return out, nil
	}
	if len(a.Perm) != rank {
		return nil, fmt.Errorf("%w: perm %v for a value of rank %d", ir.ErrAttr, a.Perm, rank)
	}
	return normAxes(a.Perm, rank)
}

func transposeOps() []*ir.Op {
	return []*ir.Op{typed(&ir.Op{
		Name: "Transpose", Since: 25, Doc: "The dimensions in another order.",
		Attrs: func() any { return &TransposeAttrs{} },
		MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
		Infer: func(c *ir.InferCtx) error {
			x, a := c.In(0), c.Attrs.(*TransposeAttrs)
			if !x.Ranked {
				rank := -1
				if a.Perm != nil {
					rank = len(a.Perm)
				}
				c.SetOut(0, rankedUnknown(x.DType, rank))
				return nil
			}
			perm, err := a.Order(len(x.Shape))
			if err != nil {
				return err
			}
			s := make([]ir.Dim, len(perm))
			for i, p := range perm {
				s[i] = x.Shape[p]
			}
			c.SetOut(0, ir.MakeType(x.DType, s...))
			if len(s) <= 1 {
				passContents(c)
			}
			return nil
		},
		Eval: func(c *ir.EvalCtx) error {
			x := c.In(0)
			perm, err := c.Attrs.(*TransposeAttrs).Order(x.Rank())
			if err != nil {
				return err
			}
			strides := tensor.Strides(x.Shape())
			s, st := make([]int, len(perm)), make([]int, len(perm))
			for i, p := range perm {
				s[i], st[i] = x.Shape()[p], strides[p]
			}
			out, err := c.Out(0, x.DType(), s...)
			if err != nil {
				return err
			}
			copyStrided(out, x, 0, st)
			return nil
		},
	}, anyType)}
}
