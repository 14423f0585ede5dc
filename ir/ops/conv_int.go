package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

func convIntOps() []*ir.Op {
	return []*ir.Op{
		{
			Name: "ConvInteger", Since: 10, Doc: "Convolution of 8-bit integers, less their zero points, into 32-bit integers.",
			Attrs: newConvAttrs, MinIn: 2, MaxIn: 4, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error {
				if err := want8Bit(c, 0, 1); err != nil {
					return err
				}
				return inferConv(c, c.Attrs.(*ConvAttrs), c.In(0), c.In(1), tensor.I32)
			},
			Eval: evalConvInteger, Cost: convCost(1),
		},
		{
			Name: "QLinearConv", Since: 10, Doc: "Convolution of quantised tensors into a quantised tensor.",
			Attrs: newConvAttrs, MinIn: 8, MaxIn: 9, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error {
				if err := want8Bit(c, 0, 3, 7); err != nil {
					return err
				}
				return inferConv(c, c.Attrs.(*ConvAttrs), c.In(0), c.In(3), c.In(7).DType)
			},
			Eval: evalQLinearConv, Cost: convCost(3),
		},
	}
}

func want8Bit(c *ir.InferCtx, ins ...int) error {
	for _, i := range ins {
		if dt := c.In(i).DType; c.Has(i) && dt != tensor.U8 && dt != tensor.I8 {
			return fmt.Errorf("%w: input %d is %s, want i8 or u8", ir.ErrType, i, dt)
		}
	}
	return nil
}

// shifted are the elements of an 8-bit tensor less its zero point, which is one value
// or one per slice of the first axis.
func shifted(t, zero *tensor.Tensor) ([]int32, error) {
	if t.DType() != tensor.U8 && t.DType() != tensor.I8 {
		return nil, fmt.Errorf("%w: %s, want i8 or u8", ir.ErrType, t)
	}
	v, err := t.Int64s()
	if err != nil {
		return nil, err
	}
	out := mapTo(v, func(x int64) int32 { return int32(x) })
	if zero == nil || len(out) == 0 {
		return out, nil
	}
	z, err := zero.Int64s()
	if err != nil {
		return nil, fmt.Errorf("%w: zero point: %w", ir.ErrType, err)
	}
	rows := 1
	if len(z) != 1 {
		if t.Rank() == 0 || len(z) != t.Shape()[0] {
			return nil, fmt.Errorf("%w: zero points %s for %s", ir.ErrShape, zero, t)
		}
		rows = len(z)
	}
	n := len(out) / rows
	for i := range out {
		out[i] -= int32(z[i/n])
	}
	return out, nil
}

// intConv is the convolution of shifted 8-bit operands with an optional 32-bit bias.
func intConv(a *ConvAttrs, x, xz, w, wz, b *tensor.Tensor) (acc []int32, shape []int, err error) {
	win, err := convPlan(a, x, w)
	if err != nil {
		return nil, nil, err
	}
	if xz != nil && xz.Len() != 1 {
		return nil, nil, fmt.Errorf("%w: input zero point %s", ir.ErrShape, xz)
	}
	xs, err := shifted(x, xz)
	if err != nil {
		return nil, nil, err
	}
	ws, err := shifted(w, wz)
	if err != nil {
		return nil, nil, err
	}
	m := w.Shape()[0]
	var bias []int32
	if b != nil {
		if b.DType() != tensor.I32 {
			return nil, nil, fmt.Errorf("%w: bias %s, want i32", ir.ErrType, b)
		}
		if err := wantShape("the bias", b, m); err != nil {
			return nil, nil, err
		}
		bias = tensor.Data[int32](b)
	}
	shape = append([]int{x.Shape()[0], m}, win.small...)
	n, ok := tensor.CheckedElems(shape)
	if !ok || n > math.MaxInt32 {
		return nil, nil, fmt.Errorf("%w: output of shape %v", ir.ErrLimit, shape)
	}
	acc = make([]int32, n)
	convolve(acc, xs, ws, bias, win, x.Shape()[0], x.Shape()[1], m, int(a.Group))
	return acc, shape, nil
}

func evalConvInteger(c *ir.EvalCtx) error {
	if err := need(c, 0, 1); err != nil {
		return err
	}
	acc, shape, err := intConv(c.Attrs.(*ConvAttrs), c.In(0), c.In(2), c.In(1), c.In(3), nil)
	if err != nil {
		return err
	}
	out, err := c.Out(0, tensor.I32, shape...)
	if err != nil {
		return err
	}
	copy(tensor.Data[int32](out), acc)
	return nil
}

func evalQLinearConv(c *ir.EvalCtx) error {
	if err := need(c, 0, 1, 2, 3, 4, 5, 6, 7); err != nil {
		return err
	}
	for _, i := range []int{1, 2, 6, 7} {
		if c.In(i).Len() != 1 {
			return fmt.Errorf("%w: input %d is %s, want one element", ir.ErrShape, i, c.In(i))
		}
	}
	sc, err := allReals[float32](c.In(1), c.In(4), c.In(6))
	if err != nil {
		return err
	}
	m := 0
	if w := c.In(3); w.Rank() > 0 {
		m = w.Shape()[0]
	}
	if n := len(sc[1]); n != 1 && n != m {
		return fmt.Errorf("%w: %d weight scales for %d channels", ir.ErrShape, n, m)
	}
	acc, shape, err := intConv(c.Attrs.(*ConvAttrs), c.In(0), c.In(2), c.In(3), c.In(5), c.In(8))
	if err != nil {
		return err
	}
	zero, err := scalarOf("the output zero point", c.In(7))
	if err != nil {
		return err
	}
	dt := c.In(7).DType()
	if dt != tensor.U8 && dt != tensor.I8 {
		return fmt.Errorf("%w: output zero point is %s", ir.ErrType, dt)
	}
	out, err := c.Out(0, dt, shape...)
	if err != nil {
		return err
	}
	bytes, lo, hi := out.Bytes(), float32(0), float32(255)
	if dt == tensor.I8 {
		lo, hi = -128, 127
	}
	inner := tensor.NumElems(shape[2:])
	for i, v := range acc {
		ws := sc[1][0]
		if len(sc[1]) > 1 {
			ws = sc[1][i/inner%m]
		}
		y := float32(math.RoundToEven(float64(float32(v)*(sc[0][0]*ws/sc[2][0])))) + float32(zero)
		if y != y { // 0 times an infinite scale
			y = float32(zero)
		}
		bytes[i] = byte(int(min(max(y, lo), hi)))
	}
	return nil
}
