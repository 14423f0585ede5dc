package ops

import (
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// scored is a candidate of a product-key search.
type scored struct {
	index int
	score float64
}

// bestScored sorts candidates by the rule of the family and keeps the first k.
func bestScored(c []scored, k int) []scored {
	slices.SortFunc(c, func(a, b scored) int {
		if ranksBefore(a.score, a.index, b.score, b.index) {
			return -1
		}
		return 1
	})
	return c[:min(k, len(c))]
}

func evalPKM(c *ir.EvalCtx) error {
	if err := checkEval(c, inferPKM, PKMInX, PKMInKeys0, PKMInKeys1, PKMInValues); err != nil {
		return err
	}
	p, err := newPKMRun(c)
	if err != nil {
		return err
	}
	x := c.In(PKMInX)
	y, err := c.Out(PKMOutY, x.DType(), leadingShape(x, 1, p.dv)...)
	if err != nil {
		return err
	}
	heads, slots := p.h, p.a.Slots(p.n1, p.n2)
	if p.dense {
		heads, slots = 1, p.n1*p.n2
	}
	var indices, scores *tensor.Tensor
	if wanted(c, PKMOutIndices) {
		if indices, err = c.Out(PKMOutIndices, tensor.I64, leadingShape(x, 1, heads, slots)...); err != nil {
			return err
		}
	}
	if wanted(c, PKMOutScores) {
		if scores, err = c.Out(PKMOutScores, x.DType(), leadingShape(x, 1, heads, slots)...); err != nil {
			return err
		}
	}
	s, out := make([]float64, heads*slots), make([]float64, p.dv)
	for n := range tensor.NumElems(x.Shape()[:x.Rank()-1]) {
		sel := p.selectValues(n)
		for i, e := range sel {
			s[i] = e.score
			if indices != nil {
				tensor.Data[int64](indices)[n*len(s)+i] = int64(e.index)
			}
		}
		if scores != nil {
			storeRow(scores, n*len(s), s)
		}
		p.a.Weighting.apply(s, slots)
		if clear(out); c.Has(PKMInB2) {
			p.b2.load(out, 0)
		}
		for i, e := range sel {
			p.values.axpy(out, s[i], e.index*p.dv)
		}
		storeRow(y, n*p.dv, out)
	}
	return nil
}

// apply turns scores, slots per head, into weights.
func (w Weighting) apply(s []float64, slots int) {
	switch w {
	case WeightSoftmax:
		normalise(s)
	case WeightSoftmaxHead:
		for i := 0; i < len(s); i += slots {
			normalise(s[i : i+slots])
		}
	default:
		for i := range s {
			s[i] = Activation(w).apply(s[i])
		}
	}
}

// pkmRun holds a PKM's operands and the scratch of one token.
type pkmRun struct {
	a                               *PKMAttrs
	h, n1, n2, d1, d2, dv           int
	dense                           bool
	x, keys0, keys1, values         vec
	query, queryB, bias0, bias1, b2 vec
	in, q                           []float64
	projected                       bool
}

func newPKMRun(c *ir.EvalCtx) (*pkmRun, error) {
	k0, k1 := c.In(PKMInKeys0).Shape(), c.In(PKMInKeys1).Shape()
	p := &pkmRun{
		a: c.Attrs.(*PKMAttrs), h: k0[0], n1: k0[1], d1: k0[2], n2: k1[1], d2: k1[2],
		dv: c.In(PKMInValues).Shape()[1], projected: c.Has(PKMInQuery),
	}
	p.dense = p.a.Dense(p.n1, p.n2)
	for i, v := range map[int]*vec{
		PKMInX: &p.x, PKMInKeys0: &p.keys0, PKMInKeys1: &p.keys1, PKMInValues: &p.values, PKMInQuery: &p.query,
		PKMInQueryBias: &p.queryB, PKMInKeyBias0: &p.bias0, PKMInKeyBias1: &p.bias1, PKMInB2: &p.b2,
	} {
		var err error
		if *v, err = vecOf(c.In(i)); err != nil {
			return nil, err
		}
	}
	shape := c.In(PKMInX).Shape()
	p.in, p.q = make([]float64, shape[len(shape)-1]), make([]float64, p.d1+p.d2)
	return p, nil
}

// selectValues are the values that token n reads, head by head, with their scores.
func (p *pkmRun) selectValues(n int) []scored {
	p.x.load(p.in, n*len(p.in))
	sum := make([]scored, 0, p.n1*p.n2)
	var sel []scored
	for h := range p.h {
		q := p.in
		if p.projected {
			q = p.q
			for i := range q {
				row := h*len(q) + i
				q[i] = p.query.dot(p.in, row*len(p.in)) + p.queryB.or0(row)
			}
		}
		s1 := p.keyScores(p.keys0, p.bias0, h, p.n1, q[:p.d1])
		s2 := p.keyScores(p.keys1, p.bias1, h, p.n2, q[p.d1:])
		if p.dense {
			for i := range s1 {
				for j := range s2 {
					if at := i*p.n2 + j; h == 0 {
						sum = append(sum, scored{at, s1[i].score + s2[j].score})
					} else {
						sum[at].score += s1[i].score + s2[j].score
					}
				}
			}
			continue
		}
		slots := p.a.Slots(p.n1, p.n2)
		if p.a.KNN > 0 {
			k := int(min(p.a.KNN, 1<<31))
			s1, s2 = bestScored(s1, k), bestScored(s2, k)
		}
		var c []scored
		for _, a := range s1 {
			for _, b := range s2 {
				c = append(c, scored{a.index*p.n2 + b.index, a.score + b.score})
			}
		}
		sel = append(sel, bestScored(c, slots)...)
	}
	if p.dense {
		return sum
	}
	return sel
}

func (p *pkmRun) keyScores(keys, bias vec, h, n int, q []float64) []scored {
	s := make([]scored, n)
	for i := range s {
		row := h*n + i
		s[i] = scored{i, keys.dot(q, row*len(q)) + bias.or0(row)}
	}
	return s
}

// or0 is element i, 0 of an absent input.
func (v vec) or0(i int) float64 {
	switch {
	case v.d != nil:
		return v.d[i]
	case v.s != nil:
		return float64(v.s[i])
	}
	return 0
}

// costPKM counts key scores, candidate sums and the values of the slots.
func costPKM(c *ir.CostCtx) ir.Cost {
	a := c.Attrs.(*PKMAttrs)
	k0, k1 := c.Ins[PKMInKeys0], c.Ins[PKMInKeys1]
	n, h := rowsOf(c.Ins[PKMInX]), dimSize(k0, 0)
	n1, n2, d1, d2 := dimSize(k0, 1), dimSize(k1, 1), dimSize(k0, 2), dimSize(k1, 2)
	dv := dimSize(c.Ins[PKMInValues], 1)
	flops := h * (2*n1*d1 + 2*n2*d2)
	flops += 2 * h * (d1 + d2) * dimSize(typeAt(c.Ins, PKMInQuery), 1)
	read := n1 * n2
	if a.Dense(int(n1), int(n2)) {
		flops += h*(n1+n2) + n1*n2*(2+2*dv)
	} else {
		slots := int64(a.Slots(int(n1), int(n2)))
		k1, k2 := n1, n2
		if a.KNN > 0 {
			k1, k2 = min(k1, a.KNN), min(k2, a.KNN)
		}
		flops += h * (k1*k2 + slots*(1+2*dv))
		read = min(read, n*h*slots)
	}
	cost := ir.Cost{FLOPs: n * flops, Bytes: bytesOf(c.Ins) + bytesOf(c.Outs)}
	cost.Bytes -= (n1*n2 - read) * dv * int64(c.Ins[PKMInValues].DType.Size())
	return cost
}
