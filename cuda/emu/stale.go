package emu

import "github.com/seed-c851cfd2/moec/cuda/emu/syntax"

// A strong store (volatile, relaxed, release) that nothing orders before a
// strong load is no race, but the load may still see the value before it. The
// emulator lets each warp's first such load see that: a program that needs a
// fence and lacks it computes something else here, where hardware would only
// now and then. Polling a flag merely takes another turn.

// oldValue is what a strong store replaced.
type oldValue struct {
	bytes []byte
	by    stamp
	seen  map[int]bool // warps, by block and number, that were shown it
}

// keepOld remembers the bytes that a strong store to global memory replaces.
func (w *warp) keepOld(r *region, off, n, lane int, sem semantics) {
	if r.space != syntax.Global {
		return
	}
	l := w.b.l
	key := flagKey{r, off}
	if sem.atomic || !r.defined(off, n) {
		delete(l.older, key)
		return
	}
	if l.older == nil {
		l.older = map[flagKey]*oldValue{}
	}
	l.older[key] = &oldValue{bytes: append([]byte(nil), r.data[off:off+n]...), by: w.stamp(lane, true), seen: map[int]bool{}}
}

// stale is the older value that a strong load of a lane is shown, or nil.
func (w *warp) stale(r *region, off, n, lane int) []byte {
	l := w.b.l
	o := l.older[flagKey{r, off}]
	if o == nil || len(o.bytes) != n || o.by.block() == w.b.linear {
		return nil
	}
	id := w.b.linear*32 + w.id
	if o.seen[id] || w.before(o.by, lane) || w.clock.pending[lane].covers(o.by) || w.b.clock.pending.covers(o.by) {
		return nil
	}
	o.seen[id] = true
	return o.bytes
}
