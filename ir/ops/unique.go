package ops

import (
	"cmp"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// UniqueAttrs: the slices along Axis that differ; absent, the elements of the
// flattened input. They come sorted, or in the order of their first occurrence.
type UniqueAttrs struct {
	Axis   *int64 `attr:"axis"`
	Sorted bool   `attr:"sorted"`
}

func uniqueOps() []*ir.Op {
	return []*ir.Op{typed(&ir.Op{
		Name: "Unique", Since: 28, Doc: "The different elements (or slices), where each first stood, which one each input is, and how often each occurs.",
		Attrs: func() any { return &UniqueAttrs{Sorted: true} },
		MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 4,
		Infer: inferUnique,
		Eval:  evalUnique,
	}, anyType&^(float8Types|narrowInts))}
}

func inferUnique(c *ir.InferCtx) error {
	x, a := c.In(0), c.Attrs.(*UniqueAttrs)
	c.SetOut(0, ir.Unranked(x.DType))
	all := ir.Unknown()
	switch {
	case a.Axis == nil:
		c.SetOut(0, ir.MakeType(x.DType, ir.Unknown()))
		if x.Ranked {
			all = prodDims(x.Shape)
		}
	case x.Ranked:
		axis, err := normAxis(*a.Axis, len(x.Shape))
		if err != nil {
			return err
		}
		s := slices.Clone(x.Shape)
		all, s[axis] = s[axis], ir.Unknown()
		c.SetOut(0, ir.MakeType(x.DType, s...))
	}
	c.SetOut(1, ir.MakeType(tensor.I64, ir.Unknown()))
	c.SetOut(2, ir.MakeType(tensor.I64, all))
	c.SetOut(3, ir.MakeType(tensor.I64, ir.Unknown()))
	return nil
}

func evalUnique(c *ir.EvalCtx) error {
	x, a := c.In(0), c.Attrs.(*UniqueAttrs)
	shape, axis := []int{x.Len()}, 0
	if a.Axis != nil {
		var err error
		if axis, err = normAxis(*a.Axis, x.Rank()); err != nil {
			return err
		}
		shape = slices.Clone(x.Shape())
	}
	outer, n, inner := splitAt(shape, axis)
	elem, err := ordering(x)
	if err != nil {
		return err
	}
	compare := func(p, q int) int {
		for o := range outer {
			for i := range inner {
				if d := elem((o*n+p)*inner+i, (o*n+q)*inner+i); d != 0 {
					return d
				}
			}
		}
		return 0
	}
	order := allAxes(n)
	slices.SortStableFunc(order, compare)
	var first, counts []int
	group := make([]int, n)
	for i, p := range order {
		if i == 0 || compare(order[i-1], p) != 0 {
			first, counts = append(first, p), append(counts, 0)
		}
		group[p] = len(first) - 1
		counts[len(counts)-1]++
	}
	if !a.Sorted {
		first, counts, group = byOccurrence(first, counts, group)
	}
	shape[axis] = len(first)
	out, err := c.Out(0, x.DType(), shape...)
	if err != nil {
		return err
	}
	if out.Len() > 0 {
		move := mover(out, x)
		for o := range outer {
			for j, p := range first {
				move((o*len(first)+j)*inner, (o*n+p)*inner, inner)
			}
		}
	}
	for i, v := range [][]int{first, group, counts} {
		if i+1 >= len(c.Outs) {
			break
		}
		t, err := c.Out(i+1, tensor.I64, len(v))
		if err != nil {
			return err
		}
		store(tensor.Data[int64](t), v)
	}
	return nil
}

// byOccurrence reorders groups by where they first stood.
func byOccurrence(first, counts, group []int) (f, c, g []int) {
	order := allAxes(len(first))
	slices.SortFunc(order, func(p, q int) int { return cmp.Compare(first[p], first[q]) })
	rank := make([]int, len(order))
	for i, p := range order {
		f, c = append(f, first[p]), append(c, counts[p])
		rank[p] = i
	}
	g = make([]int, len(group))
	for i, p := range group {
		g[i] = rank[p]
	}
	return f, c, g
}
