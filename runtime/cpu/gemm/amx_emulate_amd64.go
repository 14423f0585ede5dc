//go:build amxemu

package gemm

import (
	"fmt"
	"math"
	"unsafe"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
)

// The tile kernels in plain Go, for tests on machines without tiles: what they read and write
// by amxTile, row by row. It is no copy of their instructions: the layers above are what it tests.

// tileShape is the part of C that a kernel computes at a time: rt times 16 rows by p panels
// of ct times 16 columns.
type tileShape struct{ rt, ct, p int }

func (e amxKernel) shape() tileShape {
	return [...]tileShape{amx2x2p1: {2, 2, 1}, amx2x1p1: {2, 1, 1}, amx1x2p2: {1, 2, 2}, amx1x2p1: {1, 2, 1}, amx1x1p1: {1, 1, 1}, amx2x1p2: {2, 1, 2}, amx1x1p2: {1, 1, 2}}[e&7]
}

// kind is the activation, where a lower bound counts as none.
func (e amxKernel) kind() act.Kind {
	switch {
	case e&amxGelu != 0:
		return act.Gelu
	case e&amxSilu != 0:
		return act.Silu
	case e&amxHardSwish != 0:
		return act.HardSwish
	case e&amxRelu6 != 0:
		return act.Relu6
	}
	return act.Identity
}

// runTiles runs a tile kernel.
func (k *Kernels) runTiles(t *amxTile, e amxKernel) {
	s, blocks := e.shape(), 1
	if e&amxPiped != 0 {
		blocks = int(t.blocks)
	}
	steps := t.checkShapes(s)
	off, boff, n := t.off, t.boff, t.n
	for block := range blocks {
		t.off, t.boff, t.n = off, boff, n
		for ; int(t.n) >= s.p; t.n -= uintptr(s.p) {
			for r := range int(t.rows) {
				k.tileRow(t, e, s, steps, block, r)
			}
			t.off += uintptr(64 * s.ct * s.p)
			t.boff += t.bp * uintptr(s.p)
		}
	}
}

// checkShapes panics where the tiles are not configured for what t says, and returns the
// steps of a whole k tile and of the last one.
func (t *amxTile) checkShapes(s tileShape) (steps [2]int) {
	cols, rows := s.ct*s.p, int(t.rows)
	if rows > 16*s.rt || rows <= 16*(s.rt-1) {
		panic(fmt.Sprintf("gemm: %d rows in %d rows of tiles", rows, s.rt))
	}
	for i, cfg := range []*[64]byte{&t.cfg, &t.cfgTail} {
		if i == 1 && t.tail == 0 {
			break
		}
		steps[i] = int(cfg[48+7]) // rows of the last tile of B
		is := func(tile, rows, bytes int) {
			if int(cfg[48+tile]) != rows || int(cfg[16+2*tile]) != bytes {
				panic(fmt.Sprintf("gemm: tile %d of %+v has %d rows of %d bytes, want %d of %d", tile, s, cfg[48+tile], cfg[16+2*tile], rows, bytes))
			}
		}
		for r := range s.rt {
			for c := range cols {
				is(r*cols+c, min(16, rows-16*r), 64)
			}
			is(s.rt*cols+r, min(16, rows-16*r), 4*steps[i])
		}
		for b := s.rt * (cols + 1); b < 8; b++ {
			is(b, steps[i], 64)
		}
	}
	return steps
}

func float32At(p unsafe.Pointer, at int) *float32 { return (*float32)(unsafe.Add(p, at)) }

func word16At(p unsafe.Pointer, at int) *uint16 { return (*uint16)(unsafe.Add(p, at)) }

// flushed is what tiles take for f: they have no denormals.
func flushed(f float32) float32 {
	if math.Abs(float64(f)) < 0x1p-126 {
		return 0
	}
	return f
}

// masked reports whether column j of those side by side is one of the mask, whose last bits
// stand for all further tiles too.
func masked(mask uint32, j int) bool { return mask>>(16*min(j/16, 1)+j%16)&1 != 0 }

// tileRow computes one row of the panels at hand.
func (k *Kernels) tileRow(t *amxTile, e amxKernel, s tileShape, steps [2]int, block, r int) {
	var sums [64]float32
	var ints [64]int32
	width, off, row := 16*s.ct*s.p, int(t.off), block*amxRows+r
	acc := sums[:width]
	direct := t.flags&accumulate != 0 && t.flags&amxDirect != 0
	for j := range acc {
		switch {
		case e&amxInt8 != 0:
		case direct:
			acc[j] = *float32At(t.start, off+r*int(t.cs)+4*j)
		case !masked(t.mask, j):
		case t.flags&accumulate != 0:
			acc[j] = *float32At(t.c[row], off+4*j)
		case t.bias != nil:
			acc[j] = *float32At(t.bias, off+4*j)
		}
	}
	t.multiply(e, s, steps, block, r, acc, ints[:width])
	plain := e&^7 == 0
	if plain && t.flags&amxStore != 0 {
		for j, v := range acc {
			*float32At(t.start, off+r*int(t.cs)+4*j) = v
		}
		return
	}
	for j := range acc {
		if !masked(t.mask, j) {
			acc[j] = 0
			continue
		}
		if e&amxInt8 != 0 {
			acc[j] = t.dequantised(ints[j], r, row, j)
		}
		switch {
		case e&amxResidual == 0:
		case t.flags&amxWiden != 0:
			acc[j] += math.Float32frombits(uint32(*word16At(t.r[row], off/2+2*j)) << 16)
		default:
			acc[j] += *float32At(t.r[row], off+4*j)
		}
		if e.kind() == act.Identity && acc[j] < t.lo {
			acc[j] = t.lo
		}
	}
	gate := float32(1)
	if e&amxGated != 0 {
		gate = t.gate[r]
	}
	k.act.Apply(e.kind(), acc, gate)
	for j, v := range acc {
		switch {
		case e&amxHalf != 0:
			if !masked(t.mask, j) {
				v = 0 // not its negative, by a gate
			}
			if masked(t.maskUp, j) {
				*word16At(t.c[row], off/2+2*j) = layout.RoundBF16(v)
			}
		case masked(t.mask, j):
			*float32At(t.c[row], off+4*j) = v
		}
	}
}

// multiply adds the products of row r of a block, stretch by stretch.
func (t *amxTile) multiply(e amxKernel, s tileShape, steps [2]int, block, r int, acc []float32, ints []int32) {
	a, at, b := t.a[block][r/16], r%16*int(t.as), int(t.boff)
	tile := func(steps int) {
		for i := range steps {
			x := *(*uint32)(unsafe.Add(a, at+4*i))
			x0, x1 := flushed(math.Float32frombits(x<<16)), flushed(math.Float32frombits(x&0xffff0000))
			for j := range acc {
				c := j / 16
				y := *(*uint32)(unsafe.Add(t.b, b+c/s.ct*int(t.bp)+64*(i*s.ct+c%s.ct)+4*(j%16)))
				if e&amxInt8 != 0 {
					for q := 0; q < 32; q += 8 {
						ints[j] += int32(x>>q&255) * int32(int8(y>>q))
					}
					continue
				}
				y0, y1 := flushed(math.Float32frombits(y<<16)), flushed(math.Float32frombits(y&0xffff0000))
				acc[j] = flushed(flushed(acc[j]+x0*y0) + x1*y1)
			}
		}
	}
	for span := range int(t.spans) + 1 {
		if span > 0 {
			at += int(*(*int64)(unsafe.Add(t.jumps, 8*(span-1))))
		}
		for range int(t.k) {
			tile(steps[0])
			at, b = at+64, b+16*64*s.ct
		}
	}
	if t.tail != 0 {
		tile(steps[1])
	}
}

// dequantised is column j of an integer sum as a float, on top of C or the bias.
func (t *amxTile) dequantised(sum int32, r, row, j int) float32 {
	at := int(t.off) + 4*j
	corr, za := *(*uint32)(unsafe.Add(t.corr, at)), t.za[r]
	sum += int32(int16(za))*int32(int16(corr)) + int32(int16(za>>16))*int32(int16(corr>>16))
	base := t.bias
	if t.flags&accumulate != 0 {
		base = t.c[row]
	}
	scaled := float32(sum) * *float32At(t.scale, at)
	return float32(math.FMA(float64(scaled), float64(t.sa[r]), float64(*float32At(base, at))))
}
