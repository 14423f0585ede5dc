package cuda

import (
	"fmt"
	"slices"

	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/codegen/ptx"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// maxParts bounds the products of one launch: each has an output among the kernel's parameters.
const maxParts = 32

// siblings are the products that share a launch with n, in the graph's order: products of the same input by
// weights of one size, with the same activation. The keys and values of the cross-attention of all layers of a
// decoder are such. None waits for more than the input they share, so the first can compute them all.
func (l *Lowering) siblings(n *ir.Node) []*ir.Node {
	if !l.joins(n) {
		return nil
	}
	x, w := n.Inputs[0], n.Inputs[1].Const
	act := activationOf(n)
	var out []*ir.Node
	for _, m := range x.Users() {
		if l.joins(m) && m.Inputs[0] == x && m.Inputs[1].Const.Shape()[0] == w.Shape()[0] && m.Inputs[1].Const.Shape()[1] == w.Shape()[1] && activationOf(m) == act {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b *ir.Node) int { return l.at[a] - l.at[b] })
	for i, m := range out {
		if m == n {
			first := i / maxParts * maxParts
			return out[first:min(first+maxParts, len(out))]
		}
	}
	return nil
}

// arrange puts the graph's nodes into the order of their steps: what products that several layers share depend on comes
// before everything else, an encoder before the decoder.
func (l *Lowering) arrange() {
	l.order(l.g.Nodes)
	early := map[*ir.Node]bool{}
	var mark func(n *ir.Node)
	mark = func(n *ir.Node) {
		if n == nil || early[n] {
			return
		}
		early[n] = true
		for _, v := range n.Inputs {
			if v != nil {
				mark(v.Def)
			}
		}
	}
	for _, n := range l.g.Nodes {
		parts := l.siblings(n)
		if len(parts) < 2 || parts[0] != n {
			continue
		}
		for _, m := range l.g.Nodes[l.at[n]:l.at[parts[len(parts)-1]]] {
			if m.Is("moec::Attention") {
				mark(n)
			}
		}
	}
	if len(early) == 0 {
		return
	}
	var nodes []*ir.Node
	for _, first := range []bool{true, false} {
		for _, n := range l.g.Nodes {
			if early[n] == first {
				nodes = append(nodes, n)
			}
		}
	}
	l.order(nodes)
}

func (l *Lowering) order(nodes []*ir.Node) {
	l.nodes = nodes
	for i, n := range nodes {
		l.at[n] = i
	}
}

// joins reports a product with a weight and at most a bias, which no normalisation could take into its launch.
func (l *Lowering) joins(n *ir.Node) bool {
	if !n.Is("MatMul", "moec::Linear") || len(n.Inputs) > 3 || l.onHost(n) || allF32(n) != nil {
		return false
	}
	w := n.Inputs[1]
	if !w.IsConst() || w.Const.Rank() != 2 || !n.Inputs[0].Type.Ranked || n.Inputs[0].Type.Rank() < 1 || n.Inputs[0].IsConst() {
		return false
	}
	if b := input(n, 2); b != nil && (!b.IsConst() || b.Const.Rank() != 1 || b.Const.Len() != w.Const.Shape()[1]) {
		return false
	}
	for _, u := range n.Outputs[0].Users() {
		if u.Is("LayerNormalization", "RMSNormalization", "moec::SkipNorm") {
			return false
		}
	}
	_, ok := activate(&ptx.Program{}, activationOf(n), 0)
	return ok
}

func activationOf(n *ir.Node) ops.Activation {
	if a, ok := n.Attrs.(*ops.LinearAttrs); ok {
		return a.Activation
	}
	return ops.ActNone
}

// parts is the launch of several products; all but the first are inside it.
func (l *Lowering) parts(n *ir.Node, parts []*ir.Node) (*Choice, error) {
	c := &Choice{Pack: map[int]*plan.Const{}}
	for i := 1; i < len(n.Inputs); i++ {
		if n.Inputs[i] == nil {
			continue
		}
		m, err := l.merged(n.Inputs[i])
		if err != nil {
			return nil, err
		}
		c.Pack[i] = m
	}
	if n != parts[0] {
		c.Kernel, c.Note = plan.KernelInside, "inside "+parts[0].Name
		return c, nil
	}
	c.Kernel = plan.KernelLaunch
	x, shape := n.Inputs[0], n.Inputs[1].Const.Shape()
	d := l.dims.of(x)
	k, cols := ptx.N(shape[0]), ptx.N(shape[1])
	var p ptx.Program
	v := p.In(tensor.F32)
	g := ptx.Gemm{
		Name: "linear", M: ptx.Elems(d[:len(d)-1]), N: cols, K: k, Weight: true, Parts: len(parts), Math: l.math,
		A: ptx.Matrix{DType: l.float, Row: k, Col: ptx.N(1)},
		B: ptx.Matrix{DType: l.float, Row: cols, Col: ptx.N(1)},
		C: ptx.Matrix{DType: l.float, Row: cols, Col: ptx.N(1)},
	}
	var weights, biases []float32
	biased := false
	for _, m := range parts {
		weights = append(weights, tensor.Data[float32](m.Inputs[1].Const)...)
		b := make([]float32, shape[1])
		if v := input(m, 2); v != nil {
			b, biased = tensor.Data[float32](v.Const), true
		}
		biases = append(biases, b...)
	}
	pack, err := g.Pack()
	if err != nil {
		return nil, decline("%v", err)
	}
	w, err := packTensor(pack, weights)
	if err != nil {
		return nil, err
	}
	args, err := l.operands(x)
	if err != nil {
		return nil, err
	}
	args = append(args, Operand{Const: &plan.Const{
		Name: n.Name + ".weights", DType: tensor.F32, Shape: []int{len(parts), shape[0], shape[1]}, Layout: pack.DType.String() + " " + pack.Layout, Data: w,
	}})
	if biased {
		b, err := plan.Convert(tensor.Of(biases, len(parts), shape[1]), l.float)
		if err != nil {
			return nil, err
		}
		o := l.extra(n, "biases", b)
		if l.float != tensor.F32 {
			o.DType, o.Layout = tensor.F32, l.float.String()
		}
		args = append(args, Operand{Const: o})
		g.Extra = []ptx.Matrix{{DType: l.float, Row: ptx.N(0), Col: ptx.N(1)}}
		v = p.Do("add", v, p.In(l.float))
	}
	v, ok := activate(&p, activationOf(n), v)
	if !ok {
		return nil, decline("no kernel function for activation %q", activationOf(n))
	}
	p.Out(v, l.float)
	g.Epilogue = p
	note := l.tile(l.planner, &g, ptx.N(len(parts)))
	kern, err := emit(g)
	if err != nil {
		return nil, err
	}
	for _, m := range parts {
		args = append(args, Operand{Value: m.Outputs[0]})
		if m != n {
			c.Also = append(c.Also, m.Outputs[0])
		}
	}
	c.Launches = []Launch{{Kernel: kern, Args: args, Note: fmt.Sprintf("%d products of one value, by weights of one size; %s", len(parts), note)}}
	return c, nil
}
