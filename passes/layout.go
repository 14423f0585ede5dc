package passes

import (
	"context"
	"math"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// ChannelsLast moves the channels of images to the last axis from the first Conv on, as
// far as ops can do without their being second: where the kernels of a CPU read windows
// as rows of a product. Transposes are left where an image enters and leaves. It is no
// part of Pipeline, which knows no target: see HostLayout.
func ChannelsLast() Pass {
	return Pass{
		Name: "channelslast", Doc: "Move the channels of images to the last axis, around convolutions.", Effect: Rounding,
		Run: func(_ context.Context, g *ir.Graph) (bool, error) {
			l := &lastEdit{edit: &edit{g: g}, last: map[*ir.Value]*ir.Value{}}
			for _, n := range slices.Clone(g.Nodes) {
				if len(n.Outputs) > 0 && n.Outputs[0] != nil && !n.Removed() {
					l.node(n)
				}
			}
			return l.done()
		},
	}
}

// HostLayout is what the CPU's code generator runs on its copy of a graph, for a program
// whose products round their operands to bf16 or do not.
func HostLayout(rounds bool) []Pass {
	all := []Pass{ChannelsLast(), Canonical(), CSE()}
	if rounds {
		all = append(all, RoundedImages(), RoundedProjections())
	}
	return all
}

// lastEdit knows, of values with channels second, the same image with channels last.
type lastEdit struct {
	*edit
	last map[*ir.Value]*ir.Value
}

// node rewrites one node; those before it are done.
func (l *lastEdit) node(n *ir.Node) {
	x := input(n, 0)
	switch n.Op.String() {
	case "Conv", "moec::Conv":
		l.conv(n)
		return
	case "Transpose":
		l.transpose(n)
		return
	}
	if x == nil || n.Outputs[0].Type.DType != tensor.F32 {
		return
	}
	switch n.Op.String() {
	case "MaxPool", "AveragePool", "GlobalAveragePool":
		if a := ops.FusePool(n.Attrs); l.last[x] != nil && a != nil && (len(n.Outputs) == 1 || n.Outputs[1] == nil) {
			l.becomes(n, l.addAttrs(l.g.Op("moec::Pool"), a, values(l.last[x]), nodes(n), 1).Outputs[0])
		}
	case "Relu", "Sigmoid", "Tanh", "Gelu", "Swish", "HardSwish", "HardSigmoid", "LeakyRelu", "Elu", "Clip", "Erf", "Exp", "Sqrt", "Abs", "Neg", "Softplus", "Mish":
		if l.last[x] != nil {
			ins := slices.Clone(n.Inputs)
			ins[0] = l.last[x]
			l.becomes(n, l.addAttrs(n.Op, ir.CloneAttrs(n.Attrs), ins, nodes(n), 1).Outputs[0])
		}
	case "Add", "Sub", "Mul", "Div":
		l.binary(n)
	case "Concat":
		l.concat(n)
	case "ReduceMean":
		l.mean(n)
	case "BatchNormalization":
		l.batchNorm(n)
	case "Resize":
		l.resize(n)
	case "Reshape":
		if !l.image(n) {
			l.groupedNorm(n)
		}
	case "InstanceNormalization", "GroupNormalization":
		l.channelNorm(n)
	}
}

// becomes lets the readers of n's output read y with its channels moved back.
func (l *lastEdit) becomes(n *ir.Node, y *ir.Value) {
	old := n.Outputs[0]
	back := l.moved(y, nodes(n), firstPerm(y.Type.Rank()))
	l.replace(old, back)
	l.last[back] = y
}

// toLast is v with its channels last.
func (l *lastEdit) toLast(v *ir.Value) *ir.Value {
	if l.last[v] == nil {
		l.last[v] = l.moved(v, nil, lastPerm(v.Type.Rank()))
	}
	return l.last[v]
}

// moved transposes v, or only gives it another shape where at most one axis that moves
// has more than one element.
func (l *lastEdit) moved(v *ir.Value, from []*ir.Node, perm []int64) *ir.Value {
	long, shape := 0, make([]int64, len(perm))
	for i, p := range perm {
		d := v.Type.Shape[p]
		if i > 0 && d != ir.Known(1) {
			long++
		}
		if shape[i] = d.Size; i > 0 && !d.IsKnown() {
			long = 2
		}
	}
	shape[0] = 0
	if long < 2 && !slices.Contains(shape[1:], 0) {
		return l.add("Reshape", values(v, l.ints(shape...)), from)
	}
	return l.add("Transpose", values(v), from, "perm", perm)
}

const (
	// maxExtent bounds the input that a window reaches over, and the padding, along an
	// axis: the kernels copy an image with its padding.
	maxExtent = 64
	// minPerGroup channels in and out of a group make a product worth its while.
	minPerGroup = 8
)

// conv moves a Conv by constant weights.
func (l *lastEdit) conv(n *ir.Node) {
	x, w := n.Inputs[0], n.Inputs[1]
	attrs, ok := n.Attrs.(*ops.FusedConvAttrs)
	if a, plain := n.Attrs.(*ops.ConvAttrs); plain {
		attrs, ok = ops.FuseConv(a, ops.ActNone), true
	}
	if !ok || attrs.ChannelsLast || x.Type.DType != tensor.F32 || !w.IsConst() || w.Const.DType() != tensor.F32 || w.Const.Len() == 0 {
		return
	}
	rank, shape := x.Type.Rank(), w.Const.Shape()
	if rank < 3 || rank > 5 || len(shape) != rank || n.Outputs[0].Type.Rank() != rank {
		return
	}
	if attrs.Activation == ops.ActReLU2 || attrs.Activation == ops.ActQuickGELU {
		return
	}
	if g := int(attrs.Group); g > 1 && !(shape[1] == 1 && shape[0] == g) && (shape[1] < minPerGroup || shape[0]/g < minPerGroup) {
		return
	}
	limit := int64(maxExtent)
	if rank == 5 {
		limit /= 4
	}
	for i, k := range shape[2:] {
		dilation := int64(1)
		if i < len(attrs.Dilations) {
			dilation = attrs.Dilations[i]
		}
		if dilation > limit || int64(k-1)*dilation+1 > limit && dilation > 1 || int64(k) > 8*limit {
			return
		}
	}
	for _, p := range attrs.Pads {
		if p > limit {
			return
		}
	}
	if r := input(n, 3); r != nil && !sameType(r.Type, n.Outputs[0].Type) {
		return
	}
	ins := slices.Clone(n.Inputs)
	ins[0] = l.toLast(x)
	if len(ins) > 3 && ins[3] != nil {
		ins[3] = l.toLast(ins[3])
	}
	c := *attrs
	c.ChannelsLast = true
	l.becomes(n, l.addAttrs(l.g.Op("moec::Conv"), &c, ins, nodes(n), 1).Outputs[0])
}

// transpose reads the image with channels last where n moves them there, directly or
// with all positions as one axis.
func (l *lastEdit) transpose(n *ir.Node) {
	x, p := n.Inputs[0], perm(n)
	switch {
	case len(p) < 3 || !n.Outputs[0].Type.Ranked:
	case slices.Equal(p, lastPerm(len(p))) && l.last[x] != nil:
		l.replace(n.Outputs[0], l.last[x])
	case l.flattened(n, p):
	case slices.Equal(p, firstPerm(len(p))):
		l.last[n.Outputs[0]] = x
	}
}

// flattened reads a moved image whose positions become one axis before its channels
// move: the tokens of a vision transformer.
func (l *lastEdit) flattened(n *ir.Node, p []int64) bool {
	x := n.Inputs[0]
	flat := def(x, "Reshape")
	if flat == nil || l.last[flat.Inputs[0]] == nil || !slices.Equal(p, []int64{0, 2, 1}) {
		return false
	}
	img, t := flat.Inputs[0], x.Type
	if t.Rank() != 3 || !t.Shape[1].IsKnown() || t.Shape[1].Size == 0 || !sameDims(t.Shape[:2], img.Type.Shape[:2]) {
		return false
	}
	return l.replace(n.Outputs[0], l.add("Reshape", values(l.last[img], l.ints(0, -1, t.Shape[1].Size)), nodes(flat, n)))
}

// binary moves arithmetic of which an operand is an image that has moved already.
func (l *lastEdit) binary(n *ir.Node) {
	rank := n.Outputs[0].Type.Rank()
	if rank < 3 || l.last[n.Inputs[0]] == nil && l.last[n.Inputs[1]] == nil {
		return
	}
	ins := make([]*ir.Value, 2)
	for i, v := range n.Inputs {
		switch {
		case v.Type.Rank() == rank && !v.IsConst():
			ins[i] = v
		case v.IsConst() && v.Const.Len() == 1:
			ins[i] = l.g.NewConst("", v.Const.Reshape())
		case v.IsConst() && v.Const.Rank() <= rank:
			ins[i] = l.constLast(v.Const, rank)
		default:
			return
		}
	}
	for i, v := range ins {
		if !v.IsConst() {
			ins[i] = l.toLast(v)
		}
	}
	l.becomes(n, l.addAttrs(n.Op, ir.CloneAttrs(n.Attrs), ins, nodes(n), 1).Outputs[0])
}

// constLast is a constant that broadcasts to an image of the given rank, for one with
// channels last.
func (l *lastEdit) constLast(t *tensor.Tensor, rank int) *ir.Value {
	shape := append(slices.Repeat([]int{1}, rank-t.Rank()), t.Shape()...)
	n, c, inner := shape[0], shape[1], tensor.NumElems(shape[2:])
	out := tensor.New(t.DType(), append(append([]int{n}, shape[2:]...), c)...)
	size := t.DType().Size()
	for i := range n {
		for j := range c {
			for k := range inner {
				copy(out.Bytes()[((i*inner+k)*c+j)*size:][:size], t.Bytes()[((i*c+j)*inner+k)*size:])
			}
		}
	}
	return l.g.NewConst("", out)
}

// concat moves a Concat of images of which the first has moved.
func (l *lastEdit) concat(n *ir.Node) {
	rank, axis := n.Outputs[0].Type.Rank(), intAttr(n, "axis")
	if axis < 0 {
		axis += int64(rank)
	}
	if rank < 3 || l.last[n.Inputs[0]] == nil || slices.ContainsFunc(n.Inputs, func(v *ir.Value) bool { return v.Type.Rank() != rank }) {
		return
	}
	ins := make([]*ir.Value, len(n.Inputs))
	for i, v := range n.Inputs {
		if v.IsConst() {
			ins[i] = l.constLast(v.Const, rank)
		} else {
			ins[i] = l.toLast(v)
		}
	}
	to := int64(slices.Index(lastPerm(rank), axis))
	l.becomes(n, l.add("Concat", ins, nodes(n), "axis", to))
}

// mean moves a mean over all positions.
func (l *lastEdit) mean(n *ir.Node) {
	x := n.Inputs[0]
	img, axes := l.last[x], input(n, 1)
	if img == nil || axes == nil {
		return
	}
	rank := x.Type.Rank()
	over, ok := constInts(axes)
	if !ok || len(over) != rank-2 {
		return
	}
	for _, a := range over {
		if a < 0 {
			a += int64(rank)
		}
		if a < 2 {
			return
		}
	}
	y := l.addAttrs(l.g.Op("moec::Pool"), ops.FusePool(nil), values(img), nodes(n), 1).Outputs[0]
	if intAttr(n, "keepdims") != 0 {
		l.becomes(n, y)
		return
	}
	if c := img.Type.Shape[rank-1]; c.IsKnown() && c.Size > 0 {
		l.replace(n.Outputs[0], l.add("Reshape", values(y, l.ints(0, c.Size)), nodes(n)))
	}
}

// batchNorm makes a convolution of each channel by one number of constant statistics, and
// takes the Relu behind it.
func (l *lastEdit) batchNorm(n *ir.Node) {
	x := n.Inputs[0]
	a, ok := n.Attrs.(*ops.BatchNormAttrs)
	if !ok || a.TrainingMode || l.last[x] == nil {
		return
	}
	var p [5][]float64
	for i := 1; i < 5; i++ {
		v := n.Inputs[i]
		if !v.IsConst() || v.Const.DType() != tensor.F32 || v.Const.Rank() != 1 {
			return
		}
		if p[i] = doubles(v.Const); len(p[i]) != len(p[1]) {
			return
		}
	}
	rank := x.Type.Rank()
	if rank < 3 || rank > 5 || len(p[1]) == 0 {
		return
	}
	factor, term := make([]float32, len(p[1])), make([]float32, len(p[1]))
	for i, scale := range p[1] {
		k := scale / math.Sqrt(p[4][i]+float64(a.Epsilon))
		factor[i], term[i] = float32(k), float32(p[2][i]-p[3][i]*k)
	}
	c := ops.FuseConv(&ops.ConvAttrs{AutoPad: "NOTSET", Group: int64(len(factor))}, ops.ActNone)
	c.ChannelsLast = true
	end := n
	if l.g.OnlyUse(n.Outputs[0]) && n.Outputs[0].Users()[0].Is("Relu") {
		end, c.Activation = n.Outputs[0].Users()[0], ops.ActReLU
	}
	from := nodes(n)
	if end != n {
		from = nodes(n, end)
	}
	w := tensor.Of(factor, append([]int{len(factor)}, slices.Repeat([]int{1}, rank-1)...)...)
	ins := values(l.last[x], l.g.NewConst("", w), l.g.NewConst("", tensor.Of(term, len(term))))
	l.becomes(end, l.addAttrs(l.g.Op("moec::Conv"), c, ins, from, 1).Outputs[0])
}
