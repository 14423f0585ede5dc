package emu

import "math/bits"

// The race rules rest on "happens before". Every synchronisation of a warp
// advances its time, drawn from a counter of its block; an access carries
// (block, warp, lane, time). What a thread knows to have happened is kept at
// the coarsest level that says it:
//
//	block.full        everything in the block before the last barrier of all threads
//	warp.full         everything in the warp before its last bar.warp.sync of all lanes
//	warp.known[v]     everything in warp v before a barrier shared with it
//	warp.lanes[i][j]  lane j's past, as lane i learned it from a partial bar.warp.sync
//	warp.acquired[i]  what lane i acquired through a flag in memory
//	block.acquired    that, after a barrier spread it to all
//
// Each holds a time t and means "every access with time < t".

// stamp packs an access into 64 bits; zero means none.
type stamp uint64

const (
	stampTime   = 26 // bits
	stampLane   = 6
	stampWarp   = 6
	stampBlock  = 24
	timeMask    = 1<<stampTime - 1
	laneShift   = stampTime
	warpShift   = laneShift + stampLane
	blockShift  = warpShift + stampWarp
	strongFlag  = stamp(1) << 62
	manyFlag    = stamp(1) << 63 // of reads: the rest is an index or a sequence number
	anyLane     = 1<<stampLane - 1
	anyWarp     = 1<<stampWarp - 1
	maxTime     = timeMask - 1
	maxBlocks   = 1 << stampBlock
	manySeqMask = 1<<blockShift - 1
)

func (s stamp) time() uint32 { return uint32(s & timeMask) }
func (s stamp) lane() int    { return int(s >> laneShift & anyLane) }
func (s stamp) warp() int    { return int(s >> warpShift & anyWarp) }
func (s stamp) block() int   { return int(s >> blockShift & (maxBlocks - 1)) }

// thread identifies who accessed, without when.
func (s stamp) thread() stamp { return s &^ (strongFlag | timeMask) }

// blockClock is a block's part of the clocks.
type blockClock struct {
	time     uint32 // last time given out
	full     uint32
	fullSeq  uint64 // launch.seq at the last barrier of all threads
	acquired *vclock
	pending  *vclock       // what strong reads of any thread saw before the last barrier, unfenced
	arrivals [16][]arrival // of barriers, by warps that did not wait
	id       stamp         // block field of stamps
}

type arrival struct {
	known    []uint32
	time     uint32
	warp     int
	acquired *vclock
}

// warpClock is a warp's part.
type warpClock struct {
	time     uint32
	full     uint32
	known    []uint32 // nil until a barrier of some warps
	lanes    *[32][32]uint32
	acquired [32]*vclock
	pending  [32]*vclock // read from flags, not yet fenced
	fenced   [32]*released
	busy     bool // acquired, pending or fenced is in use
}

// tick gives the warp a new time.
func (w *warp) tick() {
	c := &w.b.clock
	if c.time >= maxTime {
		w.b.l.racesOff = true // the counter is spent: stop following races
		return
	}
	c.time++
	w.clock.time = c.time
}

// vclock is knowledge about other blocks, and about threads of one's own at
// a finer grain than barriers give. Shared once published; joins copy.
type vclock struct {
	blocks  map[int]blockTime
	warps   map[stamp]uint32
	threads map[stamp]uint32
	// lowest sequence number known of all blocks that had started
	minSeq  uint64
	minOf   int
	covered bool
}

type blockTime struct {
	full uint32
	seq  uint64
}

func (v *vclock) clone() *vclock {
	n := &vclock{blocks: map[int]blockTime{}, warps: map[stamp]uint32{}, threads: map[stamp]uint32{}}
	return n.add(v)
}

// add joins o into v, which nobody else may hold.
func (v *vclock) add(o *vclock) *vclock {
	if o == nil || o == v {
		return v
	}
	for b, t := range o.blocks {
		v.addBlock(b, t)
	}
	for k, t := range o.warps {
		v.warps[k] = max(v.warps[k], t)
	}
	for k, t := range o.threads {
		v.threads[k] = max(v.threads[k], t)
	}
	v.covered = false
	return v
}

func (v *vclock) addBlock(b int, t blockTime) {
	old := v.blocks[b]
	v.blocks[b] = blockTime{max(old.full, t.full), max(old.seq, t.seq)}
}

// join is the union of two clocks, neither of which changes.
func join(a, b *vclock) *vclock {
	switch {
	case a == nil || a == b:
		return b
	case b == nil:
		return a
	}
	return a.clone().add(b)
}

// covers reports whether an access is known.
func (v *vclock) covers(s stamp) bool {
	if v == nil {
		return false
	}
	t := s.time()
	if v.blocks[s.block()].full > t {
		return true
	}
	id := s.thread()
	warpID := id &^ (anyLane << laneShift)
	if s.warp() != anyWarp && v.warps[warpID] > t {
		return true
	}
	if s.lane() != anyLane {
		return v.threads[id] > t
	}
	if s.warp() == anyWarp {
		return false
	}
	for l := range 32 {
		if v.threads[warpID|stamp(l)<<laneShift] <= t {
			return false
		}
	}
	return true
}

// coversAll reports whether every access of other blocks up to a sequence
// number is known.
func (v *vclock) coversAll(l *launch, self int, seq uint64) bool {
	if v == nil {
		return false
	}
	if !v.covered || v.minOf != l.started {
		v.minSeq, v.minOf, v.covered = ^uint64(0), l.started, true
		for _, b := range l.order[:l.started] {
			if b == self {
				continue
			}
			v.minSeq = min(v.minSeq, v.blocks[b].seq)
		}
	}
	return v.minSeq >= seq
}

// released is a thread's knowledge at a release or fence.
type released struct {
	vc    *vclock
	scope scope
	block int
}

// snapshot is what a lane knows now, itself included; later accesses of the
// warp get a new time, so that it does not cover them.
func (w *warp) snapshot(lanes uint32, sc scope) *[32]*released {
	b := w.b
	base := join(b.clock.acquired, nil)
	var out [32]*released
	for k := lanes; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k)
		v := &vclock{blocks: map[int]blockTime{}, warps: map[stamp]uint32{}, threads: map[stamp]uint32{}}
		v.add(base)
		v.add(w.clock.acquired[i])
		v.addBlock(b.linear, blockTime{b.clock.full, b.clock.fullSeq})
		v.warps[w.warpStamp(w.id)] = w.clock.full
		for o, t := range w.clock.known {
			if o != w.id {
				v.warps[w.warpStamp(o)] = t
			}
		}
		if w.clock.lanes != nil {
			for j, t := range w.clock.lanes[i] {
				v.threads[w.laneStamp(j)] = t
			}
		}
		v.threads[w.laneStamp(i)] = w.clock.time + 1
		out[i] = &released{vc: v, scope: sc, block: b.linear}
	}
	w.tick()
	return &out
}

func (w *warp) warpStamp(id int) stamp { return w.b.clock.id | stamp(id)<<warpShift }

func (w *warp) laneStamp(lane int) stamp { return w.warpStamp(w.id) | stamp(lane)<<laneShift }

// before reports whether an earlier access is ordered before what a lane does
// now; lane may be anyLane, the warp as a whole.
func (w *warp) before(s stamp, lane int) bool {
	t := s.time()
	if s.block() == w.b.linear {
		if t < w.b.clock.full {
			return true
		}
		if s.warp() == w.id {
			if t < w.clock.full || s.lane() == lane && lane != anyLane {
				return true
			}
			if m := w.clock.lanes; m != nil && w.laneKnows(m, s, lane) {
				return true
			}
		} else if s.warp() == anyWarp {
			all := w.clock.known != nil
			for o := range w.clock.known {
				all = all && (o == w.id && t < w.clock.full || o != w.id && w.clock.known[o] > t)
			}
			if all {
				return true
			}
		} else if w.clock.known != nil && w.clock.known[s.warp()] > t {
			return true
		}
	}
	if w.b.clock.acquired.covers(s) {
		return true
	}
	if !w.clock.busy {
		return false
	}
	if lane != anyLane {
		return w.clock.acquired[lane].covers(s)
	}
	for k := w.live; k != 0; k &= k - 1 {
		if !w.clock.acquired[bits.TrailingZeros32(k)].covers(s) {
			return false
		}
	}
	return true
}

// laneKnows consults the matrix that partial warp syncs leave.
func (w *warp) laneKnows(m *[32][32]uint32, s stamp, lane int) bool {
	for i := range 32 {
		if lane != anyLane && i != lane {
			continue
		}
		for j := range 32 {
			if s.lane() != anyLane && j != s.lane() || i == j || w.live>>j&1 == 0 && s.lane() == anyLane {
				continue
			}
			if m[i][j] <= s.time() {
				return false
			}
		}
	}
	return true
}
