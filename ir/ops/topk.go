package ops

import (
	"fmt"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// TopKAttrs: the k Largest or smallest elements along Axis. They always come sorted,
// which Sorted=false permits.
type TopKAttrs struct {
	Axis    int64 `attr:"axis"`
	Largest bool  `attr:"largest"`
	Sorted  bool  `attr:"sorted"`
}

func topKOps() []*ir.Op {
	return []*ir.Op{typed(&ir.Op{
		Name: "TopK", Since: 24, Doc: "The k largest or smallest elements along an axis, best first, and where they stood; of equal ones the first.",
		Attrs: func() any { return &TopKAttrs{Axis: -1, Largest: true, Sorted: true} },
		MinIn: 2, MaxIn: 2, MinOut: 2, MaxOut: 2,
		Infer: inferTopK,
		Eval:  evalTopK,
		Cost:  costReduce,
	}, numberTypes, i64Type)}
}

func inferTopK(c *ir.InferCtx) error {
	x, a := c.In(0), c.Attrs.(*TopKAttrs)
	out := ir.Unranked(x.DType)
	if x.Ranked {
		axis, err := normAxis(a.Axis, len(x.Shape))
		if err != nil {
			return err
		}
		out = ir.MakeType(x.DType, slices.Clone(x.Shape)...)
		out.Shape[axis] = ir.Unknown()
		if v, ok := contents(c, 1); ok {
			if len(v) != 1 {
				return fmt.Errorf("%w: %d values of k, want one", ir.ErrShape, len(v))
			}
			d := x.Shape[axis]
			if k := v[0]; k.exact && (k.dim.Size < 0 || d.IsKnown() && k.dim.Size > d.Size) {
				return fmt.Errorf("%w: the top %d along axis %d of %s", ir.ErrShape, k.dim.Size, axis, x)
			}
			out.Shape[axis] = v[0].dim
		}
	}
	c.SetOut(0, out)
	out.DType = tensor.I64
	c.SetOut(1, out)
	return nil
}

func evalTopK(c *ir.EvalCtx) error {
	x, a := c.In(0), c.Attrs.(*TopKAttrs)
	axis, err := normAxis(a.Axis, x.Rank())
	if err != nil {
		return err
	}
	k64, err := evalInt(c, 1)
	if err != nil {
		return err
	}
	outer, n, inner := splitAt(x.Shape(), axis)
	if k64 < 0 || k64 > int64(n) {
		return fmt.Errorf("%w: the top %d along axis %d of %s", ir.ErrShape, k64, axis, x)
	}
	k := int(k64)
	shape := slices.Clone(x.Shape())
	shape[axis] = k
	values, err := c.Out(0, x.DType(), shape...)
	if err != nil {
		return err
	}
	where, err := c.Out(1, tensor.I64, shape...)
	if err != nil {
		return err
	}
	compare, err := ordering(x)
	if err != nil {
		return err
	}
	move, z := mover(values, x), tensor.Data[int64](where)
	order := make([]int, n)
	for o := range outer {
		for i := range inner {
			at := func(j int) int { return (o*n+j)*inner + i }
			for j := range order {
				order[j] = j
			}
			slices.SortStableFunc(order, func(p, q int) int {
				if a.Largest {
					p, q = q, p
				}
				return compare(at(p), at(q))
			})
			for j, p := range order[:k] {
				dst := (o*k+j)*inner + i
				move(dst, at(p), 1)
				z[dst] = int64(p)
			}
		}
	}
	return nil
}
