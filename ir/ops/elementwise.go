package ops

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// This file is the machinery of ops that work on each element alone. The formulas
// are in unary_math.go, activation.go, arithmetic.go, compare.go and bitwise.go.
//
// Formulas are written once per class of numbers, in float64, int64 and uint64. A
// float32 element is widened, computed and rounded once, which for + - * / and sqrt is
// what float32 arithmetic gives and elsewhere is at least as near; integers wrap.

// unaryFormula is a function of one element; nil members are classes the op lacks.
type unaryFormula struct {
	f func(float64) float64
	i func(int64) int64
	u func(uint64) uint64
}

// binaryFormula is a function of two elements.
type binaryFormula struct {
	f func(a, b float64) float64
	i func(a, b int64) int64
	u func(a, b uint64) uint64
}

// predicate is a relation between two elements.
type predicate struct {
	f func(a, b float64) bool
	i func(a, b int64) bool
	u func(a, b uint64) bool
}

// inferBroadcast: all inputs have one element type; the output has it too, with the
// broadcast shape.
func inferBroadcast(c *ir.InferCtx) error {
	dt := tensor.Invalid
	for i := range c.NumIn() {
		t := c.In(i)
		if t.DType == tensor.Invalid {
			continue
		}
		if dt != tensor.Invalid && t.DType != dt {
			return fmt.Errorf("%w: %s and %s", ir.ErrType, dt, t.DType)
		}
		dt = t.DType
	}
	return inferBroadcastTo(c, dt)
}

// inferBroadcastTo gives output 0 the inputs' broadcast shape and the type dt.
func inferBroadcastTo(c *ir.InferCtx, dt tensor.DType) error {
	var shapes [][]ir.Dim
	for i := range c.NumIn() {
		t := c.In(i)
		if !t.Ranked {
			c.SetOut(0, ir.Unranked(dt))
			return nil
		}
		shapes = append(shapes, t.Shape)
	}
	s, err := BroadcastDims(shapes...)
	if err != nil {
		return err
	}
	c.SetOut(0, ir.MakeType(dt, s...))
	return nil
}

// inferSame: output 0 has the type of input 0.
func inferSame(c *ir.InferCtx) error {
	c.SetOut(0, c.In(0))
	return nil
}

// inferSameContents is inferSame for ops that keep integral values as they are.
func inferSameContents(c *ir.InferCtx) error {
	c.SetOut(0, c.In(0))
	passContents(c)
	return nil
}

// evalUnary applies a formula to every element of input 0.
func evalUnary(c *ir.EvalCtx, k unaryFormula) error {
	x := c.In(0)
	out, err := c.Out(0, x.DType(), x.Shape()...)
	if err != nil {
		return err
	}
	return mapNumbers(out, x, k)
}

func mapNumbers(out, x *tensor.Tensor, k unaryFormula) error {
	switch dt := x.DType(); dt {
	case tensor.F32:
		return mapAs[float32](out, x, k.f)
	case tensor.F64:
		return mapAs[float64](out, x, k.f)
	case tensor.I8:
		return mapAs[int8](out, x, k.i)
	case tensor.I16:
		return mapAs[int16](out, x, k.i)
	case tensor.I32:
		return mapAs[int32](out, x, k.i)
	case tensor.I64:
		return mapAs[int64](out, x, k.i)
	case tensor.U8:
		return mapAs[uint8](out, x, k.u)
	case tensor.U16:
		return mapAs[uint16](out, x, k.u)
	case tensor.U32:
		return mapAs[uint32](out, x, k.u)
	case tensor.U64:
		return mapAs[uint64](out, x, k.u)
	default:
		return badType(dt)
	}
}

func mapAs[T numberElem, W float64 | int64 | uint64](out, x *tensor.Tensor, f func(W) W) error {
	if f == nil {
		return badType(x.DType())
	}
	z := tensor.Data[T](out)
	for i, v := range tensor.Data[T](x) {
		z[i] = T(f(W(v)))
	}
	return nil
}

// numberElem are the numbers that tensors hold.
type numberElem interface {
	tensor.Elem
	number
}

// evalBinary applies a formula to the broadcast elements of inputs 0 and 1.
func evalBinary(c *ir.EvalCtx, k binaryFormula) error {
	a, b := c.In(0), c.In(1)
	if a.DType() != b.DType() {
		return fmt.Errorf("%w: %s and %s", ir.ErrType, a.DType(), b.DType())
	}
	shape, err := BroadcastShapes(a.Shape(), b.Shape())
	if err != nil {
		return err
	}
	out, err := c.Out(0, a.DType(), shape...)
	if err != nil {
		return err
	}
	return zipNumbers(out, a, b, k)
}

func zipNumbers(out, a, b *tensor.Tensor, k binaryFormula) error {
	switch dt := a.DType(); dt {
	case tensor.F32:
		return zipAs[float32](out, a, b, k.f)
	case tensor.F64:
		return zipAs[float64](out, a, b, k.f)
	case tensor.I8:
		return zipAs[int8](out, a, b, k.i)
	case tensor.I16:
		return zipAs[int16](out, a, b, k.i)
	case tensor.I32:
		return zipAs[int32](out, a, b, k.i)
	case tensor.I64:
		return zipAs[int64](out, a, b, k.i)
	case tensor.U8:
		return zipAs[uint8](out, a, b, k.u)
	case tensor.U16:
		return zipAs[uint16](out, a, b, k.u)
	case tensor.U32:
		return zipAs[uint32](out, a, b, k.u)
	case tensor.U64:
		return zipAs[uint64](out, a, b, k.u)
	default:
		return badType(dt)
	}
}

func zipAs[T numberElem, W float64 | int64 | uint64](out, a, b *tensor.Tensor, f func(W, W) W) error {
	if f == nil {
		return badType(a.DType())
	}
	zip(out.Shape(), tensor.Data[T](a), a.Shape(), tensor.Data[T](b), b.Shape(), tensor.Data[T](out),
		func(x, y T) T { return T(f(W(x), W(y))) })
	return nil
}

// evalRelation writes to bool output 0 whether a relation holds between the broadcast
// elements of inputs 0 and 1.
func evalRelation(c *ir.EvalCtx, k predicate) error {
	a, b := c.In(0), c.In(1)
	if a.DType() != b.DType() {
		return fmt.Errorf("%w: %s and %s", ir.ErrType, a.DType(), b.DType())
	}
	shape, err := BroadcastShapes(a.Shape(), b.Shape())
	if err != nil {
		return err
	}
	out, err := c.Out(0, tensor.Bool, shape...)
	if err != nil {
		return err
	}
	switch dt := a.DType(); dt {
	case tensor.F32:
		return relateAs[float32](out, a, b, k.f)
	case tensor.F64:
		return relateAs[float64](out, a, b, k.f)
	case tensor.I8:
		return relateAs[int8](out, a, b, k.i)
	case tensor.I16:
		return relateAs[int16](out, a, b, k.i)
	case tensor.I32:
		return relateAs[int32](out, a, b, k.i)
	case tensor.I64:
		return relateAs[int64](out, a, b, k.i)
	case tensor.U8:
		return relateAs[uint8](out, a, b, k.u)
	case tensor.U16:
		return relateAs[uint16](out, a, b, k.u)
	case tensor.U32:
		return relateAs[uint32](out, a, b, k.u)
	case tensor.U64:
		return relateAs[uint64](out, a, b, k.u)
	default:
		return badType(dt)
	}
}

func relateAs[T numberElem, W float64 | int64 | uint64](out, a, b *tensor.Tensor, f func(W, W) bool) error {
	zip(out.Shape(), tensor.Data[T](a), a.Shape(), tensor.Data[T](b), b.Shape(), tensor.Data[bool](out),
		func(x, y T) bool { return f(W(x), W(y)) })
	return nil
}

// zip writes f of the broadcast elements of x and y to z, row by row.
func zip[A, B, R any](shape []int, x []A, xs []int, y []B, ys []int, z []R, f func(A, B) R) {
	if len(z) == 0 {
		return
	}
	sx, sy := broadcastStrides(xs, shape), broadcastStrides(ys, shape)
	n, dx, dy := 1, 0, 0
	rows := shape
	if last := len(shape) - 1; last >= 0 {
		n, dx, dy, rows = shape[last], sx[last], sy[last], shape[:last]
	}
	eachIndex(rows, [][]int{sx, sy}, func(i int, offs []int) {
		ox, oy := offs[0], offs[1]
		for j := i * n; j < (i+1)*n; j++ {
			z[j] = f(x[ox], y[oy])
			ox += dx
			oy += dy
		}
	})
}
