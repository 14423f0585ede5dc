package emu

import (
	"math/bits"

	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

func (c *compiler) opLogic(in *syntax.Instr) {
	t := c.typ(0)
	d, a, b := c.dst(0, t), c.src(1, t), c.src(2, t)
	op := in.Mods[0]
	if t == syntax.Pred {
		c.logicPred(op, d, a, b)
		return
	}
	var f fn2
	var hot loop2
	switch op {
	case "and":
		f, hot = func(a, b uint64) uint64 { return a & b }, andLoop
	case "or":
		f, hot = func(a, b uint64) uint64 { return a | b }, orLoop
	default:
		f, hot = func(a, b uint64) uint64 { return a ^ b }, xorLoop
	}
	c.out.run = lift2(d, a, b, f, hot, nil)
	c.bitRule(d, []slot{a, b}, bitsOfLogic(op))
}

func (c *compiler) logicPred(op string, d, a, b slot) {
	switch op {
	case "and":
		c.out.run = func(w *warp, m uint32) {
			w.pred[d.idx] = w.pred[d.idx]&^m | w.pred[a.idx]&w.pred[b.idx]&m
		}
	case "or":
		c.out.run = func(w *warp, m uint32) {
			w.pred[d.idx] = w.pred[d.idx]&^m | (w.pred[a.idx]|w.pred[b.idx])&m
		}
	default:
		c.out.run = func(w *warp, m uint32) {
			w.pred[d.idx] = w.pred[d.idx]&^m | (w.pred[a.idx]^w.pred[b.idx])&m
		}
	}
	if op != "xor" {
		c.maskedDefinedness(op == "and", d, a, b)
	}
}

func (c *compiler) opNot(in *syntax.Instr) {
	t := c.typ(0)
	d, a := c.dst(0, t), c.src(1, t)
	n := t.Size()
	switch {
	case t == syntax.Pred:
		c.out.run = func(w *warp, m uint32) { w.pred[d.idx] = w.pred[d.idx]&^m | ^w.pred[a.idx]&m }
	case in.Mods[0] == "cnot":
		c.out.run = lift1(d, a, func(a uint64) uint64 {
			if a == 0 {
				return 1
			}
			return 0
		}, nil)
	default:
		c.out.run = lift1(d, a, func(a uint64) uint64 { return zext(^a, n) }, nil)
	}
}

func (c *compiler) opShift(in *syntax.Instr) {
	t := c.typ(0)
	n := t.Size()
	d, a, b := c.dst(0, t), c.src(1, t), c.src(2, syntax.U32)
	c.bitRule(d, []slot{a, b}, bitsOfShift(in.Mods[0] == "shl", t.Signed(), n))
	var f fn2
	var hot loop2
	switch {
	case in.Mods[0] == "shl":
		f, hot = func(a, b uint64) uint64 { return zext(a<<uint32(b), n) }, shlLoop
	case t.Signed():
		f, hot = func(a, b uint64) uint64 { return zext(uint64(sext(a, n)>>uint32(b)), n) }, sarLoop
	default:
		f, hot = func(a, b uint64) uint64 { return zext(a, n) >> uint32(b) }, shrLoop
	}
	if n != 4 {
		hot = nil
	}
	if d.class == class64 && a.class == class64 && b.class == class32 {
		c.out.run = shiftWide(d, a, b, f)
		return
	}
	c.out.run = lift2(d, a, b, f, hot, nil)
}

// shiftWide shifts 64-bit registers by a 32-bit amount.
func shiftWide(d, a, b slot, f fn2) exec {
	return func(w *warp, m uint32) {
		D, A, B := &w.r64[d.idx], &w.r64[a.idx], &w.r32[b.idx]
		for ; m != 0; m &= m - 1 {
			i := bits.TrailingZeros32(m) & 31
			D[i] = f(A[i], uint64(B[i]))
		}
	}
}

func (c *compiler) opShf(in *syntax.Instr) {
	left, wrap := c.mod(1) == "l", in.Has("wrap")
	c.out.run = lift3(c.dst(0, syntax.B32), c.src(1, syntax.B32), c.src(2, syntax.B32), c.src(3, syntax.U32), func(a, b, n uint64) uint64 {
		v := b<<32 | a
		if wrap {
			n &= 31
		} else {
			n = min(n, 32)
		}
		if left {
			return uint64(uint32(v << n >> 32))
		}
		return uint64(uint32(v >> n))
	}, nil)
}

func (c *compiler) opLop3(in *syntax.Instr) {
	lut := c.arg(4)
	if lut.Kind != syntax.KInt {
		c.fail("the look-up table must be an immediate")
	}
	table := uint8(lut.Imm)
	hot := func(d, a, b, e *lanes32) {
		for i := range d {
			d[i] = lop3(a[i], b[i], e[i], table)
		}
	}
	d, a, b, e := c.dst(0, syntax.B32), c.src(1, syntax.B32), c.src(2, syntax.B32), c.src(3, syntax.B32)
	if len(in.Args) == 6 {
		c.lop3Test(in, d, lift3(d, a, b, e, func(a, b, e uint64) uint64 {
			return uint64(lop3(uint32(a), uint32(b), uint32(e), table))
		}, hot))
		return
	}
	c.bitRule(d, []slot{a, b, e}, bitsOfLop3(table))
	c.out.run = lift3(d, a, b, e, func(a, b, e uint64) uint64 {
		return uint64(lop3(uint32(a), uint32(b), uint32(e), table))
	}, hot)
}

// lop3Test is lop3.or and lop3.and: a predicate tells whether the result is
// not zero, combined with another predicate.
func (c *compiler) lop3Test(in *syntax.Instr, d slot, run exec) {
	if c.arg(0).Reg2 < 0 || !in.Has("or") && !in.Has("and") {
		c.fail("lop3 with six operands needs a predicate destination")
	}
	p := c.wrote(c.fr.regs[c.arg(0).Reg2])
	q, not := c.predSource(5)
	op := c.mod(1)
	c.out.run = func(w *warp, m uint32) {
		run(w, m)
		other := w.pred[q.idx]
		if not {
			other = ^other
		}
		var r uint32
		for k := m; k != 0; k &= k - 1 {
			i := bits.TrailingZeros32(k)
			r |= bit(w.get(d, i) != 0) << i
		}
		w.pred[p.idx] = w.pred[p.idx]&^m | combine(op, r, other)&m
	}
}

// lop3 is the logical function of three inputs that the table's eight bits spell.
func lop3(a, b, c uint32, t uint8) uint32 {
	var r uint32
	for i := range 8 {
		if t>>i&1 == 0 {
			continue
		}
		x, y, z := a, b, c
		if i&4 == 0 {
			x = ^x
		}
		if i&2 == 0 {
			y = ^y
		}
		if i&1 == 0 {
			z = ^z
		}
		r |= x & y & z
	}
	return r
}

func (c *compiler) opPrmt(in *syntax.Instr) {
	mode := ""
	if len(in.Mods) > 2 {
		mode = in.Mods[2]
	}
	d, x, y, sel := c.dst(0, syntax.B32), c.src(1, syntax.B32), c.src(2, syntax.B32), c.src(3, syntax.B32)
	c.bitRule(d, []slot{x, y, sel}, bitsOfPermute(mode))
	c.out.run = lift3(d, x, y, sel, func(a, b, s uint64) uint64 {
		return permute(b<<32|a&0xffffffff, uint32(s), mode)
	}, nil)
}

func permute(v uint64, sel uint32, mode string) uint64 {
	var r uint64
	k := sel & 3
	for i := range uint32(4) {
		var s uint32
		switch mode {
		case "":
			s = sel >> (4 * i) & 15
		case "f4e":
			s = k + i
		case "b4e":
			s = (k - i) & 7
		case "rc8":
			s = k
		case "ecl":
			s = max(k, i)
		case "ecr":
			s = min(k, i)
		case "rc16":
			s = k&1*2 + i&1
		}
		b := uint8(v >> (8 * (s & 7)))
		if s&8 != 0 {
			b = uint8(int8(b) >> 7) // the byte's sign replicated
		}
		r |= uint64(b) << (8 * i)
	}
	return r
}

func (c *compiler) opBfe(in *syntax.Instr) {
	t := c.typ(0)
	width := 8 * t.Size()
	c.out.run = lift3(c.dst(0, t), c.src(1, t), c.src(2, syntax.U32), c.src(3, syntax.U32), func(a, p, l uint64) uint64 {
		pos, n := int(p&255), int(l&255)
		if n == 0 {
			return 0
		}
		var fill bool
		if t.Signed() {
			fill = a>>min(pos+n-1, width-1)&1 != 0
		}
		var r uint64
		for i := range width {
			if i < n && pos+i < width {
				r |= a >> (pos + i) & 1 << i
			} else if fill {
				r |= 1 << i
			}
		}
		return r
	}, nil)
}

func (c *compiler) opBfi(in *syntax.Instr) {
	t := c.typ(0)
	width := 8 * t.Size()
	d, a, b := c.dst(0, t), c.src(1, t), c.src(2, t)
	p, l := c.src(3, syntax.U32), c.src(4, syntax.U32)
	c.out.run = func(w *warp, m uint32) {
		for ; m != 0; m &= m - 1 {
			i := bits.TrailingZeros32(m)
			va, vb := w.get(a, i), w.get(b, i)
			pos, n := int(w.get(p, i)&255), int(w.get(l, i)&255)
			for k := 0; k < n && pos+k < width; k++ {
				vb = vb&^(1<<(pos+k)) | va>>k&1<<(pos+k)
			}
			w.set(d, i, vb)
		}
	}
}

// opBits is popc, clz, brev and bfind.
func (c *compiler) opBits(in *syntax.Instr) {
	t := c.typ(0)
	width := 8 * t.Size()
	dt := syntax.U32
	var f fn1
	switch in.Mods[0] {
	case "popc":
		f = func(a uint64) uint64 { return uint64(bits.OnesCount64(a)) }
	case "clz":
		f = func(a uint64) uint64 { return uint64(bits.LeadingZeros64(a) - (64 - width)) }
	case "brev":
		dt = t
		f = func(a uint64) uint64 { return bits.Reverse64(a) >> (64 - width) }
	default:
		shift := in.Has("shiftamt")
		f = func(a uint64) uint64 {
			if t.Signed() && sext(a, t.Size()) < 0 {
				a = zext(^a, t.Size())
			}
			if a == 0 {
				return 0xffffffff
			}
			top := uint64(bits.Len64(a) - 1)
			if shift {
				return uint64(width) - 1 - top
			}
			return top
		}
	}
	c.out.run = lift1(c.dst(0, dt), c.src(1, t), f, nil)
}

// opFns finds the n-th set bit from a base position.
func (c *compiler) opFns(in *syntax.Instr) {
	c.out.run = lift3(c.dst(0, syntax.B32), c.src(1, syntax.B32), c.src(2, syntax.B32), c.src(3, syntax.S32), func(mask, base, off uint64) uint64 {
		n, step := int(int32(off)), 1
		if n < 0 {
			n, step = -n, -1
		}
		pos := int(base & 31)
		if n == 0 {
			if mask>>pos&1 != 0 {
				return uint64(pos)
			}
			return 0xffffffff
		}
		for ; pos >= 0 && pos < 32; pos += step {
			if mask>>pos&1 != 0 {
				if n--; n == 0 {
					return uint64(pos)
				}
			}
		}
		return 0xffffffff
	}, nil)
}

func (c *compiler) opBmsk(in *syntax.Instr) {
	wrap := in.Has("wrap")
	c.out.run = lift2(c.dst(0, syntax.B32), c.src(1, syntax.B32), c.src(2, syntax.B32), func(a, b uint64) uint64 {
		if wrap {
			a, b = a&31, b&31
		}
		if a >= 32 {
			return 0
		}
		n := min(b, 32-a)
		return (1<<n - 1) << a
	}, nil, nil)
}

func (c *compiler) opSzext(in *syntax.Instr) {
	t := c.typ(0)
	wrap := in.Has("wrap")
	c.out.run = lift2(c.dst(0, t), c.src(1, t), c.src(2, syntax.U32), func(a, n uint64) uint64 {
		if wrap {
			n &= 31
		}
		if n >= 32 {
			return a
		}
		if n == 0 {
			return 0
		}
		r := a & (1<<n - 1)
		if t.Signed() && r>>(n-1)&1 != 0 {
			r |= 0xffffffff &^ (1<<n - 1)
		}
		return r
	}, nil, nil)
}

// carryOut is add.cc and sub.cc: the result, and the carry in the warp's flag.
func (c *compiler) carryOut(d, a, b slot, size int, sub bool) {
	c.carry(d, a, b, size, sub, false, true)
}

// opCarry is addc, subc and madc, which read the carry flag.
func (c *compiler) opCarry(in *syntax.Instr) {
	t := c.typ(0)
	if in.Mods[0] == "madc" {
		d, a, b, e := c.dst(0, t), c.src(1, t), c.src(2, t), c.src(3, t)
		c.madCarry(d, a, b, e, t, in.Has("hi"), true, in.Has("cc"))
		return
	}
	d, a, b := c.dst(0, t), c.src(1, t), c.src(2, t)
	c.carry(d, a, b, t.Size(), in.Mods[0] == "subc", true, in.Has("cc"))
}

func (c *compiler) carry(d, a, b slot, size int, sub, carryIn, carryOut bool) {
	c.out.run = func(w *warp, m uint32) {
		for ; m != 0; m &= m - 1 {
			i := bits.TrailingZeros32(m)
			var cin uint64
			if carryIn {
				cin = uint64(w.carry >> i & 1)
			}
			x, y := w.get(a, i), w.get(b, i)
			var r, cout uint64
			if sub {
				r, cout = bits.Sub64(x, y, cin)
				if size == 4 {
					cout = r >> 32 & 1
				}
			} else {
				r, cout = bits.Add64(x, y, cin)
				if size == 4 {
					cout = r >> 32 & 1
				}
			}
			w.set(d, i, zext(r, size))
			if carryOut {
				w.carry = w.carry&^(1<<i) | uint32(cout)<<i
			}
		}
	}
}

func (c *compiler) madCarryOut(d, a, b, e slot, t syntax.Type, hi bool) {
	c.madCarry(d, a, b, e, t, hi, false, true)
}

func (c *compiler) madCarry(d, a, b, e slot, t syntax.Type, hi, carryIn, carryOut bool) {
	size := t.Size()
	c.out.run = func(w *warp, m uint32) {
		for ; m != 0; m &= m - 1 {
			i := bits.TrailingZeros32(m)
			p := zext(w.get(a, i)*w.get(b, i), size)
			if hi {
				p = high(w.get(a, i), w.get(b, i), t)
			}
			var cin uint64
			if carryIn {
				cin = uint64(w.carry >> i & 1)
			}
			r, cout := bits.Add64(p, w.get(e, i), cin)
			if size == 4 {
				cout = r >> 32 & 1
			}
			w.set(d, i, zext(r, size))
			if carryOut {
				w.carry = w.carry&^(1<<i) | uint32(cout)<<i
			}
		}
	}
}
