package conv

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
