package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// The layouts in which moec::Attention reads q, k and v and writes its output.
const (
	LayoutBSD  = "bsd"  // [batch, position, width]: the heads lie side by side in the last axis
	LayoutBHSD = "bhsd" // [batch, head, position, head dim]
)

// FusedAttentionAttrs are the attributes of moec::Attention.
type FusedAttentionAttrs struct {
	Heads    int64   `attr:"heads"`      // query heads
	KVHeads  int64   `attr:"kv_heads"`   // key and value heads; divides Heads
	HeadDim  int64   `attr:"head_dim"`   // of queries and keys
	VHeadDim int64   `attr:"v_head_dim"` // of values and the output
	Scale    float32 `attr:"scale"`
	// Softcap, unless it is 0, holds scores between it and its negative: s becomes softcap tanh(s/softcap).
	Softcap float32 `attr:"softcap"`
	// Causal lets position i see positions up to i only, both counted from the start.
	Causal bool `attr:"causal"`
	// NaNToZero makes weights that are NaN, those of positions that see nothing, zero.
	NaNToZero bool `attr:"nan_to_zero"`
	// Fill is the score where a bool mask is false.
	Fill float32 `attr:"fill"`

	QLayout   string `attr:"q_layout"`
	KLayout   string `attr:"k_layout"`
	VLayout   string `attr:"v_layout"`
	OutLayout string `attr:"out_layout"`

	// In the bsd layout an attentionOperand may be a part of a wider value, such as the output
	// of one Linear for q, k and v together: its first element in the last axis.
	QOffset int64 `attr:"q_offset"`
	KOffset int64 `attr:"k_offset"`
	VOffset int64 `attr:"v_offset"`

	// Wide: q, k and v are bf16, but all that is made of them is f32, and so is a mask that is
	// added; y is f32 too unless it is Rounded.
	Wide    bool `attr:"wide"`
	Rounded bool `attr:"rounded"`
}

// fusedAttentionOp is scaled dot-product attention with the splitting and merging of heads:
//
//	s = scale (q . k);  s = softcap tanh(s / softcap);  s = s + mask, or s where mask else fill;  y = softmax(s) v
//
// computed per batch and head; query head h uses key and value head h / (heads/kv_heads).
// Scores are rounded to the element type after scaling, capping and masking, so that a mask
// of the largest negative number hides a position the same way in every spelling.
//
// Inputs: q, k, v in the given layouts; mask, optional, that broadcasts to
// [batch, heads, q positions, k positions]: of q's type (added) or bool (selects).
// Output: [batch, positions, heads*v_head_dim] or [batch, heads, positions, v_head_dim].
func fusedAttentionOp() *ir.Op {
	return &ir.Op{
		Domain: ir.DomainMoec, Name: "Attention", Since: 1, Doc: "Scaled dot-product attention with splitting and merging of heads.",
		Attrs: func() any {
			return &FusedAttentionAttrs{
				Scale: 1, Fill: float32(math.Inf(-1)),
				QLayout: LayoutBSD, KLayout: LayoutBSD, VLayout: LayoutBSD, OutLayout: LayoutBSD,
			}
		},
		MinIn: 3, MaxIn: 4, MinOut: 1, MaxOut: 1,
		Infer: inferFusedAttention, Eval: evalFusedAttention, Expand: expandFusedAttention, Cost: costFusedAttention,
	}
}

// types are the types that scores are rounded to and that y has, for q of type t.
func (a *FusedAttentionAttrs) types(t tensor.DType) (scores, y tensor.DType) {
	scores = t
	if a.Wide {
		scores = tensor.F32
	}
	if a.Rounded {
		return scores, tensor.BF16
	}
	return scores, scores
}

// check reports attributes that make no sense.
func (a *FusedAttentionAttrs) check() error {
	for _, l := range []string{a.QLayout, a.KLayout, a.VLayout, a.OutLayout} {
		if l != LayoutBSD && l != LayoutBHSD {
			return fmt.Errorf("%w: no layout is called %q", ir.ErrAttr, l)
		}
	}
	if a.Heads < 1 || a.KVHeads < 1 || a.Heads%a.KVHeads != 0 || a.HeadDim < 1 || a.VHeadDim < 1 ||
		min(a.QOffset, a.KOffset, a.VOffset) < 0 || max(a.Heads, a.HeadDim, a.VHeadDim, a.QOffset, a.KOffset, a.VOffset) > 1<<31 {
		return fmt.Errorf("%w: %d heads, %d key heads, head sizes %d and %d, offsets %d, %d, %d", ir.ErrAttr,
			a.Heads, a.KVHeads, a.HeadDim, a.VHeadDim, a.QOffset, a.KOffset, a.VOffset)
	}
	if c := float64(a.Softcap); !(c >= 0) || math.IsInf(c, 1) {
		return fmt.Errorf("%w: softcap %v", ir.ErrAttr, a.Softcap)
	}
	return nil
}

// attentionOperand describes how one of q, k, v lies in its value.
type attentionOperand struct {
	name             string
	layout           string
	heads, dim, from int64
}

func (a *FusedAttentionAttrs) operands() [3]attentionOperand {
	return [3]attentionOperand{
		{"q", a.QLayout, a.Heads, a.HeadDim, a.QOffset},
		{"k", a.KLayout, a.KVHeads, a.HeadDim, a.KOffset},
		{"v", a.VLayout, a.KVHeads, a.VHeadDim, a.VOffset},
	}
}

// sizes gives the batch and positions of a value, checking the rest of its shape.
func (o attentionOperand) sizes(t ir.Type) (batch, positions ir.Dim, err error) {
	if !t.Ranked {
		return ir.Unknown(), ir.Unknown(), nil
	}
	bad := fmt.Errorf("%w: %s is %s, want %d heads of %d from %d in layout %s", ir.ErrShape, o.name, t, o.heads, o.dim, o.from, o.layout)
	if o.layout == LayoutBHSD {
		if len(t.Shape) != 4 || !fits(t.Shape[1], ir.Known(o.heads)) || !fits(t.Shape[3], ir.Known(o.dim)) || o.from != 0 {
			return batch, positions, bad
		}
		return t.Shape[0], t.Shape[2], nil
	}
	if len(t.Shape) != 3 || t.Shape[2].IsKnown() && t.Shape[2].Size < o.from+o.heads*o.dim {
		return batch, positions, bad
	}
	return t.Shape[0], t.Shape[1], nil
}

func inferFusedAttention(c *ir.InferCtx) error {
	a := c.Attrs.(*FusedAttentionAttrs)
	if err := a.check(); err != nil {
		return err
	}
	batch, seq := ir.Unknown(), ir.Unknown()
	in := c.In(0).DType
	dt, out := a.types(in)
	if (a.Wide || a.Rounded) && (in != tensor.BF16 || !a.Wide) {
		return fmt.Errorf("%w: wide attention of %s", ir.ErrType, in)
	}
	var keys [3]ir.Dim
	for i, o := range a.operands() {
		t := c.In(i)
		if t.DType != tensor.Invalid && (!t.DType.IsFloat() || t.DType != in) {
			return fmt.Errorf("%w: %s is %s, q is %s", ir.ErrType, o.name, t.DType, in)
		}
		b, s, err := o.sizes(t)
		if err != nil {
			return err
		}
		if !fits(b, batch) {
			return fmt.Errorf("%w: batches of %s and %s", ir.ErrShape, batch, b)
		}
		if b.IsKnown() || i == 0 {
			batch = b
		}
		keys[i] = s
		if i == 0 {
			seq = s
		}
	}
	if !fits(keys[1], keys[2]) {
		return fmt.Errorf("%w: %s keys and %s values", ir.ErrShape, keys[1], keys[2])
	}
	if m := c.In(3); m.DType != tensor.Invalid {
		if m.DType != tensor.Bool && m.DType != dt {
			return fmt.Errorf("%w: the mask is %s, want bool or %s", ir.ErrType, m.DType, dt)
		}
		if m.Ranked {
			full := []ir.Dim{batch, ir.Known(a.Heads), seq, keys[1]}
			ok := len(m.Shape) <= 4
			for i, d := range m.Shape {
				ok = ok && (fits(d, full[4-len(m.Shape)+i]) || d.Size == 1)
			}
			if !ok {
				return fmt.Errorf("%w: mask %s for scores %v", ir.ErrShape, m, full)
			}
		}
	}
	if a.OutLayout == LayoutBHSD {
		c.SetOut(0, ir.MakeType(out, batch, ir.Known(a.Heads), seq, ir.Known(a.VHeadDim)))
	} else {
		c.SetOut(0, ir.MakeType(out, batch, seq, ir.Known(a.Heads*a.VHeadDim)))
	}
	return nil
}

func costFusedAttention(c *ir.CostCtx) ir.Cost {
	cost := ir.Cost{Bytes: fusedBytes(c)}
	a := c.Attrs.(*FusedAttentionAttrs)
	ops := a.operands()
	b, q, err1 := ops[0].sizes(c.Ins[0])
	_, k, err2 := ops[1].sizes(c.Ins[1])
	if err1 == nil && err2 == nil && b.IsKnown() && q.IsKnown() && k.IsKnown() {
		cost.FLOPs = b.Size * a.Heads * q.Size * k.Size * (2*a.HeadDim + 2*a.VHeadDim + 5)
	}
	return cost
}

// headRows reads element (batch, head, position, i) of an attentionOperand.
type headRows struct {
	data                      []float64
	from, batch, head, pos    int
	batches, positions, width int
}

func (v *headRows) row(b, h, s int) []float64 {
	at := v.from + b*v.batch + h*v.head + s*v.pos
	return v.data[at : at+v.width]
}

func viewHeads(c *ir.EvalCtx, i int, o attentionOperand) (*headRows, error) {
	data, s, err := fusedFloats(c, i, o.name)
	if err != nil {
		return nil, err
	}
	if _, _, err := o.sizes(ir.TypeOf(c.In(i))); err != nil {
		return nil, err
	}
	v := &headRows{data: data, width: int(o.dim), batches: s[0]}
	if o.layout == LayoutBHSD {
		v.positions, v.pos, v.head, v.batch = s[2], s[3], s[2]*s[3], s[1]*s[2]*s[3]
	} else {
		v.positions, v.pos, v.head, v.batch, v.from = s[1], s[2], int(o.dim), s[1]*s[2], int(o.from)
	}
	return v, nil
}

func evalFusedAttention(c *ir.EvalCtx) error {
	a := c.Attrs.(*FusedAttentionAttrs)
	if err := a.check(); err != nil {
		return err
	}
	var v [3]*headRows
	for i, o := range a.operands() {
		var err error
		if v[i], err = viewHeads(c, i, o); err != nil {
			return err
		}
	}
	if v[0].batches != v[1].batches || v[0].batches != v[2].batches || v[1].positions != v[2].positions {
		return fmt.Errorf("%w: q %s, k %s, v %s", ir.ErrShape, c.In(0), c.In(1), c.In(2))
	}
	heads, nq, nk, dv := int(a.Heads), v[0].positions, v[1].positions, int(a.VHeadDim)
	dt, out := a.types(c.In(0).DType())
	mask, err := readMask(c, a, dt, v[0].batches, heads, nq, nk)
	if err != nil {
		return err
	}
	shape, stride := []int{v[0].batches, nq, heads * dv}, [3]int{nq * heads * dv, dv, heads * dv}
	if a.OutLayout == LayoutBHSD {
		shape, stride = []int{v[0].batches, heads, nq, dv}, [3]int{nq * heads * dv, nq * dv, dv}
	}
	y := make([]float64, tensor.NumElems(shape))
	s := make([]float64, nk)
	for b := range v[0].batches {
		for h := range heads {
			kv := h / (heads / int(a.KVHeads))
			for i := range nq {
				q := v[0].row(b, h, i)
				for j := range nk {
					dot := 0.0
					for p, x := range v[1].row(b, kv, j) {
						dot += q[p] * x
					}
					score := roundScore(dt, roundScore(dt, dot)*float64(a.Scale))
					if c := float64(a.Softcap); c != 0 {
						score = roundScore(dt, c*math.Tanh(score/c))
					}
					s[j] = mask(b, h, i, j, score)
					if a.Causal && j > i {
						s[j] = math.Inf(-1)
					}
				}
				attentionWeights(s, a.NaNToZero)
				row := y[b*stride[0]+h*stride[1]+i*stride[2]:][:dv]
				for j := range nk {
					for p, x := range v[2].row(b, kv, j) {
						row[p] += s[j] * x
					}
				}
			}
		}
	}
	return fusedStore(c, 0, out, y, shape...)
}

// attentionWeights turns scores into weights. A row of minus infinities gives NaN, as the
// Softmax op does, unless those are to be zero.
func attentionWeights(s []float64, nanToZero bool) {
	top := math.Inf(-1)
	for _, x := range s {
		top = max(top, x) // NaN stays
	}
	sum := 0.0
	for j, x := range s {
		s[j] = math.Exp(x - top)
		sum += s[j]
	}
	for j := range s {
		s[j] /= sum
		if nanToZero && s[j] != s[j] {
			s[j] = 0
		}
	}
}

// readMask returns a function that applies the mask to a score.
func readMask(c *ir.EvalCtx, a *FusedAttentionAttrs, dt tensor.DType, batch, heads, nq, nk int) (func(b, h, i, j int, s float64) float64, error) {
	t := c.In(3)
	if t == nil {
		return func(_, _, _, _ int, s float64) float64 { return s }, nil
	}
	full := []int{batch, heads, nq, nk}
	if got, err := BroadcastShapes(t.Shape(), full); err != nil || len(got) != 4 || tensor.NumElems(got) != tensor.NumElems(full) {
		return nil, fmt.Errorf("%w: mask %s for scores %v", ir.ErrShape, t, full)
	}
	st := broadcastStrides(t.Shape(), full)
	at := func(b, h, i, j int) int { return b*st[0] + h*st[1] + i*st[2] + j*st[3] }
	if t.DType() == tensor.Bool {
		m := tensor.Data[bool](t)
		fill := roundScore(dt, float64(a.Fill))
		return func(b, h, i, j int, s float64) float64 {
			if m[at(b, h, i, j)] {
				return s
			}
			return fill
		}, nil
	}
	m, _, err := fusedFloats(c, 3, "mask")
	return func(b, h, i, j int, s float64) float64 { return roundScore(dt, s+m[at(b, h, i, j)]) }, err
}
