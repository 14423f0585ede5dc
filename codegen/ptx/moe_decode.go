package ptx

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// decodeUnits is the number of hidden units per block at decode: one per warp.
const decodeUnits = 8

// vecElems is the number of elements in 16 bytes.
func vecElems(dt dtype) int { return 16 / dt.Size() }

// neuronRow is the length of a packed hidden unit: its row of w1 (and of up) and its row of w2, each padded
// to 16 bytes.
func (s *MoE) neuronRow() (in, out, all int) {
	in, out = roundUp(s.D, vecElems(s.DType)), roundUp(s.Dv, vecElems(s.DType))
	return in, out, in*s.parts() + out
}

// packNeurons lays out w1 [E, D, G], up [E, D, G] for gated experts, and w2 [E, G, Dv], one after the other
// in the source, as one contiguous row per hidden unit.
func (s *MoE) packNeurons() *Pack {
	in, out, all := s.neuronRow()
	first := s.E * s.D * s.G
	p := &Pack{
		Layout: fmt.Sprintf("per hidden unit: w1 row of %d (x%d), w2 row of %d", in, s.parts(), out),
		Elems:  s.E * s.G * all, DType: s.DType, source: first*s.parts() + s.E*s.G*s.Dv,
	}
	p.order = func(i int) int {
		unit, at := i/all, i%all
		e, j := unit/s.G, unit%s.G
		if at >= in*s.parts() {
			if at -= in * s.parts(); at >= s.Dv {
				return -1
			}
			return first*s.parts() + unit*s.Dv + at
		}
		part, d := at/in, at%in
		if d >= s.D {
			return -1
		}
		return part*first + (e*s.D+d)*s.G + j
	}
	return p
}

// Decode runs the mixture in one launch, for few tokens: blocks share out the hidden units of the chosen
// experts. Each block ranks the experts of its token itself (the selector is small and in L2), takes its
// units' activations and adds their rows of w2; the last block of a token adds the partial outputs in
// block order. Only the chosen experts' weights are read.
func (s MoE) Decode() (*Op, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	if s.Ranks {
		return nil, fmt.Errorf("ptx: moe: given ranks belong to training, which decodes nothing")
	}
	units := s.slots() * s.G
	blocks := (units + decodeUnits - 1) / decodeUnits
	b := newKernel("moe_decode", decodeUnits*asm.WarpSize)
	b.doc("decode: %d units of %d chosen experts, %d per block", units, s.slots(), decodeUnits)
	b.k.Grid = [3]Expr{N(blocks), s.Tokens, N(1)}
	_, _, row := s.neuronRow()
	es := s.DType.Size()
	b.k.Cost = Cost{
		FLOPs: s.Tokens.MulN(2*units*row + 2*s.D*s.E),
		Bytes: s.Tokens.MulN(units*row*es + (s.D+s.Dv)*es).AddN(s.D * s.E * es),
	}
	b.k.Limits = Limits{Registers: 128}
	d := &decodeKernel{
		expertKernel: &expertKernel{builder: b, MoE: &s},
		router:       &routerKernel{builder: b, MoE: &s},
		units:        units, blocks: blocks,
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
	p := s.packNeurons()
	add("neurons", Weight, s.DType, N(p.Elems), p)
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
	router        *routerKernel
	units, blocks int
	token         asm.U32
	xAt           asm.U32 // shared: the token's row in f32, padded with zeros
	idAt, gAt     asm.U32 // shared [slots]: experts and gates
	hAt           asm.U32 // shared [decodeUnits]
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
	neurons := d.buffer("neurons", d.DType, Read)
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

	in, _, _ := d.neuronRow()
	logitAt := roundUp(in*4, 16)
	listAt := logitAt + roundUp(d.E*4, 16)
	idAt := listAt + roundUp(d.slots()*4, 16)
	gAt := idAt + roundUp(d.slots()*4, 16)
	hAt := gAt + roundUp(d.slots()*4, 16)
	flagAt := hAt + decodeUnits*4
	d.k.DynamicShared = flagAt + 16
	smem := d.DynamicShared()
	d.xAt, d.idAt, d.gAt, d.hAt = smem, smem.AddI(idAt), smem.AddI(gAt), smem.AddI(hAt)
	logits, list := smem.AddI(logitAt), smem.AddI(listAt)

	d.Comment("the token's row, widened and padded")
	d.For("i", d.Tid(), d.Const(in), d.Threads(), func(i asm.U32) {
		v := d.ConstF(0).Var("")
		d.If(i.LtI(d.D), func() { v.Set(loadF(d.x.AtMul(d.token, d.Const(d.D), es).At(i, es), d.DType, 0)) })
		d.xAt.Add(i.MulI(4)).StsF32(0, v)
	})
	d.Barrier()
	d.Comment("logits, one expert per warp at a time")
	d.For("e", d.Warp(), d.Const(d.E), decodeUnits, func(e asm.U32) {
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

	d.Comment("each warp: one hidden unit")
	unit := d.BlockX().MulI(decodeUnits).Add(d.Warp()).As("unit")
	h := d.ConstF(0).Var("hidden")
	d.If(unit.LtI(d.units), func() {
		slot, j := unit.DivRem(d.Const(d.G))
		gate := d.gAt.Add(slot.MulI(4)).LdsF32(0)
		d.If(gate.Eq(d.ConstF(0)).Not(), func() {
			d.expert = d.idAt.Add(slot.MulI(4)).LdsU32(0)
			row := d.neuron(neurons, unit)
			u := d.dot(row, in)
			var up asm.F32
			if d.Gated {
				up = d.dot(row.AddI(in*es), in)
			}
			d.part = d.Const(0) // j counts from the expert's first unit
			h.Set(d.activate(u, up, j).Mul(gate))
		})
	})
	d.If(d.Lane().EqI(0), func() { d.hAt.Add(d.Warp().MulI(4)).StsF32(0, h) })
	d.Barrier()
	d.Comment("partial output of the block's units")
	outAt := in * d.parts()
	d.For("col", d.Tid(), d.Const(d.Dv), d.Threads(), func(col asm.U32) {
		acc := d.ConstF(0).Var("acc")
		d.For("u", d.Const(0), d.Const(decodeUnits), 1, func(u asm.U32) {
			g := d.BlockX().MadI(decodeUnits, u)
			hv := d.hAt.Add(u.MulI(4)).LdsF32(0)
			d.If(g.LtI(d.units).And(hv.Eq(d.ConstF(0)).Not()), func() {
				acc.FmaTo(hv, loadF(d.neuron(neurons, g).AddI(outAt*es).At(col, es), d.DType, 0))
			})
		})
		block := d.token.MadI(d.blocks, d.BlockX())
		partial.AtMul(block, d.Const(d.Dv), 4).At(col, 4).StF32(0, acc)
	})
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

// neuron is the address of a chosen unit's packed row; units count over slots and hidden units.
func (d *decodeKernel) neuron(neurons asm.U64, unit asm.U32) asm.U64 {
	_, _, row := d.neuronRow()
	slot, j := unit.DivRem(d.Const(d.G))
	e := d.idAt.Add(slot.MulI(4)).LdsU32(0)
	return neurons.AtMul(e.MadI(d.G, j), d.Const(row), d.DType.Size())
}

// dot multiplies the token's row with n packed numbers, over the warp.
func (d *decodeKernel) dot(row asm.U64, n int) asm.F32 {
	v := vecElems(d.DType)
	acc := d.ConstF(0).Var("dot")
	d.For("i", d.Lane().MulI(v), d.Const(n), asm.WarpSize*v, func(i asm.U32) {
		at := d.xAt.Add(i.MulI(4))
		for q, w := range load16(row.At(i, d.DType.Size()), d.DType) {
			acc.FmaTo(w, at.LdsF32(q*4))
		}
	})
	return acc.WarpSum(asm.WarpSize)
}

// load16 reads 16 aligned bytes as floats.
func load16(at asm.U64, dt dtype) []asm.F32 {
	var out []asm.F32
	if dt == tensor.F32 {
		for _, v := range at.LdF32x4(0) {
			out = append(out, v)
		}
		return out
	}
	for _, w := range at.LdU32x4(0) {
		lo, hi := widenPair(w, dt)
		out = append(out, lo, hi)
	}
	return out
}
