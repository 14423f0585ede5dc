package attn

import (
	"math"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
)

// directBlock rows of keys or values stay in L1 while all heads of a group read them.
const directBlock = 32

// direct reports whether a task is one query of each head of a group: too few rows to be worth packing keys and
// values, which took longer than to read them.
func (a *Attention) direct() bool { return a.Queries == 1 && a.group() <= queryBlock }

// directFloats is the scratch of a worker then.
func (a *Attention) directFloats() int {
	group := a.group()
	n := group * (scoreStride(min(a.Keys, keyChunk)) + layout.Cols(a.VDim) + 2)
	if a.HalfIn {
		n += group*a.Dim + directBlock*max(a.Dim, a.VDim)
	}
	return n
}

// floats are n rows of x, stride elements apart from element at on, in f32, and their distance: where they lie, or
// widened into w.
func (a *Attention) floats(x []float32, at, stride, n, dim int, w []float32) (data []float32, apart int) {
	if !a.HalfIn {
		return x[at:], stride
	}
	a.Kernels.WidenRows(w, dim, x[at/2:], stride/2, n, dim)
	return w, dim
}

// attendDirect computes the query of each head of a group in f32, reading keys and values once where they lie. Rows
// of bf16 are widened a block at a time.
func (a *Attention) attendDirect(b, kv int, w []float32) {
	group, chunk := a.group(), min(a.Keys, keyChunk)
	sw, aw := scoreStride(chunk), layout.Cols(a.VDim)
	scores, w := w[:group*sw], w[group*sw:]
	acc, w := w[:group*aw], w[group*aw:]
	top, sum, w := w[:group], w[group:2*group], w[2*group:]
	clear(acc)
	for i := range group {
		top[i], sum[i] = float32(math.Inf(-1)), 0
	}
	keys := a.Keys
	if a.Causal {
		keys = min(keys, 1)
	}
	h := kv * group
	q, qStride := a.floats(a.Q.Data, a.Q.at(b, h, 0), a.Q.Head, group, a.Dim, w)
	if a.HalfIn {
		w = w[group*a.Dim:]
	}
	for k0 := 0; k0 < keys; k0 += chunk {
		k1 := min(k0+chunk, keys)
		for k := k0; k < k1; k += directBlock {
			n := min(directBlock, k1-k)
			x, stride := a.floats(a.K.Data, a.K.at(b, kv, k), a.K.Pos, n, a.Dim, w)
			for i := range group {
				a.Rows.Dots(scores[i*sw+k-k0:][:n], q[i*qStride:][:a.Dim], x, stride)
			}
		}
		for i := range group {
			row := scores[i*sw:][:k1-k0]
			a.cap(row)
			scale := a.softmax(row, gemm.Operand{}, i, b, h+i, 0, k0, top[i:i+1], sum[i:i+1])
			if k0 > 0 {
				a.Rows.Scale(acc[i*aw:][:a.VDim], acc[i*aw:][:a.VDim], scale)
			}
		}
		for k := k0; k < k1; k += directBlock {
			n := min(directBlock, k1-k)
			x, stride := a.floats(a.V.Data, a.V.at(b, kv, k), a.V.Pos, n, a.VDim, w)
			for i := range group {
				a.Rows.Weigh(acc[i*aw:][:a.VDim], scores[i*sw+k-k0:][:n], x, stride)
			}
		}
	}
	a.finish(a.Out.at(b, h, 0), a.Out.Head, acc, aw, sum)
}

// cap scales scores and holds them between -Softcap and Softcap, if there is one.
func (a *Attention) cap(row []float32) {
	if a.Softcap != 0 {
		a.Rows.Scale(row, row, a.Scale/a.Softcap)
		a.Kernels.Act().Apply(act.Tanh, row, a.Softcap)
	}
}

// factor is what scores are still to be scaled by, after cap.
func (a *Attention) factor() float32 {
	if a.Softcap != 0 {
		return 1
	}
	return a.Scale
}
