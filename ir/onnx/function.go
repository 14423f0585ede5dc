package onnx

import (
	"fmt"
	"math"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/internal/onnxpb"
)

type funcKey struct{ domain, name, overload string }

// function is a model-local function.
type function struct {
	proto  *onnxpb.FunctionProto
	opsets map[string]int
	nodes  int // of one call, everything inside inlined; 0: not counted, -1: being counted
}

func (im *importer) readFunctions() error {
	im.funcs = map[funcKey]*function{}
	for _, p := range im.model.Functions {
		k := funcKey{domainOf(p.GetDomain()), p.GetName(), p.GetOverload()}
		if im.funcs[k] != nil {
			return fmt.Errorf("%w: function %s of domain %s is defined twice (duplicate)", ir.ErrModel, clip(k.name), clip(k.domain))
		}
		for _, list := range [][]string{p.Input, p.Output, p.Attribute} {
			for i, name := range list {
				if name == "" || slices.Contains(list[:i], name) {
					return fmt.Errorf("%w: function %s names %s twice or not at all", ir.ErrModel, clip(k.name), clip(name))
				}
			}
		}
		ops, err := opsetsOf(p.OpsetImport)
		if err != nil {
			return fmt.Errorf("function %s: %w", clip(k.name), err)
		}
		im.funcs[k] = &function{proto: p, opsets: ops}
	}
	return nil
}

// countNodes counts what inlining all functions would give before any of it is built:
// a file of a few hundred bytes can ask for billions of nodes.
func (im *importer) countNodes() error {
	n, err := im.countIn(im.model.Graph.Node, 0)
	if err != nil {
		return err
	}
	if n > im.opt.Limits.Nodes {
		return fmt.Errorf("%w: the graph has %d nodes, more than %d (raise it with --max-nodes)", ir.ErrLimit, n, im.opt.Limits.Nodes)
	}
	plain := countPlain(im.model.Graph.Node)
	if limit := max(maxExpansion, 4*plain); n > limit && im.opt.Limits.Nodes == (Limits{}).filled().Nodes {
		return fmt.Errorf("%w: calls of functions expand to %d nodes, too many for a graph of %d (allow it with --max-nodes)", ir.ErrLimit, n, plain)
	}
	return nil
}

// maxExpansion is how many nodes calls of functions may expand to unless asked otherwise.
const maxExpansion = 1 << 18

func countPlain(list []*onnxpb.NodeProto) int {
	n := len(list)
	for _, np := range list {
		for _, a := range np.Attribute {
			n += countPlain(a.GetG().GetNode())
		}
	}
	return n
}

// manyNodes is where counting stops, so that no sum of two counts overflows.
const manyNodes = min(1<<40, math.MaxInt/4)

// countIn counts the nodes of a list with their subgraphs, calls of functions as what they
// expand to.
func (im *importer) countIn(list []*onnxpb.NodeProto, depth int) (int, error) {
	if depth > im.opt.Limits.Depth {
		return 0, fmt.Errorf("%w: function calls and subgraphs are nested deeper than %d (raise it with --max-depth)", ir.ErrLimit, im.opt.Limits.Depth)
	}
	n := 0
	for _, np := range list {
		for _, a := range np.Attribute {
			for _, g := range append(a.Graphs, a.G) {
				k, err := im.countIn(g.GetNode(), depth+1)
				if err != nil {
					return 0, err
				}
				n = min(n+k, manyNodes)
			}
		}
		f := im.funcs[funcKey{domainOf(np.GetDomain()), np.GetOpType(), np.GetOverload()}]
		if f == nil {
			n++
			continue
		}
		if f.nodes == -1 {
			return 0, fmt.Errorf("%w: function %s calls itself (a cycle of calls)", ir.ErrModel, clip(np.GetOpType()))
		}
		if f.nodes == 0 {
			f.nodes = -1
			k, err := im.countIn(f.proto.Node, depth+1)
			if err != nil {
				return 0, err
			}
			f.nodes = k + 1
		}
		n = min(n+f.nodes, manyNodes)
	}
	return n, nil
}

// inline replaces a call by the nodes of the function.
func (s *scope) inline(f *function, c *call, np *onnxpb.NodeProto) error {
	p := f.proto
	if len(c.ins) > len(p.Input) {
		return fmt.Errorf("%w: %d inputs, function %s takes %d", ir.ErrModel, len(c.ins), clip(c.name), len(p.Input))
	}
	if len(np.Output) > len(p.Output) {
		return fmt.Errorf("%w: %d outputs, function %s gives %d", ir.ErrModel, len(np.Output), clip(c.name), len(p.Output))
	}
	if s.depth+1 > s.im.opt.Limits.Depth {
		return fmt.Errorf("%w: function calls are nested deeper than %d (raise it with --max-depth)", ir.ErrLimit, s.im.opt.Limits.Depth)
	}
	in := &scope{
		im: s.im, g: s.g, values: map[string]*ir.Value{}, names: s.names, nodes: s.nodes,
		opsets: f.opsets, depth: s.depth + 1,
		call: true, prefix: c.label + "/", rename: map[string]string{},
	}
	var err error
	if in.attrs, err = s.callAttrs(p, np); err != nil {
		return err
	}
	for i, name := range p.Input {
		var v *ir.Value // an input the call leaves out is absent inside too
		if i < len(c.ins) {
			v = c.ins[i]
		}
		in.values[name] = v
	}
	final := make([]string, len(np.Output))
	for i, o := range np.Output {
		if o == "" {
			continue
		}
		final[i] = s.final(o)
		if _, isInput := in.values[p.Output[i]]; !isInput {
			in.rename[p.Output[i]] = final[i]
		}
	}
	if err := in.body(p.Node); err != nil {
		return err
	}
	for i, o := range np.Output {
		if o == "" {
			continue
		}
		v := in.values[p.Output[i]]
		if v == nil {
			return fmt.Errorf("%w: function %s never produces its output %s", ir.ErrModel, clip(c.name), clip(p.Output[i]))
		}
		if v.Name != final[i] { // an input or constant that leaves as it is
			if v, err = in.rename1(c, v, final[i]); err != nil {
				return err
			}
		}
		if err := s.define(o, v); err != nil {
			return err
		}
	}
	return nil
}

// rename1 gives v another name by way of an Identity.
func (s *scope) rename1(c *call, v *ir.Value, name string) (*ir.Value, error) {
	op := s.im.opt.Ops.Lookup(ir.DomainONNX, "Identity")
	if op == nil {
		return nil, fmt.Errorf("%w: Identity", ir.ErrUnsupportedOp)
	}
	n := s.g.Add(op, nil, []*ir.Value{v}, name)
	n.Name = s.nodes.take(c.label + "/Identity")
	n.Origin = c.origin
	return n.Outputs[0], nil
}

// callAttrs are the attributes a function's body may refer to: those of the call, then
// the function's defaults. Declared ones that are not given are present as nil.
func (s *scope) callAttrs(p *onnxpb.FunctionProto, np *onnxpb.NodeProto) (map[string]*onnxpb.AttributeProto, error) {
	out := map[string]*onnxpb.AttributeProto{}
	for _, name := range p.Attribute {
		out[name] = nil
	}
	for _, a := range p.AttributeProto {
		out[a.GetName()] = a
	}
	given := map[string]bool{}
	for _, a := range np.Attribute {
		name := a.GetName()
		if given[name] {
			return nil, fmt.Errorf("%w: %s is given twice", ir.ErrAttr, clip(name))
		}
		given[name] = true
		if _, ok := out[name]; !ok {
			return nil, fmt.Errorf("%w: function %s has no attribute %s", ir.ErrAttr, clip(p.GetName()), clip(name))
		}
		r, err := s.resolve(a)
		if err != nil {
			return nil, err
		}
		if r != nil {
			out[name] = r
		}
	}
	return out, nil
}
