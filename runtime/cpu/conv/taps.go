package conv

import "github.com/seed-c851cfd2/moec/codegen/plan/layout"

// sumTaps sets y[i] to start + the sum of w[t]*x[off[t]+i] over taps t in order. The
// last element read is x[max(off)+len(y)-1].
func (k *Kernels) sumTaps(y, x []float32, off []int, w []float32, start float32) {
	if len(y) == 0 || k.sumVector(y, x, off, w[:len(off)], start) {
		return
	}
	for i := range y {
		y[i] = start
	}
	for t, o := range off {
		for i, v := range x[o : o+len(y)] {
			y[i] += w[t] * v
		}
	}
}

// maxTaps sets y[i] to the maximum of start and x[off[t]+i] over taps t; a NaN stays.
func (k *Kernels) maxTaps(y, x []float32, off []int, start float32) {
	if len(y) == 0 || k.maxVector(y, x, off, start) {
		return
	}
	for i := range y {
		y[i] = start
	}
	for _, o := range off {
		for i, v := range x[o : o+len(y)] {
			if v > y[i] || v != v {
				y[i] = v
			}
		}
	}
}

// reach checks that all taps of n elements lie in x, for the assembly that does not.
func reach(x []float32, off []int, n int) {
	for _, o := range off {
		_ = x[o : o+n]
	}
}

// gather copies n elements from x[c*plane+off[t]:] for each channel c and tap t to rows
// of y, stride elements apart; n is at most 32.
func (k *Kernels) gather(y []float32, stride int, x []float32, off []int, channels, plane, n int) {
	if channels == 0 || n == 0 || k.gatherVector(y, stride, x, off, channels, plane, n) {
		return
	}
	for c := range channels {
		for _, o := range off {
			copy(y[:n], x[c*plane+o:])
			y = y[min(stride, len(y)):]
		}
	}
}

// roundGather rounds n floats from each of x[off[t]:] to bf16, side by side, and the same
// from step floats on to rows of dst that are words apart, pixels times in all. A row
// ends in zeros, fewer than 32, up to a whole word.
func (k *Kernels) roundGather(dst []float32, words int, x []float32, off []int, n, pixels, step, zeros int) {
	zeros += (n*len(off) + zeros) % 2
	if k.roundVector(dst, words, x, off, n, pixels, step, zeros) {
		return
	}
	for p := range pixels {
		row, i := halves(dst[p*words:]), 0
		for _, o := range off {
			for _, v := range x[p*step+o:][:n] {
				row[i] = layout.RoundBF16(v)
				i++
			}
		}
		clear(row[i : i+zeros])
	}
}

// split puts x[2i] in a[i] and x[2i+1] in b[i].
func (k *Kernels) split(a, b, x []float32) {
	for i := k.splitVector(a, b, x); i < len(a); i++ {
		a[i], b[i] = x[2*i], x[2*i+1]
	}
}
