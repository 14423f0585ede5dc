// Package ffn runs the feedforward family on a CPU: dense and gated MLPs, mixtures
// of experts, top-K MLPs and product-key memories.
//
// All are sums over hidden units of activation times a row of the down matrix,
// and all are built from [gemm.Block]. In the usual mode a task owns a range of
// tokens and carries it through the whole layer, so that hidden activations never
// leave its core's cache; with few tokens tasks own columns instead, first of the
// hidden layer and then of the output, so that every weight is read once. Both
// give the same bits: an output element is one chain of multiply-adds in a fixed
// order (bias and residual, then hidden units by expert and index).
//
// A layer is a struct to be filled once; Scratch says what memory Run needs, and
// Run allocates nothing. A layer must not be run by two goroutines at a time.
package ffn

import (
	"math"
	"unsafe"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
	"github.com/seed-c851cfd2/moec/runtime/cpu/pool"
	"github.com/seed-c851cfd2/moec/runtime/cpu/rows"
)

// Weights are the matrices of an MLP or of one expert. The hidden layer is
//
//	Act(x*Up + UpBias)                        if Gate is nil
//	Act(x*Gate + GateBias) * (x*Up + UpBias)  else (SwiGLU, GeGLU)
//
// and the output hidden*Down + DownBias. Up and Gate are D x F, Down F x Dv.
// Biases are nil where there are none.
type Weights struct {
	Up, Gate, Down             *layout.Matrix
	UpBias, GateBias, DownBias []float32
	Act                        act.Kind

	// First is the row of Down that belongs to the first hidden unit: experts may share
	// one matrix, each Up.N rows of it.
	First int
}

// arena hands out consecutive pieces of a worker's scratch.
type arena struct{ rest []float32 }

// floats takes n floats. Pieces begin on cache lines if the scratch does.
func (a *arena) floats(n int) []float32 {
	p := a.rest[:n:n]
	a.rest = a.rest[pad(n):]
	return p
}

// ints takes n 32-bit integers.
func (a *arena) ints(n int) []int32 {
	p := a.floats(n)
	return unsafe.Slice((*int32)(unsafe.Pointer(unsafe.SliceData(p))), n)
}

// words takes n 32-bit words.
func (a *arena) words(n int) []uint32 {
	p := a.floats(n)
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(p))), n)
}

// halves takes n 16-bit words.
func (a *arena) halves(n int) []uint16 {
	p := a.floats((n + 1) / 2)
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(p))), n)
}

// words views floats as words.
func words(x []float32) []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(x))), len(x))
}

// times multiplies a float given by its bits.
func times(bits uint32, f float32) uint32 {
	return math.Float32bits(math.Float32frombits(bits) * f)
}

// pad rounds a number of floats up to whole cache lines.
func pad(n int) int { return (n + 15) &^ 15 }

// start sets rows m0 to m1 of y, columns n0 to n1, to the bias plus the residual,
// either of which may be nil; it is where an output's chain begins.
func start(k *gemm.Kernels, y gemm.Rows, m0, m1, n0, n1 int, bias []float32, residual gemm.Rows) {
	add := rows.New(k.Features())
	for i := m0; i < m1; i++ {
		at := y.At(i)
		row := y.Data[at+n0 : at+n1]
		if residual.Data == nil {
			if bias != nil {
				copy(row, bias[n0:n1])
			} else {
				clear(row)
			}
			continue
		}
		at = residual.At(i)
		if from := residual.Data[at+n0 : at+n1]; bias != nil {
			add.Add(row, from, bias[n0:n1])
		} else {
			copy(row, from)
		}
	}
}

// columns is y from column n on.
func columns(y gemm.Rows, n int) gemm.Rows {
	y.Data = y.Data[min(n, len(y.Data)):]
	return y
}

// hidden computes columns n0 to n1 of the hidden layer of m rows into h, where
// column n0 goes to element 0 of each row; aux is like h, for gated layers. The
// rows are multiplied by gates, if not nil, at the precisions that take gates so.
// Where sink holds rows, they take the units instead, column n0 at column col. Row downK of
// Down is what is wanted next.
func (w *Weights) hidden(k *gemm.Kernels, x gemm.Operand, m, n0, n1 int, h, aux gemm.Rows, gates []float32, downK int, sink gemm.Operand, col int) {
	if m == 0 {
		return
	}
	b := gemm.Block{
		A: x, M: m, B: w.Up, N0: n0, N1: n1, K1: w.Up.K, C: h, Bias: w.UpBias, Act: w.Act,
		Gates: gates, Into: sink, IntoCol: col, Next: w.Down, NextK: downK,
	}
	if w.Gate == nil {
		k.Run(&b)
		return
	}
	g := b
	g.B, g.Bias, g.Gates, g.Into, g.Next, g.NextK = w.Gate, w.GateBias, nil, gemm.Operand{}, w.Up, 0
	k.Run(&g)
	b.C, b.Act, b.Gates, b.Into = aux, act.Identity, nil, gemm.Operand{}
	k.Run(&b)
	for i := range m {
		at, from := h.At(i), aux.At(i)
		row := h.Data[at : at+n1-n0]
		k.Act().Mul(row, aux.Data[from:from+n1-n0])
		if gates != nil {
			k.Act().Apply(act.Identity, row, gates[i])
		}
	}
	k.Store(sink, col, h, m, n1-n0)
}

// sink is where hidden units can go as they are made: into bf16 rows, which need no look
// at the whole row first.
func sink(p layout.Precision, o gemm.Operand) gemm.Operand {
	if p == layout.BF16 {
		return o
	}
	return gemm.Operand{}
}

// first is the matrix that the hidden layer reads first.
func (w *Weights) first() *layout.Matrix {
	if w.Gate != nil {
		return w.Gate
	}
	return w.Up
}

// flops is the number of operations per token, and bytes the size of the matrices.
func (w *Weights) flops() float64 {
	n := 2 * float64(w.Up.N) * float64(w.Up.K+w.Down.N)
	if w.Gate != nil {
		n += 2 * float64(w.Up.N) * float64(w.Up.K)
	}
	return n
}

func (w *Weights) bytes() float64 {
	n := w.Up.Precision.Bytes(w.Up.K, w.Up.N) + w.Down.Precision.Bytes(w.Up.N, w.Down.N)
	if w.Gate != nil {
		n += w.Gate.Precision.Bytes(w.Gate.K, w.Gate.N)
	}
	return float64(n)
}

// auxLen is the scratch that hidden needs beside h for m rows of n columns.
func (w *Weights) auxLen(m, n int) int {
	if w.Gate == nil {
		return 0
	}
	return pad(m * n)
}

// The phases of a layer: all of it by tokens, or one after the other.
const (
	phaseTokens  = iota
	phaseInput   // rows of the input to the precision of the weights
	phaseHidden  // columns of the hidden layer
	phaseConvert // rows of the hidden layer to the precision of the weights
	phaseOutput  // columns of the output
)

// wide is the work of a phase that always deserves all threads.
const wide = 1 << 30

// worthThreads is the number of elements to convert above which handing a part to
// another thread (about 1 us) pays.
const worthThreads = 16 << 10

// dispatch runs n tasks on all threads, or here if there is little to do.
func dispatch(r pool.Runner, work, n int, t pool.Task) error {
	if work < worthThreads {
		return pool.Serial{}.Run(n, t)
	}
	return r.Run(n, t)
}

// share is the size of each of w parts of n.
func share(n, w int) int { return max(1, (n+w-1)/w) }

// shareColumns is the number of columns of each of w tasks, in whole panels.
func shareColumns(n, w int) int {
	return share((n+layout.NR-1)/layout.NR, w) * layout.NR
}

// tasks is the number of pieces of size that cover n.
func tasks(n, size int) int { return (n + size - 1) / size }
