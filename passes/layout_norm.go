package passes

import (
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// groupedNorm moves the normalisation of groups of an image's channels, which exporters write
// as an InstanceNormalization with a channel per group between two Reshapes. n is the second
// of them.
func (l *lastEdit) groupedNorm(n *ir.Node) {
	norm := def(n.Inputs[0], "InstanceNormalization")
	if norm == nil || !l.g.OnlyUse(n.Inputs[0]) || !l.g.OnlyUse(norm.Inputs[0]) {
		return
	}
	flat, t := def(norm.Inputs[0], "Reshape"), norm.Inputs[0].Type
	if flat == nil || t.Rank() != 3 {
		return
	}
	x := flat.Inputs[0]
	img, groups := l.last[x], t.Shape[1]
	if img == nil || !groups.IsKnown() || groups.Size < 1 || !sameType(x.Type, n.Outputs[0].Type) || !t.Shape[0].Same(x.Type.Shape[0]) {
		return
	}
	c := x.Type.Shape[1]
	if !c.IsKnown() || c.Size%groups.Size != 0 {
		return
	}
	// a channel of the InstanceNormalization is a group
	scale, bias := groupVector(norm.Inputs[1], groups.Size, c.Size), groupVector(norm.Inputs[2], groups.Size, c.Size)
	if scale == nil || bias == nil {
		return
	}
	l.norm(img, scale, bias, &ops.FusedGroupNormAttrs{Epsilon: norm.Attrs.(*ops.InstanceNormAttrs).Epsilon, NumGroups: groups.Size}, nodes(flat, norm, n), n)
}

// channelNorm moves a GroupNormalization, or an InstanceNormalization, of an image.
func (l *lastEdit) channelNorm(n *ir.Node) {
	img, t := l.last[n.Inputs[0]], n.Inputs[0].Type
	if img == nil || !t.Shape[1].IsKnown() {
		return
	}
	c := t.Shape[1].Size
	at := &ops.FusedGroupNormAttrs{NumGroups: c}
	switch a := n.Attrs.(type) {
	case *ops.InstanceNormAttrs:
		at.Epsilon = a.Epsilon
	case *ops.GroupNormAttrs:
		at.Epsilon, at.NumGroups = a.Epsilon, a.NumGroups
	}
	scale, bias := groupVector(n.Inputs[1], c, c), groupVector(n.Inputs[2], c, c)
	if c > 0 && scale != nil && bias != nil {
		l.norm(img, scale, bias, at, nodes(n), n)
	}
}

// norm makes a moec::GroupNorm of img for end, with the products and sums by constants per
// channel and the activation that follow it.
func (l *lastEdit) norm(img *ir.Value, scale, bias []float64, at *ops.FusedGroupNormAttrs, from []*ir.Node, end *ir.Node) {
	at.Activation = ops.ActNone
	rank, c := img.Type.Rank(), len(scale)
	for l.g.OnlyUse(end.Outputs[0]) {
		y := end.Outputs[0]
		next := y.Users()[0]
		if act := activationOf(next); act != ops.ActNone {
			at.Activation = act
			from, end = append(from, next), next
			break
		}
		if !next.Is("Mul", "Add") || !sameType(next.Outputs[0].Type, y.Type) {
			break
		}
		by := next.Inputs[0]
		if by == y {
			by = next.Inputs[1]
		}
		v := channelVector(by, rank, c)
		if v == nil {
			break
		}
		for i := range c {
			if next.Is("Mul") {
				scale[i] *= v[i]
				bias[i] *= v[i]
			} else {
				bias[i] += v[i]
			}
		}
		from, end = append(from, next), next
	}
	vector := func(v []float64) *ir.Value {
		out := make([]float32, c)
		for i, x := range v {
			out[i] = float32(x)
		}
		return l.g.NewConst("", tensor.Of(out, c))
	}
	l.becomes(end, l.addAttrs(l.g.Op("moec::GroupNorm"), at, values(img, vector(scale), vector(bias)), from, 1).Outputs[0])
}

// groupVector repeats a constant of one number per group for the c channels, nil if it is not
// such a constant.
func groupVector(v *ir.Value, groups, c int64) []float64 {
	if !v.IsConst() || v.Const.DType() != tensor.F32 || v.Const.Rank() != 1 || int64(v.Const.Len()) != groups {
		return nil
	}
	of, out := doubles(v.Const), make([]float64, c)
	for i := range out {
		out[i] = of[int64(i)/(c/groups)]
	}
	return out
}

// channelVector is a constant with one number per channel, or one in all, of an image with channels
// second; nil if v is none.
func channelVector(v *ir.Value, rank, c int) []float64 {
	if !v.IsConst() || v.Const.DType() != tensor.F32 || v.Const.Rank() > rank {
		return nil
	}
	shape := v.Const.Shape()
	for i, d := range shape {
		if d != 1 && (i+rank-len(shape) != 1 || d != c) {
			return nil
		}
	}
	of, out := doubles(v.Const), make([]float64, c)
	for i := range out {
		out[i] = of[i%len(of)]
	}
	return out
}
