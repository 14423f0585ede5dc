package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

func matmulIntegerOps() []*ir.Op {
	bytes := typeSet(1<<tensor.I8 | 1<<tensor.U8)
	quantized := bytes | float8Types
	scales := typeSet(1<<tensor.F32) | halfTypes
	return []*ir.Op{
		typed(&ir.Op{
			Name: "MatMulInteger", Since: 10, Doc: "Matrix product of bytes less their zero points, in int32.",
			MinIn: 2, MaxIn: 4, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error { return inferMatMul(c, tensor.I32) },
			Eval:  evalMatMulInteger,
			Cost:  costMatMul,
		}, bytes),
		typed(&ir.Op{
			Name: "QLinearMatMul", Since: 21, Doc: "Matrix product of quantized operands, quantized again.",
			MinIn: 8, MaxIn: 8, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error {
				a, b := c.In(0), c.In(3)
				out := ir.Unranked(c.In(7).DType)
				if a.Ranked && b.Ranked {
					s, err := matmulDims(a.Shape, b.Shape)
					if err != nil {
						return err
					}
					out = ir.MakeType(out.DType, s...)
				}
				c.SetOut(0, out)
				return nil
			},
			Eval: evalQLinearMatMul,
			Cost: costMatMul,
		}, quantized, scales, quantized, quantized, scales, quantized, scales, quantized),
	}
}

// alongLines gives each element of a matrix operand its parameter: one for all, or one
// for each line along axis rank-2 (rows) or rank-1 (columns), possibly batched.
func alongLines(p, x *tensor.Tensor, axis int) (func(i int) int, error) {
	if p.Len() == 1 {
		return func(int) int { return 0 }, nil
	}
	// A vector counts the lines; a tensor of x's rank with 1 elsewhere broadcasts.
	shape := p.Shape()
	if p.Rank() == 1 && x.Rank() > 1 {
		shape = make([]int, x.Rank())
		for i := range shape {
			shape[i] = 1
		}
		shape[axis] = p.Len()
	}
	if err := stretchesTo(shape, x.Shape()); err != nil {
		return nil, err
	}
	strides, steps := broadcastStrides(shape, x.Shape()), tensor.Strides(x.Shape())
	return func(i int) int {
		at := 0
		for d, s := range steps {
			at += i / s % x.Shape()[d] * strides[d]
		}
		return at
	}, nil
}

// lessZeroPoint is x as int32 with its zero point taken off.
func lessZeroPoint(x, zero *tensor.Tensor, axis int) ([]int32, error) {
	v, err := intsOf(x)
	if err != nil {
		return nil, err
	}
	out := make([]int32, len(v))
	store(out, v)
	if zero == nil {
		return out, nil
	}
	if zero.DType() != x.DType() {
		return nil, fmt.Errorf("%w: zero point %s of %s", ir.ErrType, zero.DType(), x.DType())
	}
	z, err := intsOf(zero)
	if err != nil {
		return nil, err
	}
	at, err := alongLines(zero, x, max(axis, 0))
	if err != nil {
		return nil, err
	}
	for i := range out {
		out[i] -= int32(z[at(i)])
	}
	return out, nil
}

func evalMatMulInteger(c *ir.EvalCtx) error {
	a, b := c.In(0), c.In(1)
	s, err := matmulShapes(a.Shape(), b.Shape())
	if err != nil {
		return err
	}
	x, err := lessZeroPoint(a, c.In(2), a.Rank()-2)
	if err != nil {
		return err
	}
	y, err := lessZeroPoint(b, c.In(3), b.Rank()-1)
	if err != nil {
		return err
	}
	out, err := c.Out(0, tensor.I32, s.out...)
	if err != nil {
		return err
	}
	batchMatMul(s, x, y, tensor.Data[int32](out))
	return nil
}

// dequantized is (x - zero) * scale in float64; the scale is left out when nil.
func dequantized(x, scale, zero *tensor.Tensor, axis int) ([]float64, error) {
	v, err := floatsOf(x)
	if err != nil {
		return nil, err
	}
	axis = max(axis, 0)
	if zero != nil {
		z, err := floatsOf(zero)
		if err != nil {
			return nil, err
		}
		at, err := alongLines(zero, x, axis)
		if err != nil {
			return nil, err
		}
		for i := range v {
			v[i] -= z[at(i)]
		}
	}
	if scale == nil {
		return v, nil
	}
	s, err := floatsOf(scale)
	if err != nil {
		return nil, err
	}
	at, err := alongLines(scale, x, axis)
	if err != nil {
		return nil, err
	}
	for i := range v {
		v[i] *= s[at(i)]
	}
	return v, nil
}

func evalQLinearMatMul(c *ir.EvalCtx) error {
	a, b := c.In(0), c.In(3)
	s, err := matmulShapes(a.Shape(), b.Shape())
	if err != nil {
		return err
	}
	// Products of bytes sum exactly in float64. Scalar scales are applied once, in
	// float32, as a_scale*b_scale/y_scale; others where they belong.
	sa, sb := c.In(1), c.In(4)
	factor := float32(1)
	scalar := sa.Len() == 1 && sb.Len() == 1
	ys, err := floatsOf(c.In(6))
	if err != nil {
		return err
	}
	yz, err := floatsOf(c.In(7))
	if err != nil {
		return err
	}
	if scalar {
		fa, err := floatsOf(sa)
		if err != nil {
			return err
		}
		fb, err := floatsOf(sb)
		if err != nil {
			return err
		}
		sa, sb, factor = nil, nil, float32(fa[0])*float32(fb[0])
	}
	x, err := dequantized(a, sa, c.In(2), a.Rank()-2)
	if err != nil {
		return err
	}
	y, err := dequantized(b, sb, c.In(5), b.Rank()-1)
	if err != nil {
		return err
	}
	out, err := c.Out(0, c.In(7).DType(), s.out...)
	if err != nil {
		return err
	}
	if len(ys) != len(yz) && len(yz) != 1 || len(ys) == 0 {
		return fmt.Errorf("%w: scale %s and zero point %s", ir.ErrShape, c.In(6), c.In(7))
	}
	at, err := alongLines(c.In(6), out, max(len(s.out)-2, 0))
	if err != nil {
		return err
	}
	z := make([]float64, out.Len())
	batchMatMul(s, x, y, z)
	for i := range z {
		j := at(i)
		zero := yz[min(j, len(yz)-1)]
		z[i] = z[i]*float64(factor/float32(ys[j])) + zero
	}
	return storeQuantized(out, z, nil, true)
}

// storeQuantized rounds x half to even (ints) or as the type does (8-bit floats), adds
// the zero points when given, and saturates.
func storeQuantized(out *tensor.Tensor, x, zero []float64, saturate bool) error {
	dt := out.DType()
	if !dt.IsInt() {
		for i, z := range zero {
			x[i] += z
		}
		return storeFloats(out, x, saturate)
	}
	lo, hi := intRange(dt)
	for i, v := range x {
		v = math.RoundToEven(v)
		if zero != nil {
			v += zero[i]
		}
		x[i] = clip(v, float64(lo), float64(hi))
	}
	return storeFloats(out, x, saturate)
}
