package cuda

import (
	"context"
	"fmt"
	"slices"

	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// A node that no kernel covers - fused, but in f64, with a mask of training, with outputs beyond its first; or standard,
// but made of simpler ops - is spelled out: replaced by its expansion into standard ops, each of which has kernels. It
// stays whole where parts of the expansion would run on the host after all, for then one step there is better than
// several.

// spelling is a node that is spelled out.
type spelling struct {
	node  int // in the graph as given
	why   string
	split bool // a mixture that keeps its kernels for y
	wide  bool // in f64, where values are kept in 16 bits
	parts []*ir.Node
}

// spell lowers a graph, with the fused nodes spelled out that the rules decline.
func spell(g *ir.Graph, lower func(*ir.Graph) (*Lowering, error)) (*Lowering, error) {
	l, err := lower(g)
	if err != nil {
		return nil, err
	}
	var out []*spelling
	for i, n := range g.Nodes {
		if c := l.choices[n]; c.declined && expansion(n) != nil {
			narrow := l.float != tensor.F32 && n.Inputs[0].Type.DType == tensor.F32
			out = append(out, &spelling{node: i, why: c.Note[len(HostNote):], split: l.splits(n), wide: narrow})
		}
	}
	for len(out) > 0 {
		h := g.Clone()
		nodes := slices.Clone(h.Nodes)
		for _, s := range out {
			if err := s.apply(h, nodes[s.node]); err != nil {
				return nil, ir.NodeError(g.Nodes[s.node], err)
			}
		}
		if err := h.Sort(); err != nil {
			return nil, err
		}
		if err := ir.Infer(h); err != nil {
			return nil, err
		}
		m, err := lower(h)
		if err != nil {
			return nil, err
		}
		n := len(out)
		out = slices.DeleteFunc(out, func(s *spelling) bool {
			return slices.ContainsFunc(s.parts, func(n *ir.Node) bool { return m.choices[n].declined })
		})
		if len(out) < n {
			continue // what is left is lowered without them
		}
		for _, s := range out {
			for _, n := range s.parts {
				if c := m.choices[n]; c.Kernel == plan.KernelLaunch {
					c.Note = fmt.Sprintf("part of %s, which is spelled out: %s", g.Nodes[s.node].Op, s.why)
				}
			}
		}
		return m, nil
	}
	return l, nil
}

// apply replaces the node n of g by its expansion.
func (s *spelling) apply(g *ir.Graph, n *ir.Node) error {
	before := len(g.Nodes)
	outs, err := s.expand(g, n)
	if err != nil {
		return err
	}
	s.parts = slices.Clone(g.Nodes[before:])
	for i, v := range n.Outputs {
		if v == nil || len(v.Users()) == 0 && !g.IsOutput(v) {
			continue
		}
		if i >= len(outs) || outs[i] == nil {
			return fmt.Errorf("%w: its expansion lacks output %d", ir.ErrGraph, i)
		}
		repl := outs[i]
		if g.IsOutput(v) && (repl.Def == nil || g.IsOutput(repl)) {
			m := g.Add(g.Op("Identity"), nil, []*ir.Value{repl}, "") // one value has one name
			s.parts = append(s.parts, m)
			repl = m.Outputs[0]
		}
		g.ReplaceUses(v, repl)
	}
	g.Remove(n)
	for i := len(s.parts) - 1; i >= 0; i-- {
		m := s.parts[i]
		if !slices.ContainsFunc(m.Outputs, func(v *ir.Value) bool { return len(v.Users()) > 0 || g.IsOutput(v) }) {
			g.Remove(m)
		}
	}
	for _, m := range s.parts {
		if err := fold(g, m); err != nil {
			return err
		}
	}
	s.parts = slices.DeleteFunc(s.parts, (*ir.Node).Removed)
	return nil
}

// expand adds the expansion of n to g and returns what replaces n's outputs.
func (s *spelling) expand(g *ir.Graph, n *ir.Node) ([]*ir.Value, error) {
	if n.Is("moec::MoE") && n.Inputs[ops.MoEInX].Type.DType == tensor.F32 {
		return s.mixture(g, n)
	}
	return s.body(g, n, s.wide)
}

// mixture writes the choice of experts and what follows from it in f64, as its definition has it: balancing takes
// logarithms of sums over and over, and regularisers are small differences. They hold a number per token and expert.
// The experts are computed in the type of the model, by the mixture's kernels where these lack nothing but the other
// outputs. Both parts get the same logits, and so choose the same experts.
func (s *spelling) mixture(g *ir.Graph, n *ir.Node) ([]*ir.Value, error) {
	a := n.Attrs.(*ops.MoEAttrs)
	route := slices.Clone(n.Outputs)
	route = append(route, make([]*ir.Value, ops.MoEOutLoadVector+1-len(route))...)
	y := route[ops.MoEOutY]
	route[ops.MoEOutY] = nil
	balanced := a.Training && (a.Gate == ops.GateSinkhorn || a.Gate == ops.GateSinkhornTrue)
	chosen := (balanced || input(n, ops.MoEInNoise) != nil) && a.Selection == ops.SelectTopK && input(n, ops.MoEInSelect) == nil
	if chosen && route[ops.MoEOutIndices] == nil {
		route[ops.MoEOutIndices] = y // any value: it says that the output is asked for
	}
	if !slices.ContainsFunc(route, func(v *ir.Value) bool { return v != nil }) {
		return s.body(g, n, s.wide)
	}
	m, err := givenLogits(g, n)
	if err != nil {
		return nil, err
	}
	m.Outputs = route
	outs, err := s.body(g, m, true)
	if err != nil || y == nil {
		return outs, err
	}
	if s.split {
		k := g.Add(n.Op, n.Attrs, m.Inputs, "")
		k.Origin = n.Origin
		outs[ops.MoEOutY] = k.Outputs[0]
		return outs, nil
	}
	experts := *m
	experts.Outputs = []*ir.Value{y}
	if chosen {
		experts.Inputs = append(slices.Clone(m.Inputs), make([]*ir.Value, max(0, ops.MoEInSelect+1-len(m.Inputs)))...)
		experts.Inputs[ops.MoEInSelect] = outs[ops.MoEOutIndices]
	}
	ys, err := s.body(g, &experts, s.wide)
	if err != nil {
		return nil, err
	}
	outs[ops.MoEOutY] = ys[ops.MoEOutY]
	return outs, nil
}

// givenLogits is the mixture n with its logits made ahead.
func givenLogits(g *ir.Graph, n *ir.Node) (*ir.Node, error) {
	ins := slices.Clone(n.Inputs)
	for len(ins) <= ops.MoEInLogits {
		ins = append(ins, nil)
	}
	logits, bias := ins[ops.MoEInLogits], ins[ops.MoEInSelBias]
	if logits == nil || bias != nil {
		op, attrs, in := g.Op("Add"), any(nil), []*ir.Value{logits}
		if logits == nil {
			sel, err := add(g, n, g.Op("Transpose"), &ops.TransposeAttrs{}, ins[ops.MoEInSel])
			if err != nil {
				return nil, err
			}
			op, attrs, in = g.Op("moec::Linear"), &ops.LinearAttrs{}, []*ir.Value{ins[ops.MoEInX], sel.Outputs[0]}
		}
		if bias != nil {
			in = append(in, bias)
		}
		m, err := add(g, n, op, attrs, in...)
		if err != nil {
			return nil, err
		}
		logits = m.Outputs[0]
	}
	ins[ops.MoEInSel], ins[ops.MoEInSelBias], ins[ops.MoEInLogits] = nil, nil, logits
	if input(n, ops.MoEInNoise) == nil {
		ins[ops.MoEInNoiseW] = nil
	}
	return &ir.Node{Name: n.Name, Op: n.Op, Attrs: n.Attrs, Inputs: ins, Outputs: n.Outputs, Origin: n.Origin}, nil
}

// body is the expansion of n, in f64 when it is wide: where values of f32 are kept in 16 bits, what is counted, summed
// over tokens and ranked in between needs more than that.
func (s *spelling) body(g *ir.Graph, n *ir.Node, wide bool) ([]*ir.Value, error) {
	expand := expansion(n)
	if !wide {
		return expand(g, n)
	}
	m := *n
	m.Inputs = slices.Clone(n.Inputs)
	for i, v := range m.Inputs {
		if v != nil && v.Type.DType == tensor.F32 {
			w, err := cast(g, n, v, tensor.F64)
			if err != nil {
				return nil, err
			}
			m.Inputs[i] = w
		}
	}
	outs, err := expand(g, &m)
	for i, v := range outs {
		if err == nil && v != nil && v.Type.DType == tensor.F64 {
			outs[i], err = cast(g, n, v, tensor.F32)
		}
	}
	return outs, err
}

// expansion is the way to write a node in simpler standard ops, nil when there is none.
func expansion(n *ir.Node) func(*ir.Graph, *ir.Node) ([]*ir.Value, error) {
	switch {
	case n.Is("moec::PKM"): // prunes the search, as the kernels do
		return func(g *ir.Graph, n *ir.Node) ([]*ir.Value, error) { return ops.ExpandBody(ops.BodyGather, g, n) }
	case n.Op.Expand != nil:
		return n.Op.Expand
	}
	return ops.Simpler(n)
}

// splits reports a mixture whose kernels lack nothing but its further outputs.
func (l *Lowering) splits(n *ir.Node) bool {
	if !n.Is("moec::MoE") || !l.present(n, ops.MoEOutY) {
		return false
	}
	_, err := l.moe(&ir.Node{Name: n.Name, Op: n.Op, Attrs: n.Attrs, Inputs: n.Inputs, Outputs: n.Outputs[:1]})
	return err == nil
}

// add adds a node in place of n.
func add(g *ir.Graph, n *ir.Node, op *ir.Op, attrs any, ins ...*ir.Value) (*ir.Node, error) {
	m := g.Add(op, attrs, ins, "")
	m.Origin = n.Origin
	return m, ir.InferNode(m)
}

func cast(g *ir.Graph, n *ir.Node, v *ir.Value, to tensor.DType) (*ir.Value, error) {
	op := g.Op("Cast")
	a := op.Attrs().(*ops.CastAttrs)
	a.To = to
	m, err := add(g, n, op, a, v)
	return m.Outputs[0], err
}

// smallFold bounds the constants, in bytes, that are made of less than half as much: zeros must not fill the plan.
const smallFold = 1 << 18

// fold evaluates a node whose inputs are constants: weights in another order, which launches then read packed.
func fold(g *ir.Graph, n *ir.Node) error {
	if n.Removed() || n.Op.Random || len(n.Subgraphs) > 0 || slices.ContainsFunc(n.Inputs, func(v *ir.Value) bool { return v != nil && !v.IsConst() }) {
		return nil
	}
	c := &ir.EvalCtx{
		Context: context.Background(), Attrs: n.Attrs, Ins: make([]*tensor.Tensor, len(n.Inputs)), Outs: make([]*tensor.Tensor, len(n.Outputs)),
		Want: make([]bool, len(n.Outputs)), OutTypes: make([]ir.Type, len(n.Outputs)),
	}
	limit := 0
	for i, v := range n.Inputs {
		if v != nil {
			c.Ins[i] = v.Const
			limit += 2 * len(v.Const.Bytes())
		}
	}
	for i, v := range n.Outputs {
		c.Want[i], c.OutTypes[i] = true, v.Type
		shape, ok := v.Type.Static()
		if !ok || tensor.NumElems(shape)*v.Type.DType.Size() > max(smallFold, limit) {
			return nil
		}
	}
	if err := n.Op.Eval(c); err != nil {
		return ir.NodeError(n, err)
	}
	for i, v := range n.Outputs {
		k := g.NewConst("", c.Outs[i])
		g.ReplaceUses(v, k)
		v.Name, k.Name = k.Name, v.Name // outputs keep theirs
	}
	g.Remove(n)
	return nil
}
