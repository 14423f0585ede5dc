package ops

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// DropoutAttrs: Seed fixes the mask of a node that trains.
type DropoutAttrs struct {
	Seed *int64 `attr:"seed"`
}

// ConstantAttrs hold the value of a Constant node; exactly one is given.
type ConstantAttrs struct {
	Value        *tensor.Tensor `attr:"value"`
	ValueFloat   *float32       `attr:"value_float"`
	ValueFloats  []float32      `attr:"value_floats"`
	ValueInt     *int64         `attr:"value_int"`
	ValueInts    []int64        `attr:"value_ints"`
	ValueString  *string        `attr:"value_string"`
	ValueStrings []string       `attr:"value_strings"`
}

// Tensor is the constant's value.
func (a *ConstantAttrs) Tensor() (*tensor.Tensor, error) {
	switch {
	case a.Value != nil:
		return a.Value, nil
	case a.ValueFloat != nil:
		return tensor.Scalar(*a.ValueFloat), nil
	case a.ValueInt != nil:
		return tensor.Scalar(*a.ValueInt), nil
	case a.ValueString != nil:
		return tensor.OfStrings([]string{*a.ValueString}), nil
	case a.ValueFloats != nil:
		return tensor.Of(a.ValueFloats, len(a.ValueFloats)), nil
	case a.ValueInts != nil:
		return tensor.Of(a.ValueInts, len(a.ValueInts)), nil
	case a.ValueStrings != nil:
		return tensor.OfStrings(a.ValueStrings, len(a.ValueStrings)), nil
	}
	return nil, fmt.Errorf("%w: no value", ir.ErrAttr)
}

func identityOps() []*ir.Op {
	return []*ir.Op{
		typed(&ir.Op{
			Name: "Identity", Since: 25, Doc: "The input as it is.",
			MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
			Infer: inferSameContents,
			Eval:  func(c *ir.EvalCtx) error { return copyOut(c, c.In(0), c.In(0).Shape()...) },
		}, anyType),
		typed(&ir.Op{
			Name: "Constant", Since: 25, Doc: "A value held by the node.",
			Attrs: func() any { return &ConstantAttrs{} },
			MinIn: 0, MaxIn: 0, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error {
				t, err := c.Attrs.(*ConstantAttrs).Tensor()
				if err != nil {
					return err
				}
				c.SetOut(0, ir.TypeOf(t))
				if v, ok := constContents(t); ok {
					setContents(c, 0, v)
				}
				return nil
			},
			Eval: func(c *ir.EvalCtx) error {
				t, err := c.Attrs.(*ConstantAttrs).Tensor()
				if err != nil {
					return err
				}
				return copyOut(c, t, t.Shape()...)
			},
		}, anyType),
		typed(&ir.Op{
			Name: "Dropout", Since: 22, Doc: "The input with a random share zeroed when training, else as it is; the mask tells what was kept.",
			Attrs: func() any { return &DropoutAttrs{} },
			MinIn: 1, MaxIn: 3, MinOut: 1, MaxOut: 2,
			Infer: func(c *ir.InferCtx) error {
				c.SetOut(0, c.In(0))
				mask := c.In(0)
				mask.DType = tensor.Bool
				c.SetOut(1, mask)
				return nil
			},
			Eval: evalDropout,
		}, floatTypes|float8Types, floatTypes|float8Types, boolType),
	}
}

func evalDropout(c *ir.EvalCtx) error {
	x := c.In(0)
	training, ratio := false, 0.5
	if t := c.In(2); t != nil {
		if t.Len() != 1 {
			return fmt.Errorf("%w: training_mode %s is not a scalar", ir.ErrShape, t)
		}
		training = tensor.Data[bool](t)[0]
	}
	if t := c.In(1); t != nil {
		v, err := floatsOf(t)
		if err != nil {
			return err
		}
		if len(v) != 1 || !(v[0] >= 0 && v[0] < 1) {
			return fmt.Errorf("%w: ratio %v, want one number in [0,1)", ir.ErrInput, v)
		}
		ratio = v[0]
	}
	out, err := c.Out(0, x.DType(), x.Shape()...)
	if err != nil {
		return err
	}
	kept := make([]bool, x.Len())
	if !training || ratio == 0 {
		copyElems(out, x)
		for i := range kept {
			kept[i] = true
		}
	} else {
		v, err := floatsOf(x)
		if err != nil {
			return err
		}
		seed := int64(0)
		if s := c.Attrs.(*DropoutAttrs).Seed; s != nil {
			seed = *s
		}
		r := newRandom(uint64(seed))
		for i := range v {
			if kept[i] = r.Float64() >= ratio; kept[i] {
				v[i] /= 1 - ratio
			} else {
				v[i] = 0
			}
		}
		if err := storeFloats(out, v, true); err != nil {
			return err
		}
	}
	if len(c.Outs) < 2 {
		return nil
	}
	mask, err := c.Out(1, tensor.Bool, x.Shape()...)
	if err != nil {
		return err
	}
	copy(tensor.Data[bool](mask), kept)
	return nil
}
