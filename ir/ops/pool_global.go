package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// GlobalLpPoolAttrs are the attributes of GlobalLpPool.
type GlobalLpPoolAttrs struct {
	P int64 `attr:"p"`
}

func globalPoolOps() []*ir.Op {
	op := func(name, doc string, attrs func() any, f func(c *ir.EvalCtx, x []float64) float64) *ir.Op {
		return &ir.Op{
			Name: name, Since: 22, Doc: doc, Attrs: attrs,
			MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1, Infer: inferGlobalPool,
			Eval: func(c *ir.EvalCtx) error { return evalGlobalPool(c, f) },
			Cost: func(c *ir.CostCtx) ir.Cost {
				return ir.Cost{FLOPs: movedBytes(c.Ins) / 4, Bytes: movedBytes(c.Ins, c.Outs)}
			},
		}
	}
	return []*ir.Op{
		op("GlobalAveragePool", "Mean over all spatial positions.", nil, func(_ *ir.EvalCtx, x []float64) float64 {
			var s float64
			for _, v := range x {
				s += v
			}
			return s / float64(len(x))
		}),
		op("GlobalMaxPool", "Maximum over all spatial positions.", nil, func(_ *ir.EvalCtx, x []float64) float64 {
			m := math.Inf(-1)
			for _, v := range x {
				m = math.Max(m, v)
			}
			return m
		}),
		op("GlobalLpPool", "p-norm over all spatial positions.", func() any { return &GlobalLpPoolAttrs{P: 2} },
			func(c *ir.EvalCtx, x []float64) float64 {
				p, s := float64(c.Attrs.(*GlobalLpPoolAttrs).P), 0.0
				for _, v := range x {
					s += math.Pow(math.Abs(v), p)
				}
				return math.Pow(s, 1/p)
			}),
	}
}

func inferGlobalPool(c *ir.InferCtx) error {
	x := c.In(0)
	if err := wantFloat(c, 0); err != nil {
		return err
	}
	if err := wantRank("the input", x, 2, -1); err != nil {
		return err
	}
	if !x.Ranked {
		c.SetOut(0, ir.Unranked(x.DType))
		return nil
	}
	out := append([]ir.Dim(nil), x.Shape...)
	for i := 2; i < len(out); i++ {
		out[i] = ir.Known(1)
	}
	c.SetOut(0, ir.MakeType(x.DType, out...))
	return nil
}

func evalGlobalPool(c *ir.EvalCtx, f func(c *ir.EvalCtx, x []float64) float64) error {
	if err := need(c, 0); err != nil {
		return err
	}
	x := c.In(0)
	if err := tensorRank("the input", x, 2, -1); err != nil {
		return err
	}
	if a, ok := c.Attrs.(*GlobalLpPoolAttrs); ok && a.P < 1 {
		return fmt.Errorf("%w: p %d", ir.ErrAttr, a.P)
	}
	v, err := reals[float64](x)
	if err != nil {
		return err
	}
	shape := append([]int(nil), x.Shape()...)
	n := tensor.NumElems(shape[2:])
	for i := 2; i < len(shape); i++ {
		shape[i] = 1
	}
	out, err := outReals[float64](c, 0, x.DType(), shape...)
	if err != nil {
		return err
	}
	for i := range out.V {
		out.V[i] = f(c, v[i*n:(i+1)*n])
	}
	out.Store()
	return nil
}
