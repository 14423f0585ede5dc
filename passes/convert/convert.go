// Package convert turns the dense MLPs of a pretrained model into sparse ones.
//
//	graph -> Feedforward found them -> cluster or fit -> rewrite -> receipt
//
// Without calibration data it uses the weights alone, and the receipt says so. It never
// runs the model: where an error is measured, the caller hands in an evaluator.
package convert

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/passes"
)

// The sparse forms.
const (
	ToSigmaMoE = "sigma-moe"
	ToPKM      = "pkm"
	ToTopK     = "topk"
)

// Options say what to make of the MLPs.
type Options struct {
	To      string
	Experts int     // sigma-moe: experts per MLP; 0 picks experts of about 16 units
	K       int     // sigma-moe: experts kept; topk: units kept; pkm: knn; 0 follows Keep
	Keep    float64 // share of the hidden units kept where K is 0; 0 is 0.25
	Exclude []string
	Seed    uint64
	// Faster leaves an MLP dense whose experts would take longer than it does; the receipt
	// says by how much. It concerns sigma-moe.
	Faster bool
	// Eval measures errors; nil leaves them out of the receipt.
	Eval passes.Evaluator
}

// Receipt is what a conversion did, in the form that `moec convert --json` prints.
type Receipt struct {
	To          string       `json:"to"`
	Calibration string       `json:"calibration"` // "none: weights only"
	MLPs        []MLPReceipt `json:"mlps"`
	ErrorMeans  string       `json:"error_means,omitempty"`
}

// MLPReceipt tells what became of one MLP.
type MLPReceipt struct {
	Name        string   `json:"name"`
	Action      string   `json:"action"` // "rewritten" or "left"
	Reason      string   `json:"reason"`
	HiddenShare float64  `json:"hidden_share"` // of the hidden units, per token
	Params      [2]int64 `json:"params"`       // before, after
	FLOPs       [2]int64 `json:"flops"`        // per token, before, after
	Error       *float64 `json:"error"`        // see Receipt.ErrorMeans; null when not measured
}

// step is the receipt in the form that passes leave.
func (m *MLPReceipt) step(p mlpPlan) passes.Receipt {
	r := passes.Receipt{
		Pass: "convert", Node: m.Name, Origin: p.sparse.Origin, From: p.n.Op.String(), To: p.sparse.Op.String(),
		ParamsBefore: m.Params[0], ParamsAfter: m.Params[1], FLOPsBefore: m.FLOPs[0], FLOPsAfter: m.FLOPs[1], Note: m.Reason,
	}
	if m.Error != nil {
		r.Measured = map[string]float64{"error": *m.Error}
	}
	return r
}

// Run finds the dense MLPs of g, subgraphs included, and rewrites them. g is left sorted
// and inferred; nothing is rewritten when it returns an error.
func Run(ctx context.Context, g *ir.Graph, o Options) (*Receipt, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if _, err := passes.Run(ctx, g, passes.Options{Pipeline: passes.UpTo("feedforward")}); err != nil {
		return nil, err
	}
	c := newConversion(ctx, g, o)
	if err := c.planAll(g); err != nil {
		return nil, err
	}
	for _, u := range passes.Unmatcheds(g) {
		c.r.MLPs = append(c.r.MLPs, MLPReceipt{Name: u.Name, Action: "left", Reason: u.Reason})
	}
	if err := c.rewriteAll(); err != nil {
		return nil, err
	}
	if err := g.Sort(); err != nil {
		return nil, err
	}
	return c.r, ir.Infer(g)
}

// Pass is the same conversion as a step of a pipeline, to stand behind Feedforward. It
// leaves a receipt per MLP it rewrites.
func Pass(o Options) (passes.Pass, error) {
	return passes.Pass{
		Name: "convert", Doc: "Rewrite dense MLPs into a sparse form, from their weights alone.", Effect: passes.Approximate,
		Run: func(ctx context.Context, g *ir.Graph) (bool, error) {
			c := newConversion(ctx, g, o)
			if err := c.plan(g); err != nil {
				return false, err
			}
			if err := c.rewriteAll(); err != nil {
				return true, err
			}
			for _, p := range c.plans {
				passes.LeaveReceipt(ctx, c.r.MLPs[p.at].step(p))
			}
			return len(c.plans) > 0, nil
		},
	}, o.check()
}

func (o *Options) check() error {
	if o.Keep == 0 {
		o.Keep = 0.25
	}
	switch {
	case o.To != ToSigmaMoE && o.To != ToPKM && o.To != ToTopK:
		return fmt.Errorf("%w: cannot convert to %q; choose %s, %s or %s", ir.ErrAttr, o.To, ToSigmaMoE, ToPKM, ToTopK)
	case o.Keep < 0 || o.Keep > 1 || o.Keep != o.Keep:
		return fmt.Errorf("%w: keep is %v, want a share between 0 and 1", ir.ErrAttr, o.Keep)
	case o.Experts < 0:
		return fmt.Errorf("%w: %d experts", ir.ErrShape, o.Experts)
	case o.K < 0:
		return fmt.Errorf("%w: K is %d", ir.ErrShape, o.K)
	}
	return nil
}

// conversion is one Run. Everything is checked (plan) before anything changes (rewrite).
type conversion struct {
	ctx   context.Context
	ops   ir.OpSet
	o     Options
	r     *Receipt
	plans []mlpPlan
	units map[*tensor.Tensor][]int // clusters by first weight, so that sites that share weights share experts
}

type mlpPlan struct {
	g          *ir.Graph
	n          *ir.Node // the dense node, gone from g once it is rewritten
	sparse     *ir.Node
	experts, k int
	at         int // index of the receipt's entry
}

func newConversion(ctx context.Context, g *ir.Graph, o Options) *conversion {
	c := &conversion{ctx: ctx, ops: g.Ops, o: o, units: map[*tensor.Tensor][]int{}, r: &Receipt{To: o.To, Calibration: "none: weights only", MLPs: []MLPReceipt{}}}
	if o.Eval != nil {
		c.r.ErrorMeans = fmt.Sprintf("|sparse - dense| / |dense| of the layer's outputs on %d standard normal inputs; on real inputs it differs", errorTokens)
	}
	return c
}

// planAll plans g and all its subgraphs.
func (c *conversion) planAll(g *ir.Graph) error {
	for _, n := range g.Nodes {
		for _, s := range n.Subgraphs {
			if err := c.planAll(s); err != nil {
				return err
			}
		}
	}
	return c.plan(g)
}

func (c *conversion) rewriteAll() error {
	for i := range c.plans {
		p := &c.plans[i]
		if err := c.rewrite(p); err != nil {
			return ir.NodeError(p.n, err)
		}
	}
	return nil
}

func (c *conversion) plan(g *ir.Graph) error {
	for _, n := range g.Nodes {
		if !n.Is("moec::MLP", "moec::GatedMLP") {
			continue
		}
		e := MLPReceipt{Name: label(n), Action: "left", HiddenShare: 1}
		e.Params[0], e.FLOPs[0] = params(n), flops(n, width(n))
		e.Params[1], e.FLOPs[1] = e.Params[0], e.FLOPs[0]
		reason, err := c.reasonToLeave(n)
		if err != nil {
			return ir.NodeError(n, err)
		}
		if reason == "" {
			p, err := c.sizes(n)
			if err != nil {
				return ir.NodeError(n, err)
			}
			if c.o.Faster && c.o.To == ToSigmaMoE {
				reason = whySlower(n, p)
			}
			if reason == "" {
				p.g, p.n, p.at = g, n, len(c.r.MLPs)
				c.plans = append(c.plans, p)
			}
		}
		e.Reason = reason
		c.r.MLPs = append(c.r.MLPs, e)
	}
	return nil
}

// reasonToLeave looks at what forbids a rewrite; weights that are no numbers are an error.
func (c *conversion) reasonToLeave(n *ir.Node) (string, error) {
	if slices.ContainsFunc(n.Origin, func(s string) bool { return slices.Contains(c.o.Exclude, s) }) {
		return "excluded by name", nil
	}
	if n.Inputs[1].Const.DType() != tensor.F32 {
		return fmt.Sprintf("weights are %s: only f32 MLPs are rewritten", n.Inputs[1].Const.DType()), nil
	}
	if n.Is("moec::GatedMLP") && c.o.To != ToSigmaMoE {
		return "a gated MLP has only the sigma-moe form", nil
	}
	for _, v := range n.Inputs[1:] {
		if v == nil {
			continue
		}
		for _, x := range tensor.Data[float32](v.Const) {
			if x != x || math.IsInf(float64(x), 0) {
				return "", fmt.Errorf("%w: weight %q holds NaN or Inf; only finite weights can be converted: repair it, or leave the MLP out with --exclude %s", ir.ErrInput, v.Name, label(n))
			}
		}
	}
	return "", nil
}

// sizes settles experts and K for one MLP.
func (c *conversion) sizes(n *ir.Node) (mlpPlan, error) {
	hidden := n.Inputs[1].Const.Shape()[1]
	p := mlpPlan{experts: c.o.Experts, k: c.o.K}
	hint := fmt.Sprintf("; leave the MLP out with --exclude %s", label(n))
	switch c.o.To {
	case ToTopK:
		if p.k == 0 {
			p.k = share(c.o.Keep, hidden)
		}
		if p.k > hidden {
			return p, fmt.Errorf("%w: K is %d, the MLP has %d hidden units%s", ir.ErrShape, p.k, hidden, hint)
		}
	case ToPKM:
		if p.k == 0 {
			p.k = share(c.o.Keep, hidden)
		}
	case ToSigmaMoE:
		if p.experts == 0 {
			p.experts = defaultExperts(hidden, c.o.Keep)
		}
		if hidden%p.experts != 0 {
			return p, fmt.Errorf("%w: %d hidden units are not divisible among %d experts%s", ir.ErrShape, hidden, p.experts, hint)
		}
		if p.k == 0 {
			p.k = share(c.o.Keep, p.experts)
		}
		if p.k > p.experts {
			return p, fmt.Errorf("%w: K is %d, the number of experts is %d", ir.ErrShape, p.k, p.experts)
		}
	}
	return p, nil
}

func share(keep float64, n int) int { return max(1, int(math.Round(keep*float64(n)))) }

// defaultExperts divides the hidden units into experts of 16 where that goes, else of
// the nearest size that does; small MLPs get as many as a share of keep needs.
func defaultExperts(hidden int, keep float64) int {
	best := hidden // experts of one unit serve every share
	for g := 2; g <= hidden; g++ {
		if hidden%g == 0 && keep*float64(hidden/g) >= 1 && math.Abs(math.Log(float64(g)/16)) < math.Abs(math.Log(float64(hidden/best)/16)) {
			best = hidden / g
		}
	}
	return best
}

func (c *conversion) rewrite(p *mlpPlan) error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	e := &c.r.MLPs[p.at]
	hidden := p.n.Inputs[1].Const.Shape()[1]
	d := width(p.n)
	dense := c.layerGraph(p.n, d)
	var m *ir.Node
	var err error
	switch c.o.To {
	case ToTopK:
		m, err = passes.ToTopKMLP(p.g, p.n, p.k)
		e.HiddenShare = float64(p.k) / float64(hidden)
	case ToPKM:
		params := fitPKM(p.n, p.k, c.o.Seed)
		m, err = passes.ToPKM(p.g, p.n, params)
		e.HiddenShare = math.Min(1, float64(p.k)/float64(hidden))
	default:
		w1 := p.n.Inputs[1].Const
		units := c.units[w1]
		if units == nil {
			units = clusterUnits(p.n, p.experts, c.o.Seed)
			c.units[w1] = units
		}
		sel, bias := selectors(p.n, units, p.experts)
		m, err = passes.ToMoE(p.g, p.n, passes.MoESplit{Experts: p.experts, K: p.k, Units: units, Sel: sel, SelBias: bias})
		e.HiddenShare = float64(p.k) / float64(p.experts)
	}
	if err != nil {
		return err
	}
	p.sparse = m
	e.Action = "rewritten"
	e.Reason = "weights only"
	e.Params[1], e.FLOPs[1] = params(m), flops(m, d)
	if c.o.Eval != nil {
		e.Error, err = c.measure(dense, c.layerGraph(m, d))
	}
	return err
}

// label is the user's name of an MLP: that of its first node.
func label(n *ir.Node) string {
	if len(n.Origin) > 0 {
		return n.Origin[0]
	}
	return n.Name
}

func params(n *ir.Node) (total int64) {
	for _, v := range n.Inputs {
		if v.IsConst() {
			total += int64(v.Const.Len())
		}
	}
	return total
}

// width is the number of features an MLP reads, by its weights: the graph may not know.
func width(n *ir.Node) int { return n.Inputs[1].Const.Shape()[0] }

// flops is the work for one token of d features.
func flops(n *ir.Node, d int) int64 {
	c := &ir.CostCtx{Attrs: n.Attrs}
	for _, v := range n.Inputs {
		t := ir.Type{}
		if v != nil {
			t = v.Type
		}
		c.Ins = append(c.Ins, t)
	}
	c.Ins[0] = ir.MakeType(n.Inputs[1].Type.DType, ir.Known(1), ir.Known(int64(d)))
	ic := &ir.InferCtx{Attrs: n.Attrs, Ins: c.Ins, Consts: make([]*tensor.Tensor, len(c.Ins)), Syms: make([][]ir.Dim, len(c.Ins)), Outs: make([]ir.Type, len(n.Outputs))}
	if n.Op.Infer(ic) != nil {
		return 0
	}
	c.Outs = ic.Outs
	return ir.CostOf(n.Op, c).FLOPs
}

// clusterUnits groups hidden units whose first-layer weights point the same way.
func clusterUnits(n *ir.Node, experts int, seed uint64) []int {
	w := n.Inputs[1].Const
	d, f := w.Shape()[0], w.Shape()[1]
	data := tensor.Data[float32](w)
	x := make([][]float64, f)
	for j := range x {
		x[j] = make([]float64, d)
		var norm float64
		for i := range d {
			x[j][i] = float64(data[i*f+j])
			norm += x[j][i] * x[j][i]
		}
		if norm = math.Sqrt(norm); norm > 0 {
			for i := range d {
				x[j][i] /= norm
			}
		}
	}
	return balanced(x, experts, seed)
}

// selectors rank an expert by the sum of its units' pre-activations, each weighed by the
// norm of the unit's row of the second layer: large where units are active and matter.
func selectors(n *ir.Node, units []int, experts int) (sel, bias *tensor.Tensor) {
	w1, w2 := n.Inputs[1].Const, n.Inputs[2].Const
	b1 := (*ir.Value)(nil)
	at := ops.MLPInB1
	if n.Is("moec::GatedMLP") {
		w2, at = n.Inputs[ops.GatedInWd].Const, ops.GatedInBg
	}
	if at < len(n.Inputs) {
		b1 = n.Inputs[at]
	}
	d, f, dv := w1.Shape()[0], w1.Shape()[1], w2.Shape()[1]
	g := f / experts
	x, y := tensor.Data[float32](w1), tensor.Data[float32](w2)
	sel, bias = tensor.New(tensor.F32, experts, d), tensor.New(tensor.F32, experts)
	s, b := tensor.Data[float32](sel), tensor.Data[float32](bias)
	for i, u := range units {
		e := i / g
		var norm float64
		for _, v := range y[u*dv : (u+1)*dv] {
			norm += float64(v) * float64(v)
		}
		weight := float32(math.Sqrt(norm) / float64(g))
		for j := range d {
			s[e*d+j] += weight * x[j*f+u]
		}
		if b1 != nil {
			b[e] += weight * tensor.Data[float32](b1.Const)[u]
		}
	}
	return sel, bias
}
