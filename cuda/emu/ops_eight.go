package emu

import (
	"github.com/seed-c851cfd2/moec/cuda/emu/internal/fp"
	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

// eightOf is the 8-bit float format of a type or of its pair, or nil.
func eightOf(t syntax.Type) *fp.Eight {
	switch t {
	case syntax.E4M3, syntax.E4M3x2:
		return &fp.E4M3
	case syntax.E5M2, syntax.E5M2x2:
		return &fp.E5M2
	}
	return nil
}

// cvtEight converts pairs: cvt.e4m3x2.f32 d, a, b (a goes to the upper byte),
// cvt.e4m3x2.f16x2 d, a and cvt.f16x2.e4m3x2 d, a; likewise for e5m2x2.
func (c *compiler) cvtEight(in *syntax.Instr, dt, st syntax.Type) {
	relu := in.Has("relu")
	to, from := eightOf(dt), eightOf(st)
	encode := func(x float64) uint64 { return uint64(to.Encode(clampFloat(x, false, relu))) }
	switch {
	case (dt == syntax.E4M3x2 || dt == syntax.E5M2x2) && st == syntax.F32 && len(in.Args) == 3:
		c.out.run = lift2(c.dst(0, syntax.B16), c.src(1, st), c.src(2, st), func(a, b uint64) uint64 {
			return encode(decodeFloat(a, st))<<8 | encode(decodeFloat(b, st))
		}, nil, nil)
	case (dt == syntax.E4M3x2 || dt == syntax.E5M2x2) && st == syntax.F16x2 && len(in.Args) == 2:
		c.out.run = lift1(c.dst(0, syntax.B16), c.src(1, syntax.B32), func(a uint64) uint64 {
			return encode(decodeFloat(a>>16, syntax.F16))<<8 | encode(decodeFloat(a&0xffff, syntax.F16))
		}, nil)
	case dt == syntax.F16x2 && (st == syntax.E4M3x2 || st == syntax.E5M2x2) && len(in.Args) == 2:
		widen := func(b uint64) uint64 {
			x := from.Decode(uint8(b))
			if x != x {
				return nanOf(syntax.F16)
			}
			return encodeFloat(clampFloat(x, false, relu), syntax.F16)
		}
		c.out.run = lift1(c.dst(0, syntax.B32), c.src(1, syntax.B16), func(a uint64) uint64 { return widen(a>>8)<<16 | widen(a) }, nil)
	default:
		c.fail("conversion between %s and %s is not supported", st, dt)
	}
}

// execEight is an mma of 8-bit floats.
func (p *mmaPlan) execEight(w *warp, _ uint32) {
	var a [16][32]float32
	var b [8][32]float32
	fa, fb := eightOf(p.at), eightOf(p.bt)
	for lane := range 32 {
		for r, s := range p.a {
			row, k := p.aElem(lane, r)
			for e := range 4 {
				a[row][k+e] = float32(fa.Decode(uint8(w.r32[s.idx][lane] >> (8 * e))))
			}
		}
		for r, s := range p.b {
			k, col := p.bElem(lane, r)
			for e := range 4 {
				b[col][k+e] = float32(fb.Decode(uint8(w.r32[s.idx][lane] >> (8 * e))))
			}
		}
	}
	var acc [4]lanes32
	for r := range 4 {
		acc[r] = w.r32[p.accSlot(p.c, r).idx]
	}
	for r := range 4 {
		D := &w.r32[p.accSlot(p.d, r).idx]
		for lane := range D {
			row, col := p.cElem(lane, r)
			var sum float32
			for k := range p.k {
				sum += a[row][k] * b[col][k]
			}
			p.accumulate(D, &acc[r], lane, r, sum)
		}
	}
}

// accumulate adds a sum to a lane's accumulator r and writes it.
func (p *mmaPlan) accumulate(D, C *lanes32, lane, r int, sum float32) {
	if p.ct == syntax.F16 {
		sh := 16 * (r & 1)
		v := uint32(fp.ToF16(sum + fp.FromF16(uint16(C[lane]>>sh))))
		D[lane] = D[lane]&^(0xffff<<sh) | v<<sh
		return
	}
	D[lane] = nan(sum + f32(C[lane]))
}
