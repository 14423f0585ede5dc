package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// This file reads and writes elements of any numeric type through float64 and int64.

// floatsOf are a tensor's elements as float64.
func floatsOf(t *tensor.Tensor) ([]float64, error) {
	v, err := t.Float64s()
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ir.ErrType, err)
	}
	return v, nil
}

// intsOf are the elements of an integer or bool tensor.
func intsOf(t *tensor.Tensor) ([]int64, error) {
	v, err := t.Int64s()
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ir.ErrType, err)
	}
	return v, nil
}

// storeFloats writes numbers to a tensor of any numeric type, rounding floats to
// nearest and truncating to integers; saturate is for the 8-bit floats.
func storeFloats(out *tensor.Tensor, v []float64, saturate bool) error {
	switch dt := out.DType(); dt {
	case tensor.F32:
		store(tensor.Data[float32](out), v)
	case tensor.F64:
		copy(tensor.Data[float64](out), v)
	case tensor.F16:
		z := tensor.Data[tensor.Float16](out)
		for i, x := range v {
			z[i] = tensor.ToFloat16(tensor.Narrow32(x))
		}
	case tensor.BF16:
		z := tensor.Data[tensor.BFloat16](out)
		for i, x := range v {
			z[i] = tensor.ToBFloat16(tensor.Narrow32(x))
		}
	case tensor.Bool:
		z := tensor.Data[bool](out)
		for i, x := range v {
			z[i] = x != 0
		}
	case tensor.U64:
		z := tensor.Data[uint64](out)
		for i, x := range v {
			if x = boundFloat(x, dt); x < 0 {
				z[i] = uint64(int64(x)) // wraps, like the narrower ones
			} else {
				z[i] = uint64(x)
			}
		}
	default:
		if dt.IsFloat8() && dt != tensor.F8E8M0 {
			z := tensor.Data[uint8](out)
			for i, x := range v {
				z[i], _ = tensor.EncodeFloat8(dt, x, saturate)
			}
			return nil
		}
		w := make([]int64, len(v))
		for i, x := range v {
			w[i] = int64(boundFloat(x, dt))
		}
		return storeInts(out, w)
	}
	return nil
}

// boundFloat makes the conversion to integers, undefined in ONNX out of range, the same
// on every machine: NaN is 0, and too large stops at the ends of int64 (uint64), from
// where narrower types wrap.
func boundFloat(x float64, dt tensor.DType) float64 {
	switch {
	case x != x:
		return 0
	case dt == tensor.U64 && x >= 1<<64:
		return math.Nextafter(1<<64, 0)
	case dt != tensor.U64 && x >= 1<<63:
		return math.Nextafter(1<<63, 0)
	case x < -1<<63:
		return -1 << 63
	}
	return x
}

// storeInts writes numbers to an integer or bool tensor, keeping the low bits.
func storeInts(out *tensor.Tensor, v []int64) error {
	switch dt := out.DType(); dt {
	case tensor.Bool:
		z := tensor.Data[bool](out)
		for i, x := range v {
			z[i] = x != 0
		}
	case tensor.I8:
		store(tensor.Data[int8](out), v)
	case tensor.I16:
		store(tensor.Data[int16](out), v)
	case tensor.I32:
		store(tensor.Data[int32](out), v)
	case tensor.I64:
		store(tensor.Data[int64](out), v)
	case tensor.U8:
		store(tensor.Data[uint8](out), v)
	case tensor.U16:
		store(tensor.Data[uint16](out), v)
	case tensor.U32:
		store(tensor.Data[uint32](out), v)
	case tensor.U64:
		store(tensor.Data[uint64](out), v)
	case tensor.I4, tensor.I2:
		z, shift := tensor.Data[int8](out), 8-dt.Bits()
		for i, x := range v {
			z[i] = int8(x<<shift) >> shift // sign of the top bit that stays
		}
	case tensor.U4, tensor.U2:
		z, mask := tensor.Data[uint8](out), uint8(1)<<dt.Bits()-1
		for i, x := range v {
			z[i] = uint8(x) & mask
		}
	default:
		return badType(dt)
	}
	return nil
}

func store[T number, V number | int](z []T, v []V) {
	for i, x := range v {
		z[i] = T(x)
	}
}
