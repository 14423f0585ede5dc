package ir

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Infer computes the types of all values of g from the types of its inputs. What is
// known only at run time stays symbolic or unknown.
func Infer(g *Graph) error {
	in := inferrer{syms: map[*Value][]Dim{}}
	return in.graph(g)
}

// Contents infers g like Infer and returns, besides, the elements of the small integer
// values that inference knows as dims; an element of Size -1 without a name is unknown.
// Values of g's subgraphs are among them.
func Contents(g *Graph) (map[*Value][]Dim, error) {
	in := inferrer{syms: map[*Value][]Dim{}}
	err := in.graph(g)
	return in.syms, err
}

// InferNode computes the output types of one node from its inputs' stored types,
// without the symbolic contents that Infer tracks across nodes.
func InferNode(n *Node) error {
	in := inferrer{syms: map[*Value][]Dim{}}
	return in.node(n)
}

// Inference infers node after node while a graph is being built.
type Inference struct{ in inferrer }

// NewInference starts with nothing known.
func NewInference() *Inference { return &Inference{inferrer{syms: map[*Value][]Dim{}}} }

// Node infers the outputs of n, which was added after everything it reads.
func (f *Inference) Node(n *Node) error { return f.in.node(n) }

type inferrer struct {
	syms map[*Value][]Dim // elements of integer values that are known as dims
}

func (in *inferrer) graph(g *Graph) error {
	for _, n := range g.Nodes {
		if err := in.node(n); err != nil {
			return NodeError(n, err)
		}
	}
	return nil
}

func (in *inferrer) node(n *Node) error {
	own := len(n.Inputs) - n.Captures
	c := &InferCtx{
		Attrs:  n.Attrs,
		Ins:    make([]Type, own),
		Consts: make([]*tensor.Tensor, own),
		Syms:   make([][]Dim, own),
		Outs:   make([]Type, len(n.Outputs)),
	}
	for i, v := range n.Inputs[:own] {
		if v == nil {
			continue
		}
		if err := v.Type.fits(); err != nil {
			return err
		}
		c.Ins[i], c.Consts[i], c.Syms[i] = v.Type, v.Const, in.syms[v]
	}
	if len(n.Subgraphs) > 0 {
		c.Sub = func(i int, ins []Type) ([]Type, error) { return in.sub(n, i, ins) }
	}
	if n.Op.Infer != nil {
		if err := n.Op.Infer(c); err != nil {
			return err
		}
	}
	for i, v := range n.Outputs {
		if v == nil {
			continue
		}
		v.Type = c.Outs[i]
		if i < len(c.OutSyms) && c.OutSyms[i] != nil {
			in.syms[v] = c.OutSyms[i]
		}
	}
	return nil
}

func (in *inferrer) sub(n *Node, i int, ins []Type) ([]Type, error) {
	g := n.Subgraphs[i]
	if len(ins)+n.Captures != len(g.Inputs) {
		return nil, fmt.Errorf("%w: subgraph %q takes %d inputs, is given %d", ErrGraph, g.Name, len(g.Inputs)-n.Captures, len(ins))
	}
	for j, t := range ins {
		g.Inputs[j].Type = t
	}
	caps := n.Inputs[len(n.Inputs)-n.Captures:]
	for j, v := range caps {
		gi := g.Inputs[len(ins)+j]
		if v == nil {
			continue
		}
		gi.Type = v.Type
		if s := in.syms[v]; s != nil {
			in.syms[gi] = s
		}
	}
	if err := in.graph(g); err != nil {
		return nil, err
	}
	outs := make([]Type, len(g.Outputs))
	for j, v := range g.Outputs {
		outs[j] = v.Type
	}
	return outs, nil
}
