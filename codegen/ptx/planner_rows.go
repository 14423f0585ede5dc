package ptx

import (
	"fmt"
	"math"
)

const (
	// portRate is what one multiprocessor reads from L2 at most, in GB/s: 64 bytes per clock at 1.4 GHz.
	portRate = 90
	// normTrip is the time in us of one batch of rows of a RowNorm: a trip to L2, two reductions by shuffles and the
	// division between them, about 700 clocks.
	normTrip = .5
	// normWorse is how much slower a norm inside may look before it gets a launch of its own: the model is no better.
	normWorse = 1.1
)

// GemmNorm chooses the tile of a product of m x n x k whose rows are normalised, and whether the product does that
// itself. Then the last block of a tile's rows reads them back, alone at the end of the last wave; a launch of its own
// spreads that over the device, but costs its start and moves the rows through memory twice.
func (p Planner) GemmNorm(kind Math, m, n, k int) (t Tile, fused bool, reason string, bound Bound) {
	es := 4.0
	if kind == Tensor16 {
		es = 2
	}
	rows := 2 * float64(m) * float64(n) * es
	plain, why, bound := p.Gemm(kind, 1, m, n, k)
	apart, _, _ := p.gemmTime(kind, plain, 1, m, n, k)
	apart += p.GPU.LaunchMicros + normTrip + rows/p.GPU.Memory/1e3
	best := 0.0
	for _, c := range tilesFor(kind) {
		if c.M > 64 && kind == TF32x3 {
			continue // ptxas spills what the norm's addresses take
		}
		warps := c.threads() / 32
		batch := min((&RowNorm{}).batch(n), max(1, c.M/warps))
		tail := normTrip*math.Ceil(float64(c.M)/float64(warps*batch)) + 2*float64(c.M)*float64(n)*es/portRate/1e3
		if time, _, _ := p.gemmTime(kind, c, 1, m, n, k); best == 0 || time+tail < best {
			t, best = c, time+tail
		}
	}
	if best > apart*normWorse {
		return plain, false, fmt.Sprintf("%s; its norm in a launch of its own: %s us against %s us inside", why, short(apart), short(best)), bound
	}
	return t, true, fmt.Sprintf("norm by the last block of a tile's rows, tile %s: %s us by the model at %d rows, %s us with a launch of its own",
		t, short(best), m, short(apart)), bound
}
