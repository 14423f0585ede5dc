package ops

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// expandMoEForORT uses onnxruntime's com.microsoft.MoE, whose gate is a softmax over all
// experts, renormalised over the chosen ones or not:
//
//	sigmoid   router log(sigmoid(l)); the softmax of that is sigmoid(l) over the sum of all
//	          experts' sigmoids, by which the result is multiplied
//	softmax-before, switch   router l
//	softmax-after, noisy-topk without noise   router l, renormalised
//
// Its experts have as many outputs as x has elements, its gelu is the tanh form, and its
// CPU version gates experts with silu only, the two layers interleaved.
func expandMoEForORT(g *ir.Graph, n *ir.Node) ([]*ir.Value, error) {
	if err := fitsORT(n); err != nil {
		return nil, err
	}
	e := newMoEExpander(g, n)
	e.setLogits()
	router, attrs := e.logits, []any{"k", int64(e.slots)}
	var total *ir.Value
	switch e.a.Gate {
	case GateSigmoid, GateSinkhorn, GateSinkhornTrue:
		// log sigmoid(l) = -softplus(-l), which does not overflow.
		router = e.un("Neg", e.un("Softplus", e.un("Neg", e.logits)))
		total = e.reduce("ReduceSum", e.un("Sigmoid", e.logits), true, 1)
	case GateSoftmaxAfter, GateNoisyTopK:
		attrs = append(attrs, "normalize_routing_weights", int64(1))
	}
	flip := func(w *ir.Value) *ir.Value { return e.un("Transpose", w, "perm", []int64{0, 2, 1}) }
	fc1, bias := flip(e.in(MoEInW1)), e.in(MoEInBias)
	kind := string(e.a.Activation)
	if e.a.Activation == ActGELUTanh {
		kind = "gelu"
	}
	if up := e.in(MoEInUp); up != nil {
		kind = "swiglu"
		attrs = append(attrs, "swiglu_fusion", int64(1), "activation_alpha", float32(1), "activation_beta", float32(0))
		fc1 = e.interleaved(fc1, flip(up), e.units, e.d)
		if bias != nil || e.in(MoEInUpBias) != nil {
			bias = e.interleaved(e.orZeros(bias), e.orZeros(e.in(MoEInUpBias)), e.units)
		}
	}
	attrs = append(attrs, "activation_type", kind)
	if e.err != nil {
		return nil, e.err
	}
	y := e.microsoft("MoE", []*ir.Value{e.tokens, router, fc1, bias, flip(e.in(MoEInW2)), e.in(MoEInOutBias)}, attrs...)
	if total != nil {
		y = e.bin("Mul", y, total)
	}
	outs := make([]*ir.Value, len(n.Outputs))
	outs[MoEOutY] = e.lead(e.plus(e.plus(y, e.shared()), e.in(MoEInOBias)), e.dv)
	return outs, e.err
}

// fitsORT names what com.microsoft.MoE cannot hold.
func fitsORT(n *ir.Node) error {
	a := n.Attrs.(*MoEAttrs)
	no := func(what string) error {
		return fmt.Errorf("%w: onnxruntime's MoE cannot hold %s: export with --export portable or gather", ir.ErrUnsupportedOp, what)
	}
	has := func(i int) bool { return i < len(n.Inputs) && n.Inputs[i] != nil }
	gated := has(MoEInUp)
	switch {
	case a.Gate == GateNone:
		return no("gate none")
	case a.Gate == GateNoisyTopK && has(MoEInNoise):
		return no("gate noisy-topk with noise")
	case a.Gate == GateNoisyTopK && a.GateEps != 0:
		return no("gate noisy-topk with gate_eps")
	case (a.Gate == GateSinkhorn || a.Gate == GateSinkhornTrue) && a.Training:
		return no("gate " + string(a.Gate) + " in training")
	case a.Selection != SelectTopK:
		return no("selection by " + string(a.Selection))
	case has(MoEInExpertDrop) || has(MoEInInnerKeep):
		return no("dropout")
	case has(MoEInSelect):
		return no("a given selection")
	case gated && a.Activation != ActSiLU:
		return no("gated experts with activation " + string(a.Activation))
	case a.Activation == ActGELU:
		return no("activation gelu (its gelu is the tanh form)")
	}
	if t := n.Inputs[0].Type; t.DType != tensor.F32 {
		return no("element type " + t.DType.String())
	}
	if w := n.Inputs[MoEInW2].Type; len(w.Shape) == 3 && w.Shape[2] != n.Inputs[MoEInW1].Type.Shape[1] {
		return no("a value width other than that of x")
	}
	for i, v := range n.Outputs {
		if i > 0 && v != nil {
			return no("outputs other than y")
		}
	}
	return nil
}

// interleaved puts rows of a and b alternately: [E, G, ...] twice to [E, 2G, ...].
func (e *moeExpander) interleaved(a, b *ir.Value, dims ...int) *ir.Value {
	if e.err != nil {
		return a
	}
	pair := e.op("Concat", []*ir.Value{e.bin("Unsqueeze", a, e.ints(2)), e.bin("Unsqueeze", b, e.ints(2))}, "axis", int64(2))
	shape := []int64{int64(e.experts), int64(2 * e.units)}
	for _, d := range dims[1:] {
		shape = append(shape, int64(d))
	}
	return e.bin("Reshape", pair, e.ints(shape...))
}

// orZeros is a bias [E,G], zeros when absent.
func (e *moeExpander) orZeros(b *ir.Value) *ir.Value {
	if b != nil {
		return b
	}
	return e.g.NewConst("", tensor.New(e.dt, e.experts, e.units))
}

// microsoft emits an op of the domain com.microsoft.
func (e *moeExpander) microsoft(name string, ins []*ir.Value, attrs ...any) *ir.Value {
	op := e.g.Ops.Lookup(ir.DomainMicrosoft, name)
	if op == nil {
		e.fail("no op com.microsoft::%s", name)
		return ins[0]
	}
	a := op.Attrs()
	for i := 0; i+1 < len(attrs); i += 2 {
		if err := ir.SetAttr(a, attrs[i].(string), attrs[i+1]); err != nil && e.err == nil {
			e.err = err
		}
	}
	m := e.g.Add(op, a, ins, "")
	m.Origin = e.n.Origin
	if err := ir.InferNode(m); err != nil && e.err == nil {
		e.err = ir.NodeError(m, err)
	}
	return m.Outputs[0]
}
