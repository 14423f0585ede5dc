// Package ir is the program as moec sees it: a Graph of Nodes that produce Values.
//
//	model.onnx -> ir/onnx -> ir.Graph -> passes -> ir.Graph -> codegen -> plan.Program
//	                          ^^^^^^^^             ^^^^^^^^
//
// An Op says what a node means: its attributes, the types it infers and a slow,
// plainly right Eval. The table of ops is ir/ops; the interpreter, ir/eval.
//
// Graphs are closed: a subgraph (the branches of If, the body of Loop and Scan)
// sees nothing of the graph around it except through its inputs. What it captures
// from outside is passed as trailing inputs of the node that holds it.
package ir

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Graph is a list of nodes in an order in which every value is produced before it
// is used, with the values that enter and leave. Change it through Add, SetInput,
// ReplaceUses, Remove and Sort, which keep the use lists right.
type Graph struct {
	Name    string
	Ops     OpSet // the operators its nodes may use; shared by its subgraphs
	Inputs  []*Value
	Outputs []*Value // may repeat a value, and may name an input or a constant
	Nodes   []*Node

	nextValue, nextNode int
}

// Value is something a node produces, an input of the graph, or a constant.
type Value struct {
	ID    int    // dense and unique within the graph
	Name  string // unique within the graph; the user's name where it has one
	Type  Type
	Const *tensor.Tensor // the constant's value; such a value has no Def
	Def   *Node          // the node that produces it; nil for inputs and constants
	Index int            // which output of Def it is

	users []*Node // one entry per use
}

// Node applies an op to values.
type Node struct {
	ID      int
	Name    string // unique within the graph
	Op      *Op
	Attrs   any      // pointer to the op's attribute struct; nil if it has none
	Inputs  []*Value // nil for an absent optional input
	Outputs []*Value // nil for an optional output nobody asked for
	// Subgraphs are the bodies in the op's order (If: then, else). The last Captures
	// entries of Inputs are passed to each of them after its own inputs.
	Subgraphs []*Graph
	Captures  int
	// Origin are the names of the user's nodes this one came from. Rewrites unite
	// the origins of what they replace.
	Origin []string

	removed bool
}

// OpSet finds operators by domain ("" for ONNX's own) and name, nil when unknown.
// ops.NewTable gives the one of all ops moec knows.
type OpSet interface {
	Lookup(domain, name string) *Op
}

// NewGraph returns an empty graph over a set of operators.
func NewGraph(name string, ops OpSet) *Graph { return &Graph{Name: name, Ops: ops} }

// Op finds an operator by what Op.String prints: "MatMul", "moec::MoE". An unknown one
// is a bug in the caller and panics; importers, which see unknown ones, use Ops.Lookup.
func (g *Graph) Op(name string) *Op {
	domain, base, ok := strings.Cut(name, "::")
	if !ok {
		domain, base = DomainONNX, name
	}
	op := g.Ops.Lookup(domain, base)
	if op == nil {
		panic(fmt.Sprintf("ir: no op %q in the table", name))
	}
	return op
}

// Is reports whether n applies one of the named ops ("MatMul", "moec::MoE").
func (n *Node) Is(names ...string) bool { return slices.Contains(names, n.Op.String()) }

// NewValue makes a value that belongs to g and is not produced yet. The name may be
// empty; a name already taken is the caller's bug that Verify finds.
func (g *Graph) NewValue(name string, t Type) *Value {
	v := &Value{ID: g.nextValue, Name: name, Type: t}
	if name == "" {
		v.Name = fmt.Sprintf("%%%d", v.ID)
	}
	g.nextValue++
	return v
}

// AddInput appends an input of the graph.
func (g *Graph) AddInput(name string, t Type) *Value {
	v := g.NewValue(name, t)
	g.Inputs = append(g.Inputs, v)
	return v
}

// NewConst makes a constant value.
func (g *Graph) NewConst(name string, t *tensor.Tensor) *Value {
	v := g.NewValue(name, TypeOf(t))
	v.Const = t
	return v
}

// Add appends a node with fresh outputs of unknown type; Infer fills the types in.
// outNames gives the outputs' names ("" for a made-up one). The caller runs Sort
// when the node was not added after everything it reads.
func (g *Graph) Add(op *Op, attrs any, ins []*Value, outNames ...string) *Node {
	n := &Node{ID: g.nextNode, Op: op, Attrs: attrs, Inputs: slices.Clone(ins)}
	g.nextNode++
	n.Name = fmt.Sprintf("n%d", n.ID)
	for _, v := range n.Inputs {
		if v != nil {
			v.users = append(v.users, n)
		}
	}
	for i, name := range outNames {
		v := g.NewValue(name, Type{})
		v.Def, v.Index = n, i
		n.Outputs = append(n.Outputs, v)
	}
	g.Nodes = append(g.Nodes, n)
	return n
}

// Users are the nodes that read v, once per use. Graph outputs are not among them.
func (v *Value) Users() []*Node { return v.users }

// IsConst reports whether v is a constant.
func (v *Value) IsConst() bool { return v != nil && v.Const != nil }

// IsOutput reports whether v leaves the graph.
func (g *Graph) IsOutput(v *Value) bool { return slices.Contains(g.Outputs, v) }

// OnlyUse reports whether v has exactly one reader and does not leave the graph.
func (g *Graph) OnlyUse(v *Value) bool { return len(v.users) == 1 && !g.IsOutput(v) }

// SetInput makes v (or nothing, when nil) the i-th input of n.
func (g *Graph) SetInput(n *Node, i int, v *Value) {
	if old := n.Inputs[i]; old != nil {
		old.dropUser(n)
	}
	n.Inputs[i] = v
	if v != nil {
		v.users = append(v.users, n)
	}
}

// AppendInput gives n one more input.
func (g *Graph) AppendInput(n *Node, v *Value) {
	n.Inputs = append(n.Inputs, nil)
	g.SetInput(n, len(n.Inputs)-1, v)
}

// ReplaceUses makes every reader of old, and every graph output that is old, take
// repl instead. When old leaves the graph, its name moves to repl (unless repl is an
// input, a constant or itself an output), so that outputs keep the user's names.
func (g *Graph) ReplaceUses(old, repl *Value) {
	if old == repl {
		return
	}
	for _, n := range slices.Clone(old.users) {
		for i, v := range n.Inputs {
			if v == old {
				g.SetInput(n, i, repl)
			}
		}
	}
	if !g.IsOutput(old) {
		return
	}
	if repl.Def != nil && !g.IsOutput(repl) {
		old.Name, repl.Name = repl.Name, old.Name
	}
	for i, v := range g.Outputs {
		if v == old {
			g.Outputs[i] = repl
		}
	}
}

// Remove takes nodes out. Nobody may use their outputs any more.
func (g *Graph) Remove(nodes ...*Node) {
	for _, n := range nodes {
		if n.removed {
			continue
		}
		for i := range n.Inputs {
			g.SetInput(n, i, nil)
		}
		n.removed = true
	}
	g.Nodes = slices.DeleteFunc(g.Nodes, func(n *Node) bool { return n.removed })
}

// Removed reports whether n was taken out of its graph.
func (n *Node) Removed() bool { return n.removed }

// Merge unites the origins of nodes, in order, without repeats.
func Merge(nodes ...*Node) []string {
	var out []string
	for _, n := range nodes {
		for _, o := range n.Origin {
			if !slices.Contains(out, o) {
				out = append(out, o)
			}
		}
	}
	return out
}

// Sort puts the nodes into an order in which producers come before readers, keeping
// the present order where it can. It fails when there is a cycle, naming a node on it.
func (g *Graph) Sort() error {
	order := make([]*Node, 0, len(g.Nodes))
	state := make(map[*Node]uint8, len(g.Nodes)) // 1: on the stack, 2: placed
	type frame struct {
		n    *Node
		next int
	}
	var stack []frame
	for _, root := range g.Nodes {
		if state[root] != 0 {
			continue
		}
		stack = append(stack[:0], frame{root, 0})
		state[root] = 1
		for len(stack) > 0 {
			f := &stack[len(stack)-1]
			if f.next == len(f.n.Inputs) {
				state[f.n] = 2
				order = append(order, f.n)
				stack = stack[:len(stack)-1]
				continue
			}
			v := f.n.Inputs[f.next]
			f.next++
			if v == nil || v.Def == nil {
				continue
			}
			switch state[v.Def] {
			case 0:
				state[v.Def] = 1
				stack = append(stack, frame{v.Def, 0})
			case 1:
				return &Error{Origin: v.Def.Origin, Op: v.Def.Op.String(), Err: fmt.Errorf("%w: node %q depends on its own output %q", ErrGraph, v.Def.Name, v.Name)}
			}
		}
	}
	g.Nodes = order
	return nil
}

func (v *Value) dropUser(n *Node) {
	if i := slices.Index(v.users, n); i >= 0 {
		v.users = slices.Delete(v.users, i, i+1)
	}
}

// Values are all values of the graph in a fixed order: inputs, then constants and
// outputs as nodes read and produce them, then constants that only leave the graph.
func (g *Graph) Values() []*Value {
	seen := make(map[*Value]bool)
	var out []*Value
	add := func(v *Value) {
		if v != nil && !seen[v] {
			seen[v] = true
			out = append(out, v)
		}
	}
	for _, v := range g.Inputs {
		add(v)
	}
	for _, n := range g.Nodes {
		for _, v := range n.Inputs {
			add(v)
		}
		for _, v := range n.Outputs {
			add(v)
		}
	}
	for _, v := range g.Outputs {
		add(v)
	}
	return out
}
