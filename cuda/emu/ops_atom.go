package emu

import (
	"math/bits"

	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

// atomicFn is the read-modify-write function of an atom or red instruction.
func (c *compiler) atomicFn(in *syntax.Instr, t syntax.Type) fn2 {
	n := t.Size()
	if t.Float() {
		e, packed := element(t)
		var f fn2
		switch {
		case in.Has("add"):
			add := floatScalar(&syntax.Instr{Mods: []string{"add", "rn"}}, fAdd, e)
			f = func(a, b uint64) uint64 { return add(a, b, 0) }
		case in.Has("min") || in.Has("max"):
			isMax := in.Has("max")
			f = func(a, b uint64) uint64 {
				x, y := decodeFloat(a, e), decodeFloat(b, e)
				if x != x || y == y && (x < y) == isMax {
					return b
				}
				return a
			}
		case in.Has("exch"):
			return func(_, b uint64) uint64 { return b }
		default:
			c.fail("unknown float atomic")
		}
		if packed {
			return func(a, b uint64) uint64 { return f(a&0xffff, b&0xffff) | f(a>>16, b>>16)<<16 }
		}
		return f
	}
	switch {
	case in.Has("add"):
		return func(a, b uint64) uint64 { return a + b }
	case in.Has("and"):
		return func(a, b uint64) uint64 { return a & b }
	case in.Has("or"):
		return func(a, b uint64) uint64 { return a | b }
	case in.Has("xor"):
		return func(a, b uint64) uint64 { return a ^ b }
	case in.Has("exch"):
		return func(_, b uint64) uint64 { return b }
	case in.Has("inc"):
		return func(a, b uint64) uint64 {
			if a >= b {
				return 0
			}
			return a + 1
		}
	case in.Has("dec"):
		return func(a, b uint64) uint64 {
			if a == 0 || a > b {
				return b
			}
			return a - 1
		}
	case in.Has("min") || in.Has("max"):
		isMax := in.Has("max")
		return func(a, b uint64) uint64 {
			less := a < b
			if t.Signed() {
				less = sext(a, n) < sext(b, n)
			}
			if less == isMax {
				return b
			}
			return a
		}
	}
	c.fail("unknown atomic operation")
	return nil
}

// opAtom decodes atom and red, scalar and vector.
func (c *compiler) opAtom(in *syntax.Instr) {
	space, _ := spaceMod(in)
	if in.Has("async") {
		c.fail("red.async is not supported")
	}
	t, vec := c.memType()
	n := t.Size()
	args := in.Args
	if in.Has("cache_hint") || in.Has("L2::cache_hint") {
		args = args[:len(args)-1]
	}
	var ds []slot
	if in.Mods[0] == "atom" {
		for _, o := range vector(args[0]) {
			ds = append(ds, c.dstOperand(o, t))
		}
		args = args[1:]
	}
	cas := in.Has("cas")
	want := 2
	if cas {
		want = 3
	}
	if len(args) != want {
		c.fail("%d operands", len(in.Args))
	}
	ref := c.address(args[0], space)
	operands := func(o syntax.Operand) []slot {
		var out []slot
		for _, v := range vector(o) {
			s := c.value(v, t)
			if s.class == classPred || n == 8 && s.class != class64 {
				c.fail("an operand does not fit the type")
			}
			out = append(out, s)
		}
		if len(out) != vec {
			c.fail("%d operands for %d elements", len(out), vec)
		}
		return out
	}
	src := operands(args[1])
	var swap []slot
	var f fn2
	if cas {
		swap = operands(args[2])
	} else {
		f = c.atomicFn(in, t)
	}
	if len(ds) > 0 && len(ds) != vec {
		c.fail("%d destinations for %d elements", len(ds), vec)
	}
	sem := c.semantics(in)
	sem.atomic, sem.strong, sem.write = true, true, true
	if sem.scope == scopeNone {
		sem.scope = scopeGPU
	}
	c.out.strong = true
	if t.Float() && in.Has("add") {
		c.out.flops = int64(vec)
	}
	c.noteWidth(ref.space, n)
	// An operand without a value spoils memory that others read at once.
	for _, s := range append(append([]slot(nil), src...), swap...) {
		c.out.must = append(c.out.must, s.id)
	}
	c.out.dsts = nil
	total := n * vec
	count := c.countAccess(ref, total, true)
	c.out.run = func(w *warp, m uint32) {
		count(w, m)
		w.release(sem, m)
		var undefined uint32
		for k := m; k != 0; k &= k - 1 {
			i := bits.TrailingZeros32(k)
			r, off := w.resolve(ref.space, w.addr(&ref, i), total, i)
			w.writeAccess(r, off, total, i, sem, nil)
			if w.def != nil && !r.defined(off, total) {
				w.fault(Uninitialised, i, "atomic on memory at %#x that has no value", w.addr(&ref, i))
			}
			for j := range vec {
				b := r.data[off+j*n : off+(j+1)*n]
				old := loadBytes(b, n)
				var v uint64
				if cas {
					v = old
					if old == zext(w.get(src[j], i), n) {
						v = w.get(swap[j], i)
					}
				} else {
					v = f(old, w.get(src[j], i))
				}
				if v != old {
					w.b.l.counts.progress++
				} else {
					w.b.polls++
					w.polls++
				}
				storeBytes(b, n, v)
				if len(ds) > 0 {
					w.set(ds[j], i, old)
				}
			}
		}
		w.setDefined(ds, m, undefined)
	}
}
