package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// BinarizerAttrs are the attributes of ai.onnx.ml's Binarizer.
type BinarizerAttrs struct {
	Threshold float32 `attr:"threshold"`
}

// LabelEncoderAttrs are the attributes of ai.onnx.ml's LabelEncoder.
type LabelEncoderAttrs struct {
	DefaultFloat  float32        `attr:"default_float"`
	DefaultInt64  int64          `attr:"default_int64"`
	DefaultString string         `attr:"default_string"`
	DefaultTensor *tensor.Tensor `attr:"default_tensor"`
	KeysFloats    []float32      `attr:"keys_floats"`
	KeysInt64s    []int64        `attr:"keys_int64s"`
	KeysStrings   []string       `attr:"keys_strings"`
	KeysTensor    *tensor.Tensor `attr:"keys_tensor"`
	ValuesFloats  []float32      `attr:"values_floats"`
	ValuesInt64s  []int64        `attr:"values_int64s"`
	ValuesStrings []string       `attr:"values_strings"`
	ValuesTensor  *tensor.Tensor `attr:"values_tensor"`
}

func mlOps() []*ir.Op {
	return []*ir.Op{
		{
			Domain: ir.DomainML, Name: "Binarizer", Since: 1, Doc: "1 above a threshold, else 0.",
			Attrs: func() any { return &BinarizerAttrs{} },
			MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error { c.SetOut(0, c.In(0)); return nil },
			Eval: func(c *ir.EvalCtx) error {
				if err := need(c, 0); err != nil {
					return err
				}
				v, err := reals[float64](c.In(0))
				if err != nil {
					return err
				}
				limit := float64(c.Attrs.(*BinarizerAttrs).Threshold)
				y := mapTo(v, func(x float64) float64 {
					if x > limit {
						return 1
					}
					return 0
				})
				return putNumbers(c, 0, c.In(0).DType(), y, c.In(0).Shape()...)
			},
		},
		{
			Domain: ir.DomainML, Name: "ArrayFeatureExtractor", Since: 1, Doc: "Picks columns of the last axis.",
			MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error {
				c.SetOut(0, ir.Unranked(c.In(0).DType))
				return nil
			},
			Eval: evalFeatures,
		},
		{
			Domain: ir.DomainML, Name: "LabelEncoder", Since: 4, Doc: "Looks every element up in a table of keys and values.",
			Attrs: func() any { return &LabelEncoderAttrs{DefaultFloat: 0, DefaultInt64: -1, DefaultString: "_Unused"} },
			MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error {
				_, values, _, err := c.Attrs.(*LabelEncoderAttrs).table()
				if err != nil {
					return err
				}
				x := c.In(0)
				c.SetOut(0, ir.Type{DType: values.DType(), Shape: x.Shape, Ranked: x.Ranked})
				return nil
			},
			Eval: evalLabelEncoder,
		},
	}
}

func evalFeatures(c *ir.EvalCtx) error {
	if err := need(c, 0, 1); err != nil {
		return err
	}
	x := c.In(0)
	idx, err := c.In(1).Int64s()
	if err != nil {
		return fmt.Errorf("%w: indices: %w", ir.ErrType, err)
	}
	if x.Rank() < 1 {
		return fmt.Errorf("%w: %s has no columns", ir.ErrShape, x)
	}
	cols := x.Shape()[x.Rank()-1]
	for _, i := range idx {
		if i < 0 || i >= int64(cols) {
			return fmt.Errorf("%w: column %d of %d", ir.ErrInput, i, cols)
		}
	}
	shape := append([]int(nil), x.Shape()...)
	if shape[len(shape)-1] = len(idx); len(shape) == 1 {
		shape = []int{1, len(idx)}
	}
	out, err := c.Out(0, x.DType(), shape...)
	if err != nil {
		return err
	}
	es := x.DType().Size()
	for r := range tensor.NumElems(x.Shape()[:x.Rank()-1]) {
		for j, i := range idx {
			from, to := r*cols+int(i), r*len(idx)+j
			if x.DType() == tensor.String {
				out.Strings()[to] = x.Strings()[from]
			} else {
				copy(out.Bytes()[to*es:(to+1)*es], x.Bytes()[from*es:])
			}
		}
	}
	return nil
}

// table gives the keys, the values and the default of a LabelEncoder.
func (a *LabelEncoderAttrs) table() (keys, values, def *tensor.Tensor, err error) {
	switch {
	case a.KeysTensor != nil:
		keys = a.KeysTensor
	case a.KeysStrings != nil:
		keys = tensor.OfStrings(a.KeysStrings, len(a.KeysStrings))
	case a.KeysInt64s != nil:
		keys = tensor.Of(a.KeysInt64s, len(a.KeysInt64s))
	case a.KeysFloats != nil:
		keys = tensor.Of(a.KeysFloats, len(a.KeysFloats))
	}
	switch {
	case a.ValuesTensor != nil:
		values, def = a.ValuesTensor, a.DefaultTensor
	case a.ValuesStrings != nil:
		values, def = tensor.OfStrings(a.ValuesStrings, len(a.ValuesStrings)), tensor.OfStrings([]string{a.DefaultString})
	case a.ValuesInt64s != nil:
		values, def = tensor.Of(a.ValuesInt64s, len(a.ValuesInt64s)), tensor.Scalar(a.DefaultInt64)
	case a.ValuesFloats != nil:
		values, def = tensor.Of(a.ValuesFloats, len(a.ValuesFloats)), tensor.Scalar(a.DefaultFloat)
	}
	if keys == nil || values == nil || keys.Len() != values.Len() {
		return nil, nil, nil, fmt.Errorf("%w: LabelEncoder needs as many keys as values", ir.ErrAttr)
	}
	if a.DefaultTensor != nil {
		def = a.DefaultTensor
	}
	if def == nil || def.DType() != values.DType() || def.Len() != 1 {
		return nil, nil, nil, fmt.Errorf("%w: LabelEncoder has no default of type %s", ir.ErrAttr, values.DType())
	}
	return keys, values, def, nil
}

// labels are the elements of t as map keys; all NaNs are one key.
func labels(t *tensor.Tensor) ([]any, error) {
	if t.DType() == tensor.String {
		return mapTo(t.Strings(), func(s string) any { return s }), nil
	}
	v, err := t.Float64s()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ir.ErrType, err)
	}
	return mapTo(v, func(x float64) any {
		if math.IsNaN(x) {
			return "NaN"
		}
		return x
	}), nil
}

func evalLabelEncoder(c *ir.EvalCtx) error {
	if err := need(c, 0); err != nil {
		return err
	}
	x := c.In(0)
	keys, values, def, err := c.Attrs.(*LabelEncoderAttrs).table()
	if err != nil {
		return err
	}
	if keys.DType() != x.DType() {
		return fmt.Errorf("%w: %s looked up among keys of %s", ir.ErrType, x, keys.DType())
	}
	ks, err := labels(keys)
	if err != nil {
		return err
	}
	index := make(map[any]int, len(ks))
	for i, k := range ks {
		if _, ok := index[k]; !ok {
			index[k] = i
		}
	}
	xs, err := labels(x)
	if err != nil {
		return err
	}
	out, err := c.Out(0, values.DType(), x.Shape()...)
	if err != nil {
		return err
	}
	es := values.DType().Size()
	for i, k := range xs {
		from, at := values, 0
		if j, ok := index[k]; ok {
			at = j
		} else {
			from = def
		}
		if es == 0 {
			out.Strings()[i] = from.Strings()[at]
		} else {
			copy(out.Bytes()[i*es:(i+1)*es], from.Bytes()[at*es:])
		}
	}
	return nil
}
