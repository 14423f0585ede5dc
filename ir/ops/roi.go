package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
)

// RoiAlignAttrs are the attributes of RoiAlign.
type RoiAlignAttrs struct {
	CoordinateTransformationMode string  `attr:"coordinate_transformation_mode"`
	Mode                         string  `attr:"mode"`
	OutputHeight                 int64   `attr:"output_height"`
	OutputWidth                  int64   `attr:"output_width"`
	SamplingRatio                int64   `attr:"sampling_ratio"`
	SpatialScale                 float32 `attr:"spatial_scale"`
}

// MaxRoiPoolAttrs are the attributes of MaxRoiPool.
type MaxRoiPoolAttrs struct {
	PooledShape  []int64 `attr:"pooled_shape"`
	SpatialScale float32 `attr:"spatial_scale"`
}

func roiOps() []*ir.Op {
	return []*ir.Op{
		{
			Name: "RoiAlign", Since: 22, Doc: "Averages (or takes the maximum of) bilinear samples in each cell of each region.",
			Attrs: func() any {
				return &RoiAlignAttrs{CoordinateTransformationMode: "half_pixel", Mode: "avg", OutputHeight: 1, OutputWidth: 1, SpatialScale: 1}
			},
			MinIn: 3, MaxIn: 3, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error {
				a := c.Attrs.(*RoiAlignAttrs)
				return inferRoi(c, []int64{a.OutputHeight, a.OutputWidth})
			},
			Eval: func(c *ir.EvalCtx) error { return byFloat(c, 0, evalRoiAlign[float32], evalRoiAlign[float64]) },
		},
		{
			Name: "MaxRoiPool", Since: 22, Doc: "Maximum over each cell of each region.",
			Attrs: func() any { return &MaxRoiPoolAttrs{SpatialScale: 1} },
			MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error { return inferRoi(c, c.Attrs.(*MaxRoiPoolAttrs).PooledShape) },
			Eval:  func(c *ir.EvalCtx) error { return byFloat(c, 0, evalMaxRoiPool[float32], evalMaxRoiPool[float64]) },
		},
	}
}

func inferRoi(c *ir.InferCtx, cell []int64) error {
	if err := wantFloat(c, 0, 1); err != nil {
		return err
	}
	if err := wantRank("the input", c.In(0), 4, 4); err != nil {
		return err
	}
	if err := wantRank("the regions", c.In(1), 2, 2); err != nil {
		return err
	}
	if err := checkCells(cell); err != nil {
		return err
	}
	out := []ir.Dim{ir.Unknown(), ir.Unknown(), ir.Known(cell[0]), ir.Known(cell[1])}
	if r := c.In(1); r.Ranked {
		out[0] = r.Shape[0]
	}
	if x := c.In(0); x.Ranked {
		out[1] = x.Shape[1]
	}
	c.SetOut(0, ir.MakeType(c.In(0).DType, out...))
	return nil
}

func checkCells(cell []int64) error {
	if len(cell) != 2 || cell[0] < 1 || cell[1] < 1 || cell[0] > 1<<20 || cell[1] > 1<<20 {
		return fmt.Errorf("%w: output of %v cells", ir.ErrAttr, cell)
	}
	return nil
}

func evalRoiAlign[T realElem](c *ir.EvalCtx) error {
	if err := need(c, 0, 1, 2); err != nil {
		return err
	}
	a := c.Attrs.(*RoiAlignAttrs)
	x, rois := c.In(0), c.In(1)
	if err := tensorRank("the input", x, 4, 4); err != nil {
		return err
	}
	if err := tensorRank("the batch indices", c.In(2), 1, 1); err != nil {
		return err
	}
	n := c.In(2).Shape()[0]
	if err := wantShape("the regions", rois, n, 4); err != nil {
		return err
	}
	if err := checkCells([]int64{a.OutputHeight, a.OutputWidth}); err != nil {
		return err
	}
	if a.Mode != "avg" && a.Mode != "max" || a.SamplingRatio < 0 || a.SamplingRatio > 1<<12 {
		return fmt.Errorf("%w: mode %q, sampling_ratio %d", ir.ErrAttr, a.Mode, a.SamplingRatio)
	}
	batch, err := c.In(2).Int64s()
	if err != nil {
		return fmt.Errorf("%w: batch indices: %w", ir.ErrType, err)
	}
	v, err := allReals[T](x, rois)
	if err != nil {
		return err
	}
	ch, h, w := x.Shape()[1], x.Shape()[2], x.Shape()[3]
	oh, ow := int(a.OutputHeight), int(a.OutputWidth)
	out, err := outReals[T](c, 0, x.DType(), n, ch, oh, ow)
	if err != nil {
		return err
	}
	for r := range n {
		if batch[r] < 0 || batch[r] >= int64(x.Shape()[0]) {
			return fmt.Errorf("%w: batch index %d of %d", ir.ErrInput, batch[r], x.Shape()[0])
		}
		g, err := newRoiGrid(a, v[1][r*4:r*4+4], oh, ow)
		if err != nil {
			return err
		}
		for k := range ch {
			plane := v[0][(int(batch[r])*ch+k)*h*w:][:h*w]
			for p := range oh * ow {
				out.V[(r*ch+k)*oh*ow+p] = T(roiCell(plane, h, w, g, p/ow, p%ow, a.Mode == "max"))
			}
		}
	}
	out.Store()
	return nil
}

// roiGrid is where a region's samples lie: ny by nx in each cell.
type roiGrid struct {
	y, x, binH, binW float64
	ny, nx           int
}

func newRoiGrid[T realElem](a *RoiAlignAttrs, roi []T, oh, ow int) (roiGrid, error) {
	var b [4]float64
	for i, e := range roi {
		b[i] = float64(e)
	}
	half := a.CoordinateTransformationMode == "half_pixel"
	for i := range b {
		b[i] *= float64(a.SpatialScale)
		if half {
			b[i] -= 0.5
		}
		if !(math.Abs(b[i]) < 1<<24) {
			return roiGrid{}, fmt.Errorf("%w: region %v", ir.ErrInput, b)
		}
	}
	w, h := b[2]-b[0], b[3]-b[1]
	if !half { // the older mode forces malformed regions to one pixel
		w, h = math.Max(w, 1), math.Max(h, 1)
	}
	g := roiGrid{y: b[1], x: b[0], binH: h / float64(oh), binW: w / float64(ow), ny: int(a.SamplingRatio), nx: int(a.SamplingRatio)}
	if a.SamplingRatio == 0 {
		g.ny, g.nx = int(math.Ceil(g.binH)), int(math.Ceil(g.binW))
	}
	if max(g.ny, 0)*max(g.nx, 0) > 1<<24 {
		return g, fmt.Errorf("%w: region %v needs %d by %d samples a cell", ir.ErrLimit, b, g.ny, g.nx)
	}
	return g, nil
}

// roiCell is one cell of one channel. In max mode it is the largest weighted corner,
// not the largest interpolated sample: so the operator is defined.
func roiCell[T realElem](plane []T, h, w int, g roiGrid, py, px int, useMax bool) float64 {
	sum, best, first := 0.0, 0.0, true
	for iy := range max(g.ny, 0) {
		y := g.y + float64(py)*g.binH + (float64(iy)+0.5)*g.binH/float64(g.ny)
		for ix := range max(g.nx, 0) {
			x := g.x + float64(px)*g.binW + (float64(ix)+0.5)*g.binW/float64(g.nx)
			c := roiCorners(plane, h, w, y, x)
			sum += c[0] + c[1] + c[2] + c[3]
			m := max(c[0], c[1], c[2], c[3])
			if first || m > best {
				best, first = m, false
			}
		}
	}
	if useMax {
		return best
	}
	return sum / float64(max(g.ny*g.nx, 1))
}

// roiCorners are the four weighted neighbours of a sample; beyond one pixel outside
// the plane they are zero, at its rim they are clamped.
func roiCorners[T realElem](plane []T, h, w int, y, x float64) [4]float64 {
	if y < -1 || y > float64(h) || x < -1 || x > float64(w) || h == 0 || w == 0 {
		return [4]float64{}
	}
	y0, y1, fy := clampPair(y, h)
	x0, x1, fx := clampPair(x, w)
	at := func(i, j int) float64 { return float64(plane[i*w+j]) }
	return [4]float64{(1 - fy) * (1 - fx) * at(y0, x0), (1 - fy) * fx * at(y0, x1), fy * (1 - fx) * at(y1, x0), fy * fx * at(y1, x1)}
}

func clampPair(p float64, n int) (lo, hi int, frac float64) {
	p = math.Max(p, 0)
	if lo = int(p); lo >= n-1 {
		return n - 1, n - 1, 0
	}
	return lo, lo + 1, p - float64(lo)
}

func evalMaxRoiPool[T realElem](c *ir.EvalCtx) error {
	if err := need(c, 0, 1); err != nil {
		return err
	}
	a := c.Attrs.(*MaxRoiPoolAttrs)
	x, rois := c.In(0), c.In(1)
	if err := tensorRank("the input", x, 4, 4); err != nil {
		return err
	}
	if err := tensorRank("the regions", rois, 2, 2); err != nil {
		return err
	}
	n := rois.Shape()[0]
	if err := wantShape("the regions", rois, n, 5); err != nil {
		return err
	}
	if err := checkCells(a.PooledShape); err != nil {
		return err
	}
	v, err := allReals[T](x, rois)
	if err != nil {
		return err
	}
	ch, h, w := x.Shape()[1], x.Shape()[2], x.Shape()[3]
	oh, ow := int(a.PooledShape[0]), int(a.PooledShape[1])
	out, err := outReals[T](c, 0, x.DType(), n, ch, oh, ow)
	if err != nil {
		return err
	}
	for r := range n {
		var b [5]int
		for i := range b {
			e := float64(v[1][r*5+i])
			if i > 0 {
				e *= float64(a.SpatialScale)
			}
			if e = math.Floor(e + 0.5); !(math.Abs(e) < 1<<24) {
				return fmt.Errorf("%w: region %v", ir.ErrInput, v[1][r*5:r*5+5])
			}
			b[i] = int(e)
		}
		if b[0] < 0 || b[0] >= x.Shape()[0] {
			return fmt.Errorf("%w: batch index %d of %d", ir.ErrInput, b[0], x.Shape()[0])
		}
		// Regions are inclusive of their end, and at least one pixel.
		rh, rw := max(b[4]-b[2]+1, 1), max(b[3]-b[1]+1, 1)
		for p := range oh * ow {
			y0, y1 := roiSpan(p/ow, rh, oh, b[2], h)
			x0, x1 := roiSpan(p%ow, rw, ow, b[1], w)
			for k := range ch {
				plane := v[0][(b[0]*ch+k)*h*w:][:h*w]
				var best T
				for i := y0; i < y1; i++ {
					for j := x0; j < x1; j++ {
						if e := plane[i*w+j]; i == y0 && j == x0 || e > best {
							best = e
						}
					}
				}
				out.V[(r*ch+k)*oh*ow+p] = best
			}
		}
	}
	out.Store()
	return nil
}

// roiSpan is the range of pixels of cell p on an axis of n cells over size pixels.
func roiSpan(p, size, n, start, limit int) (lo, hi int) {
	bin := float64(size) / float64(n)
	lo = start + int(math.Floor(float64(p)*bin))
	hi = start + int(math.Ceil(float64(p+1)*bin))
	return min(max(lo, 0), limit), min(max(hi, 0), limit)
}
