package tests

import (
	"fmt"
	"slices"
	"testing"

	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// TestActivationKernels: no activation that a pass may put into a fused layer leaves the layer to
// the reference kernel.
func TestActivationKernels(t *testing.T) {
	d := newDrawer(5)
	for _, a := range []ops.Activation{
		ops.ActNone, ops.ActIdentity, ops.ActReLU, ops.ActReLU2, ops.ActReLU6, ops.ActGELU, ops.ActGELUTanh,
		ops.ActQuickGELU, ops.ActSiLU, ops.ActSigmoid, ops.ActTanh, ops.ActHardSwish,
	} {
		x, w1, w2, b1, b2 := d.normal(13, 20), d.normal(20, 50), d.normal(50, 20), d.normal(50), d.normal(20)
		residual := d.normal(13, 50)
		for _, c := range []*kernelNode{
			{op: "moec::Linear", attrs: &ops.LinearAttrs{Activation: a}, ins: []*tensor.Tensor{x, w1, b1, residual}, inputs: []int{0, 3}},
			{op: "moec::MLP", attrs: &ops.MLPAttrs{Activation: a}, ins: []*tensor.Tensor{x, w1, w2, b1, b2}, inputs: []int{0}},
			{op: "moec::GatedMLP", attrs: &ops.GatedMLPAttrs{Activation: a}, ins: []*tensor.Tensor{x, w1, d.normal(20, 50), w2}, inputs: []int{0}},
		} {
			if family := []ops.Activation{ops.ActIdentity, ops.ActReLU, ops.ActGELU, ops.ActGELUTanh, ops.ActSiLU}; c.op != "moec::Linear" && !slices.Contains(family, a) {
				continue
			}
			c.name, c.outs = fmt.Sprintf("%s %q", c.op, a), 1
			c.check(t, 5e-5)
		}
	}
}
