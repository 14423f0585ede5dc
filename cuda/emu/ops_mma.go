package emu

import (
	"github.com/seed-c851cfd2/moec/cuda/emu/internal/fp"
	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

// tile is a shape of mma: rows of A, columns of B, and their common depth.
type tile struct{ m, n, k int }

var tiles = map[string]tile{
	"m16n8k4": {16, 8, 4}, "m16n8k8": {16, 8, 8}, "m16n8k16": {16, 8, 16}, "m16n8k32": {16, 8, 32},
	"m8n8k4": {8, 8, 4}, "m8n8k16": {8, 8, 16},
	"m8n8k32": {8, 8, 32}, "m16n8k64": {16, 8, 64}, "m8n8k128": {8, 8, 128}, "m16n8k128": {16, 8, 128}, "m16n8k256": {16, 8, 256},
}

// mmaPlan is a decoded mma instruction.
type mmaPlan struct {
	tile
	at, bt, ct, dt syntax.Type
	d, a, b, c     []slot
	sat            bool
	and            bool // of single bits: counts those of and, not of xor
	per            int  // elements of A or B in a register
}

// opMma decodes mma.sync.aligned.SHAPE.row.col.D.A.B.C.
func (c *compiler) opMma(in *syntax.Instr) {
	p := &mmaPlan{sat: in.Has("satfinite"), and: in.Has("and")}
	ok := false
	for _, m := range in.Mods {
		if t, found := tiles[m]; found {
			p.tile, ok = t, true
		}
	}
	if !ok || !in.Has("sync") || !in.Has("row") || !in.Has("col") {
		c.fail("this shape or layout of mma is not supported")
	}
	p.dt, p.at, p.bt, p.ct = c.typ(3), c.typ(2), c.typ(1), c.typ(0)
	accOK := false
	switch p.at {
	case syntax.F16:
		accOK = p.bt == p.at && p.m == 16 && (p.k == 8 || p.k == 16) && (p.ct == syntax.F32 || p.ct == syntax.F16) && p.dt == p.ct
		p.per = 2
	case syntax.BF16:
		accOK = p.bt == p.at && p.m == 16 && (p.k == 8 || p.k == 16) && p.ct == syntax.F32 && p.dt == p.ct
		p.per = 2
	case syntax.TF32:
		accOK = p.bt == p.at && p.m == 16 && (p.k == 4 || p.k == 8) && p.ct == syntax.F32 && p.dt == p.ct
		p.per = 1
	case syntax.S8, syntax.U8:
		accOK = (p.bt == syntax.S8 || p.bt == syntax.U8) && (p.k == 16 || p.k == 32 && p.m == 16) && p.ct == syntax.S32 && p.dt == p.ct
		p.per = 4
	case syntax.S4, syntax.U4:
		accOK = (p.bt == syntax.S4 || p.bt == syntax.U4) && (p.tile == tile{8, 8, 32} || p.m == 16 && (p.k == 32 || p.k == 64)) && p.ct == syntax.S32 && p.dt == p.ct
		p.per = 8
	case syntax.B1:
		accOK = p.bt == p.at && p.k >= 128 && in.Has("popc") && p.ct == syntax.S32 && p.dt == p.ct
		p.per = 32
	case syntax.E4M3, syntax.E5M2:
		accOK = (p.bt == syntax.E4M3 || p.bt == syntax.E5M2) && (p.tile == tile{16, 8, 32} || p.tile == tile{16, 8, 16}) && (p.ct == syntax.F32 || p.ct == syntax.F16) && p.dt == p.ct
		p.per = 4
	case syntax.F64:
		accOK = p.bt == p.at && (p.tile == tile{8, 8, 4} || p.m == 16 && p.k <= 16) && p.ct == p.at && p.dt == p.ct
		p.per = 1
	}
	if !accOK {
		c.fail("this combination of mma shape and types is not supported")
	}
	regs := func(i, elems int, t syntax.Type, write bool) []slot {
		var out []slot
		list := vector(c.arg(i))
		for _, o := range list {
			rt := syntax.B32
			if t == syntax.F64 {
				rt = syntax.B64
			}
			var s slot
			if write {
				s = c.dstOperand(o, rt)
			} else {
				s = c.read(c.value(o, rt))
			}
			if s.class == classPred || s.class == class64 && rt == syntax.B32 {
				c.fail("an mma operand has the wrong width")
			}
			out = append(out, s)
		}
		if len(out) != elems {
			c.fail("operand %d has %d registers, the shape takes %d", i, len(out), elems)
		}
		return out
	}
	accRegs := p.m * p.n / 32
	if p.ct == syntax.F16 {
		accRegs /= 2
	}
	p.d = regs(0, accRegs, p.dt, true)
	p.a = regs(1, p.m*p.k/32/p.per, p.at, false)
	p.b = regs(2, p.n*p.k/32/p.per, p.bt, false)
	p.c = regs(3, accRegs, p.ct, false)
	c.out.flops = int64(2 * p.m * p.n * p.k / 32)
	c.out.work = c.out.flops
	switch p.at {
	case syntax.TF32:
		c.out.work *= 2
	case syntax.S8, syntax.U8, syntax.E4M3, syntax.E5M2:
		c.out.work /= 2
	case syntax.S4, syntax.U4:
		c.out.work /= 4
	case syntax.B1:
		c.out.work /= 16
	case syntax.F64:
		c.out.work *= 8
	}
	c.whole()
	c.out.undef = func(w *warp, m uint32) { p.definedness(w) }
	c.out.run = p.exec()
}

// aElem is where lane's r-th register of A holds its first element.
func (p *mmaPlan) aElem(lane, r int) (row, k int) {
	row = lane / 4
	k = lane % 4 * p.per
	if p.m == 16 {
		row += 8 * (r % 2)
		r /= 2
	}
	return row, k + r*4*p.per
}

// bElem is where lane's r-th register of B holds its first element.
func (p *mmaPlan) bElem(lane, r int) (k, col int) { return lane%4*p.per + r*4*p.per, lane / 4 }

// cElem is where lane's r-th accumulator is.
func (p *mmaPlan) cElem(lane, r int) (row, col int) { return lane/4 + 8*(r/2), lane%4*2 + r%2 }

// accSlot is the register of accumulator r: two to a register for f16.
func (p *mmaPlan) accSlot(list []slot, r int) slot {
	if p.ct == syntax.F16 {
		return list[r/2]
	}
	return list[r]
}

func (p *mmaPlan) exec() exec {
	switch p.at {
	case syntax.S8, syntax.U8, syntax.S4, syntax.U4, syntax.B1:
		return p.execInt
	case syntax.E4M3, syntax.E5M2:
		return p.execEight
	case syntax.F64:
		return p.execDouble
	}
	return p.execFloat
}

// mmaDepth is the largest k of a float shape.
const mmaDepth = 16

func (p *mmaPlan) execFloat(w *warp, _ uint32) {
	var a [16][mmaDepth]float32
	var b [8][mmaDepth]float32
	for r, s := range p.a {
		R := &w.r32[s.idx]
		for lane := range R {
			row, k := p.aElem(lane, r)
			p.widen(R[lane], a[row&15][k&15:])
		}
	}
	for r, s := range p.b {
		R := &w.r32[s.idx]
		for lane := range R {
			k, col := p.bElem(lane, r)
			p.widen(R[lane], b[col&7][k&15:])
		}
	}
	n := p.m * p.n / 32
	var acc [4]lanes32 // before any of D is written: the registers may overlap
	for r := range n {
		acc[r] = w.r32[p.accSlot(p.c, r).idx]
	}
	for r := range n {
		C, D := &acc[r], &w.r32[p.accSlot(p.d, r).idx]
		half := p.ct == syntax.F16
		for lane := range D {
			row, col := p.cElem(lane, r)
			sum := dot(&a[row&15], &b[col&7], p.k)
			if half {
				p.accumulate(D, C, lane, r, sum)
				continue
			}
			D[lane] = nan(sum + f32(C[lane]))
		}
	}
}

// dot sums k products of exact factors in four chains.
func dot(a, b *[mmaDepth]float32, k int) float32 {
	var s0, s1, s2, s3 float32
	for i := 0; i < k; i += 4 {
		j := i & 12
		s0 += a[j] * b[j]
		s1 += a[j+1] * b[j+1]
		s2 += a[j+2] * b[j+2]
		s3 += a[j+3] * b[j+3]
	}
	return s0 + s1 + (s2 + s3)
}

// widen unpacks one register of A or B.
func (p *mmaPlan) widen(v uint32, out []float32) {
	switch p.at {
	case syntax.BF16:
		out[0], out[1] = f32(v<<16), f32(v&0xffff0000)
	case syntax.F16:
		out[0], out[1] = fp.FromF16(uint16(v)), fp.FromF16(uint16(v>>16))
	default:
		out[0] = fp.TF32(f32(v))
	}
}

func (p *mmaPlan) execInt(w *warp, _ uint32) {
	var a [16][256]int16
	var b [8][256]int16
	p.unpackInt(w, p.a, p.at, func(lane, r int) []int16 { row, k := p.aElem(lane, r); return a[row][k:] })
	p.unpackInt(w, p.b, p.bt, func(lane, r int) []int16 { k, col := p.bElem(lane, r); return b[col][k:] })
	var acc [4]lanes32
	for r := range p.c {
		acc[r] = w.r32[p.c[r].idx]
	}
	for r := range p.d {
		C, D := &acc[r], &w.r32[p.d[r].idx]
		for lane := range D {
			row, col := p.cElem(lane, r)
			sum := int64(int32(C[lane]))
			x, y := a[row][:p.k], b[col][:p.k]
			switch {
			case p.at != syntax.B1:
				for k := range x {
					sum += int64(x[k]) * int64(y[k])
				}
			case p.and:
				for k := range x {
					sum += int64(x[k] & y[k])
				}
			default:
				for k := range x {
					sum += int64(x[k] ^ y[k])
				}
			}
			if p.sat {
				D[lane] = uint32(saturate32(sum))
			} else {
				D[lane] = uint32(sum)
			}
		}
	}
}

// unpackInt spreads the elements of 1, 4 or 8 bits of a matrix's registers.
func (p *mmaPlan) unpackInt(w *warp, regs []slot, t syntax.Type, at func(lane, r int) []int16) {
	n := 32 / p.per
	for r, s := range regs {
		for lane, v := range w.r32[s.idx] {
			out := at(lane, r)[:p.per]
			for e := range out {
				if u := v >> (n * e) << (32 - n); t.Signed() {
					out[e] = int16(int32(u) >> (32 - n))
				} else {
					out[e] = int16(u >> (32 - n))
				}
			}
		}
	}
}

func (p *mmaPlan) execDouble(w *warp, _ uint32) {
	var a [16][16]uint64
	var b [8][16]uint64
	for lane := range 32 {
		for r, s := range p.a {
			row, k := p.aElem(lane, r)
			a[row][k] = w.get(s, lane)
		}
		for r, s := range p.b {
			k, col := p.bElem(lane, r)
			b[col][k] = w.get(s, lane)
		}
	}
	fma := floatScalar(&syntax.Instr{Mods: []string{"fma"}}, fFma, syntax.F64)
	var acc [4]lanes64
	for r := range p.c {
		acc[r] = w.r64[p.c[r].idx]
	}
	for r := range p.d {
		for lane := range 32 {
			row, col := p.cElem(lane, r)
			sum := acc[r][lane]
			for k := range p.k {
				sum = fma(a[row][k], b[col][k], sum)
			}
			w.set(p.d[r], lane, sum)
		}
	}
}

// definedness of a product: an element of D has a value when its row of A,
// its column of B and its element of C have. Tiles that reach beyond a matrix
// multiply rows nobody wrote, and nobody reads the outcome.
func (p *mmaPlan) definedness(w *warp) {
	all := fullMask
	for _, list := range [][]slot{p.a, p.b, p.c} {
		for _, s := range list {
			all &= w.def[s.id]
		}
	}
	if all == fullMask {
		for _, s := range p.d {
			w.def[s.id] = fullMask
		}
		return
	}
	var badRow, badCol [16]bool
	for r, s := range p.a {
		for lane := range 32 {
			if w.def[s.id]>>lane&1 == 0 {
				row, _ := p.aElem(lane, r)
				badRow[row] = true
			}
		}
	}
	for r, s := range p.b {
		for lane := range 32 {
			if w.def[s.id]>>lane&1 == 0 {
				_, col := p.bElem(lane, r)
				badCol[col] = true
			}
		}
	}
	n := p.m * p.n / 32
	var def [8]uint32
	for r := range n {
		for lane := range 32 {
			row, col := p.cElem(lane, r)
			if !badRow[row] && !badCol[col] && w.def[p.accSlot(p.c, r).id]>>lane&1 != 0 {
				def[r] |= 1 << lane
			}
		}
	}
	for r := range n {
		s := p.accSlot(p.d, r)
		if p.ct == syntax.F16 && r%2 == 1 {
			w.def[s.id] &= def[r]
		} else {
			w.def[s.id] = def[r]
		}
	}
}
