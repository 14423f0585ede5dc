package emu

import (
	"math/bits"

	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

// A tensor map describes a tensor of up to five dimensions to bulk copies. Its
// 128 bytes are opaque to programs; these are the emulator's own.
const (
	mapAddress  = 0
	mapRank     = 8 // minus one
	mapElem     = 9
	mapLeave    = 10 // interleave
	mapSwizzle  = 11
	mapFill     = 12
	mapBox      = 16 // u32 each
	mapDim      = 36
	mapStep     = 56 // element strides
	mapStride   = 80 // bytes, u64, from the second dimension on
	mapBytes    = 128
	mapFillNaNs = 1
)

// tensorMap is a decoded descriptor.
type tensorMap struct {
	addr           uint64
	rank           int
	box, dim, step [5]uint32
	stride         [5]uint64
	elem           int
	typ            syntax.Type
	chunks         uint32 // of a swizzled row
}

var tensorTypes = [...]syntax.Type{
	syntax.U8, syntax.U16, syntax.U32, syntax.S32, syntax.U64, syntax.S64, syntax.F16, syntax.F32, syntax.F32, syntax.F64, syntax.BF16, syntax.F32, syntax.F32,
}

// maxBox is the most elements of a tile along a dimension (CUDA driver API,
// cuTensorMapEncodeTiled).
const maxBox = 256

// tensorMap reads the descriptor at a generic or global address.
func (w *warp) tensorMap(addr uint64, lane int) *tensorMap {
	r, off := w.resolve(syntax.Generic, addr, mapBytes, lane)
	w.readAccess(r, off, mapBytes, lane, semantics{strong: true, scope: scopeGPU})
	b := r.data[off : off+mapBytes]
	t := &tensorMap{addr: le.Uint64(b), rank: int(b[mapRank]) + 1}
	if t.rank > 5 || int(b[mapElem]) >= len(tensorTypes) || b[mapLeave] != 0 || b[mapSwizzle] > 3 || b[mapFill] == mapFillNaNs {
		w.fault(InvalidOperation, lane, "the tensor map at %#x is not valid, or interleaves or fills with NaN, which is not supported", addr)
	}
	t.typ = tensorTypes[b[mapElem]]
	t.elem = t.typ.Size()
	t.chunks = 1 << b[mapSwizzle]
	for i := range t.rank {
		t.box[i], t.dim[i] = le.Uint32(b[mapBox+4*i:]), le.Uint32(b[mapDim+4*i:])
		t.step[i] = max(le.Uint32(b[mapStep+4*i:]), 1)
		if t.box[i] < 1 || t.box[i] > maxBox {
			w.fault(InvalidOperation, lane, "the tensor map at %#x has tiles of %d along dimension %d, not 1 to %d", addr, t.box[i], i, maxBox)
		}
		t.stride[i] = uint64(t.elem)
		if i > 0 {
			t.stride[i] = le.Uint64(b[mapStride+8*(i-1):])
		}
	}
	return t
}

// walk calls f for each element of the tile at a lane's coordinates, in the
// order of shared memory: its global address, its place from the tile's start,
// and whether it lies inside the tensor.
func (t *tensorMap) walk(w *warp, b *bulkCopy, lane int, f func(addr uint64, at uint32, inside bool)) {
	if len(b.coords) != t.rank {
		w.fault(InvalidOperation, lane, "%d coordinates in a tensor of rank %d", len(b.coords), t.rank)
	}
	ref := &b.dst
	if !b.load {
		ref = &b.src
	}
	start := uint32(w.addr(ref, lane)) & (clusterStep - 1)
	if start%128 != 0 {
		w.fault(Misaligned, lane, "the tile's shared address %#x is not a multiple of 128", start)
	}
	var i [5]uint32
	at := uint32(0)
	for {
		addr, inside := t.addr, true
		for d := range t.rank {
			x := int64(int32(w.get(b.coords[d], lane))) + int64(i[d]*t.step[d])
			inside = inside && x >= 0 && x < int64(t.dim[d])
			addr += uint64(x) * t.stride[d]
		}
		f(addr, swizzle(start+at, t.chunks)-start, inside)
		at += uint32(t.elem)
		d := 0
		for ; d < t.rank; d++ {
			if i[d]++; i[d] < t.box[d] {
				break
			}
			i[d] = 0
		}
		if d == t.rank {
			return
		}
	}
}

// opTensormap decodes tensormap.replace, which sets one field, and
// tensormap.cp_fenceproxy, which publishes a map made in shared memory.
func (c *compiler) opTensormap(in *syntax.Instr) {
	if c.mod(1) == "cp_fenceproxy" {
		dst, src := c.address(c.arg(0), syntax.Global), c.address(c.arg(1), syntax.Shared)
		c.whole()
		c.out.run = func(w *warp, m uint32) {
			i := bits.TrailingZeros32(m)
			s, from := w.resolve(src.space, w.addr(&src, i), mapBytes, i)
			g, to := w.resolve(dst.space, w.addr(&dst, i), mapBytes, i)
			w.readAccess(s, from, mapBytes, i, semantics{all: true})
			w.writeAccess(g, to, mapBytes, i, semantics{write: true, all: true, strong: true, scope: scopeGPU}, nil)
			copy(g.data[to:], s.data[from:from+mapBytes])
			g.defineAll(to, mapBytes, true)
		}
		return
	}
	if c.mod(1) != "replace" || c.mod(2) != "tile" {
		c.fail("unknown tensormap operation")
	}
	space, _ := spaceMod(in)
	ref := c.address(c.arg(0), space)
	ord := 0
	value := in.Args[len(in.Args)-1]
	if len(in.Args) == 3 {
		if c.arg(1).Kind != syntax.KInt || c.arg(1).Imm > 4 {
			c.fail("the dimension must be an immediate below 5")
		}
		ord = int(c.arg(1).Imm)
	}
	var at, n int
	switch c.mod(3) {
	case "global_address":
		at, n = mapAddress, 8
	case "rank":
		at, n = mapRank, 1
	case "elemtype":
		at, n = mapElem, 1
	case "interleave_layout":
		at, n = mapLeave, 1
	case "swizzle_mode":
		at, n = mapSwizzle, 1
	case "fill_mode":
		at, n = mapFill, 1
	case "box_dim":
		at, n = mapBox+4*ord, 4
	case "global_dim":
		at, n = mapDim+4*ord, 4
	case "element_stride":
		at, n = mapStep+4*ord, 4
	case "global_stride":
		at, n = mapStride+8*min(ord, 3), 8
	default:
		c.fail("unknown field of a tensor map")
	}
	t := syntax.B32
	if n == 8 {
		t = syntax.B64
	}
	s := c.value(value, t)
	c.out.must = append(c.out.must, s.id)
	c.out.run = func(w *warp, m uint32) {
		for ; m != 0; m &= m - 1 {
			i := bits.TrailingZeros32(m)
			r, off := w.resolve(ref.space, w.addr(&ref, i), mapBytes, i)
			w.writeAccess(r, off, mapBytes, i, semantics{write: true}, nil)
			storeBytes(r.data[off+at:], n, w.get(s, i))
			r.defineAll(off, mapBytes, true)
		}
	}
}
