package emu

import (
	"math/bits"
	"strings"

	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

// barrierOp is a decoded bar or barrier instruction.
type barrierOp struct {
	id      slot
	count   slot
	counted bool // names its number of threads
	arrive  bool // does not wait
	red     string
	dst     slot
	src     slot
	not     bool
	// anywhere is barrier without .aligned: warps may come to it at different
	// instructions, as those of a specialised kernel do.
	anywhere bool
	cluster  *clusterOp // of the cluster's barrier; nil for the block's
}

// barrierState is one of a block's sixteen barriers.
type barrierState struct {
	waiting  uint32 // warps that wait
	arrived  uint32 // warps that arrived without waiting
	expected int    // threads, 0 for the whole block
	line     *instr // the first warp's instruction
	first    int    // that warp
	popc     int
	and, or  bool
}

func (c *compiler) opBar(in *syntax.Instr) {
	if in.Mods[0] == "bar" && in.Has("warp") {
		c.members(0)
		c.out.run = func(w *warp, m uint32) { w.syncLanes(m) }
		return
	}
	if in.Has("cluster") {
		c.opClusterBarrier(in)
		return
	}
	b := &barrierOp{arrive: in.Has("arrive"), anywhere: in.Mods[0] == "barrier" && !in.Has("aligned")}
	args := in.Args
	if in.Has("red") {
		for _, op := range []string{"popc", "and", "or"} {
			if in.Has(op) {
				b.red = op
			}
		}
		if b.red == "" || len(args) < 3 {
			c.fail("malformed barrier reduction")
		}
		dt := syntax.Pred
		if b.red == "popc" {
			dt = syntax.U32
		}
		b.dst = c.dst(0, dt)
		b.src, b.not = c.predSource(len(args) - 1)
		args = args[1 : len(args)-1]
	}
	if len(args) == 0 || len(args) > 2 {
		c.fail("%d operands", len(in.Args))
	}
	b.id = c.value(args[0], syntax.U32)
	c.out.must = append(c.out.must, b.id.id)
	if len(args) == 2 {
		b.counted = true
		b.count = c.value(args[1], syntax.U32)
		c.out.must = append(c.out.must, b.count.id)
	} else if b.arrive {
		c.fail("bar.arrive needs a thread count")
	}
	c.out.flow, c.out.bar = flowBarrier, b
}

// barrier makes the warp arrive once all its lanes have.
func (w *warp) barrier(in *instr, mask, lanes uint32, pc int32) {
	if lanes != mask {
		w.goTo(mask&^lanes, pc+1)
	}
	if lanes == 0 {
		return
	}
	arrived := lanes | w.parkedAt(pc)
	if arrived != w.live {
		w.park(lanes, pc)
		return
	}
	w.parked = 0
	w.goTo(w.live, pc+1)
	w.b.arrive(w, in)
}

// arrive counts a warp in at a barrier and opens it when it is the last.
func (b *block) arrive(w *warp, in *instr) {
	op := in.bar
	if op.cluster != nil {
		w.arriveCluster(in)
		return
	}
	first := bits.TrailingZeros32(w.live)
	id := int(w.get(op.id, first))
	if id < 0 || id >= len(b.bars) {
		w.fault(InvalidOperation, first, "there is no barrier %d", id)
	}
	s := &b.bars[id]
	expected := 0
	if op.counted {
		expected = int(w.get(op.count, first))
		if expected == 0 || expected%32 != 0 || expected > 32*len(b.warps) {
			w.fault(InvalidOperation, first, "a barrier of %d threads in a block of %d warps", expected, len(b.warps))
		}
	}
	for k := w.live; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k)
		if int(w.get(op.id, i)) != id || op.counted && int(w.get(op.count, i)) != expected {
			w.fault(Divergence, i, "lanes of one warp name different barriers")
		}
	}
	if s.line == nil {
		s.expected, s.line, s.first, s.and = expected, in, w.id, true
	} else {
		if s.expected != expected {
			w.fault(Divergence, -1, "warp %d waits at barrier %d for %d threads (line %d), this warp for %d", s.first, id, s.expected, s.line.src.Line, expected)
		}
		if expected == 0 && s.line != in && !(op.anywhere && s.line.bar.anywhere) {
			w.fault(Divergence, -1, "warps of one block are at different barriers: warp %d at line %d [%s]", s.first, s.line.src.Line, s.line.src.Text)
		}
	}
	if op.red != "" {
		p := w.pred[op.src.idx]
		if op.not {
			p = ^p
		}
		p &= w.live
		s.popc += bits.OnesCount32(p)
		s.and = s.and && p == w.live
		s.or = s.or || p != 0
	}
	me := uint32(1) << w.id
	if (s.waiting|s.arrived)&me != 0 {
		w.fault(Divergence, -1, "the warp arrives twice at barrier %d before it opens", id)
	}
	if op.arrive {
		s.arrived |= me
		w.arriveClock(id)
	} else {
		s.waiting |= me
		w.atBar = in
	}
	b.tryOpen(id)
}

// tryOpen opens a barrier when everyone it waits for has arrived.
func (b *block) tryOpen(id int) {
	s := &b.bars[id]
	if s.line == nil {
		return
	}
	present := s.waiting | s.arrived
	if s.expected == 0 {
		for _, w := range b.warps {
			if w.live != 0 && present>>w.id&1 == 0 {
				return
			}
		}
	} else if n := 32 * bits.OnesCount32(present); n < s.expected {
		return
	} else if n > s.expected {
		b.warps[s.first].fault(Divergence, -1, "%d threads arrived at barrier %d of %d", n, id, s.expected)
	}
	b.l.counts.progress++
	b.l.counts.barriers++
	b.openClock(id, s)
	for _, w := range b.warps {
		if s.waiting>>w.id&1 == 0 {
			continue
		}
		if op := w.atBar.bar; op.red != "" {
			var v uint64
			switch op.red {
			case "popc":
				v = uint64(s.popc)
			case "and":
				v = uint64(bit(s.and))
			default:
				v = uint64(bit(s.or))
			}
			w.setAll(op.dst, w.live, v)
		}
		w.atBar = nil
	}
	*s = barrierState{}
}

// warpEnded opens barriers that waited only for a warp which has exited.
func (b *block) warpEnded() {
	b.cluster.tryOpen(b.l)
	for id := range b.bars {
		if b.bars[id].line != nil && b.bars[id].expected == 0 {
			b.tryOpen(id)
		}
	}
}

// scope is how far a memory operation's ordering reaches.
type scope uint8

const (
	scopeNone scope = iota
	scopeCTA
	scopeGPU // and beyond: one device is all there is
)

func scopeOf(in *syntax.Instr) scope {
	for _, m := range in.Mods[1:] {
		switch m {
		case "cta":
			return scopeCTA
		case "cluster", "gpu", "gl", "sys":
			return scopeGPU
		}
	}
	return scopeNone
}

// semantics reads the memory-ordering modifiers of a load, store or atomic.
func (c *compiler) semantics(in *syntax.Instr) semantics {
	s := semantics{scope: scopeOf(in)}
	for _, m := range in.Mods[1:] {
		switch m {
		case "relaxed", "volatile", "mmio":
			s.strong = true
		case "acquire":
			s.strong, s.acquire = true, true
		case "release":
			s.strong, s.release = true, true
		case "acq_rel":
			s.strong, s.acquire, s.release = true, true, true
		}
	}
	if s.strong && s.scope == scopeNone {
		s.scope = scopeGPU
	}
	return s
}

// semantics is what the race rules need to know of an access.
type semantics struct {
	write   bool
	strong  bool // relaxed or stronger, or an atomic
	atomic  bool // a read-modify-write
	acquire bool
	release bool
	scope   scope
	all     bool // the warp reads as a whole
}

// plain reports a weak access, which the fast paths handle.
func (s semantics) plain() bool { return !s.strong }

func (c *compiler) opFence(in *syntax.Instr) {
	sc := scopeOf(in)
	if strings.Contains(in.Op, "proxy") || in.Has("mbarrier_init") {
		// Orders the generic and the asynchronous proxy, which are one here.
		c.opHint(in)
		return
	}
	if sc == scopeNone {
		sc = scopeGPU
	}
	c.out.run = func(w *warp, m uint32) { w.fence(m, sc) }
}
