package emu

import (
	"encoding/binary"
	"math/bits"

	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

var le = binary.LittleEndian

// memRef is a decoded address operand.
type memRef struct {
	space syntax.Space
	base  slot
	off   uint64
	kern  bool // in the kernel's parameter block
}

// address decodes the operand [base+offset] of an access to a space.
func (c *compiler) address(o syntax.Operand, space syntax.Space) memRef {
	if o.Kind != syntax.KMem {
		c.fail("operand is not an address")
	}
	if o.Vec != nil {
		c.fail("an address with coordinates is not supported here")
	}
	ref := memRef{space: space, off: o.Imm}
	switch {
	case o.Reg >= 0:
		ref.base = c.fr.regs[o.Reg]
		if ref.base.class == classPred {
			c.fail("a predicate is not an address")
		}
		c.out.must = append(c.out.must, ref.base.id)
		ref.kern = space == syntax.Param && c.fr.entry
		if space == syntax.Param && !c.fr.entry { // a parameter of a device function
			ref.space = syntax.Local
		}
	case o.Sym != "":
		pl := c.place(o.Sym)
		ref.kern = pl.kern
		switch {
		case pl.sym != nil:
			ref.base = c.constant(0, 64, pl.sym)
		case pl.space == syntax.Shared:
			ref.base = c.symbolAddress(syntax.Operand{Sym: o.Sym}, pl, 64)
		default:
			ref.base = c.constant(uint64(pl.off), 64, nil)
			if pl.space == syntax.Param && !pl.kern || pl.space == syntax.Local {
				ref.space = syntax.Local
			}
		}
		if space == syntax.Generic {
			// A symbol used without its space: its own space is meant.
			ref.space = pl.space
		}
	default:
		ref.base = c.constant(0, 64, nil)
	}
	if ref.space == syntax.Const {
		ref.space = syntax.Global
	}
	return ref
}

// addr is a lane's address.
func (w *warp) addr(ref *memRef, lane int) uint64 {
	if ref.base.class == class64 {
		return w.r64[ref.base.idx][lane&31] + ref.off
	}
	return uint64(w.r32[ref.base.idx][lane&31] + uint32(ref.off))
}

// resolve finds the region of an access of n bytes and checks it.
func (w *warp) resolve(space syntax.Space, addr uint64, n, lane int) (*region, int) {
	if space == syntax.Generic {
		switch {
		case addr-sharedWindow < windowSize:
			space, addr = syntax.Shared, addr-sharedWindow
		case addr-localWindow < windowSize:
			space, addr = syntax.Local, addr-localWindow
		case addr-paramWindow < windowSize:
			return w.kernelParams(addr-paramWindow, n, lane)
		default:
			space = syntax.Global
		}
	}
	if addr&uint64(n-1) != 0 {
		w.fault(Misaligned, lane, "%s address %#x is not a multiple of %d", space, addr, n)
	}
	var r *region
	switch space {
	case syntax.Shared:
		r = &w.b.shared
		if addr >= clusterStep {
			r, addr = w.remote(addr, lane)
		}
	case syntax.Local, syntax.Param:
		r = w.local(lane)
	default:
		r = w.hit
		if r == nil || addr-r.base >= uint64(len(r.data)) {
			r = w.b.l.dev.mem.find(addr)
			if r == nil {
				w.fault(OutOfBounds, lane, "%d bytes at global address %#x: no allocation is near", n, addr)
			}
			w.hit = r
		}
	}
	off := addr - r.base
	if off > uint64(len(r.data)) || off+uint64(n) > uint64(len(r.data)) {
		if !r.lastWord(off, n) || !w.cur.strong {
			w.outOfBounds(r, space, addr, n, lane)
		}
	}
	if r.ok != nil && !bitsSet(r.ok, int(off), n) {
		w.fault(OutOfBounds, lane, "%d bytes at shared address %#x are outside every shared variable", n, addr)
	}
	return r, int(off)
}

// kernelParams resolves the address of a kernel's parameter in generic space.
func (w *warp) kernelParams(off uint64, n, lane int) (*region, int) {
	l := w.b.l
	if l.paramRegion == nil {
		l.paramRegion = &region{space: syntax.Param, data: l.params}
	}
	if off+uint64(n) > uint64(len(l.params)) {
		w.fault(OutOfBounds, lane, "byte %d of %d bytes of parameters", off, len(l.params))
	}
	if off&uint64(n-1) != 0 {
		w.fault(Misaligned, lane, "parameter offset %d is not a multiple of %d", off, n)
	}
	return l.paramRegion, int(off)
}

// lastWord reports whether an access is the aligned word around the last
// bytes of a global allocation.
func (r *region) lastWord(off uint64, n int) bool {
	return r.space == syntax.Global && n == 4 && off < uint64(len(r.data)) && off+4 <= uint64(cap(r.data))
}

func (w *warp) outOfBounds(r *region, space syntax.Space, addr uint64, n, lane int) {
	if space == syntax.Global {
		w.fault(OutOfBounds, lane, "%d bytes at global address %#x%s", n, addr, w.b.l.dev.nearest(addr))
	}
	w.fault(OutOfBounds, lane, "%d bytes at %s address %#x, which has %d bytes", n, space, addr, len(r.data))
}

func (c *compiler) memType() (syntax.Type, int) {
	t := c.typ(0)
	vec := 1
	switch {
	case c.in.Has("v2"):
		vec = 2
	case c.in.Has("v4"):
		vec = 4
	case c.in.Has("v8"):
		vec = 8
	}
	if t == syntax.Pred || t == syntax.B128 {
		c.fail("type %s is not supported here", t)
	}
	if t.Size()*vec > 32 {
		c.fail("the access is wider than 32 bytes")
	}
	return t, vec
}

// noteWidth records the narrowest access, which sets the grain of race checks.
func (c *compiler) noteWidth(space syntax.Space, n int) {
	if space == syntax.Global || space == syntax.Shared || space == syntax.Generic {
		c.p.granule = min(c.p.granule, n)
	}
}

func (c *compiler) opLd(in *syntax.Instr) {
	space, _ := spaceMod(in)
	t, vec := c.memType()
	parts := vector(c.arg(0))
	if len(parts) != vec {
		c.fail("%d destinations for %d elements", len(parts), vec)
	}
	ref := c.address(c.arg(1), space)
	n := t.Size()
	var ds []slot
	for _, p := range parts {
		ds = append(ds, c.loadDst(p, t))
	}
	c.out.dsts = nil // definedness comes from memory
	if ref.kern {
		c.out.op = ALU
		c.out.run = loadParam(ref, ds, t)
		return
	}
	c.noteWidth(ref.space, n)
	sem := c.semantics(in)
	if a := c.arg(1); c.fr.guesses[guess{a.Reg, a.Imm}] && a.Reg >= 0 && !sem.strong {
		sem.strong, sem.scope = true, scopeGPU
	}
	c.out.strong = sem.strong
	total := n * vec
	signed := t.Signed()
	count := c.countAccess(ref, total, false)
	plain := n == 4 && allWords(ds)
	c.out.run = func(w *warp, m uint32) {
		count(w, m)
		if sem.strong {
			w.polls++
		}
		if plain && m == fullMask && sem.plain() {
			if b, r, off := w.coalesced(&ref, total); b != nil && r.undefinedLanes(off, total) == 0 {
				w.readRange(r, off, total, m)
				for j, d := range ds {
					D := &w.r32[d.idx]
					for i := range D {
						D[i] = le.Uint32(b[i*total+4*j:])
					}
				}
				w.setDefined(ds, m, 0)
				return
			}
		}
		// Lanes that share an address share its checks: the first looks for
		// itself, the second for the warp as a whole, the rest need not look.
		var undefined uint32
		var known [8]sharedRead
		n8 := 0
		share := sem.plain() && !w.clock.busy && w.clock.lanes == nil
		for k := m; k != 0; k &= k - 1 {
			i := bits.TrailingZeros32(k)
			a := w.addr(&ref, i)
			var r *region
			var off int
			for q := range known[:n8] {
				if e := &known[q]; e.addr == a {
					r, off = e.r, e.off
					if !e.whole {
						e.whole = true
						w.readAccess(r, off, total, i, semantics{all: true})
					}
					break
				}
			}
			if r == nil {
				r, off = w.resolve(ref.space, a, total, i)
				w.readAccess(r, off, total, i, sem)
				if share && n8 < len(known) && r.space != syntax.Local {
					known[n8] = sharedRead{addr: a, r: r, off: off}
					n8++
				}
			}
			holes := !r.defined(off, total)
			b := r.data[off : off+total]
			if sem.strong && len(w.b.l.older) > 0 {
				if o := w.stale(r, off, total, i); o != nil {
					b = o
				}
			}
			if plain {
				for j, d := range ds {
					w.r32[d.idx][i&31] = le.Uint32(b[4*j:])
				}
			} else {
				for j, d := range ds {
					v := loadBytes(b[j*n:], n)
					if signed {
						v = uint64(sext(v, n))
					}
					w.set(d, i, v)
				}
			}
			if holes {
				undefined |= 1 << i
				for j, d := range ds {
					w.setDefinedBits(d, i, r.definedBytes(off+j*n, n, signed))
				}
			}
		}
		w.setDefined(ds, m&^undefined, 0)
	}
}

// definedBytes is the bits of an n-byte value in memory that have values,
// extended as the value is.
func (r *region) definedBytes(off, n int, signed bool) uint64 {
	var v uint64
	for i := range n {
		if r.defined(off+i, 1) {
			v |= 255 << (8 * i)
		}
	}
	if signed {
		return uint64(sext(v, n))
	}
	return v | ^zext(^uint64(0), n)
}

// sharedRead is an address that a load has checked for one lane, or for all.
type sharedRead struct {
	addr  uint64
	r     *region
	off   int
	whole bool
}

// loadDst is a load's destination, which may be wider than the type.
func (c *compiler) loadDst(o syntax.Operand, t syntax.Type) slot {
	return c.dstOperand(o, t)
}

func allWords(ds []slot) bool {
	for _, d := range ds {
		if d.class != class32 || d.bits != 32 {
			return false
		}
	}
	return true
}

func (w *warp) setDefined(ds []slot, m, undefined uint32) {
	if w.def == nil {
		return
	}
	for _, d := range ds {
		w.def[d.id] = (w.def[d.id] | m) &^ (undefined & m)
	}
}

func loadBytes(b []byte, n int) uint64 {
	switch n {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(le.Uint16(b))
	case 4:
		return uint64(le.Uint32(b))
	}
	return le.Uint64(b)
}

func storeBytes(b []byte, n int, v uint64) {
	switch n {
	case 1:
		b[0] = byte(v)
	case 2:
		le.PutUint16(b, uint16(v))
	case 4:
		le.PutUint32(b, uint32(v))
	default:
		le.PutUint64(b, v)
	}
}

// loadParam reads the kernel's parameters, which are the same for all lanes
// unless a register indexes them.
func loadParam(ref memRef, ds []slot, t syntax.Type) exec {
	n := t.Size()
	return func(w *warp, m uint32) {
		p := w.b.l.params
		for k := m; k != 0; k &= k - 1 {
			i := bits.TrailingZeros32(k)
			a := w.addr(&ref, i)
			if a > uint64(len(p)) || a+uint64(n*len(ds)) > uint64(len(p)) {
				w.fault(OutOfBounds, i, "byte %d of %d bytes of parameters", a, len(p))
			}
			for j, d := range ds {
				v := loadBytes(p[int(a)+j*n:], n)
				if t.Signed() {
					v = uint64(sext(v, n))
				}
				w.set(d, i, v)
			}
		}
		w.setDefined(ds, m, 0)
	}
}

func (c *compiler) opSt(in *syntax.Instr) {
	if in.Has("async") || in.Has("bulk") {
		c.fail("asynchronous stores are not supported")
	}
	space, _ := spaceMod(in)
	t, vec := c.memType()
	parts := vector(c.arg(1))
	if len(parts) != vec {
		c.fail("%d sources for %d elements", len(parts), vec)
	}
	ref := c.address(c.arg(0), space)
	if ref.kern {
		c.fail("kernel parameters are read-only")
	}
	n := t.Size()
	var ss []slot
	for _, p := range parts {
		s := c.value(p, t)
		if s.class == classPred || n == 8 && s.class != class64 {
			c.fail("a stored operand does not fit the type")
		}
		ss = append(ss, s)
	}
	c.out.stores = ss
	c.noteWidth(ref.space, n)
	sem := c.semantics(in)
	sem.write = true
	total := n * vec
	count := c.countAccess(ref, total, true)
	plain := n == 4 && allWords(ss)
	c.out.run = func(w *warp, m uint32) {
		count(w, m)
		w.release(sem, m)
		if plain && m == fullMask && sem.plain() {
			if b, r, off := w.coalesced(&ref, total); b != nil && w.allDefined(ss, m) {
				w.writeRange(r, off, total, m)
				for j, s := range ss {
					S := &w.r32[s.idx]
					for i := range S {
						le.PutUint32(b[i*total+4*j:], S[i])
					}
				}
				r.defineAll(off, 32*total, true)
				return
			}
		}
		var buf [32]byte
		for k := m; k != 0; k &= k - 1 {
			i := bits.TrailingZeros32(k)
			r, off := w.resolve(ref.space, w.addr(&ref, i), total, i)
			for j, s := range ss {
				storeBytes(buf[j*n:], n, w.get(s, i))
			}
			w.writeAccess(r, off, total, i, sem, buf[:total])
			copy(r.data[off:off+total], buf[:total])
			if r.valid != nil {
				for j, s := range ss {
					if w.def == nil || w.def[s.id]>>i&1 != 0 {
						r.define(off+j*n, n, true)
						continue
					}
					has := w.definedBits(s, i)
					for b := range n {
						r.define(off+j*n+b, 1, has>>(8*b)&255 == 255)
					}
					w.stainRegion(r, i)
				}
			}
		}
	}
}

func (w *warp) allDefined(ss []slot, m uint32) bool {
	if w.def == nil {
		return true
	}
	for _, s := range ss {
		if w.def[s.id]&m != m {
			return false
		}
	}
	return true
}

// stainRegion remembers the first undefined store to a global allocation.
func (w *warp) stainRegion(r *region, lane int) {
	if r.stain != nil || r.space != syntax.Global {
		return
	}
	r.stain = &stain{Fault{
		Kind: Uninitialised, Kernel: w.b.p.name, Block: w.b.idx, Warp: w.id, Lane: lane,
		Line: w.cur.src.Line, Instr: w.cur.src.Text,
	}}
}

// opHint is an instruction with no effect that the emulator could show.
func (c *compiler) opHint(*syntax.Instr) {
	c.out.run = func(*warp, uint32) {}
}

// opCreatepolicy makes a cache policy, an opaque value.
func (c *compiler) opCreatepolicy(*syntax.Instr) {
	d := c.dst(0, syntax.B64)
	c.out.run = func(w *warp, m uint32) {
		for ; m != 0; m &= m - 1 {
			w.set(d, bits.TrailingZeros32(m), 0x12f0000000000000)
		}
	}
}
