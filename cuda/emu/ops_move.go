package emu

import (
	"math/bits"

	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

func (c *compiler) opMov(in *syntax.Instr) {
	t := c.typ(0)
	dst, src := c.arg(0), c.arg(1)
	switch {
	case dst.Kind == syntax.KVec:
		c.unpack(dst.Vec, src, t)
		return
	case src.Kind == syntax.KVec:
		c.pack(dst, src.Vec, t)
		return
	case src.Kind == syntax.KSpecial && dynamicSpecial(src.Sym):
		c.movClock(src.Sym, t)
		return
	}
	d := c.dst(0, t)
	if t == syntax.Pred {
		s, not := c.predSource(1)
		if src.Kind == syntax.KInt {
			not = false
		}
		c.out.run = func(w *warp, m uint32) {
			v := w.pred[s.idx]
			if not {
				v = ^v
			}
			w.pred[d.idx] = w.pred[d.idx]&^m | v&m
		}
		return
	}
	s := c.value(src, t)
	if s.class == classPred {
		c.fail("predicate and data registers are mixed")
	}
	c.read(s)
	c.bitRule(d, []slot{s}, func(a []operandBits) uint64 { return a[0].def })
	if d.class == class64 && s.class == class64 {
		c.out.run = func(w *warp, m uint32) {
			D, S := &w.r64[d.idx], &w.r64[s.idx]
			if m == fullMask {
				*D = *S
				return
			}
			for ; m != 0; m &= m - 1 {
				i := bits.TrailingZeros32(m) & 31
				D[i] = S[i]
			}
		}
		return
	}
	n := t.Size()
	c.out.run = lift1(d, s, func(a uint64) uint64 { return zext(a, n) }, movLoop)
}

// unpack splits a register into the parts of a vector, the lowest first.
func (c *compiler) unpack(parts []syntax.Operand, src syntax.Operand, t syntax.Type) {
	if len(parts) == 0 {
		c.fail("empty vector")
	}
	n := t.Size() / len(parts)
	pt := bitType(n)
	if pt == syntax.None {
		c.fail("cannot unpack %s into %d parts", t, len(parts))
	}
	s := c.read(c.value(src, t))
	var ds []slot
	for _, p := range parts {
		ds = append(ds, c.dstOperand(p, pt))
	}
	c.out.undef = func(w *warp, m uint32) {
		has := w.def[s.id] & m
		for _, d := range ds {
			w.def[d.id] |= has
		}
		for k := m &^ has; k != 0; k &= k - 1 {
			i := bits.TrailingZeros32(k)
			v := w.definedBits(s, i)
			for _, d := range ds {
				w.setDefinedBits(d, i, zext(v, n))
				v >>= 8 * n
			}
		}
	}
	c.out.run = func(w *warp, m uint32) {
		for ; m != 0; m &= m - 1 {
			i := bits.TrailingZeros32(m)
			v := w.get(s, i)
			for _, d := range ds {
				w.set(d, i, zext(v, n))
				v >>= 8 * n
			}
		}
	}
}

func (c *compiler) pack(dst syntax.Operand, parts []syntax.Operand, t syntax.Type) {
	if len(parts) == 0 {
		c.fail("empty vector")
	}
	n := t.Size() / len(parts)
	pt := bitType(n)
	if pt == syntax.None {
		c.fail("cannot pack %d parts into %s", len(parts), t)
	}
	var ss []slot
	for _, p := range parts {
		ss = append(ss, c.read(c.value(p, pt)))
	}
	d := c.dstOperand(dst, t)
	c.out.undef = func(w *warp, m uint32) {
		has := m
		for _, s := range ss {
			has &= w.def[s.id]
		}
		w.def[d.id] |= has
		for k := m &^ has; k != 0; k &= k - 1 {
			i := bits.TrailingZeros32(k)
			var v uint64
			for k, s := range ss {
				v |= zext(w.definedBits(s, i), n) << (8 * n * k)
			}
			w.setDefinedBits(d, i, v)
		}
	}
	c.out.run = func(w *warp, m uint32) {
		for ; m != 0; m &= m - 1 {
			i := bits.TrailingZeros32(m)
			var v uint64
			for k, s := range ss {
				v |= zext(w.get(s, i), n) << (8 * n * k)
			}
			w.set(d, i, v)
		}
	}
}

func bitType(size int) syntax.Type {
	switch size {
	case 1:
		return syntax.B8
	case 2:
		return syntax.B16
	case 4:
		return syntax.B32
	case 8:
		return syntax.B64
	}
	return syntax.None
}

// dynamicSpecial reports whether a special register changes while a warp runs.
func dynamicSpecial(name string) bool {
	switch name {
	case "%clock", "%clock_hi", "%clock64", "%globaltimer", "%globaltimer_lo", "%globaltimer_hi":
		return true
	}
	return false
}

// movClock reads a clock: the instructions that the warp has executed.
func (c *compiler) movClock(name string, t syntax.Type) {
	d := c.dst(0, t)
	c.out.run = func(w *warp, m uint32) {
		v := uint64(w.executed)
		if name == "%clock_hi" || name == "%globaltimer_hi" {
			v >>= 32
		}
		for ; m != 0; m &= m - 1 {
			w.set(d, bits.TrailingZeros32(m), v)
		}
	}
}

// Windows of the generic address space. Global memory has the addresses of
// its allocations; shared and local memory appear at these bases.
const (
	sharedWindow = uint64(1) << 44
	localWindow  = uint64(1) << 45
	paramWindow  = uint64(1) << 46 // of the kernel; those of device functions are local
	windowSize   = uint64(1) << 32
	globalBase   = uint64(0x7f) << 40
)

func windowOf(s syntax.Space) uint64 {
	switch s {
	case syntax.Shared:
		return sharedWindow
	case syntax.Local, syntax.Param:
		return localWindow
	}
	return 0
}

// spaceMod is the state space among the modifiers, and whether there is one.
func spaceMod(in *syntax.Instr) (syntax.Space, bool) {
	for _, m := range in.Mods[1:] {
		switch m {
		case "global":
			return syntax.Global, true
		case "shared", "shared::cta", "shared::cluster":
			return syntax.Shared, true
		case "const":
			return syntax.Const, true
		case "local":
			return syntax.Local, true
		case "param", "param::entry", "param::func":
			return syntax.Param, true
		}
	}
	return syntax.Generic, false
}

func (c *compiler) opCvta(in *syntax.Instr) {
	space, ok := spaceMod(in)
	if !ok {
		c.fail("cvta without a state space")
	}
	t := c.typ(0)
	if t.Size() != 8 {
		c.fail("only 64-bit addressing is supported")
	}
	base := windowOf(space)
	if space == syntax.Param && c.fr.entry {
		base = paramWindow
	}
	if in.Has("to") {
		base = -base
	}
	d, a := c.dst(0, t), c.src(1, t)
	c.out.run = lift1(d, a, func(a uint64) uint64 { return a + base }, nil)
}

func (c *compiler) opIsspacep(in *syntax.Instr) {
	space, ok := spaceMod(in)
	if !ok {
		c.fail("isspacep without a state space")
	}
	d, a := c.dst(0, syntax.Pred), c.src(1, syntax.B64)
	base := windowOf(space)
	c.out.run = liftPred(d, a, a, func(v, _ uint64) bool {
		if base == 0 {
			return v >= globalBase && space == syntax.Global
		}
		return v-base < windowSize
	}, nil)
}
