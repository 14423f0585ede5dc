package gemm

import (
	"unsafe"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
)

//go:generate go run ./gen

const (
	neonRows    = 6 // most rows of a NEON kernel
	neonColumns = 16
)

// edge stands in for rows of C, and for what columns have, where only some of a kernel's
// sixteen columns are in the matrix.
type edge struct {
	c           [neonRows][neonColumns]float32
	bias, scale [neonColumns]float32
	corr        [neonColumns]uint32
}

// rowsPerTile is the most rows of one micro-kernel call.
func (k *Kernels) rowsPerTile(p layout.Precision) int {
	switch v := k.variant(p); {
	case v == portable:
		return maxRows
	case v == neon && p == layout.I8:
		return 4
	}
	return neonRows
}

// run multiplies rows rows of t by t.n panels of nr columns, the last one of
// width columns.
func (k *Kernels) run(t *tile, p layout.Precision, rows, nr, width int) {
	v := k.variant(p)
	if v == portable {
		t.portable(p, rows, nr, width)
		return
	}
	// By halves of sixteen columns.
	off, boff := t.off, t.boff
	for ; t.n > 0; t.n-- {
		w := nr
		if t.n == 1 {
			w = width
		}
		for h := 0; h < w; h += neonColumns {
			cols := min(neonColumns, w-h)
			t.mask = 1<<cols - 1
			t.off, t.boff = off+uintptr(4*h), boff+uintptr(4*h)
			if cols < neonColumns {
				t.enter(rows, cols)
			}
			switch {
			case p == layout.F32:
				f32V(t, rows)
			case p == layout.BF16:
				wideV(t, rows)
			case v == neonDot:
				i8D(t, rows)
			default:
				i8V(t, rows)
			}
			if cols < neonColumns {
				t.leave(rows, cols)
			}
		}
		off, boff = off+uintptr(4*nr), boff+t.bp
	}
}

// enter copies what a kernel reads of a partial half panel to the edge.
func (t *tile) enter(rows, cols int) {
	at := func(p unsafe.Pointer) []float32 { return unsafe.Slice((*float32)(unsafe.Add(p, t.off)), cols) }
	if t.flags&accumulate != 0 {
		for i := range rows {
			copy(t.edge.c[i][:], at(t.c[i]))
		}
	}
	if t.bias != nil {
		copy(t.edge.bias[:], at(t.bias))
	}
	if t.scale != nil {
		copy(t.edge.scale[:], at(t.scale))
		copy(t.edge.corr[:], unsafe.Slice((*uint32)(unsafe.Add(t.corr, t.off)), cols))
	}
}

// leave copies the results of a partial half panel from the edge.
func (t *tile) leave(rows, cols int) {
	for i := range rows {
		copy(unsafe.Slice((*float32)(unsafe.Add(t.c[i], t.off)), cols), t.edge.c[i][:])
	}
}
