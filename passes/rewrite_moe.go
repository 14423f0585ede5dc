package passes

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// MoESplit says how the hidden units of a dense MLP become experts. Parameters that
// must be fitted come from outside; with K = Experts nothing needs fitting, and the
// output equals the dense one to rounding.
type MoESplit struct {
	Experts, K int
	// Units is the order of the hidden units: unit Units[e*G+j] becomes unit j of expert
	// e, G = hidden width / Experts. nil keeps their order.
	Units []int
	Gate  ops.Gate // "" is ops.GateNone: the selected weigh 1, so that all together are the dense MLP
	// Sel [Experts, D] and SelBias [Experts] rank the experts; nil ranks them by index.
	Sel, SelBias *tensor.Tensor
	// OutBias [Experts, Dv] is added with its expert, OBias [Dv] in place of the MLP's own
	// output bias; both optional.
	OutBias, OBias *tensor.Tensor
}

// check holds a split to the MLP's hidden width.
func (s *MoESplit) check(hidden int) error {
	switch {
	case s.Experts < 1:
		return fmt.Errorf("%w: %d experts: give at least one", ir.ErrShape, s.Experts)
	case hidden%s.Experts != 0:
		return fmt.Errorf("%w: %d hidden units are not divisible among %d experts", ir.ErrShape, hidden, s.Experts)
	case s.K < 1 || s.K > s.Experts:
		return fmt.Errorf("%w: K is %d, want 1 to %d, the number of experts", ir.ErrShape, s.K, s.Experts)
	}
	if s.Units == nil {
		return nil
	}
	seen := make([]bool, hidden)
	for _, u := range s.Units {
		if u < 0 || u >= hidden || seen[u] {
			return fmt.Errorf("%w: the order of hidden units is no permutation of %d", ir.ErrShape, hidden)
		}
		seen[u] = true
	}
	if len(s.Units) != hidden {
		return fmt.Errorf("%w: the order names %d of %d hidden units", ir.ErrShape, len(s.Units), hidden)
	}
	return nil
}

// denseWeights are the parameters of an MLP or GatedMLP node, as constants.
type denseWeights struct {
	act                     ops.Activation
	w1, w2, b1, b2, up, upB *tensor.Tensor
}

func weightsOf(n *ir.Node) (w denseWeights, err error) {
	get := func(i int) *tensor.Tensor {
		v := input(n, i)
		if v == nil {
			return nil
		}
		if !v.IsConst() && err == nil {
			err = fmt.Errorf("%w: %q is not constant", ir.ErrGraph, v.Name)
		}
		return v.Const
	}
	switch a := n.Attrs.(type) {
	case *ops.MLPAttrs:
		w = denseWeights{act: a.Activation, w1: get(ops.MLPInW1), w2: get(ops.MLPInW2), b1: get(ops.MLPInB1), b2: get(ops.MLPInB2)}
	case *ops.GatedMLPAttrs:
		w = denseWeights{
			act: a.Activation, w1: get(ops.GatedInWg), up: get(ops.GatedInWu), w2: get(ops.GatedInWd),
			b1: get(ops.GatedInBg), upB: get(ops.GatedInBu), b2: get(ops.GatedInBd),
		}
	default:
		err = fmt.Errorf("%w: %s is no dense MLP", ir.ErrGraph, n.Op)
	}
	return w, err
}

// ToMoE replaces a dense MLP or GatedMLP node by a mixture of experts and returns the
// new node. The caller runs g.Sort when it is done with the graph.
func ToMoE(g *ir.Graph, n *ir.Node, s MoESplit) (*ir.Node, error) {
	w, err := weightsOf(n)
	if err != nil {
		return nil, err
	}
	hidden := w.w1.Shape()[1]
	if err := s.check(hidden); err != nil {
		return nil, err
	}
	d, dv := w.w1.Shape()[0], w.w2.Shape()[1]
	e := &edit{g: g}
	name := func(i int) string {
		if v := input(n, i); v != nil {
			return v.Name
		}
		return ""
	}
	konst := func(base, suffix string, t *tensor.Tensor) *ir.Value {
		if t == nil {
			return nil
		}
		return g.NewConst(freeName(g, base+suffix), t)
	}
	ins := make([]*ir.Value, ops.MoEInUpBias+1)
	ins[ops.MoEInX] = n.Inputs[0]
	sel := s.Sel
	if sel == nil {
		sel = tensor.New(w.w1.DType(), s.Experts, d)
	}
	ins[ops.MoEInSel] = konst(name(1), ".selector", sel)
	ins[ops.MoEInSelBias] = konst(name(1), ".selector_bias", s.SelBias)
	ins[ops.MoEInW1] = konst(name(1), ".experts", stackColumns(w.w1, s.Experts, s.Units))
	ins[ops.MoEInW2] = konst(name(1), ".experts_down", permuteRows(w.w2, s.Units).Reshape(s.Experts, hidden/s.Experts, dv))
	if w.b1 != nil {
		ins[ops.MoEInBias] = konst(name(1), ".experts_bias", permuteRows(w.b1, s.Units).Reshape(s.Experts, hidden/s.Experts))
	}
	if w.up != nil {
		ins[ops.MoEInUp] = konst(name(1), ".experts_up", stackColumns(w.up, s.Experts, s.Units))
		if w.upB != nil {
			ins[ops.MoEInUpBias] = konst(name(1), ".experts_up_bias", permuteRows(w.upB, s.Units).Reshape(s.Experts, hidden/s.Experts))
		}
	}
	ins[ops.MoEInOutBias] = konst(name(1), ".experts_out_bias", s.OutBias)
	if s.OBias != nil {
		ins[ops.MoEInOBias] = konst(name(1), ".out_bias", s.OBias)
	} else if w.b2 != nil {
		ins[ops.MoEInOBias] = konst(name(1), ".out_bias", w.b2)
	}
	gate := s.Gate
	if gate == "" {
		gate = ops.GateNone
	}
	m := e.addN("moec::MoE", trimmed(ins...), nodes(n), 1, "gate", string(gate), "activation", string(w.act), "k", int64(s.K))
	return e.swap(n, m)
}

// ToTopKMLP replaces a dense MLP by one that keeps the k hidden units of each token that
// weigh most: by magnitude, times the norm of the unit's row of w2. It equals the dense
// one where k covers the active units.
func ToTopKMLP(g *ir.Graph, n *ir.Node, k int) (*ir.Node, error) {
	w, err := weightsOf(n)
	if err != nil {
		return nil, err
	}
	if w.up != nil {
		return nil, fmt.Errorf("%w: a gated MLP has no top-K form", ir.ErrGraph)
	}
	if hidden := w.w1.Shape()[1]; k < 1 || k > hidden {
		return nil, fmt.Errorf("%w: K is %d, want 1 to %d, the number of hidden units", ir.ErrShape, k, hidden)
	}
	e := &edit{g: g}
	m := e.addN("moec::TopKMLP", n.Inputs, nodes(n), 1, "k", int64(k), "activation", string(w.act), "use_norm", true, "magnitude", w.act != ops.ActReLU)
	return e.swap(n, m)
}

// PKMParams are the parameters of a product-key memory; see ops.PKMAttrs for their
// shapes. Query, biases and B2 are optional.
type PKMParams struct {
	Keys0, Keys1, Values                          *tensor.Tensor
	Query, QueryBias, KeyBias0, KeyBias1, OutBias *tensor.Tensor
	KNN                                           int
	Weighting                                     ops.Weighting // "" takes the MLP's activation
}

// ToPKM replaces a dense MLP by a product-key memory with fitted parameters.
func ToPKM(g *ir.Graph, n *ir.Node, p PKMParams) (*ir.Node, error) {
	w, err := weightsOf(n)
	if err != nil {
		return nil, err
	}
	if p.Weighting == "" {
		p.Weighting = ops.Weighting(w.act)
	}
	e := &edit{g: g}
	base := n.Inputs[1].Name
	konst := func(suffix string, t *tensor.Tensor) *ir.Value {
		if t == nil {
			return nil
		}
		return g.NewConst(freeName(g, base+suffix), t)
	}
	m := e.addN("moec::PKM", trimmed(n.Inputs[0], konst(".keys0", p.Keys0), konst(".keys1", p.Keys1), konst(".values", p.Values),
		konst(".query", p.Query), konst(".query_bias", p.QueryBias), konst(".key_bias0", p.KeyBias0), konst(".key_bias1", p.KeyBias1), konst(".out_bias", p.OutBias)),
		nodes(n), 1, "knn", int64(p.KNN), "weighting", string(p.Weighting))
	return e.swap(n, m)
}

// swap puts m in n's place.
func (e *edit) swap(n, m *ir.Node) (*ir.Node, error) {
	if e.err != nil {
		e.g.Remove(m)
		return nil, e.err
	}
	e.replace(n.Outputs[0], m.Outputs[0])
	e.g.Remove(n)
	return m, nil
}

// stackColumns cuts the columns of w1 [D,F], in the order given, into [E,D,G].
func stackColumns(w *tensor.Tensor, experts int, units []int) *tensor.Tensor {
	d, f := w.Shape()[0], w.Shape()[1]
	g := f / experts
	out := tensor.New(w.DType(), experts, d, g)
	size := w.DType().Size()
	src, dst := w.Bytes(), out.Bytes()
	for e := range experts {
		for i := range d {
			for j := range g {
				u := e*g + j
				if units != nil {
					u = units[u]
				}
				copy(dst[((e*d+i)*g+j)*size:][:size], src[(i*f+u)*size:][:size])
			}
		}
	}
	return out
}

// permuteRows orders the first axis.
func permuteRows(t *tensor.Tensor, units []int) *tensor.Tensor {
	if units == nil {
		return t
	}
	out := tensor.New(t.DType(), t.Shape()...)
	n := len(t.Bytes()) / max(t.Shape()[0], 1)
	for i, u := range units {
		copy(out.Bytes()[i*n:(i+1)*n], t.Bytes()[u*n:(u+1)*n])
	}
	return out
}

// freeName is name, or name with a number behind it when a value has it already.
func freeName(g *ir.Graph, name string) string {
	taken := map[string]bool{}
	for _, v := range g.Values() {
		taken[v.Name] = true
	}
	if !taken[name] {
		return name
	}
	for i := 1; ; i++ {
		if s := fmt.Sprintf("%s.%d", name, i); !taken[s] {
			return s
		}
	}
}
