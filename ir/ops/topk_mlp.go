package ops

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// TopKMLPAttrs are the attributes of TopKMLP:
//
//	m = act(x w1 + b1), times keep/(1-dropout) where keep is given
//	v = m, or |m| with Magnitude; times the L2 norm of the unit's row of w2 with UseNorm
//	y = (m where v >= the k-th largest v of the token, else 0) w2 + b2
//
// All ties at the k-th value are kept, as the authors do; a threshold that is NaN (fewer
// than k numbers in the row) keeps everything. k >= F keeps everything.
type TopKMLPAttrs struct {
	Activation Activation `attr:"activation"`
	K          int64      `attr:"k"`
	UseNorm    bool       `attr:"use_norm"`
	Magnitude  bool       `attr:"magnitude"`
	Dropout    float32    `attr:"dropout"` // rate that keep was drawn with
}

// The input of TopKMLP beyond those of MLP, and its outputs.
const (
	TopKInKeep = 5 // [..., F] mask of units that dropout kept, optional

	TopKOutY      = 0 // [..., Dv]
	TopKOutHidden = 1 // [..., F], units that are not kept are 0; optional
)

func topKMLPOp() *ir.Op {
	return &ir.Op{
		Domain: ir.DomainMoec, Name: "TopKMLP", Since: 1,
		Doc:   "Two-layer feedforward that keeps the k largest hidden units of each token.",
		Attrs: func() any { return &TopKMLPAttrs{Activation: ActReLU, K: 1} },
		MinIn: 3, MaxIn: 6, MinOut: 1, MaxOut: 2,
		Infer:  inferTopKMLP,
		Eval:   evalTopKMLP,
		Expand: expandTopKMLP,
		Cost:   costTopKMLP,
	}
}

func inferTopKMLP(c *ir.InferCtx) error {
	a := c.Attrs.(*TopKMLPAttrs)
	s := mlpShapes(c, a.Activation)
	if a.K < 1 {
		s.fail(ir.ErrAttr, "k is %d, want at least 1", a.K)
	}
	if err := checkRate(a.Dropout); err != nil && s.err == nil {
		s.err = err
	}
	s.rows(TopKInKeep, "keep", maskTypes, "F")
	s.out(TopKOutY, s.dt, s.dim("Dv"))
	s.out(TopKOutHidden, s.dt, s.dim("F"))
	return s.err
}

func evalTopKMLP(c *ir.EvalCtx) error {
	a := c.Attrs.(*TopKMLPAttrs)
	if err := checkEval(c, inferTopKMLP, MLPInX, MLPInW1, MLPInW2); err != nil {
		return err
	}
	x, w2 := c.In(MLPInX), c.In(MLPInW2)
	f, dv := w2.Shape()[0], w2.Shape()[1]
	var mid *tensor.Tensor
	if wanted(c, TopKOutHidden) {
		var err error
		if mid, err = c.Out(TopKOutHidden, x.DType(), leadingShape(x, 1, f)...); err != nil {
			return err
		}
	}
	weight := make([]float64, f)
	for j := range weight {
		weight[j] = 1
	}
	if a.UseNorm {
		v, err := vecOf(w2)
		if err != nil {
			return err
		}
		row := make([]float64, dv)
		for j := range weight {
			v.load(row, j*dv)
			weight[j] = math.Sqrt(v.dot(row, j*dv))
		}
	}
	keep, scale := maskOf(c.In(TopKInKeep)), 1/(1-decimal(a.Dropout))
	score, sorted := make([]float64, f), make([]float64, f)
	return evalTwoLayers(c, a.Activation, func(n int, h []float64) {
		for j := range h {
			if keep != nil {
				h[j] = dropUnit(h[j], keep[n*f+j], scale)
			}
			if score[j] = h[j] * weight[j]; a.Magnitude {
				score[j] = math.Abs(score[j])
			}
		}
		if int64(f) > a.K {
			copy(sorted, score)
			slices.SortFunc(sorted, func(a, b float64) int { return cmp.Compare(b, a) }) // NaN sorts last
			if thr := sorted[a.K-1]; !math.IsNaN(thr) {
				for j := range h {
					if !(score[j] >= thr) {
						h[j] = 0
					}
				}
			}
		}
		if mid != nil {
			storeRow(mid, n*f, h)
		}
	})
}

// dropUnit is inverted dropout of one unit: its value scaled, or 0.
func dropUnit(h float64, keep bool, scale float64) float64 {
	if !keep {
		return 0
	}
	return h * scale
}

// costTopKMLP counts the rows of w2 that k units need: ties aside.
func costTopKMLP(c *ir.CostCtx) ir.Cost {
	n := rowsOf(c.Ins[MLPInX])
	d, f := dimSize(c.Ins[MLPInW1], 0), dimSize(c.Ins[MLPInW1], 1)
	dv := dimSize(c.Ins[MLPInW2], 1)
	k := min(c.Attrs.(*TopKMLPAttrs).K, f)
	cost := ir.Cost{FLOPs: n * (2*d*f + 2*f + 2*k*dv), Bytes: bytesOf(c.Ins) + bytesOf(c.Outs)}
	cost.Bytes -= (f - min(f, n*k)) * dv * int64(c.Ins[MLPInW2].DType.Size())
	return cost
}

func checkRate(p float32) error {
	if !(p >= 0 && p < 1) {
		return fmt.Errorf("%w: dropout is %v, want at least 0 and less than 1", ir.ErrAttr, p)
	}
	return nil
}
