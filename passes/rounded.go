package passes

import (
	"context"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// RoundedImages keeps in bf16 what convolutions with channels last pass to each other and
// to pools: half the memory traffic, which binds large images. A product in bf16 rounds
// its input anyway; residuals are rounded in between, once per sum. It is for programs of
// lower precision, after ChannelsLast.
func RoundedImages() Pass {
	return Pass{
		Name: "roundedimages", Doc: "Keep images between convolutions in bf16.", Effect: Halving,
		Run: func(_ context.Context, g *ir.Graph) (bool, error) {
			r := &roundEdit{edit: &edit{g: g}, takes: map[*ir.Value]bool{}}
			for _, n := range slices.Clone(g.Nodes) {
				r.node(n)
			}
			return r.done()
		},
	}
}

// roundEdit knows of values whether all of their readers take bf16.
type roundEdit struct {
	*edit
	takes map[*ir.Value]bool
}

// node rounds what a convolution gives, if its readers take that, and rewrites those of
// rounded images.
func (r *roundEdit) node(n *ir.Node) {
	switch a := n.Attrs.(type) {
	case *ops.FusedConvAttrs:
		c := *a
		c.Rounded = a.Rounded || imageConv(n, a) && r.taken(n.Outputs[0])
		if c.Rounded && !a.Rounded || n.Inputs[0].Type.DType == tensor.BF16 {
			r.again(n, &c)
		}
	case *ops.FusedPoolAttrs:
		if n.Inputs[0].Type.DType == tensor.BF16 {
			r.again(n, a)
		}
	}
}

// again is n with its types inferred anew.
func (r *roundEdit) again(n *ir.Node, attrs any) {
	old := n.Outputs[0]
	y := r.addAttrs(n.Op, attrs, slices.Clone(n.Inputs), nodes(n), 1).Outputs[0]
	r.takes[y] = r.takes[old]
	r.replace(old, y)
}

// imageConv reports whether the kernels of a convolution take images in bf16: rows of an
// even number of elements, so that each begins with a whole word, and no volumes.
func imageConv(n *ir.Node, a *ops.FusedConvAttrs) bool {
	w := n.Inputs[1]
	if !a.ChannelsLast || !w.IsConst() || w.Const.DType() != tensor.F32 || w.Const.Len() == 0 {
		return false
	}
	shape, group := w.Const.Shape(), max(1, int(a.Group))
	return len(shape) >= 3 && len(shape) <= 4 && shape[0]%2 == 0 && (shape[0]/group%2 == 0 || shape[1] == 1)
}

// taken reports whether every reader of v takes it in bf16.
func (r *roundEdit) taken(v *ir.Value) bool {
	if yes, ok := r.takes[v]; ok {
		return yes
	}
	users := v.Users()
	yes := !r.g.IsOutput(v) && len(users) > 0
	for _, n := range users {
		switch a := n.Attrs.(type) {
		case *ops.FusedConvAttrs:
			depthwise := n.Inputs[1].IsConst() && n.Inputs[1].Const.Rank() > 1 && n.Inputs[1].Const.Shape()[1] == 1
			yes = yes && imageConv(n, a) && !(depthwise && input(n, 3) == v)
		case *ops.FusedPoolAttrs:
			yes = yes && a.Kind != ops.PoolGlobal && v.Type.Rank() <= 4 && r.taken(n.Outputs[0])
		default:
			yes = false
		}
	}
	r.takes[v] = yes
	return yes
}
