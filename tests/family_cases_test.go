package tests

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// familyCase is one node of the feedforward family with tensors for its inputs. The
// tensors that depend on the tokens are inputs of its graph, the others constants.
type familyCase struct {
	name   string
	op     string
	attrs  any
	ins    []*tensor.Tensor
	tokens []int // inputs that have a row per token, 0 among them
	outs   []int // outputs that are asked for
}

func (c *familyCase) graph(t testing.TB, table *ops.Table) (*ir.Graph, []*tensor.Tensor) {
	t.Helper()
	g := ir.NewGraph("family", table)
	var ins []*tensor.Tensor
	vals := make([]*ir.Value, len(c.ins))
	for i, x := range c.ins {
		switch {
		case x == nil:
		case contains(c.tokens, i):
			vals[i] = g.AddInput(fmt.Sprintf("in%d", i), ir.TypeOf(x))
			ins = append(ins, x)
		default:
			vals[i] = g.NewConst(fmt.Sprintf("p%d", i), x)
		}
	}
	op := g.Op(c.op)
	last := c.outs[len(c.outs)-1]
	n := g.Add(op, c.attrs, vals, make([]string, last+1)...)
	n.Origin = []string{c.name}
	for i, v := range n.Outputs {
		if contains(c.outs, i) {
			v.Name = fmt.Sprintf("out%d", i)
			g.Outputs = append(g.Outputs, v)
		} else {
			n.Outputs[i] = nil
		}
	}
	if err := ir.Infer(g); err != nil {
		t.Fatal(err)
	}
	if err := ir.Verify(g); err != nil {
		t.Fatal(err)
	}
	return g, ins
}

func contains(list []int, i int) bool {
	for _, x := range list {
		if x == i {
			return true
		}
	}
	return false
}

// drawer draws tensors.
type drawer struct{ r *rand.Rand }

func newDrawer(seed uint64) *drawer { return &drawer{rand.New(rand.NewPCG(seed, 99))} }

func (d *drawer) normal(shape ...int) *tensor.Tensor {
	v := make([]float32, tensor.NumElems(shape))
	for i := range v {
		v[i] = float32(d.r.NormFloat64())
	}
	return tensor.Of(v, shape...)
}

func (d *drawer) mask(p float64, shape ...int) *tensor.Tensor {
	t := tensor.New(tensor.Bool, shape...)
	for i := range tensor.Data[bool](t) {
		tensor.Data[bool](t)[i] = d.r.Float64() < p
	}
	return t
}

// moeShape are the sizes of a MoE and which optional parts it has.
type moeShape struct {
	lead                       []int
	e, d, g, dv                int
	selBias, bias, out, o      bool
	up, upBias, shared, logits bool
}

// moeCase draws a MoE.
func moeCase(name string, seed uint64, s moeShape, change func(*ops.MoEAttrs)) *familyCase {
	table := ops.NewTable()
	op := table.Lookup(ir.DomainMoec, "MoE")
	a := op.Attrs().(*ops.MoEAttrs)
	change(a)
	d := newDrawer(seed)
	in := make([]*tensor.Tensor, op.MaxIn)
	rows := func(tail ...int) []int { return append(append([]int(nil), s.lead...), tail...) }
	when := func(yes bool, i int, shape ...int) {
		if yes {
			in[i] = d.normal(shape...)
		}
	}
	in[ops.MoEInX] = d.normal(rows(s.d)...)
	in[ops.MoEInW1], in[ops.MoEInW2] = d.normal(s.e, s.d, s.g), d.normal(s.e, s.g, s.dv)
	when(!s.logits, ops.MoEInSel, s.e, s.d)
	when(s.logits, ops.MoEInLogits, rows(s.e)...)
	when(s.selBias, ops.MoEInSelBias, s.e)
	when(s.bias, ops.MoEInBias, s.e, s.g)
	when(s.out, ops.MoEInOutBias, s.e, s.dv)
	when(s.o, ops.MoEInOBias, s.dv)
	when(s.up, ops.MoEInUp, s.e, s.d, s.g)
	when(s.upBias, ops.MoEInUpBias, s.e, s.g)
	when(s.shared, ops.MoEInSharedW1, s.d, s.g+1)
	when(s.shared, ops.MoEInSharedB1, s.g+1)
	when(s.shared, ops.MoEInSharedW2, s.g+1, s.dv)
	when(s.shared && s.up, ops.MoEInSharedUp, s.d, s.g+1)
	when(s.shared && s.upBias, ops.MoEInSharedUpB, s.g+1)
	return &familyCase{
		name: name, op: "moec::MoE", attrs: a, ins: in, outs: []int{ops.MoEOutY},
		tokens: []int{ops.MoEInX, ops.MoEInLogits, ops.MoEInNoise, ops.MoEInExpertDrop, ops.MoEInInnerKeep, ops.MoEInSelect},
	}
}

// familyCases sweep the family: gates, selections, biases, odd shapes, ranks 1 to 4, no
// tokens and one, all experts, one expert, training inputs, every output.
func familyCases() []*familyCase {
	var cases []*familyCase
	add := func(c *familyCase) *familyCase { cases = append(cases, c); return c }
	gates := []ops.Gate{
		ops.GateSigmoid, ops.GateSoftmaxBefore, ops.GateSoftmaxAfter, ops.GateSinkhorn, ops.GateSinkhornTrue,
		ops.GateSwitch, ops.GateNoisyTopK, ops.GateNone,
	}
	acts := []ops.Activation{ops.ActReLU, ops.ActGELU, ops.ActGELUTanh, ops.ActSiLU, ops.ActIdentity}
	plain := moeShape{lead: []int{2, 3}, e: 5, d: 7, g: 4, dv: 7}
	full := moeShape{lead: []int{5}, e: 6, d: 5, g: 3, dv: 9, selBias: true, bias: true, out: true, o: true, shared: true}
	for i, gate := range gates {
		seed := uint64(100 * (i + 1))
		with := func(change func(*ops.MoEAttrs)) func(*ops.MoEAttrs) {
			return func(a *ops.MoEAttrs) {
				a.Gate, a.K, a.Activation = gate, 2, acts[i%len(acts)]
				if change != nil {
					change(a)
				}
			}
		}
		name := "moe_" + string(gate)
		add(moeCase(name, seed, plain, with(nil)))
		add(moeCase(name+"_full", seed+1, full, with(nil)))
		thr := add(moeCase(name+"_threshold", seed+2, full, with(func(a *ops.MoEAttrs) {
			a.Selection, a.Threshold, a.MinK, a.MaxK = ops.SelectThreshold, 0.3, 1, 4
		})))
		thr.outs = []int{ops.MoEOutY, ops.MoEOutIndices, ops.MoEOutGates, ops.MoEOutCount}
		all := add(moeCase(name+"_outputs", seed+3, plain, with(func(a *ops.MoEAttrs) { a.Training = true })))
		for o := 1; o <= ops.MoEOutLoadVector; o++ {
			all.outs = append(all.outs, o)
		}
		drop := add(moeCase(name+"_dropout", seed+4, plain, with(func(a *ops.MoEAttrs) { a.Dropout = 0.25 })))
		d := newDrawer(seed + 5)
		drop.ins[ops.MoEInExpertDrop] = d.mask(0.4, 2, 3, 5)
		drop.ins[ops.MoEInInnerKeep] = d.mask(0.75, 2, 3, 2, 4)
		drop.outs = []int{ops.MoEOutY, ops.MoEOutGates, ops.MoEOutCount, ops.MoEOutSwitch}
	}
	for i, act := range acts {
		s := plain
		s.up, s.upBias, s.bias, s.shared = true, i%2 == 0, i%2 == 1, i%2 == 0
		add(moeCase("moe_gated_"+string(act), uint64(2000+i), s, func(a *ops.MoEAttrs) { a.K, a.Activation = 2, act }))
	}
	for i, s := range []moeShape{
		{lead: []int{}, e: 3, d: 4, g: 2, dv: 4},
		{lead: []int{0}, e: 3, d: 4, g: 2, dv: 4, bias: true},
		{lead: []int{2, 0}, e: 3, d: 4, g: 2, dv: 4},
		{lead: []int{1}, e: 1, d: 1, g: 1, dv: 1, out: true},
		{lead: []int{1, 1}, e: 9, d: 33, g: 17, dv: 33, selBias: true},
		{lead: []int{2, 1, 3}, e: 4, d: 6, g: 1, dv: 6, o: true},
		{lead: []int{17}, e: 8, d: 12, g: 5, dv: 12, logits: true, selBias: true},
	} {
		add(moeCase(fmt.Sprintf("moe_shape%d", i), uint64(3000+i), s, func(a *ops.MoEAttrs) { a.K = 3 }))
		add(moeCase(fmt.Sprintf("moe_shape%d_softmax", i), uint64(3000+i), s, func(a *ops.MoEAttrs) { a.K, a.Gate = 2, ops.GateSoftmaxAfter }))
	}
	none := add(moeCase("moe_no_tokens_outputs", 3100, moeShape{lead: []int{0}, e: 3, d: 4, g: 2, dv: 4}, func(*ops.MoEAttrs) {}))
	for o := 1; o <= ops.MoEOutLoadVector; o++ {
		none.outs = append(none.outs, o)
	}
	for i, load := range []ops.LoadOver{ops.LoadLogits, ops.LoadProbs} {
		c := add(moeCase("moe_noise_"+string(load), uint64(3200+i), plain, func(a *ops.MoEAttrs) {
			a.Gate, a.K, a.LoadOver, a.NoiseEps, a.GateEps, a.CVUnbiased = ops.GateNoisyTopK, 2, load, 0.01, 1e-6, i == 1
		}))
		d := newDrawer(uint64(3210 + i))
		c.ins[ops.MoEInNoiseW], c.ins[ops.MoEInNoise] = d.normal(5, 7), d.normal(2, 3, 5)
		c.outs = []int{ops.MoEOutY, ops.MoEOutGates, ops.MoEOutImportance, ops.MoEOutLoad, ops.MoEOutLoadVector}
	}
	slots := add(moeCase("moe_entropy_slots", 3300, plain, func(a *ops.MoEAttrs) { a.K, a.EntropyOver = 3, ops.EntropySlots }))
	slots.outs = []int{ops.MoEOutY, ops.MoEOutEntropy}
	replay := add(moeCase("moe_select", 3400, plain, func(a *ops.MoEAttrs) { a.K = 2 }))
	replay.ins[ops.MoEInSelect] = tensor.Of([]int64{0, 1, 4, 3, 2, 0, 1, 4, 3, 2, 0, 4}, 2, 3, 2)
	cases = append(cases, pkmCases()...)
	return append(cases, layerCases(acts)...)
}

func pkmCases() []*familyCase {
	var cases []*familyCase
	for i, w := range []ops.Weighting{"relu", ops.WeightSoftmax, ops.WeightSoftmaxHead, "gelu", "identity"} {
		for j, s := range []struct {
			lead         []int
			h, n1, n2, d int
			knn          int64
			proj, biases bool
		}{
			{[]int{2, 3}, 1, 5, 5, 6, 3, false, false},
			{[]int{4}, 3, 4, 7, 8, 5, true, true},
			{[]int{0}, 2, 4, 3, 4, 2, false, false},
			{[]int{}, 2, 4, 3, 4, 2, true, false},
			{[]int{1, 2, 2}, 2, 3, 3, 6, 4, false, true},
			{[]int{3}, 2, 2, 6, 6, 4, false, true},
			{[]int{3}, 2, 3, 4, 6, 0, false, false},
			{[]int{1}, 1, 1, 1, 2, 1, false, false},
		} {
			d := newDrawer(uint64(5000 + 10*i + j))
			half, dv := s.d/2, 5
			ins := make([]*tensor.Tensor, 9)
			width := s.d
			if s.proj {
				width = s.d + 3
				ins[ops.PKMInQuery] = d.normal(s.h*s.d, width)
				ins[ops.PKMInQueryBias] = d.normal(s.h * s.d)
			}
			ins[ops.PKMInX] = d.normal(append(append([]int(nil), s.lead...), width)...)
			ins[ops.PKMInKeys0], ins[ops.PKMInKeys1] = d.normal(s.h, s.n1, half), d.normal(s.h, s.n2, s.d-half)
			ins[ops.PKMInValues] = d.normal(s.n1*s.n2, dv)
			if s.biases {
				ins[ops.PKMInKeyBias0], ins[ops.PKMInKeyBias1], ins[ops.PKMInB2] = d.normal(s.h, s.n1), d.normal(s.h, s.n2), d.normal(dv)
			}
			cases = append(cases, &familyCase{
				name: fmt.Sprintf("pkm_%s_%d", w, j), op: "moec::PKM", attrs: &ops.PKMAttrs{KNN: s.knn, Weighting: w},
				ins: ins, tokens: []int{0}, outs: []int{ops.PKMOutY, ops.PKMOutIndices, ops.PKMOutScores},
			})
		}
	}
	return cases
}

// typedCases are a few layers in every element type.
func typedCases() []*familyCase {
	var cases []*familyCase
	for _, dt := range []tensor.DType{tensor.F64, tensor.F16, tensor.BF16} {
		for i, c := range []*familyCase{
			moeCase("moe", 9000, moeShape{lead: []int{3, 2}, e: 4, d: 5, g: 3, dv: 4, selBias: true, bias: true, out: true, o: true, shared: true, up: true}, func(a *ops.MoEAttrs) {
				a.K, a.Activation = 2, ops.ActSiLU
			}),
			moeCase("softmax", 9001, moeShape{lead: []int{4}, e: 4, d: 5, g: 3, dv: 4}, func(a *ops.MoEAttrs) { a.K, a.Gate = 2, ops.GateSoftmaxAfter }),
			pkmCases()[1], layerCases([]ops.Activation{ops.ActGELU})[0], layerCases([]ops.Activation{ops.ActGELUTanh})[1], layerCases([]ops.Activation{ops.ActReLU})[2],
		} {
			typed := *c
			typed.name = fmt.Sprintf("%s_%s_%d", c.name, dt, i)
			typed.outs = []int{0}
			typed.ins = make([]*tensor.Tensor, len(c.ins))
			for j, x := range c.ins {
				if x == nil || x.DType() != tensor.F32 {
					typed.ins[j] = x
					continue
				}
				typed.ins[j] = castTo(x, dt)
			}
			cases = append(cases, &typed)
		}
	}
	return cases
}

// castTo rounds an f32 tensor to another float type.
func castTo(x *tensor.Tensor, dt tensor.DType) *tensor.Tensor {
	t := tensor.New(dt, x.Shape()...)
	for i, v := range tensor.Data[float32](x) {
		switch dt {
		case tensor.F64:
			tensor.Data[float64](t)[i] = float64(v)
		case tensor.F16:
			tensor.Data[tensor.Float16](t)[i] = tensor.ToFloat16(v)
		case tensor.BF16:
			tensor.Data[tensor.BFloat16](t)[i] = tensor.ToBFloat16(v)
		}
	}
	return t
}

// layerCases are MLP, GatedMLP and TopKMLP.
func layerCases(acts []ops.Activation) []*familyCase {
	var cases []*familyCase
	for i, act := range acts {
		for j, lead := range [][]int{{2, 3}, {}, {0}, {1}, {2, 1, 2}} {
			d := newDrawer(uint64(7000 + 10*i + j))
			in, f, dv := 5, 8, 3
			x := d.normal(append(append([]int(nil), lead...), in)...)
			w1, wu, w2, b1, bu, b2 := d.normal(in, f), d.normal(in, f), d.normal(f, dv), d.normal(f), d.normal(f), d.normal(dv)
			if j%2 == 1 {
				b1, bu = nil, nil
			}
			name := fmt.Sprintf("%s_%d", act, j)
			cases = append(cases,
				&familyCase{name: "mlp_" + name, op: "moec::MLP", attrs: &ops.MLPAttrs{Activation: act}, ins: []*tensor.Tensor{x, w1, w2, b1, b2}, tokens: []int{0}, outs: []int{0}},
				&familyCase{name: "gated_" + name, op: "moec::GatedMLP", attrs: &ops.GatedMLPAttrs{Activation: act}, ins: []*tensor.Tensor{x, w1, wu, w2, b1, bu, b2}, tokens: []int{0}, outs: []int{0}},
				&familyCase{
					name: "topk_" + name, op: "moec::TopKMLP", ins: []*tensor.Tensor{x, w1, w2, b1, b2}, tokens: []int{0}, outs: []int{0, 1},
					attrs: &ops.TopKMLPAttrs{Activation: act, K: int64(3 + 4*(j%2)), UseNorm: i%2 == 0, Magnitude: j == 0},
				})
		}
	}
	d := newDrawer(8000)
	cases = append(cases, &familyCase{
		name: "topk_dropout", op: "moec::TopKMLP", attrs: &ops.TopKMLPAttrs{Activation: ops.ActReLU, K: 2, Dropout: 0.3},
		ins: []*tensor.Tensor{d.normal(4, 5), d.normal(5, 8), d.normal(8, 3), nil, nil, d.mask(0.7, 4, 8)}, tokens: []int{0, 5}, outs: []int{0, 1},
	})
	return cases
}
