package ptx

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// Planner chooses variants and tiles for one GPU by a byte and FLOP model; each choice comes with its reason and
// the bound it should reach, as text for the plan. Where the number of tokens is a run-time dimension, the Cuts
// methods say where a choice should change, and each range between them gets a choice of its own; kernels stay
// correct for any number.
type Planner struct {
	GPU    GPU
	Tokens int // the number of tokens that reasons and bounds speak of, and, where From is 0, that choices are for
	// From and To are the range of tokens that choices are for; To 0 is no end.
	From, To int
}

// tileShare is the share of the arithmetic peak that a tile of the given size reaches at best: its loads of
// shared memory compete with products. Estimates, to be replaced by measurements.
func tileShare(m, n int) float64 {
	return 1 / (1 + 24*(1/float64(m)+1/float64(n))/2)
}

// tilesFor are the block shapes that exist for a kind of product, from those for few rows to those for many. All
// give the same bits: a block adds an output's terms in the order of k whatever its tile.
func tilesFor(m Math) []Tile {
	k := 16
	if m == Tensor16 {
		k = 32
	}
	if m == Exact {
		return []Tile{{16, 64, k, 1, 2, 4}, {32, 64, k, 2, 2, 4}, {64, 64, k, 2, 2, 3}, {128, 128, k, 4, 2, 3}}
	}
	return []Tile{{16, 64, k, 1, 4, 4}, {32, 64, k, 2, 2, 4}, {64, 64, k, 2, 2, 3}, {64, 128, k, 2, 4, 3}, {128, 128, k, 2, 4, 3}}
}

// tieShare is the share of the arithmetic that counts on top of the bound, so that where memory or launches decide,
// what computes least is chosen.
const tieShare = .01

// gemmTime is the modelled time of a product with a tile, in microseconds, and its bound. The time of a tile
// count that does not fill the last wave is rounded up to whole waves.
func (p Planner) gemmTime(kind Math, t Tile, batch, m, n, k int) (float64, Bound) {
	es := 4.0
	if kind == Tensor16 {
		es = 2
	}
	blocks := ceilDiv(float64(m), float64(t.M)) * ceilDiv(float64(n), float64(t.N)) * float64(batch)
	resident := float64(p.GPU.SMs)
	perSM := p.GPU.peak(kind) / resident * tileShare(t.M, t.N)
	compute := math.Ceil(blocks/resident) * 2 * float64(t.M) * float64(t.N) * float64(k) / perSM * 1e6
	l2 := blocks * float64(t.M+t.N) * float64(k) * es
	bytes := float64(batch) * (float64(m)*float64(k) + float64(k)*float64(n) + float64(m)*float64(n)) * es
	b := p.GPU.bound(kind, 2*float64(batch)*float64(m)*float64(n)*float64(k), bytes, l2, 1)
	return max(compute, b.MemoryT, b.L2, b.Calls) + tieShare*compute, b
}

// Gemm chooses the tile of a product of m x n x k, batch times. Where m is the number of tokens, the tile is for
// the planner's range and m is Tokens.
func (p Planner) Gemm(kind Math, batch, m, n, k int) (Tile, string, Bound) {
	if p.From == 0 {
		p.Tokens = m
	}
	tiles := tilesFor(kind)
	t := tiles[p.pick(len(tiles), func(c, m int) float64 {
		time, _ := p.gemmTime(kind, tiles[c], batch, m, n, k)
		return time
	})]
	time, bound := p.gemmTime(kind, t, batch, m, n, k)
	return t, fmt.Sprintf("tile %s: %s us by the model at %d rows", t, short(time), m), bound
}

// GemmCuts says up to which numbers of rows a tile serves and past which another should.
func (p Planner) GemmCuts(kind Math, batch, n, k int) []int {
	tiles := tilesFor(kind)
	return cuts(len(tiles), func(c, m int) float64 {
		time, _ := p.gemmTime(kind, tiles[c], batch, m, n, k)
		return time
	})
}

// moeChoice is a way to run a mixture: in one launch, or in three with these rows per block.
type moeChoice struct {
	decode       bool
	tile, router int
}

// moeChoices are the ways there are, from those for few tokens to those for many.
func (s *MoE) moeChoices() []moeChoice {
	out := []moeChoice{{tile: 32, router: 32}, {tile: 64, router: 32}}
	if s.Math == Tensor16 {
		out = append(out, moeChoice{tile: 128, router: 32})
	}
	out = append(out, moeChoice{tile: out[len(out)-1].tile, router: 128})
	if !s.Ranks {
		out = append([]moeChoice{{decode: true}}, out...)
	}
	return out
}

// decodeTokens is the most tokens that the one-launch kernel is used for: it reads a token's experts for each token
// anew.
const decodeTokens = 64

// moeTime is the modelled time, in microseconds, and the bound: for one launch, what the chosen experts weigh; for
// three, the weights of the experts that somebody chose and the slots' way through memory.
func (p Planner) moeTime(s *MoE, c moeChoice, tokens int) (float64, Bound) {
	t, k, e := float64(tokens), float64(s.slots()), float64(s.E)
	es := float64(s.DType.Size())
	flops := 2 * t * k * float64(s.G) * float64(s.D*s.parts()+s.Dv)
	if c.decode {
		b := p.GPU.bound(s.Math, flops, t*s.tokenWeights()+e*float64(s.D)*es, 0, 1)
		if tokens > decodeTokens {
			return math.Inf(1), b
		}
		return b.Micros, b
	}
	slotBytes := t * k * float64(s.D+2*s.chunks()*s.Dv) * es
	b := p.GPU.bound(s.Math, flops, s.touchedWeights(tokens)+slotBytes, 0, 3)
	work := p.expertsTime(s, c.tile, tokens) + p.routerTime(s, c.router, tokens)
	b.Micros = max(b.Micros, work)
	return b.Micros + tieShare*work, b
}

// tokenWeights is the bytes of a token's chosen experts, touchedWeights of those that any of the tokens is expected
// to choose.
func (s *MoE) tokenWeights() float64 {
	return float64(s.slots()*s.G*(s.D*s.parts()+s.Dv)) * float64(s.DType.Size())
}

func (s *MoE) touchedWeights(tokens int) float64 {
	return s.touched(tokens) / float64(s.slots()) * s.tokenWeights()
}

// touched is the number of experts that tokens choose, were they to choose at random.
func (s *MoE) touched(tokens int) float64 {
	e, k := float64(s.E), float64(s.slots())
	return e * (1 - math.Pow(1-k/e, float64(tokens)))
}

// expertsTime is the time of the experts' tiles on the multiprocessors: larger tiles read weights less often from
// L2, smaller ones waste less on the last, partly filled tile of each expert. Warps without rows issue no
// products, so compute is wasted in steps of a warp's rows only.
func (p Planner) expertsTime(s *MoE, bm, tokens int) float64 {
	es, step := float64(s.DType.Size()), 64.0
	if s.Math == Tensor16 {
		step = float64(s.warpRows16())
	}
	all, touched := float64(tokens*s.slots()), s.touched(tokens)
	rows, grain := all/touched, min(step, float64(bm))
	tiles := touched * ceilDiv(rows, float64(bm))
	padded := touched * ceilDiv(rows, grain) * grain
	compute := 2 * padded * float64(s.G) * float64(s.D*s.parts()+s.Dv) / (p.GPU.peak(s.Math) * tileShare(bm, s.chunk())) * 1e6
	l2 := tiles*float64(s.G)*float64(s.D*s.parts()+s.Dv)*es + all*float64(s.D*s.chunks()+s.Dv*s.chunks())*es
	return max(compute, l2/p.GPU.L2Rate/1e3)
}

// routerTime is that of the router's product: large blocks read the selector less often, small ones are enough
// for all multiprocessors sooner.
func (p Planner) routerTime(s *MoE, rows, tokens int) float64 {
	if s.Logits {
		return 0
	}
	blocks := ceilDiv(float64(tokens), float64(rows))
	perSM := p.GPU.peak(s.Math) / float64(p.GPU.SMs)
	compute := ceilDiv(blocks, float64(p.GPU.SMs)) * 2 * float64(rows*s.D*s.E) / perSM * 1e6
	return max(compute, blocks*float64((rows+s.E)*s.D*s.DType.Size())/p.GPU.L2Rate/1e3)
}

// MoE chooses between decode and prefill, and the rows per block.
func (p Planner) MoE(s MoE) (*Op, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	choices := s.moeChoices()
	c := choices[p.pick(len(choices), func(c, t int) float64 {
		time, _ := p.moeTime(&s, choices[c], t)
		return time
	})]
	time, bound := p.moeTime(&s, c, p.Tokens)
	t := float64(p.Tokens)
	if c.decode {
		op, err := s.Decode()
		if err != nil {
			return nil, err
		}
		three := math.Inf(1)
		for _, other := range choices[1:] {
			time, _ := p.moeTime(&s, other, p.Tokens)
			three = min(three, time)
		}
		op.Reason = fmt.Sprintf("one launch: %d tokens read %s MB of the chosen experts' weights, %s us; three launches would take %s us",
			p.Tokens, short(t*s.tokenWeights()/1e6), short(time), short(three))
		op.Bound = bound.String()
		return op, nil
	}
	s.TileRows, s.RouterRows = c.tile, c.router
	op, err := s.Prefill()
	if err != nil {
		return nil, err
	}
	op.Reason = fmt.Sprintf("three launches: tiles of %d rows (%s rows per expert), router blocks of %d tokens; one launch would read %s MB of weights against %s",
		c.tile, short(t*float64(s.slots())/float64(s.E)), c.router, short(t*s.tokenWeights()/1e6), short(s.touchedWeights(p.Tokens)/1e6))
	op.Bound = bound.String()
	return op, nil
}

// MoECuts says up to which numbers of tokens a way to run a mixture serves and past which another should.
func (p Planner) MoECuts(s MoE) []int {
	choices := s.moeChoices()
	return cuts(len(choices), func(c, t int) float64 {
		time, _ := p.moeTime(&s, choices[c], t)
		return time
	})
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
	hidden, partial := s.traffic()
	hidden, partial = hidden*t*es, partial*t*es
	s.Fused = p.fuses(s)
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

// MLPCuts says up to which numbers of tokens the tiles of the two products serve and past which others should.
func (p Planner) MLPCuts(s MLP) []int {
	if p.fuses(s) {
		return nil
	}
	out := append(p.GemmCuts(s.Math, 1, s.F, s.D), p.GemmCuts(s.Math, 1, s.Dv, s.F)...)
	slices.Sort(out)
	return slices.Compact(out)
}

// fuses reports that one launch pays, whatever the number of tokens: what both ways move is proportional to it.
func (p Planner) fuses(s MLP) bool {
	hidden, partial := s.traffic()
	return s.TopK == 0 && partial <= hidden
}

// traffic is the elements per token that move without and with fusing: the hidden units, or a partial output per
// chunk of them, each written and read once.
func (s *MLP) traffic() (hidden, partial float64) {
	if chunks := (s.F + hiddenChunk - 1) / hiddenChunk; chunks > 1 {
		partial = float64(2 * chunks * s.Dv)
	}
	return float64(2 * s.F), partial
}

// PKM chooses between gathering the chosen values and a product with all of them: gathering moves every chosen
// row from the level of memory that holds the table, the product computes with all rows at the arithmetic
// peak and moves the spread weights.
func (p Planner) PKM(s PKM) (*Op, error) {
	t, es := float64(p.Tokens), float64(s.DType.Size())
	size := float64(s.N1 * s.N2)
	for i := range s.ScoreTiles {
		cols, depth := s.scores(i)
		s.ScoreTiles[i], _, _ = p.Gemm(s.Math, 1, p.Tokens, cols, depth)
	}
	s.ValueTile, _, _ = p.Gemm(s.Math, 1, p.Tokens, s.Dv, s.N1*s.N2)
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
	s.Densify = p.pick(2, func(c, t int) float64 { return p.pkmTime(&s, c == 1, t) }) == 1
	op, err := s.Op()
	if err != nil {
		return nil, err
	}
	verb := "gather"
	if s.Densify {
		verb = "spread the weights and multiply by all values"
	}
	gather, dense := p.pkmTime(&s, false, p.Tokens), p.pkmTime(&s, true, p.Tokens)
	_, level := p.tableRate(&s)
	op.Reason = fmt.Sprintf("%s: at %d tokens gathering %d of %d values per token from %s takes %s us", verb, p.Tokens, s.H*slots, s.N1*s.N2, level, short(gather))
	if s.canDensify() {
		op.Reason += fmt.Sprintf(", the product %s us", short(dense))
	} else {
		op.Reason += " (a row over all values does not fit into shared memory)"
	}
	time := gather
	if s.Densify {
		time = dense
	}
	op.Bound = fmt.Sprintf("%s us for the values; %d launches", short(time), len(op.Launches))
	return op, nil
}

// PKMCuts says up to how many tokens the values are gathered, where more are better multiplied, and up to how many the
// tiles of products serve.
func (p Planner) PKMCuts(s PKM) []int {
	out := p.gatherCuts(&s)
	product := s.Dense() || len(out) > 0
	for i := range s.ScoreTiles {
		cols, depth := s.scores(i)
		out = append(out, p.GemmCuts(s.Math, 1, cols, depth)...)
	}
	if product {
		out = append(out, p.GemmCuts(s.Math, 1, s.Dv, s.N1*s.N2)...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// PKMBoth reports that some numbers of tokens are better gathered and some multiplied.
func (p Planner) PKMBoth(s PKM) bool { return len(p.gatherCuts(&s)) > 0 }

func (p Planner) gatherCuts(s *PKM) []int {
	if s.Dense() {
		return nil
	}
	return cuts(2, func(c, t int) float64 { return p.pkmTime(s, c == 1, t) })
}

// canDensify reports that a row over all values fits into shared memory beside the chosen slots.
func (s *PKM) canDensify() bool {
	_, _, slots := s.knn()
	return s.N1*s.N2*4+s.H*slots*8 <= 80<<10
}

// tableRate is the rate, in GB/s, and the name of the level of memory that holds the values.
func (p Planner) tableRate(s *PKM) (float64, string) {
	if table := float64(s.N1*s.N2*s.Dv) * float64(s.DType.Size()); table <= .6*p.GPU.L2*(1<<20) {
		return p.GPU.L2Rate, "L2"
	}
	return p.GPU.Memory, "device memory"
}

// pkmTime is the modelled time, in microseconds, of what follows the selection.
func (p Planner) pkmTime(s *PKM, densify bool, tokens int) float64 {
	t, es, size := float64(tokens), float64(s.DType.Size()), float64(s.N1*s.N2)
	if !densify {
		rate, _ := p.tableRate(s)
		_, _, slots := s.knn()
		return t * float64(s.H*slots*s.Dv) * es / rate / 1e3
	}
	if !s.canDensify() {
		return math.Inf(1)
	}
	return max(2*t*size*float64(s.Dv)/p.GPU.peak(s.Math)*1e6, (2*t*size*es+size*float64(s.Dv)*es)/p.GPU.Memory/1e3) + p.GPU.GraphedMicros
}
