package emu

import (
	"strconv"
	"strings"

	"github.com/seed-c851cfd2/moec/cuda/emu/internal/fp"
	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

// A warp group is four warps that multiply a matrix A of 64 rows with a
// matrix B in shared memory. Each warp makes 16 rows of the product, and
// needs nothing of the others. The multiplication is asynchronous: it is
// carried out when its group is waited for, and until then its destination
// has no value, so that a missing wait shows.

// wgmmaPlan is a decoded wgmma.mma_async.
type wgmmaPlan struct {
	frag     mmaPlan // one warp's fragments: those of an m16n8 mma
	n        int
	d        []slot
	a        []slot // A in registers, or
	descA    slot   // in shared memory
	descB    slot
	scaleD   slot // predicate or constant: zero ignores D
	negate   bool // of an odd number of factors
	transA   bool
	transB   bool
	elemSize int
}

// wgmmaOp is a multiplication under way.
type wgmmaOp struct {
	p          *wgmmaPlan
	in         *instr
	group      int
	descA      uint64
	descB      uint64
	accumulate bool
	a          []lanes32 // registers of A at the start
	aDef       []uint32
}

// wgmmaState is a warp's multiplications and groups.
type wgmmaState struct {
	ops       []wgmmaOp
	committed int
	flying    map[int32]int    // multiplications under way that write a register
	def       map[int32]uint32 // its definedness as they leave it
}

func (c *compiler) opWgmma(in *syntax.Instr) {
	c.whole()
	switch c.mod(1) {
	case "fence":
		c.out.op = Other
		c.opHint(in)
	case "commit_group":
		c.out.op = Other
		c.out.run = func(w *warp, _ uint32) { w.wg.committed++ }
	case "wait_group":
		c.out.op = Async
		if len(in.Args) != 1 || c.arg(0).Kind != syntax.KInt {
			c.fail("the number of groups must be an immediate")
		}
		n := int(c.arg(0).Imm)
		c.out.run = func(w *warp, _ uint32) { w.completeWgmma(n) }
	case "mma_async":
		c.wgmma(in)
	default:
		c.fail("unknown wgmma instruction")
	}
}

func (c *compiler) wgmma(in *syntax.Instr) {
	p := &wgmmaPlan{}
	k := 0
	for _, m := range in.Mods {
		if rest, ok := strings.CutPrefix(m, "m64n"); ok {
			ns, ks, _ := strings.Cut(rest, "k")
			p.n, _ = strconv.Atoi(ns)
			k, _ = strconv.Atoi(ks)
		}
	}
	f := &p.frag
	f.dt, f.at, f.bt = c.typ(2), c.typ(1), c.typ(0)
	f.ct = f.dt
	f.tile = tile{16, 8, k}
	p.elemSize = f.at.Size()
	f.per = 4 / p.elemSize
	ok := p.n >= 8 && p.n <= 256 && p.n%8 == 0 && k*p.elemSize == 32
	switch f.at {
	case syntax.F16, syntax.BF16:
		ok = ok && f.bt == f.at && (f.dt == syntax.F32 || f.dt == syntax.F16 && f.at == syntax.F16)
	case syntax.TF32:
		ok = ok && f.bt == f.at && f.dt == syntax.F32
	case syntax.E4M3, syntax.E5M2:
		ok = ok && (f.bt == syntax.E4M3 || f.bt == syntax.E5M2) && (f.dt == syntax.F32 || f.dt == syntax.F16)
	case syntax.S8, syntax.U8:
		f.sat = in.Has("satfinite")
		ok = ok && (f.bt == syntax.S8 || f.bt == syntax.U8) && f.dt == syntax.S32
	default:
		ok = false
	}
	if !ok || in.Has("sp") {
		c.fail("this combination of wgmma shape and types is not supported")
	}
	if len(in.Args) < 3 {
		c.fail("%d operands", len(in.Args))
	}
	regs := p.n / 2
	if f.dt == syntax.F16 {
		regs /= 2
	}
	for _, o := range vector(c.arg(0)) {
		s := c.dstOperand(o, syntax.B32)
		c.need32(s)
		p.d = append(p.d, s)
	}
	if len(p.d) != regs {
		c.fail("%d accumulators, the shape takes %d", len(p.d), regs)
	}
	inRegs := c.arg(1).Kind == syntax.KVec
	if inRegs {
		for _, o := range c.arg(1).Vec {
			s := c.value(o, syntax.B32)
			c.need32(s)
			p.a = append(p.a, s)
		}
		if len(p.a) != 4 {
			c.fail("%d registers of A, the shape takes 4", len(p.a))
		}
	} else {
		p.descA = c.descriptor(1)
	}
	p.descB = c.descriptor(2)
	p.scaleD = c.constant(1, 32, nil)
	rest := in.Args[3:]
	if len(rest) > 0 {
		if rest[0].Kind == syntax.KInt {
			p.scaleD = c.constant(rest[0].Imm, 32, nil)
		} else {
			p.scaleD = c.value(rest[0], syntax.Pred)
			c.out.must = append(c.out.must, p.scaleD.id)
		}
		rest = rest[1:]
	}
	imm := func(i int) int64 {
		if i >= len(rest) {
			c.fail("an immediate operand is missing")
		}
		if rest[i].Kind != syntax.KInt {
			c.fail("the scale and transpose operands must be immediates")
		}
		return int64(rest[i].Imm)
	}
	if len(rest) > 0 {
		p.negate = (imm(0) < 0) != (imm(1) < 0)
		switch {
		case len(rest) == 4 && !inRegs:
			p.transA, p.transB = imm(2) != 0, imm(3) != 0
		case len(rest) == 3 && inRegs:
			p.transB = imm(2) != 0
		case len(rest) != 2:
			c.fail("%d operands", len(in.Args))
		}
	}
	if (p.transA || p.transB) && p.elemSize != 2 {
		c.fail("only 16-bit matrices can be transposed")
	}
	c.out.op = Tensor
	c.out.flops = int64(2 * 16 * p.n * k / 32)
	c.out.work = c.out.flops
	switch p.elemSize {
	case 4:
		c.out.work *= 2
	case 1:
		c.out.work /= 2
	}
	c.out.undef = func(*warp, uint32) {}
	c.out.run = func(w *warp, _ uint32) { w.issueWgmma(p) }
}

// descriptor is the operand that describes a matrix in shared memory.
func (c *compiler) descriptor(i int) slot {
	s := c.value(c.arg(i), syntax.B64)
	if s.class != class64 {
		c.fail("operand %d must be a 64-bit matrix descriptor", i)
	}
	c.out.must = append(c.out.must, s.id)
	return s
}

func (w *warp) issueWgmma(p *wgmmaPlan) {
	op := wgmmaOp{p: p, in: w.cur, group: w.wg.committed, descB: w.get(p.descB, 0), accumulate: w.get(p.scaleD, 0) != 0}
	if p.a == nil {
		op.descA = w.get(p.descA, 0)
	}
	for _, s := range p.a {
		op.a = append(op.a, w.r32[s.idx])
		if w.def != nil {
			op.aDef = append(op.aDef, w.def[s.id])
		}
	}
	// The operands must be there now, and stay until the wait: read them at both ends.
	w.wgmmaOperands(&op, func([]byte, int, int, bool) {}, func([]byte, int, int, bool) {})
	if w.wg.flying == nil {
		w.wg.flying, w.wg.def = map[int32]int{}, map[int32]uint32{}
	}
	if w.def != nil {
		for _, s := range p.d {
			if w.wg.flying[s.id] == 0 {
				w.wg.def[s.id] = w.def[s.id]
			}
			w.wg.flying[s.id]++
			w.def[s.id] = 0
		}
	}
	w.wg.ops = append(w.wg.ops, op)
}

// completeWgmma carries out all but the last keep groups.
func (w *warp) completeWgmma(keep int) {
	cur := w.cur
	for len(w.wg.ops) > 0 && w.wg.ops[0].group < w.wg.committed-keep {
		op := w.wg.ops[0]
		w.wg.ops = w.wg.ops[1:]
		w.cur = op.in
		w.wgmmaRun(&op)
	}
	w.cur = cur
}

// Matrices in shared memory are described by 64 bits: the start address, the
// two strides in units of 16 bytes, and the swizzle.
type gmmaMatrix struct {
	start, leading, stride uint32
	chunks                 uint32 // of 16 bytes in a swizzled row: 1, 2, 4 or 8
}

func (w *warp) gmmaMatrix(d uint64) gmmaMatrix {
	if d>>49&7 != 0 {
		w.fault(InvalidOperation, 0, "matrix descriptor %#x has a base offset", d)
	}
	return gmmaMatrix{
		start: uint32(d&0x3fff) << 4, leading: uint32(d>>16&0x3fff) << 4, stride: uint32(d>>32&0x3fff) << 4,
		chunks: [4]uint32{1, 8, 4, 2}[d>>62],
	}
}

// chunk is the address of 16 bytes. Of a matrix whose rows run along K it is
// part j of row mn; of a transposed one the mn-th eight elements at depth j.
func (g gmmaMatrix) chunk(mn, j int, trans bool) uint32 {
	i, k := uint32(mn), uint32(j)
	var off uint32
	switch {
	case !trans && g.chunks == 1:
		off = i/8*g.stride + i%8*16 + k*g.leading
	case !trans:
		off = i/8*g.stride + i%8*16*g.chunks + k*16
	case g.chunks == 1:
		off = i*g.stride + k%8*16 + k/8*g.leading
	default:
		off = i%g.chunks*16 + i/g.chunks*g.leading + k%8*16*g.chunks + k/8*g.stride
	}
	return swizzle(g.start+off, g.chunks)
}

// swizzle exchanges the 16-byte chunks of rows of that many chunks, each row
// of 128 bytes by its number.
func swizzle(addr, chunks uint32) uint32 { return addr ^ (addr>>7&(chunks-1))<<4 }

// wgmmaOperands reads the warp's rows of A and the whole of B. The functions
// get 16 bytes at a time: part j of row mn, or transposed.
func (w *warp) wgmmaOperands(op *wgmmaOp, a, b func(v []byte, mn, j int, def bool)) {
	p := op.p
	read := func(desc uint64, from, n int, trans bool, f func([]byte, int, int, bool)) {
		g := w.gmmaMatrix(desc)
		rows, parts := n, 2
		if trans {
			from, rows, parts = from/8, n/8, p.frag.k
		}
		for mn := range rows {
			for j := range parts {
				r, off := w.resolve(syntax.Shared, uint64(g.chunk(from+mn, j, trans)), 16, 0)
				w.readAccess(r, off, 16, 0, semantics{all: true})
				f(r.data[off:off+16], mn, j, r.defined(off, 16))
			}
		}
	}
	if p.a == nil {
		read(op.descA, 16*(w.id%4), 16, p.transA, a)
	}
	read(op.descB, 0, p.n, p.transB, b)
}

func (w *warp) wgmmaRun(op *wgmmaOp) {
	p := op.p
	var a [16][32]float32
	b := make([][32]float32, p.n)
	var badRow [16]bool
	badCol := make([]bool, p.n)
	per := 16 / p.elemSize // elements in 16 bytes
	spread := func(at func(mn int) *[32]float32, bad func(mn int) *bool, t syntax.Type, trans bool) func([]byte, int, int, bool) {
		one := elementDecoder(t)
		return func(v []byte, mn, j int, def bool) {
			for e := range per {
				x := one(v[e*p.elemSize:])
				row, k := mn, j*per+e
				if trans {
					row, k = mn*per+e, j
				}
				at(row)[k] = x
				if !def {
					*bad(row) = true
				}
			}
		}
	}
	rowOf := func(i int) *[32]float32 { return &a[i] }
	w.wgmmaOperands(op,
		spread(rowOf, func(i int) *bool { return &badRow[i] }, p.frag.at, p.transA),
		spread(func(i int) *[32]float32 { return &b[i] }, func(i int) *bool { return &badCol[i] }, p.frag.bt, p.transB))
	one := elementDecoder(p.frag.at)
	for r := range op.a {
		for lane, v := range op.a[r] {
			row, k := p.frag.aElem(lane, r)
			var raw [4]byte
			le.PutUint32(raw[:], v)
			for e := range p.frag.per {
				a[row][k+e] = one(raw[e*p.elemSize:])
			}
			if w.def != nil && op.aDef[r]>>lane&1 == 0 {
				badRow[row] = true
			}
		}
	}
	if p.negate {
		for i := range a {
			for k := range a[i] {
				a[i][k] = -a[i][k]
			}
		}
	}
	w.wgmmaAccumulate(op, &a, b)
	if w.def != nil {
		w.wgmmaDefine(op, &badRow, badCol)
	}
}

// wgmmaAccumulate adds the product to D.
func (w *warp) wgmmaAccumulate(op *wgmmaOp, a *[16][32]float32, b [][32]float32) {
	p := op.p
	k := p.frag.k
	for r := range p.n / 2 { // element r of a lane: two columns, two rows, then the next eight columns
		for lane := range 32 {
			row, col := lane/4+8*(r/2%2), lane%4*2+r%2+8*(r/4)
			x, y := a[row][:k], b[col][:k]
			switch p.frag.dt {
			case syntax.S32:
				D := &w.r32[p.d[r].idx]
				sum := int64(0)
				for i := range x {
					sum += int64(x[i]) * int64(y[i])
				}
				if op.accumulate {
					sum += int64(int32(D[lane]))
				}
				if p.frag.sat {
					sum = int64(int32(saturate32(sum)))
				}
				D[lane] = uint32(sum)
			default:
				var sum float32
				for i := range x {
					sum += x[i] * y[i]
				}
				D := &w.r32[p.frag.accSlot(p.d, r).idx]
				var C lanes32
				if op.accumulate {
					C[lane] = D[lane]
				}
				p.frag.accumulate(D, &C, lane, r, sum)
			}
		}
	}
}

// wgmmaDefine gives D's elements their values' definedness.
func (w *warp) wgmmaDefine(op *wgmmaOp, badRow *[16]bool, badCol []bool) {
	p := op.p
	per := p.n / 2 / len(p.d)
	for i, s := range p.d {
		var def uint32
		for lane := range 32 {
			ok := !op.accumulate || w.wg.def[s.id]>>lane&1 != 0
			for r := i * per; r < (i+1)*per; r++ {
				ok = ok && !badRow[lane/4+8*(r/2%2)] && !badCol[lane%4*2+r%2+8*(r/4)]
			}
			def |= bit(ok) << lane
		}
		w.wg.def[s.id] = def
		if w.wg.flying[s.id]--; w.wg.flying[s.id] == 0 {
			w.def[s.id] = def
		}
	}
}

// elementDecoder reads an element of a matrix; every integer type fits a float32.
func elementDecoder(t syntax.Type) func(b []byte) float32 {
	switch t {
	case syntax.F16:
		return func(b []byte) float32 { return fp.FromF16(le.Uint16(b)) }
	case syntax.BF16:
		return func(b []byte) float32 { return fp.FromBF16(le.Uint16(b)) }
	case syntax.TF32:
		return func(b []byte) float32 { return fp.TF32(f32(le.Uint32(b))) }
	case syntax.S8:
		return func(b []byte) float32 { return float32(int8(b[0])) }
	case syntax.U8:
		return func(b []byte) float32 { return float32(b[0]) }
	}
	f := eightOf(t)
	var table [256]float32
	for i := range table {
		table[i] = float32(f.Decode(uint8(i)))
	}
	return func(b []byte) float32 { return table[b[0]] }
}

// opSetmaxnreg gives registers back or asks for more: nothing to emulate.
func (c *compiler) opSetmaxnreg(in *syntax.Instr) {
	if len(in.Args) != 1 || c.arg(0).Kind != syntax.KInt {
		c.fail("the number of registers must be an immediate")
	}
	c.whole()
	c.opHint(in)
}
