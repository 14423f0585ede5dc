package passes

import (
	"context"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Dims reads sizes straight from the inputs of the graph. Exporters ask each layer's
// activations for sizes that are those of the input; such a Shape is a second reader that
// keeps a value from being fused away.
func Dims() Pass {
	return Pass{
		Name: "dims", Doc: "Read sizes of named dims straight from the inputs of the graph.", Effect: Exact,
		Run: func(_ context.Context, g *ir.Graph) (bool, error) {
			known, err := ir.Contents(g)
			if err != nil {
				return false, err
			}
			e := &sizes{edit: edit{g: g}, known: known, of: map[string]*ir.Value{}, source: map[string]place{}}
			e.collect()
			for _, n := range slices.Clone(g.Nodes) {
				if n.Is("Shape", "Gather", "Slice", "Squeeze", "Unsqueeze", "Reshape", "Concat", "Where", "Cast") && len(n.Outputs) == 1 {
					e.reread(n.Outputs[0])
				}
			}
			return e.done()
		},
	}
}

// place is an axis of an input of the graph.
type place struct {
	v    *ir.Value
	axis int64
}

// sizes knows where the graph's named dims can be read.
type sizes struct {
	edit
	known  map[*ir.Value][]ir.Dim
	of     map[string]*ir.Value // the i64[1] value that reads a dim; made on demand
	source map[string]place
	ours   map[*ir.Value]bool
}

// elem is one element of an integer value: a number, or the size of a named dim.
type elem struct {
	n    int64
	name string
}

func (e *sizes) collect() {
	for _, v := range e.g.Inputs {
		for i, d := range v.Type.Shape {
			if _, ok := e.source[d.Name]; !ok && d.Name != "" {
				e.source[d.Name] = place{v, int64(i)}
			}
		}
	}
	e.ours = map[*ir.Value]bool{}
	for _, n := range e.g.Nodes {
		if !n.Is("Shape") {
			continue
		}
		for name, p := range e.source {
			if n.Inputs[0] == p.v && intAttr(n, "start") == p.axis && endOf(n) == p.axis+1 && e.of[name] == nil {
				e.of[name] = n.Outputs[0]
				e.ours[n.Outputs[0]] = true
			}
		}
	}
}

// endOf is the end attribute of a Shape, -1 when absent.
func endOf(n *ir.Node) int64 {
	for _, a := range ir.AttrsOf(n.Attrs) {
		if x, ok := a.Value.(int64); ok && a.Name == "end" {
			return x
		}
	}
	return -1
}

// reread replaces an integer scalar or vector by one made of dims of inputs and numbers.
func (e *sizes) reread(v *ir.Value) {
	if v.Type.DType != tensor.I64 || v.Type.Rank() > 1 || len(v.Users()) == 0 || e.canonical(v) {
		return
	}
	elems, ok := e.elements(v, 4)
	if !ok || len(elems) == 0 || len(elems) > 8 {
		return
	}
	parts := make([]*ir.Value, len(elems))
	named := false
	for i, x := range elems {
		if x.name == "" {
			parts[i] = e.ints(x.n)
			continue
		}
		if _, ok := e.source[x.name]; !ok {
			return
		}
		named = true
	}
	if !named {
		return // Fold's business
	}
	for i, x := range elems {
		if x.name != "" {
			parts[i] = e.size(x.name, v.Def)
		}
	}
	out := parts[0]
	switch {
	case v.Type.Rank() == 0:
		out = e.add("Reshape", values(out, e.g.NewConst("", tensor.New(tensor.I64, 0))), nodes(v.Def))
		e.ours[out] = true
	case len(parts) > 1:
		out = e.add("Concat", parts, nodes(v.Def), "axis", int64(0))
		e.ours[out] = true
	}
	e.replace(v, out)
}

// size is the value that reads a dim, as a vector of one.
func (e *sizes) size(name string, from *ir.Node) *ir.Value {
	if e.of[name] == nil {
		p := e.source[name]
		v := e.add("Shape", values(p.v), nodes(from), "start", p.axis, "end", p.axis+1)
		e.of[name], e.ours[v] = v, true
	}
	return e.of[name]
}

// canonical reports whether v is made the way reread makes it.
func (e *sizes) canonical(v *ir.Value) bool {
	if e.ours[v] || v.IsConst() {
		return true
	}
	if n := def(v, "Reshape"); n != nil && v.Type.Rank() == 0 {
		return e.ours[n.Inputs[0]]
	}
	if n := def(v, "Concat"); n != nil {
		return !slices.ContainsFunc(n.Inputs, func(x *ir.Value) bool { return !e.ours[x] && !x.IsConst() })
	}
	return false
}

// elements are the elements of an integer value. Besides what inference tells it sees
// through the spelling of Expand's target in torch's exporter: where(c == -1, 1, c).
func (e *sizes) elements(v *ir.Value, depth int) ([]elem, bool) {
	if c, ok := constInts(v); ok {
		out := make([]elem, len(c))
		for i, x := range c {
			out[i] = elem{n: x}
		}
		return out, true
	}
	if d := e.known[v]; d != nil {
		out := make([]elem, len(d))
		sure := true
		for i, x := range d {
			out[i] = elem{x.Size, x.Name}
			sure = sure && (x.Name != "" || x.Size != -1) // -1 may mean not known
		}
		if sure {
			return out, true
		}
	}
	if depth == 0 {
		return nil, false
	}
	if n := def(v, "Concat"); n != nil {
		var out []elem
		for _, x := range n.Inputs {
			part, ok := e.elements(x, depth-1)
			if !ok {
				return nil, false
			}
			out = append(out, part...)
		}
		return out, true
	}
	n := def(v, "Where")
	if n == nil {
		return nil, false
	}
	eq := def(n.Inputs[0], "Equal")
	if eq == nil {
		return nil, false
	}
	var in [4][]elem
	for i, x := range []*ir.Value{eq.Inputs[0], eq.Inputs[1], n.Inputs[1], n.Inputs[2]} {
		var ok bool
		if in[i], ok = e.elements(x, depth-1); !ok || len(in[i]) != len(in[0]) {
			return nil, false
		}
	}
	out := make([]elem, len(in[0]))
	for i := range out {
		switch a, b := in[0][i], in[1][i]; {
		case a == b:
			out[i] = in[2][i]
		case a.name == "" && b.name == "", a.name == "" && a.n < 0, b.name == "" && b.n < 0:
			out[i] = in[3][i] // two numbers, or a negative one and a size
		default:
			return nil, false
		}
	}
	return out, true
}
