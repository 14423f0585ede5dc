package cpu

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// gatePanels packs recurrent weights [directions, gates*hidden, hidden] as one matrix
// per direction and gate, so that units can be divided.
type gatePanels struct{ gates int }

// Layout names the order.
func (p gatePanels) Layout() string { return layout.F32.Name() + ".t.gates" }

// Pack packs.
func (p gatePanels) Pack(t *tensor.Tensor) (*tensor.Tensor, error) {
	s := t.Shape()
	if len(s) != 3 || s[1] != p.gates*s[2] {
		return nil, fmt.Errorf("recurrent weights %s for %d gates", t, p.gates)
	}
	return layout.PackStack(layout.F32, t.Reshape(s[0]*p.gates, s[2], s[2]), true)
}

// recurrent takes f32 layers with constant weights and their usual activations. They
// stay f32 at every precision: a step's error goes into every later one.
func recurrent(_ *Selector, n *ir.Node) (Choice, bool) {
	a := n.Attrs.(*ops.RecurrentAttrs)
	gates, usual := 1, []string{"tanh"}
	switch n.Op.Name {
	case "GRU":
		gates, usual = 3, []string{"sigmoid", "tanh"}
	case "LSTM":
		gates, usual = 4, []string{"sigmoid", "tanh", "tanh"}
	}
	dirs := 1
	if a.Direction == "bidirectional" {
		dirs = 2
	}
	for i, v := range n.Inputs {
		if v != nil && (i != 4 && v.Type.DType != tensor.F32 || !v.Type.Ranked) {
			return Choice{}, false
		}
	}
	if lens := input(n, 4); lens != nil && lens.Type.DType != tensor.I32 {
		return Choice{}, false
	}
	if !usualActivations(a.Activations, dirs, usual) || a.Clip != nil && !(*a.Clip >= 0) {
		return Choice{}, false
	}
	w, r := n.Inputs[1], n.Inputs[2]
	if !w.IsConst() || !r.IsConst() || w.Const.Len() == 0 || r.Const.Len() == 0 || n.Inputs[0].Type.Rank() != 3 {
		return Choice{}, false
	}
	hidden := r.Const.Shape()[2]
	if a.HiddenSize != nil && int(*a.HiddenSize) != hidden ||
		!slices.Equal(r.Const.Shape(), []int{dirs, gates * hidden, hidden}) ||
		!slices.Equal(w.Const.Shape(), []int{dirs, gates * hidden, w.Const.Shape()[2]}) {
		return Choice{}, false
	}
	return Choice{
		Kernel: "recurrent", Note: "inputs projected at once, f32 panels by gate for the steps",
		Pack: map[int]Packer{1: panels{precision: layout.F32, transposed: true}, 2: gatePanels{gates}},
	}, true
}

// usualActivations reports whether every direction has the activations in want; a plain
// layer's may also be relu or sigmoid, the same in both directions.
func usualActivations(names []string, dirs int, want []string) bool {
	if len(names) == 0 {
		return true
	}
	if len(names) < dirs*len(want) {
		return false
	}
	for i, name := range names[:dirs*len(want)] {
		name = strings.ToLower(name)
		if len(want) == 1 && (name == "relu" || name == "sigmoid") && strings.EqualFold(name, names[dirs-1]) {
			continue
		}
		if name != want[i%len(want)] {
			return false
		}
	}
	return len(want) > 1 || strings.EqualFold(names[0], names[dirs-1])
}
