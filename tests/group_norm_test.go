package tests

import (
	"fmt"
	"math"
	"testing"

	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// TestGroupNorm: groups of channels that fill vectors and that do not, of images that are one chunk, end in
// the middle of one, and are many; far from zero, where f32 itself has no more than 6e-8 of the
// mean: 1e-4 of a deviation for a mean of a thousand of them.
func TestGroupNorm(t *testing.T) {
	d := newDrawer(11)
	for _, c := range []struct {
		shape  []int
		groups int64
		mean   float32
		tol    float64
	}{
		{[]int{2, 9, 13, 6}, 3, 0, 2e-6},
		{[]int{1, 32, 40, 64}, 8, 0, 2e-6},
		{[]int{3, 1, 5}, 1, 0, 2e-6},
		{[]int{1, 70, 67}, 67, 0, 2e-6},
		{[]int{2, 3, 4, 5, 34}, 2, 0, 2e-6},
		{[]int{1, 7, 7, 5000}, 4, 0, 2e-6},
		{[]int{1, 33, 31, 20}, 5, 1000, 3e-4},
		{[]int{0, 3, 3, 4}, 2, 0, 0},
		{[]int{1, 0, 3, 4}, 2, 0, 0},
	} {
		for _, act := range []ops.Activation{ops.ActNone, ops.ActSiLU} {
			x, ch := d.normal(c.shape...), c.shape[len(c.shape)-1]
			for i := range tensor.Data[float32](x) {
				tensor.Data[float32](x)[i] += c.mean
			}
			n := &kernelNode{
				name: fmt.Sprintf("%v in %d %s", c.shape, c.groups, act), op: "moec::GroupNorm", outs: 1, inputs: []int{0},
				attrs: &ops.FusedGroupNormAttrs{Epsilon: 1e-5, NumGroups: c.groups, Activation: act},
				ins:   []*tensor.Tensor{x, d.normal(ch), d.normal(ch)},
			}
			n.check(t, c.tol)
		}
	}
	// One pixel far from all others, the first, by which sums are shifted; and one that is not a number, which
	// leaves other groups and images alone.
	x := d.normal(2, 40, 40, 8)
	tensor.Data[float32](x)[0] = 1e4
	tensor.Data[float32](x)[len(tensor.Data[float32](x))-1] = float32(math.NaN())
	n := &kernelNode{
		name: "outliers", op: "moec::GroupNorm", outs: 1, inputs: []int{0},
		attrs: &ops.FusedGroupNormAttrs{Epsilon: 1e-5, NumGroups: 4, Activation: ops.ActNone},
		ins:   []*tensor.Tensor{x, d.normal(8), d.normal(8)},
	}
	n.check(t, 1e-5)
	s := &kernelNode{
		name: "batch", op: "moec::GroupNorm", outs: 1, inputs: []int{0},
		attrs: &ops.FusedGroupNormAttrs{Epsilon: 1e-5, NumGroups: 4, Activation: ops.ActSiLU},
		ins:   []*tensor.Tensor{d.normal(9, 12, 11, 24), d.normal(24), d.normal(24)},
	}
	s.checkBatch(t)
}
