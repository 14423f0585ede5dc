package ops

import (
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// pkmExpander writes a PKM in standard ops.
type pkmExpander struct {
	*ffExpander
	a             *PKMAttrs
	h, n1, n2, dv int
}

func expandPKM(body Body, g *ir.Graph, n *ir.Node) ([]*ir.Value, error) {
	e := &pkmExpander{ffExpander: newFFExpander(g, n), a: n.Attrs.(*PKMAttrs)}
	k0, k1 := e.sizes(PKMInKeys0), e.sizes(PKMInKeys1)
	e.h, e.n1, e.n2, e.dv = k0[0], k0[1], k1[1], e.sizes(PKMInValues)[1]
	if e.err != nil {
		return nil, e.err
	}
	s1, s2 := e.keyScores(k0[2], k1[2])
	outs := make([]*ir.Value, len(n.Outputs))
	switch {
	case e.a.Dense(e.n1, e.n2):
		e.dense(outs, s1, s2)
	case body == BodyGather:
		scores, index := e.search(s1, s2, true)
		w := e.weights(outs, scores, index)
		v := e.bin("Gather", e.in(PKMInValues), e.flat(index), "axis", int64(0)) // [tokens, slots, Dv]
		y := e.bin("MatMul", e.bin("Unsqueeze", w, e.ints(1)), v)
		e.finish(outs, e.bin("Reshape", y, e.ints(-1, int64(e.dv))))
	default:
		scores, index := e.search(s1, s2, false)
		w, index := e.weights(outs, scores, index), e.flat(index)
		tokens := e.un("Shape", index, "end", int64(1))
		shape := e.op("Concat", []*ir.Value{tokens, e.ints(int64(e.n1 * e.n2))}, "axis", int64(0))
		e.finish(outs, e.bin("MatMul", e.summed(shape, index, w), e.in(PKMInValues)))
	}
	return outs, e.err
}

// summed adds the weights of each value up. onnxruntime adds so in f32 and f64 only.
func (e *pkmExpander) summed(shape, index, w *ir.Value) *ir.Value {
	if e.err != nil {
		return w
	}
	dt := e.dt
	if dt == tensor.F16 || dt == tensor.BF16 {
		e.dt = tensor.F32
		w = e.un("Cast", w, "to", e.dt)
	}
	w = e.op("ScatterElements", []*ir.Value{e.filled(shape, 0), index, w}, "axis", int64(1), "reduction", "add")
	if e.dt != dt {
		e.dt = dt
		w = e.un("Cast", w, "to", dt)
	}
	return w
}

// keyScores are [tokens, H, n1] and [tokens, H, n2].
func (e *pkmExpander) keyScores(d1, d2 int) (s1, s2 *ir.Value) {
	q, heads := e.x, 1 // the query of all heads, unless there is a projection
	if w := e.in(PKMInQuery); w != nil {
		q, heads = e.linear(q, e.un("Transpose", w), e.in(PKMInQueryBias)), e.h
	}
	q = e.bin("Reshape", q, e.ints(-1, int64(heads), 1, int64(d1+d2)))
	half := func(keys, bias *ir.Value, from, to, n int) *ir.Value {
		if e.err != nil {
			return q
		}
		part := e.op("Slice", []*ir.Value{q, e.ints(int64(from)), e.ints(int64(to)), e.ints(3)})
		s := e.bin("MatMul", part, e.un("Transpose", keys, "perm", []int64{0, 2, 1}))
		return e.plus(e.bin("Reshape", s, e.ints(-1, int64(e.h), int64(n))), bias)
	}
	return half(e.in(PKMInKeys0), e.in(PKMInKeyBias0), 0, d1, e.n1), half(e.in(PKMInKeys1), e.in(PKMInKeyBias1), d1, d1+d2, e.n2)
}

// sums are all s1[i] + s2[j], [tokens, heads, len(s1)*len(s2)].
func (e *pkmExpander) sums(s1, s2 *ir.Value, heads, n int) *ir.Value {
	c := e.bin("Add", e.bin("Unsqueeze", s1, e.ints(3)), e.bin("Unsqueeze", s2, e.ints(2)))
	return e.bin("Reshape", c, e.ints(-1, int64(heads), int64(n)))
}

// search gives scores and indices [tokens, H, slots], best first. Pruned, it looks at the
// sums of the best keys only, which it puts into the order of their indices so that equal
// sums rank by index.
func (e *pkmExpander) search(s1, s2 *ir.Value, pruned bool) (scores, index *ir.Value) {
	k1, k2 := e.n1, e.n2
	if pruned && e.a.KNN > 0 {
		k1, k2 = int(min(e.a.KNN, int64(k1))), int(min(e.a.KNN, int64(k2)))
		var i1, i2 *ir.Value
		s1, i1 = e.bestKeys(s1, k1)
		s2, i2 = e.bestKeys(s2, k2)
		index = e.sums(e.bin("Mul", i1, e.ints(int64(e.n2))), i2, e.h, k1*k2)
	}
	top := e.many("TopK", 2, []*ir.Value{e.sums(s1, s2, e.h, k1*k2), e.ints(int64(e.a.Slots(e.n1, e.n2)))}, "axis", int64(-1))
	if index == nil {
		return top[0], top[1]
	}
	return top[0], e.bin("GatherElements", index, top[1], "axis", int64(2))
}

func (e *pkmExpander) bestKeys(s *ir.Value, k int) (scores, index *ir.Value) {
	best := e.many("TopK", 2, []*ir.Value{s, e.ints(int64(k))}, "axis", int64(-1))[1]
	index = e.many("TopK", 2, []*ir.Value{best, e.ints(int64(k))}, "axis", int64(-1), "largest", int64(0))[0]
	return e.bin("GatherElements", s, index, "axis", int64(2)), index
}

// flat is [tokens, H*slots].
func (e *pkmExpander) flat(v *ir.Value) *ir.Value {
	return e.bin("Reshape", v, e.ints(-1, int64(e.h*e.a.Slots(e.n1, e.n2))))
}

// weights sets the optional outputs and weighs the scores: [tokens, H*slots].
func (e *pkmExpander) weights(outs []*ir.Value, scores, index *ir.Value) *ir.Value {
	slots := e.a.Slots(e.n1, e.n2)
	if e.wants(PKMOutIndices) {
		outs[PKMOutIndices] = e.lead(index, e.h, slots)
	}
	if e.wants(PKMOutScores) {
		outs[PKMOutScores] = e.lead(scores, e.h, slots)
	}
	if e.a.Weighting == WeightSoftmaxHead {
		return e.flat(e.un("Softmax", scores, "axis", int64(-1)))
	}
	return e.weigh(e.flat(scores))
}

func (e *pkmExpander) weigh(s *ir.Value) *ir.Value {
	if e.a.Weighting == WeightSoftmax {
		return e.un("Softmax", s, "axis", int64(-1))
	}
	return e.act(Activation(e.a.Weighting), s)
}

// dense adds the heads' scores up and weighs all values.
func (e *pkmExpander) dense(outs []*ir.Value, s1, s2 *ir.Value) {
	n := e.n1 * e.n2
	s := e.sums(e.reduce("ReduceSum", s1, true, 1), e.reduce("ReduceSum", s2, true, 1), 1, n) // [tokens, 1, n]
	if e.wants(PKMOutIndices) {
		all := make([]int64, n)
		for i := range all {
			all[i] = int64(i)
		}
		index := e.bin("Expand", e.ints(all...), e.un("Shape", s))
		outs[PKMOutIndices] = e.lead(index, 1, n)
	}
	if e.wants(PKMOutScores) {
		outs[PKMOutScores] = e.lead(s, 1, n)
	}
	w := e.weigh(e.bin("Reshape", s, e.ints(-1, int64(n))))
	e.finish(outs, e.bin("MatMul", w, e.in(PKMInValues)))
}

func (e *pkmExpander) finish(outs []*ir.Value, y *ir.Value) {
	outs[PKMOutY] = e.lead(e.plus(y, e.in(PKMInB2)), e.dv)
}
