package ffn

import (
	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
	"github.com/seed-c851cfd2/moec/runtime/cpu/pool"
)

// MoE is Y = Bias + Residual + Shared(X) + the sum over the experts that Router
// selects of gate * (hidden(X)*Down + DownBias).
//
// X and Y are plain strided rows, without index lists. A token's experts are added
// in ascending order. Only selected experts' weights are read.
type MoE struct {
	Kernels  *gemm.Kernels
	Router   Router
	Experts  []Weights // of equal shapes and precision
	Joined   *Weights  // the experts as one MLP, where their sizes allow it (see isJoined); or nil
	Shared   *Weights  // always on, not gated; nil if there is none
	Bias     []float32 // Dv, or nil
	T        int
	X        gemm.Rows // T rows of D
	Y        gemm.Rows // T rows of Dv; must not overlap X
	Residual gemm.Rows // T rows of Dv, or Data nil; may be Y or X

	shared      MLP
	tasks, rows int // tokens per task
	tile        int // rows of an expert at a time
	scratch     []float32
	per         int // floats of scratch per worker

	few  fewState
	join joined
}

// dims are the layer's sizes: input, hidden units per expert, output, experts,
// and the most experts of a token.
func (l *MoE) dims() (d, g, dv, e, most int) {
	w := &l.Experts[0]
	return w.Up.K, w.Up.N, w.Down.N, len(l.Experts), l.Router.most(len(l.Experts))
}

const (
	// expertRows is the number of rows per expert that a task's tokens should give
	// on average: eight tiles, so that the weights' first load is a small part (48 measured
	// 2 % slower, 24 6 %).
	expertRows = 96
	// maxTokens bounds the tokens of a task. Reading experts once weighs more than outputs
	// that leave L2: 384 took 1.37 times as long for 512 tokens of 64 experts, d 2048.
	maxTokens = 1024
	// fewRows is the number of rows per expert and worker below which the weights'
	// traffic is the limit, so that tasks own experts and columns instead.
	fewRows = 8
)

// plan chooses the mode and sizes for a number of workers, and reports whether
// tasks own columns.
func (l *MoE) plan(workers int) (few bool) {
	_, g, _, e, most := l.dims()
	w := &l.Experts[0]
	if pairs := l.T * most; l.Kernels.Serial(w.Down.Precision, float64(pairs)*w.flops(), float64(min(e, pairs))*w.bytes()) {
		workers = 1
	}
	if workers > 1 && (l.T < 2*workers || l.T*most < fewRows*e*workers) {
		return true
	}
	limit := max(tileRows, min(maxTokens, expertRows*e/max(1, most)))
	l.tasks = tasks(l.T, limit*workers) * workers
	l.rows = share(l.T, l.tasks)
	l.tasks = tasks(l.T, l.rows)
	l.tile = min(tileRows, l.rows)
	k := l.Kernels
	l.per = pad(l.rows*e) + choiceLen(l.rows, most, e) + groupsLen(l.rows, most, e) +
		pad(k.OperandLen(w.Up.Precision, l.rows, w.Up.K)) + pad(l.tile*g) + w.auxLen(l.tile, g) +
		pad(k.OperandLen(w.Down.Precision, l.tile, g))
	return false
}

// setShared makes the MLP of the shared expert.
func (l *MoE) setShared() {
	l.shared.Kernels, l.shared.Weights = l.Kernels, *l.Shared
	l.shared.T, l.shared.X, l.shared.Y, l.shared.Residual = l.T, l.X, l.Y, l.Residual
}

// Scratch is the number of floats that Run takes with a number of workers.
func (l *MoE) Scratch(workers int) int {
	if l.T == 0 || len(l.Experts) == 0 {
		return 0
	}
	n := 0
	if l.isJoined() {
		kept, phases := l.planJoined(workers)
		n = kept + phases
	} else if l.plan(workers) {
		n = l.fewScratch()
	} else {
		n = workers * l.per
	}
	if l.Shared != nil {
		l.setShared()
		n = max(n, l.shared.Scratch(workers))
	}
	return n
}

// Run computes Y. It fails only if a task panics.
func (l *MoE) Run(r pool.Runner, scratch []float32) error {
	if l.T == 0 || len(l.Experts) == 0 {
		return nil
	}
	if l.Shared != nil {
		l.setShared()
		if err := l.shared.Run(r, scratch); err != nil {
			return err
		}
	}
	if l.isJoined() {
		return l.runJoined(r, scratch)
	}
	l.scratch = scratch
	if l.plan(r.Workers()) {
		return l.runFew(r)
	}
	return r.Run(l.tasks, (*moeTokens)(l))
}

// begin starts the chains of tokens m0 to m1 and columns n0 to n1.
func (l *MoE) begin(m0, m1, n0, n1 int) {
	if l.Shared == nil {
		start(l.Kernels, l.Y, m0, m1, n0, n1, l.Bias, l.Residual)
		return
	}
	if l.Bias != nil {
		for i := m0; i < m1; i++ {
			at := l.Y.At(i)
			l.Kernels.Act().Add(l.Y.Data[at+n0:at+n1], l.Bias[n0:n1])
		}
	}
}

// moeTokens is MoE as a task that owns tokens.
type moeTokens MoE

// Do computes one task; it is for the pool.
func (t *moeTokens) Do(i, worker int) {
	l := (*MoE)(t)
	m0, m1 := i*l.rows, min((i+1)*l.rows, l.T)
	m := m1 - m0
	a := arena{l.scratch[worker*l.per : (worker+1)*l.per]}
	k := l.Kernels
	d, g, dv, e, most := l.dims()
	logits, c, gr := a.floats(m*e), newChoice(&a, m, most, e), newGroups(&a, m, most, e)
	l.Router.logits(k, l.X, m0, m1, e, logits)
	l.Router.choose(k, m0, m1, e, logits, &c)
	gr.fill(&c, m)
	l.begin(m0, m1, 0, dv)

	p := l.Experts[0].Up.Precision
	x := k.Prepare(p, l.X.From(m0), m, d, nil, a.floats(k.OperandLen(p, m, d)))
	h := gemm.Rows{Data: a.floats(l.tile * g), Stride: g}
	aux := gemm.Rows{Data: a.floats(l.Experts[0].auxLen(l.tile, g)), Stride: g}
	conv := a.floats(k.OperandLen(l.Experts[0].Down.Precision, l.tile, g))
	y := l.Y.From(m0)
	for n := range l.Experts {
		p0, p1 := gr.of(n)
		for ; p0 < p1; p0 += l.tile {
			rows := min(l.tile, p1-p0)
			y.Index = gr.tokens[p0 : p0+rows]
			next := n
			if p0+rows == p1 {
				next = min(n+1, e-1)
			}
			l.expert(n, next, x.Pick(y.Index), rows, gr.gates[p0:p0+rows], h, aux, conv, y)
		}
	}
}

// expert adds the outputs of expert n for some rows to y; next is the expert that
// is wanted afterwards.
func (l *MoE) expert(n, next int, x gemm.Operand, rows int, gates []float32, h, aux gemm.Rows, conv []float32, y gemm.Rows) {
	k, w := l.Kernels, &l.Experts[n]
	inRows, inScale := l.gates(gates)
	p := w.Down.Precision
	hop := k.Place(p, h, rows, w.Up.N, conv)
	w.hidden(k, x, rows, 0, w.Up.N, h, aux, inRows, w.First, sink(p, hop), 0)
	if p == layout.I8 {
		k.Convert(&hop, p, h, w.Up.N, inScale, 0, rows)
	}
	k.Run(&gemm.Block{
		A: hop, M: rows, B: w.Down, N1: w.Down.N, K0: w.First, K1: w.First + w.Up.N, C: y, Add: true, Next: l.Experts[next].first(),
	})
	l.downBias(n, rows, gates, y, 0, w.Down.N)
}

// gates says where gates are multiplied in: into the hidden rows, or into the
// scales of int8 rows.
func (l *MoE) gates(gates []float32) (inRows, inScale []float32) {
	switch {
	case !l.Router.scaled():
		return nil, nil
	case l.Experts[0].Down.Precision == layout.I8:
		return nil, gates
	}
	return gates, nil
}

// downBias adds columns n0 to n1 of an expert's gated output bias to rows of y.
func (l *MoE) downBias(n, rows int, gates []float32, y gemm.Rows, n0, n1 int) {
	bias := l.Experts[n].DownBias
	if bias == nil {
		return
	}
	for i := range rows {
		at := y.At(i)
		l.Kernels.Act().Axpy(y.Data[at+n0:at+n1], gates[i], bias[n0:n1])
	}
}
