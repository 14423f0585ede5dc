package ops

import (
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// outputs writes what is asked for beyond y.
func (e *moeExpander) outputs(outs []*ir.Value) {
	for i, f := range []func() *ir.Value{
		MoEOutIndices:    func() *ir.Value { return e.lead(e.index, e.slots) },
		MoEOutGates:      func() *ir.Value { return e.lead(e.gate, e.slots) },
		MoEOutCount:      e.count,
		MoEOutLogits:     func() *ir.Value { return e.lead(e.clean, e.experts) },
		MoEOutScores:     func() *ir.Value { return e.lead(e.score, e.experts) },
		MoEOutEntropy:    e.entropy,
		MoEOutSwitch:     e.switchBalance,
		MoEOutImportance: func() *ir.Value { return e.variation(e.reduce("ReduceSum", e.perExpert(e.gate), false, 0)) },
		MoEOutLoad:       func() *ir.Value { return e.variation(e.load()) },
		MoEOutLoadVector: e.load,
	} {
		if f != nil && e.wants(i) && e.err == nil {
			outs[i] = f()
		}
	}
}

// ones is 1 for each slot that is selected and 0 for the others.
func (e *moeExpander) ones() *ir.Value {
	if e.picked == nil {
		return e.filled(e.un("Shape", e.index), 1)
	}
	return e.un("Cast", e.picked, "to", e.dt)
}

func (e *moeExpander) count() *ir.Value {
	n := e.reduce("ReduceSum", e.un("Cast", e.ones(), "to", tensor.I64), false, 1)
	return e.bin("Reshape", n, e.un("Shape", e.x, "end", int64(-1)), "allowzero", int64(1))
}

// size is the number of rows of v, [1].
func (e *moeExpander) size(v *ir.Value) *ir.Value {
	return e.un("Cast", e.un("Shape", v, "end", int64(1)), "to", e.dt)
}

// orZero is the scalar v, 0 when there are no tokens.
func (e *moeExpander) orZero(v *ir.Value) *ir.Value {
	none := e.bin("Equal", e.un("Shape", e.tokens, "end", int64(1)), e.ints(0))
	return e.bin("Squeeze", e.where(none, e.num(0), v), e.ints(0))
}

func (e *moeExpander) entropy() *ir.Value {
	l := e.clean
	if e.a.EntropyOver == EntropySlots {
		l = e.at(l)
	}
	m := e.reduce("ReduceLogSumExp", e.un("LogSoftmax", l, "axis", int64(1)), false, 0)
	m = e.bin("Sub", m, e.un("Log", e.size(l)))
	p := e.un("Exp", m)
	terms := e.where(e.bin("Equal", p, e.num(0)), e.num(0), e.bin("Mul", m, p))
	return e.orZero(e.reduce("ReduceSum", terms, true, 0))
}

func (e *moeExpander) switchBalance() *ir.Value {
	p := e.reduce("ReduceSum", e.un("Softmax", e.clean, "axis", int64(1)), false, 0)
	f := e.reduce("ReduceSum", e.perExpert(e.ones()), false, 0)
	total := e.bin("Max", e.reduce("ReduceSum", f, true, 0), e.num(1))
	sum := e.reduce("ReduceSum", e.bin("Mul", p, f), true, 0)
	n := e.bin("Mul", e.size(e.clean), e.num(float64(e.experts)))
	return e.orZero(e.bin("Div", sum, e.bin("Mul", total, n)))
}

func (e *moeExpander) load() *ir.Value {
	if e.sd == nil || e.a.Selection != SelectTopK || e.slots >= e.experts {
		return e.reduce("ReduceSum", e.perExpert(e.ones()), false, 0)
	}
	v := e.logits
	if e.a.LoadOver == LoadProbs {
		v = e.un("Softmax", v, "axis", int64(1))
	}
	order := v
	if e.drop != nil {
		order = e.where(e.drop, e.num(negInf), v)
	}
	first := e.many("TopK", 2, []*ir.Value{order, e.ints(int64(e.slots + 1))}, "axis", int64(1))[1]
	value := func(k int) *ir.Value {
		return e.bin("GatherElements", v, e.bin("Gather", first, e.ints(int64(k)), "axis", int64(1)), "axis", int64(1))
	}
	out, in := value(e.slots-1), value(e.slots)
	thr := e.where(e.bin("Greater", e.logits, in), in, out)
	z := e.bin("Div", e.bin("Sub", e.clean, thr), e.bin("Mul", e.sd, e.num(math.Sqrt2)))
	p := e.bin("Mul", e.bin("Add", e.un("Erf", z), e.num(1)), e.num(0.5))
	return e.reduce("ReduceSum", p, false, 0)
}

// variation is var/(mean^2 + CVEps) of a vector with an element per expert.
func (e *moeExpander) variation(v *ir.Value) *ir.Value {
	if e.experts < 2 {
		return e.num(0)
	}
	mean := e.reduce("ReduceMean", v, true, 0)
	d := e.bin("Sub", v, mean)
	n := float64(e.experts)
	if e.a.CVUnbiased {
		n--
	}
	variance := e.bin("Mul", e.reduce("ReduceSum", e.bin("Mul", d, d), true, 0), e.num(1/n))
	return e.orZero(e.bin("Div", variance, e.bin("Add", e.bin("Mul", mean, mean), e.num(decimal(e.a.CVEps)))))
}
