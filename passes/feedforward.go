package passes

import (
	"context"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Feedforward makes one MLP or GatedMLP node of every dense two-layer MLP: where the
// rewrites into sparse forms start, and what fused kernels run.
func Feedforward() Pass {
	return Pass{
		Name: "feedforward", Doc: "Make one MLP or GatedMLP node of each dense two-layer MLP.", Effect: Rounding,
		Run: func(_ context.Context, g *ir.Graph) (bool, error) {
			e := &edit{g: g}
			e.rules(map[string][]rule{
				"moec::Linear": {denseMLP},
				"Conv":         {denseMLP},
			})
			return e.done()
		},
	}
}

func denseMLP(e *edit, n *ir.Node) bool {
	s, ok := e.matchMLP(n)
	if !ok {
		return false
	}
	x, w1, w2 := s.x, s.w1, s.w2
	rank := x.Type.Rank()
	if s.channels {
		if rank < 3 {
			return false
		}
		x = e.add("Transpose", values(x), s.nodes[:1], "perm", lastPerm(rank))
		w1, w2 = e.matrixOf(w1), e.matrixOf(w2)
	}
	var y *ir.Value
	if s.up != nil {
		y = e.add("moec::GatedMLP", trimmed(x, w1, s.up, w2, s.b1, s.upBias, s.b2), s.nodes, "activation", string(s.act))
	} else {
		y = e.add("moec::MLP", trimmed(x, w1, w2, s.b1, s.b2), s.nodes, "activation", string(s.act))
	}
	if s.channels {
		y = e.add("Transpose", values(y), s.nodes[2:], "perm", firstPerm(rank))
	}
	return e.replace(s.y, y)
}

// trimmed drops absent inputs at the end.
func trimmed(vs ...*ir.Value) []*ir.Value {
	for len(vs) > 0 && vs[len(vs)-1] == nil {
		vs = vs[:len(vs)-1]
	}
	return vs
}

// lastPerm moves axis 1 to the end, firstPerm back.
func lastPerm(rank int) []int64 {
	p := []int64{0}
	for i := 2; i < rank; i++ {
		p = append(p, int64(i))
	}
	return append(p, 1)
}

func firstPerm(rank int) []int64 {
	p := []int64{0, int64(rank - 1)}
	for i := 1; i < rank-1; i++ {
		p = append(p, int64(i))
	}
	return p
}

// matrixOf turns the weight [out, in, 1...] of a pointwise Conv into [in, out].
func (e *edit) matrixOf(v *ir.Value) *ir.Value {
	t := v.Const
	return e.g.NewConst("", transposed(t.Reshape(t.Shape()[0], tensor.NumElems(t.Shape()[1:]))))
}
