package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// BatchNormAttrs are the attributes of BatchNormalization.
type BatchNormAttrs struct {
	Epsilon      float32 `attr:"epsilon"`
	Momentum     float32 `attr:"momentum"`
	TrainingMode bool    `attr:"training_mode"`
}

// InstanceNormAttrs are the attributes of InstanceNormalization.
type InstanceNormAttrs struct {
	Epsilon float32 `attr:"epsilon"`
}

// GroupNormAttrs are the attributes of GroupNormalization.
type GroupNormAttrs struct {
	Epsilon   float32 `attr:"epsilon"`
	NumGroups int64   `attr:"num_groups"`
	StashType int64   `attr:"stash_type"`
}

func batchNormOps() []*ir.Op {
	return []*ir.Op{
		{
			Name: "BatchNormalization", Since: 15, Doc: "Normalises each channel by given statistics, or in training mode by the batch's own.",
			Attrs: func() any { return &BatchNormAttrs{Epsilon: 1e-5, Momentum: 0.9} },
			MinIn: 5, MaxIn: 5, MinOut: 1, MaxOut: 3, Cost: normCost,
			Infer: func(c *ir.InferCtx) error {
				if err := inferChannelNorm(c); err != nil {
					return err
				}
				c.SetOut(1, c.In(3))
				c.SetOut(2, c.In(4))
				return nil
			},
			Eval: func(c *ir.EvalCtx) error { return byFloat(c, 0, batchNorm[float32], batchNorm[float64]) },
		},
		{
			Name: "InstanceNormalization", Since: 22, Doc: "Normalises each channel of each sample by its own mean and variance.",
			Attrs: func() any { return &InstanceNormAttrs{Epsilon: 1e-5} },
			MinIn: 3, MaxIn: 3, MinOut: 1, MaxOut: 1, Infer: inferChannelNorm, Cost: normCost,
			Eval: func(c *ir.EvalCtx) error { return byFloat(c, 0, groupNorm[float32], groupNorm[float64]) },
		},
		{
			Name: "GroupNormalization", Since: 21, Doc: "Normalises groups of channels of each sample by their own mean and variance.",
			Attrs: func() any { return &GroupNormAttrs{Epsilon: 1e-5, StashType: 1} },
			MinIn: 3, MaxIn: 3, MinOut: 1, MaxOut: 1, Infer: inferChannelNorm, Cost: normCost,
			Eval: func(c *ir.EvalCtx) error { return byFloat(c, 0, groupNorm[float32], groupNorm[float64]) },
		},
	}
}

// inferChannelNorm: the output is like the input; parameters are vectors over channels.
func inferChannelNorm(c *ir.InferCtx) error {
	if err := wantFloat(c, 0, 1, 2, 3, 4); err != nil {
		return err
	}
	x := c.In(0)
	if err := wantRank("the input", x, 1, -1); err != nil {
		return err
	}
	for i := 1; i < c.NumIn(); i++ {
		p := c.In(i)
		if err := wantRank("a parameter", p, 1, 1); err != nil {
			return err
		}
		if x.Rank() > 1 && p.Ranked && x.Shape[1].IsKnown() && p.Shape[0].IsKnown() && x.Shape[1].Size != p.Shape[0].Size {
			return fmt.Errorf("%w: parameter %d is %s for input %s", ir.ErrShape, i, p, x)
		}
	}
	c.SetOut(0, x)
	return nil
}

// channels splits a shape into samples, channels and positions; a vector is one
// channel per sample.
func channels(shape []int) (n, ch, inner int) {
	if len(shape) < 2 {
		return tensor.NumElems(shape), 1, 1
	}
	return shape[0], shape[1], tensor.NumElems(shape[2:])
}

func batchNorm[T realElem](c *ir.EvalCtx) error {
	if err := need(c, 0, 1, 2, 3, 4); err != nil {
		return err
	}
	a := c.Attrs.(*BatchNormAttrs)
	x := c.In(0)
	n, ch, inner := channels(x.Shape())
	for i := 1; i < 5; i++ {
		if err := wantShape("a parameter", c.In(i), ch); err != nil {
			return err
		}
	}
	v, err := allReals[T](c.Ins[:5]...)
	if err != nil {
		return err
	}
	mean, variance := v[3], v[4]
	if a.TrainingMode {
		mean, variance = make([]T, ch), make([]T, ch)
		for k := range ch {
			m, va := channelStats(v[0], n, ch, inner, k)
			mean[k], variance[k] = T(m), T(va)
		}
	}
	out, err := outReals[T](c, 0, x.DType(), x.Shape()...)
	if err != nil {
		return err
	}
	for k := range ch {
		g := float64(v[1][k]) / math.Sqrt(float64(variance[k])+float64(a.Epsilon))
		mul, add := T(g), T(float64(v[2][k])-float64(mean[k])*g)
		for s := range n {
			base := (s*ch + k) * inner
			for i := base; i < base+inner; i++ {
				out.V[i] = v[0][i]*mul + add
			}
		}
	}
	out.Store()
	for i := 1; i < len(c.Outs); i++ { // running = old*momentum + batch*(1-momentum)
		r, err := outReals[T](c, i, c.In(i+2).DType(), ch)
		if err != nil {
			return err
		}
		now, m := mean, T(a.Momentum)
		if i == 2 {
			now = variance
		}
		if !a.TrainingMode {
			m = 1
		}
		for k := range ch {
			r.V[k] = v[i+2][k]*m + now[k]*(1-m)
		}
		r.Store()
	}
	return nil
}

// channelStats is the mean and the population variance of one channel over the batch.
func channelStats[T realElem](x []T, n, ch, inner, k int) (mean, variance float64) {
	for pass := range 2 {
		var s float64
		for b := range n {
			base := (b*ch + k) * inner
			for _, e := range x[base : base+inner] {
				if pass == 0 {
					s += float64(e)
				} else {
					s += (float64(e) - mean) * (float64(e) - mean)
				}
			}
		}
		if pass == 0 {
			mean = s / float64(n*inner)
		} else {
			variance = s / float64(n*inner)
		}
	}
	return mean, variance
}

// groupNorm evaluates GroupNormalization, and InstanceNormalization as groups of one
// channel.
func groupNorm[T realElem](c *ir.EvalCtx) error {
	if err := need(c, 0, 1, 2); err != nil {
		return err
	}
	x := c.In(0)
	if err := tensorRank("the input", x, 2, -1); err != nil {
		return err
	}
	n, ch, inner := channels(x.Shape())
	groups, eps := ch, 0.0
	half := tensor.Invalid
	switch a := c.Attrs.(type) {
	case *InstanceNormAttrs:
		eps = float64(a.Epsilon)
	case *GroupNormAttrs:
		eps, half = float64(a.Epsilon), x.DType()
		if a.NumGroups < 1 || int64(ch)%a.NumGroups != 0 {
			return fmt.Errorf("%w: num_groups %d for %d channels", ir.ErrAttr, a.NumGroups, ch)
		}
		groups = int(a.NumGroups)
	}
	for i := 1; i < 3; i++ {
		if err := wantShape("a parameter", c.In(i), ch); err != nil {
			return err
		}
	}
	v, err := allReals[T](c.Ins[:3]...)
	if err != nil {
		return err
	}
	out, err := outReals[T](c, 0, x.DType(), x.Shape()...)
	if err != nil {
		return err
	}
	if x.Len() == 0 {
		return nil
	}
	size := ch / groups * inner
	for g := range n * groups {
		row, y := v[0][g*size:(g+1)*size], out.V[g*size:(g+1)*size]
		mean, inv := rowStats(row, true, eps)
		for i, e := range row {
			y[i] = T((float64(e) - mean) * inv)
		}
	}
	halfStep(out.V, half)
	for i := range out.V {
		k := i / inner % ch
		out.V[i] = out.V[i]*v[1][k] + v[2][k]
	}
	out.Store()
	return nil
}
