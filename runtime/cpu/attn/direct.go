package attn

import (
	"math"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
)

// directBlock rows of keys or values stay in L1 while all heads of a group read them.
const directBlock = 32

// direct reports whether a task is one query of each head of a group, on keys and values in f32: too few rows
// to be worth packing keys and values, which took longer than to read them.
func (a *Attention) direct() bool {
	return a.mode == modeStream && a.Queries == 1 && !a.HalfIn && !a.HalfOut
}

// attendDirect computes the query of each head of a group, reading keys and values once where they lie, in f32.
func (a *Attention) attendDirect(b, kv int, w []float32) {
	group, chunk := a.group(), min(a.Keys, keyChunk)
	sw, vw := scoreStride(chunk), layout.Cols(a.VDim)
	scores, w := w[:group*sw], w[group*sw:]
	acc, w := w[:group*vw], w[group*vw:]
	top, sum := w[:group], w[group:2*group]
	clear(acc)
	for i := range group {
		top[i], sum[i] = float32(math.Inf(-1)), 0
	}
	keys := a.Keys
	if a.Causal {
		keys = min(keys, 1)
	}
	h := kv * group
	for k0 := 0; k0 < keys; k0 += chunk {
		k1 := min(k0+chunk, keys)
		for k := k0; k < k1; k += directBlock {
			n := min(directBlock, k1-k)
			for i := range group {
				a.Rows.Dots(scores[i*sw+k-k0:][:n], a.Q.Data[a.Q.at(b, h+i, 0):][:a.Dim], a.K.Data[a.K.at(b, kv, k):], a.K.Pos)
			}
		}
		for i := range group {
			row := scores[i*sw:][:k1-k0]
			a.cap(row)
			scale := a.softmax(row, gemm.Operand{}, i, b, h+i, 0, k0, top[i:i+1], sum[i:i+1])
			if k0 > 0 {
				a.Rows.Scale(acc[i*vw:][:a.VDim], acc[i*vw:][:a.VDim], scale)
			}
		}
		for k := k0; k < k1; k += directBlock {
			n := min(directBlock, k1-k)
			for i := range group {
				a.Rows.Weigh(acc[i*vw:][:a.VDim], scores[i*sw+k-k0:][:n], a.V.Data[a.V.at(b, kv, k):], a.V.Pos)
			}
		}
	}
	for i := range group {
		y := acc[i*vw:][:a.VDim]
		switch l := sum[i]; {
		case l > 0:
			a.Rows.Scale(y, y, 1/l)
		case a.NaNToZero:
			clear(y)
		default:
			for j := range y {
				y[j] = float32(math.NaN())
			}
		}
		copy(a.Out.Data[a.Out.at(b, h+i, 0):], y)
	}
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
