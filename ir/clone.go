package ir

import "slices"

// Clone copies a graph with its nodes and values, in the same order, under the same names and numbers. Tensors,
// attributes and subgraphs are shared: whoever changes those of the copy must copy them first.
func (g *Graph) Clone() *Graph {
	c := &Graph{Name: g.Name, Ops: g.Ops, nextValue: g.nextValue, nextNode: g.nextNode}
	values, nodes := map[*Value]*Value{}, make(map[*Node]*Node, len(g.Nodes))
	value := func(v *Value) *Value {
		if v == nil {
			return nil
		}
		w, ok := values[v]
		if !ok {
			copied := *v
			copied.users, copied.Def = nil, nil
			w = &copied
			w.Type.Shape = slices.Clone(v.Type.Shape)
			values[v] = w
		}
		return w
	}
	all := func(vs []*Value) []*Value {
		out := make([]*Value, len(vs))
		for i, v := range vs {
			out[i] = value(v)
		}
		return out
	}
	c.Inputs = all(g.Inputs)
	for _, n := range g.Nodes {
		m := *n
		m.Inputs, m.Outputs = all(n.Inputs), all(n.Outputs)
		m.Subgraphs, m.Origin = slices.Clone(n.Subgraphs), slices.Clone(n.Origin)
		nodes[n] = &m
		c.Nodes = append(c.Nodes, &m)
		for _, v := range m.Outputs {
			if v != nil {
				v.Def = &m
			}
		}
	}
	c.Outputs = all(g.Outputs)
	for v, w := range values {
		for _, n := range v.users {
			if m := nodes[n]; m != nil {
				w.users = append(w.users, m)
			}
		}
	}
	return c
}
