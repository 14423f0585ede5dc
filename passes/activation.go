package passes

import (
	"context"
	"math"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Activations finds Gelu, Swish and HardSwish in the arithmetic that exporters write
// them out in.
func Activations() Pass {
	return Pass{
		Name: "activation", Doc: "Find Relu, Gelu, Swish and HardSwish in their written-out spellings.", Effect: Rounding,
		Run: func(_ context.Context, g *ir.Graph) (bool, error) {
			e := &edit{g: g}
			e.rules(map[string][]rule{
				"Erf":         {erfGelu},
				"Tanh":        {tanhGelu},
				"Sigmoid":     {swish},
				"HardSigmoid": {hardSwish},
				"Clip":        {clipHardSwish, clipRelu},
				"Max":         {maxRelu},
			})
			return e.done()
		},
	}
}

// Each of these activations is x times a gate: a function of a polynomial in x, times
// constants. A spelling is recognised by climbing from the gate through products until
// the constants multiply to what the formula wants and x has come in.

// erfGelu: x/2 (1 + erf(x/sqrt 2)), the factors in any order.
func erfGelu(e *edit, n *ir.Node) bool {
	a, c, add := onePlus(e.g, n.Outputs[0])
	if a == nil {
		return false
	}
	return e.gated(n, a, c, 0.5, nodes(add), func(x *ir.Value) (string, []any) {
		return "Gelu", pick(isPoly(n.Inputs[0], x, 0, math.Sqrt2/2, 0, 0))
	})
}

// tanhGelu: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
func tanhGelu(e *edit, n *ir.Node) bool {
	a, c, add := onePlus(e.g, n.Outputs[0])
	if a == nil {
		return false
	}
	s := math.Sqrt(2 / math.Pi)
	return e.gated(n, a, c, 0.5, nodes(add), func(x *ir.Value) (string, []any) {
		return "Gelu", pick(isPoly(n.Inputs[0], x, 0, s, 0, 0.044715*s), "approximate", "tanh")
	})
}

// swish: x sigmoid(alpha x).
func swish(e *edit, n *ir.Node) bool {
	return e.gated(n, n.Outputs[0], 1, 1, nil, func(x *ir.Value) (string, []any) {
		p, ok := polynomial(n.Inputs[0], x, 4)
		if !ok || p[0] != 0 || p[1] <= 0 || p[2] != 0 || p[3] != 0 {
			return "", nil
		}
		return "Swish", []any{"alpha", float32(p[1])}
	})
}

// hardSwish: x hardsigmoid(x) with slope 1/6.
func hardSwish(e *edit, n *ir.Node) bool {
	if !near(floatAttr(n, "alpha"), 1./6, tensor.F32) || !near(floatAttr(n, "beta"), 0.5, tensor.F32) {
		return false
	}
	return e.gated(n, n.Outputs[0], 1, 1, nil, func(x *ir.Value) (string, []any) {
		return "HardSwish", pick(n.Inputs[0] == x)
	})
}

// clipHardSwish: x clip(x+3, 0, 6) / 6.
func clipHardSwish(e *edit, n *ir.Node) bool {
	if lo, hi, ok := clipBounds(n); !ok || lo != 0 || hi != 6 {
		return false
	}
	return e.gated(n, n.Outputs[0], 1, 1./6, nil, func(x *ir.Value) (string, []any) {
		return "HardSwish", pick(isPoly(n.Inputs[0], x, 3, 1, 0, 0))
	})
}

// clipBounds are the constant bounds of a Clip.
func clipBounds(n *ir.Node) (lo, hi float64, ok bool) {
	lo, ok1 := number(input(n, 1))
	hi, ok2 := number(input(n, 2))
	return lo, hi, ok1 && ok2
}

// pick is the attribute list when the pattern holds, nil when not.
func pick(ok bool, attrs ...any) []any {
	if !ok {
		return nil
	}
	return append([]any{}, attrs...)
}

// onePlus climbs from f to c (1 + f), which is spelled f+1 or c f + c, and returns it
// with c.
func onePlus(g *ir.Graph, f *ir.Value) (a *ir.Value, c float64, add *ir.Node) {
	c = 1
	for range 2 {
		if !g.OnlyUse(f) {
			return nil, 0, nil
		}
		u := f.Users()[0]
		k, ok := 0.0, false
		if u.Is("Add", "Mul") {
			_, k, ok = withNumber(u)
		}
		switch {
		case ok && u.Is("Mul") && c == 1:
			c, f = k, u.Outputs[0]
		case ok && u.Is("Add") && near(k, c, f.Type.DType):
			return u.Outputs[0], c, u
		default:
			return nil, 0, nil
		}
	}
	return nil, 0, nil
}

// gated climbs from the gate that the function f makes, worth coef times the formula's, through products and
// quotients with constants and one product with a value, until the constants make want.
// match says for that value, or for it without a constant factor of its own, which op
// the whole is; "" or nil attributes for none.
func (e *edit) gated(f *ir.Node, gate *ir.Value, coef, want float64, from []*ir.Node, match func(x *ir.Value) (string, []any)) bool {
	type factor struct {
		v *ir.Value
		k float64
		n *ir.Node
	}
	var xs []factor
	for range 5 {
		for _, x := range xs {
			if !near(coef*x.k, want, x.v.Type.DType) || !sameType(x.v.Type, gate.Type) {
				continue
			}
			if name, attrs := match(x.v); name != "" && attrs != nil {
				from = slices.Concat(between(f.Inputs[0], x.v, nil), nodes(f, x.n), from)
				return e.replace(gate, e.add(name, values(x.v), from, attrs...))
			}
		}
		if !e.g.OnlyUse(gate) {
			return false
		}
		u := gate.Users()[0]
		switch {
		case u.Is("Mul"):
			o := other(u, gate)
			if c, ok := number(o); ok {
				coef *= c
				break
			}
			if xs != nil {
				return false
			}
			xs = append(xs, factor{o, 1, nil})
			if m := def(o, "Mul"); m != nil {
				if x, c, ok := withNumber(m); ok {
					xs = append(xs, factor{x, c, m})
				}
			}
			if m := def(o, "Div"); m != nil {
				if c, ok := number(m.Inputs[1]); ok {
					xs = append(xs, factor{m.Inputs[0], 1 / c, m})
				}
			}
		case u.Is("Div") && u.Inputs[0] == gate:
			c, ok := number(u.Inputs[1])
			if !ok {
				return false
			}
			coef /= c
		default:
			return false
		}
		from = append(from, u)
		gate = u.Outputs[0]
	}
	return false
}

// between lists the nodes from x to v, those nearest to x first.
func between(v, x *ir.Value, met []*ir.Node) []*ir.Node {
	if v == x || v == nil || v.Def == nil || slices.Contains(met, v.Def) {
		return met
	}
	for _, u := range v.Def.Inputs {
		met = between(u, x, met)
	}
	return append(met, v.Def)
}

// poly are the coefficients of 1, x, x^2 and x^3.
type poly [4]float64

// isPoly reports whether v is the given polynomial in x, up to how constants are written.
func isPoly(v, x *ir.Value, want ...float64) bool {
	p, ok := polynomial(v, x, 8)
	if !ok {
		return false
	}
	for i, w := range want {
		if w == 0 && p[i] != 0 || w != 0 && !near(p[i], w, x.Type.DType) {
			return false
		}
	}
	return true
}

// polynomial reads v as a polynomial in x of degree three at most, through sums,
// products, powers and constants.
func polynomial(v, x *ir.Value, depth int) (p poly, ok bool) {
	if v == x {
		return poly{0, 1}, true
	}
	if c, ok := number(v); ok {
		return poly{c}, true
	}
	if depth == 0 || v.Def == nil || len(v.Def.Inputs) == 0 || len(v.Def.Inputs) > 2 {
		return p, false
	}
	n := v.Def
	a, ok := polynomial(n.Inputs[0], x, depth-1)
	if !ok {
		return p, false
	}
	if n.Is("Neg") {
		return a.plus(-2, a), true
	}
	if !n.Is("Add", "Sub", "Mul", "Div", "Pow") {
		return p, false
	}
	b, ok := polynomial(n.Inputs[1], x, depth-1)
	if !ok {
		return p, false
	}
	switch n.Op.Name {
	case "Add":
		return a.plus(1, b), true
	case "Sub":
		return a.plus(-1, b), true
	case "Mul":
		return a.times(b)
	case "Div":
		return a.times(poly{1 / b[0]}, b.constant() && b[0] != 0)
	}
	p = poly{1}
	for range int(b[0]) {
		if p, ok = p.times(a); !ok {
			return p, false
		}
	}
	return p, b.constant() && b[0] >= 1 && b[0] <= 3 && b[0] == math.Trunc(b[0])
}

func (p poly) constant() bool { return p[1] == 0 && p[2] == 0 && p[3] == 0 }

func (p poly) plus(k float64, q poly) poly {
	for i := range p {
		p[i] += k * q[i]
	}
	return p
}

func (p poly) times(q poly, cond ...bool) (r poly, ok bool) {
	for i, a := range p {
		for j, b := range q {
			switch {
			case a == 0 || b == 0:
			case i+j > 3:
				return r, false
			default:
				r[i+j] += a * b
			}
		}
	}
	return r, len(cond) == 0 || cond[0]
}
