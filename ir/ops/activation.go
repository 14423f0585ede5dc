package ops

import (
	"fmt"
	"math"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
)

// activationOp is a float function of one element with parameters of type A.
func activationOp[A any](domain, name string, since int, doc string, defaults A, f func(a *A) func(float64) float64) *ir.Op {
	return typed(&ir.Op{
		Domain: domain, Name: name, Since: since, Doc: doc,
		Attrs: func() any { d := defaults; return &d },
		MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
		Infer: inferSame,
		Eval: halfViaF32(func(c *ir.EvalCtx) error {
			return evalUnary(c, unaryFormula{f: f(c.Attrs.(*A))})
		}),
	}, floatTypes)
}

type alphaAttrs struct {
	Alpha float32 `attr:"alpha"`
}

type seluAttrs struct {
	Alpha float32 `attr:"alpha"`
	Gamma float32 `attr:"gamma"`
}

type hardSigmoidAttrs struct {
	Alpha float32 `attr:"alpha"`
	Beta  float32 `attr:"beta"`
}

// GeluAttrs say which form of Gelu a node computes: Approximate is "none" or "tanh".
type GeluAttrs struct {
	Approximate string `attr:"approximate"`
}

type shrinkAttrs struct {
	Lambd float32 `attr:"lambd"`
	Bias  float32 `attr:"bias"`
}

func activationOps() []*ir.Op {
	plain := func(name string, since int, doc string, f func(float64) float64) *ir.Op {
		return unaryOp(name, since, doc, floatTypes, unaryFormula{f: f})
	}
	return []*ir.Op{
		unaryOp("Relu", 14, "max(x, 0).", floatTypes|signedTypes, unaryFormula{
			f: relu, i: func(v int64) int64 { return max(v, 0) },
		}),
		plain("Sigmoid", 13, "1/(1+exp(-x)).", sigmoid),
		plain("Softplus", 22, "log(1+exp(x)).", softplus),
		plain("Softsign", 22, "x/(1+|x|).", func(v float64) float64 { return v / (1 + math.Abs(v)) }),
		plain("Mish", 22, "x*tanh(softplus(x)).", func(v float64) float64 { return v * math.Tanh(softplus(v)) }),
		plain("HardSwish", 22, "x*max(0, min(1, x/6+0.5)).", func(v float64) float64 {
			return v * max(0, min(1, v/6+0.5))
		}),
		activationOp("", "LeakyRelu", 16, "x, or alpha*x below zero.", alphaAttrs{0.01}, func(a *alphaAttrs) func(float64) float64 {
			return func(v float64) float64 {
				if v < 0 {
					return float64(a.Alpha) * v
				}
				return v
			}
		}),
		activationOp("", "Elu", 22, "x, or alpha*(exp(x)-1) below zero.", alphaAttrs{1}, func(a *alphaAttrs) func(float64) float64 {
			return func(v float64) float64 {
				if v < 0 {
					return float64(a.Alpha) * math.Expm1(v)
				}
				return v
			}
		}),
		activationOp("", "Celu", 28, "max(0,x)+min(0, alpha*(exp(x/alpha)-1)).", alphaAttrs{1}, func(a *alphaAttrs) func(float64) float64 {
			return func(v float64) float64 {
				return max(0, v) + min(0, float64(a.Alpha)*math.Expm1(v/float64(a.Alpha)))
			}
		}),
		activationOp("", "Selu", 22, "gamma*x, or gamma*alpha*(exp(x)-1) below zero.",
			seluAttrs{1.67326319217681884765625, 1.05070102214813232421875}, func(a *seluAttrs) func(float64) float64 {
				return func(v float64) float64 {
					if v <= 0 {
						return float64(a.Gamma) * float64(a.Alpha) * math.Expm1(v)
					}
					return float64(a.Gamma) * v
				}
			}),
		activationOp("", "HardSigmoid", 22, "max(0, min(1, alpha*x+beta)).", hardSigmoidAttrs{0.2, 0.5},
			func(a *hardSigmoidAttrs) func(float64) float64 {
				return func(v float64) float64 { return max(0, min(1, float64(a.Alpha)*v+float64(a.Beta))) }
			}),
		activationOp("", "ThresholdedRelu", 22, "x above alpha, else zero.", alphaAttrs{1}, func(a *alphaAttrs) func(float64) float64 {
			return func(v float64) float64 {
				if v > float64(a.Alpha) {
					return v
				}
				return 0
			}
		}),
		activationOp("", "Gelu", 20, "x times the normal distribution function of x, exact or by tanh.", GeluAttrs{"none"},
			func(a *GeluAttrs) func(float64) float64 {
				if a.Approximate == "tanh" {
					return geluTanh
				}
				return gelu
			}),
		activationOp("", "Swish", 24, "x*sigmoid(alpha*x).", alphaAttrs{1}, func(a *alphaAttrs) func(float64) float64 {
			return func(v float64) float64 { return v * sigmoid(float64(a.Alpha)*v) }
		}),
		swiGLUOp(),
		shrinkOp(),
		preluOp(),
		activationOp(ir.DomainMicrosoft, "QuickGelu", 1, "x*sigmoid(alpha*x).", alphaAttrs{1.702}, func(a *alphaAttrs) func(float64) float64 {
			return func(v float64) float64 { return v * sigmoid(float64(a.Alpha)*v) }
		}),
	}
}

// sigmoid avoids overflow of exp on either side.
func sigmoid(v float64) float64 {
	if v >= 0 {
		return 1 / (1 + math.Exp(-v))
	}
	e := math.Exp(v)
	return e / (1 + e)
}

func softplus(v float64) float64 {
	return max(v, 0) + math.Log1p(math.Exp(-math.Abs(v)))
}

func gelu(v float64) float64 { return 0.5 * v * math.Erfc(-v/math.Sqrt2) }

func geluTanh(v float64) float64 {
	return 0.5 * v * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(v+0.044715*v*v*v)))
}

func shrinkOp() *ir.Op {
	return typed(&ir.Op{
		Name: "Shrink", Since: 9, Doc: "x+bias below -lambd, x-bias above lambd, else zero.",
		Attrs: func() any { return &shrinkAttrs{Lambd: 0.5} },
		MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
		Infer: inferSame,
		Eval: halfViaF32(func(c *ir.EvalCtx) error {
			a := c.Attrs.(*shrinkAttrs)
			lambd, bias := float64(a.Lambd), float64(a.Bias)
			f := func(v float64) float64 {
				switch {
				case v < -lambd:
					return v + bias
				case v > lambd:
					return v - bias
				}
				return 0
			}
			return evalUnary(c, unaryFormula{
				f: f,
				i: func(v int64) int64 { return int64(f(float64(v))) },
				u: func(v uint64) uint64 { return uint64(f(float64(v))) },
			})
		}),
	}, numberTypes)
}

func preluOp() *ir.Op {
	return typed(&ir.Op{
		Name: "PRelu", Since: 16, Doc: "x, or slope*x below zero; slope broadcasts to x.",
		MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
		Infer: inferSlope,
		Eval: halfViaF32(func(c *ir.EvalCtx) error {
			if err := stretchesTo(c.In(1).Shape(), c.In(0).Shape()); err != nil {
				return err
			}
			return evalBinary(c, binaryFormula{
				f: func(x, s float64) float64 {
					if x < 0 {
						return s * x
					}
					return x
				},
				i: func(x, s int64) int64 {
					if x < 0 {
						return s * x
					}
					return x
				},
				u: func(x, _ uint64) uint64 { return x },
			})
		}),
	}, floatTypes|wideInts)
}

// inferSlope: input 1 broadcasts into input 0, whose type the output has.
func inferSlope(c *ir.InferCtx) error {
	if _, err := inferSameTypes(c, 0, 1); err != nil {
		return err
	}
	x, s := c.In(0), c.In(1)
	if x.Ranked && s.Ranked {
		if len(s.Shape) > len(x.Shape) {
			return fmt.Errorf("%w: %s does not broadcast into %s", ir.ErrShape, s, x)
		}
		for i := range s.Shape {
			d, e := s.Shape[len(s.Shape)-1-i], x.Shape[len(x.Shape)-1-i]
			if d.IsKnown() && e.IsKnown() && d.Size != 1 && d.Size != e.Size {
				return fmt.Errorf("%w: %s does not broadcast into %s", ir.ErrShape, s, x)
			}
		}
	}
	c.SetOut(0, x)
	return nil
}

// stretchesTo reports an error unless from broadcasts to exactly to.
func stretchesTo(from, to []int) error {
	ok := len(from) <= len(to)
	for i := 0; ok && i < len(from); i++ {
		d := from[len(from)-1-i]
		ok = d == 1 || d == to[len(to)-1-i]
	}
	if !ok {
		return fmt.Errorf("%w: %v does not broadcast into %v", ir.ErrShape, from, to)
	}
	return nil
}

func swiGLUOp() *ir.Op {
	return typed(&ir.Op{
		Name: "SwiGLU", Since: 28, Doc: "a*sigmoid(alpha*a)*b.",
		Attrs: func() any { return &alphaAttrs{1} },
		MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
		Infer: func(c *ir.InferCtx) error {
			if _, err := inferSameTypes(c, 0, 1); err != nil {
				return err
			}
			if err := sameShape(c.In(0), c.In(1)); err != nil {
				return err
			}
			return inferSame(c)
		},
		Eval: halfViaF32(func(c *ir.EvalCtx) error {
			if !slices.Equal(c.In(0).Shape(), c.In(1).Shape()) {
				return fmt.Errorf("%w: %s and %s must have one shape", ir.ErrShape, c.In(0), c.In(1))
			}
			alpha := float64(c.Attrs.(*alphaAttrs).Alpha)
			return evalBinary(c, binaryFormula{f: func(a, b float64) float64 { return a * sigmoid(alpha*a) * b }})
		}),
	}, floatTypes)
}

// sameShape reports types whose shapes are certain to differ.
func sameShape(a, b ir.Type) error {
	if !a.Ranked || !b.Ranked {
		return nil
	}
	ok := len(a.Shape) == len(b.Shape)
	for i := 0; ok && i < len(a.Shape); i++ {
		ok = dimsMayEqual(a.Shape[i], b.Shape[i])
	}
	if !ok {
		return fmt.Errorf("%w: %s and %s must have one shape", ir.ErrShape, a, b)
	}
	return nil
}
