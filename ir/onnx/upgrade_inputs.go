package onnx

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Rules for attributes that became inputs.

// axesInput: axes of Squeeze, Unsqueeze and the reductions.
func axesInput(c *call) error {
	axes, err := takeAs[[]int64](c, "axes", nil)
	if err != nil || axes == nil {
		return err
	}
	return c.inputFrom("axes", 1, axes)
}

// inputFrom makes input i a constant vector; the older op has no such input.
func (c *call) inputFrom(what string, i int, v []int64) error {
	if len(c.ins) > i {
		return fmt.Errorf("%w: %d inputs, but opset %d of %s takes %d", ir.ErrModel, len(c.ins), c.version, c.name, i)
	}
	for len(c.ins) < i {
		c.ins = append(c.ins, nil)
	}
	c.ins = append(c.ins, c.vector(what, v...))
	return nil
}

func sliceInputs(c *call) error {
	starts, err1 := takeAs[[]int64](c, "starts", nil)
	ends, err2 := takeAs[[]int64](c, "ends", nil)
	axes, err3 := takeAs[[]int64](c, "axes", nil)
	for _, err := range []error{err1, err2, err3} {
		if err != nil {
			return err
		}
	}
	if starts == nil || ends == nil {
		return fmt.Errorf("%w: opset %d of Slice needs starts and ends", ir.ErrAttr, c.version)
	}
	if err := c.inputFrom("starts", 1, starts); err != nil {
		return err
	}
	c.ins = append(c.ins, c.vector("ends", ends...))
	if axes != nil {
		c.ins = append(c.ins, c.vector("axes", axes...))
	}
	return nil
}

func clipBounds(c *call) error {
	for i, name := range []string{"min", "max"} {
		switch v := c.take(name).(type) {
		case nil:
		case float32:
			for len(c.ins) < i+1 {
				c.ins = append(c.ins, nil)
			}
			if len(c.ins) > i+1 {
				return fmt.Errorf("%w: opset %d of Clip takes its bounds as attributes only", ir.ErrModel, c.version)
			}
			c.ins = append(c.ins, c.scalarLike(name, v))
		default:
			return fmt.Errorf("%w: %q cannot be %T", ir.ErrAttr, name, v)
		}
	}
	return nil
}

// scalarLike is a constant of the element type of the call's first input.
func (c *call) scalarLike(what string, v float32) *ir.Value {
	dt := tensor.F32
	if len(c.ins) > 0 && c.ins[0] != nil {
		dt = c.ins[0].Type.DType
	}
	switch dt {
	case tensor.F64:
		return c.con(what, tensor.Scalar(float64(v)))
	case tensor.F16:
		return c.con(what, tensor.Scalar(tensor.ToFloat16(v)))
	case tensor.BF16:
		return c.con(what, tensor.Scalar(tensor.ToBFloat16(v)))
	}
	return c.con(what, tensor.Scalar(v))
}

func padInputs(c *call) error {
	pads, err := takeAs[[]int64](c, "pads", nil)
	if err != nil {
		return err
	}
	if pads == nil {
		return fmt.Errorf("%w: opset %d of Pad needs pads", ir.ErrAttr, c.version)
	}
	value, err := takeAs(c, "value", float32(0))
	if err != nil {
		return err
	}
	if err := c.inputFrom("pads", 1, pads); err != nil {
		return err
	}
	if value != 0 {
		c.ins = append(c.ins, c.scalarLike("value", value))
	}
	return nil
}

func topKInput(c *call) error {
	k, err := c.takeInt("k", -1)
	if err != nil {
		return err
	}
	if k < 0 {
		return fmt.Errorf("%w: opset %d of TopK needs k of at least 0", ir.ErrAttr, c.version)
	}
	return c.inputFrom("k", 1, []int64{k})
}

func splitInput(c *call) error {
	sizes, err := takeAs[[]int64](c, "split", nil)
	if err != nil || sizes == nil {
		return err
	}
	return c.inputFrom("split", 1, sizes)
}

// splitCount: before opset 18 a Split without sizes makes as many equal parts as it has
// outputs.
func splitCount(c *call) error {
	if len(c.ins) < 2 {
		c.set("num_outputs", int64(len(c.outs)))
	}
	return nil
}

func dftAxis(c *call) error {
	axis, err := c.takeInt("axis", 1)
	if err != nil {
		return err
	}
	if len(c.ins) > 2 || len(c.ins) == 0 {
		return fmt.Errorf("%w: %d inputs, but opset %d of DFT takes 1 or 2", ir.ErrModel, len(c.ins), c.version)
	}
	if len(c.ins) == 1 {
		c.ins = append(c.ins, nil)
	}
	c.ins = append(c.ins, c.con("axis", tensor.Scalar(axis)))
	return nil
}
