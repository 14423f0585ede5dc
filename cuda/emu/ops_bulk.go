package emu

import (
	"math/bits"
	"slices"

	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

// Bulk copies move many bytes at once: a run of them, or a tile of a tensor
// that a 128-byte descriptor in memory tells about. Copies into shared memory
// claim their destination until a thread has waited at their mbarrier; copies
// out of shared memory read it until their group is waited for, which is
// checked then.

// bulkPiece is 16 bytes or fewer of a copy, at a shared address.
type bulkPiece struct {
	r    *region
	off  int
	data [16]byte
	n    int
	def  uint16
}

// bulkRead is a copy out of shared memory that may still be reading.
type bulkRead struct {
	lane, group int
	pieces      []bulkPiece
	issue       *instr
}

type bulkState struct {
	reads     []bulkRead
	committed [32]int
}

// opBulk decodes cp.async.bulk and cp.reduce.async.bulk.
func (c *compiler) opBulk(in *syntax.Instr) {
	switch {
	case in.Has("commit_group"):
		c.out.run = func(w *warp, m uint32) {
			for ; m != 0; m &= m - 1 {
				w.bulk.committed[bits.TrailingZeros32(m)]++
			}
		}
		return
	case in.Has("wait_group"):
		if len(in.Args) != 1 || c.arg(0).Kind != syntax.KInt {
			c.fail("the number of groups must be an immediate")
		}
		n := int(c.arg(0).Imm)
		c.out.run = func(w *warp, m uint32) { w.completeBulk(m, n) }
		return
	case in.Has("prefetch"):
		c.opHint(in)
		return
	}
	args := in.Args
	if in.Has("L2::cache_hint") {
		args = args[:len(args)-1]
	}
	var mask *slot
	if in.Has("multicast::cluster") {
		s := c.value(args[len(args)-1], syntax.B16)
		mask = &s
		c.out.must = append(c.out.must, s.id)
		args = args[:len(args)-1]
	}
	if in.Has("im2col") || in.Has("gather4") || in.Has("scatter4") || in.Has("cta_group") || in.Has("cp_mask") {
		c.fail("this kind of bulk copy is not supported")
	}
	var spaces []syntax.Space
	for _, m := range in.Mods {
		switch m {
		case "global":
			spaces = append(spaces, syntax.Global)
		case "shared", "shared::cta", "shared::cluster":
			spaces = append(spaces, syntax.Shared)
		}
	}
	if len(spaces) != 2 {
		c.fail("malformed state spaces")
	}
	b := &bulkCopy{mask: mask, tensor: in.Has("tensor"), reduce: in.Mods[1] == "reduce"}
	want := 3
	if !b.tensor {
		want = 4
	}
	b.load = spaces[0] == syntax.Shared
	if !b.load {
		want--
	}
	if len(args) != want || b.reduce && b.load {
		c.fail("%d operands", len(in.Args))
	}
	b.dst, b.src = c.bulkAddress(args[0], spaces[0]), c.bulkAddress(args[1], spaces[1])
	if b.tensor {
		tensor := args[1]
		if !b.load {
			tensor = args[0]
		}
		for _, o := range tensor.Vec {
			s := c.value(o, syntax.S32)
			b.coords = append(b.coords, s)
			c.out.must = append(c.out.must, s.id)
		}
		if len(b.coords) < 1 || len(b.coords) > 5 {
			c.fail("a tensor tile has one to five coordinates")
		}
	} else {
		b.size = c.value(args[2], syntax.U32)
		c.out.must = append(c.out.must, b.size.id)
	}
	if b.load {
		b.bar = c.address(args[len(args)-1], syntax.Shared)
	}
	if b.reduce {
		c.bulkReduction(in, b)
	}
	c.noteWidth(syntax.Global, 4)
	c.out.op = Async
	c.out.run = func(w *warp, m uint32) {
		for ; m != 0; m &= m - 1 {
			w.bulkIssue(b, bits.TrailingZeros32(m))
		}
	}
}

// bulkAddress is an address without the coordinates that may follow it.
func (c *compiler) bulkAddress(o syntax.Operand, s syntax.Space) memRef {
	o.Vec = nil
	return c.address(o, s)
}

// bulkCopy is a decoded bulk copy.
type bulkCopy struct {
	load, tensor, reduce bool
	dst, src, bar        memRef
	size                 slot
	coords               []slot
	mask                 *slot // blocks of the cluster that receive it
	op                   func(t syntax.Type) fn2
	t                    syntax.Type // of a reduction without a tensor
}

// bulkReduction prepares the functions for each element type; a tensor's
// descriptor says which one it is.
func (c *compiler) bulkReduction(in *syntax.Instr, b *bulkCopy) {
	fns := map[syntax.Type]fn2{}
	types := []syntax.Type{syntax.U32, syntax.S32, syntax.U64, syntax.S64, syntax.F16, syntax.BF16, syntax.F32, syntax.F64}
	if !b.tensor {
		b.t = c.typ(0)
		types = []syntax.Type{b.t}
	}
	logic := in.Has("and") || in.Has("or") || in.Has("xor") || in.Has("inc") || in.Has("dec")
	for _, t := range types {
		if !(logic && t.Float()) {
			fns[t] = c.atomicFn(in, t)
		}
	}
	b.op = func(t syntax.Type) fn2 { return fns[t] }
}

func (w *warp) bulkIssue(b *bulkCopy, lane int) {
	if !b.load {
		w.bulkStore(b, lane)
		return
	}
	pieces := w.bulkLoad(b, lane)
	ranks := uint64(0)
	if b.mask != nil {
		ranks = w.get(*b.mask, lane) & 0xffff
	}
	bar := w.addr(&b.bar, lane)
	if ranks == 0 {
		w.bulkDeliver(pieces, w.addr(&b.dst, lane), bar, lane)
		return
	}
	base := w.addr(&b.dst, lane)
	for ; ranks != 0; ranks &= ranks - 1 {
		rank := bits.TrailingZeros64(ranks)
		w.bulkDeliver(pieces, mapShared(base, rank), mapShared(bar, rank), lane)
	}
}

// tilePiece is where bytes of a copy go: shared address relative to the start.
type tilePiece struct {
	at   uint32
	n    int
	data [16]byte
	def  uint16
}

// bulkLoad reads the source.
func (w *warp) bulkLoad(b *bulkCopy, lane int) []tilePiece {
	var out []tilePiece
	if !b.tensor {
		n := w.bulkSize(b, lane)
		src := w.addr(&b.src, lane)
		for i := 0; i < n; i += 16 {
			r, off := w.resolve(b.src.space, src+uint64(i), 16, lane)
			out = append(out, w.sourcePiece(r, off, uint32(i), 16, lane))
		}
		return out
	}
	t := w.tensorMap(w.addr(&b.src, lane), lane)
	t.walk(w, b, lane, func(addr uint64, at uint32, inside bool) {
		if len(out) == 0 || out[len(out)-1].n+t.elem > 16 || int(at) != int(out[len(out)-1].at)+out[len(out)-1].n || at%16 == 0 {
			out = append(out, tilePiece{at: at})
		}
		p := &out[len(out)-1]
		def := uint16(1<<t.elem - 1)
		if inside {
			r, off := w.resolve(syntax.Global, addr, t.elem, lane)
			w.readAccess(r, off, t.elem, lane, semantics{})
			copy(p.data[p.n:], r.data[off:off+t.elem])
			if !r.defined(off, t.elem) {
				def = 0
			}
		}
		p.def |= def << p.n
		p.n += t.elem
	})
	w.countBulk(len(out)*16, false)
	return out
}

func (w *warp) sourcePiece(r *region, off int, at uint32, n, lane int) tilePiece {
	w.readAccess(r, off, n, lane, semantics{})
	p := tilePiece{at: at, n: n}
	copy(p.data[:], r.data[off:off+n])
	for i := range n {
		if r.defined(off+i, 1) {
			p.def |= 1 << i
		}
	}
	return p
}

func (w *warp) bulkSize(b *bulkCopy, lane int) int {
	n := int(uint32(w.get(b.size, lane)))
	if n%16 != 0 {
		w.fault(InvalidOperation, lane, "a bulk copy of %d bytes, which is not a multiple of 16", n)
	}
	w.countBulk(n, !b.load)
	return n
}

func (w *warp) countBulk(n int, store bool) {
	st := &w.b.l.counts.mem
	if store {
		st.GlobalStoreBytes += int64(n)
	} else {
		st.GlobalLoadBytes += int64(n)
	}
	st.GlobalSectors += int64(n+31) / 32
}

// bulkDeliver claims the destination in shared memory; the bytes arrive when
// a thread waits at the barrier.
func (w *warp) bulkDeliver(pieces []tilePiece, base, bar uint64, lane int) {
	r, off := w.resolve(syntax.Shared, bar, 8, lane)
	at := w.blockOf(r)
	if at == nil || at.mbarriers[off] == nil {
		w.fault(Uninitialised, lane, "the mbarrier at shared address %#x is not initialised", bar)
	}
	w.readAccess(r, off, 8, lane, semantics{})
	mb := at.mbarriers[off]
	total := 0
	var dst []bulkPiece
	for _, p := range pieces {
		total += p.n
		q := bulkPiece{data: p.data, n: p.n, def: p.def}
		if p.n < 16 && p.n&(p.n-1) != 0 {
			w.fault(InvalidOperation, lane, "a tile row of %d bytes", p.n)
		}
		q.r, q.off = w.resolve(syntax.Shared, base+uint64(p.at), p.n, lane)
		w.writeAccess(q.r, q.off, q.n, lane, semantics{write: true}, nil)
		w.blockOf(q.r).claim(q.off, q.n, true)
		dst = append(dst, q)
	}
	in := w.cur
	under := &bulkRead{lane: lane, pieces: dst, issue: in}
	at.bulkIn = append(at.bulkIn, under)
	mb.pending = append(mb.pending, func() {
		w.as(in, func() {
			for _, q := range dst {
				w.blockOf(q.r).claim(q.off, q.n, false)
				w.writeAccess(q.r, q.off, q.n, lane, semantics{write: true}, q.data[:q.n])
				copy(q.r.data[q.off:], q.data[:q.n])
				for i := range q.n {
					q.r.define(q.off+i, 1, q.def>>i&1 != 0)
				}
			}
			if rel := w.releasedNow(lane); rel != nil {
				mb.arrived = join(mb.arrived, rel.vc)
			}
			at.bulkIn = slices.DeleteFunc(at.bulkIn, func(r *bulkRead) bool { return r == under })
			mb.bytes -= total
			mb.advance()
			w.b.l.counts.progress++
		})
	})
}

// bulkStore copies out of shared memory at once, and remembers what it read.
func (w *warp) bulkStore(b *bulkCopy, lane int) {
	rd := bulkRead{lane: lane, group: w.bulk.committed[lane], issue: w.cur}
	src := w.addr(&b.src, lane)
	put := func(addr uint64, at uint32, n int, t syntax.Type) {
		r, off := w.resolve(syntax.Shared, src+uint64(at), n, lane)
		p := w.sourcePiece(r, off, at, n, lane)
		rd.pieces = append(rd.pieces, bulkPiece{r: r, off: off, data: p.data, n: n})
		g, to := w.resolve(syntax.Global, addr, n, lane)
		data := p.data
		sem := semantics{write: true}
		if b.reduce {
			sem = semantics{write: true, strong: true, atomic: true, scope: scopeGPU}
			f := b.op(t)
			if f == nil {
				w.fault(InvalidOperation, lane, "this reduction has no elements of type %s", t)
			}
			size := t.Size()
			for i := 0; i < n; i += size {
				storeBytes(data[i:], size, f(loadBytes(g.data[to+i:], size), loadBytes(p.data[i:], size)))
			}
		}
		w.writeAccess(g, to, n, lane, sem, data[:n])
		copy(g.data[to:], data[:n])
		for i := range n {
			g.define(to+i, 1, p.def>>i&1 != 0)
		}
		if p.def != 1<<n-1 {
			w.stainRegion(g, lane)
		}
	}
	if b.tensor {
		t := w.tensorMap(w.addr(&b.dst, lane), lane)
		t.walk(w, b, lane, func(addr uint64, at uint32, inside bool) {
			if inside {
				put(addr, at, t.elem, t.typ)
			}
		})
	} else {
		n := w.bulkSize(b, lane)
		dst := w.addr(&b.dst, lane)
		for i := 0; i < n; i += 16 {
			put(dst+uint64(i), uint32(i), 16, b.t)
		}
	}
	w.bulk.reads = append(w.bulk.reads, rd)
}

// completeBulk waits for the lanes' copies but those of their last keep groups.
func (w *warp) completeBulk(lanes uint32, keep int) {
	out := w.bulk.reads[:0]
	for _, rd := range w.bulk.reads {
		if lanes>>rd.lane&1 == 0 || rd.group >= w.bulk.committed[rd.lane]-keep {
			out = append(out, rd)
			continue
		}
		for _, p := range rd.pieces {
			if string(p.r.data[p.off:p.off+p.n]) != string(p.data[:p.n]) {
				w.fault(AsyncPending, rd.lane, "shared byte %#x was written before the bulk copy of line %d that reads it was waited for", p.off, rd.issue.src.Line)
			}
		}
	}
	w.bulk.reads = out
}
