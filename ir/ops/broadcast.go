package ops

import (
	"fmt"
	"strings"

	"github.com/seed-c851cfd2/moec/ir"
)

// BroadcastShapes is the common shape of shapes aligned at their last dimension, as
// NumPy and ONNX broadcast. Sizes 1 stretch; other mismatches give ErrShape.
func BroadcastShapes(shapes ...[]int) ([]int, error) {
	rank := 0
	for _, s := range shapes {
		rank = max(rank, len(s))
	}
	out := make([]int, rank)
	for i := range out {
		out[i] = 1
	}
	for _, s := range shapes {
		for i, d := range s {
			j := rank - len(s) + i
			switch {
			case d == out[j] || d == 1:
			case out[j] == 1:
				out[j] = d
			default:
				return nil, fmt.Errorf("%w: %v do not broadcast", ir.ErrShape, shapes)
			}
		}
	}
	return out, nil
}

// BroadcastDims is BroadcastShapes on dims that may be unknown: a dim that cannot be
// settled comes out unknown.
func BroadcastDims(shapes ...[]ir.Dim) ([]ir.Dim, error) {
	rank := 0
	for _, s := range shapes {
		rank = max(rank, len(s))
	}
	out := make([]ir.Dim, rank)
	for j := range out {
		d := ir.Known(1)
		for _, s := range shapes {
			i := j - rank + len(s)
			if i < 0 || s[i].IsKnown() && s[i].Size == 1 {
				continue
			}
			e := s[i]
			switch {
			case d.IsKnown() && d.Size == 1 || d.Same(e):
				d = e
			case d.IsKnown() && e.IsKnown():
				return nil, fmt.Errorf("%w: %v do not broadcast", ir.ErrShape, shapes)
			case e.IsKnown(): // the unknown one must be 1 or this
				d = e
			case d.IsKnown():
			case isCapped(e, d): // equal where they broadcast at all
			case isCapped(d, e):
				d = e
			default:
				d = ir.Unknown()
			}
		}
		out[j] = d
	}
	return out, nil
}

// isCapped reports that c is what cappedDim makes of d, with a limit above 1.
func isCapped(c, d ir.Dim) bool {
	rest, ok := strings.CutPrefix(c.Name, d.Name)
	return ok && d.Name != "" && strings.HasPrefix(rest, "<=")
}

// broadcastStrides are the element strides with which a tensor of the given shape is
// read under a larger broadcast shape: 0 where it stretches.
func broadcastStrides(shape, out []int) []int {
	s := make([]int, len(out))
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		if shape[i] != 1 {
			s[i+len(out)-len(shape)] = n
		}
		n *= shape[i]
	}
	return s
}

// eachIndex calls f for every position of shape in row-major order with the offsets
// that the given strides put each operand at.
func eachIndex(shape []int, strides [][]int, f func(i int, offs []int)) {
	idx := make([]int, len(shape))
	offs := make([]int, len(strides))
	total := 1
	for _, d := range shape {
		total *= d
	}
	for i := range total {
		f(i, offs)
		for d := len(shape) - 1; d >= 0; d-- {
			idx[d]++
			for k, s := range strides {
				offs[k] += s[d]
			}
			if idx[d] < shape[d] {
				break
			}
			for k, s := range strides {
				offs[k] -= s[d] * shape[d]
			}
			idx[d] = 0
		}
	}
}
