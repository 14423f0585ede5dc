package onnx

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/internal/onnxpb"
)

// names hands out names that are unique within one graph.
type names map[string]int

func newNames() names { return names{} }

// take returns base, or base with a number when it is taken already.
func (n names) take(base string) string {
	k, taken := n[base]
	if !taken {
		n[base] = 2
		return base
	}
	for ; ; k++ {
		s := base + "_" + strconv.Itoa(k)
		if _, taken := n[s]; !taken {
			n[base], n[s] = k+1, 2
			return s
		}
	}
}

// scope is where the names of one graph of the file, or of one call of a function,
// stand for values of the graph being built.
type scope struct {
	im     *importer
	outer  *scope // the graph around this subgraph; nil for the main graph and for functions
	g      *ir.Graph
	values map[string]*ir.Value
	names  names // of values in g
	nodes  names // of nodes in g
	opsets map[string]int
	depth  int

	captures []capture // what this subgraph reads from outer, in order of first use

	rename map[string]string // values that get another name than the file's

	// For a call of a function: other names of the graph start with prefix; attrs are the
	// call's attributes.
	call   bool
	prefix string
	attrs  map[string]*onnxpb.AttributeProto
}

// capture is a value of the graph around and the input that brings it inside.
type capture struct{ outer, inner *ir.Value }

// lookup finds a value by its name in the file, bringing it in from outside where needed.
// It is nil when the name stands for an input that a call of the function left out; ok
// is false when nothing has that name.
func (s *scope) lookup(name string) (v *ir.Value, ok bool) {
	if v, ok := s.values[name]; ok {
		return v, true
	}
	if s.outer == nil {
		return nil, false
	}
	o, ok := s.outer.lookup(name)
	switch {
	case o == nil:
		return nil, ok
	case o.IsConst():
		v = s.g.NewConst(s.names.take(name), o.Const)
	default:
		v = s.g.NewValue(s.names.take(name), o.Type)
		s.captures = append(s.captures, capture{o, v})
	}
	s.values[name] = v
	return v, true
}

// final is the name that a value of this scope gets in the graph.
func (s *scope) final(name string) string {
	if r, ok := s.rename[name]; ok {
		return r
	}
	if s.call {
		return s.names.take(s.prefix + name)
	}
	return name // claimed when the graph was entered
}

// define records the value that has a name from now on.
func (s *scope) define(name string, v *ir.Value) error {
	if old, dup := s.values[name]; dup {
		by := "a graph input, an initializer or a value from outside"
		if old.Def != nil {
			by = fmt.Sprintf("node %s", clip(old.Def.Name))
		}
		return fmt.Errorf("%w: value %s is produced twice, first by %s", ir.ErrModel, clip(name), by)
	}
	s.values[name] = v
	return nil
}

// mainGraph fills s from the model's graph.
func (s *scope) mainGraph(gp *onnxpb.GraphProto) error {
	s.nodes = newNames()
	s.reserve(gp)
	if err := s.initializers(gp); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, vi := range gp.Input {
		name := vi.GetName()
		if name == "" {
			return fmt.Errorf("%w: a graph input has no name", ir.ErrModel)
		}
		if seen[name] {
			return fmt.Errorf("%w: two graph inputs are named %s", ir.ErrModel, clip(name))
		}
		seen[name] = true
		t, err := s.im.typeOf(vi.GetType(), false)
		if err != nil {
			return fmt.Errorf("graph input %s: %w", clip(name), err)
		}
		if c := s.values[name]; c != nil && !slices.Contains(s.im.opt.Inputs, name) { // a default value
			if bad := contradiction(c.Type, t); bad != nil {
				return fmt.Errorf("%w: graph input %s is declared as %s, its initializer is %s", bad, clip(name), t, c.Type)
			}
			continue
		}
		s.values[name] = s.g.AddInput(name, t)
	}
	if err := s.body(gp.Node); err != nil {
		return err
	}
	if len(gp.Output) == 0 {
		return fmt.Errorf("%w: the graph has no output", ir.ErrModel)
	}
	return s.outputs(gp)
}

// reserve claims all names that the graph's own values will have, so that made-up names
// keep clear of them.
func (s *scope) reserve(gp *onnxpb.GraphProto) {
	for _, vi := range gp.Input {
		s.names[vi.GetName()] = 2
	}
	for _, t := range gp.Initializer {
		s.names[t.GetName()] = 2
	}
	for _, t := range gp.SparseInitializer {
		s.names[t.GetValues().GetName()] = 2
	}
	for _, n := range gp.Node {
		for _, o := range n.Output {
			s.names[o] = 2
		}
	}
	// Names such as "%7" are what graphs make up for values without one; the file's own
	// get another spelling, unless callers know them.
	known := map[string]bool{}
	for _, vi := range append(gp.Input[:len(gp.Input):len(gp.Input)], gp.Output...) {
		known[vi.GetName()] = true
	}
	for name := range s.names {
		if rest, ok := strings.CutPrefix(name, "%"); ok && strings.Trim(rest, "0123456789") == "" && !known[name] {
			if s.rename == nil {
				s.rename = map[string]string{}
			}
			s.rename[name] = s.names.take("v" + rest)
		}
	}
}

func (s *scope) initializers(gp *onnxpb.GraphProto) error {
	for i, t := range gp.Initializer {
		name := t.GetName()
		if name == "" {
			return fmt.Errorf("%w: initializer %d has no name", ir.ErrModel, i)
		}
		c, err := s.im.tensors.Decode(t)
		if err != nil {
			return fmt.Errorf("initializer %s: %w", clip(name), err)
		}
		if s.outer == nil {
			w, err := s.im.overlay(name, c)
			if err != nil {
				return err
			}
			if w != nil {
				c = w
			}
		}
		if s.values[name] != nil {
			return fmt.Errorf("%w: two initializers are named %s", ir.ErrModel, clip(name))
		}
		s.values[name] = s.g.NewConst(s.final(name), c)
	}
	for i, t := range gp.SparseInitializer {
		name := t.GetValues().GetName()
		if name == "" {
			return fmt.Errorf("%w: sparse initializer %d has no name", ir.ErrModel, i)
		}
		c, err := s.im.sparse(t)
		if err != nil {
			return fmt.Errorf("sparse initializer %s: %w", clip(name), err)
		}
		if s.values[name] != nil {
			return fmt.Errorf("%w: two initializers are named %s", ir.ErrModel, clip(name))
		}
		s.values[name] = s.g.NewConst(s.final(name), c)
	}
	return nil
}

func (s *scope) outputs(gp *onnxpb.GraphProto) error {
	for _, vi := range gp.Output {
		name := vi.GetName()
		if name == "" {
			return fmt.Errorf("%w: an output of graph %s has no name", ir.ErrModel, clip(gp.GetName()))
		}
		v, _ := s.lookup(name)
		if v == nil {
			return fmt.Errorf("%w: graph output %s is never produced", ir.ErrModel, clip(name))
		}
		s.g.Outputs = append(s.g.Outputs, v)
	}
	return nil
}

// body imports nodes, producers first.
func (s *scope) body(list []*onnxpb.NodeProto) error {
	list, err := s.sorted(list)
	if err != nil {
		return err
	}
	for i, np := range list {
		if i%256 == 0 {
			if err := s.im.ctx.Err(); err != nil {
				return err
			}
		}
		if err := s.node(np); err != nil {
			return err
		}
	}
	return nil
}

// subgraph imports the body of a control-flow node as a graph of its own. Captured
// values are not among its inputs yet.
func (s *scope) subgraph(gp *onnxpb.GraphProto) (*scope, error) {
	if gp == nil {
		return nil, fmt.Errorf("%w: the subgraph is missing", ir.ErrAttr)
	}
	if s.depth+1 > s.im.opt.Limits.Depth {
		return nil, fmt.Errorf("%w: subgraphs are nested deeper than %d (raise it with --max-depth)", ir.ErrLimit, s.im.opt.Limits.Depth)
	}
	in := &scope{
		im: s.im, outer: s, g: ir.NewGraph(gp.GetName(), s.im.opt.Ops), values: map[string]*ir.Value{},
		names: newNames(), nodes: newNames(), opsets: s.opsets, depth: s.depth + 1, attrs: s.attrs, call: false,
	}
	in.reserve(gp)
	if err := in.initializers(gp); err != nil {
		return nil, err
	}
	for _, vi := range gp.Input {
		name := vi.GetName()
		if name == "" || in.values[name] != nil {
			return nil, fmt.Errorf("%w: subgraph %s has an input %s without a name of its own", ir.ErrModel, clip(gp.GetName()), clip(name))
		}
		t, err := s.im.typeOf(vi.GetType(), true)
		if err != nil {
			return nil, fmt.Errorf("subgraph input %s: %w", clip(name), err)
		}
		in.values[name] = in.g.AddInput(name, t)
	}
	if err := in.body(gp.Node); err != nil {
		return nil, err
	}
	return in, in.outputs(gp)
}

// sorted puts producers before readers, keeping the file's order when it already does.
func (s *scope) sorted(list []*onnxpb.NodeProto) ([]*onnxpb.NodeProto, error) {
	by := make(map[string]int, len(list))
	for i, np := range list {
		for _, o := range np.Output {
			_, dup := by[o]
			_, known := s.values[o] // then this node must not produce it, which is reported later
			if !dup && !known {
				by[o] = i
			}
		}
	}
	deps := make([][]int, len(list))
	inOrder := true
	for i, np := range list {
		reads(np, func(name string) {
			if j, ok := by[name]; ok && name != "" {
				deps[i] = append(deps[i], j)
				inOrder = inOrder && j < i
			}
		})
	}
	if inOrder {
		return list, nil
	}
	out := make([]*onnxpb.NodeProto, 0, len(list))
	state := make([]uint8, len(list)) // 1: on the stack, 2: placed
	type frame struct{ i, next int }
	for root := range list {
		if state[root] != 0 {
			continue
		}
		state[root] = 1
		stack := []frame{{root, 0}}
		for len(stack) > 0 {
			f := &stack[len(stack)-1]
			if f.next == len(deps[f.i]) {
				state[f.i] = 2
				out = append(out, list[f.i])
				stack = stack[:len(stack)-1]
				continue
			}
			j := deps[f.i][f.next]
			f.next++
			switch state[j] {
			case 0:
				state[j] = 1
				stack = append(stack, frame{j, 0})
			case 1:
				np := list[j]
				return nil, &ir.Error{Origin: []string{originOf(np)}, Op: opName(np), Err: fmt.Errorf("%w: the nodes form a cycle: this one depends on its own output %s", ir.ErrModel, clip(firstOutput(np)))}
			}
		}
	}
	return out, nil
}

// reads calls f for every name a node reads, those its subgraphs read included.
func reads(np *onnxpb.NodeProto, f func(string)) {
	for _, in := range np.Input {
		f(in)
	}
	for _, a := range np.Attribute {
		if a.G != nil {
			graphReads(a.G, f)
		}
		for _, g := range a.Graphs {
			graphReads(g, f)
		}
	}
}

func graphReads(g *onnxpb.GraphProto, f func(string)) {
	inside := map[string]bool{}
	for _, v := range g.Input {
		inside[v.GetName()] = true
	}
	for _, t := range g.Initializer {
		inside[t.GetName()] = true
	}
	for _, n := range g.Node {
		for _, o := range n.Output {
			inside[o] = true
		}
	}
	outside := func(name string) {
		if !inside[name] {
			f(name)
		}
	}
	for _, n := range g.Node {
		reads(n, outside)
	}
	for _, v := range g.Output {
		outside(v.GetName())
	}
}
