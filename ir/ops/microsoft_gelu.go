package ops

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// microsoftGeluOps are onnxruntime's Gelus, the optional bias added first.
func microsoftGeluOps() []*ir.Op {
	return []*ir.Op{
		biasedGelu("Gelu", "Gelu by the error function.", 1, 1, gelu),
		biasedGelu("BiasGelu", "Gelu by the error function, of the input plus a bias.", 2, 2, gelu),
		biasedGelu("FastGelu", "Gelu by tanh, of the input plus an optional bias.", 1, 2, geluTanh),
	}
}

func biasedGelu(name, doc string, minIn, maxIn int, f func(float64) float64) *ir.Op {
	return typed(&ir.Op{
		Domain: ir.DomainMicrosoft, Name: name, Since: 1, Doc: doc,
		MinIn: minIn, MaxIn: maxIn, MinOut: 1, MaxOut: 1,
		Infer: func(c *ir.InferCtx) error {
			if c.Has(1) {
				return inferSlope(c)
			}
			return inferSame(c)
		},
		Eval: halfViaF32(func(c *ir.EvalCtx) error {
			bias := c.In(1)
			if bias == nil {
				return evalUnary(c, unaryFormula{f: f})
			}
			if bias.Rank() != 1 {
				return fmt.Errorf("%w: bias %s, want a vector", ir.ErrShape, bias)
			}
			if err := stretchesTo(bias.Shape(), c.In(0).Shape()); err != nil {
				return err
			}
			return evalBinary(c, binaryFormula{f: func(x, b float64) float64 { return f(x + b) }})
		}),
		Cost: func(c *ir.CostCtx) ir.Cost {
			cost := costBytes(c)
			if s, ok := c.Outs[0].Static(); ok {
				cost.FLOPs = 8 * int64(tensor.NumElems(s))
			}
			return cost
		},
	}, floatTypes)
}
