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

// The gatings.
const (
	GateNone         Gating = iota // by the logits; scaled by one
	GateSigmoid                    // by sigmoid(logits), also the scale (sigma-MoE, S-BASE at inference)
	GateSoftmax                    // by softmax over all experts, also the scale (Switch with K = 1)
	GateSoftmaxAfter               // by the logits; scaled by softmax over those selected
	GateGiven                      // by the logits; scaled by Router.Gates
)

// String names g.
func (g Gating) String() string {
	names := [...]string{"none", "sigmoid", "softmax", "softmax_after_topk", "given"}
	if int(g) < len(names) {
		return names[g]
	}
	return fmt.Sprintf("Gating(%d)", uint8(g))
}

// Router selects the experts of each token. Selection is exact: the K greatest,
// the lower index first among equals, NaN before all.
type Router struct {
	W      *layout.Matrix // f32, D x E; nil if the logits are given
	Bias   []float32      // E, or nil
	Logits gemm.Rows      // T rows of E, if W is nil
	Gates  gemm.Rows      // T rows of E, for GateGiven
	Gating Gating
	K      int // experts per token
	// With Above set every expert is selected whose score (what Gating selects by)
	// is at least Threshold, whatever K.
	Above     bool
	Threshold float32
	// Normalise divides the gates of a token by their sum plus Epsilon.
	Normalise bool
	Epsilon   float32
}

// most is the greatest number of experts of a token, of n.
func (r *Router) most(n int) int {
	if r.Above {
		return n
	}
	return max(0, min(r.K, n))
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
	keys    []uint32 // scratch of padKeys(E)
	picked  []int32  // scratch of E
}

// choiceLen is the scratch for a choice of tokens of e experts.
func choiceLen(tokens, most, e int) int {
	return pad(tokens) + 2*pad(tokens*most) + padKeys(e) + pad(e)
}

func newChoice(a *arena, tokens, most, e int) choice {
	return choice{
		most: most, count: a.ints(tokens), experts: a.ints(tokens * most), gates: a.floats(tokens * most),
		keys: a.words(padKeys(e)), picked: a.ints(e),
	}
}

// choose selects experts for tokens m0 to m1 from rows of e logits, which it
// overwrites by scores.
func (r *Router) choose(k *gemm.Kernels, m0, m1, e int, logits []float32, c *choice) {
	switch r.Gating {
	case GateSigmoid:
		k.Act().Apply(act.Sigmoid, logits[:(m1-m0)*e], 1)
	case GateSoftmax:
		for i := range m1 - m0 {
			softmax(k.Act(), logits[i*e:(i+1)*e])
		}
	}
	for i := range m1 - m0 {
		scores := logits[i*e : (i+1)*e]
		n := 0
		if r.Above {
			n = selectAbove(c.picked, scores, r.Threshold)
		} else {
			n = selectTopK(k.Features(), c.picked, scores, r.K, c.keys)
		}
		c.count[i] = int32(n)
		gates := c.gates[i*c.most:][:n]
		given := scores
		if r.Gating == GateGiven {
			at := r.Gates.At(m0 + i)
			given = r.Gates.Data[at : at+e]
		}
		for j, p := range c.picked[:n] {
			c.experts[i*c.most+j] = p
			gates[j] = given[p]
		}
		r.scale(k.Act(), gates)
	}
}

// scale turns the scores of the selected experts into gates.
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
