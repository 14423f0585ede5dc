package onnx

import (
	"fmt"
	"slices"
	"strconv"

	"google.golang.org/protobuf/proto"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/internal/onnxpb"
)

// exportedFunc is a model-local function that spells out one op for one set of attributes
// and input types. Ops that need several bodies tell them apart by overload.
type exportedFunc struct {
	proto   *onnxpb.FunctionProto
	domains map[string]bool
	key     string // its body as bytes
}

// callFunction writes n as a call of a function whose body is the op's expansion. The
// attributes stay on the call, for import; the body has them built in.
func (f *frame) callFunction(n *ir.Node) error {
	np, err := f.plainNode(n)
	if err != nil {
		return err
	}
	fn, err := f.ex.function(n, np)
	if err != nil {
		f.ex.missing = append(f.ex.missing, ir.NodeError(n, err))
		return nil
	}
	if o := fn.proto.GetOverload(); o != "" {
		np.Overload = &o
	}
	for _, a := range np.Attribute {
		if a.GetType() == onnxpb.AttributeProto_GRAPH {
			return fmt.Errorf("%w: a function call cannot hold the subgraph %s", ir.ErrUnsupportedOp, a.GetName())
		}
	}
	f.gp.Node = append(f.gp.Node, np)
	return nil
}

func (ex *exporter) function(n *ir.Node, call *onnxpb.NodeProto) (*exportedFunc, error) {
	body, err := ex.expanded(n)
	if err != nil {
		return nil, err
	}
	f := ex.newFrame("")
	f.inline = true
	p := &onnxpb.FunctionProto{Name: ptr(n.Op.Name), Domain: ptr(n.Op.Domain)}
	for _, v := range body.Inputs {
		p.Input = append(p.Input, f.name(v))
	}
	outer := ex.domains
	ex.domains = map[string]bool{}
	err = f.body(body)
	domains := ex.domains
	ex.domains = outer
	for d := range domains {
		ex.domains[d] = true
	}
	if err != nil {
		return nil, err
	}
	for _, v := range body.Outputs {
		name := f.ref(v)
		if v.Def == nil || slices.Contains(p.Output, name) {
			name = f.identity(name)
		}
		p.Output = append(p.Output, name)
	}
	for _, a := range call.Attribute {
		p.Attribute = append(p.Attribute, a.GetName())
	}
	p.Node = f.gp.Node
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(p)
	if err != nil {
		return nil, err
	}
	op := n.Op.String()
	for _, have := range ex.funcs[op] {
		if have.key == string(b) {
			return have, nil
		}
	}
	fn := &exportedFunc{proto: p, domains: domains, key: string(b)}
	if k := len(ex.funcs[op]); k > 0 {
		p.Overload = ptr(strconv.Itoa(k))
	}
	ex.funcs[op] = append(ex.funcs[op], fn)
	ex.order = append(ex.order, fn)
	return fn, nil
}

// expanded is a graph that computes what n does, from inputs of the same types.
func (ex *exporter) expanded(n *ir.Node) (*ir.Graph, error) {
	expand := ex.opt.Body
	if expand == nil {
		if expand = n.Op.Expand; expand == nil {
			return nil, fmt.Errorf("%w: it has no spelling in standard ops and cannot be exported", ir.ErrUnsupportedOp)
		}
	}
	g := ir.NewGraph(n.Op.Name, ex.ops)
	ins := make([]*ir.Value, len(n.Inputs))
	for i, v := range n.Inputs {
		// An input that this call leaves out keeps its place; the body does not read it.
		in := g.AddInput(fmt.Sprintf("in%d", i), ir.Type{})
		if v != nil {
			in.Type = v.Type
			ins[i] = in
		}
	}
	names := make([]string, len(n.Outputs))
	for i := range names {
		names[i] = fmt.Sprintf("out%d", i)
	}
	c := g.Add(n.Op, n.Attrs, ins, names...)
	for i, v := range n.Outputs {
		if v == nil {
			c.Outputs[i] = nil
			continue
		}
		c.Outputs[i].Type = v.Type
	}
	vals, err := expand(g, c)
	if err != nil {
		return nil, err
	}
	if len(vals) < len(n.Outputs) {
		return nil, fmt.Errorf("%w: its expansion gives %d values for %d outputs", ir.ErrGraph, len(vals), len(n.Outputs))
	}
	g.Remove(c)
	for i, v := range vals[:len(n.Outputs)] { // an expansion may offer outputs that nobody asked for
		switch {
		case v == nil && n.Outputs[i] != nil:
			return nil, fmt.Errorf("%w: its expansion lacks output %d", ir.ErrGraph, i)
		case v == nil:
			v = g.Inputs[0] // keeps the place of an output that nobody reads
		}
		g.Outputs = append(g.Outputs, v)
	}
	dropDead(g)
	if err := g.Sort(); err != nil {
		return nil, err
	}
	return g, ir.Infer(g)
}

// dropDead removes nodes that no output needs.
func dropDead(g *ir.Graph) {
	for again := true; again; {
		var dead []*ir.Node
		for _, n := range g.Nodes {
			if !slices.ContainsFunc(n.Outputs, func(v *ir.Value) bool { return v != nil && (len(v.Users()) > 0 || g.IsOutput(v)) }) {
				dead = append(dead, n)
			}
		}
		g.Remove(dead...)
		again = len(dead) > 0
	}
}

// functions are the function messages; all get the operator set that the model ends up with.
func (ex *exporter) functions() []*onnxpb.FunctionProto {
	var out []*onnxpb.FunctionProto
	for _, fn := range ex.order {
		fn.proto.OpsetImport = ex.opsets(fn.domains)
		out = append(out, fn.proto)
	}
	return out
}
