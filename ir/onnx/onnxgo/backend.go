// Package onnxgo makes moec a backend of github.com/owulveryck/onnx-go: programs written
// on onnx-go run their models on moec's engine by changing one import.
//
//	backend := onnxgo.New(onnxgo.Options{})
//	model := onnx.NewModel(backend)
//	err := model.UnmarshalBinary(bytes)
//	model.SetInput(0, t)
//	err = backend.Run()
//	out, err := model.GetOutputTensors()
//
// onnx-go v0.5.0 decodes files of its time only: it hands on no operator-set version, no
// subgraphs, no domains and no 16-bit floats. For today's models use package ir/onnx.
// Nothing of the default binary imports this package.
package onnxgo

import (
	"fmt"

	"github.com/owulveryck/onnx-go"
	"gonum.org/v1/gonum/graph"
	"gonum.org/v1/gonum/graph/simple"
	"gorgonia.org/tensor"

	moec "github.com/seed-c851cfd2/moec/ir/onnx"
)

// Options tune a backend. The zero value is good.
type Options struct {
	// Opset is the version of ONNX's operator set that the model was written for, which
	// onnx-go does not tell its backends. 0 means 10, the newest that onnx-go knows of.
	Opset   int
	Threads int // as in runtime.Options
	Limits  moec.Limits
}

// Backend receives one model from onnx-go and runs it. It is not for concurrent use.
type Backend struct {
	*simple.WeightedDirectedGraph // answers queries about the topology
	opt                           Options
	nodes                         []*Node
	operands                      []operand // since the last operation
	ops                           []operation
	compiled                      *program
}

// operand is an edge from the value an operation produces to one that it reads.
type operand struct {
	out, in *Node
	index   int
}

type operation struct {
	op   onnx.Operation
	ins  []*Node
	outs []*Node
}

// New returns an empty backend.
func New(opt Options) *Backend {
	if opt.Opset == 0 {
		opt.Opset = 10
	}
	return &Backend{WeightedDirectedGraph: simple.NewWeightedDirectedGraph(0, 0), opt: opt}
}

// Node is a value of the model.
type Node struct {
	b        *Backend
	id       int64
	name     string
	value    tensor.Tensor
	declared bool // it was given a tensor while the model was decoded
	given    bool // it was given a tensor since: it is an input
	produced bool
}

// ID implements graph.Node.
func (n *Node) ID() int64 { return n.id }

// SetName implements onnx.Namer.
func (n *Node) SetName(s string) { n.name = s }

// GetName implements onnx.Namer.
func (n *Node) GetName() string { return n.name }

// SetTensor implements onnx.DataCarrier. While a model is decoded it gives constants
// their values and inputs their types; afterwards it sets inputs.
func (n *Node) SetTensor(t tensor.Tensor) error {
	if len(n.b.ops) == 0 {
		n.declared = true
	} else {
		n.given = true
	}
	n.value = t
	return nil
}

// GetTensor implements onnx.DataCarrier; after Run, outputs hold their results.
func (n *Node) GetTensor() tensor.Tensor { return n.value }

// NewNode implements graph.NodeAdder. Numbers are given in sequence from 0, which
// onnx-go's Model.SetInput relies on.
func (b *Backend) NewNode() graph.Node {
	return &Node{b: b, id: int64(len(b.nodes))}
}

// AddNode implements graph.NodeAdder.
func (b *Backend) AddNode(n graph.Node) {
	b.nodes = append(b.nodes, n.(*Node))
	b.WeightedDirectedGraph.AddNode(n)
}

// NewWeightedEdge implements graph.WeightedEdgeAdder; the weight is the position of the
// operand.
func (b *Backend) NewWeightedEdge(from, to graph.Node, w float64) graph.WeightedEdge {
	return b.WeightedDirectedGraph.NewWeightedEdge(from, to, w)
}

// SetWeightedEdge implements graph.WeightedEdgeAdder. Unlike a graph, an operation may
// read one value twice.
func (b *Backend) SetWeightedEdge(e graph.WeightedEdge) {
	from, to := e.From().(*Node), e.To().(*Node)
	b.operands = append(b.operands, operand{from, to, int(e.Weight())})
	if from != to { // gonum panics at loops; Run reports the cycle
		b.WeightedDirectedGraph.SetWeightedEdge(e)
	}
}

// ApplyOperation implements onnx.OperationCarrier.
func (b *Backend) ApplyOperation(op onnx.Operation, outs ...graph.Node) error {
	o := operation{op: op}
	for _, n := range outs {
		n := n.(*Node)
		n.produced = true
		o.outs = append(o.outs, n)
	}
	if len(o.outs) == 0 {
		return fmt.Errorf("onnxgo: operation %s has no outputs", op.Name)
	}
	// Every output has the same operands; those of the first are enough.
	last := -1
	for _, e := range b.operands {
		if e.out == o.outs[0] && e.index == last+1 {
			o.ins = append(o.ins, e.in)
			last = e.index
		}
	}
	b.operands = b.operands[:0]
	b.ops = append(b.ops, o)
	b.compiled = nil
	return nil
}
