package ops

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// FusedRotaryAttrs are the attributes of moec::Rotary.
type FusedRotaryAttrs struct {
	Heads     int64 `attr:"heads"`
	HeadDim   int64 `attr:"head_dim"`
	RotaryDim int64 `attr:"rotary_dim"` // elements of a head that turn, its first; even
	// Interleaved pairs elements 2i and 2i+1; else i and i + rotary_dim/2 are a pair.
	Interleaved bool `attr:"interleaved"`

	Layout    string `attr:"layout"`     // of x
	OutLayout string `attr:"out_layout"` // of y
	// In the bsd layout x may be wider than its heads: they begin at Offset, and the Tail
	// elements behind them come out unchanged, where y is bsd too. So one node turns the
	// queries and keys that one Linear makes beside the values.
	Offset int64 `attr:"offset"`
	Tail   int64 `attr:"tail"`
}

// fusedRotaryOp is rotary position embedding with the splitting of heads: the pair (a, b)
// of a head's elements becomes
//
//	(a cos - b sin, b cos + a sin)
//
// by the tables' rows of its position. Products are rounded to the element type before
// they are added, as separate ops round them.
//
// Inputs: x in the given layout; cos and sin [1 or batch, positions, rotary_dim/2 or
// rotary_dim]: one number per pair, or one per element, as exporters repeat them.
// Output: [batch, positions, heads*head_dim + tail] or [batch, heads, positions, head_dim].
func fusedRotaryOp() *ir.Op {
	return &ir.Op{
		Domain: ir.DomainMoec, Name: "Rotary", Since: 1, Doc: "Rotary position embedding with splitting of heads.",
		Attrs: func() any { return &FusedRotaryAttrs{Layout: LayoutBSD, OutLayout: LayoutBSD} },
		MinIn: 3, MaxIn: 3, MinOut: 1, MaxOut: 1,
		Infer: inferFusedRotary, Eval: evalFusedRotary, Expand: expandFusedRotary,
		Cost: func(c *ir.CostCtx) ir.Cost {
			return ir.Cost{FLOPs: 3 * fusedElems(c.Outs[0]), Bytes: fusedBytes(c)}
		},
	}
}

func (a *FusedRotaryAttrs) check() error {
	for _, l := range []string{a.Layout, a.OutLayout} {
		if l != LayoutBSD && l != LayoutBHSD {
			return fmt.Errorf("%w: no layout is called %q", ir.ErrAttr, l)
		}
	}
	if a.Heads < 1 || a.HeadDim < 1 || min(a.Offset, a.Tail) < 0 || max(a.Heads, a.HeadDim, a.Offset, a.Tail) > 1<<31 ||
		a.RotaryDim < 2 || a.RotaryDim%2 != 0 || a.RotaryDim > a.HeadDim {
		return fmt.Errorf("%w: %d of %d elements in %d heads, offset %d, tail %d", ir.ErrAttr,
			a.RotaryDim, a.HeadDim, a.Heads, a.Offset, a.Tail)
	}
	if a.Tail != 0 && (a.Layout != LayoutBSD || a.OutLayout != LayoutBSD) {
		return fmt.Errorf("%w: a tail in layouts %s and %s", ir.ErrAttr, a.Layout, a.OutLayout)
	}
	return nil
}

// operand is x as attention's operands are described.
func (a *FusedRotaryAttrs) operand() attentionOperand {
	return attentionOperand{"x", a.Layout, a.Heads, a.HeadDim, a.Offset}
}

// sizes gives the batch and positions of x.
func (a *FusedRotaryAttrs) sizes(x ir.Type) (batch, positions ir.Dim, err error) {
	batch, positions, err = a.operand().sizes(x)
	if want := a.Offset + a.Heads*a.HeadDim + a.Tail; err == nil && a.Tail > 0 && x.Ranked && x.Shape[2].IsKnown() && x.Shape[2].Size < want {
		err = fmt.Errorf("%w: x is %s, want %d elements in the last axis", ir.ErrShape, x, want)
	}
	return batch, positions, err
}

func inferFusedRotary(c *ir.InferCtx) error {
	a := c.Attrs.(*FusedRotaryAttrs)
	if err := a.check(); err != nil {
		return err
	}
	x := c.In(0)
	batch, seq, err := a.sizes(x)
	if err != nil {
		return err
	}
	for i, name := range []string{"x", "cos", "sin"} {
		t := c.In(i)
		if t.DType != tensor.Invalid && (!t.DType.IsFloat() || t.DType != x.DType) {
			return fmt.Errorf("%w: %s is %s, x is %s", ir.ErrType, name, t.DType, x.DType)
		}
		if i == 0 || !t.Ranked {
			continue
		}
		if len(t.Shape) != 3 || !fits(t.Shape[0], batch) && t.Shape[0].Size != 1 || !fits(t.Shape[1], seq) ||
			!fits(t.Shape[2], ir.Known(a.RotaryDim)) && !fits(t.Shape[2], ir.Known(a.RotaryDim/2)) {
			return fmt.Errorf("%w: %s is %s for x %s and a rotary dimension of %d", ir.ErrShape, name, t, x, a.RotaryDim)
		}
	}
	if cos, sin := c.In(1), c.In(2); cos.Ranked && sin.Ranked && !fits(cos.Shape[2], sin.Shape[2]) {
		return fmt.Errorf("%w: cosines %s and sines %s", ir.ErrShape, cos, sin)
	}
	if a.OutLayout == LayoutBHSD {
		c.SetOut(0, ir.MakeType(x.DType, batch, ir.Known(a.Heads), seq, ir.Known(a.HeadDim)))
	} else {
		c.SetOut(0, ir.MakeType(x.DType, batch, seq, ir.Known(a.Heads*a.HeadDim+a.Tail)))
	}
	return nil
}

// Pair gives the elements of pair i in a head, and their places in a row of n numbers of
// the tables.
func (a *FusedRotaryAttrs) Pair(i, n int) (p, q, atP, atQ int) {
	half := int(a.RotaryDim / 2)
	p, q = i, i+half
	if a.Interleaved {
		p, q = 2*i, 2*i+1
	}
	if n == half {
		return p, q, i, i
	}
	return p, q, p, q
}

func evalFusedRotary(c *ir.EvalCtx) error {
	a := c.Attrs.(*FusedRotaryAttrs)
	if err := a.check(); err != nil {
		return err
	}
	x, err := viewHeads(c, 0, a.operand())
	if err != nil {
		return err
	}
	if _, _, err := a.sizes(ir.TypeOf(c.In(0))); err != nil {
		return err
	}
	var table [2][]float64
	var shape []int
	for i, name := range []string{"cos", "sin"} {
		var s []int
		if table[i], s, err = fusedFloats(c, 1+i, name); err != nil {
			return err
		}
		if len(s) != 3 || s[0] != 1 && s[0] != x.batches || s[1] != x.positions || s[2] != int(a.RotaryDim) && s[2] != int(a.RotaryDim/2) ||
			i == 1 && s[2] != shape[2] {
			return fmt.Errorf("%w: %s is %v for %d positions in a batch of %d and a rotary dimension of %d", ir.ErrShape,
				name, s, x.positions, x.batches, a.RotaryDim)
		}
		if i == 1 && s[0] != shape[0] {
			return fmt.Errorf("%w: cosines %v and sines %v", ir.ErrShape, shape, s)
		}
		shape = s
	}
	heads, dim, tail, n := int(a.Heads), int(a.HeadDim), int(a.Tail), shape[2]
	dt := c.In(0).DType()
	width := heads*dim + tail
	out, stride := []int{x.batches, x.positions, width}, [3]int{x.positions * width, dim, width}
	if a.OutLayout == LayoutBHSD {
		out, stride = []int{x.batches, heads, x.positions, dim}, [3]int{heads * x.positions * dim, x.positions * dim, dim}
	}
	y := make([]float64, tensor.NumElems(out))
	for b := range x.batches {
		for s := range x.positions {
			at := ((b%shape[0])*x.positions + s) * n
			cos, sin := table[0][at:at+n], table[1][at:at+n]
			for h := range heads {
				dst, src := y[b*stride[0]+h*stride[1]+s*stride[2]:][:dim], x.row(b, h, s)
				copy(dst, src)
				for i := range int(a.RotaryDim / 2) {
					p, q, u, v := a.Pair(i, n)
					dst[p] = roundScore(dt, src[p]*cos[u]) - roundScore(dt, src[q]*sin[u])
					dst[q] = roundScore(dt, src[q]*cos[v]) + roundScore(dt, src[p]*sin[v])
				}
			}
			if tail > 0 {
				from := x.from + b*x.batch + s*x.pos + heads*dim
				copy(y[b*stride[0]+s*stride[2]+heads*dim:][:tail], x.data[from:from+tail])
			}
		}
	}
	return fusedStore(c, 0, dt, y, out...)
}

// expandFusedRotary spells the rotation out in slices, products and sums of
// [batch, position, head, element].
func expandFusedRotary(g *ir.Graph, n *ir.Node) ([]*ir.Value, error) {
	e := &expander{g: g, n: n}
	a := n.Attrs.(*FusedRotaryAttrs)
	on := func(vs ...*ir.Value) []*ir.Value { return vs }
	cut := func(x *ir.Value, axis, from, to, step int64) *ir.Value {
		return e.op("Slice", on(x, e.ints(from), e.ints(to), e.ints(axis), e.ints(step)))
	}
	x, last, width := n.Inputs[0], int64(3), a.Heads*a.HeadDim
	if a.Layout == LayoutBHSD {
		x = e.op("Transpose", on(x), "perm", []int64{0, 2, 1, 3})
	} else {
		if t := x.Type; a.Offset != 0 || !t.Ranked || t.Shape[2] != ir.Known(width) {
			x = cut(x, 2, a.Offset, a.Offset+width, 1)
		}
		x = e.op("Reshape", on(x, e.ints(0, 0, a.Heads, a.HeadDim)))
	}
	// pair takes the first and second elements of the pairs out of a run of r.
	pair := func(x *ir.Value, r int64) (p, q *ir.Value) {
		if a.Interleaved {
			return cut(x, last, 0, r, 2), cut(x, last, 1, r, 2)
		}
		return cut(x, last, 0, r/2, 1), cut(x, last, r/2, r, 1)
	}
	table := func(t *ir.Value) (p, q *ir.Value, err error) {
		if t.Type.Rank() != 3 || !t.Type.Shape[2].IsKnown() {
			return nil, nil, fmt.Errorf("%w: a table %s of unknown width", ir.ErrShape, t.Type)
		}
		u := e.op("Unsqueeze", on(t, e.ints(2)))
		if t.Type.Shape[2].Size != a.RotaryDim {
			return u, u, nil
		}
		p, q = pair(u, a.RotaryDim)
		return p, q, nil
	}
	cp, cq, err := table(n.Inputs[1])
	if err != nil {
		return nil, err
	}
	sp, sq, err := table(n.Inputs[2])
	if err != nil {
		return nil, err
	}
	xp, xq := pair(x, a.RotaryDim)
	yp := e.op("Sub", on(e.op("Mul", on(xp, cp)), e.op("Mul", on(xq, sp))))
	yq := e.op("Add", on(e.op("Mul", on(xq, cq)), e.op("Mul", on(xp, sq))))
	parts := on(yp, yq)
	if a.Interleaved {
		five := e.op("Concat", on(e.op("Unsqueeze", on(yp, e.ints(4))), e.op("Unsqueeze", on(yq, e.ints(4)))), "axis", int64(4))
		parts = on(e.op("Reshape", on(five, e.ints(0, 0, a.Heads, a.RotaryDim))))
	}
	if a.RotaryDim < a.HeadDim {
		parts = append(parts, cut(x, last, a.RotaryDim, a.HeadDim, 1))
	}
	y := parts[0]
	if len(parts) > 1 {
		y = e.op("Concat", parts, "axis", last)
	}
	if a.OutLayout == LayoutBHSD {
		return on(e.op("Transpose", on(y), "perm", []int64{0, 2, 1, 3})), e.err
	}
	y = e.op("Reshape", on(y, e.ints(0, 0, width)))
	if a.Tail > 0 {
		from := a.Offset + width
		y = e.op("Concat", on(y, cut(n.Inputs[0], 2, from, from+a.Tail, 1)), "axis", int64(2))
	}
	return on(y), e.err
}
