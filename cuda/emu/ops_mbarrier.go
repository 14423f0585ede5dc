package emu

import (
	"math/bits"

	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

// mbarrier is a barrier object in shared memory: a phase completes when the
// expected number of threads have arrived and the bytes they announced have
// been copied, and what they did before is then known to every thread that
// sees the phase complete.
type mbarrier struct {
	count   int // arrivals that complete a phase
	left    int // still to come in this phase
	bytes   int // announced and not yet copied
	phase   uint64
	arrived *vclock // what this phase's arrivals release
	done    *vclock // that of the phase before, for threads that wait for it
	// What asynchronous copies will do to the barrier when they complete: a
	// thread that waits makes them, the latest moment that the program allows.
	pending []func()
}

// opMbarrier decodes init, inval, arrive, arrive_drop, test_wait, try_wait,
// expect_tx and complete_tx.
func (c *compiler) opMbarrier(in *syntax.Instr) {
	what := c.mod(1)
	dst := 0 // operands in front of the address
	switch what {
	case "init", "inval", "expect_tx", "complete_tx":
	case "arrive", "arrive_drop", "test_wait", "try_wait", "pending_count":
		dst = 1
		if (what == "arrive" || what == "arrive_drop") && c.arg(0).Kind == syntax.KMem {
			dst = 0 // without a result
		}
	default:
		c.fail("unknown mbarrier operation")
	}
	if what == "pending_count" {
		d, a := c.dst(0, syntax.U32), c.src(1, syntax.B64)
		c.out.run = lift1(d, a, func(a uint64) uint64 { return a >> 32 }, nil)
		return
	}
	ref := c.address(c.arg(dst), syntax.Shared)
	value := func(i int, t syntax.Type) *slot {
		if i >= len(in.Args) {
			return nil
		}
		s := c.value(c.arg(i), t)
		c.out.must = append(c.out.must, s.id)
		return &s
	}
	switch what {
	case "init":
		c.mbarrierInit(&ref, value(1, syntax.U32))
	case "inval":
		c.out.run = func(w *warp, m uint32) {
			for ; m != 0; m &= m - 1 {
				b, off := w.mbarrierAt(&ref, bits.TrailingZeros32(m), true)
				delete(b.mbarriers, off)
			}
		}
	case "expect_tx", "complete_tx":
		n := value(1, syntax.U32)
		if n == nil {
			c.fail("the number of bytes is missing")
		}
		sign := 1
		if what == "complete_tx" {
			sign = -1
		}
		c.out.run = func(w *warp, m uint32) {
			for ; m != 0; m &= m - 1 {
				i := bits.TrailingZeros32(m)
				b, off := w.mbarrierAt(&ref, i, false)
				b.mbarriers[off].bytes += sign * int(uint32(w.get(*n, i)))
				b.mbarriers[off].advance()
			}
		}
	case "arrive", "arrive_drop":
		a := arriveOp{drop: what == "arrive_drop", expect: in.Has("expect_tx"), n: value(dst+1, syntax.U32)}
		if dst == 1 {
			d := c.dst(0, syntax.B64)
			a.d = &d
		}
		if a.expect && a.n == nil {
			c.fail("the number of bytes is missing")
		}
		c.out.run = func(w *warp, m uint32) { w.mbarrierArrive(&ref, a, m) }
	default:
		c.mbarrierWait(in, &ref, value)
	}
}

func (c *compiler) mbarrierInit(ref *memRef, n *slot) {
	if n == nil {
		c.fail("the count is missing")
	}
	c.out.run = func(w *warp, m uint32) {
		for ; m != 0; m &= m - 1 {
			i := bits.TrailingZeros32(m)
			count := int(uint32(w.get(*n, i)))
			if count < 1 || count >= 1<<20 {
				w.fault(InvalidOperation, i, "an mbarrier for %d arrivals", count)
			}
			b, off := w.mbarrierAt(ref, i, true)
			b.mbarriers[off] = &mbarrier{count: count, left: count}
		}
	}
}

// mbarrierWait is test_wait and try_wait, which the emulator does not suspend.
func (c *compiler) mbarrierWait(in *syntax.Instr, ref *memRef, value func(int, syntax.Type) *slot) {
	d := c.dst(0, syntax.Pred)
	t := syntax.B64
	parity := in.Has("parity")
	if parity {
		t = syntax.U32
	}
	state := value(2, t)
	if state == nil {
		c.fail("the state is missing")
	}
	c.out.run = func(w *warp, m uint32) {
		for k := m; k != 0; k &= k - 1 {
			i := bits.TrailingZeros32(k)
			at, off := w.mbarrierAt(ref, i, false)
			b := at.mbarriers[off]
			b.flush()
			want := w.get(*state, i)
			// Complete when the phase waited for is not the one under way.
			done := b.phase&1 != want&1
			if !parity {
				done = b.phase != want&0xffffffff
			}
			w.set(d, i, uint64(bit(done)))
			if done && b.done != nil {
				w.clock.busy = true
				w.clock.acquired[i] = join(w.clock.acquired[i], b.done)
			}
		}
		w.yield = true // a thread that polls lets the others run
		w.polls++
	}
}

// mbarrierAt is the block and shared address of a lane's mbarrier, which must
// have been initialised unless the operation does that.
func (w *warp) mbarrierAt(ref *memRef, lane int, initial bool) (*block, int) {
	r, off := w.resolve(ref.space, w.addr(ref, lane), 8, lane)
	b := w.blockOf(r)
	if b == nil {
		w.fault(InvalidOperation, lane, "an mbarrier outside shared memory")
	}
	switch {
	case initial:
		if b.mbarriers == nil {
			b.mbarriers = map[int]*mbarrier{}
		}
		w.writeAccess(r, off, 8, lane, semantics{write: true}, nil)
		r.define(off, 8, true)
	case b.mbarriers[off] == nil:
		w.fault(Uninitialised, lane, "the mbarrier at shared address %#x is not initialised", off)
	default:
		// Its own operations are atomic; they must still come after mbarrier.init.
		w.readAccess(r, off, 8, lane, semantics{})
	}
	return b, off
}

// arriveOp is a decoded arrive: its result and count, both optional.
type arriveOp struct {
	d, n         *slot
	drop, expect bool // n is bytes that copies will bring
}

func (w *warp) mbarrierArrive(ref *memRef, a arriveOp, m uint32) {
	var snap *[32]*released
	if w.following() {
		snap = w.snapshot(m, scopeGPU)
	}
	for k := m; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k)
		at, off := w.mbarrierAt(ref, i, false)
		b := at.mbarriers[off]
		times := 1
		switch {
		case a.expect:
			b.bytes += int(uint32(w.get(*a.n, i)))
		case a.n != nil:
			times = int(uint32(w.get(*a.n, i)))
		}
		if a.d != nil {
			w.set(*a.d, i, b.phase|uint64(b.left)<<32)
		}
		var rel *released
		if snap != nil {
			rel = snap[i]
		}
		w.arriveAt(b, times, rel, i)
		if a.drop {
			b.count -= times
		}
		w.b.l.counts.progress++
	}
}

// arriveAt counts arrivals in; what they release is known to those who wait.
func (w *warp) arriveAt(b *mbarrier, times int, rel *released, lane int) {
	if times < 1 || times > b.left {
		w.fault(InvalidOperation, lane, "%d arrivals at an mbarrier that expects %d more", times, b.left)
	}
	if rel != nil {
		b.arrived = join(b.arrived, rel.vc)
	}
	b.left -= times
	b.advance()
}

// advance completes the phase when everything has come.
func (b *mbarrier) advance() {
	if b.left == 0 && b.bytes == 0 {
		b.phase = (b.phase + 1) & 0xffffffff
		b.left = b.count
		b.done, b.arrived = b.arrived, nil
	}
}

// flush makes the asynchronous copies that the barrier waits for complete.
func (b *mbarrier) flush() {
	for len(b.pending) > 0 {
		f := b.pending[0]
		b.pending = b.pending[1:]
		f()
	}
}

// asyncArrive is cp.async.mbarrier.arrive: an arrival when the lane's copies
// so far have completed. Without .noinc it is one more than was expected.
func (c *compiler) asyncArrive(in *syntax.Instr) {
	ref := c.address(c.arg(0), syntax.Shared)
	noinc := in.Has("noinc")
	c.out.run = func(w *warp, m uint32) {
		for k := m; k != 0; k &= k - 1 {
			i := bits.TrailingZeros32(k)
			at, off := w.mbarrierAt(&ref, i, false)
			b := at.mbarriers[off]
			if !noinc {
				b.left++
			}
			in, n := w.cur, w.async.issued
			b.pending = append(b.pending, func() {
				w.as(in, func() {
					w.completeUpTo(i, n)
					w.arriveAt(b, 1, w.releasedNow(i), i)
				})
			})
		}
	}
}

// as runs something on behalf of an earlier instruction.
func (w *warp) as(in *instr, f func()) {
	cur := w.cur
	w.cur = in
	f()
	w.cur = cur
}

// releasedNow is a release by one lane at this moment; nil when races are not followed.
func (w *warp) releasedNow(lane int) *released {
	if !w.following() {
		return nil
	}
	return w.snapshot(1<<lane, scopeGPU)[lane]
}
