package passes

import (
	"context"
	"math"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// ConvNorms folds BatchNormalization, and sums and products with a constant per channel,
// into the constant weights of the Conv before them.
func ConvNorms() Pass {
	return Pass{
		Name: "convbn", Doc: "Fold BatchNormalization and constants per channel into the Conv before them.", Effect: Rounding,
		Run: func(_ context.Context, g *ir.Graph) (bool, error) {
			e := &edit{g: g}
			e.rules(map[string][]rule{
				"BatchNormalization": {foldBatchNorm},
				"Add":                {foldChannels},
				"Mul":                {foldChannels},
			})
			return e.done()
		},
	}
}

// constConv is the Conv with constant weights that alone produces v for its one reader.
func (e *edit) constConv(v *ir.Value) *ir.Node {
	c := def(v, "Conv")
	if c == nil || !e.g.OnlyUse(v) || !c.Inputs[1].IsConst() || !c.Inputs[1].Const.DType().IsFloat() {
		return nil
	}
	if b := input(c, 2); b != nil && !b.IsConst() {
		return nil
	}
	return c
}

// rescaled emits c with its channels multiplied by scale and shifted by shift.
func (e *edit) rescaled(c, n *ir.Node, scale, shift []float64) *ir.Value {
	w := c.Inputs[1].Const
	channels := w.Shape()[0]
	per := w.Len() / channels
	x := doubles(w)
	nw, nb := tensor.New(w.DType(), w.Shape()...), tensor.New(w.DType(), channels)
	bias := make([]float64, channels)
	if b := input(c, 2); b != nil {
		bias = doubles(b.Const)
	}
	for m := range channels {
		for i := m * per; i < (m+1)*per; i++ {
			setFloat(nw, i, x[i]*scale[m])
		}
		setFloat(nb, m, bias[m]*scale[m]+shift[m])
	}
	ins := values(c.Inputs[0], e.g.NewConst("", nw), e.g.NewConst("", nb))
	return e.addAttrs(c.Op, ir.CloneAttrs(c.Attrs), ins, nodes(c, n), 1).Outputs[0]
}

// foldBatchNorm: (conv - mean) / sqrt(variance + eps) * scale + bias.
func foldBatchNorm(e *edit, n *ir.Node) bool {
	c := e.constConv(n.Inputs[0])
	if c == nil || intAttr(n, "training_mode") != 0 || len(n.Outputs) > 1 {
		return false
	}
	channels := c.Inputs[1].Const.Shape()[0]
	var p [4][]float64 // scale, bias, mean, variance
	for i := range p {
		v := n.Inputs[i+1]
		if !v.IsConst() || !v.Const.DType().IsFloat() || v.Const.Len() != channels {
			return false
		}
		p[i] = doubles(v.Const)
	}
	scale, shift := make([]float64, channels), make([]float64, channels)
	for m := range channels {
		scale[m] = p[0][m] / math.Sqrt(p[3][m]+floatAttr(n, "epsilon"))
		shift[m] = p[1][m] - p[2][m]*scale[m]
		if math.IsNaN(scale[m]) || math.IsInf(scale[m], 0) {
			return false
		}
	}
	return e.replace(n.Outputs[0], e.rescaled(c, n, scale, shift))
}

// foldChannels: conv * k or conv + k with k constant per channel: [M,1,1] or one number.
func foldChannels(e *edit, n *ir.Node) bool {
	c := e.constConv(n.Inputs[0])
	if c == nil || !sameType(n.Inputs[0].Type, n.Outputs[0].Type) {
		return false
	}
	channels := c.Inputs[1].Const.Shape()[0]
	k := perChannel(n.Inputs[1], channels, n.Outputs[0].Type.Rank()-2)
	if k == nil {
		return false
	}
	if n.Is("Mul") {
		return e.replace(n.Outputs[0], e.rescaled(c, n, k, make([]float64, channels)))
	}
	return e.replace(n.Outputs[0], e.rescaled(c, n, slices.Repeat([]float64{1}, channels), k))
}

// perChannel are the elements of a constant that broadcasts along the channel axis only,
// which has spatial axes behind it; nil for others.
func perChannel(v *ir.Value, channels, spatial int) []float64 {
	if !v.IsConst() || !v.Const.DType().IsFloat() {
		return nil
	}
	x := doubles(v.Const)
	if len(x) == 1 {
		return slices.Repeat(x, channels)
	}
	s := v.Const.Shape()
	if axis := len(s) - spatial - 1; len(x) != channels || axis < 0 || s[axis] != channels {
		return nil
	}
	return x
}
