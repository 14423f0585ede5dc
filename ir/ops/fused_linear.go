package ops

import (
	"fmt"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// LinearAttrs are the attributes of moec::Linear.
type LinearAttrs struct {
	Activation Activation `attr:"activation"` // ActReLU, ...; empty for none
	// Rounded: y is bf16, rounded once.
	Rounded bool `attr:"rounded"`
}

// linearOp is a fully connected layer with its epilogue:
//
//	y = activation(x @ w + bias) + residual
//
// Inputs: x [..., K]; w [K, N]; bias [N], optional; residual, optional, of y's shape.
// Output: y [..., N]. All of one float type, but beside weights in f32 x may be bf16, and y
// is with rounded; sums are f32 all the same.
func linearOp() *ir.Op {
	return &ir.Op{
		Domain: ir.DomainMoec, Name: "Linear", Since: 1, Doc: "activation(x @ w + bias) + residual.",
		Attrs: func() any { return &LinearAttrs{} },
		MinIn: 2, MaxIn: 4, MinOut: 1, MaxOut: 1,
		Infer: inferLinear, Eval: evalLinear, Expand: expandLinear,
		Cost: func(c *ir.CostCtx) ir.Cost {
			cost := ir.Cost{Bytes: fusedBytes(c)}
			if k := c.Ins[1].Shape; len(k) == 2 {
				cost.FLOPs = 2 * fusedElems(c.Outs[0]) * max(k[0].Size, 0)
			}
			return cost
		},
	}
}

func inferLinear(c *ir.InferCtx) error {
	if err := checkActivation(c.Attrs.(*LinearAttrs).Activation); err != nil {
		return err
	}
	x, w := c.In(0), c.In(1)
	if x.DType == tensor.BF16 && w.DType == tensor.F32 {
		x.DType = tensor.F32
	}
	y := x.DType
	if c.Attrs.(*LinearAttrs).Rounded {
		y = tensor.BF16
	}
	for i := range c.NumIn() {
		if t := c.In(i).DType; i > 0 && t != tensor.Invalid && t != x.DType || t != tensor.Invalid && !t.IsFloat() {
			return fmt.Errorf("%w: input %d is %s, x is %s", ir.ErrType, i, t, c.In(0).DType)
		}
	}
	if w.Ranked && len(w.Shape) != 2 || x.Ranked && len(x.Shape) == 0 {
		return fmt.Errorf("%w: x %s, w %s", ir.ErrShape, x, w)
	}
	n := ir.Unknown()
	if w.Ranked {
		n = w.Shape[1]
	}
	if b := c.In(2); b.Ranked {
		if len(b.Shape) != 1 || !fits(b.Shape[0], n) {
			return fmt.Errorf("%w: bias %s for w %s", ir.ErrShape, b, w)
		}
	}
	if !x.Ranked {
		c.SetOut(0, ir.Unranked(y))
		return nil
	}
	if w.Ranked && !fits(x.Shape[len(x.Shape)-1], w.Shape[0]) {
		return fmt.Errorf("%w: x %s, w %s", ir.ErrShape, x, w)
	}
	out := slices.Clone(x.Shape)
	out[len(out)-1] = n
	if r := c.In(3); r.Ranked {
		if len(r.Shape) != len(out) {
			return fmt.Errorf("%w: residual %s for output of rank %d", ir.ErrShape, r, len(out))
		}
		for i, d := range r.Shape {
			if !fits(d, out[i]) {
				return fmt.Errorf("%w: residual %s, x %s, w %s", ir.ErrShape, r, x, w)
			}
			if d.IsKnown() {
				out[i] = d
			}
		}
	}
	c.SetOut(0, ir.MakeType(y, out...))
	return nil
}

// fits reports whether two dims may be the same size.
func fits(a, b ir.Dim) bool { return !a.IsKnown() || !b.IsKnown() || a.Size == b.Size }

func evalLinear(c *ir.EvalCtx) error {
	x, xs, err := fusedFloats(c, 0, "x")
	if err != nil {
		return err
	}
	w, ws, err := fusedFloats(c, 1, "w")
	if err != nil {
		return err
	}
	if len(ws) != 2 || len(xs) == 0 || xs[len(xs)-1] != ws[0] {
		return fmt.Errorf("%w: x %v, w %v", ir.ErrShape, xs, ws)
	}
	k, n := ws[0], ws[1]
	shape := slices.Clone(xs)
	shape[len(shape)-1] = n
	rows := tensor.NumElems(xs[:len(xs)-1])
	y := make([]float64, rows*n)
	for i := range rows {
		row := y[i*n : (i+1)*n]
		for p := range k {
			a := x[i*k+p]
			for j := range n {
				row[j] += a * w[p*n+j]
			}
		}
	}
	dt := c.In(1).DType()
	if c.Attrs.(*LinearAttrs).Rounded {
		dt = tensor.BF16
	}
	if c.Has(2) {
		b, bs, err := fusedFloats(c, 2, "bias")
		if err != nil {
			return err
		}
		if len(bs) != 1 || bs[0] != n {
			return fmt.Errorf("%w: bias %v for w %v", ir.ErrShape, bs, ws)
		}
		for i := range y {
			y[i] += b[i%n]
		}
	}
	act, ok := c.Attrs.(*LinearAttrs).Activation.fn()
	if !ok {
		return checkActivation(c.Attrs.(*LinearAttrs).Activation)
	}
	for i := range y {
		y[i] = act(y[i])
	}
	if c.Has(3) {
		r, rs, err := fusedFloats(c, 3, "residual")
		if err != nil {
			return err
		}
		if !slices.Equal(rs, shape) {
			return fmt.Errorf("%w: residual %v for output %v", ir.ErrShape, rs, shape)
		}
		for i := range y {
			y[i] += r[i]
		}
	}
	return fusedStore(c, 0, dt, y, shape...)
}

func expandLinear(g *ir.Graph, n *ir.Node) ([]*ir.Value, error) {
	e := &expander{g: g, n: n}
	ins, dt := slices.Clone(n.Inputs[:2]), n.Inputs[1].Type.DType
	if ins[0].Type.DType != dt {
		ins[0] = e.op("Cast", ins[:1], "to", dt)
	}
	y := e.op("MatMul", ins)
	if len(n.Inputs) > 2 && n.Inputs[2] != nil {
		y = e.op("Add", []*ir.Value{y, n.Inputs[2]})
	}
	y = e.activation(n.Attrs.(*LinearAttrs).Activation, y)
	if len(n.Inputs) > 3 && n.Inputs[3] != nil {
		y = e.op("Add", []*ir.Value{y, n.Inputs[3]})
	}
	if n.Attrs.(*LinearAttrs).Rounded && dt != tensor.BF16 {
		y = e.op("Cast", []*ir.Value{y}, "to", tensor.BF16)
	}
	return []*ir.Value{y}, e.err
}
