package ops

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// RotaryAttrs are the attributes of RotaryEmbedding, ONNX's and com.microsoft's.
type RotaryAttrs struct {
	Interleaved        bool    `attr:"interleaved"`
	NumHeads           int64   `attr:"num_heads"`
	RotaryEmbeddingDim int64   `attr:"rotary_embedding_dim"`
	IsPackedBatching   bool    `attr:"is_packed_batching"` // com.microsoft
	Scale              float32 `attr:"scale"`              // com.microsoft
}

func rotaryOps() []*ir.Op {
	infer := func(c *ir.InferCtx) error {
		if err := wantRank("the input", c.In(0), 3, 4); err != nil {
			return err
		}
		return inferFloatSame(c)
	}
	attrs := func() any { return &RotaryAttrs{Scale: 1} }
	return []*ir.Op{
		{
			Name: "RotaryEmbedding", Since: 23, Doc: "Rotates pairs of a head's elements by position-dependent angles.",
			Attrs: attrs, MinIn: 3, MaxIn: 4, MinOut: 1, MaxOut: 1, Infer: infer,
			Eval: func(c *ir.EvalCtx) error {
				return byFloat(c, 0, evalRotary[float32](1, 2, 3), evalRotary[float64](1, 2, 3))
			},
		},
		{
			Domain: ir.DomainMicrosoft, Name: "RotaryEmbedding", Since: 1, Doc: "RotaryEmbedding in onnxruntime's order of inputs.",
			Attrs: attrs, MinIn: 4, MaxIn: 4, MinOut: 1, MaxOut: 1, Infer: infer,
			Eval: func(c *ir.EvalCtx) error {
				return byFloat(c, 0, evalRotary[float32](2, 3, 1), evalRotary[float64](2, 3, 1))
			},
		},
	}
}

// evalRotary reads the cosines, sines and positions from the given inputs.
func evalRotary[T realElem](cosIn, sinIn, posIn int) func(*ir.EvalCtx) error {
	return func(c *ir.EvalCtx) error {
		if err := need(c, 0, cosIn, sinIn); err != nil {
			return err
		}
		a := c.Attrs.(*RotaryAttrs)
		x, cos, sin := c.In(0), c.In(cosIn), c.In(sinIn)
		v, err := allReals[T](x, cos, sin)
		if err != nil {
			return err
		}
		num := int(min(max(a.NumHeads, 0), windowLimit))
		if num == 0 && x.Rank() == 3 && a.RotaryEmbeddingDim == 0 && cos.Rank() > 0 {
			// com.microsoft lets num_heads be absent: then the caches tell the head size.
			if size := 2 * cos.Shape()[cos.Rank()-1]; size > 0 {
				num = x.Shape()[2] / size
			}
		}
		h, err := splitHeads("the input", v[0], x.Shape(), num)
		if err != nil {
			return err
		}
		r := rotation[T]{cos: v[1], sin: v[2], interleaved: a.Interleaved}
		dim := h.size
		if a.RotaryEmbeddingDim != 0 {
			dim = int(min(a.RotaryEmbeddingDim, windowLimit))
		}
		if dim < 0 || dim > h.size || dim%2 != 0 {
			return fmt.Errorf("%w: rotary dimension %d of heads of size %d", ir.ErrAttr, dim, h.size)
		}
		r.half = dim / 2
		if err := r.positions(cos, sin, c.In(posIn), h.batch, h.seq); err != nil {
			return err
		}
		out, err := outReals[T](c, 0, x.DType(), x.Shape()...)
		if err != nil {
			return err
		}
		copy(out.V, v[0])
		dst := h
		dst.v = out.V
		r.apply(dst)
		out.Store()
		return nil
	}
}

// rotation turns the first 2*half elements of each head at each position.
type rotation[T realElem] struct {
	cos, sin    []T
	half        int
	interleaved bool
	row         func(b, s int) int // which row of the caches a position uses
}

// positions checks the caches, [positions, half] with ids or [batch, seq, half] without,
// and sets how a row is found. Ids may be one offset (shape [1]) or [batch, seq].
func (r *rotation[T]) positions(cos, sin, ids *tensor.Tensor, batch, seq int) error {
	if cos.Rank() < 2 || cos.Shape()[cos.Rank()-1] != r.half {
		return fmt.Errorf("%w: cosines %s for a rotary dimension of %d", ir.ErrShape, cos, 2*r.half)
	}
	if err := wantShape("the sine cache", sin, cos.Shape()...); err != nil {
		return err
	}
	if ids == nil {
		r.row = func(b, s int) int { return b*seq + s }
		return wantShape("the cosine cache", cos, batch, seq, r.half)
	}
	if cos.Rank() != 2 {
		return fmt.Errorf("%w: cosines %s with position ids, want rank 2", ir.ErrShape, cos)
	}
	p, err := ids.Int64s()
	if err != nil {
		return fmt.Errorf("%w: position ids: %w", ir.ErrType, err)
	}
	rows := int64(cos.Shape()[0])
	if len(p) == 1 && batch*seq != 1 {
		first := p[0]
		if first < 0 || first > rows-int64(seq) {
			return fmt.Errorf("%w: positions %d to %d of %d", ir.ErrInput, first, first+int64(seq)-1, rows)
		}
		r.row = func(_, s int) int { return int(first) + s }
		return nil
	}
	if len(p) != batch*seq {
		return fmt.Errorf("%w: position ids %s for %d rows of %d positions", ir.ErrShape, ids, batch, seq)
	}
	for i, n := range p {
		if n < 0 {
			p[i] += rows
		}
		if p[i] < 0 || p[i] >= rows {
			return fmt.Errorf("%w: position %d of %d", ir.ErrInput, n, rows)
		}
	}
	r.row = func(b, s int) int { return int(p[b*seq+s]) }
	return nil
}

// apply rotates h in place.
func (r *rotation[T]) apply(h heads[T]) {
	for b := range h.batch {
		for s := range h.seq {
			at := r.row(b, s) * r.half
			cos, sin := r.cos[at:at+r.half], r.sin[at:at+r.half]
			for n := range h.num {
				x := h.at(b, n, s)
				for i := range r.half {
					p, q := i, i+r.half
					if r.interleaved {
						p, q = 2*i, 2*i+1
					}
					re, im := x[p], x[q]
					x[p], x[q] = cos[i]*re-sin[i]*im, sin[i]*re+cos[i]*im
				}
			}
		}
	}
}
