package passes

import (
	"context"

	"github.com/seed-c851cfd2/moec/ir"
)

// Strength replaces costly arithmetic by cheaper: a quotient by a constant becomes a
// product with its reciprocal, and powers become products and roots.
func Strength() Pass {
	return Pass{
		Name: "strength", Doc: "Multiply instead of dividing by constants, and instead of raising to 2 or 1/2.", Effect: Rounding,
		Run: func(_ context.Context, g *ir.Graph) (bool, error) {
			e := &edit{g: g}
			e.rules(map[string][]rule{"Div": {divByConst}, "Pow": {smallPower}})
			return e.done()
		},
	}
}

// divByConst: x / c is x * (1/c) where no element of c is zero, so small that its
// reciprocal overflows, or so large that it is lost.
func divByConst(e *edit, n *ir.Node) bool {
	x, c := n.Inputs[0], n.Inputs[1]
	if !c.IsConst() || x.IsConst() || !c.Const.DType().IsFloat() || c.Const.Len() > 1<<16 {
		return false
	}
	inv := elementwise(c.Const, nil, func(v, _ float64) float64 { return 1 / v })
	for _, v := range doubles(inv) {
		if !(v > 1e-4 && v < 1e4 || v < -1e-4 && v > -1e4) {
			return false
		}
	}
	return e.replace(n.Outputs[0], e.add("Mul", values(x, e.g.NewConst("", inv)), nodes(n)))
}

// smallPower: x^2 is x*x; x^(1/2) is the root.
func smallPower(e *edit, n *ir.Node) bool {
	x := n.Inputs[0]
	c, ok := uniform(n.Inputs[1])
	if !ok || !x.Type.DType.IsFloat() || x.Type.DType != n.Outputs[0].Type.DType || !keepsShape(x, n.Outputs[0]) {
		return false
	}
	switch c {
	case 2:
		return e.replace(n.Outputs[0], e.add("Mul", values(x, x), nodes(n)))
	case 0.5:
		return e.replace(n.Outputs[0], e.add("Sqrt", values(x), nodes(n)))
	}
	return false
}
