package ops

import (
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// ShapeAttrs pick the dimensions [Start, End) that Shape gives; both may count from
// the back and are clamped.
type ShapeAttrs struct {
	Start int64  `attr:"start"`
	End   *int64 `attr:"end"`
}

func (a *ShapeAttrs) bounds(rank int) (start, end int) {
	clampTo := func(v int64) int {
		if v < 0 {
			v += int64(rank)
		}
		return int(min(max(v, 0), int64(rank)))
	}
	start, end = clampTo(a.Start), rank
	if a.End != nil {
		end = clampTo(*a.End)
	}
	return start, max(start, end)
}

func shapeOps() []*ir.Op {
	return []*ir.Op{
		typed(&ir.Op{
			Name: "Shape", Since: 25, Doc: "The dimensions of the input as int64.",
			Attrs: func() any { return &ShapeAttrs{} },
			MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error {
				x := c.In(0)
				if !x.Ranked {
					c.SetOut(0, ir.MakeType(tensor.I64, ir.Unknown()))
					return nil
				}
				start, end := c.Attrs.(*ShapeAttrs).bounds(len(x.Shape))
				c.SetOut(0, ir.MakeType(tensor.I64, ir.Known(int64(end-start))))
				c.SetDims(0, x.Shape[start:end:end])
				return nil
			},
			Eval: func(c *ir.EvalCtx) error {
				s := c.In(0).Shape()
				start, end := c.Attrs.(*ShapeAttrs).bounds(len(s))
				return setInts(c, s[start:end], end-start)
			},
		}, anyType),
		typed(&ir.Op{
			Name: "Size", Since: 25, Doc: "The number of elements of the input as an int64 scalar.",
			MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error {
				c.SetOut(0, ir.MakeType(tensor.I64))
				if x := c.In(0); x.Ranked {
					c.SetDims(0, []ir.Dim{prodDims(x.Shape)})
				}
				return nil
			},
			Eval: func(c *ir.EvalCtx) error { return setInts(c, []int{c.In(0).Len()}) },
		}, anyType),
	}
}

// setInts makes output 0 an int64 tensor of the given elements and shape.
func setInts(c *ir.EvalCtx, v []int, shape ...int) error {
	out, err := c.Out(0, tensor.I64, shape...)
	if err != nil {
		return err
	}
	store(tensor.Data[int64](out), v)
	return nil
}
