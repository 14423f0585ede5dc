package cpu

import (
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
)

// spatial reports whether the first input has one to three spatial axes.
func spatial(n *ir.Node) bool {
	r := n.Inputs[0].Type.Rank()
	return r >= 3 && r <= 5
}

// conv takes f32 convolutions. The weights meet their product as rows, the order they
// are stored in.
func conv(_ *Selector, n *ir.Node) (Choice, bool) {
	if a, ok := n.Attrs.(*ops.FusedConvAttrs); ok && !fastActivation(a.Activation) {
		return Choice{}, false
	}
	if !allF32(n) || !spatial(n) {
		return Choice{}, false
	}
	return Choice{Kernel: "conv", Note: "windows packed as columns of a product, planes where depthwise"}, true
}

// pool takes f32 pools that give no indices.
func pool(_ *Selector, n *ir.Node) (Choice, bool) {
	return Choice{Kernel: "pool"}, allF32(n) && spatial(n) && !has(n, 1)
}

func globalPool(_ *Selector, n *ir.Node) (Choice, bool) {
	return Choice{Kernel: "global_pool"}, allF32(n) && n.Inputs[0].Type.Rank() >= 2
}

// batchNorm takes f32 normalisation by given statistics.
func batchNorm(_ *Selector, n *ir.Node) (Choice, bool) {
	a := n.Attrs.(*ops.BatchNormAttrs)
	return Choice{Kernel: "channels"}, allF32(n) && !a.TrainingMode && !has(n, 1) && !has(n, 2)
}
