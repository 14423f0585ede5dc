package ffn

import (
	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
	"github.com/seed-c851cfd2/moec/runtime/cpu/pool"
)

// fewState is a MoE run whose tasks own experts, then columns: few tokens per
// expert, where reading each weight once matters most.
type fewState struct {
	phase, size, n int
	logits         []float32
	router         gemm.Mul
	choice         choice
	groups         groups
	active         []int32 // experts with pairs
	splits         int     // tasks per expert in the hidden phase
	cols           int     // hidden units of each
	x, hop         gemm.Operand
	h, aux         gemm.Rows
}

// routeWork is the number of logits to select from above which other threads help.
const routeWork = 4 << 10

// fewScratch is the scratch of this mode.
func (l *MoE) fewScratch() int {
	k, w := l.Kernels, &l.Experts[0]
	d, g, _, e, most := l.dims()
	pairs := l.T * most
	return pad(l.T*e) + choiceLen(l.T, most, e) + groupsLen(l.T, most, e) + pad(e) +
		pad(k.OperandLen(w.Up.Precision, l.T, d)) + pad(pairs*g) + w.auxLen(pairs, g) +
		pad(k.OperandLen(w.Down.Precision, pairs, g))
}

// runFew runs the phases one after the other.
func (l *MoE) runFew(r pool.Runner) error {
	k, w, s := l.Kernels, &l.Experts[0], &l.few
	d, g, dv, e, most := l.dims()
	a, workers, t := arena{l.scratch}, r.Workers(), (*moeFew)(l)
	s.logits = a.floats(l.T * e)
	s.choice, s.groups = newChoice(&a, l.T, most, e), newGroups(&a, l.T, most, e)
	active := a.ints(e)
	s.x = k.Place(w.Up.Precision, l.X, l.T, d, a.floats(k.OperandLen(w.Up.Precision, l.T, d)))

	if err := l.route(r); err != nil {
		return err
	}
	s.groups.fill(&s.choice, l.T)
	n := 0
	for i := range l.Experts {
		if p0, p1 := s.groups.of(i); p1 > p0 {
			active[n] = int32(i)
			n++
		}
	}
	s.active = active[:n]
	pairs := int(s.groups.begin[e])
	s.h = gemm.Rows{Data: a.floats(pairs * g), Stride: g}
	s.aux = gemm.Rows{Data: a.floats(w.auxLen(pairs, g)), Stride: g}
	s.hop = k.Place(w.Down.Precision, s.h, pairs, g, a.floats(k.OperandLen(w.Down.Precision, pairs, g)))

	if err := t.run(r, phaseInput, l.T*d, l.T, share(l.T, workers)); err != nil {
		return err
	}
	// At least two tasks for each worker, of whole panels.
	s.splits = max(1, min(tasks(g, layout.NR), tasks(2*workers, max(1, n))))
	s.cols = shareColumns(g, s.splits)
	s.splits = max(1, tasks(g, s.cols))
	if err := t.run(r, phaseHidden, wide, n*s.splits, 1); err != nil {
		return err
	}
	if w.Down.Precision == layout.I8 {
		if err := t.run(r, phaseConvert, pairs*g, pairs, share(pairs, workers)); err != nil {
			return err
		}
	}
	return t.run(r, phaseOutput, wide, dv, shareColumns(dv, workers))
}

// route computes the logits and selects.
func (l *MoE) route(r pool.Runner) error {
	s, k := &l.few, l.Kernels
	_, _, _, e, _ := l.dims()
	if l.Router.W == nil || l.T*e < routeWork && l.T*e*l.Router.W.K < 1<<20 {
		l.Router.logits(k, l.X, 0, l.T, e, s.logits)
	} else {
		s.router = gemm.Mul{Kernels: k, A: l.X, M: l.T, B: l.Router.W, C: gemm.Rows{Data: s.logits, Stride: e}, Bias: l.Router.Bias}
		if err := s.router.Run(r, nil); err != nil {
			return err
		}
	}
	l.Router.choose(k, 0, l.T, e, s.logits, &s.choice)
	return nil
}

// moeFew is MoE as a task of the phases.
type moeFew MoE

func (t *moeFew) run(r pool.Runner, phase, work, n, size int) error {
	t.few.phase, t.few.size, t.few.n = phase, size, n
	return dispatch(r, work, tasks(n, size), t)
}

// Do computes one task; it is for the pool.
func (t *moeFew) Do(i, _ int) {
	l, s, k := (*MoE)(t), &t.few, t.Kernels
	_, g, _, _, _ := l.dims()
	w := &l.Experts[0]
	i0, i1 := i*s.size, min((i+1)*s.size, s.n)
	switch s.phase {
	case phaseInput:
		k.Convert(&s.x, w.Up.Precision, l.X, w.Up.K, nil, i0, i1)
	case phaseHidden:
		l.fewHidden(int(s.active[i/s.splits]), i%s.splits*s.cols)
	case phaseConvert:
		_, scale := l.gates(s.groups.gates)
		k.Convert(&s.hop, w.Down.Precision, s.h, g, scale, i0, i1)
	case phaseOutput:
		l.fewOutput(i0, i1)
	}
}

// fewHidden computes one task's hidden units of an expert, for all its pairs.
func (l *MoE) fewHidden(e, n0 int) {
	s, w := &l.few, &l.Experts[e]
	p0, p1 := s.groups.of(e)
	n1 := min(n0+s.cols, w.Up.N)
	if n0 >= n1 {
		return
	}
	rows, _ := l.gates(s.groups.gates[p0:p1])
	w.hidden(l.Kernels, s.x.Pick(s.groups.tokens[p0:p1]), p1-p0, n0, n1,
		columns(s.h.From(p0), n0), columns(s.aux.From(p0), n0), rows, w.First, sink(w.Down.Precision, s.hop.From(p0)), n0)
}

// fewOutput computes columns n0 to n1 of the output, for all tokens.
func (l *MoE) fewOutput(n0, n1 int) {
	s, k := &l.few, l.Kernels
	l.begin(0, l.T, n0, n1)
	for _, e := range s.active {
		w := &l.Experts[e]
		p0, p1 := s.groups.of(int(e))
		y := l.Y
		y.Index = s.groups.tokens[p0:p1]
		k.Run(&gemm.Block{
			A: s.hop.From(p0), M: p1 - p0, B: w.Down, N0: n0, N1: n1, K0: w.First, K1: w.First + w.Up.N,
			C: columns(y, n0), Add: true,
		})
		l.downBias(int(e), p1-p0, s.groups.gates[p0:p1], y, n0, n1)
	}
}
