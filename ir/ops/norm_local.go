package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// LRNAttrs are the attributes of LRN.
type LRNAttrs struct {
	Alpha float32 `attr:"alpha"`
	Beta  float32 `attr:"beta"`
	Bias  float32 `attr:"bias"`
	Size  int64   `attr:"size"`
}

// LpNormAttrs are the attributes of LpNormalization.
type LpNormAttrs struct {
	Axis int64 `attr:"axis"`
	P    int64 `attr:"p"`
}

// MVNAttrs are the attributes of MeanVarianceNormalization.
type MVNAttrs struct {
	Axes []int64 `attr:"axes"`
}

func localNormOps() []*ir.Op {
	return []*ir.Op{
		{
			Name: "LRN", Since: 13, Doc: "Divides by a power of the local sum of squares across channels.",
			Attrs: func() any { return &LRNAttrs{Alpha: 1e-4, Beta: 0.75, Bias: 1} },
			MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Cost: normCost,
			Infer: func(c *ir.InferCtx) error {
				if err := wantRank("the input", c.In(0), 2, -1); err != nil {
					return err
				}
				return inferFloatSame(c)
			},
			Eval: func(c *ir.EvalCtx) error { return byFloat(c, 0, lrn[float32], lrn[float64]) },
		},
		{
			Name: "LpNormalization", Since: 22, Doc: "Divides by the 1- or 2-norm along an axis.",
			Attrs: func() any { return &LpNormAttrs{Axis: -1, P: 2} },
			MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Cost: normCost, Infer: inferFloatSame,
			Eval: func(c *ir.EvalCtx) error { return byFloat(c, 0, lpNorm[float32], lpNorm[float64]) },
		},
		{
			Name: "MeanVarianceNormalization", Since: 13, Doc: "Subtracts the mean and divides by the deviation over the given axes.",
			Attrs: func() any { return &MVNAttrs{Axes: []int64{0, 2, 3}} },
			MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Cost: normCost, Infer: inferFloatSame,
			Eval: func(c *ir.EvalCtx) error { return byFloat(c, 0, mvn[float32], mvn[float64]) },
		},
	}
}

func lrn[T realElem](c *ir.EvalCtx) error {
	a, x := c.Attrs.(*LRNAttrs), c.In(0)
	if a.Size < 1 {
		return fmt.Errorf("%w: size %d", ir.ErrAttr, a.Size)
	}
	if err := tensorRank("the input", x, 2, -1); err != nil {
		return err
	}
	v, err := reals[T](x)
	if err != nil {
		return err
	}
	out, err := outReals[T](c, 0, x.DType(), x.Shape()...)
	if err != nil {
		return err
	}
	n, ch, inner := channels(x.Shape())
	size := int(min(a.Size, windowLimit))
	before, after := (size-1)/2, size-1-(size-1)/2
	for s := range n {
		for k := range ch {
			lo, hi := max(0, k-before), min(ch-1, k+after)
			for i := range inner {
				var sq float64
				for j := lo; j <= hi; j++ {
					e := float64(v[(s*ch+j)*inner+i])
					sq += e * e
				}
				at := (s*ch+k)*inner + i
				out.V[at] = T(float64(v[at]) / math.Pow(float64(a.Bias)+float64(a.Alpha)/float64(a.Size)*sq, float64(a.Beta)))
			}
		}
	}
	out.Store()
	return nil
}

func lpNorm[T realElem](c *ir.EvalCtx) error {
	a, x := c.Attrs.(*LpNormAttrs), c.In(0)
	axis, err := normAxis(a.Axis, x.Rank())
	if err != nil {
		return err
	}
	if a.P != 1 && a.P != 2 {
		return fmt.Errorf("%w: p %d, want 1 or 2", ir.ErrAttr, a.P)
	}
	v, err := reals[T](x)
	if err != nil {
		return err
	}
	out, err := outReals[T](c, 0, x.DType(), x.Shape()...)
	if err != nil {
		return err
	}
	outer, n, inner := splitAt(x.Shape(), axis)
	for o := range outer {
		for i := range inner {
			base := o*n*inner + i
			var norm float64
			for j := range n {
				e := math.Abs(float64(v[base+j*inner]))
				if a.P == 2 {
					e *= e
				}
				norm += e
			}
			if a.P == 2 {
				norm = math.Sqrt(norm)
			}
			for j := range n {
				at := base + j*inner
				if norm == 0 { // the operator defines 0 for a zero vector
					out.V[at] = 0
				} else {
					out.V[at] = T(float64(v[at]) / norm)
				}
			}
		}
	}
	out.Store()
	return nil
}

func mvn[T realElem](c *ir.EvalCtx) error {
	x := c.In(0)
	over := make([]bool, x.Rank())
	for _, ax := range c.Attrs.(*MVNAttrs).Axes {
		i, err := normAxis(ax, x.Rank())
		if err != nil {
			return err
		}
		over[i] = true
	}
	v, err := reals[T](x)
	if err != nil {
		return err
	}
	out, err := outReals[T](c, 0, x.DType(), x.Shape()...)
	if err != nil {
		return err
	}
	// Each element is sent to the cell of its kept axes.
	cells := append([]int(nil), x.Shape()...)
	for i := range cells {
		if over[i] {
			cells[i] = 1
		}
	}
	strides := [][]int{broadcastStrides(cells, x.Shape())}
	n := tensor.NumElems(cells)
	sum, sq, count := make([]float64, n), make([]float64, n), make([]float64, n)
	eachIndex(x.Shape(), strides, func(i int, o []int) {
		sum[o[0]] += float64(v[i])
		count[o[0]]++
	})
	eachIndex(x.Shape(), strides, func(i int, o []int) {
		d := float64(v[i]) - sum[o[0]]/count[o[0]]
		sq[o[0]] += d * d
	})
	eachIndex(x.Shape(), strides, func(i int, o []int) {
		cell := o[0]
		// The operator's function body adds 1e-9 to the deviation, not to the variance.
		out.V[i] = T((float64(v[i]) - sum[cell]/count[cell]) / (math.Sqrt(sq[cell]/count[cell]) + 1e-9))
	})
	out.Store()
	return nil
}
