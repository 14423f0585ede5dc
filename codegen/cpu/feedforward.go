package cpu

import (
	"math"

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

// joins reports whether the experts of a mixture, on tile registers, are better computed as
// one MLP with zeros for those that are not selected: many small ones, of which many are
// selected. A token's visit to an expert of d 384 took 115 ns and 1.6 more per unit of it, a
// unit of the one MLP 1.3, whether it counts or not. (All rates grow with d.)
func joins(p layout.Precision, a *ops.MoEAttrs, up, down *ir.Value) bool {
	shape := up.Const.Shape()
	if p == layout.F32 || len(shape) != 3 {
		return false
	}
	experts, units := shape[0], shape[2]
	most := int(a.K)
	if a.Selection == ops.SelectThreshold {
		if most = int(a.MaxK); most == 0 {
			return false // who knows
		}
	}
	if units != layout.NR && units != layout.NR/2 || experts*units > layout.MaxK8 {
		return false
	}
	if float64(most)*(115+1.6*float64(units)) < float64(experts*units)*1.3 {
		return false
	}
	// Zero times an infinity would be NaN in every token.
	for _, v := range tensor.Data[float32](down.Const) {
		if !(math.Abs(float64(v)) < layout.MaxBF16) {
			return false
		}
	}
	return true
}

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
	if w2 := n.Inputs[ops.MoEInW2]; joins(s.packed, a, n.Inputs[ops.MoEInW1], w2) {
		pack[ops.MoEInW2] = panels{precision: s.packed, tall: true}
		note += "; on tile registers one layer with zeros for experts that are not selected"
	}
	return Choice{Kernel: "moe", Note: note, Pack: pack}, true
}
