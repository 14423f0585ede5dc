package ops

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
)

// CumulativeAttrs: with Exclusive an element leaves itself out; with Reverse the fold
// starts at the end.
type CumulativeAttrs struct {
	Exclusive bool `attr:"exclusive"`
	Reverse   bool `attr:"reverse"`
}

func cumulativeOps() []*ir.Op {
	return []*ir.Op{
		cumulativeOp("CumSum", 14, "Running sum along an axis.", 0,
			func(a, b float64) float64 { return a + b }, func(a, b int64) int64 { return a + b }),
		cumulativeOp("CumProd", 26, "Running product along an axis.", 1,
			func(a, b float64) float64 { return a * b }, func(a, b int64) int64 { return a * b }),
	}
}

func cumulativeOp(name string, since int, doc string, first int64, f func(a, b float64) float64, i func(a, b int64) int64) *ir.Op {
	return typed(&ir.Op{
		Name: name, Since: since, Doc: doc,
		Attrs: func() any { return &CumulativeAttrs{} },
		MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
		Infer: func(c *ir.InferCtx) error {
			if v, ok := knownInts(c, 1); ok && c.In(0).Ranked {
				if len(v) != 1 {
					return fmt.Errorf("%w: %d axes, want one", ir.ErrShape, len(v))
				}
				if _, err := normAxis(v[0], c.In(0).Rank()); err != nil {
					return err
				}
			}
			return inferSame(c)
		},
		Eval: halfViaF32(func(c *ir.EvalCtx) error {
			x, a := c.In(0), c.Attrs.(*CumulativeAttrs)
			v, err := evalInt(c, 1)
			if err != nil {
				return err
			}
			axis, err := normAxis(v, x.Rank())
			if err != nil {
				return err
			}
			out, err := c.Out(0, x.DType(), x.Shape()...)
			if err != nil {
				return err
			}
			if x.DType().IsFloat() {
				v, err := floatsOf(x)
				if err != nil {
					return err
				}
				cumulate(v, x.Shape(), axis, a, float64(first), f)
				return storeFloats(out, v, true)
			}
			w, err := intsOf(x)
			if err != nil {
				return err
			}
			cumulate(w, x.Shape(), axis, a, first, i)
			return storeInts(out, w)
		}),
	}, floatTypes|wideInts, indexTypes)
}

// cumulate folds v in place along an axis.
func cumulate[T any](v []T, shape []int, axis int, a *CumulativeAttrs, first T, f func(a, b T) T) {
	outer, n, inner := splitAt(shape, axis)
	for o := range outer {
		for i := range inner {
			acc := first
			for j := range n {
				if a.Reverse {
					j = n - 1 - j
				}
				p := (o*n+j)*inner + i
				x := v[p]
				if a.Exclusive {
					v[p] = acc
				}
				acc = f(acc, x)
				if !a.Exclusive {
					v[p] = acc
				}
			}
		}
	}
}
