package irtext

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// maxNesting bounds subgraphs within subgraphs, maxBurn the ids skipped for made-up
// value names: text from outside must not exhaust stack or ids.
const (
	maxNesting = 100
	maxBurn    = 1 << 20
)

// Parse reads the text of one graph over a set of operators. tensors are the contents
// behind the hashes, as Printer.Tensors gives them; it may be nil when the text has none.
// Types are taken as written, nothing is inferred or verified. Errors begin with
// line:column.
func Parse(text string, ops ir.OpSet, tensors map[string]*tensor.Tensor) (*ir.Graph, error) {
	p := &parser{scanner: scanner{src: text}, ops: ops, tensors: tensors}
	g, err := p.graph(0)
	if err != nil {
		return nil, err
	}
	if p.peek() != 0 {
		return nil, p.errorf("expected the end")
	}
	return g, nil
}

type parser struct {
	scanner
	ops     ir.OpSet
	tensors map[string]*tensor.Tensor
}

// scope are the names of one graph.
type scope struct {
	g      *ir.Graph
	values map[string]*ir.Value
	nodes  map[string]bool
	next   int // the id the next value will get
}

func (p *parser) graph(depth int) (*ir.Graph, error) {
	if depth > maxNesting {
		return nil, p.errorf("more than %d nested subgraphs", maxNesting)
	}
	if !p.keyword("graph") {
		return nil, p.errorf("expected %q", "graph")
	}
	name := ""
	if p.peek() != '(' {
		var err error
		if name, _, err = p.word(); err != nil {
			return nil, err
		}
	}
	sc := &scope{g: ir.NewGraph(name, p.ops), values: map[string]*ir.Value{}, nodes: map[string]bool{}}
	if err := p.expect("("); err != nil {
		return nil, err
	}
	for !p.accept(")") {
		if len(sc.g.Inputs) > 0 {
			if err := p.expect(","); err != nil {
				return nil, err
			}
		}
		v, err := p.declare(sc)
		if err != nil {
			return nil, err
		}
		if v == nil {
			return nil, p.errorf("an input needs a name")
		}
		sc.g.Inputs = append(sc.g.Inputs, v)
	}
	if err := p.expect("{"); err != nil {
		return nil, err
	}
	for !p.keyword("return") {
		if err := p.node(sc, depth); err != nil {
			return nil, err
		}
	}
	for !p.accept("}") {
		if len(sc.g.Outputs) > 0 {
			if err := p.expect(","); err != nil {
				return nil, err
			}
		}
		v, err := p.use(sc)
		if err != nil {
			return nil, err
		}
		if v == nil {
			return nil, p.errorf("an output of the graph cannot be absent")
		}
		sc.g.Outputs = append(sc.g.Outputs, v)
	}
	return sc.g, nil
}

// declared is an output before its node exists.
type declared struct {
	name   string
	typ    ir.Type
	absent bool
}

func (p *parser) declaration() (d declared, err error) {
	w, quoted, err := p.word()
	if err != nil {
		return d, err
	}
	if w == "_" && !quoted {
		return declared{absent: true}, nil
	}
	d.name = w
	if p.accept(":") {
		d.typ, err = p.typ()
	}
	return d, err
}

func (p *parser) declare(sc *scope) (*ir.Value, error) {
	d, err := p.declaration()
	if err != nil || d.absent {
		return nil, err
	}
	if err := p.fresh(sc, d.name); err != nil {
		return nil, err
	}
	v := sc.g.NewValue(d.name, d.typ)
	// NewValue makes a name up for an empty one; here the text says it is empty.
	v.Name = d.name
	sc.values[d.name] = v
	return v, nil
}

// fresh checks that a value's name is new and moves the ids past a made-up one, so that
// values made later do not get it again.
func (p *parser) fresh(sc *scope, name string) error {
	if sc.values[name] != nil {
		return p.errorf("a second value is named %q", name)
	}
	if id, ok := strings.CutPrefix(name, "%"); ok && isDigits(id) {
		if n, err := strconv.Atoi(id); err == nil && n-sc.next < maxBurn {
			for ; sc.next < n; sc.next++ {
				sc.g.NewValue("", ir.Type{})
			}
		}
	}
	sc.next++
	return nil
}

func (p *parser) node(sc *scope, depth int) error {
	var outs []declared
	if !p.accept("()") {
		for {
			d, err := p.declaration()
			if err != nil {
				return err
			}
			outs = append(outs, d)
			if !p.accept(",") {
				break
			}
		}
	}
	if err := p.expect("="); err != nil {
		return err
	}
	name, _, err := p.word()
	if err != nil {
		return err
	}
	domain, base, ok := strings.Cut(name, "::")
	if !ok {
		domain, base = ir.DomainONNX, name
	}
	op := p.ops.Lookup(domain, base)
	if op == nil {
		return fmt.Errorf("%w: %w", p.errorf("no op %q", name), ir.ErrUnsupportedOp)
	}
	ins, captures, err := p.operands(sc)
	if err != nil {
		return err
	}
	attrs, err := p.attrs(op)
	if err != nil {
		return err
	}
	n := sc.g.Add(op, attrs, ins)
	n.Captures = captures
	for i, d := range outs {
		if d.absent {
			n.Outputs = append(n.Outputs, nil)
			continue
		}
		if err := p.fresh(sc, d.name); err != nil {
			return err
		}
		v := sc.g.NewValue(d.name, d.typ)
		v.Name, v.Def, v.Index = d.name, n, i
		sc.values[d.name] = v
		n.Outputs = append(n.Outputs, v)
	}
	if err := p.names(n); err != nil {
		return err
	}
	if sc.nodes[n.Name] {
		return p.errorf("a second node is named %q", n.Name)
	}
	sc.nodes[n.Name] = true
	if p.accept("[") {
		for !p.accept("]") {
			sub, err := p.graph(depth + 1)
			if err != nil {
				return err
			}
			n.Subgraphs = append(n.Subgraphs, sub)
		}
	}
	return nil
}

func (p *parser) operands(sc *scope) (ins []*ir.Value, captures int, err error) {
	if err := p.expect("("); err != nil {
		return nil, 0, err
	}
	bar := -1
	for !p.accept(")") {
		switch {
		case bar < 0 && p.accept("|"):
			bar = len(ins)
		case len(ins) > 0:
			if err := p.expect(","); err != nil {
				return nil, 0, err
			}
		}
		v, err := p.use(sc)
		if err != nil {
			return nil, 0, err
		}
		ins = append(ins, v)
	}
	if bar >= 0 {
		captures = len(ins) - bar
	}
	return ins, captures, nil
}

// names reads "as name @origin, origin".
func (p *parser) names(n *ir.Node) error {
	named := p.keyword("as")
	if named {
		w, _, err := p.word()
		if err != nil {
			return err
		}
		if madeUpNode(w) {
			return p.errorf("%q is the form of made-up node names", w)
		}
		n.Name = w
	}
	if !p.accept("@") {
		return nil
	}
	first := p.accept("=")
	for {
		w, _, err := p.word()
		if err != nil {
			return err
		}
		n.Origin = append(n.Origin, w)
		if !p.accept(",") {
			break
		}
	}
	if first {
		if named || madeUpNode(n.Origin[0]) {
			return p.errorf("the node cannot be named after its origin %q", n.Origin[0])
		}
		n.Name = n.Origin[0]
	}
	return nil
}

// use reads an operand: a name, _, or a constant that is written out here.
func (p *parser) use(sc *scope) (*ir.Value, error) {
	w, quoted, err := p.word()
	if err != nil {
		return nil, err
	}
	if w == "_" && !quoted {
		return nil, nil
	}
	if p.accept("=") {
		t, err := p.tensor()
		if err != nil {
			return nil, err
		}
		if err := p.fresh(sc, w); err != nil {
			return nil, err
		}
		v := sc.g.NewConst(w, t)
		v.Name = w
		sc.values[w] = v
		return v, nil
	}
	v := sc.values[w]
	if v == nil {
		return nil, p.errorf("no value %q is known here", w)
	}
	return v, nil
}

func (p *parser) typ() (t ir.Type, err error) {
	if !p.accept("?") {
		w := ""
		if w, _, err = p.word(); err != nil {
			return t, err
		}
		ok := false
		if t.DType, ok = tensor.ParseDType(w); !ok {
			return t, p.errorf("%q is no element type", w)
		}
	}
	if err := p.expect("["); err != nil {
		return t, err
	}
	if p.accept("...]") {
		return t, nil
	}
	t.Ranked, t.Shape = true, []ir.Dim{}
	for !p.accept("]") {
		if len(t.Shape) > 0 {
			if err := p.expect(","); err != nil {
				return t, err
			}
		}
		d, err := p.dim()
		if err != nil {
			return t, err
		}
		t.Shape = append(t.Shape, d)
	}
	return t, nil
}

func (p *parser) dim() (ir.Dim, error) {
	if p.accept("?") {
		return ir.Unknown(), nil
	}
	if p.peek() == '"' {
		w, err := p.quoted()
		if err == nil && w == "" {
			err = p.errorf("a dimension's name is not empty")
		}
		return ir.Sym(w), err
	}
	w := p.run(isDimByte)
	if isDigits(w) {
		n, err := strconv.ParseInt(w, 10, 64)
		if err != nil {
			return ir.Dim{}, p.errorf("dimension %s is too large", w)
		}
		return ir.Known(n), nil
	}
	if !bareDim(w) {
		return ir.Dim{}, p.errorf("expected a dimension")
	}
	return ir.Sym(w), nil
}
