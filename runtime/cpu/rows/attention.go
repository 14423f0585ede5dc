package rows

import "github.com/seed-c851cfd2/moec/codegen/plan/layout"

// ScaleMaxRows does [Kernels.ScaleMax] to one row of n elements of x per element of top,
// which is its floor and becomes its largest; rows of x and of add, which may be nil, are
// xStride and addStride elements apart.
func (k *Kernels) ScaleMaxRows(x []float32, xStride, n int, factor float32, add []float32, addStride int, top []float32) {
	rows := len(top)
	if rows == 0 || n == 0 {
		return
	}
	_ = x[(rows-1)*xStride+n-1]
	if add != nil {
		_ = add[(rows-1)*addStride+n-1]
	}
	if k.scaleMaxRowsVector(x, xStride, n, factor, add, addStride, top) {
		return
	}
	for i := range top {
		var row []float32
		if add != nil {
			row = add[i*addStride:][:n]
		}
		top[i] = k.ScaleMax(x[i*xStride:][:n], factor, row, top[i])
	}
}

// ExpSumRows writes e^(x-top), for one row of n elements of x per element of top, as bf16
// into the words of dst, two to a word, zero past an odd end, and their sums before
// rounding into sum. No x may be greater than its top. The error is below 1e-5 relative,
// and the rounding's 2^-9; more than 86.6 below top it may be 0. Rows are dstStride words and
// xStride elements apart; those of x may change.
func (k *Kernels) ExpSumRows(dst []uint32, dstStride int, x []float32, xStride, n int, top, sum []float32) {
	rows := len(top)
	sum = sum[:rows]
	if rows == 0 || n == 0 {
		clear(sum)
		return
	}
	_, _ = dst[(rows-1)*dstStride+(n+1)/2-1], x[(rows-1)*xStride+n-1]
	if k.expSumRowsVector(dst, dstStride, x, xStride, n, top, sum) {
		for i, t := range top {
			if t > largeTop || t < -largeTop {
				k.expSumLarge(dst[i*dstStride:], x[i*xStride:][:n], t, sum[i:i+1])
			}
		}
		return
	}
	for r := range rows {
		row := dst[r*dstStride:][:(n+1)/2]
		clear(row)
		sum[r] = 0
		for i, v := range x[r*xStride:][:n] {
			e := Exp(v - top[r])
			sum[r] += e
			row[i/2] |= uint32(layout.RoundBF16(e)) << (i % 2 * 16)
		}
	}
}

// largeTop is the magnitude of a top up to which the vectors' offset, the top times log2 e
// in f32, is off by less than 1e-5. Where a mask of the least float hides every key of a
// query it even overflows.
const largeTop = 128

// expSumLarge is ExpSumRows for one row, whose top is subtracted first. Few rows need it: a
// subtraction in the vectors' loop cost attention 3 %.
func (k *Kernels) expSumLarge(dst []uint32, x []float32, top float32, sum []float32) {
	for i := range x {
		x[i] -= top
	}
	var none [1]float32
	k.expSumRowsVector(dst, 0, x, 0, len(x), none[:], sum)
}

// ScaleRows sets one row of n elements of dst per factor to that of x times the factor;
// rows are dstStride and xStride elements apart.
func (k *Kernels) ScaleRows(dst []float32, dstStride int, x []float32, xStride int, factor []float32, n int) {
	rows := len(factor)
	if rows == 0 || n == 0 {
		return
	}
	_, _ = dst[(rows-1)*dstStride+n-1], x[(rows-1)*xStride+n-1]
	if k.scaleRowsVector(dst, dstStride, x, xStride, factor, n) {
		return
	}
	for i, f := range factor {
		k.Scale(dst[i*dstStride:][:n], x[i*xStride:][:n], f)
	}
}
