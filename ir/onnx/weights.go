package onnx

import (
	"fmt"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// overlay is the tensor that replaces the initializer of that name, nil for none. Floats
// of another width are converted, since checkpoints are often kept in half precision.
func (im *importer) overlay(name string, old *tensor.Tensor) (*tensor.Tensor, error) {
	key := name
	if k, ok := im.opt.WeightNames[name]; ok {
		key = k
	}
	w := im.opt.Weights[key]
	if w == nil {
		return nil, nil
	}
	im.overlaid++
	if !slices.Equal(w.Shape(), old.Shape()) {
		hint := ""
		if w.Rank() == 2 && old.Rank() == 2 && w.Shape()[0] == old.Shape()[1] && w.Shape()[1] == old.Shape()[0] {
			hint = "; it looks transposed: exporters store the weights of linear layers so that MatMul can read them"
		}
		return nil, fmt.Errorf("%w: weight %s is %s, the model's %s is %s%s", ir.ErrInput, clip(key), w, clip(name), old, hint)
	}
	if w.DType() == old.DType() {
		return w, nil
	}
	if !w.DType().IsFloat() || !old.DType().IsFloat() {
		return nil, fmt.Errorf("%w: weight %s is %s, the model's %s is %s", ir.ErrInput, clip(key), w, clip(name), old)
	}
	v, err := w.Float64s()
	if err != nil {
		return nil, err
	}
	out := tensor.New(old.DType(), old.Shape()...)
	for i, x := range v {
		switch old.DType() {
		case tensor.F32:
			tensor.Data[float32](out)[i] = float32(x)
		case tensor.F64:
			tensor.Data[float64](out)[i] = x
		case tensor.F16:
			tensor.Data[tensor.Float16](out)[i] = tensor.ToFloat16(float32(x))
		case tensor.BF16:
			tensor.Data[tensor.BFloat16](out)[i] = tensor.ToBFloat16(float32(x))
		}
	}
	return out, nil
}

// checkOverlay refuses weights none of which the model has: their names need mapping.
func (im *importer) checkOverlay() error {
	if len(im.opt.Weights) == 0 || im.overlaid > 0 {
		return nil
	}
	first := ""
	for name := range im.opt.Weights {
		if first == "" || name < first {
			first = name
		}
	}
	return fmt.Errorf("%w: none of the %d weights given (%s, ...) is an initializer of the model; map their names", ir.ErrInput, len(im.opt.Weights), clip(first))
}
