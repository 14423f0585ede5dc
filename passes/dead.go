package passes

import (
	"context"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
)

// Dead removes nodes, optional outputs and captures that nobody reads.
func Dead() Pass {
	return Pass{
		Name: "dead", Doc: "Remove nodes, optional outputs and captures that nobody reads.", Effect: Exact,
		Run: func(_ context.Context, g *ir.Graph) (bool, error) { return removeDead(g), nil },
	}
}

func removeDead(g *ir.Graph) bool {
	outputs := make(map[*ir.Value]bool, len(g.Outputs))
	for _, v := range g.Outputs {
		outputs[v] = true
	}
	changed := false
	for {
		var dead []*ir.Node
		// Readers stand behind producers, so one walk from the back finds whole chains.
		gone := map[*ir.Value]int{}
		for _, n := range slices.Backward(g.Nodes) {
			// Of Split and the like, the number of outputs means something.
			used, optional := false, n.Op.MaxOut >= 0 && n.Op.MaxOut < 32
			for i, v := range n.Outputs {
				if v == nil {
					continue
				}
				if outputs[v] || len(v.Users()) > gone[v] {
					used = true
				} else if optional && i >= n.Op.MinOut {
					n.Outputs[i] = nil // an optional output
					changed = true
				}
			}
			if !used {
				dead = append(dead, n)
				for _, v := range n.Inputs {
					gone[v]++
				}
				continue
			}
			for optional && len(n.Outputs) > max(1, n.Op.MinOut) && n.Outputs[len(n.Outputs)-1] == nil {
				n.Outputs = n.Outputs[:len(n.Outputs)-1]
			}
			changed = dropCaptures(g, n) || changed
		}
		if len(dead) == 0 {
			return changed
		}
		g.Remove(dead...)
		changed = true
	}
}

// dropCaptures removes captured values that no subgraph of n reads.
func dropCaptures(g *ir.Graph, n *ir.Node) bool {
	changed := false
	for j := n.Captures - 1; j >= 0; j-- {
		used := slices.ContainsFunc(n.Subgraphs, func(s *ir.Graph) bool {
			v := s.Inputs[len(s.Inputs)-n.Captures+j]
			return len(v.Users()) > 0 || s.IsOutput(v)
		})
		if used {
			continue
		}
		dropCapture(g, n, j)
		changed = true
	}
	return changed
}

// dropCapture takes the j-th capture from n and its subgraphs.
func dropCapture(g *ir.Graph, n *ir.Node, j int) {
	for _, s := range n.Subgraphs {
		i := len(s.Inputs) - n.Captures + j
		s.Inputs = slices.Delete(s.Inputs, i, i+1)
	}
	i := len(n.Inputs) - n.Captures + j
	g.SetInput(n, i, nil)
	n.Inputs = slices.Delete(n.Inputs, i, i+1)
	n.Captures--
}
