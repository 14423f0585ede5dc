// Package cuda turns the nodes of a graph into launches of the kernels that codegen/ptx writes, for a named GPU
// and precision.
//
//	ir.Graph -> Lower -> a Choice per node -> codegen puts them into the plan
//
// Every value is row-major in device memory, f32 in the target's precision. Elementwise chains become one launch,
// transpositions, slices and broadcasts on their way are read through strides. A node without a kernel runs on the
// host, with copies, and its Choice says why.
package cuda

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/codegen/plan/expr"
	"github.com/seed-c851cfd2/moec/codegen/ptx"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Choice is what is done with a node.
type Choice struct {
	Kernel   string // plan.KernelLaunch, KernelInside, KernelView or KernelRef
	Note     string
	Launches []Launch
	Temps    []plan.Temp
	// Also are the outputs of other nodes that the launches leave in memory.
	Also     []*ir.Value
	Variants []Variant // launches that are better for some sizes
	// Pack are the constant inputs that only the launches read, as they read them.
	Pack map[int]*plan.Const

	declined bool   // on the host for want of a kernel
	order    string // how sums are added, where a node's kernels differ in it: for variants
}

// Variant is other launches, for the sizes that its condition names; see plan.Variant.
type Variant struct {
	When     expr.Cond
	Launches []Launch
	Temps    []plan.Temp
	Reorders bool
}

// Launch is a kernel with its buffers.
type Launch struct {
	Kernel *ptx.Kernel
	Args   []Operand // one per buffer of the kernel
	Note   string
}

// Operand is device memory: a value of the graph, a constant of the plan, or a temporary of the step.
type Operand struct {
	Value *ir.Value
	Const *plan.Const
	Temp  int
}

// Lowering is the choices for a graph.
type Lowering struct {
	g       *ir.Graph
	planner ptx.Planner
	target  plan.Target
	float   tensor.DType // what f32 is stored as
	math    ptx.Math
	dims    *symbols
	host    map[*ir.Value]bool // known when shapes are
	open    map[*ir.Value]bool // of a shape that data decides
	read    map[*ir.Value]bool // values that something needs in memory
	choices map[*ir.Node]*Choice
	nodes   []*ir.Node // in the order of the steps
	at      map[*ir.Node]int
	stored  map[storedKey]*plan.Const
	extras  map[extraKey]*plan.Const
}

type storedKey struct {
	data   any
	layout string
}

// extraKey names a constant that launches of a node read beside its inputs.
type extraKey struct {
	node         *ir.Node
	name, layout string
}

// Lower chooses for every node of a graph. The graph is not changed; the choices are for that of Lowering.Graph, in which
// fused nodes without kernels are spelled out.
func Lower(g *ir.Graph, t plan.Target) (*Lowering, error) {
	return spell(promote(g), func(g *ir.Graph) (*Lowering, error) { return lowerAll(g, t) })
}

// lowerAll chooses for every node of a graph as it is.
func lowerAll(g *ir.Graph, t plan.Target) (*Lowering, error) {
	if t.GPU == "" {
		t.GPU = "generic"
	}
	gpu, err := ptx.GPUByName(t.GPU)
	if err != nil {
		return nil, err
	}
	l := &Lowering{
		g: g, planner: ptx.Planner{GPU: gpu}, target: t, host: map[*ir.Value]bool{}, open: map[*ir.Value]bool{}, read: map[*ir.Value]bool{},
		choices: map[*ir.Node]*Choice{}, at: map[*ir.Node]int{}, stored: map[storedKey]*plan.Const{}, extras: map[extraKey]*plan.Const{},
	}
	switch t.Precision {
	case "", "f32":
		l.math = l.f32Math()
	case "bf16", "f16":
		l.math = ptx.Tensor16
	default:
		return nil, fmt.Errorf("no CUDA programs at precision %q; choose f32, bf16 or f16", t.Precision)
	}
	l.float = t.Stored(tensor.F32)
	l.dims = newSymbols(g)
	l.settle()
	l.arrange()
	rules := rules()
	// From the outputs up: a chain's last node takes in what only it reads.
	for _, n := range slices.Backward(l.nodes) {
		if l.choices[n] != nil {
			continue
		}
		if l.readThrough(n) {
			l.choices[n] = &Choice{Kernel: plan.KernelInside, Note: "read through strides"}
			continue
		}
		if l.shapeAlone(n) {
			l.choices[n] = &Choice{Kernel: plan.KernelInside, Note: shapeNote}
			continue
		}
		c, err := l.choose(n, rules)
		if err != nil {
			return nil, ir.NodeError(n, err)
		}
		l.choices[n] = c
		if c.Kernel != plan.KernelLaunch {
			for _, v := range n.Inputs {
				l.read[v] = true
			}
		}
	}
	return l, nil
}

// readThrough reports a node that only moves elements and whose output no launch, view or host step reads: they all
// read its input through strides.
func (l *Lowering) readThrough(n *ir.Node) bool {
	if !isMove(n) || n.Is("Concat") || l.onHost(n) {
		return false
	}
	used := false
	for _, v := range n.Outputs {
		if v == nil || l.read[v] || l.g.IsOutput(v) {
			return false
		}
		used = used || len(v.Users()) > 0
	}
	return used
}

// Nodes are the graph's nodes in the order of their steps.
func (l *Lowering) Nodes() []*ir.Node { return l.nodes }

const shapeNote = "its shape alone is read"

// shapeAlone reports a node of whose outputs others read the shapes alone: nothing has to compute them.
func (l *Lowering) shapeAlone(n *ir.Node) bool {
	read := false
	for _, v := range n.Outputs {
		if v == nil {
			continue
		}
		if l.g.IsOutput(v) || l.onHost(n) {
			return false
		}
		for _, u := range v.Users() {
			if read = true; !u.Is("Shape", "Size") && l.choices[u].Note != shapeNote {
				return false
			}
		}
	}
	return read
}

// Graph is what was lowered: the graph given to Lower, or a copy with nodes spelled out.
func (l *Lowering) Graph() *ir.Graph { return l.g }

// Choice is what is done with a node.
func (l *Lowering) Choice(n *ir.Node) *Choice { return l.choices[n] }

// Symbols are the dimensions that the launches' expressions are over.
func (l *Lowering) Symbols() []Symbol { return l.dims.list }

// declined is the error of a rule that has no kernel for a node; its text is the reason.
type declined string

func (d declined) Error() string { return string(d) }

func decline(format string, args ...any) error { return declined(fmt.Sprintf(format, args...)) }

func (l *Lowering) choose(n *ir.Node, rules map[string]rule) (*Choice, error) {
	if l.onHost(n) {
		return &Choice{Kernel: plan.KernelRef, Note: l.hostReason(n)}, nil
	}
	if isView(n) {
		return &Choice{Kernel: plan.KernelView}, nil
	}
	r, ok := rules[n.Op.String()]
	if !ok {
		if elementwise(n) == nil && !isMove(n) {
			return hostChoice("no kernel for " + n.Op.String()), nil
		}
		r = (*Lowering).chain
	}
	for _, v := range n.Inputs {
		if v != nil && !v.Type.Ranked {
			return hostChoice("an input of unknown rank"), nil
		}
	}
	for _, v := range n.Outputs {
		if v != nil && !v.Type.Ranked {
			return hostChoice("an output of unknown rank"), nil
		}
	}
	c, err := r(l, n)
	if d, ok := err.(declined); ok {
		return hostChoice(string(d)), nil
	}
	return c, err
}

// HostNote starts the notes of steps that run on the host though they depend on data.
const HostNote = "on the host: "

func hostChoice(reason string) *Choice {
	return &Choice{Kernel: plan.KernelRef, Note: HostNote + reason, declined: true}
}

// settle finds the values that the host computes: those that follow from shapes alone, once per set of input
// shapes, and those whose own shape only the data decides.
func (l *Lowering) settle() {
	for _, n := range l.g.Nodes {
		known := !n.Op.Random && len(n.Subgraphs) == 0
		for _, v := range n.Inputs {
			if v != nil && !v.IsConst() && !l.host[v] {
				known = false
			}
		}
		if n.Is("Shape", "Size") || known {
			for _, v := range n.Outputs {
				if v != nil {
					l.host[v] = true
				}
			}
			continue
		}
		if l.opens(n) {
			for _, v := range n.Outputs {
				if v != nil {
					l.open[v] = true
				}
			}
		}
	}
}

// opens reports a node whose outputs have shapes that only the data decides: launches are bound before the data is
// there.
func (l *Lowering) opens(n *ir.Node) bool {
	if len(n.Subgraphs) > 0 || n.Is("NonZero", "Unique", "Compress", "NonMaxSuppression", "StringSplit") {
		return true
	}
	for i, v := range n.Inputs {
		if v == nil {
			continue
		}
		if l.open[v] {
			return true
		}
		sizes := i > 0 && n.Is("Reshape", "Expand", "Tile", "Slice", "Pad", "Resize", "TopK", "OneHot", "Split", "Squeeze", "Unsqueeze") ||
			n.Is("ConstantOfShape", "Range") || strings.HasPrefix(n.Op.Name, "Reduce") && i > 0
		if sizes && !v.IsConst() && !l.host[v] {
			return true
		}
	}
	return false
}

func (l *Lowering) onHost(n *ir.Node) bool {
	if len(n.Subgraphs) > 0 {
		return true
	}
	for _, v := range n.Outputs {
		if v != nil && (l.host[v] || l.open[v]) {
			return true
		}
	}
	return false
}

func (l *Lowering) hostReason(n *ir.Node) string {
	if len(n.Subgraphs) > 0 {
		return HostNote + "control flow that data decides"
	}
	for _, v := range n.Outputs {
		if v != nil && l.open[v] {
			return HostNote + "the data decides a shape"
		}
	}
	return "follows from shapes"
}

// storage is the type in which a value lies in device memory; an error declines types that no kernel reads.
func (l *Lowering) storage(dt tensor.DType) (tensor.DType, error) {
	switch dt {
	case tensor.F32:
		return l.float, nil
	case tensor.F64, tensor.F16, tensor.BF16, tensor.I64, tensor.I32, tensor.U8, tensor.I8, tensor.Bool:
		return dt, nil
	}
	return dt, decline("no kernel reads %s", dt)
}

// isView reports ops whose output is the input's memory under another shape.
func isView(n *ir.Node) bool {
	if !n.Is("Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity") {
		return false
	}
	return n.Inputs[0] != nil && !n.Inputs[0].IsConst() && n.Inputs[0].Type.DType != tensor.String
}

// constant is a constant as launches read it in plain order.
func (l *Lowering) constant(v *ir.Value) (*plan.Const, error) {
	dt, err := l.storage(v.Const.DType())
	if err != nil {
		return nil, err
	}
	layout := ""
	if dt != v.Const.DType() {
		layout = dt.String()
	}
	return l.store(v, layout, func() (*tensor.Tensor, error) {
		if layout == "" {
			return v.Const, nil
		}
		return plan.Convert(v.Const, dt)
	})
}

// Constant is a constant input of a node on the device that no launch reads in an order of its own.
func (l *Lowering) Constant(v *ir.Value) (*plan.Const, error) {
	if c, err := l.constant(v); err == nil {
		return c, nil
	}
	return l.store(v, "", func() (*tensor.Tensor, error) { return v.Const, nil })
}

// store makes the constant v under a layout, once.
func (l *Lowering) store(v *ir.Value, layout string, data func() (*tensor.Tensor, error)) (*plan.Const, error) {
	key := storedKey{v.Const, layout}
	if c, ok := l.stored[key]; ok {
		return c, nil
	}
	t, err := data()
	if err != nil {
		return nil, fmt.Errorf("packing %q: %w", v.Name, err)
	}
	c := &plan.Const{Name: v.Name, DType: v.Const.DType(), Shape: v.Const.Shape(), Layout: layout, Data: t}
	l.stored[key] = c
	return c, nil
}
