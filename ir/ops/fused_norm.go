package ops

import (
	"fmt"
	"math"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// SkipNormAttrs are the attributes of moec::SkipNorm.
type SkipNormAttrs struct {
	Kind    string  `attr:"kind"` // NormLayer or NormRMS
	Epsilon float32 `attr:"epsilon"`
}

// The normalisations of SkipNorm.
const (
	NormLayer = "layer" // (s - mean) / sqrt(variance + epsilon) * scale + bias
	NormRMS   = "rms"   // s / sqrt(mean of squares + epsilon) * scale
)

// skipNormOp adds a residual and normalises over the last axis:
//
//	s = x + skip;  y = norm(s) * scale + bias
//
// Inputs: x and skip [..., N] of one shape; scale [N]; bias [N], optional, layer only.
// Outputs: y, and s, optional. All of one float type.
func skipNormOp() *ir.Op {
	return &ir.Op{
		Domain: ir.DomainMoec, Name: "SkipNorm", Since: 1, Doc: "Residual sum, then LayerNormalization or RMSNormalization over the last axis.",
		Attrs: func() any { return &SkipNormAttrs{Kind: NormLayer, Epsilon: 1e-5} },
		MinIn: 3, MaxIn: 4, MinOut: 1, MaxOut: 2,
		Infer: inferSkipNorm, Eval: evalSkipNorm, Expand: expandSkipNorm,
		Cost: func(c *ir.CostCtx) ir.Cost {
			return ir.Cost{FLOPs: 9 * fusedElems(c.Ins[0]), Bytes: fusedBytes(c)}
		},
	}
}

func (a *SkipNormAttrs) check() error {
	if a.Kind != NormLayer && a.Kind != NormRMS {
		return fmt.Errorf("%w: no normalisation is called %q", ir.ErrAttr, a.Kind)
	}
	return nil
}

func inferSkipNorm(c *ir.InferCtx) error {
	if err := c.Attrs.(*SkipNormAttrs).check(); err != nil {
		return err
	}
	x, skip := c.In(0), c.In(1)
	for i := range c.NumIn() {
		if t := c.In(i).DType; t != tensor.Invalid && (!t.IsFloat() || t != x.DType) {
			return fmt.Errorf("%w: input %d is %s, x is %s", ir.ErrType, i, t, x.DType)
		}
	}
	if !x.Ranked {
		x = skip
	}
	if x.Ranked {
		if len(x.Shape) == 0 || skip.Ranked && len(skip.Shape) != len(x.Shape) {
			return fmt.Errorf("%w: x %s, skip %s", ir.ErrShape, x, skip)
		}
		x.Shape = slices.Clone(x.Shape)
		for i, d := range skip.Shape {
			if !fits(d, x.Shape[i]) {
				return fmt.Errorf("%w: x %s, skip %s", ir.ErrShape, x, skip)
			}
			if d.IsKnown() {
				x.Shape[i] = d
			}
		}
		for i := 2; i < c.NumIn(); i++ {
			if s := c.In(i); s.Ranked && (len(s.Shape) != 1 || !fits(s.Shape[0], x.Shape[len(x.Shape)-1])) {
				return fmt.Errorf("%w: scale or bias %s for x %s", ir.ErrShape, s, x)
			}
		}
	}
	c.SetOut(0, x)
	c.SetOut(1, x)
	return nil
}

func evalSkipNorm(c *ir.EvalCtx) error {
	a := c.Attrs.(*SkipNormAttrs)
	if err := a.check(); err != nil {
		return err
	}
	x, shape, err := fusedFloats(c, 0, "x")
	if err != nil {
		return err
	}
	skip, ss, err := fusedFloats(c, 1, "skip")
	if err != nil {
		return err
	}
	scale, cs, err := fusedFloats(c, 2, "scale")
	if err != nil {
		return err
	}
	if len(shape) == 0 || !slices.Equal(shape, ss) || len(cs) != 1 || cs[0] != shape[len(shape)-1] {
		return fmt.Errorf("%w: x %v, skip %v, scale %v", ir.ErrShape, shape, ss, cs)
	}
	n := cs[0]
	bias := make([]float64, n)
	if c.Has(3) {
		var bs []int
		if bias, bs, err = fusedFloats(c, 3, "bias"); err != nil {
			return err
		}
		if len(bs) != 1 || bs[0] != n {
			return fmt.Errorf("%w: bias %v, scale %v", ir.ErrShape, bs, cs)
		}
	}
	dt := c.In(0).DType()
	sum := make([]float64, len(x))
	for i := range x {
		sum[i] = roundScore(dt, x[i]+skip[i])
	}
	y := make([]float64, len(x))
	for r := 0; r < len(x); r += n {
		normRow(y[r:r+n], sum[r:r+n], scale, bias, a.Kind == NormLayer, float64(a.Epsilon))
	}
	if err := fusedStore(c, 0, dt, y, shape...); err != nil || len(c.Outs) < 2 {
		return err
	}
	return fusedStore(c, 1, dt, sum, shape...)
}

func normRow(y, s, scale, bias []float64, centred bool, eps float64) {
	mean := 0.0
	if centred {
		for _, v := range s {
			mean += v
		}
		mean /= float64(len(s))
	}
	squares := 0.0
	for _, v := range s {
		squares += (v - mean) * (v - mean)
	}
	inv := 1 / math.Sqrt(squares/float64(len(s))+eps)
	for i, v := range s {
		y[i] = (v-mean)*inv*scale[i] + bias[i]
	}
}

func expandSkipNorm(g *ir.Graph, n *ir.Node) ([]*ir.Value, error) {
	e := &expander{g: g, n: n}
	a := n.Attrs.(*SkipNormAttrs)
	s := e.op("Add", n.Inputs[:2])
	ins := append([]*ir.Value{s}, n.Inputs[2:]...)
	name := "LayerNormalization"
	if a.Kind == NormRMS {
		name, ins = "RMSNormalization", ins[:2]
	}
	return []*ir.Value{e.op(name, ins, "axis", int64(-1), "epsilon", a.Epsilon), s}, e.err
}
