package ffn

import (
	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
	"github.com/seed-c851cfd2/moec/runtime/cpu/pool"
)

// MLP is Y = hidden(X)*Down + DownBias + Residual, gated or not.
type MLP struct {
	Kernels *gemm.Kernels
	Weights
	T        int
	X        gemm.Rows // T rows of D
	Y        gemm.Rows // T rows of Dv; must not overlap X
	Residual gemm.Rows // T rows of Dv, or Data nil; may be Y or X

	keep *keep // what of the hidden units counts; nil: all

	tasks, rows, chunk int // tokens per task; hidden units at a time
	scratch            []float32
	per                int // floats of scratch per worker

	// With few tokens: rows or columns per task of the phase, of n in all.
	phase, size, n int
	x, hop         gemm.Operand
	h, aux         gemm.Rows
}

const (
	// hiddenChunk is the number of hidden units at a time: 192 rows of 512 are 384 KB.
	// Chunks of 256 measured 2 % slower, of 1024 1 %.
	hiddenChunk = 512
	// hiddenTiles is the same for the longer tasks of tile kernels, whose rows are bf16;
	// 256 and 768 measured up to 5 % slower.
	hiddenTiles = 384
	// tileRows is the number of rows at a time of an expert, a memory and an int8 layer.
	tileRows = 96
	// hiddenFloats bounds the hidden tile of int8 layers, which need whole rows to
	// find their scales: 768 KB.
	hiddenFloats = 192 << 10
	// int8Tiles is the rows of such a layer on tile registers, which leave memory to bind:
	// at d 1024, 48 rows measured 15 % slower, though 128 x 4096 floats are 2 MB.
	int8Tiles = 128
)

// plan chooses the mode and sizes for a number of workers. few means that tasks
// own columns.
func (l *MLP) plan(workers int) (few bool) {
	k, f, p := l.Kernels, l.Up.N, l.Down.Precision
	part := 1.0
	if l.keep != nil && l.T <= fewKept {
		part = min(1, l.keep.share*float64(l.T))
	}
	if k.Serial(p, part*float64(l.T)*l.Weights.flops(), part*l.Weights.bytes()) {
		workers = 1
	}
	if l.T < 24*workers && workers > 1 {
		l.rows, l.chunk = l.T, f
		return true
	}
	limit := k.RowLimit(p)
	l.chunk = min(f, hiddenChunk)
	if k.Tiled(p) {
		l.chunk = min(f, hiddenTiles)
	}
	if p == layout.I8 {
		l.chunk = f
		limit = max(24, min(tileRows, hiddenFloats/max(1, f)/12*12))
		if k.Tiled(p) {
			limit = int8Tiles
		}
	}
	l.rows = k.TaskRows(p, l.T, limit, workers)
	l.tasks = tasks(l.T, max(1, l.rows))
	l.per = pad(k.OperandLen(l.Up.Precision, l.rows, l.Up.K)) + pad(l.rows*l.chunk) +
		l.auxLen(l.rows, l.chunk) + pad(k.OperandLen(p, l.rows, l.chunk))
	return false
}

// Scratch is the number of floats that Run takes with a number of workers.
func (l *MLP) Scratch(workers int) int {
	if l.T == 0 {
		return 0
	}
	if !l.plan(workers) {
		return workers * l.per
	}
	return pad(l.Kernels.OperandLen(l.Up.Precision, l.T, l.Up.K)) + pad(l.T*l.Up.N) +
		l.auxLen(l.T, l.Up.N) + pad(l.Kernels.OperandLen(l.Down.Precision, l.T, l.Up.N))
}

// Run computes Y. It fails only if a task panics.
func (l *MLP) Run(r pool.Runner, scratch []float32) error {
	if l.T == 0 || l.Down.N == 0 {
		return nil
	}
	l.scratch = scratch
	w := r.Workers()
	if !l.plan(w) {
		l.phase = phaseTokens
		return r.Run(l.tasks, l)
	}
	k, a := l.Kernels, arena{l.scratch}
	l.x = k.Place(l.Up.Precision, l.X, l.T, l.Up.K, a.floats(k.OperandLen(l.Up.Precision, l.T, l.Up.K)))
	l.h = gemm.Rows{Data: a.floats(l.T * l.Up.N), Stride: l.Up.N}
	l.aux = gemm.Rows{Data: a.floats(l.auxLen(l.T, l.Up.N)), Stride: l.Up.N}
	l.hop = k.Place(l.Down.Precision, l.h, l.T, l.Up.N, a.floats(k.OperandLen(l.Down.Precision, l.T, l.Up.N)))
	if err := l.run(r, phaseInput, l.T*l.Up.K, l.T, share(l.T, w)); err != nil {
		return err
	}
	if err := l.run(r, phaseHidden, wide, l.Up.N, shareColumns(l.Up.N, w)); err != nil {
		return err
	}
	if l.converts() {
		if err := l.run(r, phaseConvert, l.T*l.Up.N, l.T, share(l.T, w)); err != nil {
			return err
		}
	}
	return l.run(r, phaseOutput, wide, l.Down.N, shareColumns(l.Down.N, w))
}

// sink is where hidden units go as they are made.
func (l *MLP) sink(hop gemm.Operand) gemm.Operand {
	if l.converts() {
		return gemm.Operand{}
	}
	return sink(l.Down.Precision, hop)
}

// converts reports whether hidden units become the next product's operand in a step of
// its own: after gates, or in int8, which looks at whole rows first.
func (l *MLP) converts() bool {
	return l.Down.Precision == layout.I8 || l.keep != nil && l.keep.scaled
}

// run does a phase over n rows or columns, size of them per task; work decides
// whether it is worth a dispatch to other threads.
func (l *MLP) run(r pool.Runner, phase, work, n, size int) error {
	l.phase, l.size, l.n = phase, size, n
	return dispatch(r, work, tasks(n, size), l)
}

// Do computes one task; it is for the pool.
func (l *MLP) Do(i, worker int) {
	if l.phase == phaseTokens {
		a := arena{l.scratch[worker*l.per : (worker+1)*l.per]}
		l.tokens(i*l.rows, min((i+1)*l.rows, l.T), &a)
		return
	}
	k, i0, i1 := l.Kernels, i*l.size, min((i+1)*l.size, l.n)
	switch l.phase {
	case phaseInput:
		k.Convert(&l.x, l.Up.Precision, l.X, l.Up.K, nil, i0, i1)
	case phaseHidden:
		l.units(l.x, 0, l.T, i0, i1, i0, l.h, l.aux, l.sink(l.hop), 0)
	case phaseConvert:
		k.Convert(&l.hop, l.Down.Precision, l.h, l.Up.N, nil, i0, i1)
	case phaseOutput:
		if l.Residual.Data != nil || l.Up.N == 0 {
			start(k, l.Y, 0, l.T, i0, i1, l.DownBias, l.Residual)
		}
		l.outputs(&gemm.Block{
			A: l.hop, M: l.T, B: l.Down, N0: i0, N1: i1, K1: l.Up.N,
			C: columns(l.Y, i0), Bias: l.DownBias, Add: l.Residual.Data != nil,
		}, 0)
	}
}

// tokens carries tokens m0 to m1 through the layer.
func (l *MLP) tokens(m0, m1 int, a *arena) {
	k, m, p := l.Kernels, m1-m0, l.Down.Precision
	x := k.Prepare(l.Up.Precision, l.X.From(m0), m, l.Up.K, nil, a.floats(k.OperandLen(l.Up.Precision, m, l.Up.K)))
	buf, aux, conv := a.floats(m*l.chunk), a.floats(l.auxLen(m, l.chunk)), a.floats(k.OperandLen(p, m, l.chunk))
	y := l.Y.From(m0)
	add := l.Residual.Data != nil
	if add || l.Up.N == 0 {
		start(k, l.Y, m0, m1, 0, l.Down.N, l.DownBias, l.Residual)
	}
	for f := 0; f < l.Up.N; f += l.chunk {
		n := min(l.chunk, l.Up.N-f)
		h := gemm.Rows{Data: buf, Stride: n}
		hop := k.Place(p, h, m, n, conv)
		sink := l.sink(hop)
		l.units(x, m0, m, f, f+n, 0, h, gemm.Rows{Data: aux, Stride: n}, sink, f)
		if l.converts() {
			k.Convert(&hop, p, h, n, nil, 0, m)
		}
		l.outputs(&gemm.Block{
			A: hop, M: m, B: l.Down, N1: l.Down.N,
			K0: f, K1: f + n, C: y, Bias: l.DownBias, Add: add || f > 0, Next: l.first(),
		}, m0)
	}
}

// units computes hidden units f0 to f1 of m rows of x, of tokens m0 on, and leaves what
// counts of them: from column col on of h, or of sink where that holds rows. downK is the row of Down that is wanted next.
func (l *MLP) units(x gemm.Operand, m0, m, f0, f1, col int, h, aux gemm.Rows, sink gemm.Operand, downK int) {
	h, aux = columns(h, col), columns(aux, col)
	if l.keep == nil || m > fewKept {
		l.hidden(l.Kernels, x, m, f0, f1, h, aux, nil, downK, sink, col)
	} else {
		for a, b := l.keep.run(m0, m, f0, f1); a < f1; a, b = l.keep.run(m0, m, b, f1) {
			l.hidden(l.Kernels, x, m, a, b, columns(h, a-f0), columns(aux, a-f0), nil, downK, sink, col+a-f0)
		}
	}
	if l.keep != nil {
		l.keep.apply(l.Kernels, m0, m, f0, f1-f0, h, sink, col)
	}
}

// outputs runs b, whose rows are those of tokens m0 on.
func (l *MLP) outputs(b *gemm.Block, m0 int) {
	if l.keep == nil || b.M > fewKept || b.B.Precision == layout.I8 { // whose sums are scaled as a whole
		l.Kernels.Run(b)
		return
	}
	whole := *b
	if !b.Add { // what no expert adds to begins too
		b.K1 = b.K0
		l.Kernels.Run(b)
		b.Add = true
	}
	for k0, k1 := l.keep.run(m0, b.M, whole.K0, whole.K1); k0 < whole.K1; k0, k1 = l.keep.run(m0, b.M, k1, whole.K1) {
		b.A, b.K0, b.K1 = whole.A.Column(k0-whole.K0), k0, k1
		l.Kernels.Run(b)
	}
}
