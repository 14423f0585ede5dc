package emu

import (
	"math/bits"

	"github.com/seed-c851cfd2/moec/cuda/emu/internal/fp"
	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

// compareFn is the comparison op on bits of type t.
func (c *compiler) compareFn(op string, t syntax.Type) func(a, b uint64) bool {
	if t.Float() {
		return c.compareFloat(op, t)
	}
	n := t.Size()
	if t.Signed() {
		switch op {
		case "lt":
			return func(a, b uint64) bool { return sext(a, n) < sext(b, n) }
		case "le":
			return func(a, b uint64) bool { return sext(a, n) <= sext(b, n) }
		case "gt":
			return func(a, b uint64) bool { return sext(a, n) > sext(b, n) }
		case "ge":
			return func(a, b uint64) bool { return sext(a, n) >= sext(b, n) }
		}
	}
	switch op {
	case "eq":
		return func(a, b uint64) bool { return zext(a, n) == zext(b, n) }
	case "ne":
		return func(a, b uint64) bool { return zext(a, n) != zext(b, n) }
	case "lt", "lo":
		return func(a, b uint64) bool { return zext(a, n) < zext(b, n) }
	case "le", "ls":
		return func(a, b uint64) bool { return zext(a, n) <= zext(b, n) }
	case "gt", "hi":
		return func(a, b uint64) bool { return zext(a, n) > zext(b, n) }
	case "ge", "hs":
		return func(a, b uint64) bool { return zext(a, n) >= zext(b, n) }
	}
	c.fail("unknown comparison %q", op)
	return nil
}

func (c *compiler) compareFloat(op string, t syntax.Type) func(a, b uint64) bool {
	unordered := len(op) == 3 && op[2] == 'u' && op != "num"
	if unordered {
		op = op[:2]
	}
	var f func(x, y float64) bool
	switch op {
	case "eq":
		f = func(x, y float64) bool { return x == y }
	case "ne":
		f = func(x, y float64) bool { return x < y || x > y }
	case "lt":
		f = func(x, y float64) bool { return x < y }
	case "le":
		f = func(x, y float64) bool { return x <= y }
	case "gt":
		f = func(x, y float64) bool { return x > y }
	case "ge":
		f = func(x, y float64) bool { return x >= y }
	case "num":
		f = func(x, y float64) bool { return x == x && y == y }
	case "nan":
		f = func(x, y float64) bool { return x != x || y != y }
	default:
		c.fail("unknown comparison %q", op)
	}
	ftz := c.in.Has("ftz") && t == syntax.F32
	return func(a, b uint64) bool {
		x, y := decodeFloat(a, t), decodeFloat(b, t)
		if ftz {
			x, y = float64(fp.Flush32(float32(x))), float64(fp.Flush32(float32(y)))
		}
		return f(x, y) || unordered && (x != x || y != y)
	}
}

// hotCompare is the loop of a 32-bit integer or plain f32 comparison.
func hotCompare(op string, t syntax.Type) func(a, b *lanes32) uint32 {
	switch t {
	case syntax.S32:
		switch op {
		case "lt":
			return func(a, b *lanes32) (r uint32) {
				for i := range a {
					r |= bit(int32(a[i]) < int32(b[i])) << i
				}
				return r
			}
		case "ge":
			return func(a, b *lanes32) (r uint32) {
				for i := range a {
					r |= bit(int32(a[i]) >= int32(b[i])) << i
				}
				return r
			}
		case "gt":
			return func(a, b *lanes32) (r uint32) {
				for i := range a {
					r |= bit(int32(a[i]) > int32(b[i])) << i
				}
				return r
			}
		}
	case syntax.U32:
		if op == "lt" {
			return func(a, b *lanes32) (r uint32) {
				for i := range a {
					r |= bit(a[i] < b[i]) << i
				}
				return r
			}
		}
	case syntax.F32:
		if op == "gt" {
			return func(a, b *lanes32) (r uint32) {
				for i := range a {
					r |= bit(f32(a[i]) > f32(b[i])) << i
				}
				return r
			}
		}
		return nil
	}
	if t.Size() == 4 && !t.Float() {
		switch op {
		case "eq":
			return func(a, b *lanes32) (r uint32) {
				for i := range a {
					r |= bit(a[i] == b[i]) << i
				}
				return r
			}
		case "ne":
			return func(a, b *lanes32) (r uint32) {
				for i := range a {
					r |= bit(a[i] != b[i]) << i
				}
				return r
			}
		}
	}
	return nil
}

func bit(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

// boolOp combines a comparison with the predicate operand: and, or, xor.
func (c *compiler) boolOp(in *syntax.Instr) (string, bool) {
	for _, m := range in.Mods[min(2, len(in.Mods)):] {
		if m == "and" || m == "or" || m == "xor" {
			return m, true
		}
	}
	return "", false
}

func combine(op string, a, b uint32) uint32 {
	switch op {
	case "and":
		return a & b
	case "or":
		return a | b
	case "xor":
		return a ^ b
	}
	return a
}

// predSource is a predicate source operand that may be negated.
func (c *compiler) predSource(i int) (slot, bool) {
	o := c.arg(i)
	not := o.Not
	o.Not = false
	s := c.read(c.value(o, syntax.Pred))
	return s, not
}

func (c *compiler) opSetp(in *syntax.Instr) {
	t := c.typ(0)
	if t == syntax.F16x2 || t == syntax.BF16x2 {
		c.setpPacked(in, t)
		return
	}
	op := c.mod(1)
	dst := c.arg(0)
	d := c.dst(0, syntax.Pred)
	var d2 *slot
	if dst.Reg2 >= 0 {
		s := c.wrote(c.fr.regs[dst.Reg2])
		if s.class != classPred {
			c.fail("the second destination is not a predicate")
		}
		d2 = &s
	}
	a, b := c.src(1, t), c.src(2, t)
	hot := hotCompare(op, t)
	if in.Has("ftz") {
		hot = nil
	}
	f := c.compareFn(op, t)
	logic, has := c.boolOp(in)
	if !has && d2 == nil {
		c.out.run = liftPred(d, a, b, f, hot)
		return
	}
	tmp := c.newReg(syntax.Pred)
	test := liftPred(tmp, a, b, f, hot)
	var p slot
	var not bool
	if has {
		if len(in.Args) != 4 {
			c.fail("the predicate operand is missing")
		}
		p, not = c.predSource(3)
	}
	c.out.run = func(w *warp, m uint32) {
		test(w, m)
		r := w.pred[tmp.idx]
		var q uint32
		if has {
			q = w.pred[p.idx]
			if not {
				q = ^q
			}
		}
		w.pred[d.idx] = w.pred[d.idx]&^m | combine(logic, r, q)&m
		if d2 != nil {
			w.pred[d2.idx] = w.pred[d2.idx]&^m | combine(logic, ^r, q)&m
		}
	}
}

// setpPacked compares both halves: p is the low half's result, q the high one's.
func (c *compiler) setpPacked(in *syntax.Instr, t syntax.Type) {
	e, _ := element(t)
	f := c.compareFn(c.mod(1), e)
	d := c.dst(0, syntax.Pred)
	if c.arg(0).Reg2 < 0 {
		c.fail("a packed comparison needs two destinations")
	}
	d2 := c.wrote(c.fr.regs[c.arg(0).Reg2])
	a, b := c.src(1, t), c.src(2, t)
	logic, has := c.boolOp(in)
	var p slot
	var not bool
	if has {
		p, not = c.predSource(3)
	}
	c.out.run = func(w *warp, m uint32) {
		var lo, hi, q uint32
		for k := m; k != 0; k &= k - 1 {
			i := bits.TrailingZeros32(k)
			x, y := w.get(a, i), w.get(b, i)
			lo |= bit(f(x&0xffff, y&0xffff)) << i
			hi |= bit(f(x>>16, y>>16)) << i
		}
		if has {
			if q = w.pred[p.idx]; not {
				q = ^q
			}
		}
		w.pred[d.idx] = w.pred[d.idx]&^m | combine(logic, lo, q)&m
		w.pred[d2.idx] = w.pred[d2.idx]&^m | combine(logic, hi, q)&m
	}
}

func (c *compiler) opSet(in *syntax.Instr) {
	dt, t := c.typ(1), c.typ(0)
	e, packed := element(t)
	f := c.compareFn(c.mod(1), e)
	var one uint64
	switch dt {
	case syntax.F32:
		one = 0x3f800000
	case syntax.F16, syntax.F16x2:
		one = 0x3c00
	case syntax.BF16, syntax.BF16x2:
		one = 0x3f80
	default:
		one = zext(^uint64(0), dt.Size())
		if packed && dt.Size() == 4 {
			one = 0xffff
		}
	}
	d, a, b := c.dst(0, dt), c.src(1, t), c.src(2, t)
	logic, has := c.boolOp(in)
	var p slot
	var not bool
	if has {
		p, not = c.predSource(3)
	}
	c.out.run = func(w *warp, m uint32) {
		for ; m != 0; m &= m - 1 {
			i := bits.TrailingZeros32(m)
			var q uint32
			if has {
				if q = w.pred[p.idx] >> i & 1; not {
					q ^= 1
				}
			}
			x, y := w.get(a, i), w.get(b, i)
			var r uint64
			if packed {
				r = uint64(combine(logic, bit(f(x&0xffff, y&0xffff)), q))*one | uint64(combine(logic, bit(f(x>>16, y>>16)), q))*one<<16
			} else {
				r = uint64(combine(logic, bit(f(x, y)), q)) * one
			}
			w.set(d, i, r)
		}
	}
}

func (c *compiler) opSelp(in *syntax.Instr) {
	t := c.typ(0)
	d, a, b := c.dst(0, t), c.src(1, t), c.src(2, t)
	p, not := c.predSource(3)
	c.selectDefinedness(d, a, b, p, not)
	if d.class == class32 && a.class == class32 && b.class == class32 {
		c.out.run = func(w *warp, m uint32) {
			D, A, B := &w.r32[d.idx], &w.r32[a.idx], &w.r32[b.idx]
			q := w.pred[p.idx]
			if not {
				q = ^q
			}
			if m == fullMask {
				for i := range D {
					v := B[i]
					if q>>i&1 != 0 {
						v = A[i]
					}
					D[i] = v
				}
				return
			}
			for ; m != 0; m &= m - 1 {
				i := bits.TrailingZeros32(m) & 31
				if q>>i&1 != 0 {
					D[i] = A[i]
				} else {
					D[i] = B[i]
				}
			}
		}
		return
	}
	c.out.run = func(w *warp, m uint32) {
		q := w.pred[p.idx]
		if not {
			q = ^q
		}
		for ; m != 0; m &= m - 1 {
			i := bits.TrailingZeros32(m)
			if q>>i&1 != 0 {
				w.set(d, i, w.get(a, i))
			} else {
				w.set(d, i, w.get(b, i))
			}
		}
	}
}

func (c *compiler) opSlct(in *syntax.Instr) {
	t, ct := c.typ(1), c.typ(0)
	ftz := in.Has("ftz")
	d, a, b, e := c.dst(0, t), c.src(1, t), c.src(2, t), c.src(3, ct)
	c.out.run = lift3(d, a, b, e, func(a, b, e uint64) uint64 {
		first := sext(e, 4) >= 0
		if ct == syntax.F32 {
			x := f32(uint32(e))
			if ftz {
				x = fp.Flush32(x)
			}
			first = x >= 0
		}
		if first {
			return a
		}
		return b
	}, nil)
}
