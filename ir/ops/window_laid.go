package ops

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// WindowAxis is a sliding window on one spatial axis of known length: window i covers
// the elements i*Stride - PadLo + j*Dilation for j below Kernel, of which those outside
// 0..In-1 are padding.
type WindowAxis struct{ In, Out, Kernel, Stride, Dilation, PadLo, PadHi int }

// ConvWindow lays the window of a convolution of an input of shape x by weights of
// shape w; it fails as the op's Eval does.
func ConvWindow(a *ConvAttrs, x, w []int) ([]WindowAxis, error) {
	xt, wt := staticType(x), staticType(w)
	if len(x) < 3 || len(x) != len(w) {
		return nil, fmt.Errorf("%w: input %v and weight %v", ir.ErrShape, x, w)
	}
	if err := checkGroups(a.Group, xt, wt); err != nil {
		return nil, err
	}
	kernel := mapTo(w[2:], func(d int) int64 { return int64(d) })
	for i, k := range a.KernelShape {
		if len(a.KernelShape) != len(kernel) || k != kernel[i] {
			return nil, fmt.Errorf("%w: kernel_shape %v for weight %v", ir.ErrAttr, a.KernelShape, w)
		}
	}
	return laid(a.spec(kernel), x)
}

// PoolWindow lays the window of MaxPool, AveragePool or LpPool over an input of shape x.
func PoolWindow(attrs any, x []int) ([]WindowAxis, error) {
	spec := poolSpec(attrs)
	if len(x) < 3 || len(spec.Kernel) == 0 {
		return nil, fmt.Errorf("%w: input %v, kernel_shape %v", ir.ErrShape, x, spec.Kernel)
	}
	return laid(spec, x)
}

func laid(spec windowSpec, x []int) ([]WindowAxis, error) {
	w, err := newWindow(spec, x[2:])
	if err != nil {
		return nil, err
	}
	out := make([]WindowAxis, len(w.big))
	for i := range out {
		out[i] = WindowAxis{
			In: w.big[i], Out: w.small[i], Kernel: int(w.Kernel[i]), Stride: int(w.Strides[i]),
			Dilation: int(w.Dilations[i]), PadLo: w.padLo[i], PadHi: w.padHi[i],
		}
	}
	return out, nil
}

func staticType(shape []int) ir.Type {
	return ir.MakeType(tensor.F32, mapTo(shape, func(d int) ir.Dim { return ir.Known(int64(d)) })...)
}
