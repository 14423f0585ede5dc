package ops

import (
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// GatedMLPAttrs are the attributes of GatedMLP.
type GatedMLPAttrs struct {
	// Activation of the gate branch: silu makes SwiGLU, gelu GEGLU, relu ReGLU.
	Activation Activation `attr:"activation"`
}

// Inputs of GatedMLP.
const (
	GatedInX  = iota // [..., D]
	GatedInWg        // [D,F], the branch that is activated
	GatedInWu        // [D,F]
	GatedInWd        // [F,Dv]
	GatedInBg        // [F], optional
	GatedInBu        // [F], optional
	GatedInBd        // [Dv], optional
)

func gatedMLPOp() *ir.Op {
	return &ir.Op{
		Domain: ir.DomainMoec, Name: "GatedMLP", Since: 1,
		Doc:   "Gated feedforward (SwiGLU, GEGLU, ReGLU): (act(x wg + bg) * (x wu + bu)) wd + bd.",
		Attrs: func() any { return &GatedMLPAttrs{Activation: ActSiLU} },
		MinIn: 4, MaxIn: 7, MinOut: 1, MaxOut: 1,
		Infer:  inferGatedMLP,
		Eval:   evalGatedMLP,
		Expand: expandGatedMLP,
		Cost:   costGatedMLP,
	}
}

func inferGatedMLP(c *ir.InferCtx) error {
	s := newShapes(c)
	if err := c.Attrs.(*GatedMLPAttrs).Activation.check(); err != nil && s.err == nil {
		s.err = err
	}
	s.param(GatedInWg, "wg", "D", "F")
	s.param(GatedInWu, "wu", "D", "F")
	s.param(GatedInWd, "wd", "F", "Dv")
	s.param(GatedInBg, "bg", "F")
	s.param(GatedInBu, "bu", "F")
	s.param(GatedInBd, "bd", "Dv")
	s.out(0, s.dt, s.dim("Dv"))
	return s.err
}

func evalGatedMLP(c *ir.EvalCtx) error {
	if err := checkEval(c, inferGatedMLP, GatedInX, GatedInWg, GatedInWu, GatedInWd); err != nil {
		return err
	}
	v, err := vecsOf(c, GatedInX, GatedInWg, GatedInWu, GatedInWd, GatedInBg, GatedInBu, GatedInBd)
	if err != nil {
		return err
	}
	act := c.Attrs.(*GatedMLPAttrs).Activation
	x, wg, wd := c.In(GatedInX), c.In(GatedInWg), c.In(GatedInWd)
	y, err := c.Out(0, x.DType(), leadingShape(x, 1, wd.Shape()[1])...)
	if err != nil {
		return err
	}
	f := wg.Shape()[1]
	in, h, u, out := make([]float64, wg.Shape()[0]), make([]float64, f), make([]float64, f), make([]float64, wd.Shape()[1])
	for n := range tensor.NumElems(x.Shape()[:x.Rank()-1]) {
		v[0].load(in, n*len(in))
		linearRow(h, in, v[1], 0, v[4], 0)
		linearRow(u, in, v[2], 0, v[5], 0)
		for j := range h {
			h[j] = act.apply(h[j]) * u[j]
		}
		linearRow(out, h, v[3], 0, v[6], 0)
		storeRow(y, n*len(out), out)
	}
	return nil
}

func costGatedMLP(c *ir.CostCtx) ir.Cost {
	n := rowsOf(c.Ins[GatedInX])
	d, f := dimSize(c.Ins[GatedInWg], 0), dimSize(c.Ins[GatedInWg], 1)
	dv := dimSize(c.Ins[GatedInWd], 1)
	return ir.Cost{FLOPs: n * (4*d*f + 2*f + 2*f*dv), Bytes: bytesOf(c.Ins) + bytesOf(c.Outs)}
}
