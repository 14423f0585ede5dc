package rows

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestKeys(t *testing.T) {
	each(t, func(t *testing.T, k *Kernels, n int, rng *rand.Rand) {
		for _, rows := range []int{0, 1, 2, 3, 4, 5, 8, 33} {
			stride := n + rows%3
			x, okX := guarded(t, rng, max(0, rows*stride-rows%3))
			q, okQ := guarded(t, rng, n)
			dst, okDst := guarded(t, rng, rows)
			k.Dots(dst, q, x, stride)
			for j := range dst {
				var want, size float64
				for i := range q {
					want += float64(q[i]) * float64(x[j*stride+i])
					size += math.Abs(float64(q[i]) * float64(x[j*stride+i]))
				}
				// No lane adds up more than n/8 products and seven lanes.
				near(t, "dot", n, dst[j], want, 0x1p-24*float64(n/8+9)*size)
			}
			p, okP := guarded(t, rng, rows)
			sum, okSum := guarded(t, rng, n)
			before := append([]float32(nil), sum...)
			k.Weigh(sum, p, x, stride)
			for i, v := range sum {
				want, size := float64(before[i]), math.Abs(float64(before[i]))
				for j := range p {
					want += float64(p[j]) * float64(x[j*stride+i])
					size += math.Abs(float64(p[j]) * float64(x[j*stride+i]))
				}
				near(t, "weighted sum", n, v, want, 0x1p-24*float64(2*rows)*size)
			}
			for _, ok := range []func(){okX, okQ, okDst, okP, okSum} {
				ok()
			}
		}
	})
}
