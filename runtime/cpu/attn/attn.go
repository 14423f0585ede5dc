// Package attn computes scaled dot-product attention without the matrix of all scores:
// a block of queries meets the keys chunk by chunk with a running maximum and sum
// (Milakov and Gimelshein 2018; Dao et al. 2022, algorithm 1).
//
// The picture: keys and values of every (batch, head) are packed once into the panels
// that the GEMM kernels read; then each block of queries is one task: scores by GEMM,
// softmax in place, product with the values by GEMM.
//
// A query's result depends on its own row, the keys and the values alone: not on the
// block it sits in, the batch, or the threads.
package attn

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
	"github.com/seed-c851cfd2/moec/runtime/cpu/pool"
	"github.com/seed-c851cfd2/moec/runtime/cpu/rows"
)

// View reads a tensor [batch, head, position, dim] whose last axis is contiguous.
type View struct {
	Data             []float32
	Batch, Head, Pos int // strides in elements; 0 repeats
}

func (v View) at(b, h, p int) int { return b*v.Batch + h*v.Head + p*v.Pos }

// Mask is added to the scores (Add) or selects them (Keep); at most one is set. The
// strides are of [batch, head, query, key]; 0 broadcasts.
type Mask struct {
	Add                     []float32
	Keep                    []bool
	Batch, Head, Query, Key int
	// Fill is the score where Keep is false.
	Fill float32
}

// Attention is y = softmax(Scale * q k^T, masked) v. Fill the fields, ask for Scratch,
// and Run. One goroutine at a time.
type Attention struct {
	Kernels        *gemm.Kernels
	Rows           *rows.Kernels
	Batch          int
	Heads, KVHeads int // query head h reads key head h / (Heads/KVHeads)
	Queries, Keys  int
	Dim, VDim      int // head sizes of q and k, and of v and the output
	Q, K, V, Out   View
	Scale          float32
	Causal         bool // query i sees keys up to i
	NaNToZero      bool // rows that see nothing give 0 instead of NaN
	Mask           Mask

	phase     phase
	blocks    int // of queries per head
	packed    []float32
	work      []float32
	perWorker int
}

type phase uint8

const (
	phasePack phase = iota
	phaseAttend
)

// queryBlock queries share one pass over the keys: with keyChunk scores of each they
// take 96 KB, which stays in L2 beside the panels of a head.
const (
	queryBlock = 48
	keyChunk   = 512
)

func (a *Attention) kBytes() int { return layout.F32.Bytes(a.Dim, a.Keys) / 4 }
func (a *Attention) vBytes() int { return layout.F32.Bytes(a.Keys, a.VDim) / 4 }

// Scratch is the number of floats that Run takes with a number of workers; the memory
// must be aligned to 64 bytes.
func (a *Attention) Scratch(workers int) int {
	return a.Batch*a.KVHeads*(a.kBytes()+a.vBytes()) + workers*a.workerFloats()
}

func (a *Attention) workerFloats() int {
	chunk := min(a.Keys, keyChunk)
	n := queryBlock*layout.Cols(chunk) + queryBlock*layout.Cols(a.VDim) + 3*queryBlock
	return (n + 15) &^ 15
}

// Run computes Out.
func (a *Attention) Run(r pool.Runner, scratch []float32) error {
	if a.Heads%max(a.KVHeads, 1) != 0 {
		return fmt.Errorf("attn: %d heads share %d key heads", a.Heads, a.KVHeads)
	}
	if a.Batch*a.Heads*a.Queries == 0 {
		return nil
	}
	n := a.Batch * a.KVHeads * (a.kBytes() + a.vBytes())
	a.packed, a.work, a.perWorker = scratch[:n], scratch[n:], a.workerFloats()
	a.phase = phasePack
	if err := r.Run(a.Batch*a.KVHeads, a); err != nil {
		return err
	}
	a.phase = phaseAttend
	a.blocks = (a.Queries + queryBlock - 1) / queryBlock
	return r.Run(a.Batch*a.Heads*a.blocks, a)
}

// Do computes one task; it is for the pool.
func (a *Attention) Do(i, worker int) {
	if a.phase == phasePack {
		a.pack(i)
		return
	}
	w := a.work[worker*a.perWorker : (worker+1)*a.perWorker]
	block := i % a.blocks
	bh := i / a.blocks
	a.attend(bh/a.Heads, bh%a.Heads, block*queryBlock, min((block+1)*queryBlock, a.Queries), w)
}

func (a *Attention) panels(b, kv int) (k, v []float32) {
	size := a.kBytes() + a.vBytes()
	p := a.packed[(b*a.KVHeads+kv)*size:]
	return p[:a.kBytes()], p[a.kBytes():size]
}

// pack brings the keys, transposed, and the values of one head into panels.
func (a *Attention) pack(i int) {
	b, kv := i/a.KVHeads, i%a.KVHeads
	kp, vp := a.panels(b, kv)
	for p0 := 0; p0 < a.Keys; p0 += layout.NR {
		width := min(layout.NR, layout.Cols(a.Keys)-p0)
		panel := kp[p0*a.Dim : (p0+width)*a.Dim]
		n := min(width, a.Keys-p0)
		for j := range n {
			src := a.K.Data[a.K.at(b, kv, p0+j):][:a.Dim]
			for d, x := range src {
				panel[d*width+j] = x
			}
		}
		for j := n; j < width; j++ {
			for d := range a.Dim {
				panel[d*width+j] = 0
			}
		}
	}
	for p0 := 0; p0 < a.VDim; p0 += layout.NR {
		width := min(layout.NR, layout.Cols(a.VDim)-p0)
		panel := vp[p0*a.Keys : (p0+width)*a.Keys]
		n := min(width, a.VDim-p0)
		for s := range a.Keys {
			src := a.V.Data[a.V.at(b, kv, s)+p0:][:n]
			dst := panel[s*width:][:width]
			copy(dst, src)
			clear(dst[n:])
		}
	}
}

// attend computes queries q0..q1 of one head.
func (a *Attention) attend(b, h, q0, q1 int, w []float32) {
	kv := h / (a.Heads / a.KVHeads)
	kp, vp := a.panels(b, kv)
	km := &layout.Matrix{Precision: layout.F32, K: a.Dim, N: a.Keys, F32: kp}
	vm := &layout.Matrix{Precision: layout.F32, K: a.Keys, N: a.VDim, F32: vp}
	count := q1 - q0
	chunk := min(a.Keys, keyChunk)
	sw, vw := layout.Cols(chunk), layout.Cols(a.VDim)
	scores, w := w[:queryBlock*sw], w[queryBlock*sw:]
	acc, w := w[:queryBlock*vw], w[queryBlock*vw:]
	top, sum := w[:queryBlock], w[queryBlock:2*queryBlock]
	for i := range count {
		top[i], sum[i] = float32(math.Inf(-1)), 0
	}
	keys := a.Keys
	if a.Causal {
		keys = min(keys, q1)
	}
	for k0 := 0; k0 < keys; k0 += chunk {
		k1 := min(k0+chunk, a.Keys)
		a.Kernels.Run(&gemm.Block{
			A: a.Kernels.Prepare(layout.F32, gemm.Rows{Data: a.Q.Data[a.Q.at(b, h, q0):], Stride: a.Q.Pos}, count, a.Dim, nil, nil),
			M: count, B: km, N0: k0, N1: k1, K1: a.Dim,
			C: gemm.Rows{Data: scores, Stride: sw},
		})
		for i := range count {
			s := scores[i*sw : i*sw+k1-k0]
			n := a.mask(s, b, h, q0+i, k0)
			was := top[i]
			m := a.Rows.Max(s[:n], was)
			l, scale := float32(0), float32(1)
			if math.IsInf(float64(m), -1) {
				clear(s)
			} else {
				l = a.Rows.ExpSum(s[:n], m)
				clear(s[n:])
				scale = rows.Exp(was - m)
			}
			top[i] = m
			if k0 > 0 {
				sum[i] = sum[i]*scale + l
				a.Rows.Scale(acc[i*vw:i*vw+a.VDim], scale)
			} else {
				sum[i] = l
			}
		}
		a.Kernels.Run(&gemm.Block{
			A: a.Kernels.Prepare(layout.F32, gemm.Rows{Data: scores, Stride: sw}, count, k1-k0, nil, nil),
			M: count, B: vm, N0: 0, N1: a.VDim, K0: k0, K1: k1,
			C: gemm.Rows{Data: acc, Stride: vw}, Add: k0 > 0,
		})
	}
	for i := range count {
		out := a.Out.Data[a.Out.at(b, h, q0+i):][:a.VDim]
		row := acc[i*vw : i*vw+a.VDim]
		switch {
		case sum[i] > 0:
			inv := 1 / sum[i]
			for j := range out {
				out[j] = row[j] * inv
			}
		case a.NaNToZero:
			clear(out)
		default:
			for j := range out {
				out[j] = float32(math.NaN())
			}
		}
	}
}

// mask scales and masks the scores of one query with keys from k0 on and returns how
// many of them it can see at all.
func (a *Attention) mask(s []float32, b, h, q, k0 int) int {
	n := len(s)
	if a.Causal {
		n = max(0, min(n, q+1-k0))
	}
	s = s[:n]
	m := &a.Mask
	at := b*m.Batch + h*m.Head + q*m.Query + k0*m.Key
	switch {
	case m.Add != nil && m.Key == 1:
		add := m.Add[at:][:n]
		for j := range s {
			s[j] = s[j]*a.Scale + add[j]
		}
	case m.Add != nil:
		for j := range s {
			s[j] = s[j]*a.Scale + m.Add[at+j*m.Key]
		}
	case m.Keep != nil:
		for j := range s {
			if m.Keep[at+j*m.Key] {
				s[j] *= a.Scale
			} else {
				s[j] = m.Fill
			}
		}
	case a.Scale != 1:
		for j := range s {
			s[j] *= a.Scale
		}
	}
	return n
}
