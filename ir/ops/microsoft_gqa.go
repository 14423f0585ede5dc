package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// GroupQueryAttrs are the attributes of com.microsoft's GroupQueryAttention.
type GroupQueryAttrs struct {
	Causal            bool    `attr:"causal"`
	DoRotary          bool    `attr:"do_rotary"`
	KQuantType        string  `attr:"k_quant_type"`
	KVNumHeads        int64   `attr:"kv_num_heads"`
	LocalWindowSize   int64   `attr:"local_window_size"`
	NumHeads          int64   `attr:"num_heads"`
	QKOutput          int64   `attr:"qk_output"`
	RotaryInterleaved bool    `attr:"rotary_interleaved"`
	Scale             float32 `attr:"scale"`
	SmoothSoftmax     bool    `attr:"smooth_softmax"`
	Softcap           float32 `attr:"softcap"`
	VQuantType        string  `attr:"v_quant_type"`
}

func groupQueryOps() []*ir.Op {
	return []*ir.Op{{
		Domain: ir.DomainMicrosoft, Name: "GroupQueryAttention", Since: 1,
		Doc: "Causal attention with grouped heads, rotary positions and a key/value cache.",
		Attrs: func() any {
			return &GroupQueryAttrs{Causal: true, LocalWindowSize: -1, KQuantType: "NONE", VQuantType: "NONE"}
		},
		// Optional inputs stand among the required ones, which Eval asks for itself.
		MinIn: 1, MaxIn: 17, MinOut: 1, MaxOut: 4, Infer: inferGroupQuery,
		Eval: func(c *ir.EvalCtx) error { return byFloat(c, 0, evalGroupQuery[float32], evalGroupQuery[float64]) },
		Cost: func(c *ir.CostCtx) ir.Cost {
			cost := ir.Cost{Bytes: movedBytes(c.Ins, c.Outs)}
			if y := c.Outs[0]; y.Rank() == 3 && len(c.Outs) > 1 && c.Outs[1].Rank() == 4 {
				cost.FLOPs = attentionCost(y.Shape[0].Size, 1, y.Shape[1].Size, c.Outs[1].Shape[2].Size, y.Shape[2].Size, y.Shape[2].Size)
			}
			return cost
		},
	}}
}

func (a *GroupQueryAttrs) heads() (q, kv int, err error) {
	if a.NumHeads < 1 || a.NumHeads > windowLimit || a.KVNumHeads < 1 || a.NumHeads%a.KVNumHeads != 0 {
		return 0, 0, fmt.Errorf("%w: num_heads %d over kv_num_heads %d", ir.ErrAttr, a.NumHeads, a.KVNumHeads)
	}
	if a.KQuantType != "NONE" || a.VQuantType != "NONE" {
		return 0, 0, fmt.Errorf("%w: quantised caches (k_quant_type %q) are not supported", ir.ErrAttr, a.KQuantType)
	}
	return int(a.NumHeads), int(a.KVNumHeads), nil
}

func inferGroupQuery(c *ir.InferCtx) error {
	a := c.Attrs.(*GroupQueryAttrs)
	if err := wantFloat(c, 0, 1, 2, 3, 4); err != nil {
		return err
	}
	n, kv, err := a.heads()
	if err != nil {
		return err
	}
	q, past := c.In(0), c.In(3)
	if err := wantRank("the query", q, 3, 3); err != nil {
		return err
	}
	batch, seq, size := ir.Unknown(), ir.Unknown(), ir.Unknown()
	if q.Ranked {
		batch, seq = q.Shape[0], q.Shape[1]
		all := n
		if !c.Has(1) {
			all += 2 * kv
		}
		size = ir.DivDim(q.Shape[2], ir.Known(int64(all)))
	}
	c.SetOut(0, ir.MakeType(q.DType, batch, seq, ir.MulDim(ir.Known(int64(n)), size)))
	total := ir.Unknown()
	if d, ok := c.Dims(6); ok && len(d) == 1 && d[0].IsKnown() {
		if total = d[0]; c.Has(3) {
			total = ir.Unknown()
			if past.Rank() == 4 && past.Shape[2].IsKnown() {
				total = ir.Known(max(d[0].Size, past.Shape[2].Size))
			}
		}
	}
	present := ir.MakeType(q.DType, batch, ir.Known(int64(kv)), total, size)
	c.SetOut(1, present)
	c.SetOut(2, present)
	c.SetOut(3, ir.MakeType(q.DType, batch, ir.Known(int64(n)), seq, total))
	return nil
}

// groupQuery is a GroupQueryAttention with its operands checked.
type groupQuery[T realElem] struct {
	a        *GroupQueryAttrs
	q, k, v  heads[T]
	before   []int // per row of the batch: how many keys the cache holds
	capacity int   // positions of the present cache
}

func newGroupQuery[T realElem](c *ir.EvalCtx) (*groupQuery[T], error) {
	if err := need(c, 0, 5, 6); err != nil {
		return nil, err
	}
	g := &groupQuery[T]{a: c.Attrs.(*GroupQueryAttrs)}
	n, kv, err := g.a.heads()
	if err != nil {
		return nil, err
	}
	if c.Has(1) != c.Has(2) || c.Has(3) != c.Has(4) {
		return nil, fmt.Errorf("%w: key and value, and past_key and past_value, go together", ir.ErrInput)
	}
	for i := 12; i < len(c.Ins); i++ {
		if c.Has(i) {
			return nil, fmt.Errorf("%w: input %d (quantisation and normalisation of the heads) is not supported", ir.ErrInput, i)
		}
	}
	in, err := allReals[T](c.In(0), c.In(1), c.In(2))
	if err != nil {
		return nil, err
	}
	if err := tensorRank("the query", c.In(0), 3, 3); err != nil {
		return nil, err
	}
	if !c.Has(1) { // query, key and value side by side
		all, err := splitHeads("the packed query", in[0], c.In(0).Shape(), n+2*kv)
		if err != nil {
			return nil, err
		}
		part := func(from, num int) heads[T] {
			h := all
			if h.num = num; len(h.v) > 0 {
				h.v = h.v[from*h.size:]
			}
			return h
		}
		g.q, g.k, g.v = part(0, n), part(n, kv), part(n+kv, kv)
	} else {
		if g.q, err = splitHeads("the query", in[0], c.In(0).Shape(), n); err != nil {
			return nil, err
		}
		if g.k, err = splitHeads("the key", in[1], c.In(1).Shape(), kv); err != nil {
			return nil, err
		}
		if g.v, err = splitHeads("the value", in[2], c.In(2).Shape(), kv); err != nil {
			return nil, err
		}
	}
	if err := (&attend[T]{q: g.q, k: g.k, v: g.v}).check(); err != nil {
		return nil, err
	}
	if g.k.seq != g.q.seq || g.v.size != g.q.size {
		return nil, fmt.Errorf("%w: %d queries of %d, %d keys, values of %d", ir.ErrShape, g.q.seq, g.q.size, g.k.seq, g.v.size)
	}
	return g, g.readLengths(c)
}

// readLengths finds how full the cache is: seqlens_k are the total lengths less one.
func (g *groupQuery[T]) readLengths(c *ir.EvalCtx) error {
	total, err := scalarOf("total_sequence_length", c.In(6))
	if err != nil {
		return err
	}
	if total < int64(g.q.seq) || total > windowLimit {
		return fmt.Errorf("%w: total_sequence_length %d with %d new positions", ir.ErrInput, total, g.q.seq)
	}
	g.capacity = int(total)
	held := 0
	if p := c.In(3); p != nil {
		if p.Rank() != 4 {
			return fmt.Errorf("%w: past_key %s", ir.ErrShape, p)
		}
		held = p.Shape()[2]
		g.capacity = max(g.capacity, held)
		for i := 3; i < 5; i++ {
			if err := wantShape("a past value", c.In(i), g.k.batch, g.k.num, held, g.k.size); err != nil {
				return err
			}
		}
	}
	lens, err := c.In(5).Int64s()
	if err != nil {
		return fmt.Errorf("%w: seqlens_k: %w", ir.ErrType, err)
	}
	if len(lens) != g.q.batch {
		return fmt.Errorf("%w: seqlens_k %s for %d rows", ir.ErrShape, c.In(5), g.q.batch)
	}
	for _, l := range lens {
		before := l + 1 - int64(g.q.seq)
		if total == int64(g.q.seq) { // the first prompt: rows may be padded on the right
			before = 0
		}
		if before < 0 || before > int64(held) || before+int64(g.q.seq) > int64(g.capacity) {
			return fmt.Errorf("%w: seqlens_k %v with a cache of %d and %d new positions", ir.ErrInput, lens, held, g.q.seq)
		}
		g.before = append(g.before, int(before))
	}
	return nil
}

// present is the cache with the new positions of h written behind each row's old ones.
func (g *groupQuery[T]) present(past *tensor.Tensor, h heads[T]) (heads[T], error) {
	out := contiguousHeads(make([]T, h.batch*h.num*g.capacity*h.size), h.batch, h.num, g.capacity, h.size)
	if past != nil {
		v, err := reals[T](past)
		if err != nil {
			return out, err
		}
		headsFirst(out.v, contiguousHeads(v, h.batch, h.num, past.Shape()[2], h.size), 0, g.capacity)
	}
	for b := range h.batch {
		for n := range h.num {
			for s := range h.seq {
				copy(out.at(b, n, g.before[b]+s), h.at(b, n, s))
			}
		}
	}
	return out, nil
}

// rotate turns queries and keys by their positions.
func (g *groupQuery[T]) rotate(c *ir.EvalCtx) error {
	if err := need(c, 7, 8); err != nil {
		return err
	}
	cos, sin := c.In(7), c.In(8)
	if cos.Rank() != 2 || 2*cos.Shape()[1] > g.q.size {
		return fmt.Errorf("%w: cos_cache %s for heads of %d", ir.ErrShape, cos, g.q.size)
	}
	v, err := allReals[T](cos, sin)
	if err != nil {
		return err
	}
	r := rotation[T]{cos: v[0], sin: v[1], half: cos.Shape()[1], interleaved: g.a.RotaryInterleaved}
	ids := c.In(9)
	if ids == nil {
		p := make([]int64, g.q.batch*g.q.seq)
		for i := range p {
			p[i] = int64(g.before[i/g.q.seq] + i%g.q.seq)
		}
		ids = tensor.Of(p, g.q.batch, g.q.seq)
	}
	if err := r.positions(cos, sin, ids, g.q.batch, g.q.seq); err != nil {
		return err
	}
	for _, h := range []*heads[T]{&g.q, &g.k} {
		own := make([]T, h.batch*h.num*h.seq*h.size)
		headsFirst(own, *h, 0, h.seq)
		*h = contiguousHeads(own, h.batch, h.num, h.seq, h.size)
		r.apply(*h)
	}
	return nil
}

func evalGroupQuery[T realElem](c *ir.EvalCtx) error {
	g, err := newGroupQuery[T](c)
	if err != nil {
		return err
	}
	a := g.a
	if e, ok := tensor.CheckedElems([]int{g.k.batch, g.k.num, g.capacity, g.k.size}); !ok || c.MaxElems > 0 && e > c.MaxElems {
		return fmt.Errorf("%w: a cache of %d positions", ir.ErrLimit, g.capacity)
	}
	if a.DoRotary {
		if err := g.rotate(c); err != nil {
			return err
		}
	}
	at := attend[T]{q: g.q, softcap: float64(a.Softcap), scale: float64(a.Scale)}
	if at.k, err = g.present(c.In(3), g.k); err != nil {
		return err
	}
	if at.v, err = g.present(c.In(4), g.v); err != nil {
		return err
	}
	if at.scale == 0 {
		at.scale = 1 / math.Sqrt(float64(g.q.size))
	}
	bias, err := newMaskView(c.In(10), g.q.batch, g.q.num, g.q.seq, g.capacity)
	if err != nil {
		return err
	}
	at.bias = func(b, h, i int, row []float64) {
		bias.add(b, h, i, row)
		pos := g.before[b] + i
		forbid(row, func(j int) bool {
			visible := j < g.before[b]+g.q.seq && (!a.Causal || j <= pos)
			return visible && (a.LocalWindowSize < 0 || j > pos-int(min(a.LocalWindowSize, windowLimit)))
		})
	}
	if t := c.In(11); t != nil {
		sink, err := reals[float64](t)
		if err != nil {
			return err
		}
		if err := wantShape("head_sink", t, g.q.num); err != nil {
			return err
		}
		at.sink = func(h int) float64 { return sink[h] }
	} else if a.SmoothSoftmax {
		at.sink = func(int) float64 { return 0 }
	}
	x := c.In(0)
	shape := []int{g.q.batch, g.q.seq, g.q.num * g.q.size}
	out, err := outReals[T](c, 0, x.DType(), shape...)
	if err != nil {
		return err
	}
	view, err := splitHeads("output", out.V, shape, g.q.num)
	if err != nil {
		return err
	}
	stage := scoreBiased
	if a.QKOutput == 2 {
		stage = scoreProb
	}
	if err := tapScores(c, &at, x.DType(), stage, func() { at.run(view) }); err != nil {
		return err
	}
	out.Store()
	if err := putHeads(c, 1, x.DType(), at.k); err != nil {
		return err
	}
	return putHeads(c, 2, x.DType(), at.v)
}
