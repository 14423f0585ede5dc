package ops

import (
	"fmt"
	"math"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
)

type oneHotAttrs struct {
	Axis int64 `attr:"axis"`
}

func oneHotOps() []*ir.Op {
	return []*ir.Op{typed(&ir.Op{
		Name: "OneHot", Since: 28, Doc: "A new axis on which values[1] stands at the index and values[0] elsewhere.",
		Attrs: func() any { return &oneHotAttrs{-1} },
		MinIn: 3, MaxIn: 3, MinOut: 1, MaxOut: 1,
		Infer: inferOneHot,
		Eval:  evalOneHot,
	}, numberTypes, numberTypes, anyType&^(float8Types|narrowInts))}
}

func inferOneHot(c *ir.InferCtx) error {
	idx, values := c.In(0), c.In(2)
	if !idx.Ranked {
		c.SetOut(0, ir.Unranked(values.DType))
		return nil
	}
	axis, err := normAxis(c.Attrs.(*oneHotAttrs).Axis, len(idx.Shape)+1)
	if err != nil {
		return err
	}
	depth := ir.Unknown()
	if v, ok := contents(c, 1); ok && len(v) == 1 {
		if v[0].exact && v[0].dim.Size < 0 {
			return fmt.Errorf("%w: depth %d", ir.ErrShape, v[0].dim.Size)
		}
		depth = v[0].dim
	}
	c.SetOut(0, ir.MakeType(values.DType, slices.Insert(slices.Clone(idx.Shape), axis, depth)...))
	return nil
}

func evalOneHot(c *ir.EvalCtx) error {
	idx, values := c.In(0), c.In(2)
	axis, err := normAxis(c.Attrs.(*oneHotAttrs).Axis, idx.Rank()+1)
	if err != nil {
		return err
	}
	d, err := floatsOf(c.In(1))
	if err != nil {
		return err
	}
	if len(d) != 1 || !(d[0] >= 0) || d[0] > math.MaxInt32 {
		return fmt.Errorf("%w: depth %v", ir.ErrShape, d)
	}
	if values.Len() != 2 {
		return fmt.Errorf("%w: values %s, want two", ir.ErrShape, values)
	}
	depth := int(d[0])
	out, err := c.Out(0, values.DType(), slices.Insert(slices.Clone(idx.Shape()), axis, depth)...)
	if err != nil || out.Len() == 0 {
		return err
	}
	v, err := floatsOf(idx)
	if err != nil {
		return err
	}
	filler(out, values)(0, out.Len())
	put := mover(out, values)
	inner := out.Len() / depth
	for _, n := range idx.Shape()[:axis] {
		inner /= n
	}
	for i, x := range v {
		if x < 0 {
			x += float64(depth)
		}
		if x != math.Trunc(x) || !(x >= 0) || x >= float64(depth) {
			continue
		}
		put((i/inner*depth+int(x))*inner+i%inner, 1, 1)
	}
	return nil
}
