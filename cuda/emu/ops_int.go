package emu

import (
	"math/bits"

	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

// sext sign-extends the low size bytes of v.
func sext(v uint64, size int) int64 {
	s := 64 - 8*size
	return int64(v<<s) >> s
}

// zext keeps the low size bytes of v.
func zext(v uint64, size int) uint64 {
	s := 64 - 8*size
	return v << s >> s
}

// saturate32 clamps a sum to the range of s32 (the .sat modifier).
func saturate32(v int64) uint64 { return uint64(uint32(max(min(v, 1<<31-1), -1<<31))) }

func (c *compiler) opAdd(in *syntax.Instr) {
	if packed := packed16(in.Mods); packed != "" {
		c.packedInt(func(a, b uint16) uint16 { return a + b })
		return
	}
	t := c.typ(0)
	if t.Float() {
		c.floatBinary(in, t, fAdd)
		return
	}
	d, a, b := c.dst(0, t), c.src(1, t), c.src(2, t)
	n := t.Size()
	switch {
	case in.Has("sat"):
		c.out.run = lift2(d, a, b, func(a, b uint64) uint64 { return saturate32(sext(a, 4) + sext(b, 4)) }, nil, nil)
	case in.Has("cc"):
		c.carryOut(d, a, b, n, false)
	default:
		var hot loop2
		if n == 4 {
			hot = addLoop
		}
		c.out.run = lift2(d, a, b, func(a, b uint64) uint64 { return zext(a+b, n) }, hot, addWide)
	}
}

func (c *compiler) opSub(in *syntax.Instr) {
	if packed := packed16(in.Mods); packed != "" {
		c.packedInt(func(a, b uint16) uint16 { return a - b })
		return
	}
	t := c.typ(0)
	if t.Float() {
		c.floatBinary(in, t, fSub)
		return
	}
	d, a, b := c.dst(0, t), c.src(1, t), c.src(2, t)
	n := t.Size()
	switch {
	case in.Has("sat"):
		c.out.run = lift2(d, a, b, func(a, b uint64) uint64 { return saturate32(sext(a, 4) - sext(b, 4)) }, nil, nil)
	case in.Has("cc"):
		c.carryOut(d, a, b, n, true)
	default:
		var hot loop2
		if n == 4 {
			hot = subLoop
		}
		c.out.run = lift2(d, a, b, func(a, b uint64) uint64 { return zext(a-b, n) }, hot, subWide)
	}
}

// packed16 is the two-lane integer type among the modifiers, if any.
func packed16(mods []string) string {
	if m := mods[len(mods)-1]; m == "u16x2" || m == "s16x2" {
		return m
	}
	return ""
}

func (c *compiler) packedInt(f func(a, b uint16) uint16) {
	d, a, b := c.dst(0, syntax.B32), c.src(1, syntax.B32), c.src(2, syntax.B32)
	c.out.run = lift2(d, a, b, func(a, b uint64) uint64 {
		return uint64(f(uint16(a), uint16(b))) | uint64(f(uint16(a>>16), uint16(b>>16)))<<16
	}, nil, nil)
}

// high is the upper half of a product.
func high(a, b uint64, t syntax.Type) uint64 {
	n := t.Size()
	if n == 8 {
		h, _ := bits.Mul64(a, b)
		if t.Signed() {
			if int64(a) < 0 {
				h -= b
			}
			if int64(b) < 0 {
				h -= a
			}
		}
		return h
	}
	if t.Signed() {
		return zext(uint64(sext(a, n)*sext(b, n)>>(8*n)), n)
	}
	return zext(a, n) * zext(b, n) >> (8 * n)
}

// wide is the full product of narrower operands.
func wide(a, b uint64, t syntax.Type) uint64 {
	n := t.Size()
	if t.Signed() {
		return zext(uint64(sext(a, n)*sext(b, n)), 2*n)
	}
	return zext(a, n) * zext(b, n)
}

// widened is the type of twice the width.
func (c *compiler) widened(t syntax.Type) syntax.Type {
	switch t {
	case syntax.U16:
		return syntax.U32
	case syntax.S16:
		return syntax.S32
	case syntax.U32:
		return syntax.U64
	case syntax.S32:
		return syntax.S64
	}
	c.fail("no wide product of %s", t)
	return t
}

func (c *compiler) opMul(in *syntax.Instr) {
	t := c.typ(0)
	if t.Float() {
		c.floatBinary(in, t, fMul)
		return
	}
	n := t.Size()
	switch {
	case in.Has("wide"):
		d, a, b := c.dst(0, c.widened(t)), c.src(1, t), c.src(2, t)
		c.out.run = mulWide(d, a, b, t)
	case in.Has("hi"):
		d, a, b := c.dst(0, t), c.src(1, t), c.src(2, t)
		c.out.run = lift2(d, a, b, func(a, b uint64) uint64 { return high(a, b, t) }, nil, nil)
	default:
		d, a, b := c.dst(0, t), c.src(1, t), c.src(2, t)
		var hot loop2
		if n == 4 {
			hot = mulLoop
		}
		c.out.run = lift2(d, a, b, func(a, b uint64) uint64 { return zext(a*b, n) }, hot, mulWide64)
	}
	// mul.lo of a defined zero is zero whatever the other operand holds, but
	// no compiler relies on it: definedness needs both operands.
}

func (c *compiler) opMad(in *syntax.Instr) {
	t := c.typ(0)
	if t.Float() {
		c.opFma(in)
		return
	}
	n := t.Size()
	switch {
	case in.Has("wide"):
		wt := c.widened(t)
		d, a, b, e := c.dst(0, wt), c.src(1, t), c.src(2, t), c.src(3, wt)
		m := 2 * n
		c.out.run = lift3(d, a, b, e, func(a, b, e uint64) uint64 { return zext(wide(a, b, t)+e, m) }, nil)
	case in.Has("hi"):
		d, a, b, e := c.dst(0, t), c.src(1, t), c.src(2, t), c.src(3, t)
		sat := in.Has("sat")
		if in.Has("cc") {
			c.madCarryOut(d, a, b, e, t, true)
			return
		}
		c.out.run = lift3(d, a, b, e, func(a, b, e uint64) uint64 {
			if sat {
				return saturate32(sext(high(a, b, t), 4) + sext(e, 4))
			}
			return zext(high(a, b, t)+e, n)
		}, nil)
	default:
		d, a, b, e := c.dst(0, t), c.src(1, t), c.src(2, t), c.src(3, t)
		if in.Has("cc") {
			c.madCarryOut(d, a, b, e, t, false)
			return
		}
		var hot loop3
		if n == 4 {
			hot = madLoop
		}
		c.out.run = lift3(d, a, b, e, func(a, b, e uint64) uint64 { return zext(a*b+e, n) }, hot)
	}
}

func (c *compiler) mul24Of() func(a, b uint64) uint64 {
	t := c.typ(0)
	hi := c.in.Has("hi")
	return func(a, b uint64) uint64 {
		var p uint64
		if t.Signed() {
			p = uint64(int64(a<<40) >> 40 * (int64(b<<40) >> 40))
		} else {
			p = a & 0xffffff * (b & 0xffffff)
		}
		if hi {
			p >>= 16
		}
		return uint64(uint32(p))
	}
}

func (c *compiler) opMul24(in *syntax.Instr) {
	t := c.typ(0)
	c.out.run = lift2(c.dst(0, t), c.src(1, t), c.src(2, t), c.mul24Of(), nil, nil)
}

func (c *compiler) opMad24(in *syntax.Instr) {
	t := c.typ(0)
	f := c.mul24Of()
	sat := in.Has("sat")
	c.out.run = lift3(c.dst(0, t), c.src(1, t), c.src(2, t), c.src(3, t), func(a, b, e uint64) uint64 {
		if sat {
			return saturate32(sext(f(a, b), 4) + sext(e, 4))
		}
		return uint64(uint32(f(a, b) + e))
	}, nil)
}

// divide is integer division as the hardware does it: by zero gives all ones.
func divide(a, b uint64, t syntax.Type) uint64 {
	n := t.Size()
	if zext(b, n) == 0 {
		return zext(^uint64(0), n)
	}
	if t.Signed() {
		return zext(uint64(sext(a, n)/sext(b, n)), n)
	}
	return zext(a, n) / zext(b, n)
}

func remainder(a, b uint64, t syntax.Type) uint64 {
	n := t.Size()
	if zext(b, n) == 0 {
		return zext(a, n)
	}
	if t.Signed() {
		return zext(uint64(sext(a, n)%sext(b, n)), n)
	}
	return zext(a, n) % zext(b, n)
}

func (c *compiler) opDiv(in *syntax.Instr) {
	t := c.typ(0)
	if t.Float() {
		c.floatBinary(in, t, fDiv)
		return
	}
	c.out.run = lift2(c.dst(0, t), c.src(1, t), c.src(2, t), func(a, b uint64) uint64 { return divide(a, b, t) }, nil, nil)
}

func (c *compiler) opRem(in *syntax.Instr) {
	t := c.typ(0)
	c.out.run = lift2(c.dst(0, t), c.src(1, t), c.src(2, t), func(a, b uint64) uint64 { return remainder(a, b, t) }, nil, nil)
}

func (c *compiler) opNeg(in *syntax.Instr) {
	t := c.typ(0)
	d, a := c.dst(0, t), c.src(1, t)
	if t.Float() {
		c.signOp(in, t, d, a, func(v, sign uint64) uint64 { return v ^ sign })
		return
	}
	n := t.Size()
	c.out.run = lift1(d, a, func(a uint64) uint64 { return zext(-a, n) }, nil)
}

func (c *compiler) opAbs(in *syntax.Instr) {
	t := c.typ(0)
	d, a := c.dst(0, t), c.src(1, t)
	if t.Float() {
		c.signOp(in, t, d, a, func(v, sign uint64) uint64 { return v &^ sign })
		return
	}
	n := t.Size()
	c.out.run = lift1(d, a, func(a uint64) uint64 {
		if sext(a, n) < 0 {
			return zext(-a, n)
		}
		return a
	}, nil)
}

func (c *compiler) opMinMax(in *syntax.Instr) {
	isMax := in.Mods[0] == "max"
	if p := packed16(in.Mods); p != "" {
		signed, relu := p == "s16x2", in.Has("relu")
		c.packedInt(func(a, b uint16) uint16 {
			pick := a < b
			if signed {
				pick = int16(a) < int16(b)
			}
			r := a
			if pick == isMax {
				r = b
			}
			if relu && int16(r) < 0 {
				r = 0
			}
			return r
		})
		return
	}
	t := c.typ(0)
	if t.Float() {
		c.floatMinMax(in, t, isMax)
		return
	}
	n := t.Size()
	relu := in.Has("relu")
	c.out.run = lift2(c.dst(0, t), c.src(1, t), c.src(2, t), func(a, b uint64) uint64 {
		less := a < b
		if t.Signed() {
			less = sext(a, n) < sext(b, n)
		}
		r := a
		if less == isMax {
			r = b
		}
		if relu && sext(r, n) < 0 {
			r = 0
		}
		return r
	}, nil, nil)
}

func (c *compiler) opSad(in *syntax.Instr) {
	t := c.typ(0)
	n := t.Size()
	c.out.run = lift3(c.dst(0, t), c.src(1, t), c.src(2, t), c.src(3, t), func(a, b, e uint64) uint64 {
		d := a - b
		if t.Signed() && sext(a, n) < sext(b, n) || !t.Signed() && a < b {
			d = b - a
		}
		return zext(e+d, n)
	}, nil)
}

// lane8 is byte i of v, extended as its type says.
func lane8(v uint64, i int, signed bool) int64 {
	b := uint8(v >> (8 * i))
	if signed {
		return int64(int8(b))
	}
	return int64(b)
}

func (c *compiler) opDp4a(in *syntax.Instr) {
	ta, tb := c.typ(1).Signed(), c.typ(0).Signed()
	c.out.run = lift3(c.dst(0, syntax.B32), c.src(1, syntax.B32), c.src(2, syntax.B32), c.src(3, syntax.B32), func(a, b, e uint64) uint64 {
		for i := range 4 {
			e += uint64(lane8(a, i, ta) * lane8(b, i, tb))
		}
		return uint64(uint32(e))
	}, nil)
}

func (c *compiler) opDp2a(in *syntax.Instr) {
	ta, tb := c.typ(1).Signed(), c.typ(0).Signed()
	first := 0
	if in.Has("hi") {
		first = 2
	}
	c.out.run = lift3(c.dst(0, syntax.B32), c.src(1, syntax.B32), c.src(2, syntax.B32), c.src(3, syntax.B32), func(a, b, e uint64) uint64 {
		for i := range 2 {
			h := int64(uint16(a >> (16 * i)))
			if ta {
				h = int64(int16(h))
			}
			e += uint64(h * lane8(b, first+i, tb))
		}
		return uint64(uint32(e))
	}, nil)
}
