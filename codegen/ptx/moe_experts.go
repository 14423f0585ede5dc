package ptx

import (
	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// expertKernel is the state of the third launch's writer.
type expertKernel struct {
	*builder
	*MoE
	x, w1, w2, perm, gates, tiles, ntiles asm.U64
	bias, upBias, outBias, oBias, base    asm.U64
	slotsAt, arrivals, counts             asm.U64
	y                                     asm.U64 // finished rows
	norm                                  normBuffers
	expert, firstRow, rows, part          asm.U32
	pairAt, gateAt                        asm.U32 // shared [TileRows]
	doneAt                                asm.U32 // shared [TileRows]: the token is complete
}

func (s *MoE) expertBuffers(b *builder) *expertKernel {
	e := &expertKernel{builder: b, MoE: s}
	e.x = b.buffer("x", s.DType, Read)
	e.w1, e.w2 = b.buffer("w1", s.DType, Read), b.buffer("w2", s.DType, Read)
	optional := func(have bool, name string) asm.U64 {
		if have {
			return b.buffer(name, s.DType, Read)
		}
		return asm.U64{}
	}
	e.bias, e.upBias = optional(s.Bias, "bias"), optional(s.UpBias, "up_bias")
	e.outBias, e.oBias = optional(s.OutBias, "out_bias"), optional(s.OBias, "o_bias")
	e.base = optional(s.Base, "base")
	if s.Norm != nil {
		e.norm = b.normInputs(s.Norm)
	}
	if !s.dense {
		e.perm, e.gates = b.buffer("perm", tensor.I32, Read), b.buffer("gates", tensor.F32, Read)
		e.tiles, e.ntiles = b.buffer("tiles", tensor.I32, Read), b.buffer("ntiles", tensor.I32, Read)
	}
	if s.ByThreshold {
		e.counts = b.buffer("counts", tensor.I32, Read)
	}
	if !s.direct() {
		e.slotsAt, e.arrivals = b.buffer("slots", s.DType, ReadWrite), b.buffer("arrivals", tensor.I32, ReadWrite)
	}
	e.outputs()
	return e
}

// outputs declares where finished rows go.
func (e *expertKernel) outputs() {
	if e.Norm == nil {
		e.y = e.buffer("y", e.DType, Write)
		return
	}
	e.y = e.buffer("sum", e.DType, ReadWrite)
	e.norm.y = e.buffer("y", e.DType, Write)
}

// experts writes the third launch.
func (s *MoE) experts() (*Kernel, error) {
	if s.Math == Tensor16 {
		return s.experts16()
	}
	t1 := s.hiddenTile()
	b := newKernel("moe_experts_"+s.Math.String(), t1.threads())
	b.doc("fused experts: D=%d, %d chunks of %d of %d hidden units, Dv=%d, %s; tile of %d rows", s.D, s.chunks(), s.chunk(), s.G, s.Dv, s.Math, s.TileRows)
	s.expertGrid(b)
	b.k.Limits = Limits{Registers: 128} // two blocks of 8 warps per multiprocessor
	if s.Gated {
		b.k.Limits.Registers = 208 // twice the accumulators
	}
	if !s.Gated || s.TileRows <= 32 {
		b.MinBlocks(2) // or ptxas aims at more of the small ones and spills a few bytes
	}
	e := s.expertBuffers(b)
	e.prologue()
	smem := b.DynamicShared()

	b.Comment("hidden = act(x w1 + bias) * gate")
	wide := 4
	a := &operand{
		b: b, es: 4, xTile: t1.M, kTile: t1.K, kMinor: true, pitch: t1.K + wide, along: true,
		vec: vecFor(N(s.D), 4), checkK: s.D%t1.K != 0, kLimit: b.Const(s.D), locate: e.tokenRow,
	}
	a.prepare(source{x0: b.Const(0), kStride: b.Const(1)})
	gc := s.chunk()
	cols := gc * s.parts()
	dp := roundUp(s.D, packPadK)
	blockAt := e.expert.MadI(s.chunks(), e.part)
	w1 := &operand{b: b, es: 4, xTile: cols, kTile: t1.K, pitch: cols + 8, vec: wide}
	w1.prepare(source{base: e.w1.AtMul(blockAt, b.Const(dp*cols), 4), x0: b.Const(0), xStride: b.Const(1), kStride: b.Const(cols)})
	hidden := newCore(b, s.Math, s.DType, t1)
	hidden.zero()
	var up *core
	if s.Gated {
		up = newCore(b, s.Math, s.DType, t1)
		up.zero()
	}
	const stages1, stages2 = 3, 3
	stage1 := a.bytes() + w1.bytes()
	b.pipeline("d", b.Const((s.D+t1.K-1)/t1.K), smem, stages1, stage1,
		func(kc, to asm.U32) {
			a.issue(kc.MulI(t1.K), to)
			w1.issue(kc.MulI(t1.K), to.AddI(a.bytes()))
		},
		func(_, from asm.U32) {
			wAt := from.AddI(a.bytes())
			hidden.multiply(from, wAt, a.pitch, w1)
			if s.Gated {
				up.multiply(from, wAt.AddI(gc*4), a.pitch, w1)
			}
		})
	b.Barrier() // the stages are free: the hidden tile takes their place
	pitchH := gc + 4
	hBytes := t1.M * pitchH * 4
	e.storeHidden(hidden, up, smem, pitchH)

	b.Comment("slot = hidden w2, %d columns at a time", outChunk)
	t2 := s.outTile()
	dvp := roundUp(s.Dv, packPadN)
	w2 := &operand{b: b, es: 4, xTile: t2.N, kTile: t2.K, pitch: t2.N + 8, vec: wide}
	w2.prepare(source{base: e.w2.AtMul(blockAt, b.Const(gc*dvp), 4), x0: b.Const(0), xStride: b.Const(1), kStride: b.Const(dvp)})
	out := newCore(b, s.Math, s.DType, t2)
	out.zero()
	steps := gc / t2.K
	b.k.DynamicShared = max(stages1*stage1, hBytes+stages2*w2.bytes())
	b.pipeline("step", b.Const(dvp/t2.N*steps), smem.AddI(hBytes), stages2, w2.bytes(),
		func(step, to asm.U32) {
			n, k := step.DivI(steps), step.RemI(steps)
			w2.issueAt(k.MulI(t2.K), n.MulWide(b.Const(t2.N*4)), to)
		},
		func(step, from asm.U32) {
			n, k := step.DivI(steps), step.RemI(steps)
			out.multiply(smem.Add(k.MulI(t2.K*4)), from, pitchH, w2)
			b.If(k.EqI(steps-1), func() {
				e.storeSlots(out, n.MulI(t2.N))
				out.zero()
			})
		})
	e.combine()
	return b.done(), nil
}

// hiddenTile is the tile of the first product: TileRows x chunk, by 8 warps, each at least 32 columns wide or, on tensor
// cores, 16 rows tall.
func (s *MoE) hiddenTile() Tile {
	tall := 8 / (s.chunk() / 32)
	if s.Math != Exact {
		tall = min(tall, s.TileRows/16)
	}
	return Tile{M: s.TileRows, N: s.chunk(), K: 16, WarpsM: tall, WarpsN: 8 / tall}
}

// outChunk is the number of output columns that a block computes at a time.
const outChunk = 128

// outTile is the tile of the second product.
func (s *MoE) outTile() Tile { return Tile{M: s.TileRows, N: outChunk, K: 16, WarpsM: 2, WarpsN: 4} }

func (s *MoE) expertGrid(b *builder) {
	es := s.DType.Size()
	b.k.Grid = [3]Expr{s.tileBound(), N(s.chunks()), N(1)}
	pairs := s.Tokens.MulN(s.slots())
	b.k.Cost = Cost{
		FLOPs: pairs.MulN(2 * s.G * (s.D*s.parts() + s.Dv)),
		// gathered rows, slots out and back, outputs, and every expert once
		Bytes: pairs.MulN((s.D + 2*s.chunks()*s.Dv) * es).Add(s.Tokens.MulN(s.Dv * es)).
			AddN(s.E * s.G * (s.D*s.parts() + s.Dv) * es),
	}
}

// prologue finds the block's tile and loads its pairs and gates.
func (e *expertKernel) prologue() {
	rows := e.TileRows
	e.pairAt = e.Shared("pairs", 4, rows*4)
	e.gateAt = e.Shared("gates", 4, rows*4)
	e.doneAt = e.Shared("complete", 4, rows*4)
	e.Lane()
	e.Warp()
	e.part = e.BlockY()
	if e.chunks() == 1 {
		e.part = e.Const(0)
	}
	if e.dense {
		e.expert, e.firstRow = e.Const(0), e.BlockX().MulI(rows)
		e.rows = e.dim(e.Tokens).Sub(e.firstRow).Min(e.Const(rows)).As("rows")
	} else {
		e.ExitIf(e.BlockX().Ge(e.ntiles.LdU32(0)))
		t := e.tiles.At(e.BlockX(), 16).LdU32x4(0)
		e.expert, e.firstRow, e.rows = t[0].As("expert"), t[1].As("first_row"), t[2].As("rows")
	}
	e.Comment("the tile's (token, slot) pairs and gates; rows past the end have pair -1")
	e.For("row", e.Tid(), e.Const(rows), e.Threads(), func(row asm.U32) {
		pair, gate := e.Const(-1).Var("pair"), e.ConstF(0).Var("gate")
		e.If(row.Lt(e.rows), func() {
			if e.dense {
				pair.Set(e.firstRow.Add(row))
				gate.Set(e.ConstF(1))
				return
			}
			pair.Set(e.perm.At(e.firstRow.Add(row), 4).LdU32(0))
			gate.Set(e.gates.At(pair, 4).LdF32(0))
		})
		e.pairAt.Add(row.MulI(4)).StsU32(0, pair)
		e.gateAt.Add(row.MulI(4)).StsF32(0, gate)
	})
	e.Barrier()
}

// tokenRow is the address of the input row of a row of the tile.
func (e *expertKernel) tokenRow(row asm.U32) (asm.U64, asm.Pred) {
	pair := e.pairAt.Add(row.MulI(4)).LdsU32(0)
	live := pair.NeI(-1)
	token := live.SelU32(pair, e.Const(0)).DivI(e.slots())
	return e.x.AtMul(token, e.Const(e.D), e.DType.Size()), live
}

// activate is the hidden unit from the products, in f32.
func (e *expertKernel) activate(u, up asm.F32, col asm.U32) asm.F32 {
	es := e.DType.Size()
	at := func(p asm.U64) asm.F32 {
		j := e.part.MadI(e.chunk(), col)
		if e.G%e.chunk() == 0 {
			return loadF(p.At(e.expert.MadI(e.G, j), es), e.DType, 0)
		}
		v := e.ConstF(0).Var("")
		e.If(j.LtI(e.G), func() { v.Set(loadF(p.At(e.expert.MadI(e.G, j), es), e.DType, 0)) })
		return v
	}
	if e.Bias {
		u = u.Add(at(e.bias))
	}
	if e.Activation != "" {
		u = functions[e.Activation].emit(e.Func, []value{{f: u}}, nil).f
	}
	if e.Gated {
		if e.UpBias {
			up = up.Add(at(e.upBias))
		}
		u = u.Mul(up)
	}
	return u
}

// storeHidden writes the gated hidden tile to shared memory.
func (e *expertKernel) storeHidden(hidden, up *core, to asm.U32, pitch int) {
	group := 0
	hidden.columns(func(col, width int, each func(func(int, []asm.F32))) {
		var other [][]asm.F32
		if up != nil {
			other = up.group(group)
		}
		group++
		i := 0
		each(func(row int, v []asm.F32) {
			r := hidden.row0.AddI(row)
			g := e.gateAt.Add(r.MulI(4)).LdsF32(0)
			at := r.MadI(pitch, hidden.col0).MadI(4, to)
			for q := range width {
				var u asm.F32
				if up != nil {
					u = other[i][q]
				}
				h := e.activate(v[q], u, hidden.col0.AddI(col+q)).Mul(g)
				at.StsF32((col+q)*4, h)
			}
			i++
		})
	})
}

// group lists the accumulators of the n-th column group, row by row as columns visits them.
func (w *core) group(n int) [][]asm.F32 {
	var out [][]asm.F32
	i := 0
	w.columns(func(_, _ int, each func(func(int, []asm.F32))) {
		if i == n {
			each(func(_ int, v []asm.F32) { out = append(out, v) })
		}
		i++
	})
	return out
}

// storeSlots writes finished columns, from column n on, of the tile's rows.
func (e *expertKernel) storeSlots(out *core, n asm.U32) {
	e.Comment("store the slots' columns")
	out.columns(func(col, width int, each func(func(int, []asm.F32))) {
		c := n.Add(out.col0).AddI(col)
		if e.Dv%width != 0 {
			for q := range width {
				e.If(c.AddI(q).LtI(e.Dv), func() {
					each(func(row int, v []asm.F32) { e.storeSlot(out.row0.AddI(row), c.AddI(q), v[q:q+1]) })
				})
			}
			return
		}
		inside := e.Bool(true)
		if e.Dv%outChunk != 0 {
			inside = c.LtI(e.Dv)
		}
		e.If(inside, func() {
			each(func(row int, v []asm.F32) { e.storeSlot(out.row0.AddI(row), c, v) })
		})
	})
}

// storeSlot writes neighbouring columns of one row of the tile: to its slot, or, where that is the token's
// only one, to the output.
func (e *expertKernel) storeSlot(row, col asm.U32, v []asm.F32) {
	es := e.DType.Size()
	pair := e.pairAt.Add(row.MulI(4)).LdsU32(0)
	e.If(pair.NeI(-1), func() {
		out := append([]asm.F32{}, v...)
		if e.OutBias {
			first := e.part.EqI(0) // an expert's bias comes with its first chunk
			e.gatedBias(out, row, col, first)
		}
		if e.direct() {
			e.finish(out, pair, col)
			return
		}
		slot := pair.MadI(e.chunks(), e.part)
		storeRun(e.Func, e.slotsAt.AtMul(slot, e.Const(e.Dv), es).At(col, es), e.DType, out)
	})
}

func (e *expertKernel) gatedBias(out []asm.F32, row, col asm.U32, first asm.Pred) {
	es := e.DType.Size()
	gate := e.gateAt.Add(row.MulI(4)).LdsF32(0)
	gate = first.SelF32(gate, e.ConstF(0))
	at := e.outBias.AtMul(e.expert, e.Const(e.Dv), es).At(col, es)
	for q := range out {
		out[q] = loadF(at, e.DType, q*es).Fma(gate, out[q])
	}
}

// finish adds what every token gets and stores neighbouring columns of the output.
func (e *expertKernel) finish(v []asm.F32, token, col asm.U32) {
	es := e.DType.Size()
	if e.OBias {
		for q := range v {
			v[q] = v[q].Add(loadF(e.oBias.At(col, es), e.DType, q*es))
		}
	}
	at := func(p asm.U64) asm.U64 { return p.AtMul(token, e.Const(e.Dv), es).At(col, es) }
	if e.Base {
		for q := range v {
			v[q] = v[q].Add(loadF(at(e.base), e.DType, q*es))
		}
	}
	storeRun(e.Func, at(e.y), e.DType, v)
}

// storeRun writes 1, 2 or 4 neighbours; runs of 2 and 4 start at multiples of their length.
func storeRun(f *asm.Func, at asm.U64, dt dtype, v []asm.F32) {
	vals := make([]value, len(v))
	for i := range v {
		vals[i].f = v[i]
	}
	if len(v) == 1 {
		store(f, at, dt, 0, vals[0])
		return
	}
	storeN(f, at, dt, vals)
}

// combine: whoever completes a token's last slot adds its slots in slot order.
func (e *expertKernel) combine() {
	if e.direct() {
		if e.Norm != nil {
			e.Barrier() // the tile's rows are finished
			e.normTile(e.pairAt, func(mark asm.U32) asm.Pred { return mark.NeI(-1) })
		}
		return
	}
	e.Comment("announce the tile's slots; the last arriver of a token owns its sum")
	e.Barrier()
	rows := e.TileRows
	e.For("row", e.Tid(), e.Const(rows), e.Threads(), func(row asm.U32) {
		pair := e.pairAt.Add(row.MulI(4)).LdsU32(0)
		complete := e.Const(0).Var("complete")
		e.If(pair.NeI(-1), func() {
			token := pair.DivI(e.slots())
			want := e.Const(e.slots() * e.chunks())
			if e.ByThreshold {
				want = e.counts.At(token, 4).LdU32(0).MulI(e.chunks())
			}
			before := e.arrivals.At(token, 4).AtomicAdd(0, e.Const(1))
			e.If(before.Eq(want.AddI(-1)), func() {
				complete.Set(want)
				e.arrivals.At(token, 4).StU32(0, e.Const(0)) // ready for the next run
			})
		})
		e.doneAt.Add(row.MulI(4)).StsU32(0, complete)
	})
	e.Barrier()
	e.Comment("each warp sums complete tokens; slots in order, so that the bits do not depend on who came last")
	es := e.DType.Size()
	width := 1
	if e.Dv%4 == 0 {
		width = 4
	}
	e.For("row", e.Warp(), e.Const(rows), e.Threads()/asm.WarpSize, func(row asm.U32) {
		n := e.doneAt.Add(row.MulI(4)).LdsU32(0)
		e.If(n.NeI(0), func() {
			token := e.pairAt.Add(row.MulI(4)).LdsU32(0).DivI(e.slots())
			first := token.MulI(e.slots() * e.chunks())
			e.For("col", e.Lane().MulI(width), e.Const(e.Dv), asm.WarpSize*width, func(col asm.U32) {
				sum := make([]asm.F32, width)
				for q := range sum {
					sum[q] = e.ConstF(0).Var("")
				}
				e.For("slot", e.Const(0), n, 1, func(k asm.U32) {
					at := e.slotsAt.AtMul(first.Add(k), e.Const(e.Dv), es).At(col, es)
					for q, v := range loadFloats(at, e.DType, width) {
						sum[q].AddTo(v)
					}
				})
				e.finish(sum, token, col)
			})
		})
	})
	if e.Norm != nil { // every thread reads what it has written
		e.normTile(e.doneAt, func(mark asm.U32) asm.Pred { return mark.NeI(0) })
	}
}

// normTile normalises the tokens of the tile's rows whose marks in shared memory say that they are finished, each by
// the warp that sums it.
func (e *expertKernel) normTile(marks asm.U32, finished func(mark asm.U32) asm.Pred) {
	warps := e.Threads() / asm.WarpSize
	batch := min(e.Norm.batch(e.Dv), e.TileRows/warps)
	e.Comment("each warp normalises its tokens, %d at a time", batch)
	e.For("norm_row", e.Warp(), e.Const(e.TileRows), warps*batch, func(row asm.U32) {
		at, live := make([]asm.U32, batch), make([]asm.Pred, batch)
		for i := range at {
			r := row.AddI(i * warps)
			at[i] = e.pairAt.Add(r.MulI(4)).LdsU32(0).DivI(e.slots())
			live[i] = finished(marks.Add(r.MulI(4)).LdsU32(0))
		}
		e.normTokens(e.Norm, e.Dv, e.DType, e.y, e.norm, at, live)
	})
}
