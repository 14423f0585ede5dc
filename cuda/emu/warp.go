package emu

import (
	"fmt"
	"math"
	"math/bits"
)

// warp is 32 threads that run in lock-step as far as their control flow
// agrees. When it splits, each lane has its own program counter and the
// group with the lowest one runs, which lets the others catch up with it.
type warp struct {
	b    *block
	id   int
	r32  []lanes32
	r64  []lanes64
	pred []uint32
	def  []uint32 // lanes in which each register has a value; nil when unchecked

	live   uint32    // lanes that have not exited
	parked uint32    // lanes that wait at a sync or barrier instruction
	split  bool      // lanes are at different places
	pc     int32     // of all live lanes, when not split
	pcs    [32]int32 // when split
	atBar  *instr    // the barrier that the whole warp waits at
	carry  uint32    // carry flags of add.cc and the like

	cur       *instr
	executed  int64
	hit       *region // last global allocation accessed
	locals    [32]*region
	async     asyncState
	wg        wgmmaState
	bulk      bulkState
	calls     [32][]callFrame
	clock     warpClock
	releasing *[32]*released // snapshots of the release under way
	yield     bool           // give way to others: the warp polls

	inCluster    bool // has arrived at the cluster's barrier
	clusterPhase int  // and when

	polls int // reads of flags and atomics that changed nothing, while split
	lead  int // lane whose group runs now instead of the lowest, plus one; 0 for none
	turns int // instructions left to it

	partial map[partKey]partValue // registers of which some bits have values
	pending []pendingPart
}

// quantum is how many instructions a warp runs before others get a turn; it
// matters only to kernels in which one warp waits for another.
const quantum = 1 << 15

// local is a lane's local memory.
func (w *warp) local(lane int) *region {
	r := w.locals[lane]
	if r == nil {
		r = newRegion(localSpace, 0, w.b.p.localBytes, w.def != nil)
		w.locals[lane] = r
	}
	return r
}

// group is the lanes to run next: those at the lowest program counter that do
// not wait. Zero when all wait.
func (w *warp) group() (uint32, int32) {
	if !w.split { // parking splits, so nobody waits
		return w.live, w.pc
	}
	low := int32(math.MaxInt32)
	var mask uint32
	if w.lead > 0 {
		if m := w.leaders(); m != 0 {
			return m, w.pcs[w.lead-1]
		}
	}
	for k := w.live &^ w.parked; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k)
		if p := w.pcs[i]; p < low {
			low, mask = p, 1<<i
		} else if p == low {
			mask |= 1 << i
		}
	}
	if mask == w.live {
		w.split, w.pc = false, low
	}
	return mask, low
}

// patience is how often the lanes that run may poll before the rest of a split
// warp gets a turn, and turnLength how many instructions that lasts: the
// lowest program counter first would let a lane spin for a lock that a lane
// further down holds.
const (
	patience   = 32
	turnLength = 1 << 10
)

// leaders is the group of the lane whose turn it is; zero when the turn ends.
func (w *warp) leaders() uint32 {
	lane := w.lead - 1
	w.turns--
	if w.turns < 0 || w.live&^w.parked>>lane&1 == 0 || w.polls > patience {
		w.lead = 0
		return 0
	}
	var m uint32
	for k := w.live &^ w.parked; k != 0; k &= k - 1 {
		if i := bits.TrailingZeros32(k); w.pcs[i] == w.pcs[lane] {
			m |= 1 << i
		}
	}
	return m
}

// giveTurn lets the next lane that neither runs now nor waits have its turn.
func (w *warp) giveTurn(running uint32) {
	w.polls = 0
	if others := w.live &^ w.parked &^ running; w.split && others != 0 {
		from := bits.TrailingZeros32(running)
		next := bits.TrailingZeros32(bits.RotateLeft32(others, -from))
		w.lead, w.turns = (from+next)&31+1, turnLength
	}
}

// goTo moves lanes to a program counter.
func (w *warp) goTo(lanes uint32, pc int32) {
	if !w.split {
		if lanes == w.live {
			w.pc = pc
			return
		}
		w.spread()
	}
	for ; lanes != 0; lanes &= lanes - 1 {
		w.pcs[bits.TrailingZeros32(lanes)&31] = pc
	}
}

// spread gives each lane its own program counter.
func (w *warp) spread() {
	if w.split {
		return
	}
	w.split = true
	for i := range w.pcs {
		w.pcs[i] = w.pc
	}
}

// run executes until the warp ends, waits for others, or has used its turn.
// It reports whether anything was executed.
func (w *warp) run() bool {
	code := w.b.p.code
	checked := w.def != nil
	st := &w.b.l.counts
	start := w.executed
	w.yield = false
	for w.live != 0 && w.atBar == nil {
		mask, pc := w.group()
		if mask == 0 {
			w.stuck()
		}
		in := &code[pc]
		w.cur = in
		lanes := mask
		if in.guard >= 0 {
			p := w.pred[in.guard]
			if in.guardNot {
				p = ^p
			}
			if checked && w.def[in.guardID]&mask != mask {
				w.undefinedUse(in.guardID, mask)
			}
			lanes &= p
		}
		w.executed++
		st.count(pc, lanes)
		if checked && lanes != 0 && in.flow != flowSync {
			w.flowDefinedness(in, lanes)
		}
		switch in.flow {
		case flowNext:
			if lanes != 0 {
				in.run(w, lanes)
				if len(w.pending) > 0 {
					w.keepPartial()
				}
			}
			if !w.split {
				w.pc = pc + 1
			} else {
				w.goTo(mask, pc+1)
			}
		case flowBranch:
			w.branch(mask, lanes, pc, in.target)
		case flowTable:
			w.branchTable(in, mask, lanes, pc)
		case flowExit:
			w.exit(mask, lanes, pc)
		case flowSync:
			w.sync(in, mask, lanes, pc)
		case flowBarrier:
			w.barrier(in, mask, lanes, pc)
		case flowCall:
			w.call(in, mask, lanes, pc)
		case flowReturn:
			w.ret(mask, lanes, pc)
		}
		if w.polls > patience {
			w.giveTurn(mask)
		}
		if w.executed-start >= quantum || w.yield {
			break
		}
	}
	return w.executed != start
}

func (w *warp) branch(mask, taken uint32, pc, target int32) {
	switch {
	case taken == mask:
		w.goTo(mask, target)
	case taken == 0:
		w.goTo(mask, pc+1)
	default:
		w.spread()
		w.goTo(taken, target)
		w.goTo(mask&^taken, pc+1)
	}
}

func (w *warp) branchTable(in *instr, mask, lanes uint32, pc int32) {
	w.spread()
	w.goTo(mask&^lanes, pc+1)
	for k := lanes; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k)
		n := w.get(in.index, i)
		if n >= uint64(len(in.targets)) {
			w.fault(InvalidOperation, i, "branch table has %d entries, the index is %d", len(in.targets), n)
		}
		w.pcs[i] = in.targets[n]
	}
}

func (w *warp) exit(mask, lanes uint32, pc int32) {
	if rest := mask &^ lanes; rest != 0 || w.split {
		w.spread()
		w.goTo(rest, pc+1)
	}
	w.live &^= lanes
	w.parked &^= lanes
	if w.live != 0 && w.live == w.parked {
		w.stuck()
	}
}

// sync runs a .sync instruction for each set of lanes whose membermask is
// complete; the others wait.
func (w *warp) sync(in *instr, mask, lanes uint32, pc int32) {
	if lanes != mask {
		w.goTo(mask&^lanes, pc+1)
	}
	if lanes == 0 {
		return
	}
	if w.def != nil {
		for _, r := range in.must {
			if w.def[r]&lanes != lanes {
				w.undefinedUse(r, lanes)
			}
		}
	}
	waiting := lanes | w.parkedAt(pc)
	for left := lanes; left != 0; {
		first := bits.TrailingZeros32(left)
		need := w.live
		if in.hasMask {
			members := uint32(w.get(in.members, first))
			if members>>first&1 == 0 {
				w.fault(Divergence, first, "the lane is not in the membermask %#x", members)
			}
			need &= members
		}
		if need&^waiting != 0 {
			w.park(need&left, pc)
			left &^= need
			continue
		}
		if w.def != nil {
			w.flowDefinedness(in, need)
		}
		in.run(w, need)
		w.parked &^= need
		w.goTo(need, pc+1)
		left &^= need
	}
}

// park makes lanes wait at the instruction at pc, where they are.
func (w *warp) park(lanes uint32, pc int32) {
	w.spread()
	w.goTo(lanes, pc)
	w.parked |= lanes
}

// parkedAt is the waiting lanes at a program counter.
func (w *warp) parkedAt(pc int32) uint32 {
	var m uint32
	for k := w.parked; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k)
		if w.pcs[i] == pc {
			m |= 1 << i
		}
	}
	return m
}

// stuck reports lanes that wait for others which never come.
func (w *warp) stuck() {
	first := bits.TrailingZeros32(w.parked)
	pc := w.pc
	if w.split {
		pc = w.pcs[first]
	}
	w.cur = &w.b.p.code[pc]
	here := w.parkedAt(pc)
	where := ""
	for k := w.parked &^ here; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k)
		in := w.b.p.code[w.pcs[i]]
		where = fmt.Sprintf("; lane %d waits at line %d [%s]", i, in.src.Line, in.src.Text)
		break
	}
	if where == "" {
		where = "; the others have exited"
	}
	w.fault(Divergence, first, "lanes %#08x wait here, the rest of the warp does not come%s", here, where)
}
