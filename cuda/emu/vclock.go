package emu

// vclock is knowledge about blocks: which of their accesses have happened. It
// never changes once made, and joins share what does not differ, so that the
// many joins of a kernel full of atomics cost little.
type vclock struct {
	chunks []*clockChunk // by base

	// lowest sequence number known of all blocks that had started
	minSeq  uint64
	minOf   int
	covered bool
}

// clockChunk is the knowledge about 64 neighbouring blocks.
type clockChunk struct {
	base int
	of   [64]*blockKnown
}

// blockKnown is what is known of one block. A time t means "every access with
// time < t".
type blockKnown struct {
	full  uint32
	seq   uint64
	warps []*warpKnown // nil where full says it all
}

// warpKnown is what is known of one warp beyond that: all lanes' accesses
// before full, and single lanes' before times of their own.
type warpKnown struct {
	full  uint32
	lanes *[32]uint32
}

// oneBlock is the clock that knows of one block alone.
func oneBlock(id int, k *blockKnown) *vclock {
	c := &clockChunk{base: id &^ 63}
	c.of[id&63] = k
	return &vclock{chunks: []*clockChunk{c}}
}

// block is what is known of a block, or nil.
func (v *vclock) block(id int) *blockKnown {
	lo, hi := 0, len(v.chunks)
	for lo < hi {
		mid := (lo + hi) / 2
		if v.chunks[mid].base+64 <= id {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == len(v.chunks) || v.chunks[lo].base > id {
		return nil
	}
	return v.chunks[lo].of[id&63]
}

// join is the union of two clocks: one of them when it knows all that the
// other does.
func join(a, b *vclock) *vclock {
	switch {
	case a == nil || a == b:
		return b
	case b == nil:
		return a
	}
	out := make([]*clockChunk, 0, max(len(a.chunks), len(b.chunks)))
	isA, isB := true, true
	x, y := a.chunks, b.chunks
	for len(x) > 0 || len(y) > 0 {
		switch {
		case len(y) == 0 || len(x) > 0 && x[0].base < y[0].base:
			out, x, isB = append(out, x[0]), x[1:], false
		case len(x) == 0 || y[0].base < x[0].base:
			out, y, isA = append(out, y[0]), y[1:], false
		default:
			c := joinChunks(x[0], y[0])
			isA, isB = isA && c == x[0], isB && c == y[0]
			out, x, y = append(out, c), x[1:], y[1:]
		}
	}
	switch {
	case isA:
		return a
	case isB:
		return b
	}
	return &vclock{chunks: out}
}

func joinChunks(a, b *clockChunk) *clockChunk {
	if a == b {
		return a
	}
	out := clockChunk{base: a.base}
	isA, isB := true, true
	for i := range out.of {
		k := joinBlocks(a.of[i], b.of[i])
		isA, isB = isA && k == a.of[i], isB && k == b.of[i]
		out.of[i] = k
	}
	switch {
	case isA:
		return a
	case isB:
		return b
	}
	return &out
}

func joinBlocks(a, b *blockKnown) *blockKnown {
	switch {
	case b == nil || a == b:
		return a
	case a == nil:
		return b
	}
	out := blockKnown{full: max(a.full, b.full), seq: max(a.seq, b.seq)}
	isA, isB := a.full == out.full && a.seq == out.seq, b.full == out.full && b.seq == out.seq
	warp := func(k *blockKnown, i int) *warpKnown {
		if i < len(k.warps) {
			return k.warps[i]
		}
		return nil
	}
	n := max(len(a.warps), len(b.warps))
	for i := range n {
		wa, wb := warp(a, i), warp(b, i)
		w := joinWarps(wa, wb)
		if w != nil && w.within(out.full) {
			w = nil
		}
		isA, isB = isA && w == wa, isB && w == wb
		if w != nil {
			if out.warps == nil {
				out.warps = make([]*warpKnown, n)
			}
			out.warps[i] = w
		}
	}
	switch {
	case isA:
		return a
	case isB:
		return b
	}
	return &out
}

func joinWarps(a, b *warpKnown) *warpKnown {
	switch {
	case b == nil || a == b:
		return a
	case a == nil:
		return b
	case b.lanes == nil && b.full <= a.full:
		return a
	case a.lanes == nil && a.full <= b.full:
		return b
	}
	out := &warpKnown{full: max(a.full, b.full), lanes: new([32]uint32)}
	isA, isB := a.full == out.full, b.full == out.full
	for i := range out.lanes {
		x, y := a.lane(i), b.lane(i)
		t := max(x, y)
		isA, isB = isA && x == t, isB && y == t
		out.lanes[i] = t
	}
	switch {
	case isA:
		return a
	case isB:
		return b
	}
	return out
}

// lane is the time before which a lane's accesses are known.
func (w *warpKnown) lane(i int) uint32 {
	if w.lanes == nil {
		return w.full
	}
	return max(w.full, w.lanes[i])
}

// within reports whether a block's time covers all that is known of the warp.
func (w *warpKnown) within(full uint32) bool {
	if w.full > full {
		return false
	}
	if w.lanes != nil {
		for _, t := range w.lanes {
			if t > full {
				return false
			}
		}
	}
	return true
}

// covers reports whether an access is known.
func (v *vclock) covers(s stamp) bool {
	if v == nil {
		return false
	}
	k, t := v.block(s.block()), s.time()
	if k == nil {
		return false
	}
	if k.full > t {
		return true
	}
	if s.warp() == anyWarp || s.warp() >= len(k.warps) || k.warps[s.warp()] == nil {
		return false
	}
	w := k.warps[s.warp()]
	if s.lane() != anyLane {
		return w.lane(s.lane()) > t
	}
	for i := range 32 {
		if w.lane(i) <= t {
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
			k := v.block(b)
			if k == nil {
				v.minSeq = 0
				break
			}
			v.minSeq = min(v.minSeq, k.seq)
		}
	}
	return v.minSeq >= seq
}
