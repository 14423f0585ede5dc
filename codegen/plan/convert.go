package plan

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Convert turns f32 into a 16-bit float format or back, to the nearest, ties to even. Finite numbers past the
// range of the format become its largest: a mask of the lowest f32 stays finite.
func Convert(t *tensor.Tensor, dt tensor.DType) (*tensor.Tensor, error) {
	if t.DType() == dt {
		return t, nil
	}
	out := tensor.New(dt, t.Shape()...)
	switch {
	case t.DType() == tensor.F32 && dt == tensor.BF16:
		d := tensor.Data[tensor.BFloat16](out)
		for i, x := range tensor.Data[float32](t) {
			d[i] = tensor.ToBFloat16(Clamp(x, dt))
		}
	case t.DType() == tensor.F32 && dt == tensor.F16:
		d := tensor.Data[tensor.Float16](out)
		for i, x := range tensor.Data[float32](t) {
			d[i] = tensor.ToFloat16(Clamp(x, dt))
		}
	case t.DType() == tensor.BF16 && dt == tensor.F32:
		d := tensor.Data[float32](out)
		for i, x := range tensor.Data[tensor.BFloat16](t) {
			d[i] = x.Float32()
		}
	case t.DType() == tensor.F16 && dt == tensor.F32:
		d := tensor.Data[float32](out)
		for i, x := range tensor.Data[tensor.Float16](t) {
			d[i] = x.Float32()
		}
	default:
		return nil, fmt.Errorf("no conversion of %s to %s", t.DType(), dt)
	}
	return out, nil
}

// Clamp holds a finite number to the range of a float format.
func Clamp(x float32, dt tensor.DType) float32 {
	most := float32(math.MaxFloat32)
	switch dt {
	case tensor.BF16:
		most = math.Float32frombits(0x7f7f0000)
	case tensor.F16:
		most = 65504
	}
	if math.IsInf(float64(x), 0) || x != x {
		return x
	}
	return max(-most, min(most, x))
}
