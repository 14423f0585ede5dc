package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// ResizeAttrs are the attributes of Resize.
type ResizeAttrs struct {
	Antialias                    bool    `attr:"antialias"`
	Axes                         []int64 `attr:"axes"`
	CoordinateTransformationMode string  `attr:"coordinate_transformation_mode"`
	CubicCoeffA                  float32 `attr:"cubic_coeff_a"`
	ExcludeOutside               bool    `attr:"exclude_outside"`
	ExtrapolationValue           float32 `attr:"extrapolation_value"`
	KeepAspectRatioPolicy        string  `attr:"keep_aspect_ratio_policy"`
	Mode                         string  `attr:"mode"`
	NearestMode                  string  `attr:"nearest_mode"`
}

// UpsampleAttrs are the attributes of Upsample.
type UpsampleAttrs struct {
	Mode string `attr:"mode"`
}

func newResizeAttrs() any {
	return &ResizeAttrs{
		CoordinateTransformationMode: "half_pixel", CubicCoeffA: -0.75,
		KeepAspectRatioPolicy: "stretch", Mode: "nearest", NearestMode: "round_prefer_floor",
	}
}

func resizeOps() []*ir.Op {
	return []*ir.Op{
		{
			Name: "Resize", Since: 19, Doc: "Resamples axes by nearest, linear or cubic interpolation.",
			Attrs: newResizeAttrs, MinIn: 1, MaxIn: 4, MinOut: 1, MaxOut: 1,
			Infer: inferResize,
			Eval: func(c *ir.EvalCtx) error {
				return evalResize(c, c.Attrs.(*ResizeAttrs), c.In(1), c.In(2), c.In(3))
			},
		},
		{
			Name: "Upsample", Since: 10, Doc: "Resize with coordinates divided by the scales; superseded by Resize.",
			Attrs: func() any { return &UpsampleAttrs{Mode: "nearest"} },
			MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error {
				x := c.In(0)
				if t := c.Const(1); t != nil && x.Ranked {
					return inferScales(c, newResizeAttrs().(*ResizeAttrs), t)
				}
				c.SetOut(0, anyShape(x))
				return nil
			},
			Eval: func(c *ir.EvalCtx) error {
				a := newResizeAttrs().(*ResizeAttrs)
				a.Mode, a.CoordinateTransformationMode, a.NearestMode = c.Attrs.(*UpsampleAttrs).Mode, "asymmetric", "floor"
				if a.Mode == "bilinear" {
					a.Mode = "linear"
				}
				if err := need(c, 0, 1); err != nil {
					return err
				}
				return evalResize(c, a, nil, c.In(1), nil)
			},
		},
	}
}

// anyShape is t with its rank and nothing else known of its shape.
func anyShape(t ir.Type) ir.Type {
	out := ir.Type{DType: t.DType, Ranked: t.Ranked}
	for range t.Shape {
		out.Shape = append(out.Shape, ir.Unknown())
	}
	return out
}

// resizeAxes are the axes that scales and sizes speak of.
func resizeAxes(a *ResizeAttrs, rank int) ([]int, error) {
	if a.Axes == nil {
		out := make([]int, rank)
		for i := range out {
			out[i] = i
		}
		return out, nil
	}
	seen := make([]bool, rank)
	out := make([]int, len(a.Axes))
	for i, ax := range a.Axes {
		var err error
		if out[i], err = normAxis(ax, rank); err != nil {
			return nil, err
		}
		if seen[out[i]] {
			return nil, fmt.Errorf("%w: axes %v", ir.ErrAttr, a.Axes)
		}
		seen[out[i]] = true
	}
	return out, nil
}

func inferResize(c *ir.InferCtx) error {
	a, x := c.Attrs.(*ResizeAttrs), c.In(0)
	c.SetOut(0, anyShape(x))
	if !x.Ranked {
		return nil
	}
	axes, err := resizeAxes(a, x.Rank())
	if err != nil {
		return err
	}
	if sizes, ok := c.Dims(3); ok && len(sizes) > 0 {
		if len(sizes) != len(axes) {
			return fmt.Errorf("%w: %d sizes for %d axes", ir.ErrShape, len(sizes), len(axes))
		}
		if a.KeepAspectRatioPolicy != "stretch" {
			return inferAspect(c, a, axes, sizes)
		}
		out := append([]ir.Dim(nil), x.Shape...)
		for i, ax := range axes {
			out[ax] = sizes[i]
		}
		c.SetOut(0, ir.MakeType(x.DType, out...))
		return nil
	}
	if t := c.Const(2); t != nil && t.Len() > 0 {
		return inferScales(c, a, t)
	}
	return nil
}

// inferAspect sets output 0 where sizes are bounds for a common scale, if all are known.
func inferAspect(c *ir.InferCtx, a *ResizeAttrs, axes []int, sizes []ir.Dim) error {
	x := c.In(0)
	plan, bounds := make([]resizeAxis, x.Rank()), make([]int64, len(sizes))
	for i, ax := range axes {
		if !x.Shape[ax].IsKnown() || !sizes[i].IsKnown() {
			return nil
		}
		plan[ax].in, bounds[i] = int(x.Shape[ax].Size), sizes[i].Size
	}
	if err := a.applySizes(plan, axes, tensor.Of(bounds, len(bounds))); err != nil {
		return err
	}
	out := append([]ir.Dim(nil), x.Shape...)
	for _, ax := range axes {
		out[ax] = ir.Known(int64(plan[ax].out))
	}
	c.SetOut(0, ir.MakeType(x.DType, out...))
	return nil
}

// inferScales sets output 0 for scales known already.
func inferScales(c *ir.InferCtx, a *ResizeAttrs, t *tensor.Tensor) error {
	x := c.In(0)
	axes, err := resizeAxes(a, x.Rank())
	if err != nil {
		return err
	}
	scales, err := t.Float64s()
	if err != nil {
		return fmt.Errorf("%w: scales: %w", ir.ErrType, err)
	}
	if len(scales) != len(axes) {
		return fmt.Errorf("%w: %d scales for %d axes", ir.ErrShape, len(scales), len(axes))
	}
	out := append([]ir.Dim(nil), x.Shape...)
	for i, ax := range axes {
		d, s := out[ax], scales[i]
		switch {
		case !(s > 0) || s > windowLimit:
			return fmt.Errorf("%w: scale %v", ir.ErrShape, s)
		case d.IsKnown():
			out[ax] = ir.Known(scaledLength(d.Size, s))
		case s != math.Trunc(s):
			out[ax] = ir.Unknown()
		default:
			out[ax] = ir.MulDim(d, ir.Known(int64(s)))
		}
	}
	c.SetOut(0, ir.MakeType(x.DType, out...))
	return nil
}

// scaledLength is n times a float32 scale rounded down. The product is a float32 too, as
// in onnxruntime: 10 times 0.7 is 7, though the float32 nearest 0.7 is less.
func scaledLength(n int64, scale float64) int64 {
	return int64(math.Floor(float64(float32(n) * float32(scale))))
}

// resizeAxis is what happens to one axis.
type resizeAxis struct {
	in, out  int
	scale    float64
	lo, hi   float64 // region of interest
	resample bool
}

// resizePlan works out every axis from the inputs.
func resizePlan(a *ResizeAttrs, x []int, roi, scales, sizes *tensor.Tensor) ([]resizeAxis, error) {
	axes, err := resizeAxes(a, len(x))
	if err != nil {
		return nil, err
	}
	plan := make([]resizeAxis, len(x))
	for i, d := range x {
		plan[i] = resizeAxis{in: d, out: d, scale: 1, hi: 1}
	}
	if roi != nil && roi.Len() > 0 && a.CoordinateTransformationMode == "tf_crop_and_resize" {
		r, err := reals[float64](roi)
		if err != nil {
			return nil, err
		}
		if len(r) != 2*len(axes) {
			return nil, fmt.Errorf("%w: roi %s for %d axes", ir.ErrShape, roi, len(axes))
		}
		for i, ax := range axes {
			plan[ax].lo, plan[ax].hi = r[i], r[len(axes)+i]
		}
	}
	haveScales, haveSizes := scales != nil && scales.Len() > 0, sizes != nil && sizes.Len() > 0
	switch {
	case haveScales == haveSizes:
		return nil, fmt.Errorf("%w: Resize takes either scales or sizes", ir.ErrInput)
	case haveScales:
		s, err := reals[float64](scales)
		if err != nil {
			return nil, err
		}
		if len(s) != len(axes) {
			return nil, fmt.Errorf("%w: scales %s for %d axes", ir.ErrShape, scales, len(axes))
		}
		for i, ax := range axes {
			if !(s[i] > 0) || s[i] > windowLimit || s[i]*float64(plan[ax].in) > windowLimit<<4 {
				return nil, fmt.Errorf("%w: scale %v", ir.ErrInput, s[i])
			}
			plan[ax].scale, plan[ax].out = s[i], int(scaledLength(int64(plan[ax].in), s[i]))
		}
	default:
		if err := a.applySizes(plan, axes, sizes); err != nil {
			return nil, err
		}
	}
	for i := range plan {
		p := &plan[i]
		p.resample = !(p.scale == 1 && p.in == p.out && p.lo == 0 && p.hi == 1)
		if p.in == 0 && p.out > 0 {
			return nil, fmt.Errorf("%w: axis %d is empty", ir.ErrShape, i)
		}
	}
	return plan, nil
}

func (a *ResizeAttrs) applySizes(plan []resizeAxis, axes []int, sizes *tensor.Tensor) error {
	s, err := sizes.Int64s()
	if err != nil {
		return fmt.Errorf("%w: sizes: %w", ir.ErrType, err)
	}
	if len(s) != len(axes) {
		return fmt.Errorf("%w: sizes %s for %d axes", ir.ErrShape, sizes, len(axes))
	}
	common := math.NaN()
	for i, ax := range axes {
		p := &plan[ax]
		if s[i] < 0 || s[i] > windowLimit<<4 {
			return fmt.Errorf("%w: size %d", ir.ErrInput, s[i])
		}
		p.out = int(s[i])
		if p.in > 0 {
			p.scale = float64(p.out) / float64(p.in)
		}
		switch {
		case common != common:
			common = p.scale
		case a.KeepAspectRatioPolicy == "not_larger":
			common = math.Min(common, p.scale)
		default:
			common = math.Max(common, p.scale)
		}
	}
	switch a.KeepAspectRatioPolicy {
	case "stretch":
	case "not_larger", "not_smaller":
		for _, ax := range axes {
			plan[ax].scale = common
			if out := math.Floor(common*float64(plan[ax].in) + 0.5); out <= windowLimit<<4 {
				plan[ax].out = int(out)
			} else {
				return fmt.Errorf("%w: size %v", ir.ErrInput, out)
			}
		}
	default:
		return fmt.Errorf("%w: keep_aspect_ratio_policy %q", ir.ErrAttr, a.KeepAspectRatioPolicy)
	}
	return nil
}

// evalResize resamples one axis after the other; interpolation is separable.
func evalResize(c *ir.EvalCtx, a *ResizeAttrs, roi, scales, sizes *tensor.Tensor) error {
	if err := need(c, 0); err != nil {
		return err
	}
	x := c.In(0)
	plan, err := resizePlan(a, x.Shape(), roi, scales, sizes)
	if err != nil {
		return err
	}
	shape := make([]int, len(plan))
	for i, p := range plan {
		shape[i] = p.out
	}
	n, ok := tensor.CheckedElems(shape)
	if !ok || c.MaxElems > 0 && n > c.MaxElems {
		return fmt.Errorf("%w: output of shape %v", ir.ErrLimit, shape)
	}
	if n == 0 { // the other axes may be of any size
		_, err := c.Out(0, x.DType(), shape...)
		return err
	}
	v, err := reals[float64](x)
	if err != nil {
		return err
	}
	now := append([]int(nil), x.Shape()...)
	for i, p := range plan {
		if !p.resample {
			continue
		}
		lines, err := a.lines(p)
		if err != nil {
			return err
		}
		v = resample(v, now, i, lines)
		now[i] = p.out
	}
	return putNumbers(c, 0, x.DType(), v, shape...)
}

// ResizeLine is how one output position of a resized axis reads the input: weights on positions, or
// the extrapolation value.
type ResizeLine struct {
	At      []int
	Weight  []float64
	Outside bool
	Value   float64
}

// ResizeLines are the lines of every axis that Resize resamples, nil for the others, given the shape of its
// input and its other inputs. The axes are resampled one after the other.
func ResizeLines(a *ResizeAttrs, x []int, roi, scales, sizes *tensor.Tensor) ([][]ResizeLine, error) {
	plan, err := resizePlan(a, x, roi, scales, sizes)
	if err != nil {
		return nil, err
	}
	out := make([][]ResizeLine, len(plan))
	for i, p := range plan {
		if !p.resample {
			continue
		}
		if out[i], err = a.lines(p); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// resample applies lines along an axis.
func resample(v []float64, shape []int, axis int, lines []ResizeLine) []float64 {
	outer, n, inner := splitAt(shape, axis)
	out := make([]float64, outer*len(lines)*inner)
	for o := range outer {
		for j, l := range lines {
			dst := out[(o*len(lines)+j)*inner:][:inner]
			if l.Outside {
				for i := range dst {
					dst[i] = l.Value
				}
				continue
			}
			for k, p := range l.At {
				w := l.Weight[k]
				if w == 0 {
					continue
				}
				for i, e := range v[(o*n+p)*inner:][:inner] {
					dst[i] += w * e
				}
			}
		}
	}
	return out
}

// putNumbers makes output i hold v in any numeric type: rounded to nearest even and
// saturated for integers.
func putNumbers(c *ir.EvalCtx, i int, dt tensor.DType, v []float64, shape ...int) error {
	if dt.IsFloat() {
		return putReals(c, i, dt, v, shape...)
	}
	if !dt.IsInt() && dt != tensor.Bool {
		return fmt.Errorf("%w: %s", ir.ErrType, dt)
	}
	out, err := c.Out(i, dt, shape...)
	if err != nil {
		return err
	}
	if dt.IsInt() {
		lo, hi := 0.0, math.Ldexp(1, dt.Bits())-1
		if dt.IsSigned() {
			lo, hi = -math.Ldexp(1, dt.Bits()-1), math.Ldexp(1, dt.Bits()-1)-1
		}
		v = mapTo(v, func(x float64) float64 { return max(lo, min(hi, math.RoundToEven(x))) })
	}
	return storeFloats(out, v, true)
}
