package emu

import (
	"math/bits"

	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

// asyncCopy is a cp.async under way: its destination belongs to it until the
// issuing thread has waited for it.
type asyncCopy struct {
	lane  int
	seq   int // number among the warp's copies
	group int // number among the lane's groups
	off   int
	n     int
	data  [16]byte
	valid uint16 // bytes that have values
	issue *instr
}

// asyncState is a warp's copies and how many groups each lane has committed.
type asyncState struct {
	copies    []asyncCopy
	issued    int
	committed [32]int
}

// opCp decodes cp.async and its commit and wait instructions.
func (c *compiler) opCp(in *syntax.Instr) {
	switch {
	case in.Has("bulk"):
		c.opBulk(in)
	case in.Has("mbarrier") && in.Has("arrive") && len(in.Args) == 1:
		c.asyncArrive(in)
	case len(in.Mods) < 2 || c.mod(1) != "async":
		c.fail("this copy is not supported")
	case in.Has("commit_group"):
		c.out.run = func(w *warp, m uint32) {
			for ; m != 0; m &= m - 1 {
				w.async.committed[bits.TrailingZeros32(m)]++
			}
		}
	case in.Has("wait_all"):
		c.out.run = func(w *warp, m uint32) { w.completeAsync(m, -1) }
	case in.Has("wait_group"):
		if len(in.Args) != 1 || c.arg(0).Kind != syntax.KInt {
			c.fail("the number of groups must be an immediate")
		}
		n := int(c.arg(0).Imm)
		c.out.run = func(w *warp, m uint32) { w.completeAsync(m, n) }
	default:
		c.asyncCopy(in)
	}
}

func (c *compiler) asyncCopy(in *syntax.Instr) {
	if !in.Has("shared") && !in.Has("shared::cta") && !in.Has("shared::cluster") || !in.Has("global") || len(in.Args) < 3 {
		c.fail("this copy is not supported")
	}
	dst, src := c.address(c.arg(0), syntax.Shared), c.address(c.arg(1), syntax.Global)
	if c.arg(2).Kind != syntax.KInt {
		c.fail("the size must be an immediate")
	}
	n := int(c.arg(2).Imm)
	if n != 4 && n != 8 && n != 16 || in.Has("cg") && n != 16 {
		c.fail("%d bytes cannot be copied", n)
	}
	rest := in.Args[3:]
	if in.Has("L2::cache_hint") && len(rest) > 0 {
		rest = rest[:len(rest)-1]
	}
	var size, ignore *slot
	var ignoreNot bool
	if len(rest) > 0 {
		o := rest[0]
		if o.Kind == syntax.KReg && c.fr.regs[o.Reg].class == classPred {
			s, not := c.predSource(3)
			ignore, ignoreNot = &s, not
			c.out.must = append(c.out.must, s.id)
		} else {
			s := c.value(o, syntax.U32)
			size = &s
			c.out.must = append(c.out.must, s.id)
		}
	}
	c.out.op = Async
	c.noteWidth(syntax.Shared, 4)
	count := c.countAccess(src, n, false)
	c.out.run = func(w *warp, m uint32) {
		reads := m
		for k := m; k != 0; k &= k - 1 {
			i := bits.TrailingZeros32(k)
			take := n
			if size != nil {
				take = int(uint32(w.get(*size, i)))
				if take > n {
					w.fault(InvalidOperation, i, "source size %d exceeds %d", take, n)
				}
			}
			if ignore != nil && (w.pred[ignore.idx]>>i&1 != 0) != ignoreNot {
				take = 0
			}
			if take == 0 {
				reads &^= 1 << i
			}
			w.issueAsync(&dst, &src, i, n, take)
		}
		count(w, reads)
	}
}

// issueAsync reads the source and claims the destination.
func (w *warp) issueAsync(dst, src *memRef, lane, n, take int) {
	w.async.issued++
	cp := asyncCopy{lane: lane, seq: w.async.issued, n: n, group: w.async.committed[lane], issue: w.cur, valid: ^uint16(0)}
	r, off := w.resolve(syntax.Shared, w.addr(dst, lane), n, lane)
	cp.off = off
	w.writeAccess(r, off, n, lane, semantics{write: true}, nil)
	if take > 0 {
		if a := w.addr(src, lane); a&uint64(n-1) != 0 {
			w.fault(Misaligned, lane, "global address %#x is not a multiple of %d", a, n)
		}
		for done := 0; done < take; { // a source size need not be a power of two
			k := 1
			for done%(2*k) == 0 && done+2*k <= take {
				k *= 2
			}
			s, so := w.resolve(syntax.Global, w.addr(src, lane)+uint64(done), k, lane)
			w.readAccess(s, so, k, lane, semantics{})
			copy(cp.data[done:], s.data[so:so+k])
			for b := range k {
				if !s.defined(so+b, 1) {
					cp.valid &^= 1 << (done + b)
				}
			}
			done += k
		}
	}
	w.b.claim(off, n, true)
	w.async.copies = append(w.async.copies, cp)
}

// completeAsync finishes the lanes' copies except those of their last keep
// committed groups; keep < 0 finishes the uncommitted ones as well.
func (w *warp) completeAsync(lanes uint32, keep int) {
	out := w.async.copies[:0]
	for _, cp := range w.async.copies {
		if lanes>>cp.lane&1 == 0 || keep >= 0 && cp.group >= w.async.committed[cp.lane]-keep {
			out = append(out, cp)
			continue
		}
		w.finishCopy(&cp)
	}
	w.async.copies = out
}

// completeUpTo finishes a lane's copies up to the one numbered last.
func (w *warp) completeUpTo(lane, last int) {
	out := w.async.copies[:0]
	for _, cp := range w.async.copies {
		if cp.lane == lane && cp.seq <= last {
			w.finishCopy(&cp)
		} else {
			out = append(out, cp)
		}
	}
	w.async.copies = out
}

// finishCopy writes what a copy has read.
func (w *warp) finishCopy(cp *asyncCopy) {
	w.b.claim(cp.off, cp.n, false)
	r := &w.b.shared
	w.writeAccess(r, cp.off, cp.n, cp.lane, semantics{write: true}, cp.data[:cp.n])
	copy(r.data[cp.off:], cp.data[:cp.n])
	for b := range cp.n {
		r.define(cp.off+b, 1, cp.valid>>b&1 != 0)
	}
}

// claim marks shared bytes as the destination of a copy under way.
func (b *block) claim(off, n int, on bool) {
	if b.claimed == nil {
		b.claimed = make([]uint64, len(b.shared.data)/64+2)
	}
	for i := off; i < off+n; i++ {
		if on {
			b.claimed[i>>6] |= 1 << (i & 63)
			b.claims++
		} else {
			b.claimed[i>>6] &^= 1 << (i & 63)
			b.claims--
		}
	}
}

// checkClaim faults an access to bytes that a copy under way will write.
func (w *warp) checkClaim(b *block, off, n, lane int) {
	for i := off; i < off+n; i++ {
		if b.claimed[i>>6]>>(i&63)&1 == 0 {
			continue
		}
		for _, rd := range b.bulkIn {
			for _, p := range rd.pieces {
				if p.r == &b.shared && i >= p.off && i < p.off+p.n {
					w.fault(AsyncPending, lane, "shared byte %#x is the destination of the bulk copy of line %d, whose mbarrier this thread has not waited at", i, rd.issue.src.Line)
				}
			}
		}
		for _, o := range b.warps {
			for _, cp := range o.async.copies {
				if i >= cp.off && i < cp.off+cp.n {
					w.fault(AsyncPending, lane, "shared byte %#x is the destination of the cp.async that warp %d, lane %d issued at line %d and has not waited for", i, o.id, cp.lane, cp.issue.src.Line)
				}
			}
		}
	}
}
