package ops

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
)

func recurrentOps() []*ir.Op {
	op := func(name, doc string, maxIn, maxOut int, eval func(*ir.EvalCtx) error) *ir.Op {
		return &ir.Op{
			Name: name, Since: 22, Doc: doc, Attrs: newRecurrentAttrs,
			MinIn: 3, MaxIn: maxIn, MinOut: 0, MaxOut: maxOut,
			Infer: inferRecurrent, Eval: eval, Cost: recurrentCost,
		}
	}
	return []*ir.Op{
		op("RNN", "One-gate recurrent layer.", 6, 2, func(c *ir.EvalCtx) error { return byFloat(c, 0, evalRNN[float32], evalRNN[float64]) }),
		op("GRU", "Gated recurrent layer (update and reset gates).", 6, 2, func(c *ir.EvalCtx) error { return byFloat(c, 0, evalGRU[float32], evalGRU[float64]) }),
		op("LSTM", "Long short-term memory layer.", 8, 3, func(c *ir.EvalCtx) error { return byFloat(c, 0, evalLSTM[float32], evalLSTM[float64]) }),
	}
}

func evalRNN[T realElem](c *ir.EvalCtx) error {
	q, err := newRecurrence[T](c, 1, "Tanh")
	if err != nil {
		return err
	}
	err = q.run(c, func(d int, h, _ []T) {
		q.recur(d, h, 0, q.hid)
		for i := range h {
			h[i] = T(q.act[d][0](q.clamp(q.proj[i] + q.pr[i])))
		}
	})
	if err != nil {
		return err
	}
	return q.emit(c, nil)
}

// evalGRU: gates in the order z, r, h.
func evalGRU[T realElem](c *ir.EvalCtx) error {
	q, err := newRecurrence[T](c, 3, "Sigmoid", "Tanh")
	if err != nil {
		return err
	}
	n := q.hid
	z, rh := make([]T, n), make([]T, n)
	linear := q.a.LinearBeforeReset != nil && *q.a.LinearBeforeReset != 0
	err = q.run(c, func(d int, h, _ []T) {
		f, g := q.act[d][0], q.act[d][1]
		q.recur(d, h, 0, 2*n)
		for i := range n {
			z[i] = T(f(q.clamp(q.proj[i] + q.pr[i])))
			rh[i] = T(f(q.clamp(q.proj[n+i] + q.pr[n+i])))
		}
		if linear { // r * (R h + Rb)
			q.recur(d, h, 2*n, 3*n)
			for i := range n {
				q.pr[2*n+i] *= rh[i]
			}
		} else { // R (r * h) + Rb
			for i := range n {
				rh[i] *= h[i]
			}
			q.recur(d, rh, 2*n, 3*n)
		}
		for i := range n {
			cand := T(g(q.clamp(q.proj[2*n+i] + q.pr[2*n+i])))
			h[i] = (1-z[i])*cand + z[i]*h[i]
		}
	})
	if err != nil {
		return err
	}
	return q.emit(c, nil)
}

// evalLSTM: gates in the order i, o, f, c; peepholes in the order i, o, f.
func evalLSTM[T realElem](c *ir.EvalCtx) error {
	q, err := newRecurrence[T](c, 4, "Sigmoid", "Tanh", "Tanh")
	if err != nil {
		return err
	}
	n := q.hid
	if q.cState, err = q.state("initial_c", c.In(6)); err != nil {
		return err
	}
	if err := wantShape("P", c.In(7), q.dirs, 3*n); err != nil {
		return fmt.Errorf("peepholes: %w", err)
	}
	if q.peep, err = reals[T](c.In(7)); err != nil {
		return err
	}
	if q.peep == nil {
		q.peep = make([]T, q.dirs*3*n)
	}
	coupled := q.a.InputForget != nil && *q.a.InputForget != 0
	err = q.run(c, func(d int, h, cell []T) {
		f, g, hAct := q.act[d][0], q.act[d][1], q.act[d][2]
		p := q.peep[d*3*n : (d+1)*3*n]
		q.recur(d, h, 0, 4*n)
		for i := range n {
			in := f(q.clamp(q.proj[i] + q.pr[i] + p[i]*cell[i]))
			forget := 1 - in
			if !coupled {
				forget = f(q.clamp(q.proj[2*n+i] + q.pr[2*n+i] + p[2*n+i]*cell[i]))
			}
			cand := g(q.clamp(q.proj[3*n+i] + q.pr[3*n+i]))
			cell[i] = T(forget*float64(cell[i]) + in*cand)
			out := f(q.clamp(q.proj[n+i] + q.pr[n+i] + p[n+i]*cell[i]))
			h[i] = T(out * hAct(float64(cell[i])))
		}
	})
	if err != nil {
		return err
	}
	return q.emit(c, q.cState)
}
