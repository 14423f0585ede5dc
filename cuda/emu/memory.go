package emu

import (
	"sort"

	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

// region is a piece of memory with its shadow: which bytes have been written,
// and who accessed them last.
type region struct {
	base  uint64 // address of data[0] in its own state space
	data  []byte
	valid []uint64 // one bit per byte: has a value; nil when nobody asks
	ok    []uint64 // one bit per byte: belongs to a variable; nil when all do
	space syntax.Space
	name  string
	race  *raceShadow // nil when accesses are not followed
	stain *stain      // who first stored an undefined value here
	freed bool

	touched   []uint64 // 32-byte sectors accessed in launch touchedIn
	touchedIn uint32
}

// stain remembers the first store of undefined bytes, for the message when
// the host reads them.
type stain struct{ fault Fault }

func newRegion(space syntax.Space, base uint64, size int, checked bool) *region {
	r := &region{space: space, base: base, data: make([]byte, size)}
	if checked {
		r.valid = make([]uint64, (size+63)/64+1)
	}
	return r
}

// defined reports whether n bytes at off have values; n <= 64.
func (r *region) defined(off, n int) bool {
	if r.valid == nil {
		return true
	}
	return bitsSet(r.valid, off, n)
}

func bitsSet(v []uint64, off, n int) bool {
	i, s := off>>6, uint(off&63)
	m := ^uint64(0) >> (64 - uint(n))
	if s+uint(n) <= 64 {
		return v[i]>>s&m == m
	}
	return (v[i]>>s|v[i+1]<<(64-s))&m == m
}

// define marks n bytes at off as holding values or not; n <= 64.
func (r *region) define(off, n int, has bool) {
	if r.valid == nil {
		return
	}
	i, s := off>>6, uint(off&63)
	m := ^uint64(0) >> (64 - uint(n))
	if has {
		r.valid[i] |= m << s
		if s+uint(n) > 64 {
			r.valid[i+1] |= m >> (64 - s)
		}
		return
	}
	r.valid[i] &^= m << s
	if s+uint(n) > 64 {
		r.valid[i+1] &^= m >> (64 - s)
	}
}

func (r *region) defineAll(off, n int, has bool) {
	for n > 0 {
		k := min(n, 64-off&63)
		r.define(off, k, has)
		off, n = off+k, n-k
	}
}

// undefinedAt is the first byte of a range without a value, or -1.
func (r *region) undefinedAt(off, n int) int {
	if r.valid == nil {
		return -1
	}
	for i := off; i < off+n; {
		if k := min(off+n-i, 64-i&63); bitsSet(r.valid, i, k) {
			i += k
			continue
		}
		if !bitsSet(r.valid, i, 1) {
			return i
		}
		i++
	}
	return -1
}

// touch notes a sector's access in a launch and reports whether it is the first.
func (r *region) touch(sector uint64, launch uint32) bool {
	if r.touchedIn != launch {
		if r.touched == nil {
			r.touched = make([]uint64, len(r.data)/32/64+1)
		}
		clear(r.touched)
		r.touchedIn = launch
	}
	w, b := sector>>6, uint64(1)<<(sector&63)
	if w >= uint64(len(r.touched)) || r.touched[w]&b != 0 {
		return false
	}
	r.touched[w] |= b
	return true
}

// memory is a device's global memory: allocations far apart from each other,
// so that running off one of them hits nothing.
type memory struct {
	regions []*region // by base; freed ones stay, to name late uses
	next    uint64
	bytes   int // allocated now
}

// gapBytes separates allocations.
const gapBytes = 1 << 20

func (m *memory) alloc(size int, checked bool, name string) *region {
	if m.next == 0 {
		m.next = globalBase
	}
	r := newRegion(syntax.Global, m.next, size, checked)
	// A compare-and-swap loop on a 16-bit element takes the word around it,
	// which at the end of an odd-sized allocation is half outside.
	if rest := size % 4; rest != 0 {
		r.data = append(r.data, make([]byte, 4-rest)...)[:size]
		r.defineAll(size, 4-rest, true)
	}
	r.name = name
	m.next += (uint64(size)+511)/512*512 + gapBytes
	m.regions = append(m.regions, r)
	m.bytes += size
	return r
}

// find returns the allocation at or below an address, or nil.
func (m *memory) find(addr uint64) *region {
	i := sort.Search(len(m.regions), func(i int) bool { return m.regions[i].base > addr }) - 1
	if i < 0 {
		return nil
	}
	return m.regions[i]
}

// forget drops freed regions once there are many, the oldest first.
func (m *memory) forget() {
	const keep = 4096
	n := 0
	for _, r := range m.regions {
		if r.freed {
			n++
		}
	}
	if n <= keep {
		return
	}
	out := m.regions[:0]
	for _, r := range m.regions {
		if r.freed && n > keep/2 {
			n--
			continue
		}
		out = append(out, r)
	}
	clear(m.regions[len(out):])
	m.regions = out
}
