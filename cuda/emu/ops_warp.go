package emu

import (
	"math/bits"

	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

// members makes the instruction wait for the lanes of a membermask operand.
func (c *compiler) members(i int) {
	c.out.flow, c.out.hasMask = flowSync, true
	c.out.members = c.value(c.arg(i), syntax.B32)
	if c.out.members.class == classPred {
		c.fail("the membermask is a predicate")
	}
	c.out.must = append(c.out.must, c.out.members.id)
}

// whole makes the instruction wait for every lane of the warp.
func (c *compiler) whole() { c.out.flow = flowSync }

func (c *compiler) opShfl(in *syntax.Instr) {
	if !in.Has("sync") {
		c.fail("shfl without .sync is not supported")
	}
	if len(in.Args) != 5 {
		c.fail("%d operands", len(in.Args))
	}
	mode := ""
	for _, m := range in.Mods[1:] {
		switch m {
		case "up", "down", "bfly", "idx":
			mode = m
		}
	}
	if mode == "" {
		c.fail("unknown shuffle mode")
	}
	d := c.dst(0, syntax.B32)
	var p *slot
	if r := c.arg(0).Reg2; r >= 0 {
		s := c.wrote(c.fr.regs[r])
		if s.class != classPred {
			c.fail("the second destination is not a predicate")
		}
		p = &s
	}
	a, b, e := c.src(1, syntax.B32), c.src(2, syntax.B32), c.src(3, syntax.B32)
	c.members(4)
	c.out.must = append(c.out.must, b.id, e.id)
	di, ai, bi, ei := c.need32(d), c.need32(a), c.need32(b), c.need32(e)
	c.out.undef = func(w *warp, m uint32) {} // done below, after the lanes are known
	c.out.run = func(w *warp, m uint32) {
		src := w.r32[ai]
		B, E := &w.r32[bi], &w.r32[ei]
		D := &w.r32[di]
		var inRange, def uint32
		srcDef := fullMask
		if w.def != nil {
			srcDef = w.def[a.id]
		}
		for k := m; k != 0; k &= k - 1 {
			i := bits.TrailingZeros32(k) & 31
			j, ok := shuffleLane(mode, uint32(i), B[i], E[i])
			if ok {
				inRange |= 1 << i
			}
			D[i] = src[j&31]
			// A value from a lane that takes no part is not defined.
			def |= (srcDef & m >> (j & 31) & 1) << i
		}
		if p != nil {
			w.pred[p.idx] = w.pred[p.idx]&^m | inRange
		}
		if w.def != nil {
			w.def[d.id] = w.def[d.id]&^m | def
			if p != nil {
				w.def[p.id] |= m
			}
		}
	}
}

// shuffleLane is the lane that a shuffle reads from, and whether it was in range.
func shuffleLane(mode string, lane, b, c uint32) (uint32, bool) {
	bval, cval, mask := b&31, c&31, c>>8&31
	maxLane := lane&mask | cval&^mask
	minLane := lane & mask
	var j uint32
	var ok bool
	switch mode {
	case "up":
		j = lane - bval
		ok = int32(j) >= int32(maxLane)
	case "down":
		j = lane + bval
		ok = j <= maxLane
	case "bfly":
		j = lane ^ bval
		ok = j <= maxLane
	default:
		j = minLane | bval&^mask
		ok = j <= maxLane
	}
	if !ok {
		j = lane
	}
	return j, ok
}

func (c *compiler) opVote(in *syntax.Instr) {
	if !in.Has("sync") || len(in.Args) != 3 {
		c.fail("vote without .sync is not supported")
	}
	dt := syntax.Pred
	if in.Has("ballot") {
		dt = syntax.B32
	}
	d := c.dst(0, dt)
	p, not := c.predSource(1)
	c.members(2)
	c.whenAll(d, p)
	c.out.run = func(w *warp, m uint32) {
		q := w.pred[p.idx]
		if not {
			q = ^q
		}
		q &= m
		if dt == syntax.B32 {
			w.setAll(d, m, uint64(q))
			return
		}
		var r bool
		switch {
		case in.Has("all"):
			r = q == m
		case in.Has("any"):
			r = q != 0
		default:
			r = q == 0 || q == m
		}
		w.setAll(d, m, uint64(bit(r)))
	}
}

// whenAll makes a result defined in every lane only if the source is in all.
func (c *compiler) whenAll(d, s slot) {
	c.out.undef = func(w *warp, m uint32) {
		if w.def[s.id]&m == m {
			w.def[d.id] |= m
		} else {
			w.def[d.id] &^= m
		}
	}
}

func (w *warp) setAll(d slot, m uint32, v uint64) {
	for ; m != 0; m &= m - 1 {
		w.set(d, bits.TrailingZeros32(m), v)
	}
}

func (c *compiler) opMatch(in *syntax.Instr) {
	t := c.typ(0)
	d := c.dst(0, syntax.B32)
	var p *slot
	if r := c.arg(0).Reg2; r >= 0 {
		s := c.wrote(c.fr.regs[r])
		p = &s
	}
	a := c.src(1, t)
	c.members(2)
	c.whenAll(d, a)
	all := in.Has("all")
	c.out.run = func(w *warp, m uint32) {
		var same uint32 // lanes that agree with all others, for match.all
		first := w.get(a, bits.TrailingZeros32(m))
		equal := true
		for k := m; k != 0; k &= k - 1 {
			i := bits.TrailingZeros32(k)
			v := w.get(a, i)
			equal = equal && v == first
			if all {
				continue
			}
			same = 0
			for q := m; q != 0; q &= q - 1 {
				j := bits.TrailingZeros32(q)
				same |= bit(w.get(a, j) == v) << j
			}
			w.set(d, i, uint64(same))
		}
		if all {
			if equal {
				same = m
			}
			w.setAll(d, m, uint64(same))
			if p != nil {
				w.setAll(*p, m, uint64(bit(equal)))
				if w.def != nil {
					w.def[p.id] = w.def[p.id]&^m | w.def[a.id]&m
				}
			}
		}
	}
}

func (c *compiler) opRedux(in *syntax.Instr) {
	t := c.typ(0)
	d, a := c.dst(0, t), c.src(1, t)
	c.members(2)
	c.whenAll(d, a)
	var f fn2
	switch {
	case in.Has("add"):
		f = func(a, b uint64) uint64 { return a + b }
	case in.Has("and"):
		f = func(a, b uint64) uint64 { return a & b }
	case in.Has("or"):
		f = func(a, b uint64) uint64 { return a | b }
	case in.Has("xor"):
		f = func(a, b uint64) uint64 { return a ^ b }
	case in.Has("min") || in.Has("max"):
		isMax := in.Has("max")
		if t.Float() {
			c.fail("redux of a float type is not supported")
		}
		f = func(a, b uint64) uint64 {
			less := a < b
			if t.Signed() {
				less = int32(a) < int32(b)
			}
			if less == isMax {
				return b
			}
			return a
		}
	default:
		c.fail("unknown reduction")
	}
	c.out.run = func(w *warp, m uint32) {
		i := bits.TrailingZeros32(m)
		r := w.get(a, i)
		for k := m & (m - 1); k != 0; k &= k - 1 {
			r = f(r, w.get(a, bits.TrailingZeros32(k)))
		}
		w.setAll(d, m, uint64(uint32(r)))
	}
}

func (c *compiler) opActivemask(*syntax.Instr) {
	d := c.dst(0, syntax.B32)
	c.out.run = func(w *warp, m uint32) { w.setAll(d, m, uint64(m)) }
}

// opElect picks the lowest lane of the membermask.
func (c *compiler) opElect(in *syntax.Instr) {
	d := c.dst(0, syntax.B32)
	if c.arg(0).Reg2 < 0 {
		c.fail("elect needs a predicate destination")
	}
	p := c.wrote(c.fr.regs[c.arg(0).Reg2])
	c.members(1)
	c.out.run = func(w *warp, m uint32) {
		lead := bits.TrailingZeros32(m)
		w.setAll(d, m, uint64(lead))
		w.pred[p.idx] = w.pred[p.idx]&^m | 1<<lead
	}
}

// opMovmatrix transposes an 8x8 matrix of 16-bit elements held by the warp.
func (c *compiler) opMovmatrix(in *syntax.Instr) {
	if !in.Has("trans") {
		c.fail("movmatrix without .trans")
	}
	d, a := c.dst(0, syntax.B32), c.src(1, syntax.B32)
	c.whole()
	c.out.undef = func(*warp, uint32) {}
	di, ai := c.need32(d), c.need32(a)
	c.out.run = func(w *warp, m uint32) {
		src := w.r32[ai]
		at := func(r, col int) uint32 { return src[4*r+col/2] >> (16 * (col & 1)) & 0xffff }
		var def uint32
		for i := range 32 {
			r, col := i/4, 2*(i%4)
			w.r32[di][i] = at(col, r) | at(col+1, r)<<16
			if w.def != nil {
				s := w.def[a.id]
				def |= s >> (4*col + r/2) & (s >> (4*(col+1) + r/2)) & 1 << i
			}
		}
		if w.def != nil {
			w.def[d.id] = def
		}
	}
}
