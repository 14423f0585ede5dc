package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
)

// source maps an output position to a position on the input axis.
func (a *ResizeAttrs) source(p resizeAxis, i int) (x float64, outside bool, err error) {
	in, scale, pos := float64(p.in), p.scale, float64(i)
	full := scale * in // the exact output length, before rounding down
	quot := func(a, b float64) float64 { return a / b }
	if a.Mode == "nearest" {
		// Scales are float32, 0.6 a little more than 0.6: what they divide to a whole number
		// in float32 must not fall short of it, as nearest would show.
		quot = func(a, b float64) float64 { return float64(float32(a / b)) }
	}
	switch a.CoordinateTransformationMode {
	case "half_pixel":
		x = quot(pos+0.5, scale) - 0.5
	case "half_pixel_symmetric":
		x = in/2*(1-float64(p.out)/full) + quot(pos+0.5, scale) - 0.5
	case "pytorch_half_pixel":
		if x = -0.5; full != 1 {
			x = quot(pos+0.5, scale) - 0.5
		}
	case "align_corners":
		if full != 1 {
			x = quot(pos*(in-1), full-1)
		}
	case "asymmetric":
		x = quot(pos, scale)
	case "tf_crop_and_resize":
		if full == 1 {
			x = (p.hi - p.lo) * (in - 1) / 2
		} else {
			x = pos * (p.hi - p.lo) * (in - 1) / (full - 1)
		}
		x += p.lo * (in - 1)
		outside = x < 0 || x > in-1
	default:
		err = fmt.Errorf("%w: coordinate_transformation_mode %q", ir.ErrAttr, a.CoordinateTransformationMode)
	}
	if err == nil && !(math.Abs(x) < 1<<50) {
		err = fmt.Errorf("%w: Resize reads position %v", ir.ErrInput, x)
	}
	return x, outside, err
}

// lines lists how every output position of an axis reads the input.
func (a *ResizeAttrs) lines(p resizeAxis) ([]ResizeLine, error) {
	out := make([]ResizeLine, p.out)
	for i := range out {
		x, outside, err := a.source(p, i)
		if err != nil {
			return nil, err
		}
		if outside {
			out[i] = ResizeLine{Outside: true, Value: float64(a.ExtrapolationValue)}
			continue
		}
		first, w, err := a.weights(x, p)
		if err != nil {
			return nil, err
		}
		l := ResizeLine{At: make([]int, len(w)), Weight: w}
		sum := 0.0
		for k := range w {
			at := first + k
			if a.ExcludeOutside && (at < 0 || at >= p.in) {
				w[k] = 0
			}
			sum += w[k]
			l.At[k] = min(max(at, 0), p.in-1)
		}
		if a.ExcludeOutside && sum != 0 {
			for k := range w {
				w[k] /= sum
			}
		}
		out[i] = l
	}
	return out, nil
}

// weights gives the first input position that x reads and the weights from there on.
func (a *ResizeAttrs) weights(x float64, p resizeAxis) (first int, w []float64, err error) {
	floor := math.Floor(x)
	f := x - floor
	// Downscaling with antialias stretches the filter over 1/scale positions.
	stretch := 1.0
	if a.Antialias {
		stretch = math.Min(p.scale, 1)
	}
	switch a.Mode {
	case "nearest":
		if a.Antialias {
			return 0, nil, fmt.Errorf("%w: antialias with nearest", ir.ErrAttr)
		}
		at, err := a.nearest(x)
		return at, []float64{1}, err
	case "linear":
		if stretch == 1 {
			return int(floor), []float64{1 - f, f}, nil
		}
		return filter(x, 1/stretch, func(d float64) float64 { return math.Max(0, 1-math.Abs(d)*stretch) })
	case "cubic":
		k := float64(a.CubicCoeffA)
		if stretch == 1 {
			return int(floor) - 1, []float64{cubicKernel(1+f, k), cubicKernel(f, k), cubicKernel(1-f, k), cubicKernel(2-f, k)}, nil
		}
		return filter(x, 2/stretch, func(d float64) float64 { return cubicKernel(math.Abs(d)*stretch, k) })
	}
	return 0, nil, fmt.Errorf("%w: mode %q", ir.ErrAttr, a.Mode)
}

// filter samples a kernel of the given radius around x and normalises the weights.
func filter(x, radius float64, kernel func(d float64) float64) (first int, w []float64, err error) {
	if radius > 1<<24 {
		return 0, nil, fmt.Errorf("%w: antialias over %v positions", ir.ErrLimit, radius)
	}
	first = int(math.Floor(x-radius)) + 1
	last := int(math.Ceil(x+radius)) - 1
	sum := 0.0
	for i := first; i <= last; i++ {
		e := kernel(float64(i) - x)
		w = append(w, e)
		sum += e
	}
	for i := range w {
		w[i] /= sum
	}
	return first, w, nil
}

// cubicKernel is Keys' cubic convolution kernel at distance d >= 0.
func cubicKernel(d, a float64) float64 {
	switch {
	case d <= 1:
		return ((a+2)*d-(a+3))*d*d + 1
	case d < 2:
		return ((a*d-5*a)*d+8*a)*d - 4*a
	}
	return 0
}

func (a *ResizeAttrs) nearest(x float64) (int, error) {
	switch a.NearestMode {
	case "round_prefer_floor":
		return int(math.Ceil(x - 0.5)), nil
	case "round_prefer_ceil":
		return int(math.Floor(x + 0.5)), nil
	case "floor":
		return int(math.Floor(x)), nil
	case "ceil":
		return int(math.Ceil(x)), nil
	}
	return 0, fmt.Errorf("%w: nearest_mode %q", ir.ErrAttr, a.NearestMode)
}
