package emu

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

// raceShadow remembers, for each grain of a region, the last write and the
// reads since. The grain is the narrowest access of the kernel, so that lanes
// which write neighbouring bf16 values do not seem to collide.
type raceShadow struct {
	pages []*racePage
	shift uint // log2 of the grain in bytes
	gen   uint32
	vecs  []stamp  // reads by several warps: one stamp per warp
	warps int      // stamps per vector; 0 for memory that several blocks share
	peers *cluster // those blocks, of shared memory; nil when all
}

const pageCells = 1024

type racePage struct {
	gen       uint32
	write     [pageCells]stamp
	read      [pageCells]stamp
	writeCode [pageCells]int32 // instructions, for messages
	readCode  [pageCells]int32
}

func newRaceShadow(size, grain int) *raceShadow {
	s := &raceShadow{}
	for 1<<s.shift < grain {
		s.shift++
	}
	s.pages = make([]*racePage, (size>>s.shift)/pageCells+1)
	return s
}

// page is the page of a cell, cleared on its first use in this launch or block.
func (s *raceShadow) page(cell int) *racePage {
	p := s.pages[cell/pageCells]
	if p == nil {
		p = &racePage{gen: s.gen}
		s.pages[cell/pageCells] = p
	} else if p.gen != s.gen {
		*p = racePage{gen: s.gen}
	}
	return p
}

// shadow is the region's race shadow, made when first needed in a launch; nil
// when accesses to it are not followed.
func (w *warp) shadow(r *region) *raceShadow {
	l := w.b.l
	if l.racesOff || w.b.shared.race == nil {
		return nil
	}
	if r.space == syntax.Shared {
		return r.race
	}
	if r.space != syntax.Global {
		return nil
	}
	if r.race == nil || 1<<r.race.shift != l.p.granule {
		r.race = newRaceShadow(len(r.data), l.p.granule)
	}
	r.race.gen = l.globalGen
	return r.race
}

// stamp is an access of this warp now.
func (w *warp) stamp(lane int, strong bool) stamp {
	s := w.b.clock.id | stamp(w.id)<<warpShift | stamp(lane)<<laneShift | stamp(w.clock.time)
	if strong {
		s |= strongFlag
	}
	return s
}

// readAccess follows a load by one lane.
func (w *warp) readAccess(r *region, off, n, lane int, sem semantics) {
	if r.space == syntax.Shared {
		if b := w.blockOf(r); b.claims > 0 {
			w.checkClaim(b, off, n, lane)
		}
	}
	s := w.shadow(r)
	if s == nil {
		return
	}
	w.b.l.seq++
	who := lane
	if sem.all {
		who = anyLane
	}
	me := w.stamp(who, sem.strong)
	for c := off >> s.shift; c <= (off+n-1)>>s.shift; c++ {
		p, i := s.page(c), c%pageCells
		if wr := p.write[i]; wr != 0 && wr.thread() != me.thread() && !w.before(wr, who) && !w.bothStrong(wr, sem) {
			w.race(r, c<<s.shift, lane, "reads", wr, "wrote", p.writeCode[i])
		}
		w.noteRead(s, p, i, me, who)
	}
	if sem.strong {
		w.strongRead(r, off, lane, sem)
	}
}

// noteRead adds a reader to a cell.
func (w *warp) noteRead(s *raceShadow, p *racePage, i int, me stamp, lane int) {
	old := p.read[i]
	if old == me {
		return
	}
	code := int32(-1)
	if w.cur != nil {
		code = w.pcIndex()
	}
	p.readCode[i] = code
	if old == 0 || old&manyFlag == 0 && (old.thread() == me.thread() || w.before(old, lane)) {
		p.read[i] = me
		return
	}
	p.read[i] = w.mergeReads(s, old, me)
}

// mergeReads is the state of a cell read by two threads that are not ordered.
func (w *warp) mergeReads(s *raceShadow, old, me stamp) stamp {
	strong := old & me & strongFlag
	if s.warps == 0 { // global memory
		switch {
		case old&manyFlag != 0 || old.block() != me.block():
			return manyFlag | strong | stamp(w.b.l.seq&manySeqMask)
		case old.warp() == me.warp():
			return me&^strongFlag | anyLane<<laneShift | strong
		}
		return me&^strongFlag | anyLane<<laneShift | anyWarp<<warpShift | strong
	}
	if old&manyFlag == 0 && old.warp() == me.warp() {
		return me&^strongFlag | anyLane<<laneShift | strong
	}
	// Shared memory read by several warps: a vector with one stamp for each.
	index := int(old >> stampTime & manyIndexMask)
	if old&manyFlag == 0 || old.time() < w.b.clock.full {
		index = len(s.vecs) / s.warps
		if int64(index) > manyIndexMask {
			return me // out of vectors: keep the latest
		}
		for range s.warps {
			s.vecs = append(s.vecs, 0)
		}
		if old&manyFlag == 0 {
			s.vecs[index*s.warps+old.warp()] = old
		}
	}
	slot := &s.vecs[index*s.warps+me.warp()]
	switch {
	case *slot == 0 || slot.thread() == me.thread() || slot.time() < w.clock.full:
		*slot = me
	default:
		*slot = me | anyLane<<laneShift
	}
	return manyFlag | strong | stamp(index)<<stampTime | stamp(w.clock.time)
}

const manyIndexMask = 1<<(blockShift-stampTime+stampBlock) - 1

// readsBefore reports whether all the reads of a cell are ordered before what
// a lane does now, and names one that is not.
func (w *warp) readsBefore(s *raceShadow, rd stamp, lane int) (bool, stamp) {
	if rd&manyFlag == 0 {
		return rd.thread() == w.stamp(lane, false).thread() || w.before(rd, lane), rd
	}
	if s.warps == 0 {
		seq := uint64(rd & manySeqMask)
		if seq > w.b.clock.fullSeq {
			return false, rd
		}
		self := w.b.linear
		if s.peers != nil {
			return w.b.clock.acquired.coversCluster(s.peers, self, seq) ||
				lane != anyLane && w.clock.acquired[lane].coversCluster(s.peers, self, seq), rd
		}
		if w.b.clock.acquired.coversAll(w.b.l, self, seq) {
			return true, rd
		}
		return lane != anyLane && w.clock.acquired[lane].coversAll(w.b.l, self, seq), rd
	}
	if rd.time() < w.b.clock.full {
		return true, rd
	}
	index := int(rd >> stampTime & manyIndexMask)
	for _, v := range s.vecs[index*s.warps : (index+1)*s.warps] {
		if v != 0 && v.thread() != w.stamp(lane, false).thread() && !w.before(v, lane) {
			return false, v
		}
	}
	return true, rd
}

// bothStrong reports whether two accesses are strong operations that see each
// other's scope, which may overlap.
func (w *warp) bothStrong(other stamp, sem semantics) bool {
	if other&strongFlag == 0 || !sem.strong {
		return false
	}
	return sem.scope != scopeCTA || other.block() == w.b.linear
}

// writeAccess follows a store by one lane. val is what it stores, or nil when
// the bytes are not known to stay: lanes that store equal values to one place
// do not race, as compilers replicate such stores freely.
func (w *warp) writeAccess(r *region, off, n, lane int, sem semantics, val []byte) {
	if r.space == syntax.Shared {
		if b := w.blockOf(r); b.claims > 0 {
			w.checkClaim(b, off, n, lane)
		}
	}
	w.b.l.counts.progress++
	s := w.shadow(r)
	if s == nil {
		return
	}
	w.b.l.seq++
	who := lane
	if sem.all {
		who = anyLane
	}
	if sem.strong && sem.atomic {
		w.strongRead(r, off, lane, sem)
	}
	me := w.stamp(who, sem.strong)
	for c := off >> s.shift; c <= (off+n-1)>>s.shift; c++ {
		p, i := s.page(c), c%pageCells
		if wr := p.write[i]; wr != 0 && wr.thread() != me.thread() && !w.before(wr, who) && !w.bothStrong(wr, sem) {
			if !sameBytes(r, c<<s.shift, 1<<s.shift, off, val) && !w.alike(r, off, val, wr, p.writeCode[i], c<<s.shift) {
				w.race(r, c<<s.shift, lane, "writes", wr, "wrote", p.writeCode[i])
			}
		}
		if rd := p.read[i]; rd != 0 && !(rd&strongFlag != 0 && sem.strong) {
			if ok, other := w.readsBefore(s, rd, who); !ok {
				w.race(r, c<<s.shift, lane, "writes", other, "read", p.readCode[i])
			}
		}
		// The reads stay: a write of equal values by several lanes is no race
		// among them, but each must still come after every read.
		p.write[i], p.writeCode[i] = me, w.pcIndex()
	}
	if sem.strong {
		w.keepOld(r, off, n, lane, sem)
		w.strongWrite(r, off, lane, sem)
	}
}

// sameBytes reports whether a store of val at off leaves a cell's bytes as they are.
func sameBytes(r *region, at, n, off int, val []byte) bool {
	if val == nil {
		return false
	}
	for k := range n {
		if i := at + k - off; i < 0 || i >= len(val) || at+k >= len(r.data) || r.data[at+k] != val[i] {
			return false
		}
	}
	return true
}

// replicaError bounds how far apart two replicas of a float may be.
const replicaError = 1e-5

// alike reports whether a store differs from another lane's, by the same
// instruction, as replicas of one floating-point result may: lanes that reduce
// the same numbers in different orders round differently. Of stores by one
// instruction to one place the hardware performs one.
func (w *warp) alike(r *region, off int, val []byte, other stamp, code int32, at int) bool {
	if val == nil || code != w.pcIndex() || len(w.cur.stores) == 0 ||
		other.block() != w.b.linear || other.warp() != w.id || other.time() != w.clock.time {
		return false
	}
	n := int(w.cur.stores[0].bits) / 8
	if n < 4 {
		return false
	}
	k := (at - off) / n * n // the element that the cell belongs to
	if k < 0 || k+n > len(val) {
		return false
	}
	x, y := loadBytes(val[k:], n), loadBytes(r.data[off+k:], n)
	a, b := math.Float64frombits(x), math.Float64frombits(y)
	small := 0x1p-1022
	if n == 4 {
		a, b, small = float64(f32(uint32(x))), float64(f32(uint32(y))), 0x1p-126
	}
	return math.Abs(a) >= small && math.Abs(b) >= small && math.Abs(a-b) <= replicaError*math.Abs(b)
}

// readRange and writeRange follow a coalesced access: n bytes per lane from off.
func (w *warp) readRange(r *region, off, n int, _ uint32) {
	s := w.shadow(r)
	if s == nil {
		return
	}
	w.b.l.seq++
	per := n >> s.shift // a power of two: accesses are no narrower than the grain
	first := off >> s.shift
	full := w.b.clock.full
	id := w.b.clock.id
	const blockMask = stamp(maxBlocks-1) << blockShift
	for lane := range 32 {
		me := w.stamp(lane, false)
		for c := first + lane*per; c < first+(lane+1)*per; c++ {
			p, i := s.page(c), c%pageCells
			if wr := p.write[i]; wr != 0 && (wr&blockMask != id || wr.time() >= full) &&
				wr.thread() != me.thread() && !w.before(wr, lane) {
				w.race(r, c<<s.shift, lane, "reads", wr, "wrote", p.writeCode[i])
			}
			if p.read[i] == 0 {
				p.read[i], p.readCode[i] = me, w.pcIndex()
			} else {
				w.noteRead(s, p, i, me, lane)
			}
		}
	}
}

func (w *warp) writeRange(r *region, off, n int, _ uint32) {
	w.b.l.counts.progress++
	s := w.shadow(r)
	if s == nil {
		return
	}
	// The values are compared only where a conflict is found.
	for lane := range 32 {
		w.writeLane(s, r, off+lane*n, n, lane)
	}
}

// writeLane is writeAccess for a plain store of the current instruction whose
// value is in its source registers.
func (w *warp) writeLane(s *raceShadow, r *region, off, n, lane int) {
	w.b.l.seq++
	me := w.stamp(lane, false)
	pc := w.pcIndex()
	for c := off >> s.shift; c <= (off+n-1)>>s.shift; c++ {
		p, i := s.page(c), c%pageCells
		if wr := p.write[i]; wr != 0 && wr.thread() != me.thread() && !w.before(wr, lane) {
			if val := w.storedBytes(lane, n); !sameBytes(r, c<<s.shift, 1<<s.shift, off, val) && !w.alike(r, off, val, wr, p.writeCode[i], c<<s.shift) {
				w.race(r, c<<s.shift, lane, "writes", wr, "wrote", p.writeCode[i])
			}
		}
		if rd := p.read[i]; rd != 0 {
			if ok, other := w.readsBefore(s, rd, lane); !ok {
				w.race(r, c<<s.shift, lane, "writes", other, "read", p.readCode[i])
			}
		}
		p.write[i], p.writeCode[i] = me, pc
	}
}

// storedBytes is what a lane stores by the current instruction's 32-bit sources.
func (w *warp) storedBytes(lane, n int) []byte {
	out := make([]byte, 0, 16)
	for _, s := range w.cur.stores {
		out = le.AppendUint32(out, uint32(w.get(s, lane)))
	}
	return out[:min(n, len(out))]
}

// pcIndex is the current instruction's place in the code.
func (w *warp) pcIndex() int32 { return w.cur.place }

// race reports two accesses that nothing orders.
func (w *warp) race(r *region, at, lane int, does string, other stamp, did string, code int32) {
	who := "another block"
	b := w.b.l.grid
	switch {
	case other&manyFlag != 0:
		who = "threads of several warps or blocks"
	default:
		i := other.block()
		who = fmt.Sprintf("block (%d,%d,%d)", i%b[0], i/b[0]%b[1], i/(b[0]*b[1]))
		if i == w.b.linear {
			who = "this block's"
		}
		if other.warp() != anyWarp {
			who += fmt.Sprintf(" warp %d", other.warp())
		} else {
			who += " warps"
		}
		if other.lane() < 32 {
			who += fmt.Sprintf(" lane %d", other.lane())
		}
	}
	at2 := fmt.Sprintf("shared address %#x", at)
	if r.space == syntax.Global {
		at2 = fmt.Sprintf("global address %#x (byte %d of the allocation %s at %#x)", r.base+uint64(at), at, r.name, r.base)
	}
	line := ""
	if code >= 0 && int(code) < len(w.b.p.code) {
		src := w.b.p.code[code].src
		line = fmt.Sprintf(" at line %d [%s]", src.Line, src.Text)
	}
	w.fault(Race, lane, "the lane %s %s, which %s %s%s; nothing orders the two", does, at2, who, did, line)
}
