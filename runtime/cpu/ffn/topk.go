package ffn

import (
	"math"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
	"github.com/seed-c851cfd2/moec/runtime/cpu/pool"
)

// TopKMLP is an MLP that keeps, of each token's hidden units, those that are at
// least the K-th greatest; the others count as zero.
//
// Units are compared by their value, or its magnitude, times Norm (the L2 norm of
// the unit's row of Down) if that is given. All equal to the K-th are kept; where
// fewer than K are numbers, all are. A gated MLP is not supported (Gate is nil).
type TopKMLP struct {
	Kernels *gemm.Kernels
	Weights
	K         int
	Magnitude bool
	Norm      []float32 // of F units, or nil
	T         int
	X         gemm.Rows // T rows of D
	Y         gemm.Rows // T rows of Dv; must not overlap X
	Residual  gemm.Rows // T rows of Dv, or Data nil; may be Y or X

	phase, rows, tasks, size int
	scratch                  []float32
	per                      int // floats of scratch per worker
	x, hop                   gemm.Operand
	h                        gemm.Rows
	lists                    []float32 // of the phases: a list per token
}

// sparseShare is the share of units up to which a token's rows of Down are added
// one by one: that reads 64 bytes of L2 per multiply-add, at a quarter to a third
// of the rate of the dense product.
const sparseShare = 4

// topRows is the number of tokens of a task: their lists take turns over the
// panels of Down while those are in L2.
const topRows = 48

// sparse reports whether the second product goes by lists of units.
func (l *TopKMLP) sparse() bool {
	return l.Down.Precision == layout.F32 && l.K*sparseShare <= l.Up.N
}

// listLen is the scratch for one token's list: its length, indexes and values.
func (l *TopKMLP) listLen() int { return pad(1) + 2*pad(l.Up.N+16) }

// plan chooses sizes and reports whether tasks own columns.
func (l *TopKMLP) plan(workers int) (few bool) {
	if workers > 1 && l.T < 4*workers {
		l.rows = l.T
	} else {
		l.rows = min(topRows, share(l.T, workers))
	}
	l.tasks = tasks(l.T, l.rows)
	k, f := l.Kernels, l.Up.N
	l.per = pad(k.OperandLen(l.Up.Precision, l.rows, l.Up.K)) + pad(l.rows*f) +
		padKeys(f) + pad(f) + l.rows*l.listLen() + pad(k.OperandLen(l.Down.Precision, l.rows, f))
	return workers > 1 && l.T < 4*workers
}

// Scratch is the number of floats that Run takes with a number of workers.
func (l *TopKMLP) Scratch(workers int) int {
	if l.T == 0 {
		return 0
	}
	if l.plan(workers) {
		return l.per
	}
	return workers * l.per
}

// Run computes Y. It fails only if a task panics.
func (l *TopKMLP) Run(r pool.Runner, scratch []float32) error {
	if l.T == 0 || l.Down.N == 0 {
		return nil
	}
	l.scratch = scratch
	w := r.Workers()
	if !l.plan(w) {
		l.phase = phaseTokens
		return r.Run(l.tasks, l)
	}
	a := arena{l.scratch}
	l.place(&a, 0, l.T)
	l.Kernels.Convert(&l.x, l.Up.Precision, l.X, l.Up.K, nil, 0, l.T)
	l.phase, l.size = phaseHidden, shareColumns(l.Up.N, w)
	if err := r.Run(tasks(l.Up.N, l.size), l); err != nil {
		return err
	}
	l.choose(&a, 0, l.T)
	l.phase, l.size = phaseOutput, shareColumns(l.Down.N, w)
	return r.Run(tasks(l.Down.N, l.size), l)
}

// place lays out the operand and the hidden rows of tokens m0 to m1.
func (l *TopKMLP) place(a *arena, m0, m1 int) {
	k, m := l.Kernels, m1-m0
	l.x = k.Place(l.Up.Precision, l.X.From(m0), m, l.Up.K, a.floats(k.OperandLen(l.Up.Precision, m, l.Up.K)))
	l.h = gemm.Rows{Data: a.floats(m * l.Up.N), Stride: l.Up.N}
}

// choose makes the lists, or clears what is not kept, and prepares the operand.
func (l *TopKMLP) choose(a *arena, m0, m1 int) {
	k, f := l.Kernels, l.Up.N
	keys, v := a.words(padKeys(f)), a.floats(f)
	l.lists = nil
	if l.sparse() {
		l.lists = a.floats((m1 - m0) * l.listLen())
	}
	for i := range m1 - m0 {
		h := l.h.Data[i*f : (i+1)*f]
		t := l.limit(h, v, keys)
		if l.lists != nil {
			n, idx, val := l.list(i)
			n[0] = int32(compact(k.Features(), idx, val, keys, h, t))
			continue
		}
		for j := range h {
			if keys[j] < t {
				h[j] = 0
			}
		}
	}
	if l.lists == nil {
		l.hop = k.Prepare(l.Down.Precision, l.h, m1-m0, f, nil, a.floats(k.OperandLen(l.Down.Precision, m1-m0, f)))
	}
}

// limit returns the key from which on units are kept, and fills keys.
func (l *TopKMLP) limit(h, v []float32, keys []uint32) uint32 {
	copy(v, h)
	if l.Norm != nil {
		l.Kernels.Act().Mul(v, l.Norm)
	}
	if l.Magnitude {
		for j, x := range v {
			v[j] = math.Float32frombits(math.Float32bits(x) &^ (1 << 31))
		}
	}
	f := l.Kernels.Features()
	fillKeys(f, keys, v)
	if l.K >= len(h) {
		return 0
	}
	return threshold(f, keys, len(h), l.K)
}

// list is token i's list: its length, and room for it.
func (l *TopKMLP) list(i int) (n, idx []int32, val []float32) {
	a := arena{l.lists[i*l.listLen() : (i+1)*l.listLen()]}
	return a.ints(1), a.ints(l.Up.N + 16), a.floats(l.Up.N + 16)
}

// output computes columns n0 to n1 of tokens m0 to m1.
func (l *TopKMLP) output(m0, m1, n0, n1 int) {
	k := l.Kernels
	start(k, l.Y, m0, m1, n0, n1, l.DownBias, l.Residual)
	if l.lists == nil {
		k.Run(&gemm.Block{A: l.hop, M: m1 - m0, B: l.Down, N0: n0, N1: n1, K1: l.Up.N, C: columns(l.Y.From(m0), n0), Add: true})
		return
	}
	// Four panels at a time stay in L2 for all tokens.
	const step = 4 * layout.NR
	for n := n0; n < n1; n += step {
		end := min(n+step, n1)
		for i := m0; i < m1; i++ {
			count, idx, val := l.list(i - m0)
			at := l.Y.At(i)
			sparseRows(k, l.Y.Data[at+n:at+end], l.Down, n, end, idx[:count[0]], val[:count[0]])
		}
	}
}

// Do computes one task; it is for the pool.
func (l *TopKMLP) Do(i, worker int) {
	switch l.phase {
	case phaseHidden:
		n0, n1 := i*l.size, min((i+1)*l.size, l.Up.N)
		l.hidden(l.Kernels, l.x, l.T, n0, n1, columns(l.h, n0), gemm.Rows{}, nil, 0, gemm.Operand{}, 0)
	case phaseOutput:
		l.output(0, l.T, i*l.size, min((i+1)*l.size, l.Down.N))
	default:
		// The task's own copy: operand, hidden rows and lists are its worker's.
		t := *l
		a := arena{l.scratch[worker*l.per : (worker+1)*l.per]}
		m0, m1 := i*l.rows, min((i+1)*l.rows, l.T)
		t.place(&a, m0, m1)
		t.Kernels.Convert(&t.x, t.Up.Precision, t.X.From(m0), t.Up.K, nil, 0, m1-m0)
		t.hidden(t.Kernels, t.x, m1-m0, 0, t.Up.N, t.h, gemm.Rows{}, nil, 0, gemm.Operand{}, 0)
		t.choose(&a, m0, m1)
		t.output(m0, m1, 0, t.Down.N)
	}
}
