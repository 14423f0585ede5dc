package emu

import "math/bits"

// How barriers, fences and flags advance the clocks (clock.go).

// initRace gives a new block its clocks and the shadow of its shared memory.
func (b *block) initRace() {
	if b.l.dev.opt.Checks&CheckRaces != 0 {
		b.shared.race = newRaceShadow(len(b.shared.data), b.p.granule)
		if b.l.clusterSize() == 1 {
			b.shared.race.warps = (b.l.block[0]*b.l.block[1]*b.l.block[2] + 31) / 32
		}
	}
}

// resetRace starts a block's clocks.
func (b *block) resetRace() {
	b.clock = blockClock{time: 1, full: 0, id: stamp(b.linear) << blockShift, fullSeq: b.l.seq}
	for _, w := range b.warps {
		w.clock = warpClock{time: 1}
	}
	if s := b.shared.race; s != nil {
		b.l.gen++
		s.gen = b.l.gen
		s.vecs = s.vecs[:0]
	}
}

func (w *warp) following() bool { return w.b.shared.race != nil && !w.b.l.racesOff }

// syncLanes is bar.warp.sync.
func (w *warp) syncLanes(m uint32) {
	if !w.following() {
		return
	}
	w.shareAcquired(m)
	c := &w.clock
	if m == w.live {
		w.tick()
		c.full, c.lanes = c.time, nil
		return
	}
	if c.lanes == nil {
		c.lanes = new([32][32]uint32)
		for i := range c.lanes {
			for j := range c.lanes[i] {
				c.lanes[i][j] = c.full
			}
		}
	}
	var row [32]uint32
	for k := m; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k)
		for j := range row {
			row[j] = max(row[j], c.lanes[i][j])
		}
	}
	for k := m; k != 0; k &= k - 1 {
		row[bits.TrailingZeros32(k)&31] = c.time + 1
	}
	for k := m; k != 0; k &= k - 1 {
		c.lanes[bits.TrailingZeros32(k)] = row
	}
	w.tick()
}

// shareAcquired gives each of the lanes what any of them acquired.
func (w *warp) shareAcquired(m uint32) {
	if !w.clock.busy {
		return
	}
	var all *vclock
	for k := m; k != 0; k &= k - 1 {
		all = join(all, w.clock.acquired[bits.TrailingZeros32(k)])
	}
	for k := m; k != 0; k &= k - 1 {
		w.clock.acquired[bits.TrailingZeros32(k)] = all
	}
}

// allAcquired is what any lane of the warp acquired.
func (w *warp) allAcquired() *vclock {
	if !w.clock.busy {
		return nil
	}
	var all *vclock
	for _, v := range w.clock.acquired {
		all = join(all, v)
	}
	return all
}

// arriveClock records what a warp that arrives without waiting brings.
func (w *warp) arriveClock(id int) {
	if !w.following() {
		return
	}
	c := &w.b.clock
	c.arrivals[id] = append(c.arrivals[id], arrival{
		known: append([]uint32(nil), w.clock.known...), time: w.clock.time + 1, warp: w.id, acquired: w.allAcquired(),
	})
	w.tick()
}

// openClock joins the clocks of a barrier's participants.
func (b *block) openClock(id int, s *barrierState) {
	w0 := b.warps[s.first]
	if !w0.following() {
		return
	}
	whole := s.expected == 0 || s.expected == 32*len(b.warps) && s.arrived == 0
	arrivals := b.clock.arrivals[id]
	b.clock.arrivals[id] = nil
	acquired := b.clock.acquired
	for _, w := range b.warps {
		if whole || s.waiting>>w.id&1 != 0 {
			acquired = join(acquired, w.allAcquired())
		}
	}
	for _, a := range arrivals {
		acquired = join(acquired, a.acquired)
	}
	if whole {
		w0.tick()
		t := b.clock.time
		b.clock.full, b.clock.fullSeq, b.clock.acquired = t, b.l.seq, acquired
		for _, w := range b.warps {
			if w.clock.busy {
				for _, v := range w.clock.pending {
					b.clock.pending = join(b.clock.pending, v)
				}
			}
			w.clock.time, w.clock.full, w.clock.known, w.clock.lanes = t, t, nil, nil
			clear(w.clock.acquired[:])
		}
		if r := b.shared.race; r != nil {
			r.vecs = r.vecs[:0]
		}
		return
	}
	known := make([]uint32, len(b.warps))
	for _, w := range b.warps {
		if s.waiting>>w.id&1 == 0 {
			continue
		}
		for o, t := range w.clock.known {
			known[o] = max(known[o], t)
		}
		known[w.id] = max(known[w.id], w.clock.time+1)
	}
	for _, a := range arrivals {
		for o, t := range a.known {
			known[o] = max(known[o], t)
		}
		known[a.warp] = max(known[a.warp], a.time)
	}
	w0.tick()
	t := b.clock.time
	for _, w := range b.warps {
		if s.waiting>>w.id&1 == 0 {
			continue
		}
		w.clock.time, w.clock.full, w.clock.lanes = t, t, nil
		w.clock.known = append([]uint32(nil), known...)
		if acquired != nil {
			w.clock.busy = true
			for i := range w.clock.acquired {
				w.clock.acquired[i] = acquired
			}
		}
	}
}

// fence is membar or fence.acq_rel/sc: what came before may be released by a
// later strong write, and what strong reads saw before is now acquired.
func (w *warp) fence(m uint32, sc scope) {
	if !w.following() {
		return
	}
	w.clock.busy = true
	snap := w.snapshot(m, sc)
	for k := m; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k)
		w.clock.fenced[i] = snap[i]
		if p := w.clock.pending[i]; p != nil {
			w.clock.acquired[i] = join(w.clock.acquired[i], p)
			w.clock.pending[i] = nil
		}
	}
}

// place identifies a flag in memory.
type flagKey struct {
	region *region
	off    int
}

// release prepares the snapshot that a release operation publishes.
func (w *warp) release(sem semantics, m uint32) {
	if sem.release && w.following() {
		w.clock.busy = true
		w.releasing = w.snapshot(m, sem.scope)
	}
}

// strongRead takes over what the flag's last writers released.
func (w *warp) strongRead(r *region, off, lane int, sem semantics) {
	pubs := w.b.l.flags[flagKey{r, off}]
	if len(pubs) == 0 {
		return
	}
	w.clock.busy = true
	for _, p := range pubs {
		if p.block != w.b.linear && (p.scope == scopeCTA || sem.scope == scopeCTA) {
			continue
		}
		if sem.acquire {
			w.clock.acquired[lane] = join(w.clock.acquired[lane], p.vc)
		} else {
			w.clock.pending[lane] = join(w.clock.pending[lane], p.vc)
		}
	}
}

// strongWrite publishes what the lane released. A read-modify-write keeps the
// flag's earlier releases alive.
func (w *warp) strongWrite(r *region, off, lane int, sem semantics) {
	var rel *released
	switch {
	case sem.release:
		rel = w.releasing[lane]
	case w.clock.busy:
		rel = w.clock.fenced[lane]
	}
	key := flagKey{r, off}
	l := w.b.l
	if rel == nil {
		if !sem.atomic && len(l.flags) > 0 {
			delete(l.flags, key)
		}
		return
	}
	if l.flags == nil {
		l.flags = map[flagKey][]*released{}
	}
	if !sem.atomic {
		l.flags[key] = []*released{rel}
		return
	}
	// Joined per scope, so that a counter that many bump stays short.
	list := l.flags[key]
	for i, p := range list {
		if p.scope == rel.scope && (p.scope == scopeGPU || p.block == rel.block) {
			merged := &released{vc: join(p.vc, rel.vc), scope: p.scope, block: rel.block}
			if p.block != rel.block {
				merged.block = -1
			}
			list[i] = merged
			return
		}
	}
	l.flags[key] = append(list, rel)
}
