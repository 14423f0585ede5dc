package ops

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// MicrosoftSkipNormAttrs are the attributes of com.microsoft's SkipLayerNormalization and
// SkipSimplifiedLayerNormalization.
type MicrosoftSkipNormAttrs struct {
	Epsilon float32 `attr:"epsilon"`
}

// EmbedNormAttrs are the attributes of com.microsoft's EmbedLayerNormalization.
type EmbedNormAttrs struct {
	Epsilon       float32 `attr:"epsilon"`
	MaskIndexType int64   `attr:"mask_index_type"`
}

func microsoftNormOps() []*ir.Op {
	return []*ir.Op{
		{
			Domain: ir.DomainMicrosoft, Name: "SkipLayerNormalization", Since: 1, Doc: "LayerNormalization of input + skip + bias.",
			Attrs: func() any { return &MicrosoftSkipNormAttrs{Epsilon: 1e-12} },
			MinIn: 3, MaxIn: 5, MinOut: 1, MaxOut: 4, Infer: inferMSSkipNorm, Cost: normCost,
			Eval: func(c *ir.EvalCtx) error { return evalMSSkipNorm(c, true) },
		},
		{
			Domain: ir.DomainMicrosoft, Name: "SkipSimplifiedLayerNormalization", Since: 1, Doc: "RMSNormalization of input + skip + bias.",
			Attrs: func() any { return &MicrosoftSkipNormAttrs{Epsilon: 1e-12} },
			MinIn: 3, MaxIn: 4, MinOut: 1, MaxOut: 4, Infer: inferMSSkipNorm, Cost: normCost,
			Eval: func(c *ir.EvalCtx) error { return evalMSSkipNorm(c, false) },
		},
		{
			Domain: ir.DomainMicrosoft, Name: "EmbedLayerNormalization", Since: 1, Doc: "LayerNormalization of the sum of word, position and segment embeddings.",
			Attrs: func() any { return &EmbedNormAttrs{Epsilon: 1e-12} },
			// An optional input stands among the required ones, which Eval asks for itself.
			MinIn: 1, MaxIn: 9, MinOut: 1, MaxOut: 3,
			Infer: func(c *ir.InferCtx) error {
				ids, w := c.In(0), c.In(2)
				if err := wantRank("input_ids", ids, 2, 2); err != nil {
					return err
				}
				if err := wantRank("word_embedding", w, 2, 2); err != nil {
					return err
				}
				out := []ir.Dim{ir.Unknown(), ir.Unknown(), ir.Unknown()}
				if ids.Ranked {
					copy(out, ids.Shape)
				}
				if w.Ranked {
					out[2] = w.Shape[1]
				}
				c.SetOut(0, ir.MakeType(w.DType, out...))
				c.SetOut(1, ir.MakeType(tensor.I32, out[0]))
				c.SetOut(2, ir.MakeType(w.DType, out...))
				return nil
			},
			Eval: evalEmbedNorm,
		},
	}
}

func inferMSSkipNorm(c *ir.InferCtx) error {
	if err := wantFloat(c, 0, 1, 2, 3, 4); err != nil {
		return err
	}
	x := c.In(0)
	if err := wantRank("the input", x, 2, 3); err != nil {
		return err
	}
	c.SetOut(0, x)
	c.SetOut(3, x)
	stat := ir.Unranked(tensor.F32)
	if x.Ranked {
		shape := append([]ir.Dim(nil), x.Shape...)
		shape[len(shape)-1] = ir.Known(1)
		stat = ir.MakeType(tensor.F32, shape...)
	}
	c.SetOut(1, stat)
	c.SetOut(2, stat)
	return nil
}

// normRows normalises the rows of v in place, then scales and shifts them; it returns
// each row's mean and inverse deviation.
func normRows(v, scale, shift []float64, centred bool, eps float64) (mean, inv []float64) {
	n := len(scale)
	for r := 0; n > 0 && r < len(v)/n; r++ {
		row := v[r*n : (r+1)*n]
		m, is := rowStats(row, centred, eps)
		mean, inv = append(mean, m), append(inv, is)
		for i, e := range row {
			row[i] = (e - m) * is * scale[i]
			if shift != nil {
				row[i] += shift[i]
			}
		}
	}
	return mean, inv
}

func evalMSSkipNorm(c *ir.EvalCtx, centred bool) error {
	if err := need(c, 0, 1, 2); err != nil {
		return err
	}
	x, skip := c.In(0), c.In(1)
	if err := tensorRank("the input", x, 2, 3); err != nil {
		return err
	}
	if !x.DType().IsFloat() {
		return fmt.Errorf("%w: %s", ir.ErrType, x)
	}
	n := x.Shape()[x.Rank()-1]
	bias, beta := c.In(4), c.In(3)
	if !centred {
		bias, beta = c.In(3), nil
	}
	for _, p := range []*tensor.Tensor{c.In(2), beta, bias} {
		if err := wantShape("a parameter", p, n); err != nil {
			return err
		}
	}
	s, err := BroadcastShapes(x.Shape(), skip.Shape())
	if err != nil || tensor.NumElems(s) != x.Len() || skip.Rank() > x.Rank() {
		return fmt.Errorf("%w: skip %s for input %s", ir.ErrShape, skip, x)
	}
	v, err := allReals[float64](x, skip, c.In(2), beta, bias)
	if err != nil {
		return err
	}
	sum := append([]float64(nil), v[0]...)
	scaleShift(sum, x.Shape(), nil, nil, v[1], skip)
	scaleShift(sum, x.Shape(), nil, nil, v[4], bias)
	y := append([]float64(nil), sum...)
	mean, inv := normRows(y, v[2], v[3], centred, float64(c.Attrs.(*MicrosoftSkipNormAttrs).Epsilon))
	if err := putReals(c, 0, x.DType(), y, x.Shape()...); err != nil {
		return err
	}
	rows := append([]int(nil), x.Shape()...)
	rows[len(rows)-1] = 1
	for i, stat := range [][]float64{mean, inv} {
		if tensor.NumElems(rows) != len(stat) {
			stat = make([]float64, tensor.NumElems(rows)) // rows without elements
		}
		if err := putReals(c, i+1, tensor.F32, stat, rows...); err != nil {
			return err
		}
	}
	return putReals(c, 3, x.DType(), sum, x.Shape()...)
}

func evalEmbedNorm(c *ir.EvalCtx) error {
	if err := need(c, 0, 2, 3, 5, 6); err != nil {
		return err
	}
	ids, word := c.In(0), c.In(2)
	if ids.Rank() != 2 || word.Rank() != 2 || !word.DType().IsFloat() {
		return fmt.Errorf("%w: input_ids %s, word_embedding %s", ir.ErrShape, ids, word)
	}
	batch, seq, n := ids.Shape()[0], ids.Shape()[1], word.Shape()[1]
	for _, i := range []int{5, 6} {
		if err := wantShape("a parameter", c.In(i), n); err != nil {
			return err
		}
	}
	total, ok := tensor.CheckedElems([]int{batch, seq, n})
	if !ok || c.MaxElems > 0 && total > c.MaxElems {
		return fmt.Errorf("%w: %d rows of %d embeddings", ir.ErrLimit, batch*seq, n)
	}
	sum := make([]float64, total)
	add := func(name string, ids []int64, table *tensor.Tensor) error {
		if table.Rank() != 2 || table.Shape()[1] != n {
			return fmt.Errorf("%w: %s embedding %s, want rows of %d", ir.ErrShape, name, table, n)
		}
		v, err := reals[float64](table)
		if err != nil {
			return err
		}
		for r, id := range ids {
			if id < 0 || id >= int64(table.Shape()[0]) {
				return fmt.Errorf("%w: %s id %d of %d", ir.ErrInput, name, id, table.Shape()[0])
			}
			for i, e := range v[int(id)*n : (int(id)+1)*n] {
				sum[r*n+i] += e
			}
		}
		return nil
	}
	rowIDs := func(t *tensor.Tensor) ([]int64, error) { // [batch,seq], or [1,seq] for all
		v, err := t.Int64s()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ir.ErrType, err)
		}
		if len(v) == seq && batch != 1 {
			one := v
			for range batch - 1 {
				v = append(v, one[:seq]...)
			}
		}
		if len(v) != batch*seq {
			return nil, fmt.Errorf("%w: ids %s for %d rows of %d", ir.ErrShape, t, batch, seq)
		}
		return v, nil
	}
	w, err := rowIDs(ids)
	if err != nil {
		return err
	}
	if err := add("word", w, word); err != nil {
		return err
	}
	pos := make([]int64, batch*seq)
	for i := range pos {
		pos[i] = int64(i % seq)
	}
	if c.Has(8) {
		if pos, err = rowIDs(c.In(8)); err != nil {
			return err
		}
	}
	if err := add("position", pos, c.In(3)); err != nil {
		return err
	}
	if c.Has(1) && c.Has(4) {
		s, err := rowIDs(c.In(1))
		if err != nil {
			return err
		}
		if err := add("segment", s, c.In(4)); err != nil {
			return err
		}
	}
	p, err := allReals[float64](c.In(5), c.In(6))
	if err != nil {
		return err
	}
	y := append([]float64(nil), sum...)
	normRows(y, p[0], p[1], true, float64(c.Attrs.(*EmbedNormAttrs).Epsilon))
	if err := putReals(c, 0, word.DType(), y, batch, seq, n); err != nil {
		return err
	}
	if err := putMaskIndex(c, batch, seq); err != nil {
		return err
	}
	return putReals(c, 2, word.DType(), sum, batch, seq, n)
}

// putMaskIndex writes how many positions of each row the mask keeps, zeros without one.
func putMaskIndex(c *ir.EvalCtx, batch, seq int) error {
	if len(c.Outs) < 2 || !c.Want[1] {
		return nil
	}
	out, err := c.Out(1, tensor.I32, batch)
	if err != nil {
		return err
	}
	counts := tensor.Data[int32](out)
	clear(counts)
	if !c.Has(7) {
		return nil
	}
	if err := wantShape("the mask", c.In(7), batch, seq); err != nil {
		return err
	}
	m, err := c.In(7).Int64s()
	if err != nil {
		return fmt.Errorf("%w: mask: %w", ir.ErrType, err)
	}
	for i, e := range m {
		if e == 1 {
			counts[i/seq]++
		}
	}
	return nil
}
