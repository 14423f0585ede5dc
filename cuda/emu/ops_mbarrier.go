package emu

import (
	"math/bits"

	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

// mbarrier is a barrier object in shared memory: a phase completes when the
// expected number of threads have arrived, and what they did before is then
// known to every thread that sees the phase complete.
type mbarrier struct {
	count   int // arrivals that complete a phase
	left    int // still to come in this phase
	phase   uint64
	arrived []*released // of this phase
	done    []*released // of the phase before, for threads that wait for it
}

// opMbarrier decodes init, inval, arrive, arrive_drop, test_wait and try_wait
// without transaction counts.
func (c *compiler) opMbarrier(in *syntax.Instr) {
	what := c.mod(1)
	if in.Has("expect_tx") || in.Has("complete_tx") || in.Has("shared::cluster") {
		c.fail("transaction counts are not supported")
	}
	dst := 0 // operands in front of the address
	switch what {
	case "init", "inval":
	case "arrive", "arrive_drop", "test_wait", "try_wait", "pending_count":
		dst = 1
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
		n := value(1, syntax.U32)
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
				off := w.mbarrierAt(&ref, i, true)
				w.b.mbarriers[off] = &mbarrier{count: count, left: count}
			}
		}
	case "inval":
		c.out.run = func(w *warp, m uint32) {
			for ; m != 0; m &= m - 1 {
				delete(w.b.mbarriers, w.mbarrierAt(&ref, bits.TrailingZeros32(m), true))
			}
		}
	case "arrive", "arrive_drop":
		d := c.dst(0, syntax.B64)
		n := value(2, syntax.U32)
		c.out.run = func(w *warp, m uint32) { w.mbarrierArrive(&ref, &d, n, m, what == "arrive_drop") }
	default:
		d := c.dst(0, syntax.Pred)
		state := value(2, syntax.B64)
		if in.Has("parity") {
			c.out.must = c.out.must[:len(c.out.must)-1]
			state = value(2, syntax.U32)
		}
		if state == nil {
			c.fail("the state is missing")
		}
		parity := in.Has("parity")
		c.out.run = func(w *warp, m uint32) {
			for k := m; k != 0; k &= k - 1 {
				i := bits.TrailingZeros32(k)
				b := w.b.mbarriers[w.mbarrierAt(&ref, i, false)]
				want := w.get(*state, i)
				// Complete when the phase waited for is not the one under way.
				done := b.phase&1 != want&1
				if !parity {
					done = b.phase != want&0xffffffff
				}
				w.set(d, i, uint64(bit(done)))
				if done && w.following() {
					for _, r := range b.done {
						w.clock.busy = true
						w.clock.acquired[i] = join(w.clock.acquired[i], r.vc)
					}
				}
			}
			w.yield = true // a thread that polls lets the others run
		}
	}
}

// mbarrierAt is the shared address of a lane's mbarrier, which must have been
// initialised unless the operation does that.
func (w *warp) mbarrierAt(ref *memRef, lane int, initial bool) int {
	r, off := w.resolve(ref.space, w.addr(ref, lane), 8, lane)
	if r != &w.b.shared {
		w.fault(InvalidOperation, lane, "an mbarrier outside shared memory")
	}
	switch {
	case initial:
		if w.b.mbarriers == nil {
			w.b.mbarriers = map[int]*mbarrier{}
		}
		w.writeAccess(r, off, 8, lane, semantics{write: true}, nil)
		r.define(off, 8, true)
	case w.b.mbarriers[off] == nil:
		w.fault(Uninitialised, lane, "the mbarrier at shared address %#x is not initialised", off)
	default:
		// Its own operations are atomic; they must still come after mbarrier.init.
		w.readAccess(r, off, 8, lane, semantics{})
	}
	return off
}

func (w *warp) mbarrierArrive(ref *memRef, d, n *slot, m uint32, drop bool) {
	var snap *[32]*released
	if w.following() {
		snap = w.snapshot(m, scopeCTA)
	}
	for k := m; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k)
		b := w.b.mbarriers[w.mbarrierAt(ref, i, false)]
		times := 1
		if n != nil {
			times = int(uint32(w.get(*n, i)))
		}
		w.set(*d, i, b.phase|uint64(b.left)<<32)
		if times < 1 || times > b.left {
			w.fault(InvalidOperation, i, "%d arrivals at an mbarrier that expects %d more", times, b.left)
		}
		if snap != nil {
			b.arrived = append(b.arrived, snap[i])
		}
		b.left -= times
		if drop {
			b.count -= times
		}
		if b.left == 0 {
			b.phase = (b.phase + 1) & 0xffffffff
			b.left = b.count
			b.done, b.arrived = b.arrived, nil
		}
		w.b.l.counts.progress++
	}
}
