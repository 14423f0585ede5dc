package ir

import "fmt"

// Verify checks everything a graph promises: unique names and ids, one producer per
// value, producers before readers, use lists that match the uses, input counts the
// ops allow, subgraphs that get what they take, and stored types that inference would
// give again. It returns the first breach.
func Verify(g *Graph) error {
	if err := verifyGraph(g, 0); err != nil {
		return fmt.Errorf("graph %q: %w", g.Name, err)
	}
	return nil
}

func verifyGraph(g *Graph, depth int) error {
	names := map[string]*Value{}
	ids := map[int]*Value{}
	uses := map[*Value]int{}
	claim := func(v *Value) error {
		if o, ok := names[v.Name]; ok && o != v {
			return fmt.Errorf("%w: two values are named %q", ErrGraph, v.Name)
		}
		if o, ok := ids[v.ID]; ok && o != v {
			return fmt.Errorf("%w: values %q and %q have the same id", ErrGraph, v.Name, o.Name)
		}
		names[v.Name], ids[v.ID] = v, v
		return nil
	}
	placed := map[*Value]bool{}
	for _, v := range g.Inputs {
		if v.Def != nil || v.Const != nil {
			return fmt.Errorf("%w: input %q has a producer", ErrGraph, v.Name)
		}
		if placed[v] {
			return fmt.Errorf("%w: input %q is listed twice", ErrGraph, v.Name)
		}
		placed[v] = true
		if err := claim(v); err != nil {
			return err
		}
	}
	nodeNames := map[string]bool{}
	for _, n := range g.Nodes {
		if nodeNames[n.Name] {
			return fmt.Errorf("%w: two nodes are named %q", ErrGraph, n.Name)
		}
		nodeNames[n.Name] = true
		if err := verifyNode(n, depth); err != nil {
			return NodeError(n, err)
		}
		for _, v := range n.Inputs {
			if v == nil {
				continue
			}
			if v.Const == nil && !placed[v] {
				return NodeError(n, fmt.Errorf("%w: reads %q before it is produced", ErrGraph, v.Name))
			}
			uses[v]++
			if err := claim(v); err != nil {
				return err
			}
		}
		for i, v := range n.Outputs {
			if v == nil {
				continue
			}
			if v.Def != n || v.Index != i || placed[v] {
				return NodeError(n, fmt.Errorf("%w: output %q has another producer", ErrGraph, v.Name))
			}
			placed[v] = true
			if err := claim(v); err != nil {
				return err
			}
		}
	}
	for _, v := range g.Outputs {
		if v == nil || v.Const == nil && !placed[v] {
			return fmt.Errorf("%w: an output of the graph is never produced", ErrGraph)
		}
		if err := claim(v); err != nil {
			return err
		}
	}
	for _, v := range names {
		if len(v.users) != uses[v] {
			return fmt.Errorf("%w: value %q has %d uses, its use list says %d", ErrGraph, v.Name, uses[v], len(v.users))
		}
	}
	return nil
}

func verifyNode(n *Node, depth int) error {
	own := len(n.Inputs) - n.Captures
	if n.Op == nil {
		return fmt.Errorf("%w: node %q has no op", ErrGraph, n.Name)
	}
	if n.removed {
		return fmt.Errorf("%w: a removed node is still listed", ErrGraph)
	}
	if own < n.Op.MinIn || n.Op.MaxIn >= 0 && own > n.Op.MaxIn {
		return fmt.Errorf("%w: %d inputs, want %d to %d", ErrGraph, own, n.Op.MinIn, n.Op.MaxIn)
	}
	if n.Op.MaxOut >= 0 && len(n.Outputs) > n.Op.MaxOut {
		return fmt.Errorf("%w: %d outputs, want at most %d", ErrGraph, len(n.Outputs), n.Op.MaxOut)
	}
	was := make([]Type, len(n.Outputs))
	for i, v := range n.Outputs {
		if v != nil {
			was[i] = v.Type
		}
	}
	for _, s := range n.Subgraphs {
		if len(s.Inputs) < n.Captures {
			return fmt.Errorf("%w: subgraph %q takes %d inputs, fewer than the %d captures", ErrGraph, s.Name, len(s.Inputs), n.Captures)
		}
		if err := verifyGraph(s, depth+1); err != nil {
			return err
		}
	}
	if err := InferNode(n); err != nil {
		return err
	}
	// Inference of one node alone sees less than inference of the whole graph: the
	// stored type may be sharper, but must not contradict.
	for i, v := range n.Outputs {
		if v == nil {
			continue
		}
		now := v.Type
		v.Type = was[i]
		if contradict(was[i], now) {
			return fmt.Errorf("%w: %q is stored as %s, inferred as %s", ErrGraph, v.Name, was[i], now)
		}
	}
	return nil
}

func contradict(a, b Type) bool {
	if a.DType != b.DType && a.DType != 0 && b.DType != 0 {
		return true
	}
	if !a.Ranked || !b.Ranked {
		return false
	}
	if len(a.Shape) != len(b.Shape) {
		return true
	}
	for i := range a.Shape {
		if a.Shape[i].IsKnown() && b.Shape[i].IsKnown() && a.Shape[i] != b.Shape[i] {
			return true
		}
	}
	return false
}
