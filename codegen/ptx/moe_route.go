package ptx

import (
	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// routerTile is the product's tile: RouterRows tokens by up to 128 experts.
func (s *MoE) routerTile() Tile {
	n := 32
	for n < s.E && n < 128 {
		n *= 2
	}
	t := Tile{M: s.RouterRows, N: n, K: 16, Stages: 3, WarpsN: n / 32}
	if s.Math == Tensor16 {
		t.K = 32
	}
	if s.E > maxExperts/2 {
		t.Stages = 2 // leave room for the logits
	}
	// Warps are 8 rows tall at least (16 on tensor cores) and a block has at most 8.
	tall := 8
	if s.Math != Exact {
		tall = 16
	}
	t.WarpsM = min(t.M/tall, 8/t.WarpsN)
	return t
}

// routerShared is the dynamic shared memory of the router, about.
func (s *MoE) routerShared() int {
	t, es := s.routerTile(), s.DType.Size()
	logits := t.M * (roundUp(s.E, t.N) + 1) * 4
	stage := (t.M*(t.K+16/es) + t.K*(t.N+8)) * es
	return logits + t.Stages*stage + 8*s.E + 8*s.slots()*4
}

// router writes the first launch.
func (s *MoE) router() (*Kernel, error) {
	t := s.routerTile()
	b := newKernel("moe_router_"+s.Gate.String()[:3], t.threads())
	b.doc("router: %d experts, gate %s, %d slots; logits, ranking, gates, histogram; the last block scans", s.E, s.Gate, s.slots())
	b.k.Grid = [3]Expr{s.Tokens.CeilDiv(s.RouterRows), N(1), N(1)}
	es := s.DType.Size()
	b.k.Cost = Cost{
		FLOPs: s.Tokens.MulN(2 * s.D * s.E),
		Bytes: s.Tokens.MulN(s.D*es + 8*s.slots()).AddN(s.D * s.E * es),
	}
	b.k.Limits = Limits{Registers: 168}
	r := &routerKernel{builder: b, MoE: s, tile: t}
	r.buffers()
	r.write()
	return b.done(), nil
}

type routerKernel struct {
	*builder
	*MoE
	// emit takes a slot's outcome: on says whether it is selected; its lanes are those whose slot exists.
	emit func(slot, e asm.U32, gate asm.F32, on asm.Pred)
	// rankOf, where ranks are given, loads the rank of an expert for the token at hand.
	rankOf func(e asm.U32) asm.F32
	// counted takes the number of selected slots, in every lane, where a threshold decides it.
	counted                                 func(n asm.U32)
	tile                                    Tile
	x, sel, selBias, given, ranks           asm.U64
	ids, gates, counts, hist, offs, y, base asm.U64
	tiles, ntiles, doneAt, oBias            asm.U64
	tokens                                  asm.U32
	first                                   asm.U32 // first token of the block
	logits                                  asm.U32 // shared [rows][pitch]
	list                                    asm.U32 // shared [warps][slots]: the experts chosen for a token
	count                                   asm.U32 // shared [E]: histogram of the block
	pitch                                   int
}

func (r *routerKernel) buffers() {
	if r.Logits {
		r.given = r.buffer("logits", r.DType, Read)
	} else {
		r.x = r.buffer("x", r.DType, Read)
		r.sel = r.buffer("sel", r.DType, Read)
	}
	if r.SelBias {
		r.selBias = r.buffer("sel_bias", r.DType, Read)
	}
	if r.Ranks {
		r.ranks = r.buffer("ranks", tensor.F32, Read)
	}
	r.ids = r.buffer("ids", tensor.I32, Write)
	r.gates = r.buffer("gates", tensor.F32, Write)
	if r.ByThreshold {
		r.counts = r.buffer("counts", tensor.I32, Write)
		r.y = r.buffer("y", r.DType, Write)
		if r.OBias {
			r.oBias = r.buffer("o_bias", r.DType, Read)
		}
		if r.Base {
			r.base = r.buffer("base", r.DType, Read)
		}
	}
	r.hist = r.buffer("histogram", tensor.I32, ReadWrite)
	r.offs = r.buffer("offsets", tensor.I32, Write)
	r.tiles = r.buffer("tiles", tensor.I32, Write)
	r.ntiles = r.buffer("ntiles", tensor.I32, Write)
	r.doneAt = r.buffer("done", tensor.I32, ReadWrite)
	r.tokens = r.dim(r.Tokens)
}

func (r *routerKernel) write() {
	t := r.tile
	r.first = r.BlockX().MulI(t.M).As("first_token")
	smem := r.DynamicShared()
	warps := t.threads() / asm.WarpSize
	r.pitch = roundUp(r.E, t.N) + 1 // odd: lanes that hold neighbouring tokens meet different banks
	r.logits = smem
	logitBytes := roundUp(t.M*r.pitch*4, 16)
	r.list = smem.AddI(logitBytes)
	listBytes := roundUp(warps*r.slots()*4, 16)
	r.count = r.list.AddI(listBytes)
	countBytes := roundUp((2*r.E+1)*4, 16)
	stages := r.count.AddI(countBytes)
	r.k.DynamicShared = logitBytes + listBytes + countBytes
	r.Lane()
	r.Warp()

	r.Comment("clear the block's histogram")
	r.For("e", r.Tid(), r.Const(r.E), t.threads(), func(e asm.U32) {
		r.count.Add(e.MulI(4)).StsU32(0, r.Const(0))
	})
	if r.Logits {
		r.loadLogits()
	} else {
		r.k.DynamicShared += r.product(stages)
	}
	r.Barrier()
	r.Comment("each warp ranks tokens of the block")
	r.For("token", r.Warp(), r.Const(t.M), warps, func(row asm.U32) {
		token := r.first.Add(row).As("token_id")
		r.If(token.Lt(r.tokens), func() {
			r.storePairs(token)
			if r.Ranks {
				r.rankOf = func(e asm.U32) asm.F32 { return r.ranks.AtMul(token, r.Const(r.E), 4).At(e, 4).LdF32(0) }
			}
			at := row.MulI(r.pitch).MadI(4, r.logits).As("row_logits")
			list := r.list.Add(r.Warp().MulI(r.slots() * 4)).As("chosen")
			r.rank(at, list)
			r.SyncWarp() // before the list is used for the next token
		})
	})
	r.Barrier()
	r.Comment("publish the block's histogram")
	r.For("e", r.Tid(), r.Const(r.E), t.threads(), func(e asm.U32) {
		r.hist.AtMul(r.BlockX(), r.Const(r.E), 4).At(e, 4).StU32(0, r.count.Add(e.MulI(4)).LdsU32(0))
	})
	r.Barrier()
	flag := r.count.AddI(2 * r.E * 4)
	r.If(r.Tid().EqI(0), func() { flag.StsU32(0, r.doneAt.AtomicAdd(0, r.Const(1))) })
	r.Barrier()
	last := flag.LdsU32(0).Eq(r.GridX().AddI(-1)).As("last_block")
	r.If(last, r.scan)
}

// loadLogits copies the block's given logits to shared memory.
func (r *routerKernel) loadLogits() {
	r.For("i", r.Tid(), r.Const(r.tile.M*r.E), r.tile.threads(), func(i asm.U32) {
		row, e := i.DivRem(r.Const(r.E))
		token := r.first.Add(row)
		r.If(token.Lt(r.tokens), func() {
			v := loadF(r.given.AtMul(token, r.Const(r.E), r.DType.Size()).At(e, r.DType.Size()), r.DType, 0)
			if r.SelBias {
				v = v.Add(loadF(r.selBias.At(e, r.DType.Size()), r.DType, 0))
			}
			row.MadI(r.pitch, e).MadI(4, r.logits).StsF32(0, v)
		})
	})
}

// product writes the logits of the block's tokens to shared memory, 128 experts at a time, and returns the
// shared memory of its stages.
func (r *routerKernel) product(stages asm.U32) int {
	t, es := r.tile, r.DType.Size()
	wide := 16 / es
	a := &operand{
		b: r.builder, es: es, xTile: t.M, kTile: t.K, kMinor: true, pitch: t.K + wide, along: true,
		vec: vecFor(N(r.D), es), checkX: !r.Tokens.DivisibleBy(t.M), checkK: r.D%t.K != 0, kLimit: r.Const(r.D),
	}
	a.prepare(source{base: r.x, x0: r.first, xLimit: r.tokens, xStride: r.Const(r.D), kStride: r.Const(1)})
	c := newCore(r.builder, r.Math, r.DType, t)
	stage := 0
	for col := 0; col < r.E; col += t.N {
		r.Comment("logits of experts %d to %d", col, min(col+t.N, r.E)-1)
		if col > 0 {
			r.Barrier() // the stages are reused
		}
		bOp := r.weightTile(r.DType, r.sel, r.Const(col), r.D, r.E, t.N, t.K)
		stage = a.bytes() + bOp.bytes()
		c.zero()
		r.pipeline("d", r.Const((r.D+t.K-1)/t.K), stages, t.Stages, stage,
			func(kc, to asm.U32) {
				a.issue(kc.MulI(t.K), to)
				bOp.issue(kc.MulI(t.K), to.AddI(a.bytes()))
			},
			func(_, from asm.U32) { c.multiply(from, from.AddI(a.bytes()), a.pitch, bOp) })
		c.columns(func(off, width int, each func(func(int, []asm.F32))) {
			for q := range width {
				e := c.col0.AddI(col + off + q)
				r.If(e.LtI(r.E), func() {
					bias := r.ConstF(0)
					if r.SelBias {
						bias = loadF(r.selBias.At(e, es), r.DType, 0)
					}
					each(func(row int, v []asm.F32) {
						x := v[q]
						if r.SelBias {
							x = x.Add(bias)
						}
						c.row0.AddI(row).MadI(r.pitch, e).MadI(4, r.logits).StsF32(0, x)
					})
				})
			}
		})
	}
	return stage * t.Stages
}

// weightTile plans the copies of a packed k x n weight (see packMatrix) from column col on.
func (b *builder) weightTile(dt dtype, base asm.U64, col asm.U32, k, n, tileN, tileK int) loader {
	if dt.Size() == 2 {
		return newFragmentLoader(b, base, col, tileN, tileK, roundUp(k, packPadK))
	}
	o := &operand{b: b, es: 4, xTile: tileN, kTile: tileK, pitch: tileN + 8, vec: 4}
	o.prepare(source{base: base, x0: col, xStride: b.Const(1), kStride: b.Const(roundUp(n, packPadN))})
	return o
}

// rank chooses and weighs, by one warp, the experts of the token whose logits lie at at in shared memory; list
// is room for the chosen ones. Lane i holds the logits of experts i, i+32, ...
func (r *routerKernel) rank(at, list asm.U32) {
	lane := r.Lane()
	n := (r.E + asm.WarpSize - 1) / asm.WarpSize
	keys := make([]asm.U32, n)
	top := r.ConstF(lowest).Var("top_logit")
	logit := make([]asm.F32, n)
	needSum := r.Gate == GateSoftmaxBefore || r.Gate == GateNoisyTopK
	for j := range n {
		e := lane.AddI(j * asm.WarpSize)
		key := r.Const(0).Var("")
		l := r.ConstF(lowest).Var("")
		r.If(e.LtI(r.E), func() {
			l.Set(at.Add(e.MulI(4)).LdsF32(0))
			if r.rankOf != nil {
				key.Set(rankKey(r.rankOf(e)))
			} else {
				key.Set(rankKey(l))
			}
		})
		keys[j], logit[j] = key, l
		if needSum {
			top.MaxTo(l)
		}
	}
	var z asm.F32 // log of the sum of exponentials over all experts
	if needSum {
		most := top.WarpMax(asm.WarpSize)
		sum := r.ConstF(0).Var("")
		for j := range n {
			r.If(lane.AddI(j*asm.WarpSize).LtI(r.E), func() { sum.AddTo(expF(logit[j].Sub(most), r.Func)) })
		}
		z = most.Add(logF(sum.WarpSum(asm.WarpSize))).As("log_sum")
	}
	r.Comment("choose the best experts, one per round; equal keys go to the lower index")
	ids := make([]asm.U32, n)
	for j := range ids {
		ids[j] = lane.AddI(j * asm.WarpSize)
	}
	r.best(keys, ids, r.slots(), func(k, winner, _ asm.U32) {
		r.If(lane.EqI(0), func() { list.Add(k.MulI(4)).StsU32(0, winner) })
	})
	r.SyncWarp()
	r.weigh(at, list, z)
}

// weigh computes the gates of the chosen experts, lane by slot.
func (r *routerKernel) weigh(at, list asm.U32, z asm.F32) {
	type pair struct {
		slot, e asm.U32
		on      asm.Pred
		l       asm.F32
	}
	var pairs []pair
	count := r.Const(0)
	for first := 0; first < r.slots(); first += asm.WarpSize {
		slot := r.Lane().AddI(first)
		have := slot.LtI(r.slots())
		if first+asm.WarpSize <= r.slots() {
			have = r.Bool(true)
		}
		e, l := r.Const(0).Var(""), r.ConstF(0).Var("")
		r.If(have, func() {
			e.Set(list.Add(slot.MulI(4)).LdsU32(0))
			l.Set(at.Add(e.MulI(4)).LdsF32(0))
		})
		on := have
		if r.ByThreshold {
			on = have.And(r.score(l, z).Ge(r.ConstF(r.Threshold)).Or(slot.LtI(r.MinK)))
			count = count.Add(on.Ballot().Popc())
		}
		pairs = append(pairs, pair{slot, e, on, l})
	}
	var norm, shift asm.F32
	switch r.Gate {
	case GateSoftmaxAfter, GateNoisyTopK:
		shift = z
		if r.Gate == GateSoftmaxAfter {
			shift = pairs[0].l.ShflFrom(r.Const(0)) // the best comes first
		}
		sum := r.ConstF(0).Var("")
		for _, p := range pairs {
			r.If(p.on, func() { sum.AddTo(expF(p.l.Sub(shift), r.Func)) })
		}
		norm = sum.WarpSum(asm.WarpSize)
		if r.Gate == GateNoisyTopK {
			norm = norm.AddC(r.GateEps)
		}
	}
	for _, p := range pairs {
		var g asm.F32
		switch r.Gate {
		case GateSigmoid, GateSoftmaxBefore:
			g = r.score(p.l, z)
		case GateOne:
			g = r.ConstF(1)
		default:
			g = expF(p.l.Sub(shift), r.Func).Div(norm)
		}
		r.If(p.slot.LtI(r.slots()), func() { r.emit(p.slot, p.e, p.on.SelF32(g, r.ConstF(0)), p.on) })
	}
	if r.ByThreshold {
		r.counted(count)
	}
}

// storePairs makes emit and counted write one token's outcome to global memory and count its experts.
func (r *routerKernel) storePairs(token asm.U32) {
	r.emit = func(slot, e asm.U32, gate asm.F32, on asm.Pred) {
		to := token.MadI(r.slots(), slot)
		r.gates.At(to, 4).StF32(0, gate)
		r.ids.At(to, 4).StU32(0, on.SelU32(e, r.Const(r.E)))
		r.If(on, func() { r.count.Add(e.MulI(4)).AtomicAddS(0, r.Const(1)) })
	}
	r.counted = func(n asm.U32) {
		r.If(r.Lane().EqI(0), func() { r.counts.At(token, 4).StU32(0, n) })
		if r.MinK > 0 {
			return
		}
		r.Comment("a token without experts is finished here")
		r.If(n.EqI(0), func() {
			es := r.DType.Size()
			r.For("col", r.Lane(), r.Const(r.Dv), asm.WarpSize, func(col asm.U32) {
				v := r.ConstF(0)
				if r.OBias {
					v = v.Add(loadF(r.oBias.At(col, es), r.DType, 0))
				}
				if r.Base {
					v = v.Add(loadF(r.base.AtMul(token, r.Const(r.Dv), es).At(col, es), r.DType, 0))
				}
				storeF(r.Func, r.y.AtMul(token, r.Const(r.Dv), es).At(col, es), r.DType, 0, v)
			})
		})
	}
}

// score is what a threshold compares and, for some gates, the gate.
func (r *routerKernel) score(l, z asm.F32) asm.F32 {
	switch r.Gate {
	case GateSigmoid:
		return sigmoidF(l, r.Func)
	case GateSoftmaxBefore:
		return expF(l.Sub(z), r.Func)
	}
	return l
}

// scan runs in the last block: from all histograms to the place of every expert's pairs and the tile list.
func (r *routerKernel) scan() {
	threads := r.tile.threads()
	starts := r.count.AddI(r.E * 4) // shared [E]: first tile of the expert
	r.Comment("per expert: each block's count becomes the number of pairs in earlier blocks")
	blocks := r.GridX()
	const batch = 8 // independent loads in flight
	r.For("e", r.Tid(), r.Const(r.E), threads, func(e asm.U32) {
		running := r.Const(0).Var("running")
		column := r.hist.At(e, 4)
		r.For("block", r.Const(0), blocks, batch, func(blk asm.U32) {
			var v [batch]asm.U32
			var p [batch]asm.U64
			for i := range batch {
				v[i] = r.Const(0).Var("")
				p[i] = column.AtMul(blk.AddI(i), r.Const(r.E), 4)
				r.Guard(blk.AddI(i).Lt(blocks), func() { p[i].LdU32To(v[i], 0) })
			}
			for i := range batch {
				r.Guard(blk.AddI(i).Lt(blocks), func() { p[i].StU32(0, running) })
				running.Set(running.Add(v[i]))
			}
		})
		r.count.Add(e.MulI(4)).StsU32(0, running)
	})
	r.Barrier()
	r.Comment("prefix sums over experts: pairs and tiles")
	r.If(r.Warp().EqI(0), func() {
		pairs, tiles := r.Const(0), r.Const(0)
		for first := 0; first < r.E; first += asm.WarpSize {
			e := r.Lane().AddI(first)
			n := r.Const(0).Var("")
			r.If(e.LtI(r.E), func() { n.Set(r.count.Add(e.MulI(4)).LdsU32(0)) })
			nt := n.CeilDivI(r.TileRows)
			sumN, sumT := n, nt
			for d := 1; d < asm.WarpSize; d *= 2 {
				up, ok := sumN.ShflUp(d)
				upT, _ := sumT.ShflUp(d)
				sumN = ok.SelU32(sumN.Add(up), sumN)
				sumT = ok.SelU32(sumT.Add(upT), sumT)
			}
			start := pairs.Add(sumN.Sub(n))
			tileStart := tiles.Add(sumT.Sub(nt))
			r.If(e.LtI(r.E), func() {
				r.offs.At(e, 4).StU32(0, start)
				starts.Add(e.MulI(4)).StsU32(0, tileStart)
				r.Comment("tiles of the expert: {expert, first row, rows, 0}")
				r.For("tile", r.Const(0), nt, 1, func(i asm.U32) {
					row := i.MulI(r.TileRows)
					r.tiles.At(tileStart.Add(i), 16).StU32x4(0, [4]asm.U32{e, start.Add(row), n.Sub(row).Min(r.Const(r.TileRows)), r.Const(0)})
				})
			})
			last := r.Const(asm.WarpSize - 1)
			pairs, tiles = pairs.Add(sumN.ShflFrom(last)), tiles.Add(sumT.ShflFrom(last))
		}
		r.If(r.Lane().EqI(0), func() {
			r.ntiles.StU32(0, tiles)
			r.doneAt.StU32(0, r.Const(0)) // ready for the next run
		})
	})
}

// scatter writes the second launch: pairs sorted by expert, in token order within an expert. One warp per
// block of the router places that block's pairs, 32 at a time.
func (s *MoE) scatter() *Kernel {
	b := newKernel("moe_scatter", asm.WarpSize)
	b.doc("stable scatter of %d pairs per token by expert", s.slots())
	b.k.Grid = [3]Expr{s.Tokens.CeilDiv(s.RouterRows), N(1), N(1)}
	b.k.Cost = Cost{Bytes: s.Tokens.MulN(8 * s.slots())}
	b.k.Limits = Limits{Registers: 40}
	ids, hist := b.buffer("ids", tensor.I32, Read), b.buffer("histogram", tensor.I32, Read)
	offs, perm := b.buffer("offsets", tensor.I32, Read), b.buffer("perm", tensor.I32, Write)
	pairs := b.dim(s.Tokens.MulN(s.slots()))
	next := b.Shared("next", 4, (s.E+1)*4)
	lane := b.Lane()
	below := b.LaneMaskLt()
	b.Comment("where each expert's next pair goes")
	b.For("e", lane, b.Const(s.E), asm.WarpSize, func(e asm.U32) {
		before := hist.AtMul(b.BlockX(), b.Const(s.E), 4).At(e, 4).LdU32(0)
		next.Add(e.MulI(4)).StsU32(0, before.Add(offs.At(e, 4).LdU32(0)))
	})
	b.SyncWarp()
	first := b.BlockX().MulI(s.RouterRows * s.slots())
	b.For("i", b.Const(0), b.Const(s.RouterRows*s.slots()), asm.WarpSize, func(i asm.U32) {
		local := i.Add(lane)
		pair := first.Add(local)
		e := b.Const(s.E).Var("expert")
		b.Guard(local.LtI(s.RouterRows*s.slots()).And(pair.Lt(pairs)), func() { ids.At(pair, 4).LdU32To(e, 0) })
		same := e.Match()
		rank := same.And(below).Popc()
		chosen := e.LtI(s.E)
		at := b.Const(0).Var("at")
		b.If(chosen, func() {
			at.Set(next.Add(e.MulI(4)).LdsU32(0))
			perm.At(at.Add(rank), 4).StU32(0, pair)
		})
		b.SyncWarp()
		b.If(chosen.And(rank.EqI(0)), func() { next.Add(e.MulI(4)).StsU32(0, at.Add(same.Popc())) })
		b.SyncWarp()
	})
	return b.done()
}
