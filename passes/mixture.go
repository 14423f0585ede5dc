package passes

import (
	"context"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Mixtures makes moec::MoE of com.microsoft::MoE nodes with constant weights, router
// included where a Linear on the same tokens makes the logits. What moec::MoE has no
// words for (a SwiGLU with limits, relu2) stays as it is.
func Mixtures() Pass {
	return Pass{
		Name: "mixture", Doc: "Make moec::MoE of onnxruntime's MoE, router included.", Effect: Rounding,
		Run: func(_ context.Context, g *ir.Graph) (bool, error) {
			e := &edit{g: g}
			e.rules(map[string][]rule{"com.microsoft::MoE": {mixture}})
			return e.done()
		},
	}
}

func mixture(e *edit, n *ir.Node) bool {
	a := n.Attrs.(*ops.MSMoEAttrs)
	act, gated, ok := mixtureActivation(a)
	x, fc1, fc2, fc3 := n.Inputs[ops.MSMoEInX], n.Inputs[ops.MSMoEInFC1], input(n, ops.MSMoEInFC2), input(n, ops.MSMoEInFC3)
	if !ok || x.Type.Rank() < 2 || fc2 == nil {
		return false
	}
	for i := ops.MSMoEInFC1; i < len(n.Inputs); i++ {
		if v := n.Inputs[i]; v != nil && !v.IsConst() {
			return false
		}
	}
	b1, b3 := input(n, ops.MSMoEInBias1), input(n, ops.MSMoEInBias3)
	if !gated && (fc3 != nil || b3 != nil) {
		gated = true // any activation gates when there is a third layer
	}
	in := make([]*ir.Value, ops.MoEInLogits+1)
	in[ops.MoEInX], in[ops.MoEInOutBias] = x, input(n, ops.MSMoEInBias2)
	put := func(i int, t *tensor.Tensor) { in[i] = e.g.NewConst("", t) }
	units := fc2.Const.Shape()[2]
	whole := func(v *ir.Value) *tensor.Tensor { return flipped(v.Const, 0, 1, v.Const.Shape()[1]) }
	put(ops.MoEInW2, whole(fc2))
	switch {
	case !gated:
		put(ops.MoEInW1, whole(fc1))
		in[ops.MoEInBias] = b1
	case fc3 != nil:
		put(ops.MoEInW1, whole(fc1))
		put(ops.MoEInUp, whole(fc3))
		in[ops.MoEInBias], in[ops.MoEInUpBias] = b1, b3
	default:
		// Gate and linear rows take turns, or stand one after the other.
		from, step := 1, 2
		if a.Fusion == 2 {
			from, step = units, 1
		}
		put(ops.MoEInW1, flipped(fc1.Const, 0, step, units))
		put(ops.MoEInUp, flipped(fc1.Const, from, step, units))
		if b1 != nil {
			put(ops.MoEInBias, part(b1.Const, 0, step, units))
			put(ops.MoEInUpBias, part(b1.Const, from, step, units))
		}
	}
	moe := e.g.Op("moec::MoE")
	m := moe.Attrs().(*ops.MoEAttrs)
	m.Gate, m.K, m.Activation = ops.GateSoftmaxBefore, a.K, act
	if a.Normalize {
		m.Gate = ops.GateSoftmaxAfter
	}
	from := nodes(n, e.router(in, x, n.Inputs[ops.MSMoEInRouter]))
	return e.replace(n.Outputs[0], e.addAttrs(moe, m, trimmed(in...), from, 1).Outputs[0])
}

// mixtureActivation maps onnxruntime's activation; gated ones have two first layers.
func mixtureActivation(a *ops.MSMoEAttrs) (act ops.Activation, gated, ok bool) {
	switch a.ActivationType {
	case "relu", "silu", "identity":
		return ops.Activation(a.ActivationType), false, true
	case "gelu":
		return ops.ActGELUTanh, false, true
	case "geglu":
		return ops.ActGELUTanh, true, true
	case "swiglu":
		plain := a.Alpha == 1 && a.Beta == 0 && (a.Limit == nil || math.IsInf(float64(*a.Limit), 1))
		return ops.ActSiLU, true, plain
	}
	return "", false, false
}

// router sets the selector where a Linear of the tokens makes the logits, else the
// logits, and returns the node that it took in.
func (e *edit) router(in []*ir.Value, x, logits *ir.Value) *ir.Node {
	l := def(beforeReshape(logits), "moec::Linear")
	if l != nil && beforeReshape(l.Inputs[0]) == beforeReshape(x) && l.Inputs[1].IsConst() && l.Inputs[1].Type.Rank() == 2 &&
		vector(input(l, 2)) && input(l, 3) == nil && stringAttr(l, "activation") == "" {
		in[ops.MoEInSel] = e.g.NewConst("", transposed(l.Inputs[1].Const))
		in[ops.MoEInSelBias] = input(l, 2)
		return l
	}
	if x.Type.Rank() > 2 {
		experts := e.add("Shape", values(logits), nil, "start", int64(-1))
		lead := e.add("Shape", values(x), nil, "end", int64(-1))
		logits = e.add("Reshape", values(logits, e.add("Concat", values(lead, experts), nil, "axis", int64(0))), nil, "allowzero", int64(1))
	}
	in[ops.MoEInLogits] = logits
	return nil
}

// beforeReshape looks through a Reshape that keeps the last axis, and with it the rows.
func beforeReshape(v *ir.Value) *ir.Value {
	r := def(v, "Reshape")
	if r == nil {
		return v
	}
	a, b := r.Inputs[0].Type, v.Type
	if a.Rank() < 1 || b.Rank() < 1 || !a.Shape[a.Rank()-1].Same(b.Shape[b.Rank()-1]) {
		return v
	}
	return r.Inputs[0]
}

// vector reports whether v is absent or a constant of rank 1.
func vector(v *ir.Value) bool { return v == nil || v.IsConst() && v.Const.Rank() == 1 }

// flipped takes rows rows of each matrix of a stack, from one on, every step-th, and
// transposes what they make.
func flipped(t *tensor.Tensor, from, step, rows int) *tensor.Tensor {
	s, size := t.Shape(), t.DType().Size()
	out := tensor.New(t.DType(), s[0], s[2], rows)
	src, dst := t.Bytes(), out.Bytes()
	for e := range s[0] {
		for g := range rows {
			for d := range s[2] {
				copy(dst[((e*s[2]+d)*rows+g)*size:][:size], src[((e*s[1]+from+g*step)*s[2]+d)*size:][:size])
			}
		}
	}
	return out
}

// part takes n elements of each row of a matrix, from one on, every step-th.
func part(t *tensor.Tensor, from, step, n int) *tensor.Tensor {
	s, size := t.Shape(), t.DType().Size()
	out := tensor.New(t.DType(), s[0], n)
	for e := range s[0] {
		for g := range n {
			copy(out.Bytes()[(e*n+g)*size:][:size], t.Bytes()[(e*s[1]+from+g*step)*size:][:size])
		}
	}
	return out
}
