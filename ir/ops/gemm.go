package ops

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// GemmAttrs are the parameters of alpha*A'*B' + beta*C, where ' is an optional transpose.
type GemmAttrs struct {
	Alpha  float32 `attr:"alpha"`
	Beta   float32 `attr:"beta"`
	TransA bool    `attr:"transA"`
	TransB bool    `attr:"transB"`
}

func gemmOps() []*ir.Op {
	return []*ir.Op{typed(&ir.Op{
		Name: "Gemm", Since: 13, Doc: "alpha*A*B + beta*C of matrices, A and B transposed on request, C broadcast.",
		Attrs: func() any { return &GemmAttrs{Alpha: 1, Beta: 1} },
		MinIn: 2, MaxIn: 3, MinOut: 1, MaxOut: 1,
		Infer: inferGemm,
		Eval:  halfViaF32(evalGemm),
		Cost: func(c *ir.CostCtx) ir.Cost {
			cost := costBytes(c)
			if a, ok := c.Ins[0].Static(); ok && len(a) == 2 {
				k := a[1]
				if c.Attrs.(*GemmAttrs).TransA {
					k = a[0]
				}
				if z, ok := c.Outs[0].Static(); ok {
					cost.FLOPs = 2 * int64(tensor.NumElems(z)) * int64(k)
				}
			}
			return cost
		},
	}, floatTypes|wideInts)}
}

func inferGemm(c *ir.InferCtx) error {
	g := c.Attrs.(*GemmAttrs)
	dt, err := inferSameTypes(c, 0, 1, 2)
	if err != nil {
		return err
	}
	a, b := c.In(0), c.In(1)
	for i, t := range []ir.Type{a, b} {
		if t.Ranked && len(t.Shape) != 2 {
			return fmt.Errorf("%w: input %d is %s, not a matrix", ir.ErrShape, i, t)
		}
	}
	m, ka, kb, n := ir.Unknown(), ir.Unknown(), ir.Unknown(), ir.Unknown()
	if a.Ranked {
		m, ka = a.Shape[0], a.Shape[1]
		if g.TransA {
			m, ka = ka, m
		}
	}
	if b.Ranked {
		kb, n = b.Shape[0], b.Shape[1]
		if g.TransB {
			kb, n = n, kb
		}
	}
	if !dimsMayEqual(ka, kb) {
		return fmt.Errorf("%w: %s times %s (%s is not %s)", ir.ErrShape, a, b, ka, kb)
	}
	if bias := c.In(2); c.Has(2) && bias.Ranked {
		out := []ir.Dim{m, n}
		if len(bias.Shape) > 2 {
			return fmt.Errorf("%w: bias %s does not broadcast to %v", ir.ErrShape, bias, out)
		}
		for i, d := range bias.Shape {
			e := out[2-len(bias.Shape)+i]
			if d.IsKnown() && d.Size != 1 && !dimsMayEqual(d, e) {
				return fmt.Errorf("%w: bias %s does not broadcast to %v", ir.ErrShape, bias, out)
			}
		}
	}
	c.SetOut(0, ir.MakeType(dt, m, n))
	return nil
}

func evalGemm(c *ir.EvalCtx) error {
	if err := sameTypes(c, 0, 1, 2); err != nil {
		return err
	}
	switch dt := c.In(0).DType(); dt {
	case tensor.F32:
		return gemmAs[float32](c)
	case tensor.F64:
		return gemmAs[float64](c)
	case tensor.I32:
		return gemmAs[int32](c)
	case tensor.I64:
		return gemmAs[int64](c)
	case tensor.U32:
		return gemmAs[uint32](c)
	case tensor.U64:
		return gemmAs[uint64](c)
	default:
		return badType(dt)
	}
}

func gemmAs[T numberElem](c *ir.EvalCtx) error {
	g := c.Attrs.(*GemmAttrs)
	at, bt := c.In(0), c.In(1)
	if at.Rank() != 2 || bt.Rank() != 2 {
		return fmt.Errorf("%w: %s times %s: not matrices", ir.ErrShape, at, bt)
	}
	a, b := tensor.Data[T](at), tensor.Data[T](bt)
	m, k, kb, n := at.Shape()[0], at.Shape()[1], bt.Shape()[0], bt.Shape()[1]
	if g.TransA {
		m, k, a = k, m, transposed(a, m, k)
	}
	if g.TransB {
		kb, n, b = n, kb, transposed(b, kb, n)
	}
	if k != kb {
		return fmt.Errorf("%w: %s times %s (%d is not %d)", ir.ErrShape, at, bt, k, kb)
	}
	bias := c.In(2)
	if bias != nil {
		if err := stretchesTo(bias.Shape(), []int{m, n}); err != nil {
			return err
		}
	}
	out, err := c.Out(0, at.DType(), m, n)
	if err != nil {
		return err
	}
	z := tensor.Data[T](out)
	matMul(z, a, b, m, k, n)
	if g.Alpha != 1 {
		for i, v := range z {
			z[i] = scaled(v, g.Alpha)
		}
	}
	if bias != nil {
		zip(out.Shape(), z, out.Shape(), tensor.Data[T](bias), bias.Shape(), z, func(x, y T) T {
			if g.Beta == 1 {
				return x + y
			}
			return x + scaled(y, g.Beta)
		})
	}
	return nil
}

// scaled multiplies in float64, which holds every product of two float32.
func scaled[T number](v T, by float32) T {
	if by == 1 {
		return v
	}
	return T(float64(v) * float64(by))
}

// transposed is the [c,r] transpose of an [r,c] matrix.
func transposed[T any](x []T, r, c int) []T {
	z := make([]T, len(x))
	for i := range r {
		for j := range c {
			z[j*r+i] = x[i*c+j]
		}
	}
	return z
}
