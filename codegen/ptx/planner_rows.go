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
	// slack is how much slower a fused launch may look before its parts get launches of their own. The model is no
	// better: its rates of L2 are good to 30 %.
	slack = 1.25
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
	apart, _ := p.gemmTime(kind, plain, 1, m, n, k)
	apart += p.GPU.LaunchMicros + normTrip + rows/p.GPU.Memory/1e3
	best := 0.0
	for _, c := range tilesFor(kind) {
		if c.M > 64 && kind == TF32x3 {
			continue // ptxas spills what the norm's addresses take
		}
		warps := c.threads() / 32
		batch := min((&RowNorm{}).batch(n), max(1, c.M/warps))
		tail := normTrip*math.Ceil(float64(c.M)/float64(warps*batch)) + 2*float64(c.M)*float64(n)*es/portRate/1e3
		if time, _ := p.gemmTime(kind, c, 1, m, n, k); best == 0 || time+tail < best {
			t, best = c, time+tail
		}
	}
	if best > apart*slack {
		return plain, false, fmt.Sprintf("%s; its norm in a launch of its own: %s us against %s us inside", why, short(apart), short(best)), bound
	}
	return t, true, fmt.Sprintf("norm by the last block of a tile's rows, tile %s: %s us by the model at %d rows, %s us with a launch of its own",
		t, short(best), m, short(apart)), bound
}

// gatedGemm chooses the tile of a gated product of m x n x k: twice as wide as its outputs, of which a thread then holds
// at most 32, and as many of the gate.
func (p Planner) gatedGemm(kind Math, m, n, k int) (Tile, string) {
	var best Tile
	bestTime := 0.0
	for _, t := range tilesFor(kind) {
		if t.M*t.N > 32*t.threads() {
			continue
		}
		both := t
		both.N *= 2
		if time, _ := p.gemmTime(kind, both, 1, m, 2*n, k); bestTime == 0 || time < bestTime {
			best, bestTime = t, time
		}
	}
	return best, fmt.Sprintf("gate and partner in one product, tile %s: %s us by the model at %d rows", best, short(bestTime), m)
}

// Queries decides whether an attention over so many sequences of queries computes them itself. Then every head's blocks
// read the rows that they project, through tiles as wide as a head; a launch of its own has the tile that suits it, but
// costs its start, and queries move through memory twice.
func (p Planner) Queries(s Attention, batch, queries int) (inside bool, reason string) {
	es := float64(s.DType.Size())
	shape, err := s.shape()
	if err != nil || s.check() != nil {
		return false, ""
	}
	rows, d, dq := float64(shape.rows), float64(s.Project.D), float64(s.projectedWidth())
	own, _, _ := p.Gemm(s.Math, 1, batch*queries, s.Heads*s.HeadDim, s.Project.D)
	apart, _ := p.gemmTime(s.Math, own, 1, batch*queries, s.Heads*s.HeadDim, s.Project.D)
	apart += p.GPU.LaunchMicros + 2*float64(batch*queries*s.Heads*s.HeadDim)*es/p.GPU.Memory/1e3
	blocks := float64(batch*s.Heads) * ceilDiv(float64(queries), rows)
	// Two blocks share a multiprocessor, and warps without queries issue nothing: only those with some count.
	work := 2 * min(rows, float64(roundUp(queries, 16))) * dq * d
	sms := float64(p.GPU.SMs)
	perSM := p.GPU.peak(s.Math) / sms * tileShare(shape.rows, s.projectedWidth())
	compute := math.Ceil(blocks/(2*sms)) * 2 * work / perSM * 1e6
	time := max(compute, blocks*(rows+dq)*d*es/p.GPU.L2Rate/1e3)
	text := fmt.Sprintf("queries from %d rows of %d: %s us in the attention's blocks, %s us with a launch of their own", batch*queries, s.Project.D, short(time), short(apart))
	return time <= apart*slack, text
}
