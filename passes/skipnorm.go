package passes

import (
	"context"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
)

// SkipNorms joins a residual sum with the normalisation behind it, where no Linear has
// taken the sum into its epilogue.
func SkipNorms() Pass {
	return Pass{
		Name: "skipnorm", Doc: "Join a residual sum with the normalisation behind it.", Effect: Rounding,
		Run: func(_ context.Context, g *ir.Graph) (bool, error) {
			e := &edit{g: g}
			e.rules(map[string][]rule{"LayerNormalization": {skipNorm}, "RMSNormalization": {skipNorm}})
			return e.done()
		},
	}
}

func skipNorm(e *edit, n *ir.Node) bool {
	add := def(n.Inputs[0], "Add")
	if add == nil || len(n.Outputs) > 1 {
		return false
	}
	x, skip, sum := add.Inputs[0], add.Inputs[1], add.Outputs[0]
	r := sum.Type.Rank()
	if axis := intAttr(n, "axis"); axis != -1 && axis != int64(r-1) || r < 1 {
		return false
	}
	if !sameType(x.Type, sum.Type) || !sameType(skip.Type, sum.Type) || x.IsConst() || skip.IsConst() || !sum.Type.DType.IsFloat() {
		return false
	}
	for _, v := range n.Inputs[1:] {
		if v == nil || v.Type.Rank() != 1 || !v.Type.Shape[0].Same(sum.Type.Shape[r-1]) || v.Type.DType != sum.Type.DType {
			return false
		}
	}
	kind := ops.NormLayer
	if n.Is("RMSNormalization") {
		kind = ops.NormRMS
	}
	outs := 1
	if !e.g.OnlyUse(sum) {
		outs = 2
		if !e.can(sum, n.Outputs[0]) || e.g.IsOutput(sum) {
			return false
		}
	}
	m := e.addN("moec::SkipNorm", append(values(x, skip), n.Inputs[1:]...), nodes(add, n), outs,
		"kind", kind, "epsilon", float32(floatAttr(n, "epsilon")))
	if outs == 2 {
		e.replace(sum, m.Outputs[1])
	}
	return e.replace(n.Outputs[0], m.Outputs[0])
}
