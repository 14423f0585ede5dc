package cuda

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/codegen/ptx"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// extra is a constant that launches of a node read beside its inputs.
func (l *Lowering) extra(n *ir.Node, name string, t *tensor.Tensor) *plan.Const {
	return &plan.Const{Name: n.Name + "." + name, DType: t.DType(), Shape: t.Shape(), Data: t}
}

// merged stands for a constant input whose numbers are part of another constant's.
func (l *Lowering) merged(v *ir.Value) (*plan.Const, error) {
	return l.store(v, "merged", func() (*tensor.Tensor, error) { return tensor.New(tensor.U8, 0), nil })
}

// sources says what the buffers of an Op are: operands by name, and the numbers of those that are packed.
type sources struct {
	operands map[string]Operand
	numbers  map[string][]float32
	prefix   string // tells the constants of one Op of a node from those of another
}

// clone copies the tables, which launches add to.
func (s sources) clone() sources {
	return sources{operands: maps.Clone(s.operands), numbers: maps.Clone(s.numbers), prefix: s.prefix}
}

// addOp appends the launches of an Op to a choice; its scratch memory becomes temporaries.
func (l *Lowering) addOp(c *Choice, n *ir.Node, op *ptx.Op, s sources) error {
	for _, b := range op.Buffers {
		if _, ok := s.operands[b.Name]; ok {
			continue
		}
		switch b.Role {
		case ptx.Scratch, ptx.State:
			s.operands[b.Name] = Operand{Temp: len(c.Temps)}
			c.Temps = append(c.Temps, plan.Temp{Bytes: b.Elems.MulN(b.DType.Size()).String(), Zero: b.Role == ptx.State})
		case ptx.Weight:
			src, ok := s.numbers[b.Name]
			if !ok {
				return fmt.Errorf("%w: no numbers for the weight %s of %s", ir.ErrGraph, b.Name, op.Name)
			}
			k, err := l.packedExtra(n, s.prefix+b.Name, b, src)
			if err != nil {
				return fmt.Errorf("packing %s: %w", b.Name, err)
			}
			s.operands[b.Name] = Operand{Const: k}
		default:
			return fmt.Errorf("%w: %s has a buffer %s that nothing feeds", ir.ErrGraph, op.Name, b.Name)
		}
	}
	var notes []string
	for _, t := range []string{op.Reason, op.Bound} {
		if t != "" {
			notes = append(notes, t)
		}
	}
	for i, ln := range op.Launches {
		out := Launch{Kernel: ln.Kernel}
		if i == 0 {
			out.Note = strings.Join(notes, "; bound ")
		}
		for _, name := range ln.Args {
			a, ok := s.operands[name]
			if !ok {
				return fmt.Errorf("%w: %s has no buffer %s", ir.ErrGraph, op.Name, name)
			}
			out.Args = append(out.Args, a)
		}
		c.Launches = append(c.Launches, out)
	}
	return nil
}

// packedExtra is the constant of a weight buffer, once for all variants of a node that read it in this layout.
func (l *Lowering) packedExtra(n *ir.Node, name string, b ptx.Buffer, src []float32) (*plan.Const, error) {
	layout := ""
	if b.Pack != nil {
		layout = b.Pack.DType.String() + " " + b.Pack.Layout
	} else if b.DType != tensor.F32 {
		layout = b.DType.String()
	}
	key := extraKey{n, name, layout}
	if k, ok := l.extras[key]; ok {
		return k, nil
	}
	var t *tensor.Tensor
	var err error
	if b.Pack != nil {
		t, err = packTensor(b.Pack, src)
	} else {
		t, err = plan.Convert(tensor.Of(src, len(src)), b.DType)
	}
	if err != nil {
		return nil, err
	}
	k := &plan.Const{Name: n.Name + "." + name, DType: tensor.F32, Shape: []int{len(src)}, Layout: layout, Data: t}
	l.extras[key] = k
	return k, nil
}

// parameters reads constant inputs of a node as f32, and marks them as merged into the launches' own constants.
type parameters struct {
	l   *Lowering
	n   *ir.Node
	c   *Choice
	err error
}

// data is the numbers of input i, nil when it is absent.
func (p *parameters) data(i int) []float32 {
	v := input(p.n, i)
	if v == nil || p.err != nil {
		return nil
	}
	if !v.IsConst() || v.Const.DType() != tensor.F32 {
		p.err = decline("weights that are not constant")
		return nil
	}
	m, err := p.l.merged(v)
	if err != nil {
		p.err = err
		return nil
	}
	p.c.Pack[i] = m
	return tensor.Data[float32](v.Const)
}

// add gives the numbers of input i to a source under a name; it reports whether there are any.
func (p *parameters) add(to sources, name string, i int) bool {
	v := p.data(i)
	if v != nil {
		to.numbers[name] = v
	}
	return v != nil
}

// shape is the shape of input i.
func (p *parameters) shape(i int) []int {
	v := input(p.n, i)
	if v == nil || !v.IsConst() {
		if p.err == nil {
			p.err = decline("weights that are not constant")
		}
		return make([]int, 4)
	}
	return append(append([]int{}, v.Const.Shape()...), 0, 0, 0)
}

// mlp is a dense, gated or top-K MLP.
func (l *Lowering) mlp(n *ir.Node) (*Choice, error) { return l.mlpThen(n, nil) }

// mlpThen is an MLP with what follows it.
func (l *Lowering) mlpThen(n *ir.Node, t *tail) (*Choice, error) {
	if err := allF32(n); err != nil {
		return nil, err
	}
	c := &Choice{Kernel: plan.KernelLaunch, Pack: map[int]*plan.Const{}}
	p := &parameters{l: l, n: n, c: c}
	x := n.Inputs[0]
	d := l.dims.of(x)
	s := ptx.MLP{Tokens: ptx.Elems(d[:len(d)-1]), DType: l.float, Math: l.math}
	src := sources{operands: map[string]Operand{"y": {Value: n.Outputs[0]}}, numbers: map[string][]float32{}}
	add := func(name string, i int) bool { return p.add(src, name, i) }
	w1, w2 := ops.MLPInW1, ops.MLPInW2
	act := ops.ActNone
	switch a := n.Attrs.(type) {
	case *ops.MLPAttrs:
		act = a.Activation
		s.Bias1, s.Bias2 = add("b1", ops.MLPInB1), add("b2", ops.MLPInB2)
	case *ops.GatedMLPAttrs:
		act, s.Gated = a.Activation, true
		w1, w2 = ops.GatedInWg, ops.GatedInWd
		add("up", ops.GatedInWu)
		s.Bias1, s.UpBias, s.Bias2 = add("b1", ops.GatedInBg), add("up_bias", ops.GatedInBu), add("b2", ops.GatedInBd)
	case *ops.TopKMLPAttrs:
		if input(n, ops.TopKInKeep) != nil || l.present(n, ops.TopKOutHidden) {
			return nil, decline("a top-K MLP with dropout or with its hidden units")
		}
		act, s.TopK, s.UseNorm, s.Magnitude = a.Activation, int(a.K), a.UseNorm, a.Magnitude
		s.Bias1, s.Bias2 = add("b1", ops.MLPInB1), add("b2", ops.MLPInB2)
	}
	fn, ok := activationFn(act)
	if !ok {
		return nil, decline("no kernel function for activation %q", act)
	}
	s.Activation = fn
	add("w1", w1)
	add("w2", w2)
	s.D, s.F, s.Dv = p.shape(w1)[0], p.shape(w1)[1], p.shape(w2)[1]
	if p.err != nil {
		return nil, p.err
	}
	if s.UseNorm && s.TopK > 0 {
		src.numbers["norm"] = rowNorms(src.numbers["w2"], s.F, s.Dv)
	}
	o, err := l.operand(x)
	if err != nil {
		return nil, err
	}
	src.operands["x"] = o
	if s.Norm, s.Residual, err = l.tailOperands(t, src, "residual"); err != nil {
		return nil, err
	}
	build := func(pl ptx.Planner) (*Choice, error) {
		out := &Choice{Kernel: plan.KernelLaunch, Pack: c.Pack}
		return out, l.addMLP(out, n, s, src, pl)
	}
	if t != nil { // whether the norm is inside is one decision for all sizes
		pl := l.planner
		pl.Tokens = l.dims.estimate(s.Tokens)
		return build(pl)
	}
	return l.variants(s.Tokens, l.planner.MLPCuts(s), build)
}

// addMLP appends the launches of an MLP as the planner has it.
func (l *Lowering) addMLP(c *Choice, n *ir.Node, s ptx.MLP, src sources, pl ptx.Planner) error {
	op, err := pl.MLP(s)
	if err != nil {
		return decline("%v", err)
	}
	src = src.clone()
	if s.Gated {
		src.numbers["w1"] = append(append([]float32{}, src.numbers["w1"]...), src.numbers["up"]...)
	}
	return l.addOp(c, n, op, src)
}

// rowNorms is the length of each row of a matrix.
func rowNorms(w []float32, rows, cols int) []float32 {
	out := make([]float32, rows)
	for i := range out {
		sum := 0.0
		for _, x := range w[i*cols : (i+1)*cols] {
			sum += float64(x) * float64(x)
		}
		out[i] = float32(math.Sqrt(sum))
	}
	return out
}

// moe is a mixture of experts at inference. A shared expert is an MLP whose output the mixture adds to.
func (l *Lowering) moe(n *ir.Node) (*Choice, error) { return l.moeThen(n, nil) }

// moeThen is a mixture with what follows it.
func (l *Lowering) moeThen(n *ir.Node, t *tail) (*Choice, error) {
	if err := allF32(&ir.Node{Op: n.Op, Inputs: n.Inputs, Outputs: n.Outputs[:1]}); err != nil {
		return nil, err
	}
	for i := 1; i < len(n.Outputs); i++ {
		if l.present(n, i) {
			return nil, decline("a mixture with outputs beyond y")
		}
	}
	for _, i := range []int{ops.MoEInNoise, ops.MoEInExpertDrop, ops.MoEInInnerKeep, ops.MoEInSelect} {
		if input(n, i) != nil {
			return nil, decline("a mixture in training")
		}
	}
	a := n.Attrs.(*ops.MoEAttrs)
	s := ptx.MoE{DType: l.float, Math: l.math, K: int(a.K), GateEps: a.GateEps}
	switch a.Gate {
	case ops.GateSigmoid:
		s.Gate = ptx.GateSigmoid
	case ops.GateSinkhorn, ops.GateSinkhornTrue:
		if a.Training {
			return nil, decline("a mixture in training")
		}
		s.Gate = ptx.GateSigmoid
	case ops.GateSoftmaxBefore, ops.GateSwitch:
		s.Gate = ptx.GateSoftmaxBefore
	case ops.GateSoftmaxAfter:
		s.Gate = ptx.GateSoftmaxAfter
	case ops.GateNoisyTopK:
		s.Gate = ptx.GateNoisyTopK
	case ops.GateNone:
		s.Gate = ptx.GateOne
	}
	if a.Selection == ops.SelectThreshold {
		if a.Gate != ops.GateSigmoid && a.Gate != ops.GateSoftmaxBefore && a.Gate != ops.GateSwitch {
			return nil, decline("a threshold on the scores of gate %s", a.Gate)
		}
		s.ByThreshold, s.Threshold, s.MinK, s.K = true, a.Threshold, int(a.MinK), int(a.MaxK)
	}
	fn, ok := activationFn(a.Activation)
	if !ok {
		return nil, decline("no kernel function for activation %q", a.Activation)
	}
	s.Activation = fn
	c := &Choice{Kernel: plan.KernelLaunch, Pack: map[int]*plan.Const{}}
	p := &parameters{l: l, n: n, c: c}
	x := n.Inputs[ops.MoEInX]
	d := l.dims.of(x)
	s.Tokens = ptx.Elems(d[:len(d)-1])
	w1 := p.shape(ops.MoEInW1)
	s.E, s.D, s.G, s.Dv = w1[0], w1[1], w1[2], p.shape(ops.MoEInW2)[2]
	if s.ByThreshold && s.K == 0 {
		s.K = s.E
	}
	src := sources{operands: map[string]Operand{"y": {Value: n.Outputs[0]}}, numbers: map[string][]float32{}}
	add := func(name string, i int) bool { return p.add(src, name, i) }
	add("w1", ops.MoEInW1)
	add("w2", ops.MoEInW2)
	s.Gated = add("up", ops.MoEInUp)
	s.SelBias, s.Bias, s.UpBias = add("sel_bias", ops.MoEInSelBias), add("bias", ops.MoEInBias), add("up_bias", ops.MoEInUpBias)
	s.OutBias, s.OBias = add("out_bias", ops.MoEInOutBias), add("o_bias", ops.MoEInOBias)
	if s.Logits = input(n, ops.MoEInLogits) != nil; !s.Logits {
		add("sel", ops.MoEInSel)
	}
	if input(n, ops.MoEInNoiseW) != nil {
		p.data(ops.MoEInNoiseW) // counts with noise only
	}
	if p.err != nil {
		return nil, p.err
	}
	ins := map[string]*ir.Value{"x": x}
	if s.Logits {
		ins["logits"] = n.Inputs[ops.MoEInLogits]
	}
	for name, v := range ins {
		o, err := l.operand(v)
		if err != nil {
			return nil, err
		}
		src.operands[name] = o
	}
	var err error
	if s.Norm, s.Base, err = l.tailOperands(t, src, "base"); err != nil {
		return nil, err
	}
	if s.Gated {
		src.numbers["w1"] = append(append([]float32{}, src.numbers["w1"]...), src.numbers["up"]...)
	}
	cuts := l.planner.MoECuts(s)
	var shared *sharedExpert
	if input(n, ops.MoEInSharedW1) != nil {
		if shared, err = l.sharedExpert(p, s, src.operands["x"]); err != nil {
			return nil, err
		}
		if o, ok := src.operands["base"]; ok { // the residual goes through the shared expert
			shared.mlp.Residual, shared.src.operands["residual"] = true, o
		}
		s.Base = true
		cuts = append(cuts, l.planner.MLPCuts(shared.mlp)...)
		slices.Sort(cuts)
		cuts = slices.Compact(cuts)
	}
	return l.variants(s.Tokens, cuts, func(pl ptx.Planner) (*Choice, error) {
		out := &Choice{Kernel: plan.KernelLaunch, Pack: c.Pack}
		src := src.clone()
		if shared != nil {
			src.operands["base"] = Operand{Temp: len(out.Temps)}
			out.Temps = append(out.Temps, shared.out)
			to := shared.src.clone()
			to.operands["y"] = src.operands["base"]
			if err := l.addMLP(out, n, shared.mlp, to, pl); err != nil {
				return nil, err
			}
		}
		op, err := pl.MoE(s)
		if err != nil {
			return nil, decline("%v", err)
		}
		out.order = op.Name // one launch adds hidden units in another order than three, and logits too
		return out, l.addOp(out, n, op, src)
	})
}

// sharedExpert is the expert that every token has; its output is a temporary that the mixture adds to.
type sharedExpert struct {
	mlp ptx.MLP
	src sources
	out plan.Temp
}

func (l *Lowering) sharedExpert(p *parameters, m ptx.MoE, x Operand) (*sharedExpert, error) {
	s := ptx.MLP{Tokens: m.Tokens, DType: m.DType, Math: m.Math, Activation: m.Activation, D: m.D, Dv: m.Dv}
	src := sources{operands: map[string]Operand{"x": x}, numbers: map[string][]float32{}, prefix: "shared_"}
	add := func(name string, i int) bool { return p.add(src, name, i) }
	add("w1", ops.MoEInSharedW1)
	add("w2", ops.MoEInSharedW2)
	s.Bias1, s.Gated, s.UpBias = add("b1", ops.MoEInSharedB1), add("up", ops.MoEInSharedUp), add("up_bias", ops.MoEInSharedUpB)
	s.F = p.shape(ops.MoEInSharedW1)[1]
	return &sharedExpert{mlp: s, src: src, out: plan.Temp{Bytes: s.Tokens.MulN(s.Dv * s.DType.Size()).String()}}, p.err
}

// pkm is a product-key memory, the query projection folded into its keys.
func (l *Lowering) pkm(n *ir.Node) (*Choice, error) {
	if err := allF32(&ir.Node{Op: n.Op, Inputs: n.Inputs, Outputs: n.Outputs[:1]}); err != nil {
		return nil, err
	}
	if l.present(n, ops.PKMOutIndices) || l.present(n, ops.PKMOutScores) {
		return nil, decline("a product-key memory with its indices or scores")
	}
	a := n.Attrs.(*ops.PKMAttrs)
	c := &Choice{Kernel: plan.KernelLaunch, Pack: map[int]*plan.Const{}}
	p := &parameters{l: l, n: n, c: c}
	x := n.Inputs[ops.PKMInX]
	d := l.dims.of(x)
	k0, k1 := p.shape(ops.PKMInKeys0), p.shape(ops.PKMInKeys1)
	s := ptx.PKM{
		Tokens: ptx.Elems(d[:len(d)-1]), H: k0[0], N1: k0[1], N2: k1[1], D1: k0[2], D2: k1[2], X2: k0[2], D: k0[2] + k1[2],
		Dv: p.shape(ops.PKMInValues)[1], KNN: int(a.KNN), DType: l.float, Math: l.math, Bias: true,
		Softmax: a.Weighting == ops.WeightSoftmax, SoftmaxHead: a.Weighting == ops.WeightSoftmaxHead,
	}
	if !s.Softmax && !s.SoftmaxHead {
		fn, ok := activationFn(ops.Activation(a.Weighting))
		if !ok {
			return nil, decline("no kernel function for weighting %q", a.Weighting)
		}
		s.Weighting = fn
	}
	first := ptx.PKMKeys{
		H: s.H, N: s.N1, Len: s.D1, QueryLen: s.D, Keys: p.data(ops.PKMInKeys0), KeyBias: p.data(ops.PKMInKeyBias0),
		Query: p.data(ops.PKMInQuery), QueryBias: p.data(ops.PKMInQueryBias), D: s.D,
	}
	if first.Query != nil {
		s.D = p.shape(ops.PKMInQuery)[1]
		first.D = s.D
		s.D1, s.D2, s.X2 = s.D, s.D, 0
	}
	second := first
	second.N, second.Len, second.From = s.N2, k1[2], k0[2]
	second.Keys, second.KeyBias = p.data(ops.PKMInKeys1), p.data(ops.PKMInKeyBias1)
	src := sources{operands: map[string]Operand{"y": {Value: n.Outputs[0]}}, numbers: map[string][]float32{}}
	src.numbers["values"] = p.data(ops.PKMInValues)
	if b2 := p.data(ops.PKMInB2); b2 != nil {
		s.B2 = true
		src.numbers["b2"] = b2
	}
	if p.err != nil {
		return nil, p.err
	}
	for i, k := range []ptx.PKMKeys{first, second} {
		w, b := k.Fold(s.Dense())
		src.numbers[fmt.Sprint("keys", i+1)], src.numbers[fmt.Sprint("key_bias", i+1)] = w, b
	}
	o, err := l.operand(x)
	if err != nil {
		return nil, err
	}
	src.operands["x"] = o
	if _, known := s.Tokens.Const(); !known {
		s.PlainValues = l.planner.PKMBoth(s)
	}
	return l.variants(s.Tokens, l.planner.PKMCuts(s), func(pl ptx.Planner) (*Choice, error) {
		out := &Choice{Kernel: plan.KernelLaunch, Pack: c.Pack}
		op, err := pl.PKM(s)
		if err != nil {
			return nil, decline("%v", err)
		}
		out.order = op.Name // gathered values are added in the order of their slots, multiplied ones in that of the table
		return out, l.addOp(out, n, op, src.clone())
	})
}
