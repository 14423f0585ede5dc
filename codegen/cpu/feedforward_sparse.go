package cpu

import (
	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
)

// topKMLP takes f32 layers with constant weights at inference.
func topKMLP(s *Selector, n *ir.Node) (Choice, bool) {
	a := n.Attrs.(*ops.TopKMLPAttrs)
	if has(n, ops.TopKOutHidden) || input(n, ops.TopKInKeep) != nil || !allF32(n) || !fastActivation(a.Activation) {
		return Choice{}, false
	}
	pack, ok := packs(n, panels{precision: s.packed}, ops.MLPInW1, ops.MLPInW2)
	if !ok {
		return Choice{}, false
	}
	return Choice{Kernel: "topk_mlp", Note: s.packed.String() + " panels, only the kept units reach the second product where they are few", Pack: pack}, true
}

// pkm takes f32 memories with constant keys and values that give y alone.
func pkm(s *Selector, n *ir.Node) (Choice, bool) {
	a := n.Attrs.(*ops.PKMAttrs)
	if has(n, ops.PKMOutIndices) || has(n, ops.PKMOutScores) || !allF32(n) {
		return Choice{}, false
	}
	if a.Weighting != ops.WeightSoftmax && a.Weighting != ops.WeightSoftmaxHead && !fastActivation(ops.Activation(a.Weighting)) {
		return Choice{}, false
	}
	// Keys and query are f32 at every precision: what they decide is discrete.
	pack, ok := packs(n, panels{precision: layout.F32, transposed: true}, ops.PKMInKeys0, ops.PKMInKeys1, ops.PKMInQuery)
	values := n.Inputs[ops.PKMInValues]
	if !ok || len(pack) < 2 || !packable(values) || values.Const.Len() == 0 {
		return Choice{}, false
	}
	keys := func(i int) int { return n.Inputs[i].Const.Shape()[1] }
	if !a.Dense(keys(ops.PKMInKeys0), keys(ops.PKMInKeys1)) {
		return Choice{Kernel: "pkm", Note: "f32 panels of keys, values read by row", Pack: pack}, true
	}
	pack[ops.PKMInValues] = panels{precision: s.packed}
	return Choice{Kernel: "pkm", Note: s.packed.String() + " panels, all values take part", Pack: pack}, true
}

// input is the i-th input of n, nil when absent.
func input(n *ir.Node, i int) *ir.Value {
	if i >= len(n.Inputs) {
		return nil
	}
	return n.Inputs[i]
}
