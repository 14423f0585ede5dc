package ops

import "github.com/seed-c851cfd2/moec/ir"

// The cost of the family counts what must be done once: products and sums as two
// operations, activations as one, and of experts, values and units only the active ones.

// rowsOf is the number of tokens of x.
func rowsOf(x ir.Type) int64 {
	n := int64(1)
	for _, d := range x.Shape[:max(len(x.Shape)-1, 0)] {
		n *= max(d.Size, 0)
	}
	return n
}

// dimSize is dimension i of t, 0 for an absent input.
func dimSize(t ir.Type, i int) int64 {
	if i >= len(t.Shape) {
		return 0
	}
	return max(t.Shape[i].Size, 0)
}

// typeAt is input i, absent ones included.
func typeAt(ts []ir.Type, i int) ir.Type {
	if i >= len(ts) {
		return ir.Type{}
	}
	return ts[i]
}

// bytesOf is the memory of values, absent ones being 0.
func bytesOf(ts []ir.Type) int64 {
	sum := int64(0)
	for _, t := range ts {
		sum += bytesOfOne(t)
	}
	return sum
}

func bytesOfOne(t ir.Type) int64 {
	n := int64(t.DType.Size())
	for _, d := range t.Shape {
		n *= max(d.Size, 0)
	}
	return n
}
