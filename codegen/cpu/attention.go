package cpu

import (
	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// attention takes f32 attention of any layout; the mask may be f32 or bool. Programs of
// lower precision multiply in bf16, softmax apart, where the CPU has instructions for it.
func attention(s *Selector, n *ir.Node) (Choice, bool) {
	of := tensor.F32
	if n.Attrs.(*ops.FusedAttentionAttrs).Wide {
		of = tensor.BF16
	}
	for _, v := range n.Inputs[:3] {
		if v.Type.DType != of || !v.Type.Ranked {
			return Choice{}, false
		}
	}
	if s.packed != layout.F32 {
		return Choice{Kernel: "attention_bf16", Note: "blocks of queries, no score matrix; bf16 products"}, true
	}
	return Choice{Kernel: "attention", Note: "blocks of queries, no score matrix"}, true
}

// rotary takes f32 of any layout.
func rotary(_ *Selector, n *ir.Node) (Choice, bool) { return Choice{Kernel: "rotary"}, allF32(n) }
