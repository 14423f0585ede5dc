package emu

type raceShadow struct{}
type warpClock struct{}
type blockClock struct{}
type vclock struct{}

func (b *block) initRace()                                 {}
func (b *block) resetRace()                                {}
func (b *block) barClock(id int) *vclock                   { return nil }
func (b *block) openClock(id int, s *barrierState)         {}
func (w *warp) releaseTo(v *vclock)                        {}
func (w *warp) syncLanes(m uint32)                         {}
func (w *warp) fence(m uint32, sc scope)                   {}
func (w *warp) release(sem semantics, m uint32)            {}
func (w *warp) readRange(r *region, off, n int, m uint32)  {}
func (w *warp) writeRange(r *region, off, n int, m uint32) {}
func (w *warp) readAccess(r *region, off, n, lane int, sem semantics) {
	if w.b.claims > 0 && r == &w.b.shared {
		w.checkClaim(off, n, lane)
	}
}
func (w *warp) writeAccess(r *region, off, n, lane int, sem semantics, val []byte) {
	if w.b.claims > 0 && r == &w.b.shared {
		w.checkClaim(off, n, lane)
	}
}
