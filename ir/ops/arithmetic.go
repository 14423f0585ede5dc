package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
)

// binaryOp is an op of two broadcast inputs of one type, whose output has it too.
func binaryOp(name string, since int, doc string, types typeSet, k binaryFormula, content func(a, b content) content) *ir.Op {
	return typed(&ir.Op{
		Name: name, Since: since, Doc: doc,
		MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
		Infer: func(c *ir.InferCtx) error {
			if err := inferBroadcast(c); err != nil {
				return err
			}
			if content != nil {
				zipContents(c, content)
			}
			return nil
		},
		Eval: halfViaF32(func(c *ir.EvalCtx) error { return evalBinary(c, k) }),
	}, types)
}

// ModAttrs say which remainder Mod computes: with FMod the sign of the dividend.
type ModAttrs struct {
	FMod bool `attr:"fmod"`
}

func arithmeticOps() []*ir.Op {
	return []*ir.Op{
		binaryOp("Add", 14, "Sum of two broadcast tensors.", numberTypes, binaryFormula{
			func(a, b float64) float64 { return a + b },
			func(a, b int64) int64 { return a + b },
			func(a, b uint64) uint64 { return a + b },
		}, addContent),
		binaryOp("Sub", 14, "Difference of two broadcast tensors.", numberTypes, binaryFormula{
			func(a, b float64) float64 { return a - b },
			func(a, b int64) int64 { return a - b },
			func(a, b uint64) uint64 { return a - b },
		}, subContent),
		binaryOp("Mul", 14, "Product of two broadcast tensors.", numberTypes, binaryFormula{
			func(a, b float64) float64 { return a * b },
			func(a, b int64) int64 { return a * b },
			func(a, b uint64) uint64 { return a * b },
		}, mulContent),
		divOp(), modOp(), powOp(),
	}
}

func divOp() *ir.Op {
	return typed(&ir.Op{
		Name: "Div", Since: 14, Doc: "Quotient of two broadcast tensors; integers truncate towards zero.",
		MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
		Infer: func(c *ir.InferCtx) error {
			if err := inferBroadcast(c); err != nil {
				return err
			}
			zipContents(c, divContent(c.In(0).DType.IsFloat()))
			return nil
		},
		Eval: halfViaF32(func(c *ir.EvalCtx) error {
			if err := noZeroDivisor(c); err != nil {
				return err
			}
			return evalBinary(c, binaryFormula{
				func(a, b float64) float64 { return a / b },
				func(a, b int64) int64 { return a / b },
				func(a, b uint64) uint64 { return a / b },
			})
		}),
	}, numberTypes)
}

// noZeroDivisor reports an integer zero among the divisors, for which there is no
// quotient and no remainder.
func noZeroDivisor(c *ir.EvalCtx) error {
	b := c.In(1)
	if !b.DType().IsInt() || c.In(0).Len() == 0 {
		return nil
	}
	v, err := b.Int64s()
	if err != nil {
		return err
	}
	for i, x := range v {
		if x == 0 {
			return fmt.Errorf("%w: integer division by zero (element %d of the divisor)", ir.ErrInput, i)
		}
	}
	return nil
}

func modOp() *ir.Op {
	return typed(&ir.Op{
		Name: "Mod", Since: 28, Doc: "Remainder of two broadcast tensors: of floored division, or of truncated with fmod.",
		Attrs: func() any { return &ModAttrs{} },
		MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
		Infer: func(c *ir.InferCtx) error {
			if err := inferBroadcast(c); err != nil {
				return err
			}
			zipContents(c, modContent)
			return nil
		},
		Eval: halfViaF32(func(c *ir.EvalCtx) error {
			if err := noZeroDivisor(c); err != nil {
				return err
			}
			k := binaryFormula{floorMod, floorModInt, func(a, b uint64) uint64 { return a % b }}
			if c.Attrs.(*ModAttrs).FMod {
				k.f = math.Mod
				k.i = func(a, b int64) int64 { return a % b }
			}
			return evalBinary(c, k)
		}),
	}, numberTypes)
}

// floorMod has the sign of b, zeros included, as Python's % has.
func floorMod(a, b float64) float64 {
	m := math.Mod(a, b)
	switch {
	case m == 0:
		return math.Copysign(0, b)
	case (m < 0) != (b < 0):
		if math.IsInf(b, 0) {
			return b
		}
		return m + b
	}
	return m
}

func floorModInt(a, b int64) int64 {
	m := a % b
	if m != 0 && (m < 0) != (b < 0) {
		m += b
	}
	return m
}

func powOp() *ir.Op {
	return typed(&ir.Op{
		Name: "Pow", Since: 15, Doc: "Input 0 to the power of input 1, broadcast; the result has input 0's type.",
		MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
		Infer: func(c *ir.InferCtx) error { return inferBroadcastTo(c, c.In(0).DType) },
		Eval:  evalPow,
	}, floatTypes|indexTypes, numberTypes)
}

func evalPow(c *ir.EvalCtx) error {
	a, b := c.In(0), c.In(1)
	shape, err := BroadcastShapes(a.Shape(), b.Shape())
	if err != nil {
		return err
	}
	out, err := c.Out(0, a.DType(), shape...)
	if err != nil {
		return err
	}
	if a.DType().IsInt() && b.DType().IsInt() {
		// Whole powers of whole numbers are exact and wrap, as multiplication does.
		x, err := a.Int64s()
		if err != nil {
			return err
		}
		y, err := b.Int64s()
		if err != nil {
			return err
		}
		z := make([]int64, out.Len())
		zip(shape, x, a.Shape(), y, b.Shape(), z, powInt)
		return storeInts(out, z)
	}
	x, err := floatsOf(a)
	if err != nil {
		return err
	}
	y, err := floatsOf(b)
	if err != nil {
		return err
	}
	z := make([]float64, out.Len())
	zip(shape, x, a.Shape(), y, b.Shape(), z, math.Pow)
	return storeFloats(out, z, true)
}

func powInt(x, n int64) int64 {
	if n < 0 {
		switch {
		case x == 1, x == -1 && n%2 == 0:
			return 1
		case x == -1:
			return -1
		}
		return 0
	}
	p := int64(1)
	for ; n > 0; n >>= 1 {
		if n&1 == 1 {
			p *= x
		}
		x *= x
	}
	return p
}
