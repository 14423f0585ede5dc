package ops

import (
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// MoEAttrs are the attributes of MoE, a mixture of E experts of G units each. Per token:
//
//	l[e] = x sel[e] + sel_bias[e]          logits; or the input logits, plus sel_bias
//	r    = what ranks the experts, S the set selected, g their gates   (Gate)
//	u    = act(x w1[e] + bias[e]), times x up[e] + up_bias[e] for gated experts
//	h    = u, times inner_keep/(1-dropout) where the mask is given
//	y    = sum over e in S of g[e] (h w2[e] + out_bias[e])
//	       + the shared experts' (act(x shared_w1 + shared_b1) * ...) shared_w2 + o_bias
//
// An expert's output bias comes with the expert: it is gated, and absent when the expert is
// not selected. The shared experts are one MLP of any width, always on, with weight 1.
//
// Selection. Ranks follow the rule of the family (higher first, then lower index, NaN
// last). Ranking is by logits wherever the score is monotone in them, so that a saturated
// sigmoid does not make ties. "topk" selects min(K, E) experts. "threshold" selects those
// whose score is at least Threshold, but no fewer than MinK and no more than MaxK (0: all).
// Slots are the experts in rank order, as many as could be selected at most; slots beyond
// the number selected (Count) hold the next experts in rank with gate 0.
//
// Training is given, not drawn: expert_drop [..., E] marks experts that cannot be
// selected (they rank last; should they fill a slot, it is with gate 0, and softmax-after
// and noisy-topk normalise without them), inner_keep [..., slots, G] is inner dropout, noise
// [..., E] is N(0,1) for noisy-topk. select [..., slots] replays a selection: experts as
// given and in that slot order.
type MoEAttrs struct {
	Gate       Gate       `attr:"gate"`
	Activation Activation `attr:"activation"`
	Selection  Selection  `attr:"selection"`
	K          int64      `attr:"k"`         // topk: experts per token
	Threshold  float32    `attr:"threshold"` // threshold: least score
	MinK       int64      `attr:"min_k"`     // threshold: floor
	MaxK       int64      `attr:"max_k"`     // threshold: cap, 0 for none
	Dropout    float32    `attr:"dropout"`   // rate that inner_keep was drawn with
	// Training makes the sinkhorn gates balance; at inference they rank by logits.
	Training bool `attr:"training"`
	// SinkhornIters is the number of iterations of the sinkhorn gates.
	SinkhornIters int64 `attr:"sinkhorn_iters"`
	// EntropyOver is what the entropy output is taken over.
	EntropyOver EntropyOver `attr:"entropy_over"`
	NoiseEps    float32     `attr:"noise_eps"` // added to the standard deviation of the noise
	GateEps     float32     `attr:"gate_eps"`  // noisy-topk: g = p / (sum of selected p + GateEps)
	CVEps       float32     `attr:"cv_eps"`    // importance and load: var / (mean^2 + CVEps)
	CVUnbiased  bool        `attr:"cv_unbiased"`
	// LoadOver says what the thresholds of the smooth load of noisy-topk are.
	LoadOver LoadOver `attr:"load_over"`
}

// Gate is how a MoE ranks experts and weighs the selected ones.
type Gate string

// The gates. p is softmax(l) over all experts.
const (
	GateSigmoid       Gate = "sigmoid"        // sigma-MoE: score and gate sigmoid(l)
	GateSoftmaxBefore Gate = "softmax-before" // score and gate p, not renormalised
	GateSoftmaxAfter  Gate = "softmax-after"  // score l, gate softmax over the selected l
	// GateSinkhorn is S-BASE: score in training the sinkhorn matrix over the tokens of a
	// sequence (the second last axis of x) as its authors coded it, at inference l; gate
	// sigmoid(l).
	GateSinkhorn     Gate = "sinkhorn"
	GateSinkhornTrue Gate = "sinkhorn-true" // the same with the iteration of theory
	GateSwitch       Gate = "switch"        // as softmax-before; named for its regulariser
	// GateNoisyTopK: l gains noise * (softplus(x noise_w) + NoiseEps) where noise is given;
	// score the noisy l, gate p/(sum of selected p + GateEps) of the noisy l.
	GateNoisyTopK Gate = "noisy-topk"
	GateNone      Gate = "none" // score l, every selected expert weighs 1
)

// Selection is how many experts a token gets.
type Selection string

// The selections.
const (
	SelectTopK      Selection = "topk"
	SelectThreshold Selection = "threshold"
)

// EntropyOver is what the entropy regulariser is taken over.
type EntropyOver string

// The entropies: over all experts, or over the selected logits slot by slot (what the
// authors' full repository computes for softmax-after).
const (
	EntropyExperts EntropyOver = "experts"
	EntropySlots   EntropyOver = "slots"
)

// LoadOver is what the smooth load of noisy-topk compares.
type LoadOver string

// The loads: Shazeer et al. compare noisy logits with the K-th or K+1-th noisy logit; a
// common third-party implementation compares them with softmax probabilities.
const (
	LoadLogits LoadOver = "logits"
	LoadProbs  LoadOver = "probs"
)

// Inputs of MoE. Present are at least x, w1, w2 and one of sel and logits.
const (
	MoEInX          = iota // [..., D]
	MoEInW1                // [E,D,G]
	MoEInW2                // [E,G,Dv]
	MoEInSel               // [E,D] selector; absent when logits are given
	MoEInSelBias           // [E]
	MoEInBias              // [E,G] before the activation
	MoEInOutBias           // [E,Dv] of each expert's output, gated with it
	MoEInOBias             // [Dv] once per token
	MoEInUp                // [E,D,G] makes the experts gated: act(x w1) * (x up)
	MoEInUpBias            // [E,G]
	MoEInSharedW1          // [D,Fs]
	MoEInSharedB1          // [Fs]
	MoEInSharedW2          // [Fs,Dv]
	MoEInSharedUp          // [D,Fs] makes the shared experts gated
	MoEInSharedUpB         // [Fs]
	MoEInLogits            // [..., E] in place of x sel
	MoEInNoiseW            // [E,D] noisy-topk
	MoEInNoise             // [..., E] noisy-topk
	MoEInExpertDrop        // [..., E] mask: true is dropped
	MoEInInnerKeep         // [..., slots, G] mask: true is kept
	MoEInSelect            // i64 [..., slots]
	moeNumIn
)

// Outputs of MoE; all but y optional. Regularisers are scalars of x's type without their
// coefficient; of no tokens they are 0.
const (
	MoEOutY          = iota // [..., Dv]
	MoEOutIndices           // i64 [..., slots]
	MoEOutGates             // [..., slots]
	MoEOutCount             // i64 [...]: how many of the slots are selected
	MoEOutLogits            // [..., E] before noise
	MoEOutScores            // [..., E] before expert dropout: what Threshold compares
	MoEOutEntropy           // sum_e m exp(m), m the log of the mean of softmax(l) over tokens
	MoEOutSwitch            // mean over e of (mean over tokens of p[e]) * (share of selections that went to e)
	MoEOutImportance        // squared coefficient of variation over e of the sum of gates
	MoEOutLoad              // squared coefficient of variation over e of LoadVector
	MoEOutLoadVector        // [E]: expected (noise given, K < E), else counted tokens per expert
	moeNumOut
)

// Slots is the number of slots per token for E experts.
func (a *MoEAttrs) Slots(experts int) int {
	k := a.K
	if a.Selection == SelectThreshold {
		if k = a.MaxK; k == 0 {
			k = int64(experts)
		}
	}
	return int(min(k, int64(experts)))
}

func moeOp() *ir.Op {
	return &ir.Op{
		Domain: ir.DomainMoec, Name: "MoE", Since: 1,
		Doc: "Mixture of experts: sigma-MoE and its rivals, one op with a gate.",
		Attrs: func() any {
			return &MoEAttrs{
				Gate: GateSigmoid, Activation: ActReLU, Selection: SelectTopK, K: 1, MinK: 1,
				SinkhornIters: 3, EntropyOver: EntropyExperts, CVEps: 1e-10, LoadOver: LoadLogits,
			}
		},
		MinIn: 3, MaxIn: moeNumIn, MinOut: 1, MaxOut: moeNumOut,
		Infer:  inferMoE,
		Eval:   evalMoE,
		Expand: func(g *ir.Graph, n *ir.Node) ([]*ir.Value, error) { return expandMoE(BodyPortable, g, n) },
		Cost:   costMoE,
	}
}

func inferMoE(c *ir.InferCtx) error {
	a := c.Attrs.(*MoEAttrs)
	s := newShapes(c)
	s.checkMoEAttrs(a)
	for _, p := range moeParams {
		s.param(p.in, p.name, p.dims...)
	}
	for _, need := range moeNeeds {
		if c.Has(need[0]) && !c.Has(need[1]) {
			s.fail(ir.ErrGraph, "input %d is given without input %d", need[0], need[1])
		}
	}
	floats := []tensor.DType{s.dt}
	s.rows(MoEInLogits, "logits", floats, "E")
	slots := ir.Unknown()
	if e := s.dim("E"); e.IsKnown() {
		if e.Size == 0 {
			s.fail(ir.ErrShape, "no experts")
		}
		slots = ir.Known(int64(a.Slots(int(e.Size))))
		s.bind("slots", "slots", slots)
	}
	s.rows(MoEInNoise, "noise", floats, "E")
	s.rows(MoEInExpertDrop, "expert_drop", maskTypes, "E")
	s.rows(MoEInInnerKeep, "inner_keep", maskTypes, "slots", "G")
	s.rows(MoEInSelect, "select", []tensor.DType{tensor.I64}, "slots")

	s.out(MoEOutY, s.dt, s.dim("Dv"))
	s.out(MoEOutIndices, tensor.I64, slots)
	s.out(MoEOutGates, s.dt, slots)
	s.out(MoEOutCount, tensor.I64)
	s.out(MoEOutLogits, s.dt, s.dim("E"))
	s.out(MoEOutScores, s.dt, s.dim("E"))
	for i := MoEOutEntropy; i <= MoEOutLoad; i++ {
		c.SetOut(i, ir.MakeType(s.dt))
	}
	c.SetOut(MoEOutLoadVector, ir.MakeType(s.dt, s.dim("E")))
	return s.err
}

// moeParams are the parameters' dims.
var moeParams = []struct {
	in   int
	name string
	dims []string
}{
	{MoEInSel, "sel", []string{"E", "D"}},
	{MoEInW1, "w1", []string{"E", "D", "G"}},
	{MoEInW2, "w2", []string{"E", "G", "Dv"}},
	{MoEInSelBias, "sel_bias", []string{"E"}},
	{MoEInBias, "bias", []string{"E", "G"}},
	{MoEInOutBias, "out_bias", []string{"E", "Dv"}},
	{MoEInOBias, "o_bias", []string{"Dv"}},
	{MoEInUp, "up", []string{"E", "D", "G"}},
	{MoEInUpBias, "up_bias", []string{"E", "G"}},
	{MoEInSharedW1, "shared_w1", []string{"D", "Fs"}},
	{MoEInSharedB1, "shared_b1", []string{"Fs"}},
	{MoEInSharedW2, "shared_w2", []string{"Fs", "Dv"}},
	{MoEInSharedUp, "shared_up", []string{"D", "Fs"}},
	{MoEInSharedUpB, "shared_up_bias", []string{"Fs"}},
	{MoEInNoiseW, "noise_w", []string{"E", "D"}},
}

// moeNeeds are pairs of inputs of which the first makes sense only with the second.
var moeNeeds = [][2]int{
	{MoEInUpBias, MoEInUp},
	{MoEInSharedW1, MoEInSharedW2},
	{MoEInSharedW2, MoEInSharedW1},
	{MoEInSharedB1, MoEInSharedW1},
	{MoEInSharedUp, MoEInSharedW1},
	{MoEInSharedUpB, MoEInSharedUp},
	{MoEInNoise, MoEInNoiseW},
}

func (s *shapes) checkMoEAttrs(a *MoEAttrs) {
	if err := a.Activation.check(); err != nil && s.err == nil {
		s.err = err
	}
	switch a.Gate {
	case GateSigmoid, GateSoftmaxBefore, GateSoftmaxAfter, GateSinkhorn, GateSinkhornTrue, GateSwitch, GateNoisyTopK, GateNone:
	default:
		s.fail(ir.ErrAttr, "gate %q, want sigmoid, softmax-before, softmax-after, sinkhorn, sinkhorn-true, switch, noisy-topk or none", string(a.Gate))
	}
	switch a.Selection {
	case SelectTopK:
		if a.K < 1 {
			s.fail(ir.ErrAttr, "k is %d, want at least 1", a.K)
		}
	case SelectThreshold:
		if a.MinK < 0 || a.MaxK < 0 || a.MaxK > 0 && a.MinK > a.MaxK {
			s.fail(ir.ErrAttr, "min_k is %d and max_k %d, want 0 <= min_k <= max_k (0: no cap)", a.MinK, a.MaxK)
		}
	default:
		s.fail(ir.ErrAttr, "selection %q, want topk or threshold", string(a.Selection))
	}
	if a.SinkhornIters < 0 || a.SinkhornIters > 10000 {
		s.fail(ir.ErrAttr, "sinkhorn_iters is %d, want 0 to 10000", a.SinkhornIters)
	}
	if a.EntropyOver != EntropyExperts && a.EntropyOver != EntropySlots {
		s.fail(ir.ErrAttr, "entropy_over %q, want experts or slots", string(a.EntropyOver))
	}
	if a.LoadOver != LoadLogits && a.LoadOver != LoadProbs {
		s.fail(ir.ErrAttr, "load_over %q, want logits or probs", string(a.LoadOver))
	}
	if err := checkRate(a.Dropout); err != nil && s.err == nil {
		s.err = err
	}
}
