package tensor

import "fmt"

// Float64s widens the elements of any float (8- and 4-bit ones too), integer or bool tensor to float64.
// 64-bit integers beyond 2^53 are rounded. Other types give an error.
func (t *Tensor) Float64s() ([]float64, error) {
	switch t.dtype {
	case F32:
		return widen(Data[float32](t)), nil
	case F64:
		return append([]float64(nil), Data[float64](t)...), nil
	case F16:
		return widenBy(Data[Float16](t), func(h Float16) float64 { return float64(h.Float32()) }), nil
	case BF16:
		return widenBy(Data[BFloat16](t), func(h BFloat16) float64 { return float64(h.Float32()) }), nil
	case Bool:
		return widenBy(Data[bool](t), func(b bool) float64 {
			if b {
				return 1
			}
			return 0
		}), nil
	case I8, I4, I2:
		return widen(Data[int8](t)), nil
	case I16:
		return widen(Data[int16](t)), nil
	case I32:
		return widen(Data[int32](t)), nil
	case I64:
		return widen(Data[int64](t)), nil
	case U8, U4, U2:
		return widen(Data[uint8](t)), nil
	case U16:
		return widen(Data[uint16](t)), nil
	case U32:
		return widen(Data[uint32](t)), nil
	case U64:
		return widen(Data[uint64](t)), nil
	}
	if t.dtype.IsFloat8() {
		return widenBy(Data[uint8](t), func(b uint8) float64 {
			v, _ := DecodeFloat8(t.dtype, b)
			return v
		}), nil
	}
	return nil, fmt.Errorf("a %s tensor has no float64 form", t.dtype)
}

// Int64s widens the elements of an integer or bool tensor; other types give an error.
func (t *Tensor) Int64s() ([]int64, error) {
	switch t.dtype {
	case I64:
		return append([]int64(nil), Data[int64](t)...), nil
	case I32:
		return ints(Data[int32](t)), nil
	case I16:
		return ints(Data[int16](t)), nil
	case I8, I4, I2:
		return ints(Data[int8](t)), nil
	case U8, U4, U2:
		return ints(Data[uint8](t)), nil
	case U16:
		return ints(Data[uint16](t)), nil
	case U32:
		return ints(Data[uint32](t)), nil
	case U64:
		return ints(Data[uint64](t)), nil
	case Bool:
		out := make([]int64, t.Len())
		for i, b := range Data[bool](t) {
			if b {
				out[i] = 1
			}
		}
		return out, nil
	}
	return nil, fmt.Errorf("a %s tensor has no integer form", t.dtype)
}

func widen[T float32 | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64](s []T) []float64 {
	out := make([]float64, len(s))
	for i, v := range s {
		out[i] = float64(v)
	}
	return out
}

func widenBy[T Elem](s []T, f func(T) float64) []float64 {
	out := make([]float64, len(s))
	for i, v := range s {
		out[i] = f(v)
	}
	return out
}

func ints[T int8 | int16 | int32 | uint8 | uint16 | uint32 | uint64](s []T) []int64 {
	out := make([]int64, len(s))
	for i, v := range s {
		out[i] = int64(v)
	}
	return out
}
