package passes

import (
	"context"
	"math"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
)

// Rotaries finds rotary position embedding written out, with the head splitting before it.
func Rotaries() Pass {
	return Pass{
		Name: "rotary", Doc: "Find rotary position embedding, with the head splitting before it.", Effect: Exact,
		Run: func(_ context.Context, g *ir.Graph) (bool, error) {
			e := &edit{g: g}
			e.rules(map[string][]rule{
				"Add":     {rotaryOfWhole},
				"Concat":  {rotaryOfHalves},
				"Reshape": {rotaryOfPairs},
			})
			return e.done()
		},
	}
}

// rotation is what the matchers gather.
type rotation struct {
	x           *ir.Value // the elements that turn, as separate heads
	cos, sin    *ir.Value // as the products broadcast them
	interleaved bool
	from        []*ir.Node
}

// rotaryOfWhole: x*cos + turned(x)*sin, where turned is (-second, first) of the pairs.
func rotaryOfWhole(e *edit, n *ir.Node) bool {
	for i := range 2 {
		a, b := def(n.Inputs[i], "Mul"), def(n.Inputs[1-i], "Mul")
		if a == nil || b == nil || a == b || !e.g.OnlyUse(n.Inputs[i]) || !e.g.OnlyUse(n.Inputs[1-i]) {
			continue
		}
		for j := range 2 {
			x, from, interleaved := turned(b.Inputs[j])
			if x == nil || a.Inputs[0] != x && a.Inputs[1] != x {
				continue
			}
			r := &rotation{x: x, cos: other(a, x), sin: b.Inputs[1-j], interleaved: interleaved, from: append(from, a, b, n)}
			if e.rotate(r, n.Outputs[0]) {
				return true
			}
		}
	}
	return false
}

// turned looks behind v for x of which v holds (-second, first) of every pair.
func turned(v *ir.Value) (x *ir.Value, from []*ir.Node, interleaved bool) {
	last := int64(v.Type.Rank() - 1)
	if n := def(v, "Concat"); n != nil && len(n.Inputs) == 2 && v.Type.Ranked && onAxis(n, last) {
		neg := def(n.Inputs[0], "Neg")
		if neg == nil {
			return nil, nil, false
		}
		if x, cuts := halves(n.Inputs[1], neg.Inputs[0]); x != nil {
			return x, append(cuts, neg, n), false
		}
		return nil, nil, false
	}
	first, second, from := interleave(v)
	neg := def(first, "Neg")
	if neg == nil {
		return nil, nil, false
	}
	if x, cuts := strided(second, neg.Inputs[0]); x != nil {
		return x, append(append(cuts, neg), from...), true
	}
	return nil, nil, false
}

func onAxis(n *ir.Node, axis int64) bool {
	a := intAttr(n, "axis")
	return a == axis || a == axis-int64(n.Outputs[0].Type.Rank())
}

// halves gives x when a is the first and b the second half of its last axis.
func halves(a, b *ir.Value) (x *ir.Value, from []*ir.Node) {
	if !a.Type.Ranked || !b.Type.Ranked {
		return nil, nil
	}
	xa, at, na := partOfLast(a)
	xb, bt, nb := partOfLast(b)
	if xa == nil || xa != xb || at != 0 || !lastIs(a, bt) || !lastIs(b, bt) || !lastIs(xa, 2*bt) {
		return nil, nil
	}
	if na == nb {
		return xa, nodes(na)
	}
	return xa, nodes(na, nb)
}

func lastIs(v *ir.Value, n int64) bool {
	r := v.Type.Rank()
	return r > 0 && v.Type.Shape[r-1] == ir.Known(n)
}

// interleave gives the two values whose elements alternate in the last axis of v:
// reshape(concat(a[..., None], b[..., None])).
func interleave(v *ir.Value) (a, b *ir.Value, from []*ir.Node) {
	rs := def(v, "Reshape")
	if rs == nil {
		return nil, nil, nil
	}
	cat := def(rs.Inputs[0], "Concat")
	if cat == nil || len(cat.Inputs) != 2 {
		return nil, nil, nil
	}
	r := v.Type.Rank()
	t := cat.Outputs[0].Type
	if r < 1 || t.Rank() != r+1 || !onAxis(cat, int64(r)) || !t.Shape[r-1].IsKnown() || t.Shape[r] != ir.Known(2) ||
		!sameDims(t.Shape[:r-1], v.Type.Shape[:r-1]) || !lastIs(v, 2*t.Shape[r-1].Size) {
		return nil, nil, nil
	}
	var parts [2]*ir.Value
	from = nodes(cat, rs)
	for i, x := range cat.Inputs {
		n := def(x, "Reshape", "Unsqueeze")
		if n == nil || x.Type.Rank() != r+1 || x.Type.Shape[r] != ir.Known(1) || n.Inputs[0].Type.Rank() != r ||
			!sameDims(n.Inputs[0].Type.Shape, x.Type.Shape[:r]) {
			return nil, nil, nil
		}
		parts[i] = n.Inputs[0]
		from = append(from, n)
	}
	return parts[0], parts[1], from
}

// strided gives x when a holds the even and b the odd elements of its last axis.
func strided(a, b *ir.Value) (x *ir.Value, from []*ir.Node) {
	var at [2]int64
	for i, v := range []*ir.Value{a, b} {
		n := def(v, "Slice")
		if n == nil {
			return nil, nil
		}
		start, ok1 := constInts(input(n, 1))
		ends, ok2 := constInts(input(n, 2))
		axes, ok3 := constInts(input(n, 3))
		steps, ok4 := constInts(input(n, 4))
		r := int64(n.Inputs[0].Type.Rank())
		if !ok1 || !ok2 || !ok3 || !ok4 || len(start) != 1 || len(axes) != 1 || steps[0] != 2 || r < 1 ||
			axes[0] != -1 && axes[0] != r-1 || x != nil && x != n.Inputs[0] || start[0] < 0 {
			return nil, nil
		}
		x, at[i] = n.Inputs[0], start[0]
		// All of them: as many as half the axis.
		if width := x.Type.Shape[r-1]; !width.IsKnown() || width.Size%2 != 0 || ends[0] < width.Size-1 && ends[0] >= 0 ||
			!lastIs(v, width.Size/2) {
			return nil, nil
		}
		from = append(from, n)
	}
	if at != [2]int64{0, 1} {
		return nil, nil
	}
	return x, from
}

// rotaryOfHalves: concat(a*cos - b*sin, b*cos + a*sin) of the halves a and b of x.
func rotaryOfHalves(e *edit, n *ir.Node) bool {
	if len(n.Inputs) != 2 || !n.Outputs[0].Type.Ranked || !onAxis(n, int64(n.Outputs[0].Type.Rank()-1)) {
		return false
	}
	return e.rotaryOf(n.Inputs[0], n.Inputs[1], n.Outputs[0], nodes(n), halves, false)
}

// rotaryOfPairs is rotaryOfHalves for alternating elements.
func rotaryOfPairs(e *edit, n *ir.Node) bool {
	a, b, from := interleave(n.Outputs[0])
	if a == nil {
		return false
	}
	return e.rotaryOf(a, b, n.Outputs[0], from, strided, true)
}

func (e *edit) rotaryOf(first, second, out *ir.Value, from []*ir.Node, whole func(a, b *ir.Value) (*ir.Value, []*ir.Node), interleaved bool) bool {
	sub, add := def(first, "Sub"), def(second, "Add")
	if sub == nil || add == nil {
		return false
	}
	ac, bs := def(sub.Inputs[0], "Mul"), def(sub.Inputs[1], "Mul")
	if ac == nil || bs == nil {
		return false
	}
	for i := range 4 {
		a, cos := ac.Inputs[i&1], ac.Inputs[1-i&1]
		b, sin := bs.Inputs[i>>1], bs.Inputs[1-i>>1]
		x, cuts := whole(a, b)
		if x == nil || !isSumOfProducts(add, b, cos, a, sin) {
			continue
		}
		from := slices.Concat(cuts, nodes(ac, bs, add.Inputs[0].Def, add.Inputs[1].Def, sub, add), from)
		return e.rotate(&rotation{x: x, cos: cos, sin: sin, interleaved: interleaved, from: from}, out)
	}
	return false
}

// isSumOfProducts reports whether n is a*b + c*d, in any order.
func isSumOfProducts(n *ir.Node, a, b, c, d *ir.Value) bool {
	is := func(v, x, y *ir.Value) bool {
		m := def(v, "Mul")
		return m != nil && (m.Inputs[0] == x && m.Inputs[1] == y || m.Inputs[0] == y && m.Inputs[1] == x)
	}
	return is(n.Inputs[0], a, b) && is(n.Inputs[1], c, d) || is(n.Inputs[0], c, d) && is(n.Inputs[1], a, b)
}

// rotate replaces out, of r.x's shape, by a Rotary node, when the tables are rows per
// position.
func (e *edit) rotate(r *rotation, out *ir.Value) bool {
	if r.x.Type.Rank() != 4 || !sameType(r.x.Type, out.Type) || !r.x.Type.DType.IsFloat() {
		return false
	}
	for _, axis := range []int{2, 1} {
		cos, sin := e.table(r.cos, r.x, axis), e.table(r.sin, r.x, axis)
		if cos == nil || sin == nil || !sin.Type.Shape[2].Same(cos.Type.Shape[2]) {
			continue
		}
		return e.emitRotary(r, cos, sin, axis == 2, out)
	}
	return false
}

// table brings a table that broadcasts along the heads of x, whose positions are the
// given axis, to [1 or batch, positions, numbers]; nil when it is none.
func (e *edit) table(t, x *ir.Value, axis int) *ir.Value {
	rank := t.Type.Rank()
	if rank < 2 || rank > 4 || t.Type.DType != x.Type.DType {
		return nil
	}
	full := slices.Concat(slices.Repeat([]ir.Dim{ir.Known(1)}, 4-rank), t.Type.Shape)
	xs, n := x.Type.Shape, full[3]
	if full[3-axis] != ir.Known(1) || !full[axis].Same(xs[axis]) || full[0] != ir.Known(1) && !full[0].Same(xs[0]) ||
		!n.IsKnown() || !xs[3].IsKnown() || n != xs[3] && 2*n.Size != xs[3].Size {
		return nil
	}
	want := ir.MakeType(t.Type.DType, full[0], full[axis], n)
	if sameType(t.Type, want) {
		return t
	}
	if d := def(t, "Reshape", "Unsqueeze"); d != nil && sameType(d.Inputs[0].Type, want) {
		return d.Inputs[0]
	}
	shape, ok := reshapeTo(t.Type, want)
	if !ok {
		return nil
	}
	return e.add("Reshape", values(t, e.ints(shape...)), nodes(t.Def))
}

func (e *edit) emitRotary(r *rotation, cos, sin *ir.Value, byHead bool, out *ir.Value) bool {
	x, from := r.x, r.from
	a := &ops.FusedRotaryAttrs{RotaryDim: x.Type.Shape[3].Size, Interleaved: r.interleaved}
	// Where only the first elements of a head turn, the others join them behind.
	if whole, joined, more := e.restOfHead(x, out); whole != nil {
		x, out, from = whole, joined, append(from, more...)
	}
	d := x.Type.Shape
	heads, ok := d[1], true
	if !byHead {
		heads = d[2]
	}
	if !heads.IsKnown() || !d[3].IsKnown() || heads.Size < 1 || a.RotaryDim < 2 || a.RotaryDim%2 != 0 {
		return false
	}
	a.Heads, a.HeadDim = heads.Size, d[3].Size
	var split []*ir.Node
	if byHead {
		x, a.Offset, a.Layout, split = (&attention{e: e}).split(x)
		a.OutLayout = ops.LayoutBHSD
	} else {
		a.Layout, a.OutLayout = ops.LayoutBSD, ops.LayoutBSD
		if x, split, ok = e.sideBySide(x); !ok {
			return false
		}
		if whole, at, n := partOfLast(x); whole != nil {
			x, a.Offset, split = whole, at, append(split, n)
		}
		// Heads that are split off behind the rotation are split off by it.
		if users := out.Users(); e.g.OnlyUse(out) && users[0].Is("Transpose") && slices.Equal(perm(users[0]), []int64{0, 2, 1, 3}) {
			out, from, a.OutLayout = users[0].Outputs[0], append(from, users[0]), ops.LayoutBHSD
		}
	}
	y := e.addAttrs(e.g.Op("moec::Rotary"), a, values(x, cos, sin), append(split, from...), 1).Outputs[0]
	if a.OutLayout == ops.LayoutBSD {
		y = e.add("Reshape", values(y, e.ints(0, 0, a.Heads, a.HeadDim)), append(split, from...))
	}
	return e.replace(out, y)
}

// sideBySide is x [batch, position, head, element] as [batch, position, head*element].
func (e *edit) sideBySide(x *ir.Value) (*ir.Value, []*ir.Node, bool) {
	if n := def(x, "Reshape"); n != nil && splitsLast(n) {
		return n.Inputs[0], nodes(n), true
	}
	d := x.Type.Shape
	if !d[2].IsKnown() || !d[3].IsKnown() || d[2].Size > math.MaxInt32 || d[3].Size > math.MaxInt32 {
		return nil, nil, false
	}
	return e.add("Reshape", values(x, e.ints(0, 0, d[2].Size*d[3].Size)), nodes(x.Def)), nil, true
}

// restOfHead looks for the head of which x is the first elements, when out is joined
// with the others and read nowhere else.
func (e *edit) restOfHead(x, out *ir.Value) (whole, joined *ir.Value, from []*ir.Node) {
	whole, at, cut := partOfLast(x)
	if whole == nil || at != 0 || !e.g.OnlyUse(out) || whole.Type.Rank() != 4 {
		return nil, nil, nil
	}
	cat := out.Users()[0]
	if !cat.Is("Concat") || len(cat.Inputs) != 2 || cat.Inputs[0] != out || !onAxis(cat, 3) || !cat.Inputs[1].Type.Ranked {
		return nil, nil, nil
	}
	rest, at, cut2 := partOfLast(cat.Inputs[1])
	if rest != whole || !lastIs(x, at) || !sameType(whole.Type, cat.Outputs[0].Type) {
		return nil, nil, nil
	}
	return whole, cat.Outputs[0], nodes(cut, cut2, cat)
}
