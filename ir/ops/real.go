package ops

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// realElem are the types that formulas over real numbers are computed in. F16 and
// BF16 are widened to float32 and rounded once, at the end.
type realElem interface{ float32 | float64 }

// byFloat runs the float32 or the float64 instance of a formula, as the element type
// of input i asks.
func byFloat(c *ir.EvalCtx, i int, f32, f64 func(*ir.EvalCtx) error) error {
	if err := need(c, i); err != nil {
		return err
	}
	switch dt := c.In(i).DType(); dt {
	case tensor.F32, tensor.F16, tensor.BF16:
		return f32(c)
	case tensor.F64:
		return f64(c)
	default:
		return fmt.Errorf("%w: input %d is %s, want a float", ir.ErrType, i, dt)
	}
}

// need fails when one of the inputs is absent.
func need(c *ir.EvalCtx, ins ...int) error {
	for _, i := range ins {
		if !c.Has(i) {
			return fmt.Errorf("%w: input %d is missing", ir.ErrInput, i)
		}
	}
	return nil
}

// reals are the elements of t as T: the tensor's own memory when it holds T, else a
// converted copy. It is nil for an absent tensor.
func reals[T realElem](t *tensor.Tensor) ([]T, error) {
	if t == nil {
		return nil, nil
	}
	switch t.DType() {
	case tensor.DTypeOf[T]():
		return tensor.Data[T](t), nil
	case tensor.F16:
		return mapTo(tensor.Data[tensor.Float16](t), func(h tensor.Float16) T { return T(h.Float32()) }), nil
	case tensor.BF16:
		return mapTo(tensor.Data[tensor.BFloat16](t), func(h tensor.BFloat16) T { return T(h.Float32()) }), nil
	}
	w, err := t.Float64s()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ir.ErrType, err)
	}
	return mapTo(w, func(x float64) T { return T(x) }), nil
}

// allReals is reals over several tensors.
func allReals[T realElem](ts ...*tensor.Tensor) ([][]T, error) {
	out := make([][]T, len(ts))
	for i, t := range ts {
		var err error
		if out[i], err = reals[T](t); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func mapTo[A, B any](s []A, f func(A) B) []B {
	out := make([]B, len(s))
	for i, x := range s {
		out[i] = f(x)
	}
	return out
}

// realOut is an output under computation in T. Store must be called when all
// elements of V are written.
type realOut[T realElem] struct {
	V []T
	t *tensor.Tensor
}

// outReals makes output i of a float type for writing in T.
func outReals[T realElem](c *ir.EvalCtx, i int, dt tensor.DType, shape ...int) (realOut[T], error) {
	if !dt.IsFloat() {
		return realOut[T]{}, fmt.Errorf("%w: %s, want a float", ir.ErrType, dt)
	}
	t, err := c.Out(i, dt, shape...)
	if err != nil {
		return realOut[T]{}, err
	}
	if dt == tensor.DTypeOf[T]() {
		return realOut[T]{V: tensor.Data[T](t), t: t}, nil
	}
	return realOut[T]{V: make([]T, t.Len()), t: t}, nil
}

// Store rounds the computed elements into the output's element type.
func (o realOut[T]) Store() {
	switch o.t.DType() {
	case tensor.DTypeOf[T]():
	case tensor.F32:
		convertInto(tensor.Data[float32](o.t), o.V, func(x T) float32 { return float32(x) })
	case tensor.F64:
		convertInto(tensor.Data[float64](o.t), o.V, func(x T) float64 { return float64(x) })
	case tensor.F16:
		convertInto(tensor.Data[tensor.Float16](o.t), o.V, func(x T) tensor.Float16 { return tensor.ToFloat16(tensor.Narrow32(float64(x))) })
	case tensor.BF16:
		convertInto(tensor.Data[tensor.BFloat16](o.t), o.V, func(x T) tensor.BFloat16 { return tensor.ToBFloat16(tensor.Narrow32(float64(x))) })
	}
}

func convertInto[A, B any](dst []B, src []A, f func(A) B) {
	for i, x := range src {
		dst[i] = f(x)
	}
}

// wantShape fails unless t, when present, has exactly the given shape.
func wantShape(name string, t *tensor.Tensor, shape ...int) error {
	if t == nil {
		return nil
	}
	got := t.Shape()
	ok := len(got) == len(shape)
	for i := 0; ok && i < len(shape); i++ {
		ok = got[i] == shape[i]
	}
	if !ok {
		return fmt.Errorf("%w: %s has shape %v, want %v", ir.ErrShape, name, got, shape)
	}
	return nil
}

// wantRank fails unless the type's rank, when known, is between lo and hi (hi < 0: no
// upper bound).
func wantRank(name string, t ir.Type, lo, hi int) error {
	if t.Ranked && (len(t.Shape) < lo || hi >= 0 && len(t.Shape) > hi) {
		return fmt.Errorf("%w: %s is %s, want rank %s", ir.ErrShape, name, t, rankRange(lo, hi))
	}
	return nil
}

// tensorRank is wantRank for a tensor.
func tensorRank(name string, t *tensor.Tensor, lo, hi int) error {
	return wantRank(name, ir.TypeOf(t), lo, hi)
}

func rankRange(lo, hi int) string {
	switch {
	case hi < 0:
		return fmt.Sprintf("%d or more", lo)
	case lo == hi:
		return fmt.Sprint(lo)
	}
	return fmt.Sprintf("%d to %d", lo, hi)
}

// wantFloat fails when input i is known not to be of a float type.
func wantFloat(c *ir.InferCtx, ins ...int) error {
	for _, i := range ins {
		if c.Has(i) && !c.In(i).DType.IsFloat() {
			return fmt.Errorf("%w: input %d is %s, want a float", ir.ErrType, i, c.In(i).DType)
		}
	}
	return nil
}

// inferFloatSame gives output 0 the type of float input 0.
func inferFloatSame(c *ir.InferCtx) error {
	if err := wantFloat(c, 0); err != nil {
		return err
	}
	c.SetOut(0, c.In(0))
	return nil
}

// movedBytes is the size of all given values of known shape.
func movedBytes(lists ...[]ir.Type) int64 {
	var n int64
	for _, l := range lists {
		for _, t := range l {
			n += knownElems(t) * int64(t.DType.Size())
		}
	}
	return n
}

// knownElems is the number of elements of a type of known shape, 0 for others.
func knownElems(t ir.Type) int64 {
	if !t.Ranked {
		return 0
	}
	n := int64(1)
	for _, d := range t.Shape {
		if !d.IsKnown() {
			return 0
		}
		n *= d.Size
	}
	return n
}
