package emu

import (
	"math/bits"

	"github.com/seed-c851cfd2/moec/cuda/emu/internal/fp"
	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

// The wmma instructions hold matrices in fragments whose layout the hardware
// does not tell. Here slot e of a lane's elements holds element
// (lane*elements+e) mod (rows*columns) of the matrix in row-major order; where
// a fragment has more slots than the matrix has elements, copies agree.

// fragment is a matrix spread over a warp's registers.
type fragment struct {
	rows, cols int
	t          syntax.Type
	regs       []slot
	per        int // elements in a register
}

// at is the row and column of a lane's e-th element.
func (f *fragment) at(lane, e int) (row, col int) {
	i := (lane*len(f.regs)*f.per + e) % (f.rows * f.cols)
	return i / f.cols, i % f.cols
}

// get reads a lane's e-th element as bits of its type.
func (f *fragment) get(w *warp, lane, e int) uint64 {
	size := f.t.Size()
	return zext(w.get(f.regs[e/f.per], lane)>>(8*size*(e%f.per)), size)
}

func (f *fragment) set(w *warp, lane, e int, v uint64) {
	size := f.t.Size()
	r, sh := f.regs[e/f.per], 8*size*(e%f.per)
	old := w.get(r, lane)
	w.set(r, lane, old&^(zext(^uint64(0), size)<<sh)|zext(v, size)<<sh)
}

var wmmaShapes = map[string]tile{
	"m16n16k16": {16, 16, 16}, "m32n8k16": {32, 8, 16}, "m8n32k16": {8, 32, 16}, "m16n16k8": {16, 16, 8},
	"m8n8k4": {8, 8, 4},
}

// opWmma decodes wmma.load, wmma.store and wmma.mma.
func (c *compiler) opWmma(in *syntax.Instr) {
	var shape tile
	ok := false
	for _, m := range in.Mods {
		if t, found := wmmaShapes[m]; found {
			shape, ok = t, true
		}
	}
	if !ok || !in.Has("sync") {
		c.fail("this shape of wmma is not supported")
	}
	c.whole()
	switch {
	case in.Has("load"):
		c.out.op = Load
		c.wmmaMove(in, shape, 0, 1, false)
	case in.Has("store"):
		c.out.op = Store
		c.wmmaMove(in, shape, 1, 0, true)
	case in.Has("mma"):
		c.wmmaMultiply(in, shape)
	default:
		c.fail("unknown wmma instruction")
	}
}

// fragment decodes the registers of matrix a, b or the accumulator.
func (c *compiler) fragment(o syntax.Operand, which string, s tile, t syntax.Type, write bool) *fragment {
	f := &fragment{rows: s.m, cols: s.n, t: t, per: 1}
	switch which {
	case "a":
		f.cols = s.k
	case "b":
		f.rows = s.k
	}
	switch {
	case t == syntax.F16 || t == syntax.BF16:
		f.per = 2
	case t == syntax.S8 || t == syntax.U8:
		f.per = 4
	case t != syntax.F32 && t != syntax.TF32 && t != syntax.S32 && t != syntax.F64:
		c.fail("type %s is not supported here", t)
	}
	rt := syntax.B32
	if t == syntax.F64 {
		rt = syntax.B64
	}
	for _, v := range vector(o) {
		var r slot
		if write {
			r = c.dstOperand(v, rt)
		} else {
			r = c.read(c.value(v, rt))
		}
		if rt == syntax.B32 {
			c.need32(r)
		}
		f.regs = append(f.regs, r)
	}
	if n := 32 * len(f.regs) * f.per; n == 0 || n%(f.rows*f.cols) != 0 {
		c.fail("%d registers do not hold a matrix of %dx%d", len(f.regs), f.rows, f.cols)
	}
	return f
}

// wmmaMove is a load or store: the address and stride are the same in all lanes.
func (c *compiler) wmmaMove(in *syntax.Instr, s tile, frag, addr int, store bool) {
	which := c.mod(2)
	space, _ := spaceMod(in)
	f := c.fragment(c.arg(frag), which, s, c.typ(0), !store)
	ref := c.address(c.arg(addr), space)
	colMajor := in.Has("col")
	stride := c.constant(uint64(f.cols), 32, nil)
	if colMajor {
		stride = c.constant(uint64(f.rows), 32, nil)
	}
	if len(in.Args) == 3 {
		stride = c.value(c.arg(2), syntax.U32)
		c.out.must = append(c.out.must, stride.id)
	}
	size := f.t.Size()
	c.noteWidth(ref.space, size)
	c.out.undef = func(*warp, uint32) {}
	elems := len(f.regs) * f.per
	c.out.run = func(w *warp, m uint32) {
		st := &w.b.l.counts.mem
		for _, r := range f.regs {
			if !store && w.def != nil {
				w.def[r.id] |= m
			}
		}
		for k := m; k != 0; k &= k - 1 {
			lane := bits.TrailingZeros32(k)
			for e := range elems {
				row, col := f.at(lane, e)
				i := uint64(row)*w.get(stride, lane) + uint64(col)
				if colMajor {
					i = uint64(col)*w.get(stride, lane) + uint64(row)
				}
				r, off := w.resolve(ref.space, w.addr(&ref, lane)+i*uint64(size), size, lane)
				reg := f.regs[e/f.per]
				if store {
					var buf [8]byte
					storeBytes(buf[:], size, f.get(w, lane, e))
					w.writeAccess(r, off, size, lane, semantics{write: true}, buf[:size])
					copy(r.data[off:off+size], buf[:size])
					r.define(off, size, w.def == nil || w.def[reg.id]>>lane&1 != 0)
				} else {
					w.readAccess(r, off, size, lane, semantics{all: true})
					f.set(w, lane, e, loadBytes(r.data[off:], size))
					if w.def != nil && !r.defined(off, size) {
						w.def[reg.id] &^= 1 << lane
					}
				}
				if r.space == syntax.Global && (lane*elems+e) < f.rows*f.cols {
					if r.touch(uint64(off)/32, w.b.l.id) {
						st.GlobalUnique += 32
					}
				}
			}
		}
		total := int64(f.rows * f.cols * size)
		switch {
		case ref.space == syntax.Shared:
			st.SharedAccesses++
			st.SharedBytes += total
			st.SharedWavefronts += (total + 127) / 128
		case store:
			st.GlobalStoreBytes += total
			st.GlobalSectors += (total + 31) / 32
		default:
			st.GlobalLoadBytes += total
			st.GlobalSectors += (total + 31) / 32
		}
	}
}

// wmmaMultiply is d = a*b + c. The opcode names d's and c's types, and between
// them a's and b's unless those are f16.
func (c *compiler) wmmaMultiply(in *syntax.Instr, s tile) {
	var types []syntax.Type
	for _, m := range in.Mods[1:] {
		if t := syntax.ParseType(m); t != syntax.None {
			types = append(types, t)
		}
	}
	at, bt := syntax.F16, syntax.F16
	switch len(types) {
	case 2:
	case 4:
		at, bt = types[1], types[2]
	default:
		c.fail("malformed types")
	}
	dt, ct := types[0], types[len(types)-1]
	d := c.fragment(c.arg(0), "d", s, dt, true)
	a, b := c.fragment(c.arg(1), "a", s, at, false), c.fragment(c.arg(2), "b", s, bt, false)
	acc := c.fragment(c.arg(3), "c", s, ct, false)
	c.out.flops = int64(2 * s.m * s.n * s.k / 32)
	c.out.work = c.out.flops
	// The layouts of a and b are those they were loaded with: a fragment holds
	// the matrix itself, whichever way it lay in memory.
	all := append(append(append([]slot(nil), a.regs...), b.regs...), acc.regs...)
	c.out.undef = func(w *warp, m uint32) {
		ok := true
		for _, r := range all {
			ok = ok && w.def[r.id] == fullMask
		}
		for _, r := range d.regs {
			w.def[r.id] = 0
			if ok {
				w.def[r.id] = fullMask
			}
		}
	}
	integer := dt == syntax.S32
	sat := in.Has("satfinite")
	c.out.run = func(w *warp, _ uint32) {
		value := func(f *fragment, lane, e int) float64 {
			v := f.get(w, lane, e)
			switch f.t {
			case syntax.S8, syntax.S32:
				return float64(sext(v, f.t.Size()))
			case syntax.U8:
				return float64(v)
			case syntax.TF32:
				return float64(fp.TF32(f32(uint32(v))))
			}
			return decodeFloat(v, f.t)
		}
		gather := func(f *fragment) []float64 {
			out := make([]float64, f.rows*f.cols)
			for lane := range 32 {
				for e := range len(f.regs) * f.per {
					row, col := f.at(lane, e)
					out[row*f.cols+col] = value(f, lane, e)
				}
			}
			return out
		}
		A, B, C := gather(a), gather(b), gather(acc)
		for lane := range 32 {
			for e := range len(d.regs) * d.per {
				row, col := d.at(lane, e)
				sum := C[row*s.n+col] // float64: wider than the hardware's accumulator
				for k := range s.k {
					sum += A[row*s.k+k] * B[k*s.n+col]
				}
				switch {
				case integer && sat:
					d.set(w, lane, e, saturate32(int64(sum)))
				case integer:
					d.set(w, lane, e, uint64(int64(sum)))
				default:
					d.set(w, lane, e, encodeFloat(sum, dt))
				}
			}
		}
	}
}
