package emu

import (
	"math/bits"

	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

// A register of which only some bits have values is rare, but compilers make
// them: a structure copied together with its padding, the unused half of a
// packed pair. Its definedness bit is off, and what it holds is kept on the
// side, with the value it had; once the register holds something else the
// entry no longer counts.

type partKey struct {
	reg  int32
	lane int32
}

type partValue struct {
	value uint64
	bits  uint64 // those that have values
}

// pendingPart is an entry to be made when the instruction has run.
type pendingPart struct {
	s    slot
	lane int
	bits uint64
}

// maxPartial bounds the entries of a warp; beyond it partly defined registers
// count as undefined.
const maxPartial = 1 << 16

// definedBits is the bits of a lane's register that have values.
func (w *warp) definedBits(s slot, lane int) uint64 {
	if w.def == nil || w.def[s.id]>>lane&1 != 0 {
		return ^uint64(0)
	}
	if len(w.partial) == 0 {
		return 0
	}
	if p, ok := w.partial[partKey{s.id, int32(lane)}]; ok && p.value == w.get(s, lane) {
		return p.bits
	}
	return 0
}

// setDefinedBits sets a lane's definedness of a register whose value the
// instruction under way is about to write.
func (w *warp) setDefinedBits(s slot, lane int, bits uint64) {
	width := ^uint64(0) >> (64 - s.bits)
	switch bits & width {
	case width:
		w.def[s.id] |= 1 << lane
	case 0:
		w.def[s.id] &^= 1 << lane
	default:
		w.def[s.id] &^= 1 << lane
		w.pending = append(w.pending, pendingPart{s, lane, bits})
	}
}

// keepPartial makes the entries of the instruction that has just run.
func (w *warp) keepPartial() {
	if w.partial == nil {
		w.partial = map[partKey]partValue{}
	}
	for _, p := range w.pending {
		if len(w.partial) < maxPartial {
			w.partial[partKey{p.s.id, int32(p.lane)}] = partValue{w.get(p.s, p.lane), p.bits}
		}
	}
	w.pending = w.pending[:0]
}

// operandBits is a source operand as a definedness rule sees it.
type operandBits struct{ v, def uint64 }

// zero and one are the bits known to be 0 and 1.
func (o operandBits) zero() uint64 { return o.def &^ o.v }
func (o operandBits) one() uint64  { return o.def & o.v }

// bitRule gives an instruction with destination d a rule bit by bit for lanes
// in which some source is not wholly defined.
func (c *compiler) bitRule(d slot, srcs []slot, rule func(a []operandBits) uint64) {
	c.out.undef = func(w *warp, m uint32) {
		all := m
		for _, s := range srcs {
			all &= w.def[s.id]
		}
		w.def[d.id] |= all
		if all == m {
			return
		}
		if len(w.partial) == 0 && w.noneDefined(srcs, m&^all) {
			w.def[d.id] &^= m &^ all
			return
		}
		var a [4]operandBits
		for k := m &^ all; k != 0; k &= k - 1 {
			i := bits.TrailingZeros32(k)
			for j, s := range srcs {
				a[j] = operandBits{w.get(s, i), w.definedBits(s, i)}
			}
			w.setDefinedBits(d, i, rule(a[:len(srcs)]))
		}
	}
}

// noneDefined reports whether no lane of m has a value in any source, which
// then gives the result none.
func (w *warp) noneDefined(srcs []slot, m uint32) bool {
	for _, s := range srcs {
		if w.def[s.id]&m != 0 {
			return false
		}
	}
	return true
}

// bitsOfLogic is the rule of and, or and xor.
func bitsOfLogic(op string) func(a []operandBits) uint64 {
	return func(a []operandBits) uint64 {
		both := a[0].def & a[1].def
		switch op {
		case "and":
			both |= a[0].zero() | a[1].zero()
		case "or":
			both |= a[0].one() | a[1].one()
		}
		return both
	}
}

// bitsOfLop3 finds the bits that do not depend on an undefined one.
func bitsOfLop3(table uint8) func(a []operandBits) uint64 {
	return func(a []operandBits) uint64 {
		r := ^uint64(0)
		at := func(flip int) uint32 {
			v := [3]uint32{}
			for i := range v {
				v[i] = uint32(a[i].v)
				if flip>>i&1 != 0 {
					v[i] ^= ^uint32(a[i].def)
				}
			}
			return lop3(v[0], v[1], v[2], table)
		}
		first := at(0)
		for flip := 1; flip < 8; flip++ {
			r &^= uint64(at(flip) ^ first)
		}
		return r
	}
}

// bitsOfShift is the rule of shl and shr of an n-byte type.
func bitsOfShift(left, signed bool, n int) func(a []operandBits) uint64 {
	return func(a []operandBits) uint64 {
		if uint32(a[1].def) != ^uint32(0) {
			return 0
		}
		by := uint32(a[1].v)
		def := zext(a[0].def, n)
		switch {
		case left:
			return def<<by | (1<<by - 1)
		case signed:
			return uint64(sext(def, n) >> by)
		}
		return def>>by | ^(zext(^uint64(0), n) >> by)
	}
}

// bitsOfPermute moves definedness as prmt moves bytes.
func bitsOfPermute(mode string) func(a []operandBits) uint64 {
	return func(a []operandBits) uint64 {
		if uint32(a[2].def) != ^uint32(0) {
			return 0
		}
		def := a[1].def<<32 | a[0].def&0xffffffff
		var whole uint64 // bytes that are defined
		for i := range 8 {
			if def>>(8*i)&255 == 255 {
				whole |= 255 << (8 * i)
			}
		}
		// A replicated sign is all ones exactly when its byte is defined.
		return permute(whole, uint32(a[2].v), mode)
	}
}

// bitsOfConvert is the rule of a conversion between integers.
func bitsOfConvert(st syntax.Type) func(a []operandBits) uint64 {
	n := st.Size()
	return func(a []operandBits) uint64 {
		if st.Signed() {
			return uint64(sext(a[0].def, n))
		}
		return a[0].def | ^zext(^uint64(0), n)
	}
}
