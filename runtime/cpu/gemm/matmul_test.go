package gemm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/pool"
)

// Batched products with broadcast operands, both orders of B and any strides,
// against float64 and with the same bits from any number of threads.
func TestMatMul(t *testing.T) {
	var pools []*pool.Pool
	for _, n := range []int{1, 2, 8} {
		p := pool.New(n)
		defer p.Close()
		pools = append(pools, p)
	}
	for level, kern := range variants() {
		rng := rand.New(rand.NewPCG(61, 62))
		for trial := range 120 {
			sizes := []int{0, 1, 2, 5, 13, 16, 31, 33, 50, 70}
			m, n, k := sizes[rng.IntN(len(sizes))], sizes[rng.IntN(len(sizes))], sizes[rng.IntN(len(sizes))]
			batch := []int{0, 1, 3, 20}[rng.IntN(4)]
			mul := &MatMul{Kernels: kern, M: m, N: n, K: k, AStride: k + rng.IntN(2), CStride: n + rng.IntN(2)}
			switch trial % 3 {
			case 0:
				mul.BK, mul.BN = n+rng.IntN(2), 1
			case 1:
				mul.BK, mul.BN = 1, k+rng.IntN(2)
			default:
				mul.BK, mul.BN = 2, 2*k+1
			}
			mul.A, mul.B = floats(rng, 3*(m*mul.AStride+k)), floats(rng, 2*(k*mul.BK+n*mul.BN+1))
			for i := range batch {
				mul.AOff = append(mul.AOff, (i%3)*m*mul.AStride)
				mul.BOff = append(mul.BOff, (i%2)*(k*mul.BK+n*mul.BN+1))
				mul.COff = append(mul.COff, i*(m*mul.CStride+3))
			}
			round := func(v float32) float64 { return float64(v) }
			if trial >= 60 {
				if !kern.Native(layout.BF16) {
					break
				}
				mul.Precision = layout.BF16
				round = func(v float32) float64 {
					return float64(math.Float32frombits(uint32(layout.RoundBF16(v)) << 16))
				}
			}
			name := fmt.Sprintf("%s m=%d n=%d k=%d batch=%d strides %d,%d", level, m, n, k, batch, mul.BK, mul.BN)
			var first []float32
			for _, r := range pools {
				mul.C = poison(make([]float32, batch*(m*mul.CStride+3)))
				if err := mul.Run(r, poison(make([]float32, mul.Scratch(r.Workers())))); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if first == nil {
					first = mul.C
				}
				for i, v := range mul.C {
					if math.Float32bits(v) != math.Float32bits(first[i]) {
						t.Fatalf("%s: element %d differs with %d threads", name, i, r.Workers())
					}
				}
			}
			written := make([]bool, len(first))
			for i := range batch {
				for r := range m {
					for c := range n {
						want, mag := 0.0, 0.0
						for l := range k {
							p := round(mul.A[mul.AOff[i]+r*mul.AStride+l]) * round(mul.B[mul.BOff[i]+l*mul.BK+c*mul.BN])
							want += p
							mag += math.Abs(p)
						}
						at := mul.COff[i] + r*mul.CStride + c
						written[at] = true
						if d := math.Abs(float64(first[at]) - want); !(d <= bound(kern, layout.F32, k, mag, 0, 0)) {
							t.Fatalf("%s: product %d [%d,%d] = %v, want %v", name, i, r, c, first[at], want)
						}
					}
				}
			}
			for i, v := range first {
				if !written[i] && v == v {
					t.Fatalf("%s: element %d was written", name, i)
				}
			}
		}
	}
}

func TestMatMulAllocatesNothing(t *testing.T) {
	r := pool.New(2)
	defer r.Close()
	for level, kern := range variants() {
		for _, batch := range []int{1, 8} {
			mul := &MatMul{Kernels: kern, M: 30, N: 40, K: 20, AStride: 20, CStride: 40, BK: 40, BN: 1, A: make([]float32, 600), B: make([]float32, 800), C: make([]float32, 1200)}
			mul.AOff, mul.BOff, mul.COff = make([]int, batch), make([]int, batch), make([]int, batch)
			if batch > 1 {
				mul.C = make([]float32, 1200*batch)
				for i := range mul.COff {
					mul.COff[i] = 1200 * i
				}
			}
			scratch := make([]float32, mul.Scratch(2))
			if a := testing.AllocsPerRun(3, func() { _ = mul.Run(r, scratch) }); a != 0 {
				t.Errorf("%s batch %d: %v allocations", level, batch, a)
			}
		}
	}
}
