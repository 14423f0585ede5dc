package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// MicrosoftAttentionAttrs are the attributes of com.microsoft's Attention and
// MultiHeadAttention.
type MicrosoftAttentionAttrs struct {
	DoRotary               bool     `attr:"do_rotary"`
	MaskFilterValue        float32  `attr:"mask_filter_value"`
	NumHeads               int64    `attr:"num_heads"`
	PastPresentShareBuffer bool     `attr:"past_present_share_buffer"`
	QKVHiddenSizes         []int64  `attr:"qkv_hidden_sizes"`
	RotaryEmbeddingDim     int64    `attr:"rotary_embedding_dim"`
	Scale                  *float32 `attr:"scale"`
	Unidirectional         bool     `attr:"unidirectional"`
}

func microsoftAttentionOps() []*ir.Op {
	attrs := func() any { return &MicrosoftAttentionAttrs{MaskFilterValue: -10000} }
	return []*ir.Op{
		{
			Domain: ir.DomainMicrosoft, Name: "Attention", Since: 1, Doc: "Self-attention with the projections of query, key and value inside.",
			Attrs: attrs, MinIn: 2, MaxIn: 7, MinOut: 1, MaxOut: 2, Infer: inferMicrosoftAttention,
			Eval: func(c *ir.EvalCtx) error {
				return byFloat(c, 0, evalMicrosoftAttention[float32], evalMicrosoftAttention[float64])
			},
			Cost: func(c *ir.CostCtx) ir.Cost {
				cost := ir.Cost{Bytes: movedBytes(c.Ins, c.Outs)}
				if x, w := c.Ins[0], c.Ins[1]; x.Rank() == 3 && w.Rank() == 2 {
					rows := x.Shape[0].Size * x.Shape[1].Size
					cost.FLOPs = 2*rows*knownElems(w) + attentionCost(x.Shape[0].Size, 1, x.Shape[1].Size, x.Shape[1].Size, w.Shape[1].Size/3, w.Shape[1].Size/3)
				}
				return cost
			},
		},
		{
			Domain: ir.DomainMicrosoft, Name: "MultiHeadAttention", Since: 1, Doc: "Attention over projected queries, keys and values, packed in several layouts.",
			Attrs: attrs, MinIn: 1, MaxIn: 10, MinOut: 1, MaxOut: 4, Infer: inferMultiHead,
			Eval: func(c *ir.EvalCtx) error { return byFloat(c, 0, evalMultiHead[float32], evalMultiHead[float64]) },
			Cost: func(c *ir.CostCtx) ir.Cost {
				cost := ir.Cost{Bytes: movedBytes(c.Ins, c.Outs)}
				if q := c.Ins[0]; q.Rank() == 3 && len(c.Ins) > 1 && c.Ins[1].Rank() > 2 {
					k := c.Ins[1]
					keys := k.Shape[1].Size
					if k.Rank() == 4 {
						keys = k.Shape[2].Size
					}
					cost.FLOPs = attentionCost(q.Shape[0].Size, 1, q.Shape[1].Size, keys, q.Shape[2].Size, q.Shape[2].Size)
				}
				return cost
			},
		},
	}
}

func (a *MicrosoftAttentionAttrs) heads() (int, error) {
	if a.NumHeads < 1 || a.NumHeads > windowLimit {
		return 0, fmt.Errorf("%w: num_heads %d", ir.ErrAttr, a.NumHeads)
	}
	if a.DoRotary || a.PastPresentShareBuffer {
		return 0, fmt.Errorf("%w: do_rotary and past_present_share_buffer are not supported", ir.ErrAttr)
	}
	return int(a.NumHeads), nil
}

// hiddenSizes are the widths of query, key and value in a packed width of total.
func (a *MicrosoftAttentionAttrs) hiddenSizes(total int64) (q, k, v int64, err error) {
	q, k, v = total/3, total/3, total/3
	if s := a.QKVHiddenSizes; len(s) == 3 {
		q, k, v = s[0], s[1], s[2]
	} else if len(s) != 0 {
		return 0, 0, 0, fmt.Errorf("%w: qkv_hidden_sizes %v", ir.ErrAttr, s)
	}
	n := a.NumHeads
	if q < 0 || k != q || v < 0 || q > windowLimit || v > windowLimit || q+k+v != total || q%n != 0 || v%n != 0 {
		return 0, 0, 0, fmt.Errorf("%w: widths %d, %d and %d of %d for %d heads", ir.ErrAttr, q, k, v, total, n)
	}
	return q, k, v, nil
}

func inferMicrosoftAttention(c *ir.InferCtx) error {
	a := c.Attrs.(*MicrosoftAttentionAttrs)
	if err := wantFloat(c, 0, 1, 2, 4, 5); err != nil {
		return err
	}
	n, err := a.heads()
	if err != nil {
		return err
	}
	x, w := c.In(0), c.In(1)
	if err := wantRank("the input", x, 3, 3); err != nil {
		return err
	}
	if err := wantRank("the weights", w, 2, 2); err != nil {
		return err
	}
	batch, seq, width := ir.Unknown(), ir.Unknown(), ir.Unknown()
	if x.Ranked {
		batch, seq = x.Shape[0], x.Shape[1]
	}
	if w.Ranked && w.Shape[1].IsKnown() {
		_, _, v, err := a.hiddenSizes(w.Shape[1].Size)
		if err != nil {
			return err
		}
		width = ir.Known(v)
	}
	c.SetOut(0, ir.MakeType(x.DType, batch, seq, width))
	total := seq
	if p := c.In(4); c.Has(4) {
		if total = ir.Unknown(); p.Rank() == 5 {
			total = ir.AddDim(p.Shape[3], seq)
		}
	}
	num := ir.Known(int64(n))
	c.SetOut(1, ir.MakeType(x.DType, ir.Known(2), batch, num, total, ir.DivDim(width, num)))
	return nil
}

func evalMicrosoftAttention[T realElem](c *ir.EvalCtx) error {
	if err := need(c, 0, 1); err != nil {
		return err
	}
	a := c.Attrs.(*MicrosoftAttentionAttrs)
	n, err := a.heads()
	if err != nil {
		return err
	}
	x, w := c.In(0), c.In(1)
	if x.Rank() != 3 || w.Rank() != 2 || x.Shape()[2] != w.Shape()[0] {
		return fmt.Errorf("%w: input %s and weights %s", ir.ErrShape, x, w)
	}
	batch, seq, in, total := x.Shape()[0], x.Shape()[1], x.Shape()[2], w.Shape()[1]
	qw, kw, vw, err := a.hiddenSizes(int64(total))
	if err != nil {
		return err
	}
	if err := wantShape("the bias", c.In(2), total); err != nil {
		return err
	}
	p, err := allReals[T](x, w, c.In(2))
	if err != nil {
		return err
	}
	if e, ok := tensor.CheckedElems([]int{batch, seq, total}); !ok || c.MaxElems > 0 && e > c.MaxElems {
		return fmt.Errorf("%w: %d rows of %d", ir.ErrLimit, batch*seq, total)
	}
	qkv := make([]T, batch*seq*total)
	for r := range batch * seq {
		projectRow(qkv[r*total:(r+1)*total], p[0][r*in:(r+1)*in], p[1], p[2])
	}
	part := func(from, width int64) heads[T] {
		d := int(width) / n
		h := heads[T]{batch: batch, num: n, seq: seq, size: d, byBatch: seq * total, byHead: d, byStep: total}
		if len(qkv) > 0 {
			h.v = qkv[from:]
		}
		return h
	}
	at := attend[T]{q: part(0, qw), k: part(qw, kw), v: part(qw+kw, vw)}
	past := 0
	if t := c.In(4); t != nil {
		if t.Rank() != 5 || t.Shape()[0] != 2 || at.k.size != at.v.size {
			return fmt.Errorf("%w: past %s", ir.ErrShape, t)
		}
		past = t.Shape()[3]
		if at.k, at.v, err = appendPacked(t, at.k, at.v); err != nil {
			return err
		}
	}
	if err := at.check(); err != nil {
		return err
	}
	if err := prepareMicrosoft(a, &at, c.In(3), c.In(5), past); err != nil {
		return err
	}
	out, err := outReals[T](c, 0, x.DType(), batch, seq, int(vw))
	if err != nil {
		return err
	}
	view, err := splitHeads("output", out.V, []int{batch, seq, int(vw)}, n)
	if err != nil {
		return err
	}
	at.run(view)
	out.Store()
	if len(c.Outs) < 2 || !c.Want[1] {
		return nil
	}
	keys := at.k.seq
	if at.k.size != at.v.size {
		return fmt.Errorf("%w: present of keys of %d and values of %d", ir.ErrShape, at.k.size, at.v.size)
	}
	present, err := outReals[T](c, 1, x.DType(), 2, batch, n, keys, at.k.size)
	if err != nil {
		return err
	}
	half := len(present.V) / 2
	headsFirst(present.V[:half], at.k, 0, keys)
	headsFirst(present.V[half:], at.v, 0, keys)
	present.Store()
	return nil
}

// projectRow is y = x*w + b for w of [len(x), len(y)].
func projectRow[T realElem](y, x, w, b []T) {
	clear(y)
	if b != nil {
		copy(y, b)
	}
	for i, e := range x {
		axpy(y, e, w[i*len(y):(i+1)*len(y)], 1)
	}
}

// appendPacked is appendHeads for a past of [2,B,H,S,D], keys before values.
func appendPacked[T realElem](past *tensor.Tensor, k, v heads[T]) (heads[T], heads[T], error) {
	half := past.Len() / 2 * past.DType().Size()
	split := func(i int) (*tensor.Tensor, error) {
		return tensor.FromBytes(past.DType(), past.Shape()[1:], past.Bytes()[i*half:(i+1)*half])
	}
	if past.DType() == tensor.String {
		return k, v, fmt.Errorf("%w: past %s", ir.ErrType, past)
	}
	pk, err := split(0)
	if err != nil {
		return k, v, fmt.Errorf("%w: past: %w", ir.ErrShape, err)
	}
	pv, err := split(1)
	if err != nil {
		return k, v, fmt.Errorf("%w: past: %w", ir.ErrShape, err)
	}
	if k, err = appendHeads("past", pk, k); err != nil {
		return k, v, err
	}
	v, err = appendHeads("past", pv, v)
	return k, v, err
}

// prepareMicrosoft sets scale and bias of at from the mask in onnxruntime's forms and an additive
// bias that broadcasts to [B,H,S,keys].
func prepareMicrosoft[T realElem](a *MicrosoftAttentionAttrs, at *attend[T], mask, extra *tensor.Tensor, past int) error {
	at.scale = 1 / math.Sqrt(float64(at.q.size))
	if a.Scale != nil && *a.Scale != 0 {
		at.scale = float64(*a.Scale)
	}
	keys := at.k.seq
	padding, err := newPaddingMask(mask, at.q.batch, at.q.seq, keys)
	if err != nil {
		return err
	}
	bias, err := newMaskView(extra, at.q.batch, at.q.num, at.q.seq, keys)
	if err != nil {
		return err
	}
	if bias != nil && bias.keys != keys {
		return fmt.Errorf("%w: attention_bias %s for %d keys", ir.ErrShape, extra, keys)
	}
	at.bias = func(b, h, i int, row []float64) {
		bias.add(b, h, i, row)
		for j := range row {
			if padding != nil && !padding(b, i, j) {
				row[j] += float64(a.MaskFilterValue)
			}
		}
		if a.Unidirectional {
			forbid(row, func(j int) bool { return j <= past+i })
		}
	}
	return nil
}

// newPaddingMask reads onnxruntime's masks: lengths [B], ends and starts [2B], or flags
// [B,keys] or [B,S,keys]. It tells whether a query may see a key; nil without a mask.
func newPaddingMask(t *tensor.Tensor, batch, seq, keys int) (func(b, i, j int) bool, error) {
	if t == nil {
		return nil, nil
	}
	v, err := t.Int64s()
	if err != nil {
		return nil, fmt.Errorf("%w: mask: %w", ir.ErrType, err)
	}
	switch s := t.Shape(); {
	case len(s) == 1 && s[0] == batch:
		return func(b, _, j int) bool { return int64(j) < v[b] }, nil
	case len(s) == 1 && s[0] == 2*batch:
		return func(b, _, j int) bool { return int64(j) < v[b] && int64(j) >= v[b+batch] }, nil
	case len(s) == 2 && s[0] == batch && s[1] == keys:
		return func(b, _, j int) bool { return v[b*keys+j] != 0 }, nil
	case len(s) == 3 && s[0] == batch && s[1] == seq && s[2] == keys:
		return func(b, i, j int) bool { return v[(b*seq+i)*keys+j] != 0 }, nil
	}
	return nil, fmt.Errorf("%w: mask %s for %d rows of %d queries and %d keys", ir.ErrShape, t, batch, seq, keys)
}
