package ops

import (
	"fmt"
	"math"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// NonMaxSuppressionAttrs are the attributes of NonMaxSuppression.
type NonMaxSuppressionAttrs struct {
	CenterPointBox bool `attr:"center_point_box"`
}

func nmsOps() []*ir.Op {
	return []*ir.Op{{
		Name: "NonMaxSuppression", Since: 11, Doc: "Picks the best boxes of each class that do not overlap better ones.",
		Attrs: func() any { return &NonMaxSuppressionAttrs{} },
		MinIn: 2, MaxIn: 5, MinOut: 1, MaxOut: 1,
		Infer: func(c *ir.InferCtx) error {
			for i := range 2 {
				if err := wantRank(fmt.Sprintf("input %d", i), c.In(i), 3, 3); err != nil {
					return err
				}
			}
			c.SetOut(0, ir.MakeType(tensor.I64, ir.Unknown(), ir.Known(3)))
			return nil
		},
		Eval: evalNMS,
	}}
}

// box is given by its sorted corners.
type box struct{ y0, x0, y1, x1 float64 }

func newBox(v []float64, center bool) box {
	if center { // x, y, width, height
		return box{v[1] - v[3]/2, v[0] - v[2]/2, v[1] + v[3]/2, v[0] + v[2]/2}
	}
	return box{min(v[0], v[2]), min(v[1], v[3]), max(v[0], v[2]), max(v[1], v[3])}
}

// overlap is the intersection over the union.
func (a box) overlap(b box) float64 {
	h, w := min(a.y1, b.y1)-max(a.y0, b.y0), min(a.x1, b.x1)-max(a.x0, b.x0)
	if h <= 0 || w <= 0 {
		return 0
	}
	area := (a.y1-a.y0)*(a.x1-a.x0) + (b.y1-b.y0)*(b.x1-b.x0) - h*w
	if area <= 0 {
		return 0
	}
	return h * w / area
}

func evalNMS(c *ir.EvalCtx) error {
	if err := need(c, 0, 1); err != nil {
		return err
	}
	boxes, scores := c.In(0), c.In(1)
	if boxes.Rank() != 3 || scores.Rank() != 3 || boxes.Shape()[2] != 4 || boxes.Shape()[0] != scores.Shape()[0] || boxes.Shape()[1] != scores.Shape()[2] {
		return fmt.Errorf("%w: boxes %s and scores %s", ir.ErrShape, boxes, scores)
	}
	v, err := allReals[float64](boxes, scores)
	if err != nil {
		return err
	}
	limits := [3]float64{0, 0, math.Inf(-1)} // boxes per class, overlap, score
	for i := range limits {
		t := c.In(i + 2)
		if t == nil || t.Len() == 0 {
			continue
		}
		e, err := reals[float64](t)
		if err != nil {
			return err
		}
		limits[i] = e[0]
	}
	n, classes := boxes.Shape()[1], scores.Shape()[1]
	var picked []int64
	for b := range boxes.Shape()[0] {
		at := make([]box, n)
		for i := range at {
			at[i] = newBox(v[0][(b*n+i)*4:][:4], c.Attrs.(*NonMaxSuppressionAttrs).CenterPointBox)
		}
		for k := range classes {
			s := v[1][(b*classes+k)*n:][:n]
			var order []int
			for i, e := range s {
				if e > limits[2] {
					order = append(order, i)
				}
			}
			slices.SortStableFunc(order, func(i, j int) int {
				switch {
				case s[i] > s[j]:
					return -1
				case s[i] < s[j]:
					return 1
				}
				return 0
			})
			var kept []int
			for _, i := range order {
				if float64(len(kept)) >= limits[0] {
					break
				}
				if !slices.ContainsFunc(kept, func(j int) bool { return at[i].overlap(at[j]) > limits[1] }) {
					kept = append(kept, i)
					picked = append(picked, int64(b), int64(k), int64(i))
				}
			}
		}
	}
	out, err := c.Out(0, tensor.I64, len(picked)/3, 3)
	if err != nil {
		return err
	}
	copy(tensor.Data[int64](out), picked)
	return nil
}
