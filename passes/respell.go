package passes

import (
	"context"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
)

// Respell turns the fused ops that exporters and onnxruntime's optimiser emit into
// standard ones or into ours, so that one pattern and one kernel serve every source.
func Respell() Pass {
	return Pass{
		Name: "respell", Doc: "Turn ONNX's Attention and com.microsoft's fused ops into standard ops or ours.", Effect: Rounding,
		Run: func(_ context.Context, g *ir.Graph) (bool, error) {
			e := &edit{g: g}
			e.rules(map[string][]rule{
				"Attention":                                       {onnxAttention},
				"com.microsoft::MultiHeadAttention":               {multiHead},
				"com.microsoft::QuickGelu":                        {quickGelu},
				"com.microsoft::Gelu":                             {biasGelu},
				"com.microsoft::BiasGelu":                         {biasGelu},
				"com.microsoft::FastGelu":                         {biasGelu},
				"com.microsoft::FusedMatMul":                      {fusedMatMul},
				"com.microsoft::SkipLayerNormalization":           {microsoftSkip},
				"com.microsoft::SkipSimplifiedLayerNormalization": {microsoftSkip},
				"com.microsoft::SimplifiedLayerNormalization":     {simplified},
				"SimplifiedLayerNormalization":                    {simplified},
			})
			return e.done()
		},
	}
}

// onlyFirst reports whether n has no output but its first, and none of the listed inputs.
func onlyFirst(n *ir.Node, absent ...int) bool {
	for _, i := range absent {
		if input(n, i) != nil {
			return false
		}
	}
	return len(n.Outputs) == 1
}

// onnxAttention: without cache, soft cap and windows it is ours. Rows that see nothing
// are zero there.
func onnxAttention(e *edit, n *ir.Node) bool {
	o := n.Attrs.(*ops.AttentionAttrs)
	if !onlyFirst(n, 4, 5, 6) || o.Softcap != 0 || o.LeftWindowSize != -1 || o.RightWindowSize != -1 || o.SoftmaxPrecision != nil {
		return false
	}
	a := &attention{e: e, dt: n.Inputs[0].Type.DType, from: nodes(n), attrs: newAttention(e)}
	a.attrs.Causal, a.attrs.NaNToZero = o.IsCausal, true
	q, k, v := n.Inputs[0], n.Inputs[1], n.Inputs[2]
	heads := func(x *ir.Value, num *int64) (h, d int64, layout string) {
		s := x.Type.Shape
		switch {
		case x.Type.Rank() == 4 && s[1].IsKnown() && s[3].IsKnown():
			return s[1].Size, s[3].Size, ops.LayoutBHSD
		case x.Type.Rank() == 3 && num != nil && *num > 0 && s[2].IsKnown() && s[2].Size%*num == 0:
			return *num, s[2].Size / *num, ops.LayoutBSD
		}
		return 0, 0, ""
	}
	var d, vh int64
	a.attrs.Heads, a.attrs.HeadDim, a.attrs.QLayout = heads(q, o.QNumHeads)
	a.attrs.KVHeads, d, a.attrs.KLayout = heads(k, o.KVNumHeads)
	vh, a.attrs.VHeadDim, a.attrs.VLayout = heads(v, o.KVNumHeads)
	if d != a.attrs.HeadDim || vh != a.attrs.KVHeads {
		return false
	}
	if a.attrs.OutLayout = ops.LayoutBHSD; q.Type.Rank() == 3 {
		a.attrs.OutLayout = ops.LayoutBSD
	}
	if a.scale = 1 / math.Sqrt(float64(d)); o.Scale != nil {
		a.scale = float64(*o.Scale)
	}
	return a.known(q, k, v, input(n, 3), n.Outputs[0])
}

// multiHead: com.microsoft's, on projected q, k and v, with nothing but an added bias.
func multiHead(e *edit, n *ir.Node) bool {
	if !onlyFirst(n, 3, 4, 6, 7, 8, 9) || len(n.Inputs) < 3 {
		return false
	}
	o := n.Attrs.(*ops.MicrosoftAttentionAttrs)
	q, k, v := n.Inputs[0], n.Inputs[1], n.Inputs[2]
	if o.NumHeads < 1 || o.DoRotary || o.PastPresentShareBuffer || k == nil || v == nil {
		return false
	}
	for _, x := range []*ir.Value{q, k, v} {
		if x.Type.Rank() != 3 || !x.Type.Shape[2].IsKnown() || x.Type.Shape[2].Size%o.NumHeads != 0 {
			return false
		}
	}
	a := &attention{e: e, dt: q.Type.DType, from: nodes(n), attrs: newAttention(e)}
	a.attrs.Heads, a.attrs.KVHeads = o.NumHeads, o.NumHeads
	a.attrs.HeadDim, a.attrs.VHeadDim = q.Type.Shape[2].Size/o.NumHeads, v.Type.Shape[2].Size/o.NumHeads
	a.attrs.Causal, a.attrs.NaNToZero = o.Unidirectional, true
	if a.scale = 1 / math.Sqrt(float64(a.attrs.HeadDim)); o.Scale != nil && *o.Scale != 0 {
		a.scale = float64(*o.Scale)
	}
	return a.known(q, k, v, input(n, 5), n.Outputs[0])
}

func newAttention(e *edit) *ops.FusedAttentionAttrs {
	return e.g.Op("moec::Attention").Attrs().(*ops.FusedAttentionAttrs)
}

// known emits an attention whose attributes are settled, looking through the splitting
// and merging of heads where the layout leaves that to others.
func (a *attention) known(q, k, v, mask, out *ir.Value) bool {
	if a.attrs.Heads < 1 || a.attrs.KVHeads < 1 || a.attrs.Heads%a.attrs.KVHeads != 0 || a.attrs.HeadDim < 1 || a.attrs.VHeadDim < 1 {
		return false
	}
	if mask != nil {
		t, keys := mask.Type, k.Type.Shape[len(k.Type.Shape)-2]
		if r := t.Rank(); r < 2 || r > 4 || !t.Shape[r-1].Same(keys) {
			return false
		}
		a.mask = mask
	}
	split := func(x *ir.Value, layout *string, at *int64) *ir.Value {
		if *layout == ops.LayoutBHSD {
			var from []*ir.Node
			x, *at, *layout, from = a.split(x)
			a.from = append(a.from, from...)
		}
		return x
	}
	q = split(q, &a.attrs.QLayout, &a.attrs.QOffset)
	k = split(k, &a.attrs.KLayout, &a.attrs.KOffset)
	v = split(v, &a.attrs.VLayout, &a.attrs.VOffset)
	if a.attrs.OutLayout == ops.LayoutBHSD {
		out = a.merge(out)
	}
	return a.emit(q, k, v, out)
}

func quickGelu(e *edit, n *ir.Node) bool {
	return e.replace(n.Outputs[0], e.add("Swish", values(n.Inputs[0]), nodes(n), "alpha", float32(floatAttr(n, "alpha"))))
}

// biasGelu: Gelu of a sum with an optional bias.
func biasGelu(e *edit, n *ir.Node) bool {
	x := n.Inputs[0]
	if b := input(n, 1); b != nil {
		x = e.add("Add", values(x, b), nodes(n))
	}
	kind := "none"
	if n.Op.Name == "FastGelu" {
		kind = "tanh"
	}
	return e.replace(n.Outputs[0], e.add("Gelu", values(x), nodes(n), "approximate", kind))
}

// fusedMatMul: alpha a b with the last axes of either swapped.
func fusedMatMul(e *edit, n *ir.Node) bool {
	if intAttr(n, "transBatchA") != 0 || intAttr(n, "transBatchB") != 0 {
		return false
	}
	ins := values(n.Inputs[0], n.Inputs[1])
	for i, name := range []string{"transA", "transB"} {
		if r := ins[i].Type.Rank(); intAttr(n, name) != 0 {
			if r < 2 {
				return false
			}
			ins[i] = e.add("Transpose", values(ins[i]), nodes(n), "perm", swapLast(identityPerm(r)))
		}
	}
	y := e.add("MatMul", ins, nodes(n))
	if alpha := floatAttr(n, "alpha"); alpha != 1 {
		t, err := ops.ScalarOf(y.Type.DType, alpha)
		if err != nil {
			return false
		}
		y = e.add("Mul", values(y, e.g.NewConst("", t)), nodes(n))
	}
	return e.replace(n.Outputs[0], y)
}

// microsoftSkip: the norm of a sum of two, whose sum may be wanted too.
func microsoftSkip(e *edit, n *ir.Node) bool {
	layer := n.Op.Name == "SkipLayerNormalization"
	x, skip, scale := n.Inputs[0], n.Inputs[1], n.Inputs[2]
	bias, extra := input(n, 3), input(n, 4)
	if !layer {
		bias, extra = nil, input(n, 3)
	}
	if extra != nil || !sameType(x.Type, skip.Type) || !x.Type.DType.IsFloat() || scale.Type.Rank() != 1 || scale.Type.DType != x.Type.DType {
		return false
	}
	if len(n.Outputs) > 1 && n.Outputs[1] != nil || len(n.Outputs) > 2 && n.Outputs[2] != nil {
		return false
	}
	ins, kind := values(x, skip, scale), ops.NormLayer
	if bias != nil {
		ins = append(ins, bias)
	}
	if !layer {
		kind = ops.NormRMS
	}
	m := e.addN("moec::SkipNorm", ins, nodes(n), 2, "kind", kind, "epsilon", float32(floatAttr(n, "epsilon")))
	if len(n.Outputs) > 3 && n.Outputs[3] != nil && e.wanted(n.Outputs[3]) {
		e.replace(n.Outputs[3], m.Outputs[1])
	}
	return e.replace(n.Outputs[0], m.Outputs[0])
}

// wanted reports whether anybody reads v.
func (e *edit) wanted(v *ir.Value) bool { return len(v.Users()) > 0 || e.g.IsOutput(v) }

func simplified(e *edit, n *ir.Node) bool {
	if len(n.Outputs) > 1 {
		return false
	}
	return e.replace(n.Outputs[0], e.add("RMSNormalization", n.Inputs, nodes(n),
		"axis", intAttr(n, "axis"), "epsilon", float32(floatAttr(n, "epsilon"))))
}
