package passes

import (
	"context"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
)

// Epilogues moves activations and residual sums into the Linear or Conv before them, so
// that the product is still in registers when they apply.
func Epilogues() Pass {
	return Pass{
		Name: "epilogue", Doc: "Move activations and residual sums into the Linear or Conv before them.", Effect: Rounding,
		Run: func(_ context.Context, g *ir.Graph) (bool, error) {
			e := &edit{g: g}
			rules := map[string][]rule{"Add": {linearResidual, convResidual}}
			for _, op := range []string{"Relu", "Gelu", "Swish", "Sigmoid", "Tanh", "HardSwish", "Clip"} {
				rules[op] = []rule{linearActivation, convActivation}
			}
			e.rules(rules)
			return e.done()
		},
	}
}

// activationOf is the activation that a node applies to its first input, ActNone for
// none that an epilogue has.
func activationOf(n *ir.Node) ops.Activation {
	switch n.Op.String() {
	case "Relu":
		return ops.ActReLU
	case "Gelu":
		if stringAttr(n, "approximate") == "tanh" {
			return ops.ActGELUTanh
		}
		return ops.ActGELU
	case "Swish":
		switch a := floatAttr(n, "alpha"); {
		case a == 1:
			return ops.ActSiLU
		case a == float64(float32(1.702)):
			return ops.ActQuickGELU
		}
	case "Sigmoid":
		return ops.ActSigmoid
	case "Tanh":
		return ops.ActTanh
	case "HardSwish":
		return ops.ActHardSwish
	case "Clip":
		if lo, hi, ok := clipBounds(n); ok && lo == 0 && hi == 6 {
			return ops.ActReLU6
		}
	}
	return ops.ActNone
}

func linearActivation(e *edit, n *ir.Node) bool {
	l, act := def(n.Inputs[0], "moec::Linear"), activationOf(n)
	if act == ops.ActNone || !e.plain(l) {
		return false
	}
	return e.replace(n.Outputs[0], e.add("moec::Linear", l.Inputs, nodes(l, n), "activation", string(act)))
}

func linearResidual(e *edit, n *ir.Node) bool {
	// With two candidates the second in order of the operands waits for the first.
	for i, v := range n.Inputs {
		l, r := def(v, "moec::Linear"), n.Inputs[1-i]
		if l == nil || len(l.Inputs) > 3 || !e.g.OnlyUse(v) || r.IsConst() || !sameType(v.Type, r.Type) {
			continue
		}
		ins := slices.Clone(l.Inputs)
		for len(ins) < 3 {
			ins = append(ins, nil)
		}
		y := e.addAttrs(l.Op, ir.CloneAttrs(l.Attrs), append(ins, r), nodes(l, n), 1).Outputs[0]
		return e.replace(n.Outputs[0], y)
	}
	return false
}

// convolution is the Conv, plain or with an epilogue that more can join, that produces v.
func (e *edit) convolution(v *ir.Value) (n *ir.Node, attrs *ops.FusedConvAttrs) {
	if n = def(v, "Conv", "moec::Conv"); n == nil || !e.g.OnlyUse(v) {
		return nil, nil
	}
	switch a := n.Attrs.(type) {
	case *ops.ConvAttrs:
		return n, ops.FuseConv(a, ops.ActNone)
	case *ops.FusedConvAttrs:
		if a.Activation == ops.ActNone {
			c := *a
			return n, &c
		}
	}
	return nil, nil
}

func convActivation(e *edit, n *ir.Node) bool {
	c, attrs := e.convolution(n.Inputs[0])
	act := activationOf(n)
	if c == nil || act == ops.ActNone {
		return false
	}
	attrs.Activation = act
	return e.replace(n.Outputs[0], e.addAttrs(e.g.Op("moec::Conv"), attrs, c.Inputs, nodes(c, n), 1).Outputs[0])
}

func convResidual(e *edit, n *ir.Node) bool {
	for i, v := range n.Inputs {
		c, attrs := e.convolution(v)
		r := n.Inputs[1-i]
		if c == nil || len(c.Inputs) > 3 || r.IsConst() || !sameType(v.Type, r.Type) {
			continue
		}
		ins := slices.Clone(c.Inputs)
		for len(ins) < 3 {
			ins = append(ins, nil)
		}
		return e.replace(n.Outputs[0], e.addAttrs(e.g.Op("moec::Conv"), attrs, append(ins, r), nodes(c, n), 1).Outputs[0])
	}
	return false
}
