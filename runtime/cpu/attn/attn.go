// Package attn computes scaled dot-product attention without the matrix of all scores:
// a block of queries meets the keys chunk by chunk with a running maximum and sum
// (Milakov and Gimelshein 2018; Dao et al. 2022, algorithm 1).
//
// The picture: keys and values of every (batch, key head) are packed into the panels
// that the GEMM kernels read; each block of queries then takes scores by GEMM, softmax in
// place, and the product with the values by GEMM. A mode says who packs, and when.
//
// A query's result depends on its own row, the keys and the values alone: not on the
// block it sits in, the batch, or the threads. One query that has no other beside it, as in
// decoding, meets its keys and values where they lie (direct.go), and adds up in an order of its own.
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
	Data             []float32 // of bf16 rows, words of two elements
	Batch, Head, Pos int       // strides in elements; 0 repeats
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
	Precision      layout.Precision // of both products: F32, or BF16 where [gemm.Kernels.Native]; softmax is f32
	Batch          int
	Heads, KVHeads int // query head h reads key head h / (Heads/KVHeads)
	Queries, Keys  int
	Dim, VDim      int // head sizes of q and k, and of v and the output
	Q, K, V, Out   View
	// HalfIn: Q, K and V are bf16, and HalfOut: so is Out. Their strides, sizes and beginnings are then even.
	HalfIn, HalfOut bool
	Scale           float32
	Softcap         float32 // not 0: scaled scores s become Softcap*tanh(s/Softcap) before they are masked
	Causal          bool    // query i sees keys up to i
	NaNToZero       bool    // rows that see nothing give 0 instead of NaN
	Mask            Mask

	mode   mode
	blocks int // of queries per head
	packed []float32
	work   []float32
	per    int      // floats of a worker
	states []*state // of the workers; kept from run to run
}

// mode says what a task is.
type mode uint8

const (
	// modeStream: one group of heads whose queries fit in one block, or with one query each. It packs keys and
	// values chunk by chunk, in its worker's memory, as it meets them, or reads them where they lie (direct.go).
	modeStream mode = iota
	// modeWhole: one group of heads. It packs its keys and values in its worker's memory
	// and goes through its blocks of queries.
	modeWhole
	// modePack and modeAttend: the packing of one group, then a block of one head.
	// For fewer groups than keep the workers busy.
	modePack
	modeAttend
)

// state is what a worker hands to the GEMM kernels.
type state struct {
	k, v  layout.Matrix
	block gemm.Block
}

// queryBlock queries share one pass over the keys: with keyChunk scores of each they
// take 128 KB, which stays in L2 beside the panels of a head. 64 are two calls of the
// widest tile kernel.
const (
	queryBlock = 64
	keyChunk   = 512
)

func (a *Attention) group() int { return a.Heads / max(a.KVHeads, 1) }

// rows is the number of queries that go through the keys together.
func (a *Attention) rows() int { return min(queryBlock, a.Queries) }

func (a *Attention) choose(workers int) mode {
	groups := a.Batch * a.KVHeads
	switch {
	case a.direct() || a.group() == 1 && a.Queries <= queryBlock:
		return modeStream
	case workers == 1 || groups >= 2*workers && groups%workers == 0 || groups >= 8*workers:
		return modeWhole
	}
	return modePack
}

// panels is the number of floats of the packed keys and values of a task.
func (a *Attention) panels(m mode) (k, v int) {
	keys := a.Keys
	if m == modeStream {
		keys = min(keys, keyChunk)
	}
	return a.Precision.Bytes(a.Dim, keys) / 4, a.Precision.Bytes(keys, a.VDim) / 4
}

// Scratch is the number of floats that Run takes with a number of workers; the memory
// must be aligned to 64 bytes.
func (a *Attention) Scratch(workers int) int {
	m := a.choose(workers)
	n := workers * a.workerFloats(m)
	if m == modePack {
		k, v := a.panels(m)
		n += a.Batch * a.KVHeads * (k + v)
	}
	return n
}

// scoreStride is the distance of rows of scores of a chunk of keys: an odd number of cache
// lines, so that they lie in different sets of L1. 512 keys 512 floats apart took 1.5
// times as long.
func scoreStride(chunk int) int { return (layout.Cols(chunk)/16 | 1) * 16 }

func (a *Attention) workerFloats(m mode) int {
	if a.direct() {
		return (a.directFloats() + 15) &^ 15
	}
	chunk, rows := min(a.Keys, keyChunk), a.rows()
	n := rows*scoreStride(chunk) + rows*layout.Cols(a.VDim) + 4*rows
	n = (n + 15) &^ 15
	n += a.keyWords()
	queries := a.Kernels.OperandLen(a.Precision, rows, a.Dim)
	if a.HalfIn && a.Precision != layout.BF16 {
		queries = rows * a.Dim
	}
	n += max(queries, a.Kernels.OperandLen(a.Precision, rows, chunk))
	n = (n + 15) &^ 15
	if m == modeStream || m == modeWhole {
		k, v := a.panels(m)
		n += k + v
	}
	return n
}

// Run computes Out.
func (a *Attention) Run(r pool.Runner, scratch []float32) error {
	if a.Heads%max(a.KVHeads, 1) != 0 {
		return fmt.Errorf("attn: %d heads share %d key heads", a.Heads, a.KVHeads)
	}
	if a.Batch*a.Heads*a.Queries == 0 {
		return nil
	}
	for len(a.states) < r.Workers() {
		a.states = append(a.states, &state{})
	}
	a.mode = a.choose(r.Workers())
	a.per = a.workerFloats(a.mode)
	a.blocks = (a.Queries + queryBlock - 1) / queryBlock
	groups := a.Batch * a.KVHeads
	n := r.Workers() * a.per
	a.work, a.packed = scratch[:n], scratch[n:]
	if err := r.Run(groups, a); err != nil || a.mode != modePack {
		return err
	}
	a.mode = modeAttend
	return r.Run(a.Batch*a.Heads*a.blocks, a)
}

// Do computes one task; it is for the pool.
func (a *Attention) Do(i, worker int) {
	nk, nv := a.panels(a.mode)
	s, w := a.states[worker], a.work[worker*a.per:(worker+1)*a.per]
	switch a.mode {
	case modePack:
		p := a.packed[i*(nk+nv):]
		a.pack(i/a.KVHeads, i%a.KVHeads, 0, a.Keys, p[:nk], p[nk:nk+nv], w)
	case modeAttend:
		block, bh := i%a.blocks, i/a.blocks
		b, h := bh/a.Heads, bh%a.Heads
		p := a.packed[(b*a.KVHeads+h/a.group())*(nk+nv):]
		a.attend(s, b, h, block, p[:nk], p[nk:nk+nv], w)
	default:
		b, kv := i/a.KVHeads, i%a.KVHeads
		if a.direct() {
			a.attendDirect(b, kv, w)
			return
		}
		kp, vp, w := w[:nk], w[nk:nk+nv], w[nk+nv:]
		if a.mode == modeStream {
			a.attend(s, b, kv*a.group(), 0, kp, vp, w)
			return
		}
		a.pack(b, kv, 0, a.Keys, kp, vp, w)
		for h := kv * a.group(); h < (kv+1)*a.group(); h++ {
			for block := range a.blocks {
				a.attend(s, b, h, block, kp, vp, w)
			}
		}
	}
}

// attend computes a block of queries of head h; in modeStream on panels that it fills itself.
func (a *Attention) attend(s *state, b, h, block int, kp, vp, w []float32) {
	kv := h / a.group()
	q0 := block * queryBlock
	count := min(queryBlock, a.Queries-q0)
	stream := a.mode == modeStream
	chunk := min(a.Keys, keyChunk)
	sw, vw, most := scoreStride(chunk), layout.Cols(a.VDim), a.rows()
	scores, w := w[:most*sw], w[most*sw:]
	acc, w := w[:most*vw], w[most*vw:]
	top, sum, before, w := w[:most], w[most:2*most], w[2*most:4*most], w[4*most:]
	for i := range count {
		top[i], sum[i] = float32(math.Inf(-1)), 0
	}
	keys := a.Keys
	if a.Causal { // what the last query sees
		keys = min(keys, q0+count)
	}
	s.k = a.matrix(a.Dim, a.Keys, kp)
	s.v = a.matrix(a.Keys, a.VDim, vp)
	for k0 := 0; k0 < keys; k0 += chunk {
		k1 := min(k0+chunk, keys)
		first, end := k0, min((k1+layout.NR-1)/layout.NR*layout.NR, a.Keys) // in the panels
		if stream {
			a.pack(b, kv, k0, k1, kp, vp, w)
			first, end = 0, k1-k0
			s.k.N, s.v.K = end, end
		}
		s.block = gemm.Block{
			A: a.queries(a.Q.at(b, h, q0), a.Q.Pos, count, w),
			M: count, B: &s.k, N0: first, N1: end, K1: a.Dim,
			C: gemm.Rows{Data: scores, Stride: sw},
		}
		a.Kernels.Run(&s.block)
		for i := range count {
			a.cap(scores[i*sw:][:k1-k0])
		}
		probs := a.Kernels.Place(a.Precision, gemm.Rows{Data: scores, Stride: sw}, count, k1-k0, w)
		if half, words := probs.Halves(); half != nil && !a.Causal && a.Mask.Keep == nil && (a.Mask.Add == nil || a.Mask.Key == 1) {
			a.softmaxRows(scores, sw, b, h, q0, k0, k1, half, words, top[:count], sum[:count], before)
			if k0 > 0 {
				a.Rows.ScaleRows(acc, vw, acc, vw, before[:count], a.VDim)
			}
		} else {
			for i := range count {
				row := scores[i*sw : i*sw+k1-k0]
				scale := a.softmax(row, probs, i, b, h, q0+i, k0, top[i:i+1], sum[i:i+1])
				if k0 > 0 {
					a.Rows.Scale(acc[i*vw:i*vw+a.VDim], acc[i*vw:i*vw+a.VDim], scale)
				}
			}
		}
		s.block = gemm.Block{
			A: probs,
			M: count, B: &s.v, N1: a.VDim, K0: first, K1: first + k1 - k0,
			C: gemm.Rows{Data: acc, Stride: vw}, Add: k0 > 0,
		}
		a.Kernels.Run(&s.block)
	}
	a.finish(a.Out.at(b, h, q0), a.Out.Pos, acc, vw, sum[:count])
}

// finish divides rows of weighted values, vw apart, by their sums, which change, and writes them to Out from
// element at on, stride apart.
func (a *Attention) finish(at, stride int, acc []float32, vw int, sum []float32) {
	for i, l := range sum {
		switch {
		case l > 0:
			sum[i] = 1 / l
		case a.NaNToZero || a.Keys == 0: // a sum over no keys is zero
			sum[i] = 0
			clear(acc[i*vw:][:a.VDim])
		default:
			sum[i] = float32(math.NaN())
		}
	}
	if a.HalfOut {
		a.Rows.ScaleRows(acc, vw, acc, vw, sum, a.VDim)
		a.Kernels.RoundBF16(a.Out.Data[at/2:], stride/2, acc, vw, len(sum), a.VDim)
		return
	}
	a.Rows.ScaleRows(a.Out.Data[at:], stride, acc, vw, sum, a.VDim)
}

// queries are count rows of Q from element at on, as a product takes them.
func (a *Attention) queries(at, stride, count int, w []float32) gemm.Operand {
	switch {
	case a.HalfIn && a.Precision != layout.BF16:
		a.Kernels.WidenRows(w, a.Dim, a.Q.Data[at/2:], stride/2, count, a.Dim)
		return a.Kernels.Prepare(a.Precision, gemm.Rows{Data: w, Stride: a.Dim}, count, a.Dim, nil, nil)
	case a.HalfIn:
		return gemm.Windows(a.Q.Data[at/2:], stride/2, nil, 0)
	}
	return a.Kernels.Prepare(a.Precision, gemm.Rows{Data: a.Q.Data[at:], Stride: stride}, count, a.Dim, nil, w)
}

// softmaxRows turns the scores of a block of queries with keys k0 to k1 into probabilities,
// unnormalised, as bf16, brings the rows' tops and sums up to date, and leaves in the first
// half of before, of twice as many elements, what earlier sums are scaled by. It does what softmax does row by row.
func (a *Attention) softmaxRows(scores []float32, sw, b, h, q0, k0, k1 int, half []uint32, words int, top, sum, before []float32) {
	m := &a.Mask
	add, stride := m.Add, 0
	if add != nil {
		add, stride = add[b*m.Batch+h*m.Head+q0*m.Query+k0:], m.Query
	}
	n := len(top)
	scale, was := before[:n], before[n:2*n]
	copy(scale, top)
	copy(was, sum)
	a.Rows.ScaleMaxRows(scores, sw, k1-k0, a.factor(), add, stride, top)
	for i, t := range top {
		if math.IsInf(float64(t), -1) {
			top[i], scale[i] = 0, 1 // e^-Inf is 0 then
		} else {
			scale[i] = rows.Exp(scale[i] - t)
		}
	}
	a.Rows.ExpSumRows(half, words, scores, sw, k1-k0, top, sum)
	for i := range sum {
		if k0 > 0 {
			sum[i] += was[i] * scale[i]
		}
		if sum[i] == 0 { // what later chunks start from
			top[i] = float32(math.Inf(-1))
		}
	}
}

// softmax turns the scores of one query with keys from k0 on into probabilities,
// unnormalised: in place, or as row i of probs where that has rows of its own. It brings
// the query's top and sum up to date and returns what earlier sums are scaled by.
func (a *Attention) softmax(row []float32, probs gemm.Operand, i, b, h, q, k0 int, top, sum []float32) (scale float32) {
	was := top[0]
	m, n := a.mask(row, b, h, q, k0, was)
	scale = 1
	if math.IsInf(float64(m), -1) {
		n = 0
	} else {
		scale = rows.Exp(was - m)
	}
	top[0] = m
	before := sum[0]
	if half, words := probs.Halves(); half != nil {
		half = half[i*words:][:words]
		a.Rows.ExpSumRows(half, words, row, len(row), n, top, sum)
		clear(half[(n+1)/2:])
	} else {
		sum[0] = a.Rows.ExpSum(row[:n], m)
		clear(row[n:])
	}
	if k0 > 0 {
		sum[0] += before * scale
	}
	return scale
}

// mask scales and masks the scores of one query with keys from k0 on. It returns the
// greatest of them and floor, and how many of the keys the query can see at all.
func (a *Attention) mask(s []float32, b, h, q, k0 int, floor float32) (top float32, n int) {
	n = len(s)
	if a.Causal {
		n = max(0, min(n, q+1-k0))
	}
	s = s[:n]
	m := &a.Mask
	at := b*m.Batch + h*m.Head + q*m.Query + k0*m.Key
	switch {
	case n == 0 || m.Add == nil && m.Keep == nil:
		return a.Rows.ScaleMax(s, a.factor(), nil, floor), n
	case m.Add != nil && m.Key == 1:
		return a.Rows.ScaleMax(s, a.factor(), m.Add[at:at+n], floor), n
	case m.Keep != nil && m.Key == 1:
		return a.Rows.SelectMax(s, m.Keep[at:at+n], a.factor(), m.Fill, floor), n
	}
	scale := a.factor()
	for j := range s {
		switch {
		case m.Add != nil:
			s[j] = s[j]*scale + m.Add[at+j*m.Key]
		case m.Keep[at+j*m.Key]:
			s[j] *= scale
		default:
			s[j] = m.Fill
		}
		if s[j] > floor {
			floor = s[j]
		}
	}
	return floor, n
}
