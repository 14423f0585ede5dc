package emu

import (
	"math/bits"

	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

// coalesced serves the commonest access: all 32 lanes touch n bytes each, one
// after another. It returns those 32n bytes, or nil when the access is not of
// that kind or might be faulty, and the lane-by-lane path must look at it.
func (w *warp) coalesced(ref *memRef, n int) ([]byte, *region, int) {
	var first uint64
	if ref.base.class == class64 {
		A := &w.r64[ref.base.idx]
		a := A[0]
		for i := range A {
			if A[i] != a {
				return nil, nil, 0
			}
			a += uint64(n)
		}
		first = A[0] + ref.off
	} else {
		A := &w.r32[ref.base.idx]
		a := A[0]
		for i := range A {
			if A[i] != a {
				return nil, nil, 0
			}
			a += uint32(n)
		}
		first = uint64(A[0] + uint32(ref.off))
	}
	if first&uint64(n-1) != 0 {
		return nil, nil, 0
	}
	var r *region
	switch ref.space {
	case syntax.Global:
		r = w.hit
	case syntax.Shared:
		r = &w.b.shared
		if w.b.claims > 0 {
			return nil, nil, 0
		}
	}
	if r == nil {
		return nil, nil, 0
	}
	off := first - r.base
	size := uint64(32 * n)
	if off > uint64(len(r.data)) || off+size > uint64(len(r.data)) {
		return nil, nil, 0
	}
	if r.ok != nil {
		for k := 0; k < int(size); k += 64 {
			if !bitsSet(r.ok, int(off)+k, min(64, int(size)-k)) {
				return nil, nil, 0
			}
		}
	}
	return r.data[off : off+size], r, int(off)
}

// undefinedLanes is the lanes of a coalesced access that read bytes without values.
func (r *region) undefinedLanes(off, n int) uint32 {
	if r.valid == nil || r.undefinedAt(off, 32*n) < 0 {
		return 0
	}
	var m uint32
	for i := range 32 {
		if !r.defined(off+i*n, n) {
			m |= 1 << i
		}
	}
	return m
}

// countAccess returns what counts an access's traffic: 32-byte sectors in
// global memory, passes over the 32 banks in shared memory.
func (c *compiler) countAccess(ref memRef, n int, store bool) func(w *warp, m uint32) {
	if ref.space == syntax.Local || ref.space == syntax.Param {
		return func(*warp, uint32) {}
	}
	return func(w *warp, m uint32) {
		if m == 0 {
			return
		}
		st := &w.b.l.counts.mem
		bytes := int64(n * bits.OnesCount32(m))
		first := w.addr(&ref, bits.TrailingZeros32(m))
		if ref.space == syntax.Shared || ref.space == syntax.Generic && first-sharedWindow < windowSize {
			st.SharedAccesses++
			st.SharedBytes += bytes
			st.SharedWavefronts += w.wavefronts(&ref, m, n)
			return
		}
		if ref.space == syntax.Generic && (first-localWindow < windowSize || first-paramWindow < windowSize) {
			return
		}
		if store {
			st.GlobalStoreBytes += bytes
		} else {
			st.GlobalLoadBytes += bytes
		}
		st.GlobalSectors += w.sectors(&ref, m, n)
	}
}

// sectors is the number of distinct 32-byte sectors that lanes touch.
func (w *warp) sectors(ref *memRef, m uint32, n int) int64 {
	var seen [64]uint64 // open addressing: at most 32 lanes, one or two sectors each
	count := int64(0)
	last := ^uint64(0)
	l := w.b.l
	r := w.hit
	add := func(s uint64) {
		if s == last {
			return
		}
		last = s
		if r == nil || 32*s-r.base >= uint64(len(r.data)) {
			r = l.dev.mem.find(32*s + 31)
		}
		if r != nil && r.touch((32*s-r.base)/32, l.id) {
			l.counts.mem.GlobalUnique += 32
		}
		for h := s * 0x9e3779b97f4a7c15 >> 58; ; h = (h + 1) & 63 {
			switch seen[h] {
			case s + 1:
				return
			case 0:
				seen[h] = s + 1
				count++
				return
			}
		}
	}
	for ; m != 0; m &= m - 1 {
		a := w.addr(ref, bits.TrailingZeros32(m))
		add(a / 32)
		if e := (a + uint64(n) - 1) / 32; e != a/32 && n <= 32 {
			add(e)
		}
	}
	return count
}

// wavefronts is how many passes over the 32 four-byte banks an access takes.
// Lanes that read the same word share it; wide accesses go in groups of 32
// words.
func (w *warp) wavefronts(ref *memRef, m uint32, n int) int64 {
	lanes := 32
	if n > 4 {
		lanes = 128 / n
	}
	total := int64(0)
	for g := 0; g < 32; g += lanes {
		part := m >> g
		if lanes < 32 {
			part &= 1<<lanes - 1
		}
		if part == 0 {
			continue
		}
		var words [32][4]uint64 // distinct words seen in each bank
		var many [32]int
		worst := 0
		for k := part; k != 0; k &= k - 1 {
			a := w.addr(ref, g+bits.TrailingZeros32(k))
			for b := 0; b < n; b += 4 {
				word := (a + uint64(b)) / 4
				bank := word & 31
				known := false
				for i := range min(many[bank], 4) {
					known = known || words[bank][i] == word+1
				}
				if known {
					continue
				}
				if many[bank] < 4 {
					words[bank][many[bank]] = word + 1
				}
				many[bank]++
				worst = max(worst, many[bank])
			}
		}
		total += int64(worst)
	}
	return total
}
