package ops

import (
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// expandFusedAttention spells attention out in MatMul, Softmax and the reshapes and
// transposes around them.
func expandFusedAttention(g *ir.Graph, n *ir.Node) ([]*ir.Value, error) {
	e := &expander{g: g, n: n}
	a := n.Attrs.(*FusedAttentionAttrs)
	on := func(vs ...*ir.Value) []*ir.Value { return vs }
	var v [3]*ir.Value
	for i, o := range a.operands() {
		x := n.Inputs[i]
		if a.Wide {
			x = e.op("Cast", on(x), "to", tensor.F32)
		}
		v[i] = e.heads(x, o)
		if i > 0 && a.KVHeads < a.Heads {
			v[i] = e.op("Gather", on(v[i], e.ints(repeats(a.Heads, a.KVHeads)...)), "axis", int64(1))
		}
	}
	dt, out := a.types(n.Inputs[0].Type.DType)
	s := e.op("MatMul", on(v[0], e.op("Transpose", on(v[1]), "perm", []int64{0, 1, 3, 2})))
	if a.Scale != 1 {
		s = e.op("Mul", on(s, e.scalar(dt, float64(a.Scale))))
	}
	if a.Softcap != 0 {
		c := e.scalar(dt, float64(a.Softcap))
		s = e.op("Mul", on(e.op("Tanh", on(e.op("Div", on(s, c)))), c))
	}
	if len(n.Inputs) > 3 && n.Inputs[3] != nil {
		m := n.Inputs[3]
		if m.Type.DType == tensor.Bool {
			s = e.op("Where", on(m, s, e.scalar(dt, float64(a.Fill))))
		} else {
			s = e.op("Add", on(s, m))
		}
	}
	if a.Causal {
		size := e.op("Shape", on(s), "start", int64(2))
		ones := e.op("ConstantOfShape", on(size), "value", tensor.Of([]float32{1}, 1))
		lower := e.op("Cast", on(e.op("Trilu", on(ones), "upper", int64(0))), "to", tensor.Bool)
		s = e.op("Where", on(lower, s, e.scalar(dt, math.Inf(-1))))
	}
	w := e.op("Softmax", on(s), "axis", int64(-1))
	if a.NaNToZero {
		w = e.op("Where", on(e.op("IsNaN", on(w)), e.scalar(dt, 0), w))
	}
	y := e.op("MatMul", on(w, v[2]))
	if a.OutLayout == LayoutBSD {
		y = e.op("Transpose", on(y), "perm", []int64{0, 2, 1, 3})
		y = e.op("Reshape", on(y, e.ints(0, 0, a.Heads*a.VHeadDim)))
	}
	if out != dt {
		y = e.op("Cast", on(y), "to", out)
	}
	return on(y), e.err
}

// heads brings an attentionOperand into [batch, head, position, dim].
func (e *expander) heads(x *ir.Value, o attentionOperand) *ir.Value {
	if o.layout == LayoutBHSD {
		return x
	}
	width := o.heads * o.dim
	if t := x.Type; o.from != 0 || !t.Ranked || t.Shape[2] != ir.Known(width) {
		x = e.op("Slice", []*ir.Value{x, e.ints(o.from), e.ints(o.from + width), e.ints(2)})
	}
	x = e.op("Reshape", []*ir.Value{x, e.ints(0, 0, o.heads, o.dim)})
	return e.op("Transpose", []*ir.Value{x}, "perm", []int64{0, 2, 1, 3})
}

// repeats is 0,0,..,1,1,..: which key head each query head uses.
func repeats(heads, kvHeads int64) []int64 {
	out := make([]int64, heads)
	for h := range out {
		out[h] = int64(h) / (heads / kvHeads)
	}
	return out
}
