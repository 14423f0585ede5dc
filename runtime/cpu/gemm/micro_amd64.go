package gemm

import (
	"unsafe"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
)

//go:generate go run ./gen

// kernelRows is the smallest micro-kernel that covers a number of rows: absent
// sizes run the next one with the last row repeated.
var kernelRows = [maxRows + 1]uint8{0, 1, 2, 4, 4, 6, 6, 8, 8, 10, 10, 12, 12}

// laneMasks holds 16 set lanes followed by 16 clear ones: sixteen lanes from
// element 16-w make a mask of w.
var laneMasks = [32]int32{-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1}

// rowsPerTile is the most rows of one micro-kernel call.
func (k *Kernels) rowsPerTile(p layout.Precision) int {
	if k.variant(p) == avx2 {
		if p == layout.I8 {
			return 4
		}
		return 6
	}
	return maxRows
}

// run multiplies rows rows of t by t.n panels of nr columns, the last one of
// width columns.
func (k *Kernels) run(t *tile, p layout.Precision, rows, nr, width int) {
	v := k.variant(p)
	if v == portable {
		t.portable(p, rows, nr, width)
		return
	}
	size := pad(t, int(kernelRows[rows]), rows)
	if v == avx2 {
		runAVX2(t, p, size, nr, width)
		return
	}
	t.mask = 1<<width - 1
	whole := nr == layout.NR && width == layout.NR
	switch {
	case p == layout.F32:
		runF32(t, size, nr, whole)
	case p == layout.I8:
		runI8(t, size, nr, whole)
	case v == avx512dot:
		runBF16(t, size, nr, whole)
	default:
		runWide(t, size, nr, whole)
	}
}

// pad repeats the last row up to size: it is computed and stored again, equal.
func pad(t *tile, size, rows int) int {
	for i := rows; i < size; i++ {
		t.a[i], t.c[i] = t.a[rows-1], t.c[rows-1]
		t.sa[i], t.za[i] = t.sa[rows-1], t.za[rows-1]
	}
	return size
}

// groups splits n panels, of which the last is whole or not, into a number for
// the kernel of p at a time and a rest.
func groups(n, p uintptr, whole bool) (grouped, rest uintptr) {
	if p == 0 {
		return 0, n
	}
	full := n
	if !whole {
		full--
	}
	grouped = full / p * p
	return grouped, n - grouped
}

// runAVX2 goes through the panels by halves of 16 columns.
func runAVX2(t *tile, p layout.Precision, size, nr, width int) {
	off, boff := t.off, t.boff
	for ; t.n > 0; t.n-- {
		w := nr
		if t.n == 1 {
			w = width
		}
		for h := 0; h < w; h += 16 {
			t.mask8 = unsafe.Pointer(&laneMasks[16-min(16, w-h)])
			t.off, t.boff = off+uintptr(4*h), boff+uintptr(4*h)
			switch p {
			case layout.F32:
				runF32Y(t, size)
			case layout.BF16:
				runWideY(t, size)
			default:
				runI8Y(t, size)
			}
		}
		off, boff = off+uintptr(4*nr), boff+t.bp
	}
}
