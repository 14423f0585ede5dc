package ops

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

func inferMultiHead(c *ir.InferCtx) error {
	a := c.Attrs.(*MicrosoftAttentionAttrs)
	if err := wantFloat(c, 0, 1, 2, 3, 5, 6, 7); err != nil {
		return err
	}
	n, err := a.heads()
	if err != nil {
		return err
	}
	q, k, v := c.In(0), c.In(1), c.In(2)
	num := ir.Known(int64(n))
	batch, seq, keys, width := ir.Unknown(), ir.Unknown(), ir.Unknown(), ir.Unknown()
	size := ir.Unknown()
	switch q.Rank() {
	case -1:
	case 3:
		batch, seq, size = q.Shape[0], q.Shape[1], ir.DivDim(q.Shape[2], num)
	case 5: // query, key and value in one: [B,S,N,3,D]
		batch, seq, keys, size = q.Shape[0], q.Shape[1], q.Shape[1], q.Shape[4]
		width = ir.MulDim(num, size)
	default:
		return fmt.Errorf("%w: query %s, want rank 3 or 5", ir.ErrShape, q)
	}
	switch k.Rank() {
	case 3:
		keys = k.Shape[1]
	case 4:
		keys = k.Shape[2]
	case 5:
		keys, width = k.Shape[1], ir.MulDim(num, k.Shape[4])
	}
	switch v.Rank() {
	case 3:
		width = v.Shape[2]
	case 4:
		width = ir.MulDim(num, v.Shape[3])
	}
	c.SetOut(0, ir.MakeType(q.DType, batch, seq, width))
	total := keys
	if p := c.In(6); c.Has(6) {
		if total = ir.Unknown(); p.Rank() == 4 {
			total = ir.AddDim(p.Shape[2], keys)
		}
	}
	c.SetOut(1, ir.MakeType(q.DType, batch, num, total, size))
	c.SetOut(2, ir.MakeType(q.DType, batch, num, total, ir.DivDim(width, num)))
	c.SetOut(3, ir.MakeType(q.DType, batch, num, seq, total))
	return nil
}

// interleaved views one of parts tensors packed as [B,S,N,parts,D].
func interleaved[T realElem](v []T, shape []int, part int) heads[T] {
	b, s, n, parts, d := shape[0], shape[1], shape[2], shape[3], shape[4]
	h := heads[T]{batch: b, num: n, seq: s, size: d, byBatch: s * n * parts * d, byHead: parts * d, byStep: n * parts * d}
	if len(v) > 0 {
		h.v = v[part*d:]
	}
	return h
}

// multiHeadInputs reads query, key and value in whichever layout they come.
func multiHeadInputs[T realElem](c *ir.EvalCtx, n int) (q, k, v heads[T], err error) {
	in, err := allReals[T](c.In(0), c.In(1), c.In(2))
	if err != nil {
		return q, k, v, err
	}
	qt, kt, vt := c.In(0), c.In(1), c.In(2)
	packed := func(t *tensor.Tensor, parts int) bool {
		return t != nil && t.Rank() == 5 && t.Shape()[2] == n && t.Shape()[3] == parts
	}
	switch {
	case packed(qt, 3) && kt == nil && vt == nil:
		s := qt.Shape()
		return interleaved(in[0], s, 0), interleaved(in[0], s, 1), interleaved(in[0], s, 2), nil
	case qt.Rank() != 3 || kt == nil:
		return q, k, v, fmt.Errorf("%w: query %s without a key", ir.ErrShape, qt)
	}
	if q, err = splitHeads("the query", in[0], qt.Shape(), n); err != nil {
		return q, k, v, err
	}
	if packed(kt, 2) && vt == nil {
		return q, interleaved(in[1], kt.Shape(), 0), interleaved(in[1], kt.Shape(), 1), nil
	}
	if vt == nil {
		return q, k, v, fmt.Errorf("%w: key %s without a value", ir.ErrShape, kt)
	}
	if k, err = splitHeads("the key", in[1], kt.Shape(), n); err != nil {
		return q, k, v, err
	}
	v, err = splitHeads("the value", in[2], vt.Shape(), n)
	return q, k, v, err
}

// biased adds a bias of one element per head and position in the head to a copy of h.
func biased[T realElem](h heads[T], bias []T) heads[T] {
	v := make([]T, h.batch*h.num*h.seq*h.size)
	headsFirst(v, h, 0, h.seq)
	out := contiguousHeads(v, h.batch, h.num, h.seq, h.size)
	for b := range h.batch {
		for n := range h.num {
			for s := range h.seq {
				axpy(out.at(b, n, s), 1, bias[n*h.size:(n+1)*h.size], 1)
			}
		}
	}
	return out
}

func evalMultiHead[T realElem](c *ir.EvalCtx) error {
	if err := need(c, 0); err != nil {
		return err
	}
	a := c.Attrs.(*MicrosoftAttentionAttrs)
	n, err := a.heads()
	if err != nil {
		return err
	}
	if c.Has(8) || c.Has(9) || c.Has(6) != c.Has(7) {
		return fmt.Errorf("%w: past_sequence_length and cache_indirection are not supported; past_key and past_value go together", ir.ErrInput)
	}
	at := attend[T]{}
	if at.q, at.k, at.v, err = multiHeadInputs[T](c, n); err != nil {
		return err
	}
	if t := c.In(3); t != nil {
		qw, kw, vw := n*at.q.size, n*at.k.size, n*at.v.size
		if err := wantShape("the bias", t, qw+kw+vw); err != nil {
			return err
		}
		b, err := reals[T](t)
		if err != nil {
			return err
		}
		at.q = biased(at.q, b[:qw])
		if kt := c.In(1); kt == nil || kt.Rank() != 4 { // keys given by head come with their bias
			at.k, at.v = biased(at.k, b[qw:qw+kw]), biased(at.v, b[qw+kw:])
		}
	}
	past := 0
	if c.Has(6) {
		if at.k, err = appendHeads("past_key", c.In(6), at.k); err != nil {
			return err
		}
		if at.v, err = appendHeads("past_value", c.In(7), at.v); err != nil {
			return err
		}
		past = c.In(6).Shape()[2]
	}
	if err := at.check(); err != nil {
		return err
	}
	if err := prepareMicrosoft(a, &at, c.In(4), c.In(5), past); err != nil {
		return err
	}
	x := c.In(0)
	shape := []int{at.q.batch, at.q.seq, n * at.v.size}
	out, err := outReals[T](c, 0, x.DType(), shape...)
	if err != nil {
		return err
	}
	view, err := splitHeads("output", out.V, shape, n)
	if err != nil {
		return err
	}
	if err := tapScores(c, &at, x.DType(), scoreRaw, func() { at.run(view) }); err != nil {
		return err
	}
	out.Store()
	if err := putHeads(c, 1, x.DType(), at.k); err != nil {
		return err
	}
	return putHeads(c, 2, x.DType(), at.v)
}
