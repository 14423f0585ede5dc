package passes

import (
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// site is a dense two-layer MLP found in a graph: y = act(x w1 + b1) w2 + b2, or
// y = (act(x w1 + b1) * (x up + upBias)) w2 + b2 when gated. Weights are constants in
// the orientation of moec::MLP.
type site struct {
	x, y       *ir.Value
	act        ops.Activation
	w1, b1     *ir.Value
	up, upBias *ir.Value // gated only
	w2, b2     *ir.Value
	channels   bool // 1x1 convolutions: the features lie along axis 1
	nodes      []*ir.Node
}

// matchMLP recognises the MLP whose second layer is n: the one place that knows what a
// dense MLP looks like. It runs after the passes that give Linear, Gelu and Swish one
// spelling.
func (e *edit) matchMLP(n *ir.Node) (*site, bool) {
	l2, ok := e.layer(n)
	if !ok {
		return nil, false
	}
	if s, ok := e.matchPlain(l2); ok {
		return s, true
	}
	return e.matchGated(l2)
}

// layer is a fully connected layer: Linear, or a Conv with 1x1 kernels.
type layer struct {
	node     *ir.Node
	x, y     *ir.Value
	w, b     *ir.Value // constants; w is [in,out] but for convolutions
	channels bool
}

func (e *edit) layer(n *ir.Node) (layer, bool) {
	if n == nil {
		return layer{}, false
	}
	l := layer{node: n, x: n.Inputs[0], w: input(n, 1), b: input(n, 2), y: n.Outputs[0]}
	if !l.w.IsConst() || l.b != nil && !l.b.IsConst() || !l.w.Const.DType().IsFloat() || l.w.Const.Len() == 0 {
		return l, false
	}
	switch n.Op.String() {
	case "moec::Linear":
		return l, input(n, 3) == nil && stringAttr(n, "activation") == ""
	case "Conv":
		l.channels = true
		return l, pointwise(n, l.w.Const)
	}
	return l, false
}

// pointwise reports whether a Conv multiplies each position by one matrix.
func pointwise(n *ir.Node, w *tensor.Tensor) bool {
	if w.Rank() < 3 || intAttr(n, "group") != 1 {
		return false
	}
	for _, k := range w.Shape()[2:] {
		if k != 1 {
			return false
		}
	}
	moves := func(x, rest int64) bool { return x != rest }
	for _, s := range intsAttr(n, "strides") {
		if moves(s, 1) {
			return false
		}
	}
	for _, p := range intsAttr(n, "pads") {
		if moves(p, 0) {
			return false
		}
	}
	return true
}

// familyActivation is the activation of the family that n applies.
func familyActivation(n *ir.Node) (ops.Activation, bool) {
	if n == nil {
		return "", false
	}
	a := activationOf(n)
	switch a {
	case ops.ActReLU, ops.ActGELU, ops.ActGELUTanh, ops.ActSiLU:
		return a, true
	}
	return "", false
}

func (e *edit) matchPlain(l2 layer) (*site, bool) {
	a := l2.x.Def
	act, ok := familyActivation(a)
	if !ok || !e.g.OnlyUse(l2.x) {
		return nil, false
	}
	l1, ok := e.layer(a.Inputs[0].Def)
	if !ok || !e.g.OnlyUse(l1.y) || l1.channels != l2.channels {
		return nil, false
	}
	return &site{
		x: l1.x, y: l2.y, act: act, w1: l1.w, b1: l1.b, w2: l2.w, b2: l2.b,
		channels: l2.channels, nodes: nodes(l1.node, a, l2.node),
	}, fitTogether(l1, l2)
}

func (e *edit) matchGated(l2 layer) (*site, bool) {
	mul := def(l2.x, "Mul")
	if mul == nil || l2.channels || !e.g.OnlyUse(l2.x) {
		return nil, false
	}
	for i := range 2 {
		a := mul.Inputs[i].Def
		act, ok := familyActivation(a)
		if !ok || !e.g.OnlyUse(mul.Inputs[i]) || !e.g.OnlyUse(mul.Inputs[1-i]) {
			continue
		}
		if s, ok := e.halves(a.Inputs[0], mul.Inputs[1-i]); ok {
			s.act, s.y, s.w2, s.b2 = act, l2.y, l2.w, l2.b
			s.nodes = append(s.nodes, a, mul, l2.node)
			return s, true
		}
		gate, ok1 := e.layer(a.Inputs[0].Def)
		up, ok2 := e.layer(mul.Inputs[1-i].Def)
		if ok1 && ok2 && !gate.channels && !up.channels && gate.x == up.x && e.g.OnlyUse(gate.y) && fitTogether(gate, l2) && fitTogether(up, l2) {
			return &site{
				x: gate.x, y: l2.y, act: act, w1: gate.w, b1: gate.b, up: up.w, upBias: up.b, w2: l2.w, b2: l2.b,
				nodes: nodes(gate.node, a, up.node, mul, l2.node),
			}, true
		}
	}
	return nil, false
}

// halves recognises the gate and up branches as the two halves of one Linear, cut along
// the last axis by a Split or by two Slices.
func (e *edit) halves(gate, up *ir.Value) (*site, bool) {
	if !gate.Type.Ranked || !up.Type.Ranked {
		return nil, false
	}
	packed, gateAt, cut := partOfLast(gate)
	other, upAt, cut2 := partOfLast(up)
	if packed == nil || packed != other || gate == up || !e.g.OnlyUse(gate) || !e.g.OnlyUse(up) || e.g.IsOutput(packed) {
		return nil, false
	}
	l, ok := e.layer(packed.Def)
	if !ok || l.channels || l.w.Const.Rank() != 2 {
		return nil, false
	}
	if slices.ContainsFunc(packed.Users(), func(n *ir.Node) bool { return n != cut && n != cut2 }) || len(cut.Outputs) > 2 || len(cut2.Outputs) > 2 {
		return nil, false
	}
	width, last := l.w.Const.Shape()[1], gate.Type.Rank()-1
	half := ir.Known(int64(width / 2))
	if width%2 != 0 || gateAt+upAt != half.Size || gateAt*upAt != 0 || gate.Type.Shape[last] != half || up.Type.Shape[last] != half {
		return nil, false
	}
	part := func(v *ir.Value, at int64) *ir.Value {
		if v == nil {
			return nil
		}
		return e.g.NewConst("", columns(v.Const, int(at), int(at)+width/2))
	}
	from := nodes(l.node, cut)
	if cut2 != cut {
		from = append(from, cut2)
	}
	return &site{
		x: l.x, w1: part(l.w, gateAt), b1: part(l.b, gateAt), up: part(l.w, upAt), upBias: part(l.b, upAt), nodes: from,
	}, true
}

// columns are columns lo to hi of a matrix, or elements of a vector.
func columns(t *tensor.Tensor, lo, hi int) *tensor.Tensor {
	shape := slices.Clone(t.Shape())
	width := shape[len(shape)-1]
	shape[len(shape)-1] = hi - lo
	out := tensor.New(t.DType(), shape...)
	size := t.DType().Size()
	rows := t.Len() / max(width, 1)
	for r := range rows {
		copy(out.Bytes()[r*(hi-lo)*size:(r+1)*(hi-lo)*size], t.Bytes()[(r*width+lo)*size:(r*width+hi)*size])
	}
	return out
}

// fitTogether checks that the hidden widths are equal and all biases are vectors.
func fitTogether(l1, l2 layer) bool {
	for _, l := range []layer{l1, l2} {
		if l.b != nil && l.b.Const.Rank() != 1 {
			return false
		}
	}
	a, b := l1.w.Const.Shape(), l2.w.Const.Shape()
	if l1.w.Const.DType() != l2.w.Const.DType() {
		return false
	}
	if l1.channels {
		return a[0] == b[1] // [out, in, 1...]
	}
	return a[1] == b[0]
}
