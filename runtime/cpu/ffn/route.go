package ffn

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
)

// Gating says what experts are selected by and what their outputs are scaled by,
// given the router's logits.
type Gating uint8

// The gatings. All rank experts by their logits, of which the scores are monotone,
// so that a saturated sigmoid makes no ties.
const (
	GateNone         Gating = iota // score: the logit; gate: one
	GateSigmoid                    // score and gate: sigmoid of the logit (sigma-MoE, S-BASE)
	GateSoftmax                    // score and gate: softmax over all experts (Switch)
	GateSoftmaxAfter               // score: the logit; gate: softmax over those selected
	GateGiven                      // score: the logit; gate: from Router.Gates
)

// String names g.
func (g Gating) String() string {
	names := [...]string{"none", "sigmoid", "softmax", "softmax_after_topk", "given"}
	if int(g) < len(names) {
		return names[g]
	}
	return fmt.Sprintf("Gating(%d)", uint8(g))
}

// Router selects the experts of each token. Selection is exact: the K greatest
// logits, the lower index first among equals, NaN last.
type Router struct {
	W      *layout.Matrix // f32, D x E; nil if the logits are given
	Bias   []float32      // E, or nil
	Logits gemm.Rows      // T rows of E, if W is nil
	Gates  gemm.Rows      // T rows of E, for GateGiven
	Gating Gating
	K      int // experts per token
	// With Above set, instead of K, as many as have a score of at least Threshold,
	// but no fewer than MinK and, unless MaxK is zero, no more than MaxK.
	Above      bool
	Threshold  float32
	MinK, MaxK int
	// Normalise divides the gates of a token by their sum plus Epsilon.
	Normalise bool
	Epsilon   float32
}

// most is the greatest number of experts of a token, of n.
func (r *Router) most(n int) int {
	k := r.K
	if r.Above {
		if k = r.MaxK; k == 0 {
			k = n
		}
	}
	return max(0, min(k, n))
}

// scaled reports whether gates may differ from one.
func (r *Router) scaled() bool { return r.Gating != GateNone || r.Normalise }

// logits writes the logits of tokens m0 to m1 to rows of e floats of dst.
func (r *Router) logits(k *gemm.Kernels, x gemm.Rows, m0, m1, e int, dst []float32) {
	if r.W != nil {
		k.Run(&gemm.Block{
			A: k.Prepare(layout.F32, x.From(m0), m1-m0, r.W.K, nil, nil), M: m1 - m0,
			B: r.W, N1: e, K1: r.W.K, C: gemm.Rows{Data: dst, Stride: e}, Bias: r.Bias,
		})
		return
	}
	for i := m0; i < m1; i++ {
		at := r.Logits.At(i)
		row := dst[(i-m0)*e : (i-m0+1)*e]
		copy(row, r.Logits.Data[at:at+e])
		if r.Bias != nil {
			k.Act().Add(row, r.Bias)
		}
	}
}

// choice is where the routing of tokens m0 to m1 goes: slot j of token i is at
// (i-m0)*most+j, and of those slots the first count[i-m0] are used.
type choice struct {
	most    int
	count   []int32
	experts []int32
	gates   []float32
	keys    []uint32  // scratch of padKeys(E)
	picked  []int32   // scratch of E
	scores  []float32 // scratch of E
}

// choiceLen is the scratch for a choice of tokens of e experts.
func choiceLen(tokens, most, e int) int {
	return pad(tokens) + 2*pad(tokens*most) + padKeys(e) + 2*pad(e)
}

func newChoice(a *arena, tokens, most, e int) choice {
	return choice{
		most: most, count: a.ints(tokens), experts: a.ints(tokens * most), gates: a.floats(tokens * most),
		keys: a.words(padKeys(e)), picked: a.ints(e), scores: a.floats(e),
	}
}

// choose selects experts for tokens m0 to m1 from rows of e logits.
func (r *Router) choose(k *gemm.Kernels, m0, m1, e int, logits []float32, c *choice) {
	for i := range m1 - m0 {
		row := logits[i*e : (i+1)*e]
		from := row // what gates are taken from
		if r.Gating == GateSoftmax || r.Above {
			from = c.scores
			copy(from, row)
			switch r.Gating {
			case GateSoftmax:
				softmax(k.Act(), from)
			case GateSigmoid:
				k.Act().Apply(act.Sigmoid, from, 1)
			}
		}
		n := selectTopK(k.Features(), c.picked, row, r.number(from), c.keys)
		if r.Gating == GateGiven {
			at := r.Gates.At(m0 + i)
			from = r.Gates.Data[at : at+e]
		}
		c.count[i] = int32(n)
		gates := c.gates[i*c.most:][:n]
		for j, p := range c.picked[:n] {
			c.experts[i*c.most+j] = p
			gates[j] = from[p]
		}
		if r.Gating == GateSigmoid && !r.Above {
			k.Act().Apply(act.Sigmoid, gates, 1)
		}
		r.scale(k.Act(), gates)
	}
}

// number is how many experts a token with the given scores gets.
func (r *Router) number(scores []float32) int {
	if !r.Above {
		return r.K
	}
	n := 0
	for _, s := range scores {
		if s >= r.Threshold {
			n++
		}
	}
	return min(max(n, r.MinK), r.most(len(scores)))
}

// scale turns what was taken for the selected experts into gates.
func (r *Router) scale(k *act.Kernels, gates []float32) {
	switch r.Gating {
	case GateNone:
		for j := range gates {
			gates[j] = 1
		}
	case GateSoftmaxAfter:
		softmax(k, gates)
	}
	if r.Normalise {
		sum := r.Epsilon
		for _, g := range gates {
			sum += g
		}
		for j := range gates {
			gates[j] /= sum
		}
	}
}

// softmax replaces x by its softmax. NaN anywhere makes all NaN.
func softmax(k *act.Kernels, x []float32) {
	if len(x) == 0 {
		return
	}
	top := x[0]
	for _, v := range x {
		if v > top || v != v {
			top = v
		}
	}
	for i := range x {
		x[i] -= top
	}
	k.Exp(x)
	sum := float32(0)
	for _, v := range x {
		sum += v
	}
	inv := 1 / sum
	for i := range x {
		x[i] *= inv
	}
}

// groups lists the chosen pairs of tokens and experts, sorted by expert and then
// by token.
type groups struct {
	begin  []int32   // E+1: pairs of expert e are begin[e] to begin[e+1]
	tokens []int32   // token of each pair, counted from the first
	gates  []float32 // gate of each pair
}

// groupsLen is the scratch for groups of a number of tokens.
func groupsLen(tokens, most, e int) int { return pad(e+2) + 2*pad(tokens*most) }

func newGroups(a *arena, tokens, most, e int) groups {
	return groups{begin: a.ints(e + 2), tokens: a.ints(tokens * most), gates: a.floats(tokens * most)}
}

// fill sorts the pairs of the choice by counting.
func (g *groups) fill(c *choice, tokens int) {
	clear(g.begin)
	// begin is shifted by one while pairs are placed, so that it ends in place.
	for i := range tokens {
		for _, e := range c.experts[i*c.most:][:c.count[i]] {
			g.begin[e+2]++
		}
	}
	for e := 2; e < len(g.begin); e++ {
		g.begin[e] += g.begin[e-1]
	}
	for i := range tokens {
		for j, e := range c.experts[i*c.most:][:c.count[i]] {
			at := g.begin[e+1]
			g.begin[e+1]++
			g.tokens[at], g.gates[at] = int32(i), c.gates[i*c.most+j]
		}
	}
}

// of is the range of pairs of expert e.
func (g *groups) of(e int) (p0, p1 int) { return int(g.begin[e]), int(g.begin[e+1]) }
