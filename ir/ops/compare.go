package ops

import (
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// relationOp is a comparison of two broadcast inputs of one type.
func relationOp(name string, since int, doc string, k predicate) *ir.Op {
	return typed(&ir.Op{
		Name: name, Since: since, Doc: doc,
		MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
		Infer: func(c *ir.InferCtx) error {
			if err := inferRelation(c); err != nil {
				return err
			}
			zipContents(c, orderContent(k.i))
			return nil
		},
		Eval: halfViaF32(func(c *ir.EvalCtx) error { return evalRelation(c, k) }),
	}, numberTypes)
}

// inferRelation: the inputs have one type; the output is a bool of their broadcast shape.
func inferRelation(c *ir.InferCtx) error {
	if _, err := inferSameTypes(c, 0, 1); err != nil {
		return err
	}
	return inferBroadcastTo(c, tensor.Bool)
}

func compareOps() []*ir.Op {
	return []*ir.Op{
		relationOp("Less", 13, "a < b.", predicate{
			func(a, b float64) bool { return a < b },
			func(a, b int64) bool { return a < b },
			func(a, b uint64) bool { return a < b },
		}),
		relationOp("LessOrEqual", 16, "a <= b.", predicate{
			func(a, b float64) bool { return a <= b },
			func(a, b int64) bool { return a <= b },
			func(a, b uint64) bool { return a <= b },
		}),
		relationOp("Greater", 13, "a > b.", predicate{
			func(a, b float64) bool { return a > b },
			func(a, b int64) bool { return a > b },
			func(a, b uint64) bool { return a > b },
		}),
		relationOp("GreaterOrEqual", 16, "a >= b.", predicate{
			func(a, b float64) bool { return a >= b },
			func(a, b int64) bool { return a >= b },
			func(a, b uint64) bool { return a >= b },
		}),
		equalOp(),
		logicOp("And", "a and b.", func(a, b bool) bool { return a && b }),
		logicOp("Or", "a or b.", func(a, b bool) bool { return a || b }),
		logicOp("Xor", "Exactly one of a and b.", func(a, b bool) bool { return a != b }),
		notOp(),
	}
}

func equalOp() *ir.Op {
	return typed(&ir.Op{
		Name: "Equal", Since: 19, Doc: "a == b.",
		MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
		Infer: func(c *ir.InferCtx) error {
			if err := inferRelation(c); err != nil {
				return err
			}
			zipContents(c, equalContent)
			return nil
		},
		Eval: halfViaF32(func(c *ir.EvalCtx) error {
			switch c.In(0).DType() {
			case tensor.Bool:
				return evalBools(c, func(a, b bool) bool { return a == b })
			case tensor.String:
				return evalEqualStrings(c)
			}
			return evalRelation(c, predicate{
				func(a, b float64) bool { return a == b },
				func(a, b int64) bool { return a == b },
				func(a, b uint64) bool { return a == b },
			})
		}),
	}, numberTypes|boolType|stringType)
}

func evalEqualStrings(c *ir.EvalCtx) error {
	a, b := c.In(0), c.In(1)
	if err := sameTypes(c, 0, 1); err != nil {
		return err
	}
	shape, err := BroadcastShapes(a.Shape(), b.Shape())
	if err != nil {
		return err
	}
	out, err := c.Out(0, tensor.Bool, shape...)
	if err != nil {
		return err
	}
	zip(shape, a.Strings(), a.Shape(), b.Strings(), b.Shape(), tensor.Data[bool](out), func(x, y string) bool { return x == y })
	return nil
}

func logicOp(name, doc string, f func(a, b bool) bool) *ir.Op {
	return typed(&ir.Op{
		Name: name, Since: 7, Doc: doc,
		MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
		Infer: func(c *ir.InferCtx) error {
			if err := inferRelation(c); err != nil {
				return err
			}
			zipContents(c, func(a, b content) content {
				if !a.exact || !b.exact {
					return unknownContent
				}
				return boolContent(f(a.dim.Size != 0, b.dim.Size != 0))
			})
			return nil
		},
		Eval: func(c *ir.EvalCtx) error { return evalBools(c, f) },
	}, boolType)
}

// evalBools applies f to the broadcast elements of two bool inputs.
func evalBools(c *ir.EvalCtx, f func(a, b bool) bool) error {
	if err := sameTypes(c, 0, 1); err != nil {
		return err
	}
	a, b := c.In(0), c.In(1)
	shape, err := BroadcastShapes(a.Shape(), b.Shape())
	if err != nil {
		return err
	}
	out, err := c.Out(0, tensor.Bool, shape...)
	if err != nil {
		return err
	}
	zip(shape, tensor.Data[bool](a), a.Shape(), tensor.Data[bool](b), b.Shape(), tensor.Data[bool](out), f)
	return nil
}

func notOp() *ir.Op {
	return typed(&ir.Op{
		Name: "Not", Since: 1, Doc: "The opposite truth value.",
		MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
		Infer: func(c *ir.InferCtx) error {
			c.SetOut(0, c.In(0))
			if v, ok := contents(c, 0); ok {
				for i, x := range v {
					if x.exact {
						v[i] = boolContent(x.dim.Size == 0)
					}
				}
				setContents(c, 0, v)
			}
			return nil
		},
		Eval: func(c *ir.EvalCtx) error {
			out, err := c.Out(0, tensor.Bool, c.In(0).Shape()...)
			if err != nil {
				return err
			}
			z := tensor.Data[bool](out)
			for i, v := range tensor.Data[bool](c.In(0)) {
				z[i] = !v
			}
			return nil
		},
	}, boolType)
}
