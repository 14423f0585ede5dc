package ptx

import (
	"errors"
	"fmt"
	"math"
)

// Planner chooses variants and tiles for one GPU by a byte and FLOP model; each choice comes with its reason and
// the bound it should reach, as text for the plan. Tokens is the number of tokens the choice is made for
// (a plan may hold several buckets); kernels stay correct for any other number.
type Planner struct {
	GPU    GPU
	Tokens int
}

// tileShare is the share of the arithmetic peak that a tile of the given size reaches at best: its loads of
// shared memory compete with products. Estimates, to be replaced by measurements.
func tileShare(m, n int) float64 {
	return 1 / (1 + 24*(1/float64(m)+1/float64(n))/2)
}

// tiles are the block shapes that exist for a kind of product.
func tilesFor(m Math) []Tile {
	k := 16
	if m == Tensor16 {
		k = 32
	}
	if m == Exact {
		return []Tile{{128, 128, k, 4, 2, 3}, {64, 64, k, 2, 2, 3}, {32, 64, k, 2, 2, 4}, {16, 64, k, 1, 2, 4}}
	}
	return []Tile{{128, 128, k, 2, 4, 3}, {64, 128, k, 2, 4, 3}, {64, 64, k, 2, 2, 3}, {32, 64, k, 2, 2, 4}, {16, 64, k, 1, 4, 4}}
}

// Gemm chooses the tile of a product of m x n x k, batch times. The time of a tile count that does not fill the
// last wave is rounded up to whole waves.
func (p Planner) Gemm(kind Math, batch, m, n, k int) (Tile, string, Bound) {
	var best Tile
	var bestTime, bestWork float64
	var bestBound Bound
	for _, t := range tilesFor(kind) {
		time, compute, b := p.gemmTime(kind, t, batch, m, n, k)
		// Where memory decides, the tile that computes least.
		if best == (Tile{}) || time < bestTime || time == bestTime && compute < bestWork {
			best, bestTime, bestWork, bestBound = t, time, compute, b
		}
	}
	return best, fmt.Sprintf("tile %s: %s us by the model at %d rows", best, short(bestTime), m), bestBound
}

// gemmTime is the model's time of a product by tiles of one shape, the part of it that is arithmetic, both in us, and the
// bound.
func (p Planner) gemmTime(kind Math, t Tile, batch, m, n, k int) (time, compute float64, b Bound) {
	es := 4.0
	if kind == Tensor16 {
		es = 2
	}
	blocks := ceilDiv(float64(m), float64(t.M)) * ceilDiv(float64(n), float64(t.N)) * float64(batch)
	resident := float64(p.GPU.SMs)
	waves := math.Ceil(blocks / resident)
	perSM := p.GPU.peak(kind) / resident * tileShare(t.M, t.N)
	compute = waves * 2 * float64(t.M) * float64(t.N) * float64(k) / perSM * 1e6
	l2 := blocks * float64(t.M+t.N) * float64(k) * es
	bytes := float64(batch) * (float64(m)*float64(k) + float64(k)*float64(n) + float64(m)*float64(n)) * es
	b = p.GPU.bound(kind, 2*float64(batch)*float64(m)*float64(n)*float64(k), bytes, l2, 1)
	return max(compute, b.MemoryT, b.L2), compute, b
}

// MoE chooses between decode and prefill, and the rows per block.
func (p Planner) MoE(s MoE) (*Op, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	t, k, e := float64(p.Tokens), float64(s.slots()), float64(s.E)
	es := float64(s.DType.Size())
	perUnit := float64(s.D*s.parts()+s.Dv) * es
	touched := e * (1 - math.Pow(1-k/e, t))
	decode := p.GPU.bound(s.Math, 2*t*k*float64(s.G)*float64(s.D*s.parts()+s.Dv), t*k*float64(s.G)*perUnit+e*float64(s.D)*es, 0, 1)
	rows, tileTime := p.tileRows(&s)
	s.TileRows = rows
	s.RouterRows = 32
	if p.Tokens >= 64*p.GPU.SMs {
		s.RouterRows = 128
	}
	slotBytes := t * k * float64(s.D+2*s.chunks()*s.Dv) * es
	prefill := p.GPU.bound(s.Math, 2*t*k*float64(s.G)*float64(s.D*s.parts()+s.Dv), touched*float64(s.G)*perUnit+slotBytes, 0, 3)
	prefill.Micros = max(prefill.Micros, tileTime)
	var op *Op
	var err error
	if decode.Micros <= prefill.Micros && p.Tokens <= 64 {
		if op, err = s.Decode(); err != nil {
			return nil, err
		}
		op.Reason = fmt.Sprintf("one launch: %d tokens read %s MB of the chosen experts' weights; three launches would take %s us",
			p.Tokens, short(t*k*float64(s.G)*perUnit/1e6), short(prefill.Micros))
		op.Bound = decode.String()
		return op, nil
	}
	if op, err = s.Prefill(); err != nil {
		return nil, err
	}
	op.Reason = fmt.Sprintf("three launches: tiles of %d rows (%s rows per expert), router blocks of %d tokens; one launch would read %s MB of weights against %s",
		rows, short(t*k/e), s.RouterRows, short(t*k*float64(s.G)*perUnit/1e6), short(touched*float64(s.G)*perUnit/1e6))
	op.Bound = prefill.String()
	return op, nil
}

// tileRows chooses the rows per block of the experts: larger tiles read weights less often from L2, smaller ones
// waste less on the last, partly filled tile of each expert. Warps without rows issue no products, so
// compute is wasted in steps of a warp's rows only.
func (p Planner) tileRows(s *MoE) (int, float64) {
	es := float64(s.DType.Size())
	rows := float64(p.Tokens*s.slots()) / float64(s.E)
	step, sizes := 64.0, []int{32, 64}
	if s.Math == Tensor16 {
		step, sizes = float64(s.warpRows16()), []int{32, 64, 128}
	}
	best, bestTime := 0, 0.0
	for _, bm := range sizes {
		grain := min(step, float64(bm))
		tiles := float64(s.E) * ceilDiv(rows, float64(bm))
		padded := float64(s.E) * ceilDiv(rows, grain) * grain
		compute := 2 * padded * float64(s.G) * float64(s.D*s.parts()+s.Dv) / (p.GPU.peak(s.Math) * tileShare(bm, s.chunk())) * 1e6
		l2 := tiles*float64(s.G)*float64(s.D*s.parts()+s.Dv)*es + rows*float64(s.E)*float64(s.D*s.chunks()+s.Dv*s.chunks())*es
		time := max(compute, l2/p.GPU.L2Rate/1e3)
		if best == 0 || time < bestTime {
			best, bestTime = bm, time
		}
	}
	return best, bestTime
}

// MLP chooses tiles and whether to fuse. Fusing saves the hidden units' way through memory (written and read
// once) but, past 128 of them, costs a partial output per 128 units; it also saves a launch.
func (p Planner) MLP(s MLP) (*Op, error) {
	var r1, r2 string
	if s.Gated {
		s.Tile1, r1 = p.gatedGemm(s.Math, p.Tokens, s.F, s.D)
	} else {
		s.Tile1, r1, _ = p.Gemm(s.Math, 1, p.Tokens, s.F, s.D)
	}
	s.Tile2, r2, _ = p.Gemm(s.Math, 1, p.Tokens, s.Dv, s.F)
	t, es := float64(p.Tokens), float64(s.DType.Size())
	chunks := float64((s.F + hiddenChunk - 1) / hiddenChunk)
	hidden := 2 * t * float64(s.F) * es
	partial := 0.0
	if chunks > 1 {
		partial = 2 * t * chunks * float64(s.Dv) * es
	}
	saved := (hidden-partial)/p.GPU.Memory/1e3 + p.GPU.LaunchMicros
	s.Fused = saved > 0 && s.TopK == 0 && partial <= hidden
	if s.Norm != nil && !s.Fused {
		inside := false
		if s.Tile2, inside, r2, _ = p.GemmNorm(s.Math, p.Tokens, s.Dv, s.F); !inside {
			return nil, errors.New(r2)
		}
	}
	op, err := s.Op()
	if err != nil {
		return nil, err
	}
	if s.Fused {
		op.Reason = fmt.Sprintf("fused: the hidden tile stays on the multiprocessor, %s MB of it need not move, %s MB of partial outputs do", short(hidden/1e6), short(partial/1e6))
	} else {
		op.Reason = fmt.Sprintf("one launch per product: fusing would move %s MB of partial outputs to save %s MB of hidden units; %s; %s", short(partial/1e6), short(hidden/1e6), r1, r2)
	}
	if s.TopK > 0 {
		op.Reason = "the threshold needs a token's whole hidden row between the products; " + op.Reason
	}
	weights := float64(s.F*(s.D+s.Dv)) * es
	flops := 2 * t * float64(s.F) * float64(s.D+s.Dv)
	move := hidden
	if s.Fused {
		move = partial
	}
	op.Bound = p.GPU.bound(s.Math, flops, weights+move+t*float64(s.D+s.Dv)*es, 0, len(op.Launches)).String()
	return op, nil
}

// PKM chooses between gathering the chosen values and a product with all of them: gathering moves every chosen
// row from the level of memory that holds the table, the product computes with all rows at the arithmetic
// peak and moves the spread weights.
func (p Planner) PKM(s PKM) (*Op, error) {
	t, es := float64(p.Tokens), float64(s.DType.Size())
	size := float64(s.N1 * s.N2)
	if s.Dense() {
		op, err := s.Op()
		if err != nil {
			return nil, err
		}
		op.Reason = "no key is pruned: all values take part in one product, its left operand computed from the two score tables"
		op.Bound = p.GPU.bound(s.Math, 2*t*size*float64(s.Dv), size*float64(s.Dv)*es+t*float64(s.Dv)*es, 0, len(op.Launches)).String()
		return op, nil
	}
	_, _, slots := s.knn()
	rate, level := p.GPU.Memory, "device memory"
	if table := size * float64(s.Dv) * es; table <= .6*p.GPU.L2*(1<<20) {
		rate, level = p.GPU.L2Rate, "L2"
	}
	gather := t * float64(s.H*slots*s.Dv) * es / rate / 1e3
	dense := max(2*t*size*float64(s.Dv)/p.GPU.peak(s.Math)*1e6, (2*t*size*es+size*float64(s.Dv)*es)/p.GPU.Memory/1e3) + p.GPU.LaunchMicros
	fits := s.N1*s.N2*4+s.H*slots*8 <= 80<<10
	s.Densify = fits && dense < gather
	op, err := s.Op()
	if err != nil {
		return nil, err
	}
	verb := "gather"
	time := gather
	if s.Densify {
		verb, time = "spread the weights and multiply by all values", dense
	}
	op.Reason = fmt.Sprintf("%s: gathering %d of %d values per token from %s takes %s us, the product %s us", verb, s.H*slots, s.N1*s.N2, level, short(gather), short(dense))
	if !fits {
		op.Reason += " (a row over all values does not fit into shared memory)"
	}
	op.Bound = fmt.Sprintf("%s us for the values; %d launches", short(time), len(op.Launches))
	return op, nil
}
