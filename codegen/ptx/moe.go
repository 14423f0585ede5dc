package ptx

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Gate is how a mixture of experts ranks and weighs experts. Experts rank by their logits, the lower index
// first among equals, NaN last: every score below is monotone in the logit.
type Gate uint8

// The gates; p is the softmax of the logits l over all experts.
const (
	GateSigmoid       Gate = iota // sigmoid(l): sigma-MoE, and S-BASE at inference
	GateSoftmaxBefore             // p, not renormalised: also Switch
	GateSoftmaxAfter              // softmax over the selected l
	GateNoisyTopK                 // p / (sum of the selected p + GateEps)
	GateOne                       // 1
)

var gateNames = [...]string{"sigmoid", "softmax-before", "softmax-after", "noisy-topk", "one"}

func (g Gate) String() string { return gateNames[g] }

// MoE is a mixture of experts at inference: per token the best experts are chosen, and
//
//	y = o_bias + base + sum over chosen e of gate[e] (act(x w1[e] + bias[e]) [* (x up[e] + up_bias[e])] w2[e] + out_bias[e])
//
// Prefill runs it in three launches: the router (product, gate, top-K, histogram; its last block also scans
// the histograms and writes the list of tiles), a stable scatter of (token, slot) pairs by expert, and the
// fused experts, whose hidden tile stays on the multiprocessor and whose last arriver per token adds the
// token's slots in slot order. The same numbers come out whatever the order of blocks.
type MoE struct {
	Tokens      Expr
	D, E, G, Dv int
	DType       dtype // of x, the parameters and y
	Math        Math
	Gate        Gate
	GateEps     float32
	K           int // experts per token; with ByThreshold the most
	ByThreshold bool
	Threshold   float32 // least score
	MinK        int
	Activation  Fn   // "" is the identity
	Gated       bool // experts have an up projection

	SelBias, Bias, UpBias, OutBias, OBias bool // which parameters there are
	Base                                  bool // y also gets base [Tokens, Dv]: a residual, shared experts
	Logits                                bool // logits [Tokens, E] are given instead of a selector
	Ranks                                 bool // f32 ranks [Tokens, E] order the experts instead of the logits
	// Norm normalises the finished rows: the formula's value is sum, and y is its norm.
	Norm *RowNorm

	dense bool // one expert that every token has, without routing: a dense MLP

	RouterRows int // tokens per block of router and scatter; 0: 32
	TileRows   int // rows per block of the experts; 0: 64
}

const (
	// maxExperts bounds E: a warp ranks 32 registers of logits.
	maxExperts = 1024
	// hiddenChunk is the number of hidden units that one block keeps on the multiprocessor. Larger experts
	// are several blocks, each with its own slot.
	hiddenChunk = 128
)

// slots is the number of (token, expert) pairs per token.
func (s *MoE) slots() int { return min(s.K, s.E) }

// chunk is the padded number of hidden units per block, chunks how many there are per expert.
func (s *MoE) chunk() int {
	c := 32
	for c < s.G && c < hiddenChunk {
		c *= 2
	}
	return c
}

func (s *MoE) chunks() int { return (s.G + s.chunk() - 1) / s.chunk() }

// direct reports that a token has exactly one slot, which is its output.
func (s *MoE) direct() bool { return s.slots()*s.chunks() == 1 && !s.ByThreshold }

func (s *MoE) check() error {
	switch {
	case s.D < 1 || s.E < 1 || s.G < 1 || s.Dv < 1 || s.K < 1:
		return fmt.Errorf("ptx: moe of D=%d, E=%d, G=%d, Dv=%d, K=%d", s.D, s.E, s.G, s.Dv, s.K)
	case s.E > maxExperts:
		return fmt.Errorf("ptx: moe of %d experts; at most %d", s.E, maxExperts)
	case s.Activation != "" && !HasFunction(s.Activation):
		return fmt.Errorf("ptx: moe: unknown activation %q", s.Activation)
	case s.Ranks && (s.ByThreshold || s.Gate == GateSoftmaxAfter):
		return fmt.Errorf("ptx: moe: given ranks go with the K best and gates of single logits")
	case s.MinK > s.K:
		return fmt.Errorf("ptx: moe: min_k %d above the cap %d", s.MinK, s.K)
	}
	switch {
	case s.DType == tensor.F32 && s.Math != Tensor16:
	case (s.DType == tensor.F16 || s.DType == tensor.BF16) && s.Math == Tensor16:
	default:
		return fmt.Errorf("ptx: moe: %s product of %s", s.Math, s.DType)
	}
	if s.Norm != nil {
		if s.ByThreshold && s.MinK == 0 {
			return fmt.Errorf("ptx: moe: tokens without experts are finished by the router, which has no norm")
		}
		if err := s.Norm.check(); err != nil {
			return err
		}
	}
	if s.RouterRows == 0 {
		s.RouterRows = 32
	}
	for s.RouterRows > 16 && s.routerShared() > sharedBudget {
		s.RouterRows /= 2
	}
	if s.TileRows == 0 {
		s.TileRows = 64
	}
	return nil
}

// sharedBudget is the dynamic shared memory that every sm_80 device grants a block, less what is static.
const sharedBudget = 96 << 10

// packSel is the layout of the selector [E, D] as the right operand [D, E].
func (s *MoE) packSel() *Pack { return packMatrix(s.DType, s.D, s.E, 1, s.D) }

// parts is 2 for gated experts: the columns of w1 and of up stand side by side.
func (s *MoE) parts() int {
	if s.Gated {
		return 2
	}
	return 1
}

// packW1 lays out w1 [E, D, G], followed by up [E, D, G] for gated experts, as one block per expert and
// chunk of hidden units: [Dp, chunk] of w1 beside [Dp, chunk] of up, in the order that packMatrix gives a matrix.
func (s *MoE) packW1() *Pack {
	gc, cols := s.chunk(), s.chunk()*s.parts()
	one := packBlock(s.DType, roundUp(s.D, packPadK), cols)
	block := one.Elems
	chunks := s.chunks()
	p := &Pack{
		Layout: fmt.Sprintf("per expert and %d hidden units: %s", gc, one.Layout),
		Elems:  s.E * chunks * block, DType: s.DType, source: s.E * s.D * s.G * s.parts(),
	}
	p.order = func(i int) int {
		e, c, at := i/block/chunks, i/block%chunks, one.order(i%block)
		d, col := at/cols, at%cols
		j := c*gc + col%gc
		if d >= s.D || j >= s.G {
			return -1
		}
		return col/gc*s.E*s.D*s.G + (e*s.D+d)*s.G + j
	}
	return p
}

// packW2 lays out w2 [E, G, Dv] as [chunk, Dvp] per expert and chunk of hidden units.
func (s *MoE) packW2() *Pack {
	gc, cols := s.chunk(), roundUp(s.Dv, packPadN)
	one := packBlock(s.DType, gc, cols)
	block := one.Elems
	chunks := s.chunks()
	p := &Pack{
		Layout: fmt.Sprintf("per expert and %d hidden units: %s", gc, one.Layout),
		Elems:  s.E * chunks * block, DType: s.DType, source: s.E * s.G * s.Dv,
	}
	p.order = func(i int) int {
		e, c, at := i/block/chunks, i/block%chunks, one.order(i%block)
		j, col := c*gc+at/cols, at%cols
		if j >= s.G || col >= s.Dv {
			return -1
		}
		return (e*s.G+j)*s.Dv + col
	}
	return p
}

// packBlock is packMatrix for a k x n block that is padded already.
func packBlock(dt dtype, k, n int) *Pack {
	if dt == tensor.F32 {
		return &Pack{Layout: fmt.Sprintf("%dx%d row-major", k, n), Elems: k * n, DType: dt, source: k * n, order: func(i int) int { return i }}
	}
	p := &Pack{Layout: fmt.Sprintf("%dx%d in mma fragment order", k, n), Elems: k * n, DType: dt, source: k * n}
	p.order = func(i int) int {
		e, lane, unit := i%8, i/8%32, i/256
		strip, k16 := unit/(k/16), unit%(k/16)
		kk := k16*16 + 2*(lane&3) + [4]int{0, 1, 8, 9}[e%4]
		return kk*n + strip*16 + e/4*8 + lane>>2
	}
	return p
}

// Prefill is the three launches.
func (s MoE) Prefill() (*Op, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	pairs := s.Tokens.MulN(s.slots())
	routerBlocks := s.Tokens.CeilDiv(s.RouterRows)
	tiles := s.tileBound()
	op := &Op{Name: "moe_prefill"}
	add := func(name string, role Role, dt dtype, elems Expr) {
		op.Buffers = append(op.Buffers, Buffer{Name: name, Role: role, DType: dt, Elems: elems})
	}
	weight := func(name string, p *Pack) {
		op.Buffers = append(op.Buffers, Buffer{Name: name, Role: Weight, DType: p.DType, Elems: N(p.Elems), Pack: p})
	}
	add("x", Input, s.DType, s.Tokens.MulN(s.D))
	if s.Logits {
		add("logits", Input, s.DType, s.Tokens.MulN(s.E))
	} else {
		weight("sel", s.packSel())
	}
	if s.Ranks {
		add("ranks", Input, tensor.F32, s.Tokens.MulN(s.E))
	}
	weight("w1", s.packW1())
	weight("w2", s.packW2())
	for _, p := range s.params() {
		add(p.name, Weight, s.DType, N(p.elems))
	}
	if s.Base {
		add("base", Input, s.DType, s.Tokens.MulN(s.Dv))
	}
	op.Buffers = append(op.Buffers, s.Norm.buffers(s.Tokens, s.Dv, s.DType)...)
	add("y", Output, s.DType, s.Tokens.MulN(s.Dv))
	add("ids", Scratch, tensor.I32, pairs)
	add("gates", Scratch, tensor.F32, pairs)
	if s.ByThreshold {
		add("counts", Scratch, tensor.I32, s.Tokens)
	}
	add("histogram", Scratch, tensor.I32, routerBlocks.MulN(s.E))
	add("offsets", Scratch, tensor.I32, N(s.E))
	add("tiles", Scratch, tensor.I32, tiles.MulN(4))
	add("ntiles", Scratch, tensor.I32, N(1))
	add("perm", Scratch, tensor.I32, pairs)
	add("done", State, tensor.I32, N(1))
	if !s.direct() {
		add("slots", Scratch, s.DType, pairs.MulN(s.chunks()*s.Dv))
		add("arrivals", State, tensor.I32, s.Tokens)
	}
	r, err := s.router()
	if err != nil {
		return nil, err
	}
	e, err := s.experts()
	if err != nil {
		return nil, err
	}
	for _, k := range []*Kernel{r, s.scatter(), e} {
		l := Launch{Kernel: k}
		for _, p := range k.Params {
			if !p.Scalar {
				l.Args = append(l.Args, p.Name)
			}
		}
		op.Launches = append(op.Launches, l)
	}
	return op, nil
}

// tileBound is the most tiles there can be: whole ones and one ragged one per expert, each of at least one pair.
func (s *MoE) tileBound() Expr {
	if s.dense {
		return s.Tokens.CeilDiv(s.TileRows)
	}
	pairs := s.Tokens.MulN(s.slots())
	return pairs.CeilDiv(s.TileRows).AddN(s.E).Min(pairs)
}

type moeParam struct {
	name  string
	elems int
}

// params are the plain parameters there are.
func (s *MoE) params() []moeParam {
	var out []moeParam
	for _, p := range []struct {
		have bool
		moeParam
	}{
		{s.SelBias, moeParam{"sel_bias", s.E}},
		{s.Bias, moeParam{"bias", s.E * s.G}},
		{s.UpBias, moeParam{"up_bias", s.E * s.G}},
		{s.OutBias, moeParam{"out_bias", s.E * s.Dv}},
		{s.OBias, moeParam{"o_bias", s.Dv}},
	} {
		if p.have {
			out = append(out, p.moeParam)
		}
	}
	return out
}
