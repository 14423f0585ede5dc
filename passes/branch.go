package passes

import (
	"context"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
)

// Branches puts the branch of an If in its place where the condition is a constant:
// torch's script exporter asks at run time for ranks and types that are known.
func Branches() Pass {
	return Pass{
		Name: "branch", Doc: "Replace If by the branch that a constant condition takes.", Effect: Exact,
		Run: func(_ context.Context, g *ir.Graph) (bool, error) {
			e := &edit{g: g}
			for _, n := range slices.Clone(g.Nodes) {
				if n.Is("If") {
					e.takeBranch(n)
				}
			}
			return e.done()
		},
	}
}

func (e *edit) takeBranch(n *ir.Node) {
	c, ok := number(n.Inputs[0])
	if !ok || len(n.Subgraphs) != 2 {
		return
	}
	body := n.Subgraphs[0]
	if c == 0 {
		body = n.Subgraphs[1]
	}
	if len(body.Inputs) != n.Captures || len(body.Outputs) < len(n.Outputs) {
		return
	}
	at := map[*ir.Value]*ir.Value{}
	for i, v := range body.Inputs {
		at[v] = n.Inputs[len(n.Inputs)-n.Captures+i]
	}
	// An output of the graph keeps its name only when a node makes its value.
	for i, v := range n.Outputs {
		if v != nil && e.g.IsOutput(v) {
			if r := body.Outputs[i]; r.Def == nil || repeats(body.Outputs, r) {
				return
			}
		}
	}
	inside := func(v *ir.Value) *ir.Value {
		if v != nil && at[v] == nil && v.IsConst() {
			at[v] = e.g.NewConst("", v.Const)
		}
		return at[v]
	}
	for _, m := range body.Nodes {
		ins := make([]*ir.Value, len(m.Inputs))
		for i, v := range m.Inputs {
			if v != nil {
				ins[i] = inside(v)
			}
		}
		// Names inside may be taken outside: made-up ones take their place.
		c := e.g.Add(m.Op, m.Attrs, ins, make([]string, len(m.Outputs))...)
		c.Subgraphs, c.Captures, c.Origin = m.Subgraphs, m.Captures, ir.Merge(m, n)
		e.added = append(e.added, c)
		for i, v := range m.Outputs {
			if v == nil {
				c.Outputs[i] = nil
				continue
			}
			c.Outputs[i].Type = v.Type
			at[v] = c.Outputs[i]
		}
	}
	for i, v := range n.Outputs {
		if v != nil && e.wanted(v) {
			e.replace(v, inside(body.Outputs[i]))
		}
	}
}

// repeats reports whether v stands in the list more than once.
func repeats(list []*ir.Value, v *ir.Value) bool {
	i := slices.Index(list, v)
	return i >= 0 && slices.Contains(list[i+1:], v)
}
