package ops

import (
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// MLPAttrs are the attributes of MLP.
type MLPAttrs struct {
	Activation Activation `attr:"activation"`
}

// Inputs of MLP; TopKMLP starts with the same ones.
const (
	MLPInX  = iota // [..., D]
	MLPInW1        // [D,F]
	MLPInW2        // [F,Dv]
	MLPInB1        // [F], optional
	MLPInB2        // [Dv], optional
)

func mlpOp() *ir.Op {
	return &ir.Op{
		Domain: ir.DomainMoec, Name: "MLP", Since: 1, Doc: "Dense two-layer feedforward: act(x w1 + b1) w2 + b2.",
		Attrs: func() any { return &MLPAttrs{Activation: ActReLU} },
		MinIn: 3, MaxIn: 5, MinOut: 1, MaxOut: 1,
		Infer:  inferMLP,
		Eval:   evalMLP,
		Expand: expandMLP,
		Cost:   costMLP,
	}
}

func inferMLP(c *ir.InferCtx) error {
	s := mlpShapes(c, c.Attrs.(*MLPAttrs).Activation)
	s.out(0, s.dt, s.dim("Dv"))
	return s.err
}

// mlpShapes checks the inputs that MLP and TopKMLP share.
func mlpShapes(c *ir.InferCtx, act Activation) *shapes {
	s := newShapes(c)
	if err := act.check(); err != nil && s.err == nil {
		s.err = err
	}
	s.param(MLPInW1, "w1", "D", "F")
	s.param(MLPInW2, "w2", "F", "Dv")
	s.param(MLPInB1, "b1", "F")
	s.param(MLPInB2, "b2", "Dv")
	return s
}

func evalMLP(c *ir.EvalCtx) error {
	if err := checkEval(c, inferMLP, MLPInX, MLPInW1, MLPInW2); err != nil {
		return err
	}
	return evalTwoLayers(c, c.Attrs.(*MLPAttrs).Activation, nil)
}

// evalTwoLayers is MLP with something done to each token's hidden units before the second
// layer; row counts tokens.
func evalTwoLayers(c *ir.EvalCtx, act Activation, hidden func(row int, h []float64)) error {
	v, err := vecsOf(c, MLPInX, MLPInW1, MLPInW2, MLPInB1, MLPInB2)
	if err != nil {
		return err
	}
	x, w1, w2 := c.In(MLPInX), c.In(MLPInW1), c.In(MLPInW2)
	y, err := c.Out(0, x.DType(), leadingShape(x, 1, w2.Shape()[1])...)
	if err != nil {
		return err
	}
	in, h, out := make([]float64, w1.Shape()[0]), make([]float64, w1.Shape()[1]), make([]float64, w2.Shape()[1])
	for n := range tensor.NumElems(x.Shape()[:x.Rank()-1]) {
		v[0].load(in, n*len(in))
		linearRow(h, in, v[1], 0, v[3], 0)
		for j := range h {
			h[j] = act.apply(h[j])
		}
		if hidden != nil {
			hidden(n, h)
		}
		linearRow(out, h, v[2], 0, v[4], 0)
		storeRow(y, n*len(out), out)
	}
	return nil
}

func costMLP(c *ir.CostCtx) ir.Cost {
	n := rowsOf(c.Ins[MLPInX])
	d, f := dimSize(c.Ins[MLPInW1], 0), dimSize(c.Ins[MLPInW1], 1)
	dv := dimSize(c.Ins[MLPInW2], 1)
	return ir.Cost{FLOPs: n * (2*d*f + f + 2*f*dv), Bytes: bytesOf(c.Ins) + bytesOf(c.Outs)}
}
