package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// GridSampleAttrs are the attributes of GridSample.
type GridSampleAttrs struct {
	AlignCorners bool   `attr:"align_corners"`
	Mode         string `attr:"mode"`
	PaddingMode  string `attr:"padding_mode"`
}

// AffineGridAttrs are the attributes of AffineGrid.
type AffineGridAttrs struct {
	AlignCorners bool `attr:"align_corners"`
}

func gridOps() []*ir.Op {
	return []*ir.Op{
		{
			Name: "GridSample", Since: 22, Doc: "Interpolates an image at the positions of a grid.",
			Attrs: func() any { return &GridSampleAttrs{Mode: "linear", PaddingMode: "zeros"} },
			MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error {
				x, g := c.In(0), c.In(1)
				if err := wantRank("the image", x, 3, -1); err != nil {
					return err
				}
				if x.Ranked && g.Ranked && x.Rank() != g.Rank() {
					return fmt.Errorf("%w: image %s and grid %s", ir.ErrShape, x, g)
				}
				if !x.Ranked || !g.Ranked {
					c.SetOut(0, ir.Unranked(x.DType))
					return nil
				}
				out := append([]ir.Dim{x.Shape[0], x.Shape[1]}, g.Shape[1:len(g.Shape)-1]...)
				c.SetOut(0, ir.MakeType(x.DType, out...))
				return nil
			},
			Eval: evalGridSample,
		},
		{
			Name: "AffineGrid", Since: 20, Doc: "Grid of the positions an affine map reads, for GridSample.",
			Attrs: func() any { return &AffineGridAttrs{} },
			MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error {
				t := c.In(0)
				if err := wantRank("theta", t, 3, 3); err != nil {
					return err
				}
				c.SetOut(0, ir.Unranked(t.DType))
				d, ok := c.Dims(1)
				if !ok {
					return nil
				}
				if len(d) != 4 && len(d) != 5 {
					return fmt.Errorf("%w: size has %d entries, want 4 or 5", ir.ErrShape, len(d))
				}
				out := append([]ir.Dim{d[0]}, d[2:]...)
				c.SetOut(0, ir.MakeType(t.DType, append(out, ir.Known(int64(len(d)-2)))...))
				return nil
			},
			Eval: evalAffineGrid,
		},
	}
}

// gridAxis is how positions on one axis of n pixels are read.
type gridAxis struct {
	n, stride int
	lo, hi    float64 // the rim that reflection mirrors at
	align     bool
	padding   string
}

// position maps a grid coordinate in [-1, 1] to a pixel position.
func (g gridAxis) position(v float64) float64 {
	if g.align {
		return (v + 1) / 2 * float64(g.n-1)
	}
	return ((v+1)*float64(g.n) - 1) / 2
}

// settle moves a position outside the image as the padding mode says.
func (g gridAxis) settle(x float64) float64 {
	if x >= g.lo && x <= g.hi {
		return x
	}
	switch g.padding {
	case "border":
		return math.Max(0, math.Min(x, float64(g.n-1)))
	case "reflection":
		return g.reflect(x)
	}
	return x
}

func (g gridAxis) reflect(x float64) float64 {
	span := g.hi - g.lo
	switch {
	case x >= g.lo && x <= g.hi:
		return x
	case span <= 0:
		return g.lo
	}
	d := g.lo - x
	if x > g.hi {
		d = x - g.hi
	}
	times := math.Trunc(d / span)
	rest := d - times*span
	if (x < g.lo) == (math.Mod(times, 2) == 0) {
		return g.lo + rest
	}
	return g.hi - rest
}

// pixel is the index that position i reads, -1 for a zero.
func (g gridAxis) pixel(i float64) int {
	if i >= 0 && i < float64(g.n) {
		return int(i)
	}
	switch g.padding {
	case "border":
		return int(math.Max(0, math.Min(i, float64(g.n-1))))
	case "reflection":
		return min(max(int(g.reflect(i)), 0), g.n-1)
	}
	return -1
}

// taps lists the pixels and weights that a coordinate reads.
func (g gridAxis) taps(v float64, mode string) (at []int, w []float64) {
	x := g.position(v)
	if mode == "nearest" {
		x = math.RoundToEven(x)
	}
	if mode != "cubic" { // as in PyTorch, each of the four taps is settled by itself
		x = g.settle(x)
	}
	if x != x || math.IsInf(x, 0) {
		return []int{-1}, []float64{0}
	}
	if mode == "nearest" {
		return []int{g.pixel(math.Trunc(x))}, []float64{1}
	}
	f := math.Floor(x)
	r := x - f
	if mode == "linear" {
		return []int{g.pixel(f), g.pixel(f + 1)}, []float64{1 - r, r}
	}
	const a = -0.75
	return []int{g.pixel(f - 1), g.pixel(f), g.pixel(f + 1), g.pixel(f + 2)},
		[]float64{cubicKernel(1+r, a), cubicKernel(r, a), cubicKernel(1-r, a), cubicKernel(2-r, a)}
}

func evalGridSample(c *ir.EvalCtx) error {
	if err := need(c, 0, 1); err != nil {
		return err
	}
	a := c.Attrs.(*GridSampleAttrs)
	x, g := c.In(0), c.In(1)
	n := x.Rank() - 2
	if n < 1 || g.Rank() != x.Rank() || g.Shape()[0] != x.Shape()[0] || g.Shape()[g.Rank()-1] != n {
		return fmt.Errorf("%w: image %s and grid %s", ir.ErrShape, x, g)
	}
	mode := a.Mode
	switch mode { // opset 16 spelt two of them otherwise
	case "bilinear":
		mode = "linear"
	case "bicubic":
		mode = "cubic"
	case "linear", "cubic", "nearest":
	default:
		return fmt.Errorf("%w: mode %q", ir.ErrAttr, a.Mode)
	}
	if p := a.PaddingMode; p != "zeros" && p != "border" && p != "reflection" {
		return fmt.Errorf("%w: padding_mode %q", ir.ErrAttr, p)
	}
	v, err := allReals[float64](x, g)
	if err != nil {
		return err
	}
	shape := append([]int{x.Shape()[0], x.Shape()[1]}, g.Shape()[1:g.Rank()-1]...)
	points, plane := tensor.NumElems(shape[2:]), tensor.NumElems(x.Shape()[2:])
	if points > 0 && plane == 0 && shape[0]*shape[1] > 0 {
		return fmt.Errorf("%w: image %s has no pixels", ir.ErrShape, x)
	}
	axes := make([]gridAxis, n)
	for i, s := range tensor.Strides(x.Shape()[2:]) {
		d := x.Shape()[i+2]
		axes[i] = gridAxis{n: d, stride: s, lo: -0.5, hi: float64(d) - 0.5, align: a.AlignCorners, padding: a.PaddingMode}
		if a.AlignCorners {
			axes[i].lo, axes[i].hi = 0, float64(d-1)
		}
	}
	total, ok := tensor.CheckedElems(shape)
	if !ok || c.MaxElems > 0 && total > c.MaxElems {
		return fmt.Errorf("%w: output of shape %v", ir.ErrLimit, shape)
	}
	out := make([]float64, total)
	for b := range shape[0] {
		for p := range points {
			offs, weights := []int{0}, []float64{1}
			for i, ax := range axes { // coordinates come with the last axis first
				at, w := ax.taps(v[1][(b*points+p)*n+n-1-i], mode)
				offs, weights = cross(offs, weights, at, w, ax.stride)
			}
			for ch := range shape[1] {
				img := v[0][(b*shape[1]+ch)*plane:][:plane]
				s := 0.0
				for k, o := range offs {
					s += weights[k] * img[o]
				}
				out[(b*shape[1]+ch)*points+p] = s
			}
		}
	}
	return putNumbers(c, 0, x.DType(), out, shape...)
}

// cross combines the taps of several axes; taps that read a zero drop out.
func cross(offs []int, weights []float64, at []int, w []float64, stride int) ([]int, []float64) {
	var o2 []int
	var w2 []float64
	for i, o := range offs {
		for j, p := range at {
			if p >= 0 {
				o2, w2 = append(o2, o+p*stride), append(w2, weights[i]*w[j])
			}
		}
	}
	return o2, w2
}

func evalAffineGrid(c *ir.EvalCtx) error {
	if err := need(c, 0, 1); err != nil {
		return err
	}
	a, theta := c.Attrs.(*AffineGridAttrs), c.In(0)
	size, err := c.In(1).Int64s()
	if err != nil {
		return fmt.Errorf("%w: size: %w", ir.ErrType, err)
	}
	n := len(size) - 2
	if n != 2 && n != 3 {
		return fmt.Errorf("%w: size %v, want 4 or 5 entries", ir.ErrShape, size)
	}
	for _, d := range size {
		if d < 0 || d > windowLimit {
			return fmt.Errorf("%w: size %v", ir.ErrShape, size)
		}
	}
	if err := wantShape("theta", theta, int(size[0]), n, n+1); err != nil {
		return err
	}
	v, err := reals[float64](theta)
	if err != nil {
		return err
	}
	grid := toInts(size[2:])
	shape := append(append([]int{int(size[0])}, grid...), n)
	out, err := outReals[float64](c, 0, theta.DType(), shape...)
	if err != nil {
		return err
	}
	points := tensor.NumElems(grid)
	coord := make([]float64, n+1) // x first
	coord[n] = 1
	for p := range points {
		rest := p
		for i := n - 1; i >= 0; i-- {
			k, d := float64(rest%grid[i]), float64(grid[i])
			rest /= grid[i]
			switch {
			case !a.AlignCorners:
				coord[n-1-i] = (2*k+1)/d - 1
			case grid[i] > 1:
				coord[n-1-i] = 2*k/(d-1) - 1
			default:
				coord[n-1-i] = -1
			}
		}
		for b := range shape[0] {
			for r := range n {
				s := 0.0
				for j, e := range coord {
					s += v[(b*n+r)*(n+1)+j] * e
				}
				out.V[(b*points+p)*n+r] = s
			}
		}
	}
	out.Store()
	return nil
}
