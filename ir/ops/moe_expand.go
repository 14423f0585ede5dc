package ops

import (
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// moeExpander writes a MoE in standard ops. Values have one row per token.
type moeExpander struct {
	*ffExpander
	a                     *MoEAttrs
	experts, d, units, dv int
	slots                 int
	tokens                *ir.Value // x as [tokens, D]
	clean, logits         *ir.Value // [tokens, E]
	sd                    *ir.Value // [tokens, E], absent without noise
	score, rank           *ir.Value // [tokens, E]
	drop                  *ir.Value // bool [tokens, E], absent without expert dropout
	index, gate, picked   *ir.Value // [tokens, slots]; picked is bool, absent when all slots are
}

func newMoEExpander(g *ir.Graph, n *ir.Node) *moeExpander {
	e := &moeExpander{ffExpander: newFFExpander(g, n), a: n.Attrs.(*MoEAttrs)}
	w1, w2 := e.sizes(MoEInW1), e.sizes(MoEInW2)
	e.experts, e.d, e.units, e.dv = w1[0], w1[1], w1[2], w2[2]
	e.slots = e.a.Slots(e.experts)
	e.tokens = e.rows(e.x, e.d)
	return e
}

func expandMoE(body Body, g *ir.Graph, n *ir.Node) ([]*ir.Value, error) {
	e := newMoEExpander(g, n)
	e.setLogits()
	e.setScores()
	e.selectExperts()
	e.setGates()
	if e.err != nil {
		return nil, e.err
	}
	var y *ir.Value
	if body == BodyGather {
		y = e.gathered()
	} else {
		y = e.masked()
	}
	outs := make([]*ir.Value, len(n.Outputs))
	outs[MoEOutY] = e.lead(e.plus(e.plus(y, e.shared()), e.in(MoEInOBias)), e.dv)
	e.outputs(outs)
	return outs, e.err
}

func (e *moeExpander) setLogits() {
	if given := e.in(MoEInLogits); given != nil {
		e.clean = e.rows(given, e.experts)
	} else {
		e.clean = e.bin("MatMul", e.tokens, e.un("Transpose", e.in(MoEInSel)))
	}
	e.clean = e.plus(e.clean, e.in(MoEInSelBias))
	e.logits = e.clean
	if noise := e.in(MoEInNoise); noise != nil && e.a.Gate == GateNoisyTopK {
		e.sd = e.un("Softplus", e.bin("MatMul", e.tokens, e.un("Transpose", e.in(MoEInNoiseW))))
		e.sd = e.bin("Add", e.sd, e.num(decimal(e.a.NoiseEps)))
		e.logits = e.bin("Add", e.clean, e.bin("Mul", e.rows(noise, e.experts), e.sd))
	}
	if m := e.in(MoEInExpertDrop); m != nil {
		e.drop = e.mask(e.rows(m, e.experts))
	}
}

func (e *moeExpander) setScores() {
	e.score, e.rank = e.logits, e.logits
	switch e.a.Gate {
	case GateSigmoid:
		e.score = e.un("Sigmoid", e.logits)
	case GateSoftmaxBefore, GateSwitch:
		e.score = e.un("Softmax", e.logits, "axis", int64(-1))
	case GateSinkhorn, GateSinkhornTrue:
		if e.a.Training {
			e.rank = e.sinkhorn()
			e.score = e.un("Exp", e.rank)
		}
	}
}

// sinkhorn is the logarithm of the sinkhorn matrix, iterations written out.
func (e *moeExpander) sinkhorn() *ir.Value {
	x := e.logits
	if e.x.Type.Rank() > 2 {
		x = e.lead(x, e.experts)
	}
	log := func(axis int64) *ir.Value { // of the size of an axis, [1]
		size := e.op("Shape", []*ir.Value{x}, "start", axis)
		if axis == -2 {
			size = e.op("Shape", []*ir.Value{x}, "start", axis, "end", int64(-1))
		}
		return e.un("Log", e.un("Cast", size, "to", e.dt))
	}
	rowSum, colSum, sign := log(-2), log(-1), "Sub"
	if e.a.Gate == GateSinkhornTrue {
		rowSum, colSum, sign = colSum, rowSum, "Add"
	}
	col, row := e.num(0), e.num(0)
	for range e.a.SinkhornIters {
		row = e.bin("Sub", rowSum, e.reduce("ReduceLogSumExp", e.bin(sign, x, col), true, -1))
		col = e.bin("Sub", colSum, e.reduce("ReduceLogSumExp", e.bin(sign, x, row), true, -2))
	}
	return e.rows(e.bin("Add", e.bin("Add", row, col), x), e.experts)
}

func (e *moeExpander) at(v *ir.Value) *ir.Value { // v at the slots' experts
	return e.bin("GatherElements", v, e.index, "axis", int64(1))
}

func (e *moeExpander) selectExperts() {
	if replay := e.in(MoEInSelect); replay != nil {
		e.index = e.rows(replay, e.slots)
	} else {
		rank := e.rank
		if e.drop != nil {
			rank = e.where(e.drop, e.num(negInf), rank)
		}
		e.index = e.many("TopK", 2, []*ir.Value{rank, e.ints(int64(e.slots))}, "axis", int64(1))[1]
		if e.a.Selection == SelectThreshold {
			floor := make([]bool, e.slots)
			for k := range floor {
				floor[k] = int64(k) < e.a.MinK
			}
			e.picked = e.bin("GreaterOrEqual", e.at(e.score), e.num(decimal(e.a.Threshold)))
			e.picked = e.bin("Or", e.picked, e.g.NewConst("", tensor.Of(floor, e.slots)))
		}
	}
	if e.drop != nil {
		kept := e.un("Not", e.at(e.drop))
		if e.picked != nil {
			kept = e.bin("And", kept, e.picked)
		}
		e.picked = kept
	}
}

func (e *moeExpander) setGates() {
	l, off := e.at(e.logits), func(v *ir.Value, x float64) *ir.Value {
		if e.picked == nil {
			return v
		}
		return e.where(e.picked, v, e.num(x))
	}
	switch e.a.Gate {
	case GateSigmoid, GateSinkhorn, GateSinkhornTrue:
		e.gate = e.un("Sigmoid", l)
	case GateSoftmaxBefore, GateSwitch:
		e.gate = e.at(e.score)
	case GateSoftmaxAfter:
		e.gate = e.un("Softmax", off(l, negInf), "axis", int64(1))
	case GateNoisyTopK:
		p := off(e.at(e.un("Softmax", e.logits, "axis", int64(1))), 0)
		e.gate = e.bin("Div", p, e.bin("Add", e.reduce("ReduceSum", p, true, 1), e.num(decimal(e.a.GateEps))))
	case GateNone:
		e.gate = e.filled(e.un("Shape", e.index), 1)
	}
	e.gate = off(e.gate, 0)
}

// perExpert spreads a value per slot over the experts, [tokens, E], 0 where not selected.
func (e *moeExpander) perExpert(v *ir.Value) *ir.Value {
	if e.err != nil {
		return v
	}
	zeros := e.filled(e.un("Shape", e.logits), 0)
	return e.op("ScatterElements", []*ir.Value{zeros, e.index, v}, "axis", int64(1))
}

// masked computes all experts for all tokens, hidden units as one wide layer.
func (e *moeExpander) masked() *ir.Value {
	column := func(v *ir.Value) *ir.Value { return e.bin("Unsqueeze", v, e.ints(1)) }
	layer := func(w, b *ir.Value) *ir.Value { // [E, tokens, G]
		h := e.bin("MatMul", e.bin("Unsqueeze", e.tokens, e.ints(0)), w)
		if b != nil {
			h = e.bin("Add", h, column(b))
		}
		return h
	}
	h := e.act(e.a.Activation, layer(e.in(MoEInW1), e.in(MoEInBias)))
	if up := e.in(MoEInUp); up != nil {
		h = e.bin("Mul", h, layer(up, e.in(MoEInUpBias)))
	}
	gates := e.perExpert(e.gate)
	g := e.bin("Unsqueeze", gates, e.ints(2)) // [tokens, E, 1]
	h = e.un("Transpose", h, "perm", []int64{1, 0, 2})
	if keep := e.in(MoEInInnerKeep); keep != nil {
		h = e.dropped(h, e.keptUnits(keep), e.a.Dropout)
	}
	// Not 0 * h: an expert that is off must not matter, even where it overflows.
	h = e.where(e.bin("Equal", g, e.num(0)), e.num(0), e.bin("Mul", h, g))
	wide := int64(e.experts * e.units)
	y := e.bin("MatMul", e.bin("Reshape", h, e.ints(-1, wide)), e.bin("Reshape", e.in(MoEInW2), e.ints(wide, int64(e.dv))))
	if b := e.in(MoEInOutBias); b != nil {
		y = e.bin("Add", y, e.bin("MatMul", gates, b))
	}
	return y
}

// keptUnits spreads the mask of units by slot over the experts, bool [tokens, E, G].
func (e *moeExpander) keptUnits(keep *ir.Value) *ir.Value {
	if e.err != nil {
		return keep
	}
	units := func(v *ir.Value) *ir.Value { // the shape of v with the units behind it
		return e.op("Concat", []*ir.Value{e.un("Shape", v), e.ints(int64(e.units))}, "axis", int64(0))
	}
	at := e.bin("Expand", e.bin("Unsqueeze", e.index, e.ints(2)), units(e.index))
	bySlot := e.un("Cast", e.mask(e.rows(keep, e.slots, e.units)), "to", e.dt)
	spread := e.op("ScatterElements", []*ir.Value{e.filled(units(e.logits), 0), at, bySlot}, "axis", int64(1))
	return e.un("Cast", spread, "to", tensor.Bool)
}

// gathered computes the selected experts from copies of their weights.
func (e *moeExpander) gathered() *ir.Value {
	take := func(i int) *ir.Value { return e.bin("Gather", e.in(i), e.index, "axis", int64(0)) }
	x := e.bin("Unsqueeze", e.tokens, e.ints(1, 2)) // [tokens, 1, 1, D]
	layer := func(w, b int) *ir.Value {             // [tokens, slots, 1, G]
		h := e.bin("MatMul", x, take(w))
		if e.in(b) != nil {
			h = e.bin("Add", h, e.bin("Unsqueeze", take(b), e.ints(2)))
		}
		return h
	}
	h := e.act(e.a.Activation, layer(MoEInW1, MoEInBias))
	if e.in(MoEInUp) != nil {
		h = e.bin("Mul", h, layer(MoEInUp, MoEInUpBias))
	}
	if keep := e.in(MoEInInnerKeep); keep != nil {
		h = e.dropped(h, e.bin("Unsqueeze", e.rows(keep, e.slots, e.units), e.ints(2)), e.a.Dropout)
	}
	out := e.bin("MatMul", h, take(MoEInW2)) // [tokens, slots, 1, Dv]
	if e.in(MoEInOutBias) != nil {
		out = e.bin("Add", out, e.bin("Unsqueeze", take(MoEInOutBias), e.ints(2)))
	}
	g := e.bin("Unsqueeze", e.gate, e.ints(2, 3))
	out = e.where(e.bin("Equal", g, e.num(0)), e.num(0), e.bin("Mul", out, g))
	return e.reduce("ReduceSum", out, false, 1, 2)
}

// shared are the experts that are always on; absent when there are none.
func (e *moeExpander) shared() *ir.Value {
	if e.in(MoEInSharedW1) == nil {
		return nil
	}
	h := e.act(e.a.Activation, e.linear(e.tokens, e.in(MoEInSharedW1), e.in(MoEInSharedB1)))
	if up := e.in(MoEInSharedUp); up != nil {
		h = e.bin("Mul", h, e.linear(e.tokens, up, e.in(MoEInSharedUpB)))
	}
	return e.bin("MatMul", h, e.in(MoEInSharedW2))
}
