package ops

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// newRandom is the generator of all random ops: the same seed gives the same numbers
// on every machine, and no seed is the seed 0.
func newRandom(seed uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed, 0x6d6f6563))
}

func seeded(seed *float32) *rand.Rand {
	if seed == nil {
		return newRandom(0)
	}
	return newRandom(uint64(math.Float32bits(*seed)))
}

type randomNormalAttrs struct {
	Shape []int64      `attr:"shape"`
	DType tensor.DType `attr:"dtype"`
	Mean  float32      `attr:"mean"`
	Scale float32      `attr:"scale"`
	Seed  *float32     `attr:"seed"`
}

type randomUniformAttrs struct {
	Shape []int64      `attr:"shape"`
	DType tensor.DType `attr:"dtype"`
	Low   float32      `attr:"low"`
	High  float32      `attr:"high"`
	Seed  *float32     `attr:"seed"`
}

type randomNormalLikeAttrs struct {
	DType tensor.DType `attr:"dtype"`
	Mean  float32      `attr:"mean"`
	Scale float32      `attr:"scale"`
	Seed  *float32     `attr:"seed"`
}

type randomUniformLikeAttrs struct {
	DType tensor.DType `attr:"dtype"`
	Low   float32      `attr:"low"`
	High  float32      `attr:"high"`
	Seed  *float32     `attr:"seed"`
}

type bernoulliAttrs struct {
	DType tensor.DType `attr:"dtype"`
	Seed  *float32     `attr:"seed"`
}

type multinomialAttrs struct {
	DType      tensor.DType `attr:"dtype"`
	SampleSize int64        `attr:"sample_size"`
	Seed       *float32     `attr:"seed"`
}

// draw says what a random node makes: its type, the seed, and one number from the
// generator.
type draw struct {
	dtype tensor.DType
	shape []int64
	seed  *float32
	next  func(*rand.Rand) float64
}

func drawOf(attrs any) draw {
	normal := func(mean, scale float32) func(*rand.Rand) float64 {
		return func(r *rand.Rand) float64 { return float64(mean) + float64(scale)*r.NormFloat64() }
	}
	uniform := func(low, high float32) func(*rand.Rand) float64 {
		return func(r *rand.Rand) float64 { return float64(low) + (float64(high)-float64(low))*r.Float64() }
	}
	switch a := attrs.(type) {
	case *randomNormalAttrs:
		return draw{a.DType, a.Shape, a.Seed, normal(a.Mean, a.Scale)}
	case *randomUniformAttrs:
		return draw{a.DType, a.Shape, a.Seed, uniform(a.Low, a.High)}
	case *randomNormalLikeAttrs:
		return draw{a.DType, nil, a.Seed, normal(a.Mean, a.Scale)}
	case *randomUniformLikeAttrs:
		return draw{a.DType, nil, a.Seed, uniform(a.Low, a.High)}
	}
	return draw{}
}

func randomOps() []*ir.Op {
	free := func(name, doc string, attrs func() any) *ir.Op {
		return typed(&ir.Op{
			Name: name, Since: 22, Doc: doc, Random: true, Attrs: attrs,
			MinIn: 0, MaxIn: 0, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error {
				d := drawOf(c.Attrs)
				if err := d.check(); err != nil {
					return err
				}
				s := make([]ir.Dim, len(d.shape))
				for i, n := range d.shape {
					s[i] = ir.Known(n)
				}
				c.SetOut(0, ir.MakeType(d.dtype, s...))
				return nil
			},
			Eval: func(c *ir.EvalCtx) error {
				d := drawOf(c.Attrs)
				shape := make([]int, len(d.shape))
				for i, n := range d.shape {
					shape[i] = sizeInt(n)
				}
				return d.fill(c, shape)
			},
		}, anyType)
	}
	like := func(name, doc string, attrs func() any) *ir.Op {
		return typed(&ir.Op{
			Name: name, Since: 22, Doc: doc, Random: true, Attrs: attrs,
			MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error {
				d, t := drawOf(c.Attrs), c.In(0)
				if d.dtype == tensor.Invalid {
					d.dtype = t.DType
				}
				if err := d.check(); t.DType != tensor.Invalid && err != nil {
					return err
				}
				t.DType = d.dtype
				c.SetOut(0, t)
				return nil
			},
			Eval: func(c *ir.EvalCtx) error {
				d := drawOf(c.Attrs)
				if d.dtype == tensor.Invalid {
					d.dtype = c.In(0).DType()
				}
				return d.fill(c, c.In(0).Shape())
			},
		}, anyType)
	}
	return []*ir.Op{
		free("RandomNormal", "Normally distributed numbers.", func() any { return &randomNormalAttrs{DType: tensor.F32, Scale: 1} }),
		free("RandomUniform", "Evenly distributed numbers.", func() any { return &randomUniformAttrs{DType: tensor.F32, High: 1} }),
		like("RandomNormalLike", "Normally distributed numbers in the input's shape.", func() any { return &randomNormalLikeAttrs{Scale: 1} }),
		like("RandomUniformLike", "Evenly distributed numbers in the input's shape.", func() any { return &randomUniformLikeAttrs{High: 1} }),
		bernoulliOp(), multinomialOp(),
	}
}

func (d draw) check() error {
	if !floatTypes.has(d.dtype) {
		return fmt.Errorf("%w: random numbers of %s", ir.ErrType, d.dtype)
	}
	for _, n := range d.shape {
		if n < 0 {
			return fmt.Errorf("%w: shape %v", ir.ErrShape, d.shape)
		}
	}
	return nil
}

func (d draw) fill(c *ir.EvalCtx, shape []int) error {
	if err := d.check(); err != nil {
		return err
	}
	out, err := c.Out(0, d.dtype, shape...)
	if err != nil {
		return err
	}
	r := seeded(d.seed)
	v := make([]float64, out.Len())
	for i := range v {
		v[i] = d.next(r)
	}
	return storeFloats(out, v, true)
}

func bernoulliOp() *ir.Op {
	return typed(&ir.Op{
		Name: "Bernoulli", Since: 22, Doc: "1 with the probability that the input gives, else 0.", Random: true,
		Attrs: func() any { return &bernoulliAttrs{} },
		MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
		Infer: func(c *ir.InferCtx) error {
			t := c.In(0)
			if dt := c.Attrs.(*bernoulliAttrs).DType; dt != tensor.Invalid {
				t.DType = dt
			}
			c.SetOut(0, t)
			return nil
		},
		Eval: func(c *ir.EvalCtx) error {
			x, a := c.In(0), c.Attrs.(*bernoulliAttrs)
			dt := a.DType
			if dt == tensor.Invalid {
				dt = x.DType()
			}
			if !(numberTypes | boolType).has(dt) {
				return badType(dt)
			}
			v, err := floatsOf(x)
			if err != nil {
				return err
			}
			out, err := c.Out(0, dt, x.Shape()...)
			if err != nil {
				return err
			}
			r := seeded(a.Seed)
			for i, p := range v {
				v[i] = 0
				if r.Float64() < p {
					v[i] = 1
				}
			}
			return storeFloats(out, v, true)
		},
	}, floatTypes)
}

func multinomialOp() *ir.Op {
	check := func(a *multinomialAttrs) error {
		if !indexTypes.has(a.DType) || a.SampleSize < 0 {
			return fmt.Errorf("%w: %d samples of %s", ir.ErrAttr, a.SampleSize, a.DType)
		}
		return nil
	}
	return typed(&ir.Op{
		Name: "Multinomial", Since: 22, Doc: "Classes drawn by the unnormalised log probabilities in each row.", Random: true,
		Attrs: func() any { return &multinomialAttrs{DType: tensor.I32, SampleSize: 1} },
		MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
		Infer: func(c *ir.InferCtx) error {
			x, a := c.In(0), c.Attrs.(*multinomialAttrs)
			if err := check(a); err != nil {
				return err
			}
			rows := ir.Unknown()
			if x.Ranked {
				if len(x.Shape) != 2 {
					return fmt.Errorf("%w: %s is not a matrix", ir.ErrShape, x)
				}
				rows = x.Shape[0]
			}
			c.SetOut(0, ir.MakeType(a.DType, rows, ir.Known(a.SampleSize)))
			return nil
		},
		Eval: func(c *ir.EvalCtx) error {
			x, a := c.In(0), c.Attrs.(*multinomialAttrs)
			if err := check(a); err != nil {
				return err
			}
			if x.Rank() != 2 || x.Shape()[1] == 0 {
				return fmt.Errorf("%w: %s, want rows of classes", ir.ErrShape, x)
			}
			v, err := floatsOf(x)
			if err != nil {
				return err
			}
			rows, classes := x.Shape()[0], x.Shape()[1]
			out, err := c.Out(0, a.DType, rows, int(a.SampleSize))
			if err != nil {
				return err
			}
			r, z := seeded(a.Seed), make([]int64, 0, out.Len())
			for i := range rows {
				row := v[i*classes : (i+1)*classes]
				for range a.SampleSize {
					z = append(z, sampleLog(row, r))
				}
			}
			return storeInts(out, z)
		},
	}, floatTypes)
}

// sampleLog draws an index with probability proportional to exp of its element.
func sampleLog(row []float64, r *rand.Rand) int64 {
	top := math.Inf(-1)
	for _, x := range row {
		top = max(top, x)
	}
	total := 0.0
	for _, x := range row {
		total += math.Exp(x - top)
	}
	u := r.Float64() * total
	for i, x := range row {
		if u -= math.Exp(x - top); u < 0 {
			return int64(i)
		}
	}
	return int64(len(row) - 1)
}
