package ops

import (
	"fmt"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// normAxis maps an axis in [-rank, rank) to [0, rank).
func normAxis(axis int64, rank int) (int, error) {
	r := int64(rank)
	if axis < -r || axis >= r {
		return 0, fmt.Errorf("%w: axis %d of a value of rank %d", ir.ErrShape, axis, rank)
	}
	if axis < 0 {
		axis += r
	}
	return int(axis), nil
}

// normAxes maps axes in [-rank, rank) to [0, rank), keeping their order; an axis named
// twice is an error.
func normAxes(axes []int64, rank int) ([]int, error) {
	out := make([]int, len(axes))
	for i, a := range axes {
		n, err := normAxis(a, rank)
		if err != nil {
			return nil, err
		}
		if slices.Contains(out[:i], n) {
			return nil, fmt.Errorf("%w: axis %d is named twice in %v", ir.ErrShape, n, axes)
		}
		out[i] = n
	}
	return out, nil
}

// allAxes is 0..rank-1.
func allAxes(rank int) []int {
	out := make([]int, rank)
	for i := range out {
		out[i] = i
	}
	return out
}

// splitAt is the product of the dimensions before axis, the dimension itself, and the
// product of those behind it: an array seen as [outer, n, inner].
func splitAt(shape []int, axis int) (outer, n, inner int) {
	return tensor.NumElems(shape[:axis]), shape[axis], tensor.NumElems(shape[axis+1:])
}

// evalInts are the elements of integer input i at evaluation.
func evalInts(c *ir.EvalCtx, i int) ([]int64, error) {
	t := c.In(i)
	if t == nil {
		return nil, fmt.Errorf("%w: input %d is missing", ir.ErrInput, i)
	}
	v, err := t.Int64s()
	if err != nil {
		return nil, fmt.Errorf("%w: input %d: %v", ir.ErrType, i, err)
	}
	return v, nil
}

// evalInt is the only element of integer input i.
func evalInt(c *ir.EvalCtx, i int) (int64, error) {
	v, err := evalInts(c, i)
	if err != nil {
		return 0, err
	}
	if len(v) != 1 {
		return 0, fmt.Errorf("%w: input %d has %d elements, want one", ir.ErrShape, i, len(v))
	}
	return v[0], nil
}

// knownInts are the elements of integer input i where inference knows all of them.
func knownInts(c *ir.InferCtx, i int) ([]int64, bool) {
	v, ok := contents(c, i)
	if !ok {
		return nil, false
	}
	out := make([]int64, len(v))
	for j, x := range v {
		if !x.exact {
			return nil, false
		}
		out[j] = x.dim.Size
	}
	return out, true
}

// unknownDims is n dims of which nothing is known.
func unknownDims(n int) []ir.Dim {
	d := make([]ir.Dim, n)
	for i := range d {
		d[i] = ir.Unknown()
	}
	return d
}

// rankedUnknown is a type of known rank only, unranked when rank is negative.
func rankedUnknown(dt tensor.DType, rank int) ir.Type {
	if rank < 0 {
		return ir.Unranked(dt)
	}
	return ir.MakeType(dt, unknownDims(rank)...)
}

// vectorLen is the number of elements of a rank-1 input, -1 when it is not known.
func vectorLen(t ir.Type) int {
	if t.Ranked && len(t.Shape) == 1 && t.Shape[0].IsKnown() && t.Shape[0].Size <= 64 {
		return int(t.Shape[0].Size)
	}
	return -1
}

// prodDims is the product of dims, 1 for none.
func prodDims(dims []ir.Dim) ir.Dim {
	p := ir.Known(1)
	for _, d := range dims {
		p = ir.MulDim(p, d)
	}
	return p
}

// dimsMayEqual is false when two dims are certain to differ.
func dimsMayEqual(a, b ir.Dim) bool {
	return !a.IsKnown() || !b.IsKnown() || a.Size == b.Size
}
