package ptx

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// decodeUnits is the number of neighbouring hidden units of a chosen expert that a block computes at decode: a strip of
// columns of the packed first weight and a run of rows of the second. decodeWarps share out the depth of the first
// product and the columns of the second.
const (
	decodeUnits = 16
	decodeWarps = 8
)

// Decode runs the mixture in one launch, for few tokens: blocks share out the hidden units of the chosen
// experts. Each block ranks the experts of its token itself (the selector is small and in L2), takes its
// units' activations and adds their rows of w2; the last block of a token adds the partial outputs in
// block order. Only the chosen experts' weights are read, as they are packed for Prefill.
func (s MoE) Decode() (*Op, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	if s.Ranks {
		return nil, fmt.Errorf("ptx: moe: given ranks belong to training, which decodes nothing")
	}
	groups := (s.G + decodeUnits - 1) / decodeUnits
	blocks := s.slots() * groups
	b := newKernel("moe_decode", decodeWarps*asm.WarpSize)
	b.doc("decode: %d units of each of %d chosen experts, %d per block", s.G, s.slots(), decodeUnits)
	b.k.Grid = [3]Expr{N(blocks), s.Tokens, N(1)}
	es, row := s.DType.Size(), s.D*s.parts()+s.Dv
	b.k.Cost = Cost{
		FLOPs: s.Tokens.MulN(2*s.slots()*s.G*row + 2*s.D*s.E),
		Bytes: s.Tokens.MulN(s.slots()*s.G*row*es + (s.D+s.Dv)*es).AddN(s.D * s.E * es),
	}
	b.k.Limits = Limits{Registers: 128}
	d := &decodeKernel{
		expertKernel: &expertKernel{builder: b, MoE: &s},
		router:       &routerKernel{builder: b, MoE: &s},
		groups:       groups, blocks: blocks,
	}
	d.write()
	op := &Op{Name: "moe_decode"}
	add := func(name string, role Role, dt dtype, elems Expr, p *Pack) {
		op.Buffers = append(op.Buffers, Buffer{Name: name, Role: role, DType: dt, Elems: elems, Pack: p})
	}
	add("x", Input, s.DType, s.Tokens.MulN(s.D), nil)
	if s.Logits {
		add("logits", Input, s.DType, s.Tokens.MulN(s.E), nil)
	} else {
		add("sel", Weight, s.DType, N(s.E*s.D), nil)
	}
	w1, w2 := s.packW1(), s.packW2()
	add("w1", Weight, s.DType, N(w1.Elems), w1)
	add("w2", Weight, s.DType, N(w2.Elems), w2)
	for _, q := range s.params() {
		add(q.name, Weight, s.DType, N(q.elems), nil)
	}
	if s.Base {
		add("base", Input, s.DType, s.Tokens.MulN(s.Dv), nil)
	}
	op.Buffers = append(op.Buffers, s.Norm.buffers(s.Tokens, s.Dv, s.DType)...)
	add("partial", Scratch, tensor.F32, s.Tokens.MulN(blocks*s.Dv), nil)
	add("arrivals", State, tensor.I32, s.Tokens, nil)
	add("y", Output, s.DType, s.Tokens.MulN(s.Dv), nil)
	k := b.done()
	l := Launch{Kernel: k}
	for _, q := range k.Params {
		if !q.Scalar {
			l.Args = append(l.Args, q.Name)
		}
	}
	op.Launches = []Launch{l}
	return op, nil
}

type decodeKernel struct {
	*expertKernel
	router         *routerKernel
	groups, blocks int // blocks per slot, and per token
	token          asm.U32
	xAt            asm.U32  // shared: the token's row in f32, padded with zeros
	idAt, gAt      asm.U32  // shared [slots]: experts and gates
	sumsAt         asm.U32  // shared [decodeWarps][parts][decodeUnits]: the first product, in parts of its depth
	hAt            asm.U32  // shared [decodeUnits]
	unit           asm.U32  // the block's first hidden unit, in its expert
	block          asm.U32  // the packed block of weights that has it
	col            asm.U32  // the unit's column in that block
	used           asm.Pred // the slot is selected: the same in the whole block
}

func (d *decodeKernel) write() {
	es := d.DType.Size()
	optional := func(have bool, name string) asm.U64 {
		if have {
			return d.buffer(name, d.DType, Read)
		}
		return asm.U64{}
	}
	d.x = d.buffer("x", d.DType, Read)
	given, sel := optional(d.Logits, "logits"), optional(!d.Logits, "sel")
	d.w1, d.w2 = d.buffer("w1", d.DType, Read), d.buffer("w2", d.DType, Read)
	selBias := optional(d.SelBias, "sel_bias")
	d.bias, d.upBias = optional(d.Bias, "bias"), optional(d.UpBias, "up_bias")
	d.outBias, d.oBias, d.base = optional(d.OutBias, "out_bias"), optional(d.OBias, "o_bias"), optional(d.Base, "base")
	if d.Norm != nil {
		d.norm = d.normInputs(d.Norm)
	}
	partial := d.buffer("partial", tensor.F32, ReadWrite)
	arrivals := d.buffer("arrivals", tensor.I32, ReadWrite)
	d.outputs()
	d.token = d.BlockY()

	in := roundUp(d.D, packPadK)
	logitAt := roundUp(in*4, 16)
	listAt := logitAt + roundUp(d.E*4, 16)
	idAt := listAt + roundUp(d.slots()*4, 16)
	gAt := idAt + roundUp(d.slots()*4, 16)
	sumsAt := gAt + roundUp(d.slots()*4, 16)
	hAt := sumsAt + decodeWarps*d.parts()*decodeUnits*4
	flagAt := hAt + decodeUnits*4
	d.k.DynamicShared = flagAt + 16
	smem := d.DynamicShared()
	d.xAt, d.idAt, d.gAt, d.sumsAt, d.hAt = smem, smem.AddI(idAt), smem.AddI(gAt), smem.AddI(sumsAt), smem.AddI(hAt)
	logits, list := smem.AddI(logitAt), smem.AddI(listAt)

	d.Comment("the token's row, widened and padded")
	d.For("i", d.Tid(), d.Const(in), d.Threads(), func(i asm.U32) {
		v := d.ConstF(0).Var("")
		d.If(i.LtI(d.D), func() { v.Set(loadF(d.x.AtMul(d.token, d.Const(d.D), es).At(i, es), d.DType, 0)) })
		d.xAt.Add(i.MulI(4)).StsF32(0, v)
	})
	d.Barrier()
	d.Comment("logits, one expert per warp at a time")
	d.For("e", d.Warp(), d.Const(d.E), decodeWarps, func(e asm.U32) {
		var v asm.F32
		if d.Logits {
			v = loadF(given.AtMul(d.token, d.Const(d.E), es).At(e, es), d.DType, 0)
		} else {
			acc := d.ConstF(0).Var("dot")
			row := sel.AtMul(e, d.Const(d.D), es)
			d.For("i", d.Lane(), d.Const(d.D), asm.WarpSize, func(i asm.U32) {
				acc.FmaTo(loadF(row.At(i, es), d.DType, 0), d.xAt.Add(i.MulI(4)).LdsF32(0))
			})
			v = acc.WarpSum(asm.WarpSize)
		}
		if d.SelBias {
			v = v.Add(loadF(selBias.At(e, es), d.DType, 0))
		}
		d.If(d.Lane().EqI(0), func() { logits.Add(e.MulI(4)).StsF32(0, v) })
	})
	d.Barrier()
	d.Comment("the first warp ranks")
	d.router.emit = func(slot, e asm.U32, gate asm.F32, _ asm.Pred) {
		d.idAt.Add(slot.MulI(4)).StsU32(0, e)
		d.gAt.Add(slot.MulI(4)).StsF32(0, gate)
	}
	d.router.counted = func(asm.U32) {} // slots that are not selected have gate 0
	d.If(d.Warp().EqI(0), func() { d.router.rank(logits, list) })
	d.Barrier()

	d.Comment("this block's units: of a slot's expert")
	slot, group := d.BlockX().DivRem(d.Const(d.groups))
	gate := d.gAt.Add(slot.MulI(4)).LdsF32(0)
	d.used = gate.Eq(d.ConstF(0)).Not()
	d.expert = d.idAt.Add(slot.MulI(4)).LdsU32(0)
	d.unit = group.MulI(decodeUnits).As("first_unit")
	chunk, col := d.unit.DivRem(d.Const(d.chunk()))
	d.block, d.col = d.expert.MadI(d.chunks(), chunk).As("weight_block"), col.As("column")
	d.If(d.used, d.firstProduct)
	d.Barrier()
	d.Comment("hidden units, one per thread: the parts in order")
	d.If(d.Tid().LtI(decodeUnits), func() {
		h, j := d.ConstF(0).Var("hidden"), d.unit.Add(d.Tid())
		d.If(d.used.And(j.LtI(d.G)), func() {
			var sums [2]asm.F32
			for part := range d.parts() {
				sums[part] = d.ConstF(0)
				for w := range decodeWarps {
					sums[part] = sums[part].Add(d.sumsAt.Add(d.Tid().MulI(4)).LdsF32((w*d.parts() + part) * decodeUnits * 4))
				}
			}
			d.part = d.Const(0) // j counts from the expert's first unit
			h.Set(d.activate(sums[0], sums[1], j).Mul(gate))
		})
		d.hAt.Add(d.Tid().MulI(4)).StsF32(0, h)
	})
	d.Barrier()
	d.Comment("partial output of the block's units")
	to := partial.AtMul(d.token.MadI(d.blocks, d.BlockX()), d.Const(d.Dv), 4)
	if es == 4 {
		d.secondProduct(to)
	} else {
		d.secondProduct16(to)
	}
	d.Barrier()
	flag := smem.AddI(flagAt)
	d.If(d.Tid().EqI(0), func() {
		before := arrivals.At(d.token, 4).AtomicAdd(0, d.Const(1))
		flag.StsU32(0, before)
	})
	d.Barrier()
	d.Comment("the token's last block adds the partial outputs in block order")
	d.If(flag.LdsU32(0).EqI(d.blocks-1), func() {
		d.If(d.Tid().EqI(0), func() { arrivals.At(d.token, 4).StU32(0, d.Const(0)) })
		d.For("col", d.Tid(), d.Const(d.Dv), d.Threads(), func(col asm.U32) {
			sum := d.ConstF(0).Var("sum")
			d.For("block", d.Const(0), d.Const(d.blocks), 1, func(blk asm.U32) {
				sum.AddTo(partial.AtMul(d.token.MadI(d.blocks, blk), d.Const(d.Dv), 4).At(col, 4).LdF32(0))
			})
			if d.OutBias {
				d.For("slot", d.Const(0), d.Const(d.slots()), 1, func(slot asm.U32) {
					e, gate := d.idAt.Add(slot.MulI(4)).LdsU32(0), d.gAt.Add(slot.MulI(4)).LdsF32(0)
					sum.FmaTo(loadF(d.outBias.AtMul(e, d.Const(d.Dv), es).At(col, es), d.DType, 0), gate)
				})
			}
			d.finish([]asm.F32{sum}, d.token, col)
		})
		if d.Norm != nil {
			d.Barrier() // the row is finished
			d.If(d.Warp().EqI(0), func() {
				d.normalise(d.Norm, d.Dv, d.DType, d.y, d.norm, []asm.U32{d.token}, []asm.Pred{d.Bool(true)})
			})
		}
	})
}

// decodeBatch is the number of loads of weights that a thread has under way at a time: a decode waits for memory and
// has few warps to wait for each other.
const decodeBatch = 4

// firstProduct leaves the token's products with the block's columns in sumsAt, one part per warp.
func (d *decodeKernel) firstProduct() {
	dp, cols := roundUp(d.D, packPadK), d.chunk()*d.parts()
	mine := d.sumsAt.Add(d.Warp().MulI(d.parts() * decodeUnits * 4))
	if d.DType == tensor.F32 {
		d.Comment("8 lanes down, 4 across, each 4 columns of a row-major block")
		down, across := d.Lane().AndI(7), d.Lane().ShrI(3).MulI(4)
		base := d.w1.AtMul(d.block, d.Const(dp*cols), 4).At(d.col.Add(across), 4)
		var acc [2][4]asm.F32
		for part := range d.parts() {
			for q := range acc[part] {
				acc[part][q] = d.ConstF(0).Var("dot")
			}
		}
		d.batches(d.Warp().MulI(8).Add(down), d.D, decodeWarps*8, decodeBatch, func(is []asm.U32) {
			var w [decodeBatch][2][4]asm.F32
			for u, i := range is {
				for part := range d.parts() {
					w[u][part] = base.At(i, cols*4).LdF32x4(part * d.chunk() * 4)
				}
			}
			for u, i := range is {
				x := d.xAt.Add(i.MulI(4)).LdsF32(0)
				for part := range d.parts() {
					for q := range acc[part] {
						acc[part][q].FmaTo(w[u][part][q], x)
					}
				}
			}
		})
		for part := range d.parts() {
			for q, a := range acc[part] {
				sum := a.WarpSum(8)
				d.If(down.EqI(0), func() { mine.Add(across.MulI(4)).StsF32((part*decodeUnits+q)*4, sum) })
			}
		}
		return
	}
	d.Comment("a fragment per 16 terms: a lane has 4 terms of 2 columns")
	g, t := d.Lane().ShrI(2), d.Lane().AndI(3)
	strip := dp / 16 * 512 // bytes of 16 columns
	base := d.w1.AtMul(d.block, d.Const(dp*cols*2), 1).At(d.col.ShrI(4), strip).At(d.Lane(), 16)
	var acc [2][2]asm.F32
	for part := range d.parts() {
		acc[part] = [2]asm.F32{d.ConstF(0).Var("dot"), d.ConstF(0).Var("dot")}
	}
	d.batches(d.Warp(), dp/16, decodeWarps, decodeBatch, func(ks []asm.U32) {
		var w [decodeBatch][2][4]asm.U32
		for u, k := range ks {
			for part := range d.parts() {
				w[u][part] = base.At(k, 512).AddI(part * d.chunk() / 16 * strip).LdU32x4(0)
			}
		}
		for u, k := range ks {
			x := d.xAt.Add(k.MulI(64)).Add(t.MulI(8))
			var xs [4]asm.F32
			for e, off := range fragmentTerms {
				xs[e] = x.LdsF32(off * 4)
			}
			for part := range d.parts() {
				for e, v := range widen8(w[u][part], d.DType) {
					acc[part][e/4].FmaTo(v, xs[e%4])
				}
			}
		}
	})
	for part := range d.parts() {
		for half, a := range acc[part] {
			sum := a.WarpSum(4)
			d.If(t.EqI(0), func() { mine.Add(g.MulI(4)).StsF32((part*decodeUnits+half*8)*4, sum) })
		}
	}
}

// fragmentTerms are the terms that a lane holds of a column of a fragment, from twice its number within its four.
var fragmentTerms = [4]int{0, 1, 8, 9}

// secondProduct writes the sum over the block's units of hidden unit times row of w2.
func (d *decodeKernel) secondProduct(to asm.U64) {
	dvp := roundUp(d.Dv, packPadN)
	base := d.w2.AtMul(d.block, d.Const(d.chunk()*dvp), 4).At(d.col, dvp*4)
	d.For("col", d.Tid(), d.Const(d.Dv), d.Threads(), func(col asm.U32) {
		acc := d.ConstF(0).Var("acc")
		d.If(d.used, func() {
			var w [decodeUnits]asm.F32
			for u := range w {
				w[u] = base.At(col, 4).LdF32(u * dvp * 4)
			}
			for u := range w {
				acc.FmaTo(d.hAt.LdsF32(u*4), w[u])
			}
		})
		to.At(col, 4).StF32(0, acc)
	})
}

// secondProduct16 does it from fragments: a warp takes 16 columns at a time, a lane has 4 units of 2 of them.
func (d *decodeKernel) secondProduct16(to asm.U64) {
	dvp := roundUp(d.Dv, packPadN)
	g, t := d.Lane().ShrI(2), d.Lane().AndI(3)
	strip := d.chunk() / 16 * 512
	base := d.w2.AtMul(d.block, d.Const(d.chunk()*dvp*2), 1).At(d.col.ShrI(4), 512).At(d.Lane(), 16)
	var h [4]asm.F32
	for e, off := range fragmentTerms {
		h[e] = d.hAt.Add(t.MulI(8)).LdsF32(off * 4)
	}
	d.batches(d.Warp(), (d.Dv+15)/16, decodeWarps, decodeBatch, func(ns []asm.U32) {
		acc := make([][2]asm.F32, len(ns))
		for u := range ns {
			acc[u] = [2]asm.F32{d.ConstF(0).Var("acc"), d.ConstF(0).Var("acc")}
		}
		d.If(d.used, func() {
			var w [decodeBatch][4]asm.U32
			for u, n := range ns {
				w[u] = base.At(n, strip).LdU32x4(0)
			}
			for u := range ns {
				for e, v := range widen8(w[u], d.DType) {
					acc[u][e/4].FmaTo(v, h[e%4])
				}
			}
		})
		for u, n := range ns {
			for half, a := range acc[u] {
				sum, col := a.WarpSum(4), n.MulI(16).Add(g).AddI(half*8)
				d.If(t.EqI(half).And(col.LtI(d.Dv)), func() { to.At(col, 4).StF32(0, sum) })
			}
		}
	})
}

// batches visits first, first+step, ... below end, with first below step, up to n at a time: the body issues its loads
// before it uses what they bring.
func (b *builder) batches(first asm.U32, end, step, n int, body func(is []asm.U32)) {
	full := end / step // for every thread
	at := func(from asm.U32, count int) []asm.U32 {
		is := make([]asm.U32, count)
		for u := range is {
			is[u] = from.AddI(u * step)
		}
		return is
	}
	if full >= n {
		b.For("i", first, b.Const(full/n*n*step), n*step, func(i asm.U32) { body(at(i, n)) })
	}
	if rest := full % n; rest > 0 {
		body(at(first.AddI((full-rest)*step), rest))
	}
	if end%step != 0 {
		i := first.AddI(full * step)
		b.If(i.LtI(end), func() { body([]asm.U32{i}) })
	}
}

// widen8 is the numbers in 16 bytes of a 16-bit format.
func widen8(words [4]asm.U32, dt dtype) []asm.F32 {
	var out []asm.F32
	for _, w := range words {
		lo, hi := widenPair(w, dt)
		out = append(out, lo, hi)
	}
	return out
}
