package ops

import (
	"fmt"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// ConcatAttrs: the inputs are joined along Axis.
type ConcatAttrs struct {
	Axis int64 `attr:"axis"`
}

func concatOps() []*ir.Op {
	return []*ir.Op{typed(&ir.Op{
		Name: "Concat", Since: 13, Doc: "The inputs joined along an axis.",
		Attrs: func() any { return &ConcatAttrs{} },
		MinIn: 1, MaxIn: -1, MinOut: 1, MaxOut: 1,
		Infer: inferConcat,
		Eval:  evalConcat,
	}, anyType)}
}

func inferConcat(c *ir.InferCtx) error {
	var dt tensor.DType
	var out []ir.Dim
	axis, ranked := 0, true
	known := []content{}
	for i := range c.NumIn() {
		t := c.In(i)
		if t.DType == tensor.Invalid {
			continue
		}
		if dt != tensor.Invalid && dt != t.DType {
			return fmt.Errorf("%w: %s and %s", ir.ErrType, dt, t.DType)
		}
		dt = t.DType
		if v, ok := contents(c, i); ok && known != nil && t.Rank() == 1 {
			known = append(known, v...)
		} else {
			known = joinUnknown(known, t)
		}
		if !t.Ranked {
			ranked = false
			continue
		}
		if out == nil {
			var err error
			if axis, err = normAxis(c.Attrs.(*ConcatAttrs).Axis, len(t.Shape)); err != nil {
				return err
			}
			out = slices.Clone(t.Shape)
			continue
		}
		if len(t.Shape) != len(out) {
			return fmt.Errorf("%w: %s joined with rank %d", ir.ErrShape, t, len(out))
		}
		for d := range out {
			switch {
			case d == axis:
				out[d] = ir.AddDim(out[d], t.Shape[d])
			case !dimsMayEqual(out[d], t.Shape[d]):
				return fmt.Errorf("%w: dimension %d of %s is not %s", ir.ErrShape, d, t, out[d])
			case !out[d].IsKnown() && (t.Shape[d].IsKnown() || out[d].Name == ""):
				out[d] = t.Shape[d]
			}
		}
	}
	if !ranked {
		if out != nil {
			out[axis] = ir.Unknown()
			c.SetOut(0, ir.MakeType(dt, out...))
			return nil
		}
		c.SetOut(0, ir.Unranked(dt))
		return nil
	}
	c.SetOut(0, ir.MakeType(dt, out...))
	if known != nil && len(out) == 1 && (dt == tensor.I64 || dt == tensor.I32) {
		setContents(c, 0, known)
	}
	return nil
}

// joinUnknown adds as many unknown elements as t has, or gives up (nil).
func joinUnknown(known []content, t ir.Type) []content {
	n := vectorLen(t)
	if known == nil || n < 0 {
		return nil
	}
	for range n {
		known = append(known, unknownContent)
	}
	return known
}

func evalConcat(c *ir.EvalCtx) error {
	first := c.In(0)
	axis, err := normAxis(c.Attrs.(*ConcatAttrs).Axis, first.Rank())
	if err != nil {
		return err
	}
	shape := slices.Clone(first.Shape())
	for i, t := range c.Ins {
		if t == nil {
			return fmt.Errorf("%w: input %d is missing", ir.ErrInput, i)
		}
		if t.DType() != first.DType() {
			return fmt.Errorf("%w: %s and %s", ir.ErrType, first.DType(), t.DType())
		}
		if t.Rank() != first.Rank() {
			return fmt.Errorf("%w: %s joined with %s", ir.ErrShape, t, first)
		}
		if i == 0 {
			continue
		}
		for d, n := range t.Shape() {
			if d == axis {
				shape[d] += n
			} else if n != shape[d] {
				return fmt.Errorf("%w: %s joined with %s", ir.ErrShape, t, first)
			}
		}
	}
	out, err := c.Out(0, first.DType(), shape...)
	if err != nil {
		return err
	}
	outer, row, inner := splitAt(shape, axis)
	at := 0
	for _, t := range c.Ins {
		n := t.Shape()[axis] * inner
		if n == 0 {
			continue
		}
		move := mover(out, t)
		for o := range outer {
			move(o*row*inner+at, o*n, n)
		}
		at += n
	}
	return nil
}
