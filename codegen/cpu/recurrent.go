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
type gatePanels struct {
	precision layout.Precision
	gates     int
}

// Layout names the order.
func (p gatePanels) Layout() string { return p.precision.Name() + ".t.gates" }

// Pack packs.
func (p gatePanels) Pack(t *tensor.Tensor) (*tensor.Tensor, error) {
	s := t.Shape()
	if len(s) != 3 || s[1] != p.gates*s[2] {
		return nil, fmt.Errorf("recurrent weights %s for %d gates", t, p.gates)
	}
	return layout.PackStack(p.precision, t.Reshape(s[0]*p.gates, s[2], s[2]), true)
}

// recurrent takes f32 layers with constant weights and their usual activations. Both products
// are at the program's precision, states and gates in f32; but in int8 programs only those of an
// LSTM are int8. Two bidirectional layers of 256 units over 128 steps ended within 0.0088 (LSTM) and
// 0.012 (GRU) of f32 in int8, relative: the first is less than onnxruntime's int8 LSTM errs by, 0.011,
// the second more than its GRU, 0.009, which it leaves in f32; in bf16 the GRU's is 0.0039.
func recurrent(s *Selector, n *ir.Node) (Choice, bool) {
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
	p := s.packed
	if p == layout.I8 && n.Op.Name != "LSTM" {
		p = layout.BF16
	}
	hidden := r.Const.Shape()[2]
	if a.HiddenSize != nil && int(*a.HiddenSize) != hidden ||
		!slices.Equal(r.Const.Shape(), []int{dirs, gates * hidden, hidden}) ||
		!slices.Equal(w.Const.Shape(), []int{dirs, gates * hidden, w.Const.Shape()[2]}) {
		return Choice{}, false
	}
	return Choice{
		Kernel: "recurrent", Note: "inputs projected at once, " + p.String() + " panels by gate for the steps",
		Pack: map[int]Packer{1: panels{precision: p, transposed: true}, 2: gatePanels{p, gates}},
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
