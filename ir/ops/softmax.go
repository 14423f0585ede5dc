package ops

import (
	"math"

	"github.com/seed-c851cfd2/moec/ir"
)

// SoftmaxAttrs are the attributes of Softmax, LogSoftmax and Hardmax.
type SoftmaxAttrs struct {
	Axis int64 `attr:"axis"`
}

func softmaxOps() []*ir.Op {
	op := func(name, doc string, f func(row []float64)) *ir.Op {
		return &ir.Op{
			Name: name, Since: 13, Doc: doc, Attrs: func() any { return &SoftmaxAttrs{Axis: -1} },
			MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error {
				if x := c.In(0); x.Ranked {
					if _, err := normAxis(c.Attrs.(*SoftmaxAttrs).Axis, x.Rank()); err != nil {
						return err
					}
				}
				return inferFloatSame(c)
			},
			Eval: func(c *ir.EvalCtx) error {
				return byFloat(c, 0, alongAxis[float32](f), alongAxis[float64](f))
			},
			Cost: func(c *ir.CostCtx) ir.Cost {
				return ir.Cost{FLOPs: 12 * knownElems(c.Ins[0]), Bytes: movedBytes(c.Ins, c.Outs)}
			},
		}
	}
	return []*ir.Op{
		op("Softmax", "exp(x) divided by its sum along an axis.", softmaxRow),
		op("LogSoftmax", "Logarithm of Softmax, computed without the overflow.", logSoftmaxRow),
		op("Hardmax", "1 at the first maximum along an axis, 0 elsewhere.", hardmaxRow),
	}
}

// alongAxis applies f to every line along the axis attribute.
func alongAxis[T realElem](f func(row []float64)) func(*ir.EvalCtx) error {
	return func(c *ir.EvalCtx) error {
		x := c.In(0)
		axis, err := normAxis(c.Attrs.(*SoftmaxAttrs).Axis, x.Rank())
		if err != nil {
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
		outer, n, inner := splitAt(x.Shape(), axis)
		row := make([]float64, n)
		for o := range outer {
			for i := range inner {
				base := o*n*inner + i
				for j := range row {
					row[j] = float64(v[base+j*inner])
				}
				f(row)
				for j, e := range row {
					out.V[base+j*inner] = T(e)
				}
			}
		}
		out.Store()
		return nil
	}
}

func maxOf(row []float64) float64 {
	m := math.Inf(-1)
	for _, x := range row {
		m = math.Max(m, x)
	}
	return m
}

// softmaxRow of a row that is -Inf throughout is NaN, as IEEE arithmetic has it.
func softmaxRow(row []float64) {
	m, sum := maxOf(row), 0.0
	for i, x := range row {
		row[i] = math.Exp(x - m)
		sum += row[i]
	}
	for i := range row {
		row[i] /= sum
	}
}

func logSoftmaxRow(row []float64) {
	m, sum := maxOf(row), 0.0
	for _, x := range row {
		sum += math.Exp(x - m)
	}
	l := math.Log(sum)
	for i, x := range row {
		row[i] = x - m - l
	}
}

func hardmaxRow(row []float64) {
	best := 0
	for i, x := range row {
		if x > row[best] {
			best = i
		}
	}
	for i := range row {
		row[i] = 0
	}
	if len(row) > 0 {
		row[best] = 1
	}
}
