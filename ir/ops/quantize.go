package ops

import (
	"fmt"
	"math"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// QuantizeAttrs: a scale belongs to the tensor (scalar), to each position of Axis
// (vector), or to each block of BlockSize elements along it.
type QuantizeAttrs struct {
	Axis        int64        `attr:"axis"`
	BlockSize   int64        `attr:"block_size"`
	OutputDType tensor.DType `attr:"output_dtype"`
	Precision   tensor.DType `attr:"precision"`
	Saturate    bool         `attr:"saturate"`
}

// DequantizeAttrs are QuantizeAttrs of the way back.
type DequantizeAttrs struct {
	Axis        int64        `attr:"axis"`
	BlockSize   int64        `attr:"block_size"`
	OutputDType tensor.DType `attr:"output_dtype"`
}

func quantizeOps() []*ir.Op {
	real32 := typeSet(1<<tensor.F32) | halfTypes
	quantized := 1<<tensor.I8 | 1<<tensor.U8 | 1<<tensor.I16 | 1<<tensor.U16 | float8Types | narrowInts | 1<<tensor.F4E2M1
	scales := real32 | 1<<tensor.F8E8M0
	return []*ir.Op{
		typed(&ir.Op{
			Name: "QuantizeLinear", Since: 28, Doc: "x/scale rounded, plus the zero point, saturated in a narrow type.",
			Attrs: func() any { return &QuantizeAttrs{Axis: 1, Saturate: true} },
			MinIn: 2, MaxIn: 3, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error {
				dt, err := quantizedType(c.Attrs.(*QuantizeAttrs), c.In(2).DType)
				if err != nil {
					return err
				}
				t := c.In(0)
				t.DType = dt
				c.SetOut(0, t)
				return inferScale(c, c.Attrs.(*QuantizeAttrs).Axis, c.Attrs.(*QuantizeAttrs).BlockSize)
			},
			Eval: evalQuantize,
		}, real32|1<<tensor.I32, scales|1<<tensor.I32, quantized),
		typed(&ir.Op{
			Name: "DequantizeLinear", Since: 28, Doc: "(x - zero point) * scale.",
			Attrs: func() any { return &DequantizeAttrs{Axis: 1} },
			MinIn: 2, MaxIn: 3, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error {
				a, t := c.Attrs.(*DequantizeAttrs), c.In(0)
				if _, err := inferSameTypes(c, 0, 2); err != nil {
					return err
				}
				t.DType = c.In(1).DType
				if a.OutputDType != tensor.Invalid {
					t.DType = a.OutputDType
				}
				if t.DType != tensor.Invalid && !real32.has(t.DType) {
					return fmt.Errorf("%w: cannot dequantize to %s", ir.ErrType, t.DType)
				}
				c.SetOut(0, t)
				return inferScale(c, a.Axis, a.BlockSize)
			},
			Eval: evalDequantize,
		}, quantized|1<<tensor.I32, scales, quantized|1<<tensor.I32),
		typed(&ir.Op{
			Name: "DynamicQuantizeLinear", Since: 11, Doc: "The input as uint8 with the scale and zero point that its range asks for.",
			MinIn: 1, MaxIn: 1, MinOut: 3, MaxOut: 3,
			Infer: func(c *ir.InferCtx) error {
				t := c.In(0)
				t.DType = tensor.U8
				c.SetOut(0, t)
				c.SetOut(1, ir.MakeType(tensor.F32))
				c.SetOut(2, ir.MakeType(tensor.U8))
				return nil
			},
			Eval: evalDynamicQuantize,
		}, 1<<tensor.F32),
	}
}

// quantizedType is what QuantizeLinear gives: the zero point's type, the attribute's,
// or uint8.
func quantizedType(a *QuantizeAttrs, zero tensor.DType) (tensor.DType, error) {
	dt := a.OutputDType
	switch {
	case dt == tensor.Invalid && zero == tensor.Invalid:
		return tensor.U8, nil
	case dt == tensor.Invalid:
		return zero, nil
	case zero != tensor.Invalid && zero != dt:
		return dt, fmt.Errorf("%w: output_dtype %s with a zero point of %s", ir.ErrType, dt, zero)
	case dt.IsFloat8() && dt != tensor.F8E8M0, dt.IsInt() && dt.Bits() <= 16:
		return dt, nil
	}
	return dt, fmt.Errorf("%w: cannot quantize to %s", ir.ErrType, dt)
}

// inferScale checks what is known of the scale's shape.
func inferScale(c *ir.InferCtx, axis, block int64) error {
	x, s := c.In(0), c.In(1)
	if z := c.In(2); c.Has(2) && !isSingle(s, z) {
		if err := sameShape(s, z); err != nil {
			return err
		}
	}
	if block < 0 {
		return fmt.Errorf("%w: block_size %d", ir.ErrAttr, block)
	}
	if n, ok := s.Static(); !x.Ranked || !ok || tensor.NumElems(n) == 1 {
		return nil
	}
	a, err := normAxis(axis, len(x.Shape))
	if err != nil {
		return err
	}
	if block > 0 {
		if len(s.Shape) != len(x.Shape) {
			return fmt.Errorf("%w: scale %s for blocks of %s", ir.ErrShape, s, x)
		}
		return nil
	}
	if len(s.Shape) != 1 || !dimsMayEqual(s.Shape[0], x.Shape[a]) {
		return fmt.Errorf("%w: scale %s for axis %d of %s", ir.ErrShape, s, a, x)
	}
	return nil
}

// isSingle reports two types that may have one element each: a scalar, or 1 in every
// dimension.
func isSingle(a, b ir.Type) bool {
	for _, d := range slices.Concat(a.Shape, b.Shape) {
		if !dimsMayEqual(d, ir.Known(1)) {
			return false
		}
	}
	return true
}

// scaleIndex tells which element of a scale (or zero point) belongs to each element of
// a tensor of the given shape.
func scaleIndex(scale *tensor.Tensor, shape []int, axis, block int64) (func(i int) int, error) {
	if block < 0 {
		return nil, fmt.Errorf("%w: block_size %d", ir.ErrAttr, block)
	}
	if scale.Len() == 1 {
		return func(int) int { return 0 }, nil
	}
	a, err := normAxis(axis, len(shape))
	if err != nil {
		return nil, err
	}
	_, n, inner := splitAt(shape, a)
	s := scale.Shape()
	if block == 0 {
		if len(s) != 1 || s[0] != n {
			return nil, fmt.Errorf("%w: scale %s for axis %d of %v", ir.ErrShape, scale, a, shape)
		}
		return func(i int) int { return i / inner % n }, nil
	}
	want := slices.Clone(shape)
	want[a] = int((int64(n) + block - 1) / block)
	if int64(n) > math.MaxInt64-block || !slices.Equal(want, s) {
		return nil, fmt.Errorf("%w: scale %s for blocks of %d along axis %d of %v", ir.ErrShape, scale, block, a, shape)
	}
	blocks := want[a]
	return func(i int) int {
		return (i/(n*inner)*blocks+i/inner%n/int(block))*inner + i%inner
	}, nil
}

func evalQuantize(c *ir.EvalCtx) error {
	x, scale, zero, a := c.In(0), c.In(1), c.In(2), c.Attrs.(*QuantizeAttrs)
	zt := tensor.Invalid
	if zero != nil {
		zt = zero.DType()
		if !slices.Equal(zero.Shape(), scale.Shape()) && (zero.Len() != 1 || scale.Len() != 1) {
			return fmt.Errorf("%w: scale %s and zero point %s", ir.ErrShape, scale, zero)
		}
	}
	dt, err := quantizedType(a, zt)
	if err != nil {
		return err
	}
	at, err := scaleIndex(scale, x.Shape(), a.Axis, a.BlockSize)
	if err != nil {
		return err
	}
	v, err := floatsOf(x)
	if err != nil {
		return err
	}
	s, err := floatsOf(scale)
	if err != nil {
		return err
	}
	// The quotient has the precision of the scale, or the one asked for; NumPy gives
	// the 8-bit scale a float32 quotient.
	quotient := a.Precision
	if quotient == tensor.Invalid {
		quotient = scale.DType()
	}
	round, err := precisionOf(quotient)
	if err != nil {
		return err
	}
	var zp []float64
	if zero != nil {
		z, err := floatsOf(zero)
		if err != nil {
			return err
		}
		zp = make([]float64, len(v))
		for i := range zp {
			zp[i] = z[at(i)]
		}
	}
	out, err := c.Out(0, dt, x.Shape()...)
	if err != nil {
		return err
	}
	for i := range v {
		v[i] = round(v[i] / s[at(i)])
	}
	return storeQuantized(out, v, zp, a.Saturate)
}

// precisionOf rounds a float64 to the precision of a type.
func precisionOf(dt tensor.DType) (func(float64) float64, error) {
	switch dt {
	case tensor.F64:
		return func(v float64) float64 { return v }, nil
	case tensor.F32, tensor.I32, tensor.F8E8M0:
		return func(v float64) float64 { return float64(float32(v)) }, nil
	case tensor.F16:
		return func(v float64) float64 { return float64(tensor.ToFloat16(tensor.Narrow32(v)).Float32()) }, nil
	case tensor.BF16:
		return func(v float64) float64 { return float64(tensor.ToBFloat16(tensor.Narrow32(v)).Float32()) }, nil
	}
	return nil, fmt.Errorf("%w: precision %s", ir.ErrAttr, dt)
}

func evalDequantize(c *ir.EvalCtx) error {
	x, scale, zero, a := c.In(0), c.In(1), c.In(2), c.Attrs.(*DequantizeAttrs)
	if err := sameTypes(c, 0, 2); err != nil {
		return err
	}
	dt := scale.DType()
	if a.OutputDType != tensor.Invalid {
		dt = a.OutputDType
	}
	if dt != tensor.F32 && !halfTypes.has(dt) {
		return fmt.Errorf("%w: cannot dequantize to %s; set output_dtype", ir.ErrType, dt)
	}
	at, err := scaleIndex(scale, x.Shape(), a.Axis, a.BlockSize)
	if err != nil {
		return err
	}
	v, err := floatsOf(x)
	if err != nil {
		return err
	}
	s, err := floatsOf(scale)
	if err != nil {
		return err
	}
	if zero != nil {
		if !slices.Equal(zero.Shape(), scale.Shape()) && (zero.Len() != 1 || scale.Len() != 1) {
			return fmt.Errorf("%w: scale %s and zero point %s", ir.ErrShape, scale, zero)
		}
		z, err := floatsOf(zero)
		if err != nil {
			return err
		}
		for i := range v {
			v[i] -= z[at(i)]
		}
	}
	out, err := c.Out(0, dt, x.Shape()...)
	if err != nil {
		return err
	}
	for i := range v {
		v[i] = float64(float32(v[i])) * s[at(i)]
	}
	return storeFloats(out, v, true)
}

func evalDynamicQuantize(c *ir.EvalCtx) error {
	x := tensor.Data[float32](c.In(0))
	lo, hi := float32(0), float32(0)
	for _, v := range x {
		lo, hi = min(lo, v), max(hi, v)
	}
	scale := float32(1) / 255
	if lo != hi {
		scale = (hi - lo) / 255
	}
	zero := math.RoundToEven(float64(min(max(0-lo/scale, 0), 255)))
	y, err := c.Out(0, tensor.U8, c.In(0).Shape()...)
	if err != nil {
		return err
	}
	ys, err := c.Out(1, tensor.F32)
	if err != nil {
		return err
	}
	yz, err := c.Out(2, tensor.U8)
	if err != nil {
		return err
	}
	tensor.Data[float32](ys)[0] = scale
	if err := storeFloats(yz, []float64{zero}, true); err != nil {
		return err
	}
	v := make([]float64, len(x))
	for i, f := range x {
		v[i] = clip(math.RoundToEven(float64(f/scale))+zero, 0, 255)
	}
	return storeFloats(y, v, true)
}
