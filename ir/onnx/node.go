package onnx

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/internal/onnxpb"
	"github.com/seed-c851cfd2/moec/ir/onnx/internal/schema"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// call is one node of the file on its way to becoming a node of the graph. Upgrade
// rules change it until it means what the newest version of its op means.
type call struct {
	s       *scope
	domain  string
	name    string
	version int // the operator-set version that the file declares for the domain
	attrs   []ir.Attr
	graphs  []*onnxpb.GraphProto // bodies, in the op's order
	ins     []*ir.Value
	outs    []string // names in the file, "" for an output nobody asked for
	origin  []string
	label   string // what the node is called in the graph
	done    bool   // a rule has made the nodes itself
}

func opName(np *onnxpb.NodeProto) string {
	name := plainText(np.GetOpType())
	if d := domainOf(np.GetDomain()); d != "" {
		return plainText(d) + "::" + name
	}
	return name
}

// plainText makes text from the file fit to print: short, control characters escaped.
func plainText(s string) string {
	q := clip(s)
	return q[1 : len(q)-1]
}

func firstOutput(np *onnxpb.NodeProto) string {
	for _, o := range np.Output {
		if o != "" {
			return o
		}
	}
	return ""
}

// originOf is the node's name, or one made up from its op and first output.
func originOf(np *onnxpb.NodeProto) string {
	if n := np.GetName(); n != "" {
		return n
	}
	return np.GetOpType() + "_" + firstOutput(np)
}

// node imports one node.
func (s *scope) node(np *onnxpb.NodeProto) error {
	origin := s.prefix + originOf(np)
	err := s.tryNode(np, origin)
	if err == nil {
		return nil
	}
	var ne *ir.Error
	if asNodeError(err, &ne) {
		return err
	}
	return &ir.Error{Origin: []string{clipped(origin, 200)}, Op: opName(np), Err: err}
}

func (s *scope) tryNode(np *onnxpb.NodeProto, origin string) error {
	im := s.im
	c := &call{s: s, domain: domainOf(np.GetDomain()), name: np.GetOpType(), outs: np.Output, origin: []string{origin}, label: origin}
	if c.name == "" {
		return fmt.Errorf("%w: the node has no op_type", ir.ErrModel)
	}
	if o := writtenOrigin(np); o != nil && s.prefix == "" {
		c.origin = o
	}
	for i, name := range np.Input {
		if name == "" {
			c.ins = append(c.ins, nil)
			continue
		}
		v, ok := s.lookup(name)
		if !ok {
			return fmt.Errorf("%w: input %d is %s, which nothing produces", ir.ErrModel, i, clip(name))
		}
		c.ins = append(c.ins, v)
	}
	for len(c.ins) > 0 && c.ins[len(c.ins)-1] == nil {
		c.ins = c.ins[:len(c.ins)-1]
	}
	if firstOutput(np) == "" {
		return fmt.Errorf("%w: the node has no outputs", ir.ErrModel)
	}
	if f := im.funcs[funcKey{c.domain, c.name, np.GetOverload()}]; f != nil && !s.knowsMoec(c) {
		return s.inline(f, c, np)
	}
	version, declared := s.opsets[c.domain]
	if !declared {
		version, declared = im.opsets[c.domain]
	}
	if !declared {
		return fmt.Errorf("%w: domain %s is not in opset_import", ir.ErrModel, clip(c.domain))
	}
	c.version = version
	if err := c.readAttrs(np); err != nil {
		return err
	}
	if c.domain == ir.DomainONNX && c.name == "Constant" {
		return c.constant()
	}
	known, standard := schema.Lookup(c.key())
	if standard && len(known.Versions) > 0 {
		if _, ok := known.At(c.version); !ok {
			return fmt.Errorf("%w: %s exists since opset %d, the model declares %d", ir.ErrModel, c.key(), known.Versions[0], c.version)
		}
	}
	if err := c.upgrade(); err != nil || c.done {
		return err
	}
	return c.finish()
}

// writtenOrigin are the names of the user's nodes that Save recorded with a node.
func writtenOrigin(np *onnxpb.NodeProto) []string {
	for _, e := range np.MetadataProps {
		if e.GetKey() == originKey {
			var o []string
			if json.Unmarshal([]byte(e.GetValue()), &o) == nil && len(o) > 0 && len(o) < 1000 {
				return o
			}
		}
	}
	return nil
}

// knowsMoec reports whether the call is one of moec's own ops, which a model carries as
// functions only for the sake of other runtimes.
func (s *scope) knowsMoec(c *call) bool {
	return c.domain == ir.DomainMoec && s.im.opt.Ops.Lookup(c.domain, c.name) != nil
}

// key is "Name" or "domain::Name".
func (c *call) key() string {
	if c.domain == "" {
		return c.name
	}
	return c.domain + "::" + c.name
}

// finish makes the node that the call has become.
func (c *call) finish() error {
	op := c.s.im.opt.Ops.Lookup(c.domain, c.name)
	if op == nil {
		return c.unsupported()
	}
	if err := c.checkCounts(op); err != nil {
		return err
	}
	attrs, err := c.structOf(op)
	if err != nil {
		return err
	}
	n, err := c.add(op, attrs, c.ins, c.outs)
	if err != nil {
		return err
	}
	if err := c.bodies(n); err != nil {
		return err
	}
	c.infer(n)
	return nil
}

// infer lets later upgrade rules see types. What is wrong with them is reported when the
// whole graph is inferred.
func (c *call) infer(n *ir.Node) {
	if c.version < typesBefore && len(n.Subgraphs) == 0 {
		_ = c.s.im.types.Node(n)
	}
}

// typesBefore is the opset below which upgrade rules look at types and ranks.
const typesBefore = 13

// unsupported notes an op that moec does not know and goes on with outputs of which
// nothing is known, so that all such ops are reported at once.
func (c *call) unsupported() error {
	im := c.s.im
	key := plainText(c.key())
	u := im.unsupported[key]
	if u == nil {
		u = &missingOp{key: key, domain: c.domain, opset: c.version}
		im.unsupported[key] = u
		im.missing = append(im.missing, u)
	}
	if u.count++; len(u.nodes) < 4 {
		u.nodes = append(u.nodes, clipped(c.origin[0], 80))
	}
	for _, o := range c.outs {
		if o == "" {
			continue
		}
		if err := c.s.define(o, c.s.g.NewValue(c.s.final(o), ir.Type{})); err != nil {
			return err
		}
	}
	return nil
}

// missingOp is an op that the table lacks and the first nodes that use it.
type missingOp struct {
	key, domain string
	opset       int
	nodes       []string
	count       int
}

func (u *missingOp) error() error {
	err := fmt.Errorf("%w (domain %s, opset %d)", ir.ErrUnsupportedOp, clip(printable(u.domain)), u.opset)
	if len(u.nodes) > 1 {
		also := make([]string, len(u.nodes)-1)
		for i, n := range u.nodes[1:] {
			also[i] = clip(n)
		}
		err = fmt.Errorf("%w, also nodes %s", err, strings.Join(also, ", "))
		if rest := u.count - len(u.nodes); rest > 0 {
			err = fmt.Errorf("%w and %d more", err, rest)
		}
	}
	return &ir.Error{Origin: u.nodes[:1], Op: u.key, Err: err}
}

func printable(domain string) string {
	if domain == "" {
		return "ai.onnx"
	}
	return domain
}

func (c *call) checkCounts(op *ir.Op) error {
	known, _ := schema.Lookup(c.key())
	if len(c.ins) < op.MinIn {
		return fmt.Errorf("%w: %d inputs, %s needs at least %d", ir.ErrModel, len(c.ins), op, op.MinIn)
	}
	if op.MaxIn >= 0 && len(c.ins) > op.MaxIn {
		return fmt.Errorf("%w: %d inputs, %s takes at most %d", ir.ErrModel, len(c.ins), op, op.MaxIn)
	}
	for i, v := range c.ins[:op.MinIn] {
		if v == nil && !slices.Contains(known.Optional, i) {
			return fmt.Errorf("%w: input %d of %s is left out but required", ir.ErrModel, i, op)
		}
	}
	if op.MaxOut >= 0 && len(c.outs) > op.MaxOut {
		return fmt.Errorf("%w: %d outputs, %s gives at most %d", ir.ErrModel, len(c.outs), op, op.MaxOut)
	}
	for i := range op.MinOut {
		if i >= len(c.outs) || c.outs[i] == "" {
			return fmt.Errorf("%w: output %d of %s is left out but required", ir.ErrModel, i, op)
		}
	}
	return nil
}

// add makes a node whose outputs have the given names of the file.
func (c *call) add(op *ir.Op, attrs any, ins []*ir.Value, outs []string) (*ir.Node, error) {
	s := c.s
	if s.im.nodes++; s.im.nodes > s.im.opt.Limits.Nodes {
		return nil, fmt.Errorf("%w: more than %d nodes (raise it with --max-nodes)", ir.ErrLimit, s.im.opt.Limits.Nodes)
	}
	for len(outs) > 0 && outs[len(outs)-1] == "" {
		outs = outs[:len(outs)-1]
	}
	final := make([]string, len(outs))
	for i, o := range outs {
		if o != "" {
			final[i] = s.final(o)
		}
	}
	n := s.g.Add(op, attrs, ins, final...)
	n.Name = s.nodes.take(c.label)
	n.Origin = c.origin
	for i, o := range outs {
		if o == "" {
			n.Outputs[i] = nil
			continue
		}
		if err := s.define(o, n.Outputs[i]); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// emit adds a helper node before the one the call becomes, with one output.
func (c *call) emit(op string, ins []*ir.Value, attrs ...ir.Attr) (*ir.Value, error) {
	s := c.s
	o := s.im.opt.Ops.Lookup(ir.DomainONNX, op)
	if o == nil {
		return nil, fmt.Errorf("%w: %s, which opset %d of %s stands for", ir.ErrUnsupportedOp, op, c.version, c.name)
	}
	sub := &call{s: s, name: op, version: schema.MaxOpset, attrs: attrs, ins: ins}
	a, err := sub.structOf(o)
	if err != nil {
		return nil, err
	}
	if s.im.nodes++; s.im.nodes > s.im.opt.Limits.Nodes {
		return nil, fmt.Errorf("%w: more than %d nodes (raise it with --max-nodes)", ir.ErrLimit, s.im.opt.Limits.Nodes)
	}
	n := s.g.Add(o, a, ins, s.names.take(c.label+"/"+strings.ToLower(op)))
	n.Name = s.nodes.take(c.label + "/" + op)
	n.Origin = c.origin
	_ = s.im.types.Node(n)
	return n.Outputs[0], nil
}

// con makes a constant for the call.
func (c *call) con(what string, t *tensor.Tensor) *ir.Value {
	return c.s.g.NewConst(c.s.names.take(c.label+"/"+what), t)
}

// vector makes a constant vector of int64 for the call.
func (c *call) vector(what string, v ...int64) *ir.Value {
	return c.con(what, tensor.Of(append([]int64{}, v...), len(v)))
}

// bodies imports the subgraphs of n. All of them get the same captures.
func (c *call) bodies(n *ir.Node) error {
	var subs []*scope
	for _, gp := range c.graphs {
		sub, err := c.s.subgraph(gp)
		if err != nil {
			return err
		}
		subs = append(subs, sub)
	}
	var all []*ir.Value
	for _, sub := range subs {
		for _, cp := range sub.captures {
			if !slices.Contains(all, cp.outer) {
				all = append(all, cp.outer)
			}
		}
	}
	for _, v := range all {
		c.s.g.AppendInput(n, v)
	}
	n.Captures = len(all)
	for _, sub := range subs {
		for _, v := range all {
			i := slices.IndexFunc(sub.captures, func(cp capture) bool { return cp.outer == v })
			if i >= 0 {
				sub.g.Inputs = append(sub.g.Inputs, sub.captures[i].inner)
			} else {
				sub.g.AddInput(sub.names.take(v.Name), v.Type)
			}
		}
		n.Subgraphs = append(n.Subgraphs, sub.g)
	}
	return nil
}
