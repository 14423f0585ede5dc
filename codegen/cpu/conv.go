package cpu

import (
	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// spatial reports whether the first input has one to three spatial axes.
func spatial(n *ir.Node) bool {
	r := n.Inputs[0].Type.Rank()
	return r >= 3 && r <= 5
}

// conv takes f32 convolutions. The weights meet their product as rows, the order they
// are stored in.
func conv(s *Selector, n *ir.Node) (Choice, bool) {
	if a, ok := n.Attrs.(*ops.FusedConvAttrs); ok && !fastActivation(a.Activation) {
		return Choice{}, false
	}
	if a, ok := n.Attrs.(*ops.FusedConvAttrs); ok && a.ChannelsLast {
		return s.convLast(n, a)
	}
	if !allF32(n) || !spatial(n) {
		return Choice{}, false
	}
	return Choice{Kernel: "conv", Note: "windows packed as columns of a product, planes where depthwise"}, true
}

// convLast takes convolutions with channels last by constant weights, which are packed:
// as panels of a product over taps and channels, or per tap where depthwise.
func (s *Selector) convLast(n *ir.Node, a *ops.FusedConvAttrs) (Choice, bool) {
	if !spatial(n) || !ofTypes(n.Inputs[1:min(3, len(n.Inputs))], tensor.F32) || !images(n) {
		return Choice{}, false
	}
	w := n.Inputs[1]
	if !w.IsConst() || w.Const.Len() == 0 || n.Inputs[0].Type.Rank() != w.Const.Rank() || !fastActivation(a.Activation) {
		return Choice{}, false
	}
	shape := w.Const.Shape()
	depthwise := shape[1] == 1 && int(a.Group) == shape[0]
	if r := input(n, 3); depthwise && r != nil && r.Type.DType != tensor.F32 {
		return Choice{}, false
	}
	if !depthwise && n.Outputs[0].Type.DType != tensor.F32 && shape[0]/max(1, int(a.Group))%2 != 0 {
		return Choice{}, false
	}
	if depthwise {
		return Choice{Kernel: "conv_depthwise", Note: "channels as vectors", Pack: map[int]Packer{1: convTaps{}}}, true
	}
	// Activations in int8 would need a scale per image, since the windows of one pixel
	// reach into others: bf16 is faster than the peers' int8, and more exact.
	p := s.packed
	if p == layout.I8 {
		p = layout.BF16
	}
	return Choice{
		Kernel: "conv_last", Note: p.String() + " panels, windows are rows of a product where they lie",
		Pack: map[int]Packer{1: convPanels{precision: p, groups: int(a.Group)}},
	}, true
}

// images reports whether the kernels take the types of images: f32, and bf16 as
// passes.RoundedImages leaves it, which is never a volume, nor of an odd number of channels.
func images(n *ir.Node) bool {
	if allF32(n) {
		return true
	}
	y := n.Outputs[0].Type
	if !ofTypes([]*ir.Value{n.Inputs[0], n.Outputs[0], input(n, 3)}, tensor.F32, tensor.BF16) || y.Rank() != n.Inputs[0].Type.Rank() || y.Rank() > 4 {
		return false
	}
	c := y.Shape[y.Rank()-1]
	return y.DType == tensor.F32 || c.IsKnown() && c.Size%2 == 0
}

// poolLast takes pools with channels last, of f32 or of bf16 between convolutions.
func poolLast(_ *Selector, n *ir.Node) (Choice, bool) {
	a := n.Attrs.(*ops.FusedPoolAttrs)
	return Choice{Kernel: "pool_last"}, spatial(n) && (allF32(n) || images(n) && a.Kind != ops.PoolGlobal)
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
