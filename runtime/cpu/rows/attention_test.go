package rows

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestExpSumRowsOfLargeTops: where a mask hides all keys of a query, or scores are great, the
// distance to the top counts and not how large that is.
func TestExpSumRowsOfLargeTops(t *testing.T) {
	each(t, func(t *testing.T, k *Kernels, n int, _ *rand.Rand) {
		if n == 0 {
			return
		}
		tops := []float32{-math.MaxFloat32, 1, -1e30, -1e9, -1e4, 0, 1e4, 1e9, 1e30, math.MaxFloat32}
		x, sums, words := make([]float32, len(tops)*n), make([]float32, len(tops)), (n+1)/2
		for i := range x {
			if x[i] = tops[i/n] - float32(i%n%3); i%n%5 == 4 {
				x[i] = float32(math.Inf(-1))
			}
		}
		want, half := append([]float32(nil), x...), make([]uint32, len(tops)*words)
		k.ExpSumRows(half, words, x, n, n, tops, sums)
		for r, top := range tops {
			sum := 0.0
			for i, v := range want[r*n:][:n] {
				p := math.Exp(float64(v - top))
				sum += p
				near(t, "bf16 of exp", n, math.Float32frombits(half[r*words+i/2]>>(i%2*16)<<16), p, p*(0x1p-8+1e-5))
			}
			near(t, "sum", n, sums[r], sum, 2e-5*sum)
		}
	})
}

// TestExpSumRowsOfMasked has scores as masks leave them: far below the top, infinite and NaN.
func TestExpSumRowsOfMasked(t *testing.T) {
	inf := math.Inf(-1)
	far := []float64{inf, -math.MaxFloat32, -1e4, -111, -103, -95, -87.4, -86.7, -86.5, -80, -1, 0}
	each(t, func(t *testing.T, k *Kernels, n int, _ *rand.Rand) {
		if n == 0 {
			return
		}
		x, want := make([]float32, n), 0.0
		for i := range x {
			x[i] = float32(far[i%len(far)])
			want += math.Exp(float64(x[i]))
		}
		half, sum := make([]uint32, (n+1)/2), []float32{7}
		k.ExpSumRows(half, 0, x, 0, n, []float32{0}, sum)
		near(t, "sum", n, sum[0], want, 2e-5*want+1e-37)
		for i, v := range x {
			p := math.Exp(float64(v))
			got := math.Float32frombits(half[i/2] >> (i % 2 * 16) << 16)
			near(t, "bf16 of exp", n, got, p, p*(0x1p-8+1e-5)+3e-38)
			if v < -110 && got != 0 {
				t.Fatalf("n=%d: e^%v is %v", n, v, got)
			}
		}
		x[n/2] = float32(math.NaN())
		k.ExpSumRows(half, 0, x, 0, n, []float32{0}, sum)
		if sum[0] == sum[0] {
			t.Fatalf("n=%d: a NaN among the scores sums to %v", n, sum[0])
		}
	})
}
