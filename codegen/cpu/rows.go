package cpu

import (
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// allF32 reports whether every present input is f32 of known rank.
func allF32(n *ir.Node) bool {
	for _, v := range n.Inputs {
		if v != nil && (v.Type.DType != tensor.F32 || !v.Type.Ranked) {
			return false
		}
	}
	return true
}

// has reports whether n makes output i; passes take out those that nobody reads.
func has(n *ir.Node, i int) bool { return i < len(n.Outputs) && n.Outputs[i] != nil }

// norm takes normalisation over the last axis with a scale per element.
func norm(_ *Selector, n *ir.Node) (Choice, bool) {
	x, scale := n.Inputs[0], n.Inputs[1]
	switch a := n.Attrs.(type) {
	case *ops.LayerNormAttrs:
		if last := int64(x.Type.Rank() - 1); a.Axis != -1 && a.Axis != last || has(n, 1) || has(n, 2) {
			return Choice{}, false
		}
	case *ops.SkipNormAttrs:
		scale = n.Inputs[2]
	}
	if !allF32(n) || x.Type.Rank() < 1 || scale.Type.Rank() != 1 {
		return Choice{}, false
	}
	width := x.Type.Shape[x.Type.Rank()-1]
	for _, v := range n.Inputs[1:] { // scale and bias must not broadcast
		if v != nil && v.Type.Rank() == 1 && (!v.Type.Shape[0].IsKnown() || v.Type.Shape[0] != width) {
			return Choice{}, false
		}
	}
	return Choice{Kernel: "norm"}, true
}

// instanceNorm takes f32 normalisation of each plane.
func instanceNorm(_ *Selector, n *ir.Node) (Choice, bool) {
	return Choice{Kernel: "instance_norm"}, allF32(n)
}

// groupNorm takes f32 images of known channels.
func groupNorm(_ *Selector, n *ir.Node) (Choice, bool) {
	a, t := n.Attrs.(*ops.FusedGroupNormAttrs), n.Inputs[0].Type
	return Choice{Kernel: "group_norm"}, allF32(n) && fastActivation(a.Activation) && t.Shape[t.Rank()-1].IsKnown()
}

// softmax takes softmax over the last axis.
func softmax(_ *Selector, n *ir.Node) (Choice, bool) {
	a := n.Attrs.(*ops.SoftmaxAttrs)
	rank := n.Inputs[0].Type.Rank()
	if !allF32(n) || rank < 1 || a.Axis != -1 && a.Axis != int64(rank-1) {
		return Choice{}, false
	}
	return Choice{Kernel: "softmax"}, true
}
