package gemm

import (
	"math"
	"unsafe"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
)

// Native reports whether products at precision p have instructions of their own, to
// which rows of activations are converted. Otherwise p is only a way to store weights.
func (k *Kernels) Native(p layout.Precision) bool {
	v := k.variant(p)
	return v == avx512dot || v == amx
}

// RoundBF16 writes rows rows of n elements of x as bf16, two elements to a word of dst,
// zero past an odd end. Rows are dstStride and xStride elements apart.
func (k *Kernels) RoundBF16(dst []float32, dstStride int, x []float32, xStride, rows, n int) {
	k.roundBF16(words32(dst), dstStride, x, xStride, rows, n)
}

func (k *Kernels) roundBF16(dst []uint32, dstStride int, x []float32, xStride, rows, n int) {
	if rows == 0 || n == 0 {
		return
	}
	_, _ = dst[(rows-1)*dstStride+(n+1)/2-1], x[(rows-1)*xStride+n-1]
	if k.bf16Vector(dst, dstStride, x, xStride, rows, n) {
		return
	}
	for r := range rows {
		row := x[r*xStride:][:n]
		for i := k.roundVector(dst[r*dstStride:], row) / 2; i < (n+1)/2; i++ {
			w := uint32(layout.RoundBF16(row[2*i]))
			if 2*i+1 < n {
				w |= uint32(layout.RoundBF16(row[2*i+1])) << 16
			}
			dst[r*dstStride+i] = w
		}
	}
}

// halves views words of two bf16 as elements.
func halves(x []float32) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(x))), 2*len(x))
}

// WidenBF16 sets dst to the f32 of bf16 elements.
func (k *Kernels) WidenBF16(dst []float32, x []uint16) { k.widenRows(dst, 0, x, 0, 1, len(dst)) }

// WidenRows writes rows rows of n elements that are bf16, two to a word of x, as f32. Rows
// are dstStride elements and xStride words apart.
func (k *Kernels) WidenRows(dst []float32, dstStride int, x []float32, xStride, rows, n int) {
	k.widenRows(dst, dstStride, halves(x), 2*xStride, rows, n)
}

func (k *Kernels) widenRows(dst []float32, dstStride int, x []uint16, xStride, rows, n int) {
	if rows == 0 || n == 0 {
		return
	}
	_, _ = dst[(rows-1)*dstStride+n-1], x[(rows-1)*xStride+n-1]
	from := k.widenVector(dst, dstStride, x, xStride, rows, n)
	if from == n {
		return
	}
	for r := range rows {
		for i := from; i < n; i++ {
			dst[r*dstStride+i] = math.Float32frombits(uint32(x[r*xStride+i]) << 16)
		}
	}
}

// PairBF16 writes pairs of rows of x as the steps of a panel: word i of row r of dst is
// the bf16 of x[2r][i] in the low half and of x[2r+1][i] in the high half, zero where
// there is no row 2r+1 among the rows of x. Rows are dstStride and xStride elements apart.
func (k *Kernels) PairBF16(dst []float32, dstStride int, x []float32, xStride, rows, n int) {
	if rows == 0 || n == 0 {
		return
	}
	out, whole := words32(dst), rows/2
	_, _ = out[((rows+1)/2-1)*dstStride+n-1], x[(rows-1)*xStride+n-1]
	from := 0
	if whole > 0 && k.pairVector(out, dstStride, x, xStride, whole, n) {
		from = whole
	}
	for r := from; r < (rows+1)/2; r++ {
		for i := range n {
			w := uint32(layout.RoundBF16(x[2*r*xStride+i]))
			if 2*r+1 < rows {
				w |= uint32(layout.RoundBF16(x[(2*r+1)*xStride+i])) << 16
			}
			out[r*dstStride+i] = w
		}
	}
}

// PairHalves is PairBF16 of rows that are bf16 already: words of two elements, xStride of
// them from row to row.
func (k *Kernels) PairHalves(dst []float32, dstStride int, x []float32, xStride, rows, n int) {
	if rows == 0 || n == 0 {
		return
	}
	out, in, whole, stride := words32(dst), halves(x), rows/2, 2*xStride
	_, _ = out[((rows+1)/2-1)*dstStride+n-1], in[(rows-1)*stride+n-1]
	from := 0
	if whole > 0 && k.pairHalvesVector(out, dstStride, in, stride, whole, n) {
		from = whole
	}
	for r := from; r < (rows+1)/2; r++ {
		for i := range n {
			w := uint32(in[2*r*stride+i])
			if 2*r+1 < rows {
				w |= uint32(in[(2*r+1)*stride+i]) << 16
			}
			out[r*dstStride+i] = w
		}
	}
}

// Store writes m rows of n elements of x as bf16 into o from column col on, which must be
// even. It does nothing if o has no rows of its own.
func (k *Kernels) Store(o Operand, col int, x Rows, m, n int) {
	if o.data != nil && m > 0 {
		k.roundBF16(o.data[col/2:], o.words, x.Data, x.Stride, m, n)
	}
}

// Halves are the converted rows of bf16, two to a word, and the words from row to row; nil
// if the operand has no rows of its own.
func (o Operand) Halves() (data []uint32, words int) { return o.data, o.words }
