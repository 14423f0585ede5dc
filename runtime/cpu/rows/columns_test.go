package rows

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestColumns(t *testing.T) {
	each(t, func(t *testing.T, k *Kernels, n int, rng *rand.Rand) {
		for _, rows := range []int{0, 1, 2, 5, 33} {
			x, okX := guarded(t, rng, n*rows)
			shift, okShift := guarded(t, rng, n)
			sum, okSum := guarded(t, rng, n)
			squares, okSquares := guarded(t, rng, n)
			k.Moments(sum, squares, shift, x, rows)
			for i := range n {
				var s, q, size float64
				for r := range rows {
					d := float64(x[r*n+i]) - float64(shift[i])
					s += d
					q += d * d
					size += math.Abs(d)
				}
				// Each d and each sum is rounded once.
				near(t, "sum of a column", n, sum[i], s, 0x1p-24*float64(rows+1)*size)
				near(t, "squares of a column", n, squares[i], q, 0x1p-24*float64(rows+3)*q)
			}
			factor, okFactor := guarded(t, rng, n)
			bias, okBias := guarded(t, rng, n)
			dst, okDst := guarded(t, rng, n*rows)
			k.AffineColumns(dst, x, shift, factor, bias, rows)
			for i, v := range x {
				near(t, "affine column", n, dst[i], (float64(v)-float64(shift[i%n]))*float64(factor[i%n])+float64(bias[i%n]), 1e-5)
			}
			k.AffineColumns(x, x, shift, factor, bias, rows)
			for i, v := range x {
				near(t, "affine column in place", n, v, float64(dst[i]), 0)
			}
			for _, ok := range []func(){okX, okShift, okSum, okSquares, okFactor, okBias, okDst} {
				ok()
			}
		}
	})
}
