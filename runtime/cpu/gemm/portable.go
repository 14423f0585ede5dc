package gemm

import (
	"math"
	"unsafe"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
)

// portable runs a tile on any machine: rows rows of A, panels of nr columns, the
// last of width columns. It is also the plain statement of what the assembly does.
func (t *tile) portable(p layout.Precision, rows, nr, width int) {
	var acc [layout.NR]float32
	for ; t.n > 0; t.n-- {
		w := nr
		if t.n == 1 {
			w = width
		}
		for i := range rows {
			c := unsafe.Slice((*float32)(unsafe.Add(t.c[i], t.off)), w)
			switch {
			case p == layout.I8:
				t.rowI8(acc[:w], i, c)
			default:
				t.start(acc[:w], c)
				if p == layout.F32 {
					t.rowF32(acc[:w], i)
				} else {
					t.rowBF16(acc[:w], i)
				}
			}
			for j, v := range acc[:w] {
				if v < t.lo {
					v = t.lo
				}
				c[j] = v
			}
		}
		t.off += uintptr(4 * nr)
		t.boff += t.bp
	}
}

// start fills acc from C, the bias or zero.
func (t *tile) start(acc, c []float32) {
	switch {
	case t.flags&accumulate != 0:
		copy(acc, c)
	case t.bias != nil:
		copy(acc, unsafe.Slice((*float32)(unsafe.Add(t.bias, t.off)), len(acc)))
	default:
		clear(acc)
	}
}

func (t *tile) rowF32(acc []float32, i int) {
	if t.k == 0 {
		return
	}
	a := unsafe.Slice((*float32)(t.a[i]), t.k)
	at := t.boff
	for _, x := range a {
		b := unsafe.Slice((*float32)(unsafe.Add(t.b, at)), len(acc))
		for j, y := range b {
			acc[j] += x * y
		}
		at += t.bk
	}
}

// rowBF16 multiplies a row of f32 by widened bf16: its k counts elements.
func (t *tile) rowBF16(acc []float32, i int) {
	if t.k == 0 {
		return
	}
	a := unsafe.Slice((*float32)(t.a[i]), t.k)
	at := t.boff
	for k := 0; k < len(a); k += 2 {
		b := unsafe.Slice((*uint32)(unsafe.Add(t.b, at)), len(acc))
		for j, y := range b {
			acc[j] += a[k] * math.Float32frombits(y<<16)
		}
		if k+1 < len(a) {
			for j, y := range b {
				acc[j] += a[k+1] * math.Float32frombits(y&0xffff0000)
			}
		}
		at += t.bk
	}
}

func (t *tile) rowI8(acc []float32, i int, c []float32) {
	var sum [layout.NR]int32
	w := len(acc)
	corr := unsafe.Slice((*uint32)(unsafe.Add(t.corr, t.off)), w)
	scale := unsafe.Slice((*float32)(unsafe.Add(t.scale, t.off)), w)
	zp := int32(int16(t.za[i])) // minus the zero point
	for j, d := range corr {
		sum[j] = zp * layout.Sum32(d)
	}
	if t.k > 0 {
		a := unsafe.Slice((*uint32)(t.a[i]), t.k)
		at := t.boff
		for _, x := range a {
			b := unsafe.Slice((*uint32)(unsafe.Add(t.b, at)), w)
			x0, x1, x2, x3 := int32(x&255), int32(x>>8&255), int32(x>>16&255), int32(x>>24)
			for j, y := range b {
				sum[j] += x0*int32(int8(y)) + x1*int32(int8(y>>8)) + x2*int32(int8(y>>16)) + x3*int32(int8(y>>24))
			}
			at += t.bk
		}
	}
	t.start(acc, c)
	for j := range acc {
		acc[j] += float32(sum[j]) * scale[j] * t.sa[i]
	}
}
