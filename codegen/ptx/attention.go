package ptx

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Heads is how queries, keys, values or outputs lie in memory: element strides over batch, head and position;
// a head's numbers are neighbours.
type Heads struct {
	Batch, Head, Row Expr
	Offset           Expr
}

// AttentionMask is added to the scores (a float format) or selects them (Bool: false gives Fill).
type AttentionMask struct {
	DType                 dtype
	Batch, Head, Row, Col Expr // element strides, 0 repeats
	Offset                Expr
	Fill                  float32
}

// Attention is softmax(Scale q k' + mask) v per batch and head, in one launch with no score matrix in memory:
// a block keeps up to 64 queries and walks over the keys, rescaling its sums as larger scores appear. Query head h
// uses key head h/(Heads/KVHeads). Causal lets position i see positions up to i. Keys past the end count
// for nothing. A query that sees nothing (all scores -infinity) gives NaN, or 0 with NaNToZero; where there are no keys it gives 0.
// Buffers: q (or x, wq, [bias]), k, v, [mask], y.
type Attention struct {
	Batch             Expr
	Heads, KVHeads    int
	Queries, Keys     Expr
	HeadDim, VHeadDim int
	DType             dtype
	Math              Math
	Scale             float32
	Causal, NaNToZero bool
	Q, K, V, Y        Heads
	Mask              *AttentionMask
	Project           *QueryProjection // queries are computed from x, whose rows Q then describes; its Head is 0
}

// attentionShape is the tiling of one kernel: rows queries per block, 16 per warp, against kv keys at a time; head
// sizes are padded to dh and dv.
type attentionShape struct {
	rows, kv, dh, dv int
	pitchP           int // of the weights in shared memory; 0 when they stay in registers
}

// shape chooses the largest tiling whose shared memory every sm_80 device grants.
func (s *Attention) shape() (attentionShape, error) {
	// Products want head sizes in whole fragments.
	unitK, unitV, kv := 16, 32, 32
	switch s.Math {
	case TF32, TF32x3:
		unitK, unitV = 8, 8
	case Tensor16:
		unitK, unitV, kv = 16, 16, 64
	}
	a := attentionShape{dh: roundUp(s.HeadDim, unitK), dv: roundUp(s.VHeadDim, unitV)}
	for _, try := range [][2]int{{64, kv}, {64, 32}, {32, 32}} {
		a.rows, a.kv = try[0], try[1]
		if s.Math != Tensor16 {
			a.pitchP = a.kv + 4
		}
		if a.shared(s) <= sharedBudget+2048 {
			return a, nil
		}
	}
	return a, fmt.Errorf("ptx: attention: heads of %d and %d in %s need %d bytes of shared memory", s.HeadDim, s.VHeadDim, s.Math, a.shared(s))
}

// shared is the dynamic shared memory: queries, weights, two stages of keys and values.
func (a attentionShape) shared(s *Attention) int {
	es := s.DType.Size()
	keys := a.dh * (a.kv + 8)
	if s.Math == Tensor16 {
		keys = a.kv * (a.dh + 8)
	}
	stages := max(2*(keys+a.kv*(a.dv+8))*es, s.projectionShared(a.rows))
	return a.rows*(a.dh+16/es)*es + stages + a.rows*a.pitchP*4
}

func (s *Attention) check() error {
	switch {
	case s.Heads < 1 || s.KVHeads < 1 || s.Heads%s.KVHeads != 0:
		return fmt.Errorf("ptx: attention with %d heads over %d key heads", s.Heads, s.KVHeads)
	case s.HeadDim < 1 || s.HeadDim > 256 || s.VHeadDim < 1 || s.VHeadDim > 256:
		return fmt.Errorf("ptx: attention with heads of %d and %d; at most 256", s.HeadDim, s.VHeadDim)
	case s.DType == tensor.F32 && s.Math != Tensor16:
	case (s.DType == tensor.F16 || s.DType == tensor.BF16) && s.Math == Tensor16:
	default:
		return fmt.Errorf("ptx: attention: %s product of %s", s.Math, s.DType)
	}
	if err := s.checkProjection(); err != nil {
		return err
	}
	if s.Mask != nil {
		if k, err := kindOf(s.Mask.DType); err != nil || k == intKind || k == doubleKind {
			return fmt.Errorf("ptx: attention mask of %s", s.Mask.DType)
		}
	}
	return nil
}

// Kernel writes the kernel.
func (s Attention) Kernel() (*Kernel, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	shape, err := s.shape()
	if err != nil {
		return nil, err
	}
	b := newKernel("attention_"+s.Math.String(), shape.rows*2)
	b.doc("attention: %d heads of %d (values %d), causal %t, mask %t, %s", s.Heads, s.HeadDim, s.VHeadDim, s.Causal, s.Mask != nil, s.Math)
	b.k.Grid = [3]Expr{s.Queries.CeilDiv(shape.rows), N(s.Heads), s.Batch}
	pairs := s.Batch.MulN(s.Heads).Mul(s.Queries).Mul(s.Keys)
	es := s.DType.Size()
	b.k.Cost = Cost{
		FLOPs: pairs.MulN(2 * (s.HeadDim + s.VHeadDim)),
		Bytes: s.Batch.MulN(es).Mul(s.Queries.MulN(s.Heads * (s.HeadDim + s.VHeadDim)).Add(s.Keys.MulN(s.KVHeads * (s.HeadDim + s.VHeadDim)))),
	}
	extra := s.projectionCost()
	b.k.Cost.FLOPs, b.k.Cost.Bytes = b.k.Cost.FLOPs.Add(extra.FLOPs), b.k.Cost.Bytes.Add(extra.Bytes)
	b.k.Limits = Limits{Registers: 255}
	b.MinBlocks(2)
	a := &attentionKernel{builder: b, Attention: &s, attentionShape: shape}
	if s.Project != nil {
		a.project = &projection{QueryProjection: s.Project, tile: s.projectedTile(shape.rows)}
	}
	a.write()
	return b.done(), nil
}

type attentionKernel struct {
	*builder
	*Attention
	attentionShape
	score, out   *core
	row, col     asm.U32 // the lane's first query, and its first key of the tile
	sum, top     []asm.F32
	mask         asm.U64
	nQ, nK       asm.U32
	maskR, maskC asm.U32
	pAt          asm.U32 // shared: the block's weights, for f32
	project      *projection
}

func (a *attentionKernel) head(p asm.U64, h Heads, head asm.U32) asm.U64 {
	es := a.DType.Size()
	return p.At(a.dim(h.Offset), es).AtMul(a.BlockZ(), a.dim(h.Batch), es).AtMul(head, a.dim(h.Head), es)
}

func (a *attentionKernel) write() {
	es := a.DType.Size()
	var q asm.U64
	if a.project != nil {
		a.project.buffers(a)
	} else {
		q = a.buffer("q", a.DType, Read)
	}
	k, v := a.buffer("k", a.DType, Read), a.buffer("v", a.DType, Read)
	if a.Mask != nil {
		a.mask = a.buffer("mask", a.Mask.DType, Read)
	}
	y := a.buffer("y", a.DType, Write)
	a.nQ, a.nK = a.dim(a.Queries), a.dim(a.Keys)
	kvHead := a.BlockY().DivI(a.Heads / a.KVHeads)
	y = a.head(y, a.Y, a.BlockY())
	k, v = a.head(k, a.K, kvHead), a.head(v, a.V, kvHead)
	if a.Mask != nil {
		m := a.Mask
		ms := m.DType.Size()
		a.mask = a.mask.At(a.dim(m.Offset), ms).AtMul(a.BlockZ(), a.dim(m.Batch), ms).AtMul(a.BlockY(), a.dim(m.Head), ms)
		a.maskR, a.maskC = a.dim(m.Row), a.dim(m.Col)
	}
	dh, dv, kv := a.dh, a.dv, a.kv
	wide := 16 / es
	opQ := &operand{
		b: a.builder, es: es, xTile: a.rows, kTile: dh, kMinor: true, pitch: dh + wide, along: true,
		vec: a.vec(a.Q, a.HeadDim), checkX: !a.Queries.DivisibleBy(a.rows), checkK: dh != a.HeadDim, kLimit: a.Const(a.HeadDim),
	}
	first := a.BlockX().MulI(a.rows).As("first_query")
	if a.project == nil {
		opQ.prepare(source{base: a.head(q, a.Q, a.BlockY()), x0: first, xLimit: a.nQ, xStride: a.dim(a.Q.Row), kStride: a.Const(1)})
	}
	// Keys: the right operand of the first product. Tensor cores take it as it lies, k-contiguous; the others want
	// it transposed, which single-element copies do on the way.
	opK := &operand{
		b: a.builder, es: es, xTile: kv, kTile: dh, pitch: kv + 8, along: true, vec: 1,
		checkX: !a.Keys.DivisibleBy(kv), checkK: dh != a.HeadDim, kLimit: a.Const(a.HeadDim),
	}
	if a.Math == Tensor16 {
		opK.kMinor, opK.pitch, opK.vec = true, dh+wide, a.vec(a.K, a.HeadDim)
	}
	opK.prepare(source{base: k, x0: a.Const(0), xLimit: a.nK, xStride: a.dim(a.K.Row), kStride: a.Const(1)})
	opV := &operand{
		b: a.builder, es: es, xTile: dv, kTile: kv, pitch: dv + 8, vec: a.vec(a.V, a.VHeadDim),
		checkX: dv != a.VHeadDim, checkK: !a.Keys.DivisibleBy(kv), kLimit: a.nK,
	}
	opV.prepare(source{base: v, x0: a.Const(0), xLimit: a.Const(a.VHeadDim), xStride: a.Const(1), kStride: a.dim(a.V.Row)})

	smem := a.DynamicShared()
	pBytes := 0
	if a.Math != Tensor16 {
		pBytes = a.rows * a.pitchP * 4
	}
	a.pAt = smem.AddI(opQ.bytes())
	stages := a.pAt.AddI(pBytes)
	stage := opK.bytes() + opV.bytes()
	a.k.DynamicShared = opQ.bytes() + pBytes + max(2*stage, a.projectionShared(a.rows))
	if a.project != nil {
		a.project.write(a, first, smem, stages, opQ.pitch)
	}

	a.score = newCore(a.builder, a.Math, a.DType, Tile{M: a.rows, N: kv, K: dh, WarpsM: a.rows / 16, WarpsN: 1})
	a.out = newCore(a.builder, a.Math, a.DType, Tile{M: a.rows, N: dv, K: kv, WarpsM: a.rows / 16, WarpsN: 1})
	a.row = first.Add(a.score.row0).As("query")
	a.out.zero()
	for range a.score.rowsPerLane() {
		a.top = append(a.top, a.ConstF(lowest).Var("top"))
		a.sum = append(a.sum, a.ConstF(0).Var("sum"))
	}
	if a.project == nil {
		a.Comment("the block's queries travel with the first tile of keys")
		opQ.issue(a.Const(0), smem)
	}
	keys := a.nK
	if a.Causal {
		keys = keys.Min(first.AddI(a.rows)) // later keys are hidden from every query of the block
	}
	a.pipeline("tile", keys.CeilDivI(kv), stages, 2, stage,
		func(tile, to asm.U32) {
			at := tile.MulI(kv)
			opK.issueRows(at, to)
			opV.issue(at, to.AddI(opK.bytes()))
		},
		func(tile, from asm.U32) {
			a.score.zero()
			a.score.multiply(smem, from, opQ.pitch, opK)
			a.col = tile.MulI(kv).Add(a.score.col0)
			a.softmax(kv)
			vAt := from.AddI(opK.bytes())
			if a.Math == Tensor16 {
				a.out.multiplyFragments(a.weightFragments(), vAt, opV)
				return
			}
			a.SyncWarp() // the weights of a warp's rows are its own
			a.out.multiply(a.pAt, vAt, a.pitchP, opV)
		})
	a.store(y)
}

// vec is the number of elements per copy of rows of n elements.
func (a *attentionKernel) vec(h Heads, n int) int {
	unit := a.DType.Size()
	v := vecFor(N(n), unit)
	for _, s := range []Expr{h.Batch, h.Head, h.Row, h.Offset} {
		v = min(v, vecFor(s, unit))
	}
	return v
}

// softmax turns the tile's scores into weights relative to the largest score so far, and rescales the sums.
func (a *attentionKernel) softmax(kv int) {
	es := a.score.elements()
	minusInf := a.ConstF(float32(math.Inf(-1)))
	a.Comment("scale, mask, hide keys past the end")
	masks := map[int]asm.F32{}
	for i := range es {
		e := &es[i]
		col := a.col.AddI(e.colOff)
		s := e.v.MulC(a.Scale)
		if a.Mask != nil {
			s = a.masked(s, e, col, masks)
		}
		hidden := a.Bool(false)
		if !a.Keys.DivisibleBy(kv) {
			hidden = col.Ge(a.nK)
		}
		if a.Causal {
			hidden = hidden.Or(col.Gt(a.row.AddI(e.rowOff)))
		}
		e.v.Set(hidden.SelF32(minusInf, s))
	}
	a.Comment("the new largest score of each row, and what it makes of the old sums")
	lanes := a.score.lanesPerRow()
	shrink := make([]asm.F32, len(a.top))
	for r := range a.top {
		m := a.top[r]
		for _, e := range es {
			if e.row == r {
				m = m.Max(e.v)
			}
		}
		m = m.WarpMax(lanes)
		shrink[r] = expFast(a.top[r].Sub(m))
		a.top[r].Set(m)
		a.sum[r].MulTo(shrink[r])
	}
	for _, e := range a.out.elements() {
		e.v.MulTo(shrink[e.row])
	}
	for _, e := range es {
		w := expFast(e.v.Sub(a.top[e.row]))
		a.sum[e.row].AddTo(w)
		e.v.Set(w)
		if a.Math != Tensor16 {
			a.score.row0.MadI(a.pitchP, a.score.col0).MadI(4, a.pAt).StsF32((e.rowOff*a.pitchP+e.colOff)*4, w)
		}
	}
}

// masked applies the mask to one score. Positions past the ends read the last element; their scores are
// hidden or never stored.
func (a *attentionKernel) masked(s asm.F32, e *element, col asm.U32, seen map[int]asm.F32) asm.F32 {
	m := a.Mask
	value := func() value {
		c := col.Min(a.nK.AddI(-1))
		r := a.row.AddI(e.rowOff).Min(a.nQ.AddI(-1))
		return load(a.mask.AtMul(r, a.maskR, m.DType.Size()).AtMul(c, a.maskC, m.DType.Size()), m.DType, 0)
	}
	if m.DType == tensor.Bool {
		return value().p.SelF32(s, a.ConstF(m.Fill))
	}
	if !m.Row.Is(0) {
		return s.Add(value().f)
	}
	v, ok := seen[e.colOff]
	if !ok {
		v = value().f
		seen[e.colOff] = v
	}
	return s.Add(v)
}

// weightFragments packs the weights as left fragments of the second product.
func (a *attentionKernel) weightFragments() [][]asm.FragA {
	acc := a.score.acc
	var row []asm.FragA
	for k := 0; k < len(acc); k += 2 {
		row = append(row, asm.FragA{
			packPair(a.DType, acc[k][0], acc[k][1]), packPair(a.DType, acc[k][2], acc[k][3]),
			packPair(a.DType, acc[k+1][0], acc[k+1][1]), packPair(a.DType, acc[k+1][2], acc[k+1][3]),
		})
	}
	return [][]asm.FragA{row}
}

// store divides by the sums and writes the block's rows.
func (a *attentionKernel) store(y asm.U64) {
	a.Comment("divide by the sum of weights and store")
	es := a.DType.Size()
	scale := make([]asm.F32, len(a.sum))
	none := a.ConstF(0)
	if !a.NaNToZero {
		// no visible key: 0/0, as the formula has it, but no key at all: a sum of nothing
		none = a.nK.EqI(0).SelF32(none, a.ConstF(float32(math.NaN())))
	}
	for r := range a.sum {
		total := a.sum[r]
		for n := a.out.lanesPerRow() / 2; n > 0; n /= 2 {
			total = total.Add(total.ShflXor(n))
		}
		scale[r] = total.GtC(0).SelF32(a.ConstF(1).Div(total), none)
	}
	rowStride := a.dim(a.Y.Row)
	perRow := a.out.rowsPerLane()
	a.out.columns(func(col, width int, each func(func(int, []asm.F32))) {
		c := a.out.col0.AddI(col)
		n := width
		if a.VHeadDim%width != 0 || a.vec(a.Y, a.VHeadDim) < width {
			n = 1
		}
		for q := 0; q < width; q += n {
			at := c.AddI(q)
			inside := a.Bool(true)
			if a.VHeadDim%a.out.tile.N != 0 {
				inside = at.LtI(a.VHeadDim)
			}
			a.If(inside, func() {
				r := 0
				each(func(row int, v []asm.F32) {
					out := make([]asm.F32, n)
					for i := range out {
						out[i] = v[q+i].Mul(scale[r%perRow])
					}
					r++
					to := a.row.AddI(row)
					a.If(to.Lt(a.nQ), func() { storeRun(a.Func, y.AtMul(to, rowStride, es).At(at, es), a.DType, out) })
				})
			})
		}
	})
}
