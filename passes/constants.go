package passes

import (
	"slices"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Arithmetic on constants of float types, for passes that move factors into weights.
// Results are computed in double precision and rounded once.

// scaled is t times c; t itself for 1.
func scaled(t *tensor.Tensor, c float64) *tensor.Tensor {
	if c == 1 {
		return t
	}
	return elementwise(t, nil, func(x, _ float64) float64 { return x * c })
}

// elementwise applies f to two tensors of one shape, or to one and nothing.
func elementwise(a, b *tensor.Tensor, f func(x, y float64) float64) *tensor.Tensor {
	x, out := doubles(a), tensor.New(a.DType(), a.Shape()...)
	y := make([]float64, len(x))
	if b != nil {
		y = doubles(b)
	}
	for i := range x {
		setFloat(out, i, f(x[i], y[i]))
	}
	return out
}

// doubles are the elements of a float tensor.
func doubles(t *tensor.Tensor) []float64 {
	v, err := t.Float64s()
	if err != nil {
		panic(err) // callers have checked the type
	}
	return v
}

// transposed swaps the axes of a matrix.
func transposed(t *tensor.Tensor) *tensor.Tensor {
	rows, cols := t.Shape()[0], t.Shape()[1]
	out := tensor.New(t.DType(), cols, rows)
	size := t.DType().Size()
	src, dst := t.Bytes(), out.Bytes()
	for i := range rows {
		for j := range cols {
			copy(dst[(j*rows+i)*size:][:size], src[(i*cols+j)*size:][:size])
		}
	}
	return out
}

// besides joins matrices, or vectors, along the last axis.
func besides(ts ...*tensor.Tensor) *tensor.Tensor {
	first := ts[0]
	rows, size, width := 1, first.DType().Size(), 0
	if first.Rank() == 2 {
		rows = first.Shape()[0]
	}
	for _, t := range ts {
		width += t.Shape()[t.Rank()-1]
	}
	shape := slices.Clone(first.Shape())
	shape[len(shape)-1] = width
	out := tensor.New(first.DType(), shape...)
	at := 0
	for i := range rows {
		for _, t := range ts {
			n := t.Shape()[t.Rank()-1] * size
			at += copy(out.Bytes()[at:], t.Bytes()[i*n:(i+1)*n])
		}
	}
	return out
}
