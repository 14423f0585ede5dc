package ir

import "slices"

// Clone copies the graph with its subgraphs: nodes, values and attributes are the
// copy's own, tensors are shared.
func (g *Graph) Clone() *Graph {
	c := &Graph{Name: g.Name, Ops: g.Ops, nextValue: g.nextValue, nextNode: g.nextNode}
	vals := map[*Value]*Value{}
	value := func(v *Value) *Value {
		if v == nil {
			return nil
		}
		w := vals[v]
		if w == nil {
			w = &Value{ID: v.ID, Name: v.Name, Type: v.Type, Const: v.Const, Index: v.Index}
			w.Type.Shape = slices.Clone(v.Type.Shape)
			vals[v] = w
		}
		return w
	}
	list := func(vs []*Value) []*Value {
		out := make([]*Value, len(vs))
		for i, v := range vs {
			out[i] = value(v)
		}
		return out
	}
	c.Inputs = list(g.Inputs)
	for _, n := range g.Nodes {
		m := &Node{
			ID: n.ID, Name: n.Name, Op: n.Op, Attrs: CloneAttrs(n.Attrs), Inputs: list(n.Inputs), Outputs: list(n.Outputs),
			Captures: n.Captures, Origin: slices.Clone(n.Origin),
		}
		for _, v := range m.Inputs {
			if v != nil {
				v.users = append(v.users, m)
			}
		}
		for _, v := range m.Outputs {
			if v != nil {
				v.Def = m
			}
		}
		for _, s := range n.Subgraphs {
			m.Subgraphs = append(m.Subgraphs, s.Clone())
		}
		c.Nodes = append(c.Nodes, m)
	}
	c.Outputs = list(g.Outputs)
	return c
}
