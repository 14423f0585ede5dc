package ops

import (
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// optionalOps are the operators on optional values as far as these are plain tensors or
// nothing at all: how exporters write optional inputs.
func optionalOps() []*ir.Op {
	return []*ir.Op{
		{
			Name: "OptionalHasElement", Since: 18, Doc: "Whether a value is there.",
			MinIn: 0, MaxIn: 1, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error { c.SetOut(0, ir.MakeType(tensor.Bool)); return nil },
			Eval: func(c *ir.EvalCtx) error {
				out, err := c.Out(0, tensor.Bool)
				if err != nil {
					return err
				}
				tensor.Data[bool](out)[0] = c.Has(0)
				return nil
			},
		},
		{
			Name: "OptionalGetElement", Since: 18, Doc: "The value itself.",
			MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error { c.SetOut(0, c.In(0)); return nil },
			Eval: func(c *ir.EvalCtx) error {
				if err := need(c, 0); err != nil {
					return err
				}
				c.Set(0, c.In(0))
				return nil
			},
		},
	}
}
