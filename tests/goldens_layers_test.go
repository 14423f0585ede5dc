package tests

import (
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/passes/ffinit"
)

// full reports whether the authors' full repository made the case, not their plug-in layer.
func (c *golden) full() bool { return strings.HasPrefix(c.Impl, "moe repo") }

// gate maps the authors' selection modes; "gate" is softmax in the full repository.
func (c *golden) gate(t *testing.T) ops.Gate {
	h := &c.Hyper
	switch h.SelectionMode {
	case "sigmoid":
		return ops.GateSigmoid
	case "softmax", "gate":
		switch {
		case h.AfterTopK:
			return ops.GateSoftmaxAfter
		case h.Reg == "switch":
			return ops.GateSwitch
		}
		return ops.GateSoftmaxBefore
	case "sinkmoid", "sinkmoid2":
		return ops.GateSinkhorn
	}
	c.unsupported(t, "selection_mode", h.SelectionMode)
	return ""
}

func moeNode(gg *goldenGraph, a *ops.MoEAttrs, ins map[int]*ir.Value, outs ...int) map[int]*ir.Value {
	op := gg.g.Op("moec::MoE")
	in := make([]*ir.Value, op.MaxIn)
	for i, v := range ins {
		in[i] = v
	}
	n := gg.g.Add(op, a, in, make([]string, op.MaxOut)...)
	m := map[int]*ir.Value{}
	for _, i := range outs {
		m[i] = n.Outputs[i]
	}
	return m
}

func (c *golden) moeAttrs(t *testing.T, op *ir.Op) *ops.MoEAttrs {
	h := &c.Hyper
	a := op.Attrs().(*ops.MoEAttrs)
	a.Gate, a.K, a.Training, a.Dropout = c.gate(t), h.K, h.Training, h.Dropout
	if h.SinkhornIters > 0 {
		a.SinkhornIters = h.SinkhornIters
	}
	switch h.Activation {
	case "relu", "gelu":
		a.Activation = ops.Activation(h.Activation)
	default:
		c.unsupported(t, "activation", h.Activation)
	}
	// The full repository's entropy of the gate after top-K is over the slots.
	if c.full() && h.AfterTopK && h.SelectionMode == "gate" {
		a.EntropyOver = ops.EntropySlots
	}
	return a
}

// goldenMoE is one layer. Its own choice of experts is checked by one node; a second one
// replays the authors' order of slots, which inner dropout and the slot entropy depend on.
func goldenMoE(t *testing.T, c *golden) *goldenGraph {
	gg := newGolden(c)
	a := c.moeAttrs(t, gg.g.Op("moec::MoE"))
	ins := map[int]*ir.Value{ops.MoEInX: gg.input("x", c.T["x"])}
	for i, name := range map[int]string{
		ops.MoEInSel: "p.expert_sel", ops.MoEInSelBias: "p.sel_bias", ops.MoEInW1: "p.keys", ops.MoEInW2: "p.values",
		ops.MoEInBias: "p.bias", ops.MoEInOBias: "p.o_bias",
	} {
		ins[i] = gg.constant(name, c.T[name])
	}
	if m := c.T["aux.expert_drop_mask"]; m != nil {
		ins[ops.MoEInExpertDrop] = gg.input("drop", m)
	}
	free := moeNode(gg, a, ins, ops.MoEOutIndices, ops.MoEOutLogits, ops.MoEOutScores, ops.MoEOutY)
	sel := c.T["aux.sel_index"]
	ins[ops.MoEInSelect] = gg.input("select", sel)
	if m := c.T["aux.dropout_keep"]; m != nil {
		ins[ops.MoEInInnerKeep] = gg.input("keep", m)
	}
	replayed := moeNode(gg, a, ins, ops.MoEOutY, ops.MoEOutEntropy, ops.MoEOutSwitch)

	k := lastDim(sel)
	gg.expect(free[ops.MoEOutIndices], check{what: "selection", of: sortedRowsOf(t, k), want: sortedRows(c.floats(t, "aux.sel_index"), k), exact: true})
	gg.expect(free[ops.MoEOutLogits], check{what: "logits", want: c.floats(t, "aux.logits")})
	if c.T["aux.sinkhorn"] != nil {
		gg.expect(free[ops.MoEOutScores], check{what: "sinkhorn", want: c.floats(t, "aux.sinkhorn")})
	}
	if ins[ops.MoEInInnerKeep] == nil {
		gg.expect(free[ops.MoEOutY], check{what: "y of own selection", want: c.floats(t, "y")})
	}
	gg.expect(replayed[ops.MoEOutY], check{what: "y", want: c.floats(t, "y")})
	c.expectReg(t, gg, c.full(), replayed[ops.MoEOutEntropy], replayed[ops.MoEOutSwitch])
	return gg
}

// expectReg: the plug-in layer returns the regulariser without its coefficient, the full
// repository with it and in training only.
func (c *golden) expectReg(t *testing.T, gg *goldenGraph, full bool, entropy, balance *ir.Value) {
	h, want := &c.Hyper, c.floats(t, "reg")
	coef, reg := 1.0, entropy
	if full {
		coef = h.RegCoef
	}
	switch h.Reg {
	case "entropy":
	case "switch":
		reg = balance
	default:
		c.unsupported(t, "reg", h.Reg)
	}
	if full && !h.Training {
		coef = 0
	}
	gg.expect(reg, check{what: "reg", want: want, of: func(out *tensor.Tensor) []float64 {
		v, err := out.Float64s()
		if err != nil {
			t.Fatal(err)
		}
		return []float64{v[0] * coef}
	}})
}

// goldenTrajectory holds the loss before the first step; the steps are for training.
func goldenTrajectory(t *testing.T, c *golden) *goldenGraph {
	gg, h := newGolden(c), &c.Hyper
	a := gg.g.Op("moec::MoE").Attrs().(*ops.MoEAttrs)
	a.K = h.K
	outs := moeNode(gg, a, map[int]*ir.Value{
		ops.MoEInX: gg.input("x", c.T["x"]), ops.MoEInSel: gg.constant("sel", c.T["p.expert_sel"]),
		ops.MoEInW1: gg.constant("w1", c.T["p.keys"]), ops.MoEInW2: gg.constant("w2", c.T["p.values"]),
	}, ops.MoEOutY, ops.MoEOutEntropy)
	mse, target := 0.0, c.floats(t, "target")
	gg.expect(outs[ops.MoEOutY], check{what: "y", of: func(out *tensor.Tensor) []float64 {
		y, err := out.Float64s()
		if err != nil {
			t.Fatal(err)
		}
		mse = 0
		for i := range y {
			mse += (y[i] - target[i]) * (y[i] - target[i]) / float64(len(y))
		}
		return nil
	}})
	gg.expect(outs[ops.MoEOutEntropy], check{what: "first loss", want: c.floats(t, "losses")[:1], of: func(out *tensor.Tensor) []float64 {
		reg, err := out.Float64s()
		if err != nil {
			t.Fatal(err)
		}
		return []float64{mse + h.RegCoef*reg[0]}
	}})
	return gg
}

// goldenNoisy is a gate alone: the experts behind it are one unit of weight 0.
func goldenNoisy(t *testing.T, c *golden) *goldenGraph {
	gg, h := newGolden(c), &c.Hyper
	a := gg.g.Op("moec::MoE").Attrs().(*ops.MoEAttrs)
	a.Gate, a.K, a.NoiseEps, a.GateEps, a.CVEps, a.CVUnbiased = ops.GateNoisyTopK, h.K, h.NoiseEps, h.RenormEps, h.CVEps, h.CVUnbiased
	a.LoadOver = ops.LoadProbs
	x, e := c.T["x"], c.T["p.w_gate"].Shape()[1]
	ins := map[int]*ir.Value{
		ops.MoEInX: gg.input("x", x), ops.MoEInSel: gg.constant("sel", transposed(c.T["p.w_gate"])),
		ops.MoEInW1:     gg.constant("w1", tensor.New(x.DType(), e, lastDim(x), 1)),
		ops.MoEInW2:     gg.constant("w2", tensor.New(x.DType(), e, 1, 1)),
		ops.MoEInNoiseW: gg.constant("noise_w", transposed(c.T["p.w_noise"])),
	}
	if h.Training {
		ins[ops.MoEInNoise] = gg.input("noise", c.T["aux.noise"])
	}
	outs := moeNode(gg, a, ins, ops.MoEOutIndices, ops.MoEOutGates, ops.MoEOutLoadVector, ops.MoEOutImportance, ops.MoEOutLoad)
	var index []int64
	gg.expect(outs[ops.MoEOutIndices], check{what: "indices", of: func(out *tensor.Tensor) []float64 {
		index = append([]int64(nil), tensor.Data[int64](out)...)
		return nil
	}})
	gg.expect(outs[ops.MoEOutGates], check{what: "gates", want: c.floats(t, "gates"), of: func(out *tensor.Tensor) []float64 {
		v, err := out.Float64s()
		if err != nil {
			t.Fatal(err)
		}
		k, dense := lastDim(out), make([]float64, len(v)/lastDim(out)*e)
		for i, g := range v {
			dense[i/k*e+int(index[i])] = g
		}
		return dense
	}})
	gg.expect(outs[ops.MoEOutLoadVector], check{what: "load", want: c.floats(t, "load")})
	importance := 0.0
	gg.expect(outs[ops.MoEOutImportance], check{what: "importance", of: func(out *tensor.Tensor) []float64 {
		v, err := out.Float64s()
		if err != nil {
			t.Fatal(err)
		}
		importance = v[0]
		return nil
	}})
	gg.expect(outs[ops.MoEOutLoad], check{what: "balance_loss", want: c.floats(t, "balance_loss"), of: func(out *tensor.Tensor) []float64 {
		v, err := out.Float64s()
		if err != nil {
			t.Fatal(err)
		}
		return []float64{importance + v[0]}
	}})
	return gg
}

// pkmNode adds a PKM with the given inputs and all outputs.
func pkmNode(gg *goldenGraph, a *ops.PKMAttrs, ins ...*ir.Value) []*ir.Value {
	return gg.g.Add(gg.g.Op("moec::PKM"), a, ins, "", "", "").Outputs
}

func goldenPKM(t *testing.T, c *golden) *goldenGraph {
	gg, h := newGolden(c), &c.Hyper
	if h.HeadMergeTopK {
		c.unsupported(t, "head_merge_topk", true)
	}
	p := func(name string) *ir.Value { return gg.constant(name, c.T["p."+name]) }
	outs := pkmNode(gg, &ops.PKMAttrs{KNN: h.KNN, Weighting: ops.Weighting(h.Activation)}, gg.input("x", c.T["x"]),
		p("keys.0"), p("keys.1"), p("values.weight"), p("query_proj.weight"), p("query_proj.bias"))
	gg.expect(outs[ops.PKMOutY], check{what: "y", want: c.floats(t, "y")})
	if c.T["aux.indices"] == nil {
		return gg
	}
	// Heads select sets: both sides are put into the order of the indices.
	k := lastDim(c.T["aux.indices"])
	var index []float64
	byIndex := func(index, v []float64) []float64 {
		out := make([]float64, len(v))
		for i := 0; i < len(v); i += k {
			for j := range k {
				at := i
				for l := range k {
					if index[i+l] < index[i+j] {
						at++
					}
				}
				out[at] = v[i+j]
			}
		}
		return out
	}
	wantIndex := c.floats(t, "aux.indices")
	gg.expect(outs[ops.PKMOutIndices], check{what: "indices", want: byIndex(wantIndex, wantIndex), exact: true, of: func(out *tensor.Tensor) []float64 {
		var err error
		if index, err = out.Float64s(); err != nil {
			t.Fatal(err)
		}
		return byIndex(index, index)
	}})
	gg.expect(outs[ops.PKMOutScores], check{what: "scores", want: byIndex(wantIndex, c.floats(t, "aux.scores")), of: func(out *tensor.Tensor) []float64 {
		v, err := out.Float64s()
		if err != nil {
			t.Fatal(err)
		}
		return byIndex(index, v)
	}})
	return gg
}

// goldenLample is the original product-key memory: keys [H,2,n,d/2], softmax per head.
func goldenLample(t *testing.T, c *golden) *goldenGraph {
	gg, keys := newGolden(c), c.T["p.keys"]
	s := keys.Shape()
	half := func(i int) *ir.Value {
		part, block := tensor.New(keys.DType(), s[0], s[2], s[3]), s[2]*s[3]*keys.DType().Size()
		for h := range s[0] {
			copy(part.Bytes()[h*block:(h+1)*block], keys.Bytes()[(2*h+i)*block:])
		}
		return gg.constant([]string{"keys0", "keys1"}[i], part)
	}
	p := func(name string) *ir.Value { return gg.constant(name, c.T["p."+name]) }
	outs := pkmNode(gg, &ops.PKMAttrs{KNN: c.Hyper.KNN, Weighting: ops.WeightSoftmaxHead}, gg.input("x", c.T["x"]),
		half(0), half(1), p("values.weight"), p("query_proj.0.weight"), p("query_proj.0.bias"))
	gg.expect(outs[ops.PKMOutY], check{what: "y", want: c.floats(t, "y")})
	return gg
}

func goldenTopK(t *testing.T, c *golden) *goldenGraph {
	gg, h := newGolden(c), &c.Hyper
	a := &ops.TopKMLPAttrs{Activation: ops.Activation(h.Activation), K: h.K, UseNorm: h.UseNorm, Dropout: h.Dropout}
	w := func(name string) *ir.Value { return gg.constant(name, transposed(c.T["p."+name])) }
	ins := []*ir.Value{
		gg.input("x", c.T["x"]), w("linear1.weight"), w("linear2.weight"),
		gg.constant("b1", c.T["p.linear1.bias"]), gg.constant("b2", c.T["p.linear2.bias"]), nil,
	}
	if m := c.T["aux.dropout_keep"]; m != nil {
		ins[ops.TopKInKeep] = gg.input("keep", m)
	}
	outs := gg.g.Add(gg.g.Op("moec::TopKMLP"), a, ins, "", "").Outputs
	gg.expect(outs[ops.TopKOutY], check{what: "y", want: c.floats(t, "y")})
	gg.expect(outs[ops.TopKOutHidden], check{what: "middle_after_topk", want: c.floats(t, "aux.middle_after_topk")})
	return gg
}

// goldenRenorm is an initialisation, not a graph.
func goldenRenorm(t *testing.T, c *golden) {
	got, err := ffinit.EqualRows(c.T["w_in"]).Float64s()
	if err != nil {
		t.Fatal(err)
	}
	c.hold(t, "w_out", got, c.floats(t, "w_out"), false)
}
