package onnxgo

import (
	"fmt"

	gt "gorgonia.org/tensor"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// toMoec views a Gorgonia tensor's elements.
func toMoec(t gt.Tensor) (*tensor.Tensor, error) {
	if v, ok := t.(gt.View); ok && t.RequiresIterator() {
		t = v.Materialize()
	}
	if t.DataOrder().IsColMajor() && len(t.Shape()) > 1 {
		return nil, fmt.Errorf("onnxgo: tensors in column-major order are not supported")
	}
	shape := append([]int{}, t.Shape()...)
	switch d := t.Data().(type) {
	case []float32:
		return of(d, shape)
	case []float64:
		return of(d, shape)
	case []int64:
		return of(d, shape)
	case []int32:
		return of(d, shape)
	case []int16:
		return of(d, shape)
	case []int8:
		return of(d, shape)
	case []uint64:
		return of(d, shape)
	case []uint32:
		return of(d, shape)
	case []uint16:
		return of(d, shape)
	case []uint8:
		return of(d, shape)
	case []bool:
		return of(d, shape)
	case []int:
		wide := make([]int64, len(d))
		for i, v := range d {
			wide[i] = int64(v)
		}
		return of(wide, shape)
	case float32:
		return of([]float32{d}, shape)
	case float64:
		return of([]float64{d}, shape)
	case int64:
		return of([]int64{d}, shape)
	case int32:
		return of([]int32{d}, shape)
	case int:
		return of([]int64{int64(d)}, shape)
	case bool:
		return of([]bool{d}, shape)
	}
	return nil, fmt.Errorf("onnxgo: tensors of %s are not supported", t.Dtype())
}

func of[T tensor.Elem](d []T, shape []int) (*tensor.Tensor, error) {
	if len(d) != tensor.NumElems(shape) {
		return nil, fmt.Errorf("onnxgo: %d elements for shape %v", len(d), shape)
	}
	return tensor.Of(d, shape...), nil
}

// fromMoec makes a Gorgonia tensor of a result.
func fromMoec(t *tensor.Tensor) (gt.Tensor, error) {
	switch t.DType() {
	case tensor.F32:
		return backed(tensor.Data[float32](t), t.Shape())
	case tensor.F64:
		return backed(tensor.Data[float64](t), t.Shape())
	case tensor.I64:
		return backed(tensor.Data[int64](t), t.Shape())
	case tensor.I32:
		return backed(tensor.Data[int32](t), t.Shape())
	case tensor.I16:
		return backed(tensor.Data[int16](t), t.Shape())
	case tensor.I8:
		return backed(tensor.Data[int8](t), t.Shape())
	case tensor.U64:
		return backed(tensor.Data[uint64](t), t.Shape())
	case tensor.U32:
		return backed(tensor.Data[uint32](t), t.Shape())
	case tensor.U16:
		return backed(tensor.Data[uint16](t), t.Shape())
	case tensor.U8:
		return backed(tensor.Data[uint8](t), t.Shape())
	case tensor.Bool:
		return backed(tensor.Data[bool](t), t.Shape())
	}
	return nil, fmt.Errorf("onnxgo: Gorgonia has no %s tensors", t.DType())
}

func backed[T tensor.Elem](d []T, shape []int) (gt.Tensor, error) {
	if len(d) == 0 {
		return nil, fmt.Errorf("onnxgo: Gorgonia has no empty tensors (shape %v)", shape)
	}
	if len(shape) == 0 {
		return gt.New(gt.FromScalar(d[0])), nil
	}
	return gt.New(gt.WithShape(shape...), gt.WithBacking(d)), nil
}
