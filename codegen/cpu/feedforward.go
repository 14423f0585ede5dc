package cpu

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// packs lists constant inputs that are stored packed; ok is false when one of those
// present is no f32 constant of rank 2 or 3.
func packs(n *ir.Node, p Packer, ins ...int) (m map[int]Packer, ok bool) {
	m = map[int]Packer{}
	for _, i := range ins {
		if i >= len(n.Inputs) || n.Inputs[i] == nil {
			continue
		}
		v := n.Inputs[i]
		if !v.IsConst() || v.Const.DType() != tensor.F32 || v.Const.Rank() < 2 || v.Const.Len() == 0 {
			return nil, false
		}
		m[i] = p
	}
	return m, true
}

// mlp takes f32 MLPs with constant weights.
func mlp(s *Selector, n *ir.Node) (Choice, bool) {
	ins, act := []int{ops.MLPInW1, ops.MLPInW2}, ops.Activation("")
	switch a := n.Attrs.(type) {
	case *ops.MLPAttrs:
		act = a.Activation
	case *ops.GatedMLPAttrs:
		ins, act = []int{ops.GatedInWg, ops.GatedInWu, ops.GatedInWd}, a.Activation
	}
	pack, ok := packs(n, panels{precision: s.packed}, ins...)
	if !ok || !allF32(n) || !fastActivation(act) {
		return Choice{}, false
	}
	return Choice{Kernel: "mlp", Note: s.packed.String() + " panels, hidden units stay in the cache", Pack: pack}, true
}

// tileUnits is the size of an expert below which a quarter of them takes longer in bf16 and
// int8 on tile registers than all units as one layer: 16 units measured so (MiniLM-L6, 58
// ms against 38), 64 and 128 did not (36 and 33).
const tileUnits = 32

// moe takes f32 mixtures at inference with constant experts.
func moe(s *Selector, n *ir.Node) (Choice, bool) {
	a := n.Attrs.(*ops.MoEAttrs)
	for i := range n.Outputs {
		if i > ops.MoEOutY && has(n, i) {
			return Choice{}, false
		}
	}
	for _, i := range []int{ops.MoEInNoise, ops.MoEInExpertDrop, ops.MoEInInnerKeep, ops.MoEInSelect} {
		if i < len(n.Inputs) && n.Inputs[i] != nil {
			return Choice{}, false
		}
	}
	if a.Training && (a.Gate == ops.GateSinkhorn || a.Gate == ops.GateSinkhornTrue) || !allF32(n) || !fastActivation(a.Activation) {
		return Choice{}, false
	}
	if a.Gate == ops.GateNoisyTopK && a.GateEps != 0 && a.Selection == ops.SelectThreshold {
		return Choice{}, false // the kernel would hold the threshold against the softmax, not the logit
	}
	pack, ok := packs(n, panels{precision: s.packed}, ops.MoEInW1, ops.MoEInW2, ops.MoEInUp, ops.MoEInSharedW1, ops.MoEInSharedW2, ops.MoEInSharedUp)
	if !ok {
		return Choice{}, false
	}
	// The router is f32 at every precision: its decisions are discrete.
	router, ok := packs(n, panels{precision: layout.F32, transposed: true}, ops.MoEInSel)
	if !ok {
		return Choice{}, false
	}
	for i, p := range router {
		pack[i] = p
	}
	note := s.packed.String() + " panels, tokens grouped by expert in place"
	if units := n.Inputs[ops.MoEInW1].Const.Shape()[2]; s.packed != layout.F32 && units < tileUnits {
		note += fmt.Sprintf("; experts of %d units take longer than the dense layer on tile registers: convert with fewer, larger ones", units)
	}
	return Choice{Kernel: "moe", Note: note, Pack: pack}, true
}
