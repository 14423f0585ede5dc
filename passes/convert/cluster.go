package convert

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// balanced puts points into equal clusters by k-means with capacities and returns the
// points cluster by cluster, each in rising order. Points are rows of length d of x;
// k divides their number. The same seed gives the same clusters.
//
// Assignment is greedy: all (point, cluster) pairs by rising distance, skipping full
// clusters. It is not optimal, but monotone enough for weights: after a few rounds the
// centres stand still.
func balanced(x [][]float64, k int, seed uint64) []int {
	n := len(x)
	size := n / k
	rng := rand.New(rand.NewPCG(seed, 0x6d6f6563))
	centres := seedCentres(x, k, rng)
	owner := make([]int, n)
	const rounds = 12
	for range rounds {
		next := assign(x, centres, size)
		if slices.Equal(next, owner) {
			break
		}
		owner = next
		for c := range centres {
			clear(centres[c])
		}
		for i, c := range owner {
			for j, v := range x[i] {
				centres[c][j] += v / float64(size)
			}
		}
	}
	units := make([]int, n)
	for i := range units {
		units[i] = i
	}
	slices.SortStableFunc(units, func(a, b int) int { return cmp.Compare(owner[a], owner[b]) })
	return units
}

// seedCentres draws centres far from each other (k-means++).
func seedCentres(x [][]float64, k int, rng *rand.Rand) [][]float64 {
	centres := [][]float64{slices.Clone(x[rng.IntN(len(x))])}
	far := make([]float64, len(x))
	for i := range far {
		far[i] = math.Inf(1)
	}
	for len(centres) < k {
		var total float64
		for i := range x {
			far[i] = min(far[i], distance(x[i], centres[len(centres)-1]))
			total += far[i]
		}
		at := rng.Float64() * total
		pick := len(x) - 1
		for i, f := range far {
			if at -= f; at < 0 {
				pick = i
				break
			}
		}
		centres = append(centres, slices.Clone(x[pick]))
	}
	return centres
}

func assign(x, centres [][]float64, size int) []int {
	type pair struct {
		d    float64
		i, c int
	}
	pairs := make([]pair, 0, len(x)*len(centres))
	for i := range x {
		for c := range centres {
			pairs = append(pairs, pair{distance(x[i], centres[c]), i, c})
		}
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return cmp.Compare(a.d, b.d) })
	owner := make([]int, len(x))
	for i := range owner {
		owner[i] = -1
	}
	room := make([]int, len(centres))
	for _, p := range pairs {
		if owner[p.i] < 0 && room[p.c] < size {
			owner[p.i] = p.c
			room[p.c]++
		}
	}
	return owner
}

func distance(a, b []float64) float64 {
	var s float64
	for i, v := range a {
		s += (v - b[i]) * (v - b[i])
	}
	return s
}
