package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// AttentionAttrs are the attributes of Attention (ONNX).
type AttentionAttrs struct {
	IsCausal           bool     `attr:"is_causal"`
	KVNumHeads         *int64   `attr:"kv_num_heads"`
	LeftWindowSize     int64    `attr:"left_window_size"`
	QNumHeads          *int64   `attr:"q_num_heads"`
	QKMatmulOutputMode int64    `attr:"qk_matmul_output_mode"`
	RightWindowSize    int64    `attr:"right_window_size"`
	Scale              *float32 `attr:"scale"`
	Softcap            float32  `attr:"softcap"`
	SoftmaxPrecision   *int64   `attr:"softmax_precision"`
}

func attentionOps() []*ir.Op {
	return []*ir.Op{{
		Name: "Attention", Since: 25, Doc: "Scaled dot-product attention over heads, with masks, key/value cache, soft cap and windows.",
		Attrs: func() any { return &AttentionAttrs{LeftWindowSize: -1, RightWindowSize: -1} },
		MinIn: 3, MaxIn: 7, MinOut: 1, MaxOut: 4,
		Infer: inferAttention,
		Eval:  func(c *ir.EvalCtx) error { return byFloat(c, 0, evalAttention[float32], evalAttention[float64]) },
		Cost: func(c *ir.CostCtx) ir.Cost {
			q, k, v := c.Ins[0], c.Ins[1], c.Ins[2]
			cost := ir.Cost{Bytes: movedBytes(c.Ins, c.Outs)}
			if q.Rank() < 3 || k.Rank() < 3 || v.Rank() < 3 {
				return cost
			}
			seq := q.Rank() - 2
			heads := int64(1)
			size, vSize := q.Shape[q.Rank()-1].Size, v.Shape[v.Rank()-1].Size
			if q.Rank() == 4 {
				heads = q.Shape[1].Size
				seq = 2
			}
			keys := k.Shape[k.Rank()-2].Size
			if len(c.Ins) > 4 && c.Ins[4].Rank() == 4 {
				keys += c.Ins[4].Shape[2].Size
			}
			cost.FLOPs = attentionCost(q.Shape[0].Size, heads, q.Shape[seq].Size, keys, size, vSize)
			return cost
		},
	}}
}

// headDims are a [B,H,S,D] or packed [B,S,H*D] type seen as batch, heads, seq, size.
func headDims(t ir.Type, num *int64) (b, h, s, d ir.Dim, ok bool) {
	switch t.Rank() {
	case 4:
		return t.Shape[0], t.Shape[1], t.Shape[2], t.Shape[3], true
	case 3:
		if num == nil || *num < 1 {
			return b, h, s, d, false
		}
		n := ir.Known(*num)
		return t.Shape[0], n, t.Shape[1], ir.DivDim(t.Shape[2], n), true
	}
	return b, h, s, d, false
}

func inferAttention(c *ir.InferCtx) error {
	a := c.Attrs.(*AttentionAttrs)
	if err := wantFloat(c, 0, 1, 2, 4, 5); err != nil {
		return err
	}
	q, k, v := c.In(0), c.In(1), c.In(2)
	for i := range 3 {
		if err := wantRank(fmt.Sprintf("input %d", i), c.In(i), 3, 4); err != nil {
			return err
		}
	}
	c.SetOut(0, ir.Unranked(q.DType))
	c.SetOut(1, ir.Unranked(k.DType))
	c.SetOut(2, ir.Unranked(v.DType))
	c.SetOut(3, ir.Unranked(q.DType))
	if q.Rank() == 3 && a.QNumHeads == nil || k.Rank() == 3 && a.KVNumHeads == nil {
		return fmt.Errorf("%w: inputs of rank 3 need q_num_heads and kv_num_heads", ir.ErrAttr)
	}
	qb, qh, qs, _, ok1 := headDims(q, a.QNumHeads)
	kb, kh, ks, kd, ok2 := headDims(k, a.KVNumHeads)
	_, vh, _, vd, ok3 := headDims(v, a.KVNumHeads)
	if !ok1 || !ok2 || !ok3 {
		return nil
	}
	total := ks
	if p := c.In(4); c.Has(4) {
		total = ir.Unknown()
		if p.Rank() == 4 {
			total = ir.AddDim(p.Shape[2], ks)
		}
	}
	if q.Rank() == 4 {
		c.SetOut(0, ir.MakeType(q.DType, qb, qh, qs, vd))
	} else {
		c.SetOut(0, ir.MakeType(q.DType, qb, qs, ir.MulDim(qh, vd)))
	}
	c.SetOut(1, ir.MakeType(k.DType, kb, kh, total, kd))
	c.SetOut(2, ir.MakeType(v.DType, kb, vh, total, vd))
	c.SetOut(3, ir.MakeType(q.DType, qb, qh, qs, total))
	return nil
}

func numHeads(n *int64) int {
	if n == nil || *n < 0 || *n > windowLimit {
		return 0
	}
	return int(*n)
}

func evalAttention[T realElem](c *ir.EvalCtx) error {
	if err := need(c, 0, 1, 2); err != nil {
		return err
	}
	a := c.Attrs.(*AttentionAttrs)
	if a.LeftWindowSize < -1 || a.RightWindowSize < -1 {
		return fmt.Errorf("%w: window sizes %d and %d, want -1 or more", ir.ErrAttr, a.LeftWindowSize, a.RightWindowSize)
	}
	if a.QKMatmulOutputMode < 0 || a.QKMatmulOutputMode > 3 {
		return fmt.Errorf("%w: qk_matmul_output_mode %d", ir.ErrAttr, a.QKMatmulOutputMode)
	}
	if c.Has(4) != c.Has(5) || c.Has(4) && c.Has(6) {
		return fmt.Errorf("%w: past_key and past_value go together, and without nonpad_kv_seqlen", ir.ErrInput)
	}
	w, err := allReals[T](c.Ins[:3]...)
	if err != nil {
		return err
	}
	at := &attend[T]{softcap: float64(a.Softcap)}
	if at.q, err = splitHeads("Q", w[0], c.In(0).Shape(), numHeads(a.QNumHeads)); err != nil {
		return err
	}
	if at.k, err = splitHeads("K", w[1], c.In(1).Shape(), numHeads(a.KVNumHeads)); err != nil {
		return err
	}
	if at.v, err = splitHeads("V", w[2], c.In(2).Shape(), numHeads(a.KVNumHeads)); err != nil {
		return err
	}
	offset := 0 // keys that precede the first query
	if c.Has(4) {
		if at.k, err = appendHeads("past_key", c.In(4), at.k); err != nil {
			return err
		}
		if at.v, err = appendHeads("past_value", c.In(5), at.v); err != nil {
			return err
		}
		offset = c.In(4).Shape()[2]
	}
	if err := at.check(); err != nil {
		return err
	}
	at.scale = 1 / math.Sqrt(float64(at.q.size))
	if a.Scale != nil {
		at.scale = float64(*a.Scale)
	}
	if at.bias, err = attentionBias(c, a, at.q.batch, at.q.num, at.q.seq, at.k.seq, offset); err != nil {
		return err
	}
	at.round = roundTo(c.In(0).DType())
	if at.roundExp = at.round; a.SoftmaxPrecision != nil {
		dt, ok := tensor.FromONNX(int(*a.SoftmaxPrecision))
		if !ok || !dt.IsFloat() {
			return fmt.Errorf("%w: softmax_precision %d", ir.ErrAttr, *a.SoftmaxPrecision)
		}
		at.roundExp = roundTo(dt)
	}
	return runAttention(c, at, c.In(0), c.In(1).DType(), c.In(2).DType(), scoreStage(a.QKMatmulOutputMode))
}

// attentionBias composes mask, causality, windows and padding into one additive row.
func attentionBias(c *ir.EvalCtx, a *AttentionAttrs, batch, num, seq, keys, offset int) (func(b, h, i int, bias []float64), error) {
	mask, err := newMaskView(c.In(3), batch, num, seq, keys)
	if err != nil {
		return nil, err
	}
	var valid []int64
	if p := c.In(6); p != nil {
		if err := wantShape("nonpad_kv_seqlen", p, batch); err != nil {
			return nil, err
		}
		if valid, err = p.Int64s(); err != nil {
			return nil, fmt.Errorf("%w: nonpad_kv_seqlen: %w", ir.ErrType, err)
		}
	}
	return func(b, h, i int, bias []float64) {
		mask.add(b, h, i, bias)
		pos := int64(offset + i) // the query's position among the keys
		if valid != nil {
			pos = valid[b] - int64(seq) + int64(i)
			forbid(bias, func(j int) bool { return int64(j) < valid[b] })
		}
		if a.IsCausal {
			forbid(bias, func(j int) bool { return int64(j) <= pos })
		}
		if w := a.LeftWindowSize; w >= 0 {
			forbid(bias, func(j int) bool { return pos-int64(j) <= w })
		}
		if w := a.RightWindowSize; w >= 0 {
			forbid(bias, func(j int) bool { return int64(j)-pos <= w })
		}
	}, nil
}

// roundTo is rounding to a 16-bit type, nil for others.
func roundTo(dt tensor.DType) func(float64) float64 {
	switch dt {
	case tensor.F16:
		return func(x float64) float64 { return float64(tensor.ToFloat16(float32(x)).Float32()) }
	case tensor.BF16:
		return func(x float64) float64 { return float64(tensor.ToBFloat16(float32(x)).Float32()) }
	}
	return nil
}

// runAttention evaluates at and writes output 0 in the layout of query, outputs 1 and 2
// (the keys and values) and output 3 (the scores at the given stage).
func runAttention[T realElem](c *ir.EvalCtx, at *attend[T], query *tensor.Tensor, kt, vt tensor.DType, stage scoreStage) error {
	b, n, s, d := at.q.batch, at.q.num, at.q.seq, at.v.size
	shape := []int{b, n, s, d}
	if query.Rank() == 3 {
		shape = []int{b, s, n * d}
	}
	out, err := outReals[T](c, 0, query.DType(), shape...)
	if err != nil {
		return err
	}
	view, err := splitHeads("output", out.V, shape, n)
	if err != nil {
		return err
	}
	if err := tapScores(c, at, query.DType(), stage, func() { at.run(view) }); err != nil {
		return err
	}
	out.Store()
	if err := putHeads(c, 1, kt, at.k); err != nil {
		return err
	}
	return putHeads(c, 2, vt, at.v)
}

// tapScores runs at with its scores at a stage written as output 3, if somebody wants it.
func tapScores[T realElem](c *ir.EvalCtx, at *attend[T], dt tensor.DType, stage scoreStage, run func()) error {
	if len(c.Outs) < 4 || len(c.Want) > 3 && !c.Want[3] {
		run()
		return nil
	}
	n, s := at.q.num, at.q.seq
	scores, err := outReals[T](c, 3, dt, at.q.batch, n, s, at.k.seq)
	if err != nil {
		return err
	}
	at.stage = stage
	at.tap = func(b, h, i int, row []float64) {
		dst := scores.V[((b*n+h)*s+i)*len(row):]
		for j, x := range row {
			dst[j] = T(x)
		}
	}
	run()
	scores.Store()
	return nil
}
