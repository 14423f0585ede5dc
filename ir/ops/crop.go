package ops

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// CenterCropPadAttrs are the attributes of CenterCropPad.
type CenterCropPadAttrs struct {
	Axes []int64 `attr:"axes"`
}

func cropOps() []*ir.Op {
	return []*ir.Op{{
		Name: "CenterCropPad", Since: 18, Doc: "Crops or zero-pads axes to given sizes, keeping the centre.",
		Attrs: func() any { return &CenterCropPadAttrs{} },
		MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
		Infer: func(c *ir.InferCtx) error {
			x := c.In(0)
			c.SetOut(0, anyShape(x))
			if !x.Ranked {
				return nil
			}
			axes, err := resizeAxes(&ResizeAttrs{Axes: c.Attrs.(*CenterCropPadAttrs).Axes}, x.Rank())
			if err != nil {
				return err
			}
			d, ok := c.Dims(1)
			if !ok {
				return nil
			}
			if len(d) != len(axes) {
				return fmt.Errorf("%w: %d sizes for %d axes", ir.ErrShape, len(d), len(axes))
			}
			out := append([]ir.Dim(nil), x.Shape...)
			for i, ax := range axes {
				out[ax] = d[i]
			}
			c.SetOut(0, ir.MakeType(x.DType, out...))
			return nil
		},
		Eval: evalCenterCropPad,
	}}
}

func evalCenterCropPad(c *ir.EvalCtx) error {
	if err := need(c, 0, 1); err != nil {
		return err
	}
	x := c.In(0)
	axes, err := resizeAxes(&ResizeAttrs{Axes: c.Attrs.(*CenterCropPadAttrs).Axes}, x.Rank())
	if err != nil {
		return err
	}
	want, err := c.In(1).Int64s()
	if err != nil {
		return fmt.Errorf("%w: shape: %w", ir.ErrType, err)
	}
	if len(want) != len(axes) {
		return fmt.Errorf("%w: %d sizes for %d axes", ir.ErrShape, len(want), len(axes))
	}
	shape := append([]int(nil), x.Shape()...)
	for i, ax := range axes {
		if want[i] < 0 || want[i] > windowLimit<<10 {
			return fmt.Errorf("%w: shape %v", ir.ErrShape, want)
		}
		shape[ax] = int(want[i])
	}
	out, err := c.Out(0, x.DType(), shape...)
	if err != nil {
		return err
	}
	clear(out.Bytes())
	clear(out.Strings())
	// The overlap starts at from in the input and at to in the output.
	from, to, size := 0, 0, make([]int, len(shape))
	is, os := tensor.Strides(x.Shape()), tensor.Strides(shape)
	for i, d := range x.Shape() {
		size[i] = min(d, shape[i])
		from += (d - size[i]) / 2 * is[i]
		to += (shape[i] - size[i]) / 2 * os[i]
	}
	if x.DType() == tensor.String {
		src, dst := x.Strings(), out.Strings()
		eachIndex(size, [][]int{is, os}, func(_ int, o []int) { dst[to+o[1]] = src[from+o[0]] })
		return nil
	}
	es := x.DType().Size()
	src, dst := x.Bytes(), out.Bytes()
	eachIndex(size, [][]int{is, os}, func(_ int, o []int) {
		copy(dst[(to+o[1])*es:(to+o[1]+1)*es], src[(from+o[0])*es:])
	})
	return nil
}
