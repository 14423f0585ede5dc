package emu

import (
	"math/bits"

	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

// matrixCount is how many 8x8 matrices an ldmatrix or stmatrix moves.
func (c *compiler) matrixCount(in *syntax.Instr) int {
	if !in.Has("m8n8") || !in.Has("b16") {
		c.fail("only .m8n8 matrices of .b16 are supported")
	}
	switch {
	case in.Has("x1"):
		return 1
	case in.Has("x2"):
		return 2
	case in.Has("x4"):
		return 4
	}
	c.fail("ldmatrix without a count")
	return 0
}

// opLdmatrix loads rows of 16 bytes, lane 8j+i giving the address of row i of
// matrix j. Lane l receives elements (l/4, 2(l%4)) and the next, or with
// .trans (2(l%4), l/4) and the one below.
func (c *compiler) opLdmatrix(in *syntax.Instr) {
	n := c.matrixCount(in)
	ds := c.matrixRegs(c.arg(0), n, true)
	ref := c.matrixAddress(c.arg(1))
	c.whole()
	trans := in.Has("trans")
	c.out.undef = func(*warp, uint32) {}
	count := c.countAccess(ref, 16, false)
	c.out.run = func(w *warp, m uint32) {
		count(w, m&(1<<(8*n)-1))
		var rows [32][]byte
		var def [32]uint8 // bit per 16-bit element
		for i := range 8 * n {
			r, off := w.matrixRow(&ref, i, m)
			w.readAccess(r, off, 16, i, semantics{all: true})
			rows[i] = r.data[off : off+16]
			for e := range 8 {
				def[i] |= uint8(bit(r.defined(off+2*e, 2))) << e
			}
		}
		for j, d := range ds {
			var ok uint32
			for l := range 32 {
				r0, c0, r1, c1 := l/4, 2*(l%4), l/4, 2*(l%4)+1
				if trans {
					r0, c0, r1, c1 = c0, r0, c1, r0
				}
				lo, hi := 8*j+r0, 8*j+r1
				v := uint32(le.Uint16(rows[lo][2*c0:])) | uint32(le.Uint16(rows[hi][2*c1:]))<<16
				w.r32[d.idx][l] = v
				ok |= uint32(def[lo]>>c0&1&(def[hi]>>c1)) << l
			}
			if w.def != nil {
				w.def[d.id] = ok
			}
		}
	}
}

func (c *compiler) opStmatrix(in *syntax.Instr) {
	n := c.matrixCount(in)
	ref := c.matrixAddress(c.arg(0))
	ss := c.matrixRegs(c.arg(1), n, false)
	c.whole()
	trans := in.Has("trans")
	count := c.countAccess(ref, 16, true)
	c.out.run = func(w *warp, m uint32) {
		count(w, m&(1<<(8*n)-1))
		for j, s := range ss {
			for row := range 8 {
				r, off := w.matrixRow(&ref, 8*j+row, m)
				var buf [16]byte
				var has [8]bool
				for e := range 8 {
					i, k := row, e
					if trans {
						i, k = e, row
					}
					l := 4*i + k/2
					le.PutUint16(buf[2*e:], uint16(w.r32[s.idx][l]>>(16*(k&1))))
					has[e] = w.def == nil || w.def[s.id]>>l&1 != 0
				}
				w.writeAccess(r, off, 16, 8*j+row, semantics{write: true, all: true}, buf[:])
				copy(r.data[off:], buf[:])
				for e, ok := range has {
					r.define(off+2*e, 2, ok)
				}
			}
		}
	}
}

func (c *compiler) matrixRegs(o syntax.Operand, n int, write bool) []slot {
	var out []slot
	for _, v := range vector(o) {
		var s slot
		if write {
			s = c.dstOperand(v, syntax.B32)
		} else {
			s = c.read(c.value(v, syntax.B32))
		}
		c.need32(s)
		out = append(out, s)
	}
	if len(out) != n {
		c.fail("%d registers for %d matrices", len(out), n)
	}
	return out
}

func (c *compiler) matrixAddress(o syntax.Operand) memRef {
	ref := c.address(o, syntax.Shared)
	// Only the lanes that give addresses need defined ones; matrixRow checks.
	c.out.must = nil
	return ref
}

// matrixRow is the row whose address lane i gives.
func (w *warp) matrixRow(ref *memRef, i int, live uint32) (*region, int) {
	if live>>i&1 == 0 {
		w.fault(InvalidOperation, i, "the lane that gives a row's address has exited")
	}
	if w.def != nil && w.def[ref.base.id]>>i&1 == 0 {
		w.undefinedUse(ref.base.id, 1<<i)
	}
	r, off := w.resolve(ref.space, w.addr(ref, i), 16, i)
	if r.space != syntax.Shared {
		w.fault(InvalidOperation, bits.TrailingZeros32(1<<i), "the address is not in shared memory")
	}
	return r, off
}
