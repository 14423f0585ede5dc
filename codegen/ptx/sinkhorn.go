package ptx

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Sinkhorn balances the logits x [Sequences, Tokens, E] of each sequence and writes the logarithm of the balanced
// matrix, by which S-BASE ranks experts in training (see MoE.Ranks). In the log domain, Iters times:
//
//	row = R - logsumexp over e of (x ± col);  col = C - logsumexp over t of (x ± row);  ranks = x + row + col
//
// As its authors coded it the duals are subtracted while iterating, with R = ln Tokens and C = ln E; True adds them
// throughout, with the two exchanged, as theory has it. One block per sequence; the duals stay in shared memory,
// which bounds the tokens of a sequence. Buffers: x, ranks.
type Sinkhorn struct {
	Sequences Expr
	Tokens    Expr
	MaxTokens int // of a sequence
	E, Iters  int
	True      bool
}

// Kernel writes the kernel.
func (s Sinkhorn) Kernel() (*Kernel, error) {
	if s.E < 1 || s.Iters < 0 || s.MaxTokens < 1 || 4*(s.MaxTokens+s.E) > 96<<10 {
		return nil, fmt.Errorf("ptx: sinkhorn over %d tokens and %d experts: the duals take %d bytes of shared memory", s.MaxTokens, s.E, 4*(s.MaxTokens+s.E))
	}
	const threads = 256
	b := newKernel("sinkhorn", threads)
	b.doc("sinkhorn, %d iterations, %d experts, true %t", s.Iters, s.E, s.True)
	b.k.Grid = [3]Expr{s.Sequences, N(1), N(1)}
	all := s.Sequences.Mul(s.Tokens).MulN(s.E)
	b.k.Cost = Cost{FLOPs: all.MulN(12 * s.Iters), Bytes: all.MulN(8)}
	b.k.Limits = Limits{Registers: 64}
	x, out := b.buffer("x", tensor.F32, Read), b.buffer("ranks", tensor.F32, Write)
	n := b.dim(s.Tokens)
	smem := b.DynamicShared()
	col, row := smem, smem.AddI(s.E*4)
	b.k.DynamicShared = 4 * (s.E + s.MaxTokens)
	base := b.BlockX().MulWide(n).MulI(s.E * 4)
	x, out = x.Add(base), out.Add(base)
	at := func(t, e asm.U32) asm.U64 { return x.AtMul(t, b.Const(s.E), 4).At(e, 4) }
	b.For("e", b.Tid(), b.Const(s.E), threads, func(e asm.U32) { col.Add(e.MulI(4)).StsF32(0, b.ConstF(0)) })
	b.For("t", b.Tid(), n, threads, func(t asm.U32) { row.Add(t.MulI(4)).StsF32(0, b.ConstF(0)) })
	b.Barrier()
	lnE := b.ConstF(float32(math.Log(float64(s.E))))
	lnT := logF(n.F32())
	rowSum, colSum := lnT, lnE
	if s.True {
		rowSum, colSum = lnE, lnT
	}
	// dual updates one side: a warp per entry of it, lanes along the other.
	dual := func(name string, count asm.U32, along asm.U32, sum asm.F32, to, other asm.U32, value func(i, j asm.U32) asm.U64) {
		b.For(name, b.Warp(), count, threads/asm.WarpSize, func(i asm.U32) {
			term := func(j asm.U32) asm.F32 {
				d := other.Add(j.MulI(4)).LdsF32(0)
				if !s.True {
					d = d.Neg()
				}
				return value(i, j).LdF32(0).Add(d)
			}
			top, acc := b.ConstF(lowest).Var("top"), b.ConstF(0).Var("acc")
			b.For("j", b.Lane(), along, asm.WarpSize, func(j asm.U32) { top.MaxTo(term(j)) })
			most := top.WarpMax(asm.WarpSize)
			b.For("j", b.Lane(), along, asm.WarpSize, func(j asm.U32) { acc.AddTo(expF(term(j).Sub(most), b.Func)) })
			lse := most.Add(logF(acc.WarpSum(asm.WarpSize)))
			b.If(b.Lane().EqI(0), func() { to.Add(i.MulI(4)).StsF32(0, sum.Sub(lse)) })
		})
		b.Barrier()
	}
	b.For("iteration", b.Const(0), b.Const(s.Iters), 1, func(asm.U32) {
		dual("row", n, b.Const(s.E), rowSum, row, col, at)
		dual("column", b.Const(s.E), n, colSum, col, row, func(e, t asm.U32) asm.U64 { return at(t, e) })
	})
	b.For("i", b.Tid(), n.MulI(s.E), threads, func(i asm.U32) {
		t, e := i.DivRem(b.Const(s.E))
		v := x.At(i, 4).LdF32(0).Add(row.Add(t.MulI(4)).LdsF32(0)).Add(col.Add(e.MulI(4)).LdsF32(0))
		out.At(i, 4).StF32(0, v)
	})
	return b.done(), nil
}
