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
	own := w.ownKnowledge()
	var out [32]*released
	for k := lanes; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k)
		v := join(b.clock.acquired, w.clock.acquired[i])
		me := &warpKnown{full: w.clock.full, lanes: new([32]uint32)}
		if w.clock.lanes != nil {
			*me.lanes = w.clock.lanes[i]
		}
		me.lanes[i] = w.clock.time + 1
		mine := *own
		mine.warps = append([]*warpKnown(nil), own.warps...)
		mine.warps[w.id] = me
		out[i] = &released{vc: join(v, oneBlock(b.linear, &mine)), scope: sc, block: b.linear}
	}
	w.tick()
	return &out
}

// ownKnowledge is what the warp's lanes all know of their own block.
func (w *warp) ownKnowledge() *blockKnown {
	b := w.b
	k := &blockKnown{full: b.clock.full, seq: b.clock.fullSeq, warps: make([]*warpKnown, len(b.warps))}
	for o, t := range w.clock.known {
		if o != w.id && t > k.full {
			k.warps[o] = &warpKnown{full: t}
		}
	}
	return k
}

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
