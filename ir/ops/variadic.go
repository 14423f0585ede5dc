package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// variadicOp folds any number of broadcast inputs with a formula, from the left.
func variadicOp(name string, since int, doc string, types typeSet, k binaryFormula, mean bool, content func(a, b content) content) *ir.Op {
	return typed(&ir.Op{
		Name: name, Since: since, Doc: doc,
		MinIn: 1, MaxIn: -1, MinOut: 1, MaxOut: 1,
		Infer: func(c *ir.InferCtx) error {
			if err := inferBroadcast(c); err != nil {
				return err
			}
			switch {
			case c.NumIn() == 1:
				passContents(c)
			case c.NumIn() == 2 && content != nil:
				zipContents(c, content)
			}
			return nil
		},
		Eval: halfViaF32(func(c *ir.EvalCtx) error { return evalVariadic(c, k, mean) }),
	}, types)
}

func variadicOps() []*ir.Op {
	return []*ir.Op{
		variadicOp("Sum", 13, "Sum of all inputs.", floatTypes,
			binaryFormula{f: func(a, b float64) float64 { return a + b }}, false, addContent),
		variadicOp("Mean", 13, "Mean of all inputs.", floatTypes,
			binaryFormula{f: func(a, b float64) float64 { return a + b }}, true, nil),
		variadicOp("Max", 13, "Largest of all inputs; NaN if any is.", numberTypes, binaryFormula{
			func(a, b float64) float64 { return max(a, b) },
			func(a, b int64) int64 { return max(a, b) },
			func(a, b uint64) uint64 { return max(a, b) },
		}, false, maxContent),
		variadicOp("Min", 13, "Smallest of all inputs; NaN if any is.", numberTypes, binaryFormula{
			func(a, b float64) float64 { return min(a, b) },
			func(a, b int64) int64 { return min(a, b) },
			func(a, b uint64) uint64 { return min(a, b) },
		}, false, minContent),
		clipOp(),
	}
}

func evalVariadic(c *ir.EvalCtx, k binaryFormula, mean bool) error {
	shapes := make([][]int, len(c.Ins))
	for i, t := range c.Ins {
		if t == nil {
			return fmt.Errorf("%w: input %d is missing", ir.ErrInput, i)
		}
		if t.DType() != c.In(0).DType() {
			return fmt.Errorf("%w: %s and %s", ir.ErrType, c.In(0).DType(), t.DType())
		}
		shapes[i] = t.Shape()
	}
	shape, err := BroadcastShapes(shapes...)
	if err != nil {
		return err
	}
	out, err := c.Out(0, c.In(0).DType(), shape...)
	if err != nil {
		return err
	}
	// The running result is a full tensor: zip writes an element only after reading it.
	if err := broadcastInto(out, c.In(0)); err != nil {
		return err
	}
	for _, t := range c.Ins[1:] {
		if err := zipNumbers(out, out, t, k); err != nil {
			return err
		}
	}
	if mean {
		n := float64(len(c.Ins))
		return mapNumbers(out, out, unaryFormula{f: func(v float64) float64 { return v / n }})
	}
	return nil
}

func clipOp() *ir.Op {
	return typed(&ir.Op{
		Name: "Clip", Since: 13, Doc: "Elements held between a least and a greatest; the latter wins when they cross.",
		MinIn: 1, MaxIn: 3, MinOut: 1, MaxOut: 1,
		Infer: func(c *ir.InferCtx) error {
			if _, err := inferSameTypes(c, 0, 1, 2); err != nil {
				return err
			}
			for i := 1; i <= 2; i++ {
				for _, d := range c.In(i).Shape {
					if d.IsKnown() && d.Size != 1 {
						return fmt.Errorf("%w: bound %s is not a scalar", ir.ErrShape, c.In(i))
					}
				}
			}
			return inferSame(c)
		},
		Eval: halfViaF32(evalClip),
	}, numberTypes)
}

func evalClip(c *ir.EvalCtx) error {
	if err := sameTypes(c, 0, 1, 2); err != nil {
		return err
	}
	for i := 1; i <= 2; i++ {
		if t := c.In(i); t != nil && t.Len() != 1 {
			return fmt.Errorf("%w: bound %s is not a scalar", ir.ErrShape, t)
		}
	}
	x := c.In(0)
	switch {
	case x.DType().IsFloat():
		lo, hi, err := clipBounds(c, floatsOf, math.Inf(-1), math.Inf(1))
		if err != nil {
			return err
		}
		return evalUnary(c, unaryFormula{f: func(v float64) float64 { return clip(v, lo, hi) }})
	case x.DType() == tensor.U64:
		lo, hi, err := clipBounds(c, func(t *tensor.Tensor) ([]uint64, error) { return tensor.Data[uint64](t), nil }, 0, math.MaxUint64)
		if err != nil {
			return err
		}
		return evalUnary(c, unaryFormula{u: func(v uint64) uint64 { return clip(v, lo, hi) }})
	}
	lo, hi, err := clipBounds(c, intsOf, math.MinInt64, math.MaxInt64)
	if err != nil {
		return err
	}
	return evalUnary(c, unaryFormula{
		i: func(v int64) int64 { return clip(v, lo, hi) },
		u: func(v uint64) uint64 { return uint64(clip(int64(v), lo, hi)) },
	})
}

// clip passes NaN through; a comparison with it is false.
func clip[T float64 | int64 | uint64](v, lo, hi T) T {
	if v < lo {
		v = lo
	}
	if v > hi {
		v = hi
	}
	return v
}

func clipBounds[T float64 | int64 | uint64](c *ir.EvalCtx, read func(*tensor.Tensor) ([]T, error), lo, hi T) (T, T, error) {
	for i, p := range []*T{&lo, &hi} {
		t := c.In(i + 1)
		if t == nil {
			continue
		}
		v, err := read(t)
		if err != nil {
			return lo, hi, err
		}
		*p = v[0]
	}
	return lo, hi, nil
}
