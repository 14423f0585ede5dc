package passes

import (
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// scoreMask is one mask on the scores: a value that is added, or the choice between the
// scores and a number by a bool value.
type scoreMask struct {
	v    *ir.Value
	bool bool
	not  bool    // bool: true hides
	fill float64 // bool: what stands where the mask hides
	n    *ir.Node
}

// peelMasks takes one or two masks off the scores and joins them.
func (a *attention) peelMasks(s *ir.Value) *ir.Value {
	inner, outer := a.oneMask(s)
	if outer == nil {
		return s
	}
	if deeper, second := a.oneMask(inner); second != nil {
		joined := a.join(outer, second)
		if joined == nil {
			return s
		}
		inner, outer = deeper, joined
		a.from = append(a.from, second.n)
	}
	a.mask, a.not = outer.v, outer.not
	if outer.bool {
		a.attrs.Fill = float32(outer.fill)
	}
	a.from = append(a.from, outer.n)
	return inner
}

func (a *attention) oneMask(s *ir.Value) (scores *ir.Value, m *scoreMask) {
	n := def(s, "Add", "Where")
	if n == nil || !a.e.g.OnlyUse(s) {
		return s, nil
	}
	small := func(v *ir.Value) bool { return v.Type.Ranked && len(v.Type.Shape) <= 4 }
	if n.Is("Add") {
		for i, x := range n.Inputs {
			v := n.Inputs[1-i]
			if isScores(x, 5) && a.sameScores(x.Type, s.Type) && small(v) {
				return x, &scoreMask{v: v, n: n}
			}
		}
		return s, nil
	}
	for i := 1; i <= 2; i++ {
		x := n.Inputs[i]
		fill, ok := number(n.Inputs[3-i])
		if ok && isScores(x, 5) && a.sameScores(x.Type, s.Type) && small(n.Inputs[0]) {
			return x, &scoreMask{v: n.Inputs[0], bool: true, not: i == 2, fill: fill, n: n}
		}
	}
	return s, nil
}

// sameScores reports whether a mask leaves the shape of the scores as it is. For their last
// axis that need not be known: decoders with a cache have masks whose length is named
// apart. A mask that stretched it would not fit the values, which are as many as keys.
func (a *attention) sameScores(before, after ir.Type) bool {
	r := before.Rank()
	if r < 1 || after.Rank() != r || before.DType != after.DType || !sameDims(before.Shape[:r-1], after.Shape[:r-1]) {
		return false
	}
	if !before.Shape[r-1].Same(after.Shape[r-1]) {
		a.loose = true
	}
	return true
}

// join makes one added mask of two, or nil. A number that hides must be so large that
// scores vanish beside it: then adding it is choosing it.
func (a *attention) join(outer, inner *scoreMask) *scoreMask {
	e := a.e
	from := nodes(outer.n, inner.n)
	choose := func(m *scoreMask, shown *ir.Value) *ir.Value {
		t, err := ops.ScalarOf(a.dt, m.fill)
		if err != nil {
			return nil
		}
		hidden := e.g.NewConst("", t)
		if m.not {
			shown, hidden = hidden, shown
		}
		return e.add("Where", values(m.v, shown, hidden), from)
	}
	hides := func(m *scoreMask) bool { return m.fill <= largeMask(a.dt) }
	var v *ir.Value
	switch {
	case outer.bool && !inner.bool && hides(outer) && inner.v.Type.DType == a.dt:
		v = choose(outer, inner.v)
	case !outer.bool && inner.bool && hides(inner) && outer.v.Type.DType == a.dt:
		t, err := ops.ScalarOf(a.dt, 0)
		if err != nil {
			return nil
		}
		v = e.add("Add", values(choose(inner, e.g.NewConst("", t)), outer.v), from)
	case !outer.bool && !inner.bool:
		v = e.add("Add", values(inner.v, outer.v), from)
	}
	if v == nil || !v.Type.Ranked || len(v.Type.Shape) > 4 {
		return nil
	}
	return &scoreMask{v: v, n: outer.n}
}

// largeMask is the number from which on down scores of up to some thousands vanish in a
// sum of the element type.
func largeMask(dt tensor.DType) float64 {
	if dt == tensor.F16 {
		return math.Inf(-1) // f16 has no room for both
	}
	return -1e30
}

// isScores reports whether v is q @ k^T, perhaps scaled, capped and masked: the operand of a sum
// that is not the mask.
func isScores(v *ir.Value, depth int) bool {
	n := def(v, "MatMul", "Mul", "Div", "Add", "Where", "Tanh")
	if n == nil || depth == 0 {
		return false
	}
	switch n.Op.Name {
	case "MatMul":
		return !n.Inputs[1].IsConst()
	case "Tanh":
		return isScores(n.Inputs[0], depth-1)
	case "Add":
		return isScores(n.Inputs[0], depth-1) || isScores(n.Inputs[1], depth-1)
	case "Where":
		return isScores(n.Inputs[1], depth-1) || isScores(n.Inputs[2], depth-1)
	}
	_, ok := number(n.Inputs[1])
	return ok && isScores(n.Inputs[0], depth-1)
}
