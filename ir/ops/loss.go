package ops

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// LossAttrs are the attributes of SoftmaxCrossEntropyLoss and NegativeLogLikelihoodLoss.
type LossAttrs struct {
	IgnoreIndex *int64 `attr:"ignore_index"`
	Reduction   string `attr:"reduction"`
}

func lossOps() []*ir.Op {
	attrs := func() any { return &LossAttrs{Reduction: "mean"} }
	return []*ir.Op{
		{
			Name: "SoftmaxCrossEntropyLoss", Since: 13, Doc: "Cross entropy of softmax over axis 1 with class labels.",
			Attrs: attrs, MinIn: 2, MaxIn: 3, MinOut: 1, MaxOut: 2, Infer: inferLoss,
			Eval: func(c *ir.EvalCtx) error { return evalLoss(c, true) },
		},
		{
			Name: "NegativeLogLikelihoodLoss", Since: 22, Doc: "Negative log-probability of class labels over axis 1.",
			Attrs: attrs, MinIn: 2, MaxIn: 3, MinOut: 1, MaxOut: 1, Infer: inferLoss,
			Eval: func(c *ir.EvalCtx) error { return evalLoss(c, false) },
		},
	}
}

func inferLoss(c *ir.InferCtx) error {
	a := c.Attrs.(*LossAttrs)
	if err := wantFloat(c, 0, 2); err != nil {
		return err
	}
	x, t := c.In(0), c.In(1)
	if err := wantRank("the scores", x, 2, -1); err != nil {
		return err
	}
	switch a.Reduction {
	case "none":
		c.SetOut(0, ir.Type{DType: x.DType, Shape: t.Shape, Ranked: t.Ranked})
	case "mean", "sum":
		c.SetOut(0, ir.MakeType(x.DType))
	default:
		return fmt.Errorf("%w: reduction %q", ir.ErrAttr, a.Reduction)
	}
	c.SetOut(1, x)
	return nil
}

func evalLoss(c *ir.EvalCtx, softmax bool) error {
	if err := need(c, 0, 1); err != nil {
		return err
	}
	a := c.Attrs.(*LossAttrs)
	x, t := c.In(0), c.In(1)
	if err := tensorRank("the scores", x, 2, -1); err != nil {
		return err
	}
	n, classes, inner := channels(x.Shape())
	if err := wantShape("the labels", t, append([]int{n}, x.Shape()[2:]...)...); err != nil {
		return err
	}
	if err := wantShape("the weights", c.In(2), classes); err != nil {
		return err
	}
	labels, err := t.Int64s()
	if err != nil {
		return fmt.Errorf("%w: labels: %w", ir.ErrType, err)
	}
	v, err := allReals[float64](x, c.In(2))
	if err != nil {
		return err
	}
	logp := v[0]
	if softmax {
		logp = append([]float64(nil), logp...)
		row := make([]float64, classes)
		for i := range n * inner {
			base := i/inner*classes*inner + i%inner
			for k := range row {
				row[k] = logp[base+k*inner]
			}
			logSoftmaxRow(row)
			for k, e := range row {
				logp[base+k*inner] = e
			}
		}
	}
	loss := make([]float64, len(labels))
	var sum, weight float64
	for i, l := range labels {
		if a.IgnoreIndex != nil && l == *a.IgnoreIndex {
			continue
		}
		if l < 0 || l >= int64(classes) {
			return fmt.Errorf("%w: label %d of %d classes", ir.ErrInput, l, classes)
		}
		w := 1.0
		if v[1] != nil {
			w = v[1][l]
		}
		loss[i] = -w * logp[(i/inner*classes+int(l))*inner+i%inner]
		sum += loss[i]
		weight += w
	}
	shape := t.Shape()
	switch a.Reduction {
	case "none":
	case "sum":
		loss, shape = []float64{sum}, nil
	case "mean":
		loss, shape = []float64{sum / weight}, nil
	default:
		return fmt.Errorf("%w: reduction %q", ir.ErrAttr, a.Reduction)
	}
	if err := putReals(c, 0, x.DType(), loss, shape...); err != nil {
		return err
	}
	if !softmax {
		return nil
	}
	return putReals(c, 1, x.DType(), logp, x.Shape()...)
}

// putReals makes output i hold v rounded to a float type, if somebody wants it.
func putReals(c *ir.EvalCtx, i int, dt tensor.DType, v []float64, shape ...int) error {
	if i >= len(c.Outs) || i < len(c.Want) && !c.Want[i] {
		return nil
	}
	out, err := outReals[float64](c, i, dt, shape...)
	if err != nil {
		return err
	}
	copy(out.V, v)
	out.Store()
	return nil
}
