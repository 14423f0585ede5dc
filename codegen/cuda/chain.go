package cuda

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/codegen/ptx"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

const (
	maxChain  = 24 // nodes of a chain
	maxInputs = 10 // tensors that a chain reads
)

// chain makes one launch of a node and of what only it reads: elementwise nodes of the same shape, and, at its
// inputs, nodes that only move elements.
func (l *Lowering) chain(n *ir.Node) (*Choice, error) {
	if len(n.Outputs) != 1 {
		return l.split(n)
	}
	if n.Is("Concat") {
		return l.concat(n)
	}
	out := n.Outputs[0]
	c := &chainBuilder{l: l, shape: l.dims.of(out), inside: map[*ir.Node]bool{}, views: map[*ir.Value]*read{}}
	k, args, err := c.build(out, ptx.Contiguous(c.shape))
	if err != nil {
		return nil, err
	}
	l.take(c.inside, n)
	return launchOne(k, "", append(args, Operand{Value: out})...), nil
}

// take marks the nodes that a launch of n computes along the way.
func (l *Lowering) take(inside map[*ir.Node]bool, n *ir.Node) {
	for m := range inside {
		if m != n {
			l.choices[m] = &Choice{Kernel: plan.KernelInside, Note: "inside " + n.Name}
		}
	}
}

// chainBuilder collects a chain.
type chainBuilder struct {
	l      *Lowering
	shape  []ptx.Expr
	inside map[*ir.Node]bool // nodes computed by the launch
	views  map[*ir.Value]*read
	reads  []*read
	prog   ptx.Program
	number map[*ir.Value]int
	half   int // where a rotation cuts the last dimension; 0 without one
}

// read is an input of the launch.
type read struct {
	source *ir.Value
	view   ptx.View
	dt     tensor.DType
	turned bool // the halves of the last dimension change places
	index  int
	scalar *float64 // a constant of one element, in the program itself
}

// build writes the kernel that computes root and stores it through a view.
func (c *chainBuilder) build(root *ir.Value, out ptx.View) (*ptx.Kernel, []Operand, error) {
	c.grow(root)
	if err := c.collect(root); err != nil {
		return nil, nil, err
	}
	var args []Operand
	e := ptx.Elementwise{Name: c.name(root), Shape: c.shape, Outputs: []ptx.View{out}}
	for _, r := range c.reads {
		r.index = c.prog.In(r.dt)
		e.Inputs = append(e.Inputs, r.view)
		a, err := c.l.operand(r.source)
		if err != nil {
			return nil, nil, err
		}
		args = append(args, a)
	}
	c.number = map[*ir.Value]int{}
	v, err := c.emit(root)
	if err != nil {
		return nil, nil, err
	}
	dt, err := c.l.storage(root.Type.DType)
	if err != nil {
		return nil, nil, err
	}
	c.prog.Out(v, dt)
	e.Prog = c.prog
	if c.half > 0 {
		c.cut(&e)
	}
	k, err := emit(e)
	if err != nil {
		return nil, nil, err
	}
	return k, args, nil
}

// name says what the launch computes, for readers of profiles.
func (c *chainBuilder) name(root *ir.Value) string {
	if root.Def != nil && c.inside[root.Def] && elementwise(root.Def) != nil {
		return "elementwise_" + lower(root.Def.Op.Name)
	}
	return "move"
}

func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 32
		}
	}
	return string(b)
}

// grow takes in the elementwise nodes that nobody else reads, as long as there are any.
func (c *chainBuilder) grow(root *ir.Value) {
	if root.Def == nil || elementwise(root.Def) == nil || !c.free(root.Def, root) {
		return
	}
	c.inside[root.Def] = true
	order := []*ir.Node{root.Def} // of inside: which nodes are left out at the bounds must not vary
	for again := true; again && len(c.inside) < maxChain; {
		again = false
		for _, n := range order {
			for _, v := range operandsOf(n) {
				if v == nil || v.Def == nil || c.inside[v.Def] || elementwise(v.Def) == nil && !c.turns(v.Def) || !c.free(v.Def, nil) || !c.same(v) || !c.onlyInside(v) || c.width() >= maxInputs {
					continue
				}
				added := []*ir.Node{v.Def}
				if c.turns(v.Def) {
					c.half, _ = c.l.rotation(v.Def)
					added = append(added, rotationNodes(v.Def)...)
				}
				for _, m := range added {
					c.inside[m] = true
				}
				order = append(order, added...)
				again = true
			}
		}
	}
}

// width bounds the tensors that the chain reads so far.
func (c *chainBuilder) width() int {
	n := 0
	for m := range c.inside {
		for _, v := range operandsOf(m) {
			if v != nil && (v.Def == nil || !c.inside[v.Def]) {
				n++
			}
		}
	}
	return n
}

// free reports a node that no launch has yet and that the device computes; the chain's own root may leave the graph.
func (c *chainBuilder) free(n *ir.Node, root *ir.Value) bool {
	if c.l.choices[n] != nil || c.l.onHost(n) {
		return false
	}
	for _, v := range n.Outputs {
		if v == nil || !v.Type.Ranked || v != root && c.l.g.IsOutput(v) {
			return false
		}
	}
	return true
}

func (c *chainBuilder) onlyInside(v *ir.Value) bool {
	for _, u := range v.Users() {
		if !c.inside[u] {
			return false
		}
	}
	return true
}

// same reports a value of the chain's shape.
func (c *chainBuilder) same(v *ir.Value) bool {
	d := c.l.dims.of(v)
	if len(d) != len(c.shape) {
		return false
	}
	for i := range d {
		if !d[i].Equal(c.shape[i]) {
			return false
		}
	}
	return true
}

// collect finds the tensors that the chain reads, and how.
func (c *chainBuilder) collect(v *ir.Value) error {
	if v == nil || c.views[v] != nil {
		return nil
	}
	if v.Def != nil && c.inside[v.Def] && v.Def.Is("Concat") {
		return c.collectTurned(v)
	}
	if v.Def != nil && c.inside[v.Def] && elementwise(v.Def) != nil {
		for _, in := range operandsOf(v.Def) {
			if err := c.collect(in); err != nil {
				return err
			}
		}
		return nil
	}
	r := &read{}
	c.views[v] = r
	if s, ok := scalarOf(v); ok && computes(v.Type.DType) {
		r.scalar = &s
		return nil
	}
	dt, err := c.l.storage(v.Type.DType)
	if err != nil {
		return err
	}
	view, source, err := c.follow(v)
	if err != nil {
		return err
	}
	view, err = c.broadcast(view, c.l.dims.of(v))
	if err != nil {
		return err
	}
	r.view, r.source, r.dt = view, source, dt
	for _, o := range c.reads {
		if o.source == source && !o.turned && sameView(o.view, view) {
			c.views[v] = o
			return nil
		}
	}
	c.reads = append(c.reads, r)
	return nil
}

func sameView(a, b ptx.View) bool {
	if !a.Offset.Equal(b.Offset) || len(a.Strides) != len(b.Strides) {
		return false
	}
	for i := range a.Strides {
		if !a.Strides[i].Equal(b.Strides[i]) {
			return false
		}
	}
	return true
}

// operandsOf are the inputs whose elements a node computes with.
func operandsOf(n *ir.Node) []*ir.Value {
	if n.Is("CastLike") {
		return n.Inputs[:1]
	}
	return n.Inputs
}

// follow walks back over nodes that only move elements, whoever else reads them: a node that everybody reads through
// needs no launch (see Lower). The view is over v's own dimensions.
func (c *chainBuilder) follow(v *ir.Value) (ptx.View, *ir.Value, error) {
	n := v.Def
	root := n != nil && c.rootMove(v)
	if n != nil && isMove(n) && !n.Is("Concat") && (root || c.free(n, nil)) {
		if view, err := c.through(v); err == nil {
			return view.view, view.source, nil
		} else if root {
			return ptx.View{}, nil, err
		}
	}
	return ptx.Contiguous(c.l.dims.of(v)), v, nil
}

// rootMove reports the chain's root when it is a node that only moves elements.
func (c *chainBuilder) rootMove(v *ir.Value) bool {
	return len(c.reads) == 0 && len(c.inside) == 0 && c.free(v.Def, v)
}

// through is the input of a moving node seen over the dimensions of v, which it makes of it.
func (c *chainBuilder) through(v *ir.Value) (*read, error) {
	steps, err := c.l.movement(v)
	if err != nil {
		return nil, err
	}
	in := v.Def.Inputs[0]
	view, source := ptx.Contiguous(c.l.dims.of(in)), in
	if d := in.Def; d != nil && isMove(d) && !d.Is("Concat") && c.free(d, nil) {
		if r, err := c.through(in); err == nil {
			view, source = r.view, r.source
		}
	}
	return &read{view: steps(view), source: source}, nil
}

// broadcast aligns a view over dims with the chain's shape.
func (c *chainBuilder) broadcast(v ptx.View, dims []ptx.Expr) (ptx.View, error) {
	if len(dims) > len(c.shape) {
		return v, decline("an input of higher rank than the result")
	}
	out := ptx.View{Offset: v.Offset, Strides: make([]ptx.Expr, len(c.shape))}
	lead := len(c.shape) - len(dims)
	for i, d := range dims {
		out.Strides[lead+i] = stretch(v.Strides[i], d, c.shape[lead+i])
	}
	return out, nil
}

// stretch is the stride of a dimension that may have to be repeated: 0 where it is 1 and the result's is not.
func stretch(stride, dim, out ptx.Expr) ptx.Expr {
	if dim.Equal(out) {
		return stride
	}
	if _, ok := dim.Const(); ok {
		if dim.Is(1) {
			return ptx.Expr{}
		}
		return stride
	}
	return stride.Mul(dim.AddN(-1).Min(ptx.N(1)))
}

// emit adds a value's instructions to the program.
func (c *chainBuilder) emit(v *ir.Value) (int, error) {
	if n, ok := c.number[v]; ok {
		return n, nil
	}
	if r := c.views[v]; r != nil {
		out := r.index
		if r.turned { // the first half of the result is the second half, negated
			first := c.prog.Do("lt", c.prog.DoC(ptx.Coord, []float64{float64(len(c.shape) - 1)}), c.prog.DoC("constint", []float64{1}))
			out = c.prog.Do("where", first, c.prog.Do("neg", out), out)
		}
		if r.scalar != nil {
			switch v.Type.DType {
			case tensor.F64:
				out = c.prog.DoC("constdouble", []float64{*r.scalar})
			case tensor.F32:
				out = c.prog.DoC("const", []float64{float64(plan.Clamp(float32(*r.scalar), c.l.float))})
			case tensor.Bool:
				out = c.prog.Do("bool", c.prog.DoC("constint", []float64{*r.scalar}))
			default:
				out = c.prog.DoC("constint", []float64{*r.scalar})
			}
		}
		c.number[v] = out
		return out, nil
	}
	n := v.Def
	emit := elementwise(n)
	if emit == nil {
		return 0, fmt.Errorf("%w: %s is no elementwise node", ir.ErrGraph, n.Name)
	}
	var args []int
	for i, in := range operandsOf(n) {
		if in == nil || i > 0 && n.Is("Clip") || i > 0 && n.Is("Pow") && c.views[in] != nil && c.views[in].scalar != nil {
			continue
		}
		a, err := c.emit(in)
		if err != nil {
			return 0, err
		}
		args = append(args, a)
	}
	out := emit(&c.prog, args)
	c.number[v] = out
	return out, nil
}
