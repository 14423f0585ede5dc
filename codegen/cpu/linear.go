package cpu

import (
	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// matmul takes f32 products: with a constant matrix, whose weights are packed, or of two values, which programs
// of lower precision multiply in bf16. What goes from and to attention may be bf16, as
// passes.RoundedProjections leaves it.
func matmul(s *Selector, n *ir.Node) (Choice, bool) {
	w := n.Inputs[1]
	if n.Is("MatMul") && !packable(w) {
		kernel, note := "matmul", "the right side is packed on the way"
		if s.packed != layout.F32 {
			kernel, note = "matmul_bf16", note+"; bf16 products"
		}
		return Choice{Kernel: kernel, Note: note}, allF32(n)
	}
	x := n.Inputs[0].Type
	if !packable(w) || x.DType != tensor.F32 && (x.DType != tensor.BF16 || w.Const.Shape()[0]%2 != 0) || x.Rank() < 1 {
		return Choice{}, false
	}
	if a, ok := n.Attrs.(*ops.LinearAttrs); ok && !fastActivation(a.Activation) {
		return Choice{}, false
	}
	return Choice{
		Kernel: "linear", Note: s.packed.String() + " panels",
		Pack: map[int]Packer{1: panels{precision: s.packed}},
	}, true
}

// fastActivation reports whether the kernels' epilogues know an activation.
func fastActivation(a ops.Activation) bool {
	switch a {
	case ops.ActNone, ops.ActIdentity, ops.ActReLU, ops.ActGELU, ops.ActGELUTanh, ops.ActSiLU, ops.ActSigmoid, ops.ActTanh, ops.ActReLU6, ops.ActHardSwish, ops.ActQuickGELU, ops.ActReLU2:
		return true
	}
	return false
}

// packable reports whether v is a constant f32 matrix.
func packable(v *ir.Value) bool {
	return v.IsConst() && v.Const.DType() == tensor.F32 && v.Const.Rank() == 2
}
