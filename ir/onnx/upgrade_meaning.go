package onnx

import (
	"fmt"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Rules for ops whose meaning, defaults or names changed.

// flatten2D: Softmax, LogSoftmax and Hardmax normalised over all dimensions from axis on
// before opset 13, over the one at axis since.
func flatten2D(c *call) error {
	axis, err := c.takeInt("axis", 1)
	if err != nil {
		return err
	}
	if len(c.ins) != 1 || c.ins[0] == nil {
		return nil // left to the count of inputs
	}
	x := c.ins[0]
	if r := int64(x.Type.Rank()); r >= 0 {
		if axis < -r || axis >= max(r, 1) {
			return fmt.Errorf("%w: axis %d is out of range for rank %d", ir.ErrAttr, axis, r)
		}
		if axis == r-1 || axis == -1 {
			c.set("axis", int64(-1))
			return nil
		}
	}
	if axis == -1 {
		c.set("axis", int64(-1))
		return nil
	}
	flat, err := c.emit("Flatten", []*ir.Value{x}, ir.Attr{Name: "axis", Value: axis})
	if err != nil {
		return err
	}
	soft, err := c.emit(c.name, []*ir.Value{flat}, ir.Attr{Name: "axis", Value: int64(-1)})
	if err != nil {
		return err
	}
	shape, err := c.emit("Shape", []*ir.Value{x})
	if err != nil {
		return err
	}
	// allowzero: the dims are those of x itself, none of them means "copy".
	c.name, c.attrs, c.ins = "Reshape", []ir.Attr{{Name: "allowzero", Value: int64(1)}}, []*ir.Value{soft, shape}
	return nil
}

func spatialBatchNorm(c *call) error {
	spatial, err := c.takeInt("spatial", 1)
	if err != nil {
		return err
	}
	if spatial == 0 {
		return fmt.Errorf("%w: BatchNormalization with spatial=0, which opset 9 abolished", ir.ErrUnsupportedOp)
	}
	return nil
}

// inferenceBatchNorm: before opset 14 asking for the statistics meant training.
func inferenceBatchNorm(c *call) error {
	for i, o := range c.outs {
		if i > 0 && o != "" {
			return fmt.Errorf("%w: BatchNormalization in training mode", ir.ErrUnsupportedOp)
		}
	}
	c.outs = c.outs[:min(1, len(c.outs))]
	return nil
}

// dropRatio: at inference Dropout passes its input on, whatever the ratio.
func dropRatio(c *call) error {
	c.take("ratio")
	return nil
}

func gridSampleMode(c *call) error {
	mode, err := takeAs(c, "mode", "bilinear")
	if err != nil {
		return err
	}
	switch mode {
	case "bilinear":
		mode = "linear"
	case "bicubic":
		mode = "cubic"
	}
	c.set("mode", mode)
	return nil
}

func roiAlignMode(c *call) error {
	if c.attr("coordinate_transformation_mode") == nil {
		c.set("coordinate_transformation_mode", "output_half_pixel")
	}
	return nil
}

// groupScales: GroupNormalization-18 has one scale and bias per group, 21 one per
// channel: each is repeated channels/groups times.
func groupScales(c *call) error {
	groups, ok := c.attr("num_groups").(int64)
	if !ok || groups <= 0 {
		return fmt.Errorf("%w: GroupNormalization needs num_groups above 0", ir.ErrAttr)
	}
	if len(c.ins) != 3 || c.ins[0] == nil || c.ins[1] == nil || c.ins[2] == nil {
		return nil // left to the count of inputs
	}
	channels, err := c.emit("Shape", c.ins[:1], ir.Attr{Name: "start", Value: int64(1)}, ir.Attr{Name: "end", Value: int64(2)})
	if err != nil {
		return err
	}
	g := c.vector("groups", groups)
	per, err := c.emit("Div", []*ir.Value{channels, g})
	if err != nil {
		return err
	}
	shape, err := c.emit("Concat", []*ir.Value{g, per}, ir.Attr{Name: "axis", Value: int64(0)})
	if err != nil {
		return err
	}
	for i := 1; i <= 2; i++ {
		column, err := c.emit("Unsqueeze", []*ir.Value{c.ins[i], c.vector("axes", 1)})
		if err != nil {
			return err
		}
		wide, err := c.emit("Expand", []*ir.Value{column, shape})
		if err != nil {
			return err
		}
		if c.ins[i], err = c.emit("Reshape", []*ir.Value{wide, c.vector("shape", -1)}); err != nil {
			return err
		}
	}
	return nil
}

// resize10: two inputs, and positions are scaled without the half-pixel shift. Nearest
// neighbours are found by rounding up along axes that shrink and down along others, as
// onnxruntime does and ONNX's tests of that version expect: two Resizes, since axes are
// independent of each other.
func resize10(c *call) error {
	if len(c.ins) != 2 {
		return fmt.Errorf("%w: %d inputs, opset 10 of Resize takes 2", ir.ErrModel, len(c.ins))
	}
	x, scales := c.ins[0], c.ins[1]
	c.set("coordinate_transformation_mode", "asymmetric")
	c.set("nearest_mode", "floor")
	if mode := c.attr("mode"); mode == nil || mode == "nearest" {
		down, up, err := c.splitScales(scales)
		if err != nil {
			return err
		}
		if down != nil && up != nil {
			attrs := append(slices.Clone(c.attrs), ir.Attr{Name: "nearest_mode", Value: "ceil"})
			if x, err = c.emit("Resize", []*ir.Value{x, nil, down}, attrs...); err != nil {
				return err
			}
			scales = up
		} else if down != nil {
			c.set("nearest_mode", "ceil")
		}
	}
	c.ins = []*ir.Value{x, nil, scales}
	return nil
}

// splitScales gives the factors that shrink and those that do not, each 1 where the other
// applies; nil for a list that would be all ones.
func (c *call) splitScales(scales *ir.Value) (down, up *ir.Value, err error) {
	if !scales.IsConst() || scales.Const.DType() != tensor.F32 {
		one := c.con("one", tensor.Scalar(float32(1)))
		if down, err = c.emit("Min", []*ir.Value{scales, one}); err != nil {
			return nil, nil, err
		}
		up, err = c.emit("Max", []*ir.Value{scales, one})
		return down, up, err
	}
	s := tensor.Data[float32](scales.Const)
	lo, hi := slices.Clone(s), slices.Clone(s)
	shrinks, grows := false, false
	for i, f := range s {
		lo[i], hi[i] = min(f, 1), max(f, 1)
		shrinks, grows = shrinks || f < 1, grows || f > 1
	}
	if shrinks {
		down = c.con("down", tensor.Of(lo, len(lo)))
	}
	if grows {
		up = c.con("up", tensor.Of(hi, len(hi)))
	}
	return down, up, nil
}

// resizeEmpty: opset 11 demanded roi and scales; exporters still give empty tensors for
// those they do not use.
func resizeEmpty(c *call) error {
	for i := 1; i < len(c.ins); i++ {
		if v := c.ins[i]; v.IsConst() && v.Const.Len() == 0 {
			c.ins[i] = nil
		}
	}
	for len(c.ins) > 0 && c.ins[len(c.ins)-1] == nil {
		c.ins = c.ins[:len(c.ins)-1]
	}
	return nil
}

func scatter(c *call) error {
	c.name = "ScatterElements"
	return nil
}

func upsampleScales(c *call) error {
	scales, err := takeAs[[]float32](c, "scales", nil)
	if err != nil {
		return err
	}
	if scales == nil || len(c.ins) != 1 {
		return fmt.Errorf("%w: opset %d of Upsample needs one input and the attribute scales", ir.ErrAttr, c.version)
	}
	c.ins = append(c.ins, c.con("scales", tensor.Of(scales, len(scales))))
	return nil
}

func upsample(c *call) error {
	if len(c.ins) != 2 {
		return fmt.Errorf("%w: %d inputs, opset %d of Upsample takes 2", ir.ErrModel, len(c.ins), c.version)
	}
	mode, err := takeAs(c, "mode", "nearest")
	if err != nil {
		return err
	}
	if mode == "bilinear" {
		mode = "linear"
	}
	c.name = "Resize"
	c.ins = []*ir.Value{c.ins[0], nil, c.ins[1]}
	c.set("mode", mode)
	c.set("coordinate_transformation_mode", "asymmetric")
	c.set("nearest_mode", "floor")
	return nil
}
