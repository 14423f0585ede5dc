package ops

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

func evalMoE(c *ir.EvalCtx) error {
	if err := checkEval(c, inferMoE, MoEInX, MoEInW1, MoEInW2); err != nil {
		return err
	}
	if !c.Has(MoEInSel) && !c.Has(MoEInLogits) {
		return fmt.Errorf("%w: neither sel nor logits are given", ir.ErrGraph)
	}
	x := c.In(MoEInX)
	shape := x.Shape()
	n, seq := tensor.NumElems(shape[:len(shape)-1]), 1
	if len(shape) > 1 {
		seq = shape[len(shape)-2]
	}
	r, err := route(c, n, seq, c.In(MoEInW1).Shape()[0])
	if err != nil {
		return err
	}
	if err := r.write(c); err != nil {
		return err
	}
	return evalExperts(c, r)
}

// evalExperts computes y, expert after expert in slot order.
func evalExperts(c *ir.EvalCtx, r *routing) error {
	x, w1s, w2s := c.In(MoEInX), c.In(MoEInW1).Shape(), c.In(MoEInW2).Shape()
	d, g, dv := w1s[1], w1s[2], w2s[2]
	y, err := c.Out(MoEOutY, x.DType(), leadingShape(x, 1, dv)...)
	if err != nil {
		return err
	}
	v, err := vecsOf(c, MoEInX, MoEInW1, MoEInBias, MoEInUp, MoEInUpBias, MoEInW2, MoEInOutBias, MoEInOBias)
	if err != nil {
		return err
	}
	xs, w1, bias, up, upBias, w2, outBias, oBias := v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]
	shared, err := newSharedExperts(c)
	if err != nil {
		return err
	}
	keep, scale := maskOf(c.In(MoEInInnerKeep)), 1/(1-decimal(r.a.Dropout))
	in, h, u := make([]float64, d), make([]float64, g), make([]float64, g)
	sum, out := make([]float64, dv), make([]float64, dv)
	for t := range r.n {
		xs.load(in, t*d)
		if clear(sum); c.Has(MoEInOBias) {
			oBias.load(sum, 0)
		}
		shared.add(sum, in)
		r.selected(t, func(k, e int, gate float64) {
			linearRow(h, in, w1, e*d*g, bias, e*g)
			for j := range h {
				h[j] = r.a.Activation.apply(h[j])
			}
			if c.Has(MoEInUp) {
				linearRow(u, in, up, e*d*g, upBias, e*g)
				for j := range h {
					h[j] *= u[j]
				}
			}
			if keep != nil {
				for j := range h {
					h[j] = dropUnit(h[j], keep[(t*r.slots+k)*g+j], scale)
				}
			}
			linearRow(out, h, w2, e*g*dv, outBias, e*dv)
			for j := range sum {
				sum[j] += gate * out[j]
			}
		})
		storeRow(y, t*dv, sum)
	}
	return nil
}

// sharedExperts are the experts that are always on, as one MLP.
type sharedExperts struct {
	act                 Activation
	w1, b1, w2, up, upB vec
	h, u                []float64
	gated               bool
}

// newSharedExperts returns nil when there are none.
func newSharedExperts(c *ir.EvalCtx) (*sharedExperts, error) {
	if !c.Has(MoEInSharedW1) {
		return nil, nil
	}
	v, err := vecsOf(c, MoEInSharedW1, MoEInSharedB1, MoEInSharedW2, MoEInSharedUp, MoEInSharedUpB)
	if err != nil {
		return nil, err
	}
	f := c.In(MoEInSharedW1).Shape()[1]
	return &sharedExperts{
		act: c.Attrs.(*MoEAttrs).Activation, gated: c.Has(MoEInSharedUp),
		w1: v[0], b1: v[1], w2: v[2], up: v[3], upB: v[4], h: make([]float64, f), u: make([]float64, f),
	}, nil
}

func (s *sharedExperts) add(sum, in []float64) {
	if s == nil {
		return
	}
	linearRow(s.h, in, s.w1, 0, s.b1, 0)
	if s.gated {
		linearRow(s.u, in, s.up, 0, s.upB, 0)
	}
	for j := range s.h {
		a := s.act.apply(s.h[j])
		if s.gated {
			a *= s.u[j]
		}
		s.w2.axpy(sum, a, j*len(sum))
	}
}

// costMoE counts the router, the selected experts and the shared ones. Of a selection by
// threshold, whose size is known only when it runs, it counts the cap. Of expert weights,
// it counts those of as many experts as the tokens can select.
func costMoE(c *ir.CostCtx) ir.Cost {
	w1 := c.Ins[MoEInW1]
	n, e, d, g, dv := rowsOf(c.Ins[MoEInX]), dimSize(w1, 0), dimSize(w1, 1), dimSize(w1, 2), dimSize(c.Ins[MoEInW2], 2)
	k := int64(c.Attrs.(*MoEAttrs).Slots(int(e)))
	fs := dimSize(typeAt(c.Ins, MoEInSharedW1), 1)
	up, sharedUp := int64(0), int64(0)
	if typeAt(c.Ins, MoEInUp).DType != tensor.Invalid {
		up = 1
	}
	if typeAt(c.Ins, MoEInSharedUp).DType != tensor.Invalid {
		sharedUp = 1
	}
	flops := k*g*(2*d*(1+up)+1+up+2*dv) + 2*k*dv + fs*(2*d*(1+sharedUp)+1+sharedUp+2*dv)
	if typeAt(c.Ins, MoEInLogits).DType == tensor.Invalid {
		flops += 2 * d * e
	}
	cost := ir.Cost{FLOPs: n * flops, Bytes: bytesOf(c.Ins) + bytesOf(c.Outs)}
	if idle := e - min(e, n*k); idle > 0 {
		per := int64(0)
		for _, i := range []int{MoEInW1, MoEInW2, MoEInBias, MoEInOutBias, MoEInUp, MoEInUpBias} {
			per += bytesOfOne(typeAt(c.Ins, i)) / e
		}
		cost.Bytes -= idle * per
	}
	return cost
}
