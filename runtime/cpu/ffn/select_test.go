package ffn

import (
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"testing"
)

// topKRef sorts: descending, the lower index first among equals, NaN last.
func topKRef(x []float32, k int) []int32 {
	idx := make([]int32, len(x))
	for i := range idx {
		idx[i] = int32(i)
	}
	sort.SliceStable(idx, func(a, b int) bool {
		u, v := x[idx[a]], x[idx[b]]
		if u != u || v != v {
			return u == u && v != v
		}
		return u > v
	})
	idx = idx[:min(max(k, 0), len(idx))]
	slices.Sort(idx)
	return idx
}

func TestSelectTopK(t *testing.T) {
	inf := float32(math.Inf(1))
	special := []float32{0, float32(math.Copysign(0, -1)), inf, -inf, float32(math.NaN()), 1, 1, -1, math.MaxFloat32, 1e-45, -1e-45, math.Float32frombits(0xffc00001)}
	for level, kern := range variants() {
		rng := rand.New(rand.NewPCG(2, 3))
		for trial := range 3000 {
			n := 1 + rng.IntN(70)
			if trial%10 == 0 {
				n = 1 + rng.IntN(700)
			}
			x := make([]float32, n)
			for i := range x {
				switch trial % 4 {
				case 0:
					x[i] = float32(rng.NormFloat64())
				case 1:
					x[i] = float32(rng.IntN(4)) // many equal
				case 2:
					x[i] = special[rng.IntN(len(special))]
				default:
					x[i] = math.Float32frombits(rng.Uint32())
				}
			}
			k := rng.IntN(n + 2)
			dst, keys := make([]int32, n), make([]uint32, padKeys(n))
			for i := range keys {
				keys[i] = math.MaxUint32
			}
			got := dst[:selectTopK(kern.Features(), dst, x, k, keys)]
			if want := topKRef(x, k); !slices.Equal(got, want) {
				t.Fatalf("%s: top %d of %v = %v, want %v", level, k, x, got, want)
			}
		}
	}
}

func BenchmarkSelectTopK(b *testing.B) {
	for level, kern := range variants() {
		if level == "avx512vnni" || level == "avx512bf16" {
			continue
		}
		for _, s := range [][2]int{{32, 4}, {96, 24}, {128, 4}, {4096, 128}} {
			rng := rand.New(rand.NewPCG(2, 3))
			x := floats(rng, s[0])
			dst, keys := make([]int32, s[0]), make([]uint32, padKeys(s[0]))
			b.Run(level, func(b *testing.B) {
				for range b.N {
					selectTopK(kern.Features(), dst, x, s[1], keys)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(s[0]), "ns/score")
			})
		}
	}
}
