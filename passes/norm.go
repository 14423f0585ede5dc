package passes

import (
	"context"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Norms finds LayerNormalization and RMSNormalization over the last axis in the
// arithmetic that exporters write them out in.
func Norms() Pass {
	return Pass{
		Name: "norm", Doc: "Find LayerNormalization and RMSNormalization in their written-out spellings.", Effect: Rounding,
		Run: func(_ context.Context, g *ir.Graph) (bool, error) {
			e := &edit{g: g}
			e.rules(map[string][]rule{"ReduceMean": {findNorm}})
			return e.done()
		},
	}
}

// findNorm starts at the mean of squares:
//
//	d = x - mean(x), or x itself;  n = d / sqrt(mean(d^2) + eps);  y = n * scale + bias
func findNorm(e *edit, mean *ir.Node) bool {
	d, sq := square(mean.Inputs[0])
	if d == nil || !d.Type.DType.IsFloat() || !overLast(mean, d) {
		return false
	}
	from := nodes(mean, sq)
	x, centred := d, false
	if sub := def(d, "Sub"); sub != nil {
		if m := def(sub.Inputs[1], "ReduceMean"); m != nil && m.Inputs[0] == sub.Inputs[0] && overLast(m, sub.Inputs[0]) {
			x, centred = sub.Inputs[0], true
			from = append(from, m, sub)
		}
	}
	if !e.g.OnlyUse(mean.Outputs[0]) {
		return false
	}
	add := mean.Outputs[0].Users()[0]
	if !add.Is("Add") {
		return false
	}
	_, eps, ok := withNumber(add)
	if !ok || eps < 0 || x.Type.DType == tensor.F64 && float64(float32(eps)) != eps {
		return false // the attribute is an f32: as such, 1e-5 changes f64 results by 1e-12
	}
	y, div := e.overRoot(d, add.Outputs[0])
	if y == nil || !sameType(y.Type, x.Type) {
		return false
	}
	from = append(append(from, add), div...)
	dt := x.Type.DType
	width := int(x.Type.Shape[len(x.Type.Shape)-1].Size)
	y, scale, mul := e.affine(y, "Mul", width)
	if scale == nil {
		scale = e.g.NewConst("", ones(dt, width))
	}
	ins := values(x, scale)
	from = append(from, nodes(mul)...)
	name := "RMSNormalization"
	if centred {
		name = "LayerNormalization"
		z, bias, add := e.affine(y, "Add", width)
		if bias != nil {
			y = z
			ins = append(ins, bias)
			from = append(from, add)
		}
	}
	return e.replace(y, e.add(name, ins, from, "axis", int64(-1), "epsilon", float32(eps)))
}

// square is d when v is d^2.
func square(v *ir.Value) (d *ir.Value, n *ir.Node) {
	if n := def(v, "Pow"); n != nil {
		if c, ok := number(n.Inputs[1]); ok && c == 2 {
			return n.Inputs[0], n
		}
	}
	if n := def(v, "Mul"); n != nil && n.Inputs[0] == n.Inputs[1] {
		return n.Inputs[0], n
	}
	return nil, nil
}

// overLast reports whether a reduction of x is over its last axis, which has a known
// size, and keeps that axis.
func overLast(n *ir.Node, x *ir.Value) bool {
	r := x.Type.Rank()
	axes, ok := constInts(input(n, 1))
	return ok && r > 0 && len(axes) == 1 && (axes[0] == -1 || axes[0] == int64(r-1)) &&
		intAttr(n, "keepdims") == 1 && x.Type.Shape[r-1].IsKnown()
}

// overRoot climbs from v to d / sqrt(v), in any of its spellings.
func (e *edit) overRoot(d, v *ir.Value) (y *ir.Value, from []*ir.Node) {
	invert := false // whether v is already a reciprocal
	for range 3 {
		if !e.g.OnlyUse(v) {
			return nil, nil
		}
		u := v.Users()[0]
		from = append(from, u)
		switch {
		case u.Is("Div") && u.Inputs[0] == d && u.Inputs[1] == v && !invert && len(from) > 1:
			return u.Outputs[0], from
		case u.Is("Mul") && other(u, v) == d && invert && len(from) > 1:
			return u.Outputs[0], from
		case u.Is("Sqrt") && len(from) == 1:
		case u.Is("Reciprocal") && len(from) == 2:
			invert = true
		case u.Is("Div") && u.Inputs[1] == v && len(from) == 2:
			if c, ok := number(u.Inputs[0]); !ok || c != 1 {
				return nil, nil
			}
			invert = true
		case u.Is("Pow") && len(from) == 1:
			c, ok := number(u.Inputs[1])
			if !ok || c != 0.5 && c != -0.5 {
				return nil, nil
			}
			invert = c < 0
		default:
			return nil, nil
		}
		v = u.Outputs[0]
	}
	return nil, nil
}

// affine climbs from y through one product or sum with a constant vector along the last
// axis, and returns it with the vector; y itself when there is none.
func (e *edit) affine(y *ir.Value, op string, width int) (*ir.Value, *ir.Value, *ir.Node) {
	if !e.g.OnlyUse(y) {
		return y, nil, nil
	}
	u := y.Users()[0]
	if !u.Is(op) || !sameType(y.Type, u.Outputs[0].Type) {
		return y, nil, nil
	}
	if t := lastAxisVector(other(u, y), width); t != nil {
		return u.Outputs[0], e.vector(other(u, y), t), u
	}
	return y, nil, nil
}

// lastAxisVector is a float constant that broadcasts along the last axis only, as a
// vector of that axis's width: [N], [1,N], or one number repeated.
func lastAxisVector(v *ir.Value, width int) *tensor.Tensor {
	if !v.IsConst() || !v.Const.DType().IsFloat() {
		return nil
	}
	t := v.Const
	switch {
	case t.Len() == width && (t.Rank() == 0 || t.Shape()[t.Rank()-1] == width):
		return t.Reshape(width)
	case t.Len() == 1:
		return repeat(t, width)
	}
	return nil
}

// repeat is a vector of n times the one element of t.
func repeat(t *tensor.Tensor, n int) *tensor.Tensor {
	out := tensor.New(t.DType(), n)
	copy(out.Bytes(), slices.Repeat(t.Bytes(), n))
	return out
}

func ones(dt tensor.DType, n int) *tensor.Tensor {
	t, err := ops.ScalarOf(dt, 1)
	if err != nil {
		return nil // not a float type: the caller's type check has failed before
	}
	return repeat(t, n)
}
