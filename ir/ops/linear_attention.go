package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
)

// LinearAttentionAttrs are the attributes of LinearAttention.
type LinearAttentionAttrs struct {
	ChunkSize  int64   `attr:"chunk_size"` // how a parallel kernel may cut the sequence; no effect on the result
	KVNumHeads int64   `attr:"kv_num_heads"`
	QNumHeads  int64   `attr:"q_num_heads"`
	Scale      float32 `attr:"scale"`
	UpdateRule string  `attr:"update_rule"`
}

// CausalConvAttrs are the attributes of CausalConvWithState.
type CausalConvAttrs struct {
	Activation string `attr:"activation"`
}

func stateOps() []*ir.Op {
	return []*ir.Op{
		{
			Name: "LinearAttention", Since: 27, Doc: "Attention by a recurrent state: linear, gated, delta or gated delta rule.",
			Attrs: func() any { return &LinearAttentionAttrs{ChunkSize: 64, UpdateRule: "gated_delta"} },
			MinIn: 3, MaxIn: 6, MinOut: 2, MaxOut: 2, Infer: inferLinearAttention,
			Eval: func(c *ir.EvalCtx) error {
				return byFloat(c, 0, evalLinearAttention[float32], evalLinearAttention[float64])
			},
			Cost: func(c *ir.CostCtx) ir.Cost {
				cost := ir.Cost{Bytes: movedBytes(c.Ins, c.Outs)}
				if q := c.Ins[0]; q.Rank() == 3 && len(c.Outs) > 1 && c.Outs[1].Rank() == 4 && q.Shape[0].Size > 0 {
					cost.FLOPs = 6 * q.Shape[1].Size * knownElems(c.Outs[1])
				}
				return cost
			},
		},
		{
			Name: "CausalConvWithState", Since: 27, Doc: "Depthwise convolution over the past of a sequence, carrying its last inputs along.",
			Attrs: func() any { return &CausalConvAttrs{Activation: "none"} },
			MinIn: 2, MaxIn: 4, MinOut: 2, MaxOut: 2,
			Infer: func(c *ir.InferCtx) error {
				x, w := c.In(0), c.In(1)
				if err := wantFloat(c, 0, 1, 2, 3); err != nil {
					return err
				}
				if err := wantRank("the input", x, 3, 3); err != nil {
					return err
				}
				if err := wantRank("the weight", w, 3, 3); err != nil {
					return err
				}
				c.SetOut(0, x)
				state := []ir.Dim{ir.Unknown(), ir.Unknown(), ir.Unknown()}
				if x.Ranked {
					state[0], state[1] = x.Shape[0], x.Shape[1]
				}
				if w.Ranked {
					state[2] = ir.SubDim(w.Shape[2], ir.Known(1))
				}
				c.SetOut(1, ir.MakeType(x.DType, state...))
				return nil
			},
			Eval: func(c *ir.EvalCtx) error { return byFloat(c, 0, evalCausalConv[float32], evalCausalConv[float64]) },
			Cost: func(c *ir.CostCtx) ir.Cost {
				cost := ir.Cost{Bytes: movedBytes(c.Ins, c.Outs)}
				if w := c.Ins[1]; w.Rank() == 3 {
					cost.FLOPs = 2 * knownElems(c.Ins[0]) * w.Shape[2].Size
				}
				return cost
			},
		},
	}
}

func inferLinearAttention(c *ir.InferCtx) error {
	a := c.Attrs.(*LinearAttentionAttrs)
	if err := wantFloat(c, 0, 1, 2, 3, 4, 5); err != nil {
		return err
	}
	for i := range 3 {
		if err := wantRank(fmt.Sprintf("input %d", i), c.In(i), 3, 3); err != nil {
			return err
		}
	}
	if a.KVNumHeads < 1 || a.QNumHeads < 1 || a.QNumHeads%a.KVNumHeads != 0 {
		return fmt.Errorf("%w: q_num_heads %d over kv_num_heads %d", ir.ErrAttr, a.QNumHeads, a.KVNumHeads)
	}
	q, v := c.In(0), c.In(2)
	hq, hk := ir.Known(a.QNumHeads), ir.Known(a.KVNumHeads)
	batch, seq, dk, dv := ir.Unknown(), ir.Unknown(), ir.Unknown(), ir.Unknown()
	if q.Ranked {
		batch, seq, dk = q.Shape[0], q.Shape[1], ir.DivDim(q.Shape[2], hq)
	}
	if v.Ranked {
		dv = ir.DivDim(v.Shape[2], hk)
	}
	st := q.DType
	if c.Has(3) {
		st = c.In(3).DType
	}
	c.SetOut(0, ir.MakeType(q.DType, batch, seq, ir.MulDim(hq, dv)))
	c.SetOut(1, ir.MakeType(st, batch, hk, dk, dv))
	return nil
}

// linearGates reads decay or beta packed as [B,T,last].
type linearGates[T realElem] struct {
	v    []T
	last int
}

func (g linearGates[T]) row(b, t, seq int) []T { return g.v[(b*seq+t)*g.last:][:g.last] }

func evalLinearAttention[T realElem](c *ir.EvalCtx) error {
	if err := need(c, 0, 1, 2); err != nil {
		return err
	}
	a := c.Attrs.(*LinearAttentionAttrs)
	gated := a.UpdateRule == "gated" || a.UpdateRule == "gated_delta"
	delta := a.UpdateRule == "delta" || a.UpdateRule == "gated_delta"
	if !gated && !delta && a.UpdateRule != "linear" {
		return fmt.Errorf("%w: update_rule %q", ir.ErrAttr, a.UpdateRule)
	}
	if gated != c.Has(4) || delta != c.Has(5) {
		return fmt.Errorf("%w: update_rule %q with decay %v and beta %v", ir.ErrInput, a.UpdateRule, c.Has(4), c.Has(5))
	}
	hq, hk := int(min(max(a.QNumHeads, 0), windowLimit)), int(min(max(a.KVNumHeads, 0), windowLimit))
	if hk < 1 || hq < 1 || hq%hk != 0 {
		return fmt.Errorf("%w: q_num_heads %d over kv_num_heads %d", ir.ErrAttr, a.QNumHeads, a.KVNumHeads)
	}
	in, err := allReals[T](c.In(0), c.In(1), c.In(2), c.In(3), c.In(4), c.In(5))
	if err != nil {
		return err
	}
	for i := range 3 {
		if err := tensorRank(fmt.Sprintf("input %d", i), c.In(i), 3, 3); err != nil {
			return err
		}
	}
	q, err := splitHeads("the query", in[0], c.In(0).Shape(), hq)
	if err != nil {
		return err
	}
	k, err := splitHeads("the key", in[1], c.In(1).Shape(), hk)
	if err != nil {
		return err
	}
	v, err := splitHeads("the value", in[2], c.In(2).Shape(), hk)
	if err != nil {
		return err
	}
	dk, dv := k.size, v.size
	if q.size != dk || k.batch != q.batch || v.batch != q.batch || k.seq != q.seq || v.seq != q.seq {
		return fmt.Errorf("%w: query %s, key %s, value %s", ir.ErrShape, c.In(0), c.In(1), c.In(2))
	}
	if err := wantShape("the past state", c.In(3), q.batch, hk, dk, dv); err != nil {
		return err
	}
	var decay, beta linearGates[T]
	for i, g := range []*linearGates[T]{&decay, &beta} {
		t := c.In(4 + i)
		if t == nil {
			continue
		}
		wide := hk * dk
		if i == 1 {
			wide = 1
		}
		if t.Rank() != 3 || t.Shape()[0] != q.batch || t.Shape()[1] != q.seq || t.Shape()[2] != hk && t.Shape()[2] != wide {
			return fmt.Errorf("%w: gate %s, want [%d,%d,%d or %d]", ir.ErrShape, t, q.batch, q.seq, hk, wide)
		}
		*g = linearGates[T]{in[4+i], t.Shape()[2]}
	}
	scale := float64(a.Scale)
	if scale == 0 {
		scale = 1 / math.Sqrt(float64(dk))
	}
	st := c.In(0).DType()
	if c.Has(3) {
		st = c.In(3).DType()
	}
	out, err := outReals[T](c, 0, c.In(0).DType(), q.batch, q.seq, hq*dv)
	if err != nil {
		return err
	}
	state, err := outReals[T](c, 1, st, q.batch, hk, dk, dv)
	if err != nil {
		return err
	}
	clear(state.V)
	copy(state.V, in[3])
	group := hq / hk
	write := make([]float64, dv)
	for b := range q.batch {
		for h := range hk {
			s := state.V[(b*hk+h)*dk*dv:][:dk*dv]
			for t := range q.seq {
				kt := k.at(b, h, t)
				for j, e := range v.at(b, h, t) {
					write[j] = float64(e)
				}
				if gated {
					decayState(s, decay.row(b, t, q.seq), h, hk, dk, dv)
				}
				if delta { // what the state already holds for this key is taken off
					for j := range write {
						for i, e := range kt {
							write[j] -= float64(s[i*dv+j]) * float64(e)
						}
						row := beta.row(b, t, q.seq)
						write[j] *= float64(row[h%len(row)])
					}
				}
				for i, e := range kt {
					for j, w := range write {
						s[i*dv+j] += T(float64(e) * w)
					}
				}
				for g := range group {
					qt := q.at(b, h*group+g, t)
					y := out.V[(b*q.seq+t)*hq*dv+(h*group+g)*dv:][:dv]
					for j := range y {
						sum := 0.0
						for i, e := range qt {
							sum += float64(e) * float64(s[i*dv+j])
						}
						y[j] = T(scale * sum)
					}
				}
			}
		}
	}
	out.Store()
	state.Store()
	return nil
}

// decayState multiplies the state of head h by exp(g), one g per head or per key element.
func decayState[T realElem](s, g []T, h, hk, dk, dv int) {
	for i := range dk {
		e := g[h]
		if len(g) != hk {
			e = g[h*dk+i]
		}
		f := T(math.Exp(float64(e)))
		for j := range dv {
			s[i*dv+j] *= f
		}
	}
}

func evalCausalConv[T realElem](c *ir.EvalCtx) error {
	if err := need(c, 0, 1); err != nil {
		return err
	}
	x, w := c.In(0), c.In(1)
	act := c.Attrs.(*CausalConvAttrs).Activation
	if act != "none" && act != "silu" && act != "swish" {
		return fmt.Errorf("%w: activation %q", ir.ErrAttr, act)
	}
	if x.Rank() != 3 || w.Rank() != 3 || w.Shape()[2] < 1 {
		return fmt.Errorf("%w: input %s and weight %s", ir.ErrShape, x, w)
	}
	n, ch, length, k := x.Shape()[0], x.Shape()[1], x.Shape()[2], w.Shape()[2]
	if err := wantShape("the weight", w, ch, 1, k); err != nil {
		return err
	}
	if err := wantShape("the bias", c.In(2), ch); err != nil {
		return err
	}
	if err := wantShape("the past state", c.In(3), n, ch, k-1); err != nil {
		return err
	}
	v, err := allReals[T](x, w, c.In(2), c.In(3))
	if err != nil {
		return err
	}
	out, err := outReals[T](c, 0, x.DType(), n, ch, length)
	if err != nil {
		return err
	}
	state, err := outReals[T](c, 1, x.DType(), n, ch, k-1)
	if err != nil {
		return err
	}
	line := make([]T, k-1+length) // the past and then the input
	for i := range n * ch {
		clear(line)
		if v[3] != nil {
			copy(line, v[3][i*(k-1):(i+1)*(k-1)])
		}
		copy(line[k-1:], v[0][i*length:(i+1)*length])
		tap := v[1][i%ch*k:][:k]
		y := out.V[i*length : (i+1)*length]
		for t := range y {
			if v[2] != nil {
				y[t] = v[2][i%ch]
			} else {
				y[t] = 0
			}
			for j, e := range tap {
				y[t] += e * line[t+j]
			}
		}
		copy(state.V[i*(k-1):(i+1)*(k-1)], line[length:])
	}
	halfStep(out.V, x.DType())
	if act != "none" {
		for i, e := range out.V {
			out.V[i] = T(float64(e) * logistic(float64(e)))
		}
	}
	out.Store()
	state.Store()
	return nil
}
