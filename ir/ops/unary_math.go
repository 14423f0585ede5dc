package ops

import (
	"cmp"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// unaryOp is an op of one input whose output has the input's type.
func unaryOp(name string, since int, doc string, types typeSet, k unaryFormula) *ir.Op {
	return typed(&ir.Op{
		Name: name, Since: since, Doc: doc,
		MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
		Infer: inferSame,
		Eval:  halfViaF32(func(c *ir.EvalCtx) error { return evalUnary(c, k) }),
	}, types)
}

// integralOp is unaryOp for ops that keep whole numbers as they are.
func integralOp(name string, since int, doc string, f func(float64) float64) *ir.Op {
	op := unaryOp(name, since, doc, floatTypes, unaryFormula{f: f})
	op.Infer = func(c *ir.InferCtx) error { return inferSameContents(c) }
	return op
}

func unaryMathOps() []*ir.Op {
	float := func(name string, since int, doc string, f func(float64) float64) *ir.Op {
		return unaryOp(name, since, doc, floatTypes, unaryFormula{f: f})
	}
	return []*ir.Op{
		unaryOp("Abs", 13, "Absolute value.", numberTypes, unaryFormula{math.Abs, absInt, func(v uint64) uint64 { return v }}),
		unaryOp("Neg", 13, "The number with its sign changed.", floatTypes|signedTypes,
			unaryFormula{f: func(v float64) float64 { return -v }, i: func(v int64) int64 { return -v }}),
		unaryOp("Sign", 13, "-1, 0 or 1 by sign; NaN stays.", numberTypes, unaryFormula{signFloat, signInt, signUint}),
		integralOp("Ceil", 13, "Rounds up to a whole number.", math.Ceil),
		integralOp("Floor", 13, "Rounds down to a whole number.", math.Floor),
		integralOp("Round", 22, "Rounds to the nearest whole number, halves to even.", math.RoundToEven),
		float("Sqrt", 13, "Square root; NaN below zero.", math.Sqrt),
		float("Reciprocal", 13, "1/x.", func(v float64) float64 { return 1 / v }),
		float("Exp", 13, "e to the x.", math.Exp),
		float("Log", 13, "Natural logarithm.", math.Log),
		float("Erf", 13, "The error function.", math.Erf),
		float("Sin", 22, "Sine of an angle in radians.", math.Sin),
		float("Cos", 22, "Cosine of an angle in radians.", math.Cos),
		float("Tan", 22, "Tangent of an angle in radians.", math.Tan),
		float("Asin", 22, "Inverse sine in radians.", math.Asin),
		float("Acos", 22, "Inverse cosine in radians.", math.Acos),
		float("Atan", 22, "Inverse tangent in radians.", math.Atan),
		float("Sinh", 22, "Hyperbolic sine.", math.Sinh),
		float("Cosh", 22, "Hyperbolic cosine.", math.Cosh),
		float("Tanh", 13, "Hyperbolic tangent.", math.Tanh),
		float("Asinh", 22, "Inverse hyperbolic sine.", math.Asinh),
		float("Acosh", 22, "Inverse hyperbolic cosine.", math.Acosh),
		float("Atanh", 22, "Inverse hyperbolic tangent.", math.Atanh),
		isNaNOp(), isInfOp(),
	}
}

func absInt(v int64) int64 {
	if v < 0 {
		return -v
	}
	return v
}

func signFloat(v float64) float64 {
	switch {
	case v > 0:
		return 1
	case v < 0:
		return -1
	}
	return v // zero, or NaN
}

func signInt(v int64) int64 { return int64(cmp.Compare(v, 0)) }

func signUint(v uint64) uint64 { return min(v, 1) }

func isNaNOp() *ir.Op {
	return typed(&ir.Op{
		Name: "IsNaN", Since: 20, Doc: "Which elements are not numbers.",
		MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
		Infer: inferBool,
		Eval:  func(c *ir.EvalCtx) error { return evalTest(c, math.IsNaN) },
	}, floatTypes|float8Types)
}

type isInfAttrs struct {
	DetectNegative bool `attr:"detect_negative"`
	DetectPositive bool `attr:"detect_positive"`
}

func isInfOp() *ir.Op {
	return typed(&ir.Op{
		Name: "IsInf", Since: 20, Doc: "Which elements are infinite.",
		Attrs: func() any { return &isInfAttrs{true, true} },
		MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
		Infer: inferBool,
		Eval: func(c *ir.EvalCtx) error {
			a := c.Attrs.(*isInfAttrs)
			return evalTest(c, func(v float64) bool {
				return a.DetectPositive && math.IsInf(v, 1) || a.DetectNegative && math.IsInf(v, -1)
			})
		},
	}, floatTypes|float8Types)
}

// inferBool: a bool of input 0's shape.
func inferBool(c *ir.InferCtx) error {
	t := c.In(0)
	t.DType = tensor.Bool
	c.SetOut(0, t)
	return nil
}

// evalTest writes a property of each float element of input 0 to a bool output.
func evalTest(c *ir.EvalCtx, holds func(float64) bool) error {
	v, err := floatsOf(c.In(0))
	if err != nil {
		return err
	}
	out, err := c.Out(0, tensor.Bool, c.In(0).Shape()...)
	if err != nil {
		return err
	}
	z := tensor.Data[bool](out)
	for i, x := range v {
		z[i] = holds(x)
	}
	return nil
}
