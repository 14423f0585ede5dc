package tensorio

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Widen gives t in an element type that NumPy has: bf16 and the 8- and 4-bit floats as
// f32, 4- and 2-bit integers as i8 or u8; every other tensor as it is. All of it is exact.
func Widen(t *tensor.Tensor) (*tensor.Tensor, error) {
	switch dt := t.DType(); {
	case dt == tensor.I4 || dt == tensor.I2:
		return t.As(tensor.I8), nil
	case dt == tensor.U4 || dt == tensor.U2:
		return t.As(tensor.U8), nil
	case dt == tensor.BF16 || dt.IsFloat8():
		v, err := t.Float64s()
		if err != nil {
			return nil, fmt.Errorf("a %s tensor cannot be widened: %w", dt, err)
		}
		out := tensor.New(tensor.F32, t.Shape()...)
		dst := tensor.Data[float32](out)
		for i := range dst {
			dst[i] = float32(v[i])
		}
		return out, nil
	}
	return t, nil
}
