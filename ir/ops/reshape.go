package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// ReshapeAttrs: with AllowZero a 0 in the target means size 0, not "as the input".
type ReshapeAttrs struct {
	AllowZero bool `attr:"allowzero"`
}

// FlattenAttrs: the dimensions before Axis become the rows, the rest the columns.
type FlattenAttrs struct {
	Axis int64 `attr:"axis"`
}

func reshapeOps() []*ir.Op {
	return []*ir.Op{
		typed(&ir.Op{
			Name: "Reshape", Since: 25, Doc: "The same elements under another shape; -1 is what is left over, 0 copies the dimension.",
			Attrs: func() any { return &ReshapeAttrs{} },
			MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
			Infer: inferReshape,
			Eval: func(c *ir.EvalCtx) error {
				want, err := evalInts(c, 1)
				if err != nil {
					return err
				}
				shape, err := reshapeTo(c.In(0).Shape(), want, c.Attrs.(*ReshapeAttrs).AllowZero)
				if err != nil {
					return err
				}
				return copyOut(c, c.In(0), shape...)
			},
		}, anyType, i64Type),
		typed(&ir.Op{
			Name: "Flatten", Since: 25, Doc: "The input as a matrix: the dimensions before axis by the rest.",
			Attrs: func() any { return &FlattenAttrs{1} },
			MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error {
				x := c.In(0)
				if !x.Ranked {
					c.SetOut(0, rankedUnknown(x.DType, 2))
					return nil
				}
				a, err := flattenAxis(c.Attrs.(*FlattenAttrs).Axis, len(x.Shape))
				if err != nil {
					return err
				}
				c.SetOut(0, ir.MakeType(x.DType, prodDims(x.Shape[:a]), prodDims(x.Shape[a:])))
				return nil
			},
			Eval: func(c *ir.EvalCtx) error {
				s := c.In(0).Shape()
				a, err := flattenAxis(c.Attrs.(*FlattenAttrs).Axis, len(s))
				if err != nil {
					return err
				}
				return copyOut(c, c.In(0), tensor.NumElems(s[:a]), tensor.NumElems(s[a:]))
			},
		}, anyType),
	}
}

// flattenAxis allows the rank itself: everything becomes rows.
func flattenAxis(axis int64, rank int) (int, error) {
	if axis == int64(rank) {
		return rank, nil
	}
	return normAxis(axis, rank)
}

func reshapeTo(in []int, want []int64, allowZero bool) ([]int, error) {
	shape := make([]int, len(want))
	free := -1
	for i, d := range want {
		switch {
		case d == -1 && free < 0:
			free = i
			shape[i] = 1
		case d == -1:
			return nil, fmt.Errorf("%w: target shape %v has more than one -1", ir.ErrShape, want)
		case d < 0 || d > math.MaxInt32*1024:
			return nil, fmt.Errorf("%w: target shape %v", ir.ErrShape, want)
		case d == 0 && !allowZero:
			if i >= len(in) {
				return nil, fmt.Errorf("%w: target shape %v copies dimension %d of %v", ir.ErrShape, want, i, in)
			}
			shape[i] = in[i]
		default:
			shape[i] = sizeInt(d)
		}
	}
	n := tensor.NumElems(in)
	rest, ok := tensor.CheckedElems(shape)
	if ok && free >= 0 && rest == 0 && n == 0 && !allowZero {
		n, rest = withoutCopied(in, shape, want)
	}
	if ok && free >= 0 {
		ok = rest > 0 && n%rest == 0
		if ok {
			shape[free] = n / rest
			rest = n
		} else if rest == 0 && n == 0 {
			return nil, fmt.Errorf("%w: -1 in target shape %v is not determined for an empty input %v", ir.ErrShape, want, in)
		}
	}
	if !ok || rest != n {
		return nil, fmt.Errorf("%w: %v cannot become %v", ir.ErrShape, in, want)
	}
	return shape, nil
}

// withoutCopied counts the elements of an input and its target apart from the dimensions
// that the target copies: what -1 stands for in an empty tensor such as [0,6] to [0,-1,2].
func withoutCopied(in, shape []int, want []int64) (n, rest int) {
	n, rest = 1, 1
	for i, d := range in {
		if i >= len(want) || want[i] != 0 {
			n *= d
		}
	}
	for i, d := range shape {
		if want[i] != 0 {
			rest *= d
		}
	}
	return n, rest
}

func inferReshape(c *ir.InferCtx) error {
	x := c.In(0)
	want, ok := contents(c, 1)
	if !ok {
		c.SetOut(0, rankedUnknown(x.DType, vectorLen(c.In(1))))
		return nil
	}
	allowZero := c.Attrs.(*ReshapeAttrs).AllowZero
	out := make([]ir.Dim, len(want))
	free, frees := -1, 0 // a dim that the number of elements decides
	inferred := 0
	rest := ir.Known(1)
	for i, w := range want {
		d := w.dim
		switch {
		case w.exact && w.dim.Size == 0 && !allowZero:
			d = ir.Unknown()
			if x.Ranked {
				if i >= len(x.Shape) {
					return fmt.Errorf("%w: target shape copies dimension %d of %s", ir.ErrShape, i, x)
				}
				d = x.Shape[i]
			}
		case w.exact && w.dim.Size < -1:
			return fmt.Errorf("%w: dimension %d in target shape", ir.ErrShape, w.dim.Size)
		case w.exact && w.dim.Size == -1:
			if inferred++; inferred > 1 {
				return fmt.Errorf("%w: target shape has more than one -1", ir.ErrShape)
			}
		}
		if !d.IsKnown() && d.Name == "" {
			// -1, or a number not known here: either way what is left over, if alone.
			free, frees = i, frees+1
			d = ir.Unknown()
		} else {
			rest = ir.MulDim(rest, d)
		}
		out[i] = d
	}
	if x.Ranked {
		total := prodDims(x.Shape)
		switch frees {
		case 1:
			out[free] = leftOver(x.Shape, out, free)
		case 0:
			if total.IsKnown() && rest.IsKnown() && total.Size != rest.Size {
				return fmt.Errorf("%w: %s cannot become %v", ir.ErrShape, x, out)
			}
		}
		if t, ok := x.Static(); ok && frees == 1 && rest.IsKnown() && rest.Size > 0 && int64(tensor.NumElems(t))%rest.Size != 0 {
			return fmt.Errorf("%w: %s cannot become %v", ir.ErrShape, x, out)
		}
	}
	c.SetOut(0, ir.MakeType(x.DType, out...))
	passContents(c)
	return nil
}

// leftOver is the product of in divided by that of out without its free element.
// Dims that occur on both sides cancel first, so that unnamed ones elsewhere in the
// product do not spoil it.
func leftOver(in, out []ir.Dim, free int) ir.Dim {
	left := append([]ir.Dim(nil), in...)
	div := ir.Known(1)
	for i, d := range out {
		if i == free {
			continue
		}
		cancelled := false
		for j, e := range left {
			if d.Same(e) && (!d.IsKnown() || d.Size > 0) {
				left = append(left[:j], left[j+1:]...)
				cancelled = true
				break
			}
		}
		if !cancelled {
			div = ir.MulDim(div, d)
		}
	}
	// Numbers divide numbers: a dim that no product can name, such as a sum, stays whole.
	known := ir.Known(1)
	var open []ir.Dim
	for _, d := range left {
		if d.IsKnown() {
			known = ir.MulDim(known, d)
		} else {
			open = append(open, d)
		}
	}
	if len(open) == 1 && div.IsKnown() && div.Size > 0 && known == div {
		return open[0]
	}
	return ir.DivDim(prodDims(left), div)
}
