package ops

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// MaxUnpoolAttrs are the attributes of MaxUnpool.
type MaxUnpoolAttrs struct {
	KernelShape []int64 `attr:"kernel_shape"`
	Pads        []int64 `attr:"pads"`
	Strides     []int64 `attr:"strides"`
}

func unpoolOps() []*ir.Op {
	return []*ir.Op{{
		Name: "MaxUnpool", Since: 22, Doc: "Puts values back where MaxPool found them, zeros elsewhere.",
		Attrs: func() any { return &MaxUnpoolAttrs{} },
		MinIn: 2, MaxIn: 3, MinOut: 1, MaxOut: 1,
		Infer: func(c *ir.InferCtx) error {
			x := c.In(0)
			if err := wantFloat(c, 0); err != nil {
				return err
			}
			if err := wantRank("the input", x, 3, -1); err != nil {
				return err
			}
			c.SetOut(0, ir.Unranked(x.DType))
			if c.Has(2) {
				if d, ok := c.Dims(2); ok {
					c.SetOut(0, ir.MakeType(x.DType, d...))
				}
				return nil
			}
			if shape, ok := x.Static(); ok {
				full, err := c.Attrs.(*MaxUnpoolAttrs).full(shape)
				if err != nil {
					return err
				}
				c.SetOut(0, ir.MakeType(x.DType, ir.Dims(full...)...))
			}
			return nil
		},
		Eval: func(c *ir.EvalCtx) error { return byFloat(c, 0, evalMaxUnpool[float32], evalMaxUnpool[float64]) },
	}}
}

// full is the shape before pooling that the attributes imply.
func (a *MaxUnpoolAttrs) full(shape []int) ([]int, error) {
	n := len(shape) - 2
	s, err := windowSpec{Kernel: a.KernelShape, Strides: a.Strides, Pads: a.Pads}.check(n)
	if err != nil {
		return nil, err
	}
	out := append([]int(nil), shape...)
	for i := range n {
		d := (int64(shape[i+2])-1)*s.Strides[i] - s.Pads[i] - s.Pads[i+n] + s.Kernel[i]
		if d < 0 || shape[i+2] > windowLimit {
			return nil, fmt.Errorf("%w: unpooled length %d", ir.ErrShape, d)
		}
		out[i+2] = sizeInt(d)
	}
	return out, nil
}

func evalMaxUnpool[T realElem](c *ir.EvalCtx) error {
	if err := need(c, 0, 1); err != nil {
		return err
	}
	x := c.In(0)
	if err := tensorRank("the input", x, 3, -1); err != nil {
		return err
	}
	full, err := c.Attrs.(*MaxUnpoolAttrs).full(x.Shape())
	if err != nil {
		return err
	}
	shape := full
	if c.Has(2) {
		s, err := c.In(2).Int64s()
		if err != nil || len(s) != x.Rank() {
			return fmt.Errorf("%w: output_shape %s", ir.ErrShape, c.In(2))
		}
		shape = toInts(s)
		for i, d := range shape {
			if d < full[i] {
				return fmt.Errorf("%w: output_shape %v is smaller than %v", ir.ErrShape, shape, full)
			}
		}
	}
	if err := wantShape("the indices", c.In(1), x.Shape()...); err != nil {
		return err
	}
	idx, err := c.In(1).Int64s()
	if err != nil {
		return fmt.Errorf("%w: indices: %w", ir.ErrType, err)
	}
	v, err := reals[T](x)
	if err != nil {
		return err
	}
	out, err := outReals[T](c, 0, x.DType(), shape...)
	if err != nil {
		return err
	}
	clear(out.V)
	total, ok := tensor.CheckedElems(full)
	if !ok {
		return fmt.Errorf("%w: unpooled shape %v", ir.ErrShape, full)
	}
	from, to := tensor.Strides(full), tensor.Strides(shape)
	for i, at := range idx { // indices count over the implied shape, which output_shape may exceed
		if at < 0 || at >= int64(total) {
			return fmt.Errorf("%w: index %d of %d elements", ir.ErrInput, at, total)
		}
		p, rest := 0, int(at)
		for d, s := range from {
			p += rest / s * to[d]
			rest %= s
		}
		out.V[p] = v[i]
	}
	out.Store()
	return nil
}
