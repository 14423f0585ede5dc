package rows

// Dots sets each dst to the product of q with one of the rows of k, which are stride elements apart.
func (k *Kernels) Dots(dst, q, keys []float32, stride int) {
	n := len(dst)
	if n == 0 {
		return
	}
	if len(q) == 0 {
		clear(dst)
		return
	}
	_ = keys[(n-1)*stride+len(q)-1]
	if k.dotsVector(dst, q, keys, stride) {
		return
	}
	for j := range dst {
		var s [8]float32
		for i, v := range keys[j*stride:][:len(q)] {
			s[i&7] += q[i] * v
		}
		dst[j] = (s[0] + s[4]) + (s[1] + s[5]) + ((s[2] + s[6]) + (s[3] + s[7]))
	}
}

// Weigh adds to dst each of the rows of x, which are stride elements apart, times its p.
func (k *Kernels) Weigh(dst, p, x []float32, stride int) {
	if len(p) == 0 || len(dst) == 0 {
		return
	}
	_ = x[(len(p)-1)*stride+len(dst)-1]
	if k.weighVector(dst, p, x, stride) {
		return
	}
	for j, w := range p {
		for i, v := range x[j*stride:][:len(dst)] {
			dst[i] += w * v
		}
	}
}
