// Package irtext is the text form of graphs: what dumps show and what tests of passes
// are written in. Print then Parse gives the same graph.
//
//	graph mlp(x: f32[batch,4]) {
//	  h: f32[batch,8] = MatMul(x, w1=f32[4,8]#5d0c6ad1e3b2f00a) @/mlp/fc1
//	  a: f32[batch,8] = Gelu(h) {approximate="tanh"} @/mlp/Mul, /mlp/Erf
//	  y: f32[batch,1] = Slice(a, start=i64[1]{0}, end=i64[1]{1}, axes=i64[1]{1})
//	  return y
//	}
//
// A constant is written where it is first used, name=type{elements}, a large one by a
// hash of its contents; the tensors behind hashes travel beside the text. Attributes
// that have their default value, and types of which nothing is known, are left out.
// An absent input or output is _, captures follow a bar, and subgraphs stand in square
// brackets after the node. After @ come the names of the user's nodes. Names are bare
// where they can be and quoted as in Go where they cannot; as they may contain colons, a
// blank follows the colon before a type.
//
// Made-up node names ("n12") and numeric ids are no part of the text: parsing numbers
// afresh.
package irtext

import (
	"bytes"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Printer writes graphs. It remembers the hashes of the tensors it has met, so that
// dumping the same weights after every pass hashes them once. The zero value is ready.
type Printer struct {
	hashes map[*tensor.Tensor]string
	table  map[string]*tensor.Tensor
}

// String is the text of g.
func String(g *ir.Graph) string {
	var b bytes.Buffer
	var p Printer
	p.print(&b, g)
	return b.String()
}

// Print writes the text of g.
func (p *Printer) Print(w io.Writer, g *ir.Graph) error {
	var b bytes.Buffer
	p.print(&b, g)
	_, err := w.Write(b.Bytes())
	return err
}

// Tensors are the tensors that the text printed so far names by hash: what Parse needs
// to read it back.
func (p *Printer) Tensors() map[string]*tensor.Tensor { return p.table }

func (p *Printer) print(b *bytes.Buffer, g *ir.Graph) {
	p.graph(b, g, "")
	b.WriteByte('\n')
}

func (p *Printer) graph(b *bytes.Buffer, g *ir.Graph, indent string) {
	b.WriteString("graph")
	if g.Name != "" {
		b.WriteString(" " + word(g.Name))
	}
	b.WriteByte('(')
	for i, v := range g.Inputs {
		comma(b, i)
		b.WriteString(declare(v))
	}
	b.WriteString(") {\n")
	met := map[*ir.Value]bool{}
	for _, n := range g.Nodes {
		b.WriteString(indent + "  ")
		p.node(b, n, met, indent+"  ")
		b.WriteByte('\n')
	}
	b.WriteString(indent + "  return")
	for i, v := range g.Outputs {
		comma(b, i)
		if i == 0 {
			b.WriteByte(' ')
		}
		b.WriteString(p.use(v, met))
	}
	b.WriteString("\n" + indent + "}")
}

func (p *Printer) node(b *bytes.Buffer, n *ir.Node, met map[*ir.Value]bool, indent string) {
	for i, v := range n.Outputs {
		comma(b, i)
		if v == nil {
			b.WriteByte('_')
		} else {
			b.WriteString(declare(v))
		}
	}
	if len(n.Outputs) == 0 {
		b.WriteString("()")
	}
	b.WriteString(" = " + word(n.Op.String()) + "(")
	own := len(n.Inputs) - n.Captures
	for i, v := range n.Inputs {
		switch {
		case i == own && i == 0:
			b.WriteString("| ")
		case i == own:
			b.WriteString(" | ")
		default:
			comma(b, i)
		}
		b.WriteString(p.use(v, met))
	}
	b.WriteByte(')')
	if s := p.Attrs(n.Op, n.Attrs); s != "" {
		b.WriteString(" {" + s + "}")
	}
	named := !madeUpNode(n.Name)
	first := named && len(n.Origin) > 0 && n.Origin[0] == n.Name
	if named && !first {
		b.WriteString(" as " + word(n.Name))
	}
	for i, o := range n.Origin {
		switch {
		case i > 0:
			b.WriteString(", ")
		case first:
			b.WriteString(" @=")
		default:
			b.WriteString(" @")
		}
		b.WriteString(word(o))
	}
	if len(n.Subgraphs) > 0 {
		b.WriteString(" [")
		for _, s := range n.Subgraphs {
			b.WriteString("\n" + indent + "  ")
			p.graph(b, s, indent+"  ")
		}
		b.WriteString("\n" + indent + "]")
	}
}

// Attrs prints the attributes that differ from the op's defaults: `axis=-1, perm=[1, 0]`.
func (p *Printer) Attrs(op *ir.Op, attrs any) string {
	if attrs == nil {
		return ""
	}
	var defaults []ir.Attr
	if op.Attrs != nil {
		defaults = ir.AttrsOf(op.Attrs())
	}
	var s []string
	for _, a := range ir.AttrsOf(attrs) {
		if slices.ContainsFunc(defaults, func(d ir.Attr) bool { return d.Name == a.Name && sameAttr(d.Value, a.Value) }) {
			continue
		}
		s = append(s, word(a.Name)+"="+p.attr(a.Value))
	}
	return strings.Join(s, ", ")
}

// sameAttr is stricter than ==: 0 and -0 differ.
func sameAttr(a, b any) bool {
	if f, ok := a.(float32); ok {
		g, ok := b.(float32)
		return ok && formatFloat(float64(f), 32) == formatFloat(float64(g), 32)
	}
	return reflect.DeepEqual(a, b)
}

func (p *Printer) attr(x any) string {
	switch x := x.(type) {
	case int64:
		return strconv.FormatInt(x, 10)
	case float32:
		return formatFloat(float64(x), 32)
	case string:
		return strconv.Quote(x)
	case bool:
		return strconv.FormatBool(x)
	case tensor.DType:
		return x.String()
	case *tensor.Tensor:
		return p.tensor(x)
	case []int64:
		return list(x, func(n int64) string { return strconv.FormatInt(n, 10) })
	case []float32:
		return list(x, func(f float32) string { return formatFloat(float64(f), 32) })
	case []string:
		return list(x, strconv.Quote)
	}
	panic(fmt.Sprintf("irtext: attribute of type %T", x))
}

func list[T any](xs []T, f func(T) string) string {
	s := make([]string, len(xs))
	for i, x := range xs {
		s[i] = f(x)
	}
	return "[" + strings.Join(s, ", ") + "]"
}

// formatFloat always shows that it is no integer: 1.0, 1e+30, nan, -inf.
func formatFloat(f float64, bits int) string {
	s := strings.ToLower(strconv.FormatFloat(f, 'g', -1, bits))
	if !strings.ContainsAny(s, ".ein") {
		s += ".0"
	}
	return s
}

func declare(v *ir.Value) string {
	s := word(v.Name)
	if v.Type.DType == tensor.Invalid && !v.Type.Ranked {
		return s
	}
	return s + ": " + typeString(v.Type)
}

func (p *Printer) use(v *ir.Value, met map[*ir.Value]bool) string {
	switch {
	case v == nil:
		return "_"
	case v.IsConst() && !met[v]:
		met[v] = true
		return word(v.Name) + "=" + p.tensor(v.Const)
	}
	return word(v.Name)
}

func typeString(t ir.Type) string {
	s := "?"
	if t.DType != tensor.Invalid {
		s = t.DType.String()
	}
	if !t.Ranked {
		return s + "[...]"
	}
	d := make([]string, len(t.Shape))
	for i, x := range t.Shape {
		switch {
		case x.IsKnown() || x.Name == "":
			d[i] = x.String()
		case bareDim(x.Name):
			d[i] = x.Name
		default:
			d[i] = strconv.Quote(x.Name)
		}
	}
	return s + "[" + strings.Join(d, ",") + "]"
}

func comma(b *bytes.Buffer, i int) {
	if i > 0 {
		b.WriteString(", ")
	}
}

// word prints a name bare where the scanner would read it back as one word.
func word(s string) string {
	if bareWord(s) {
		return s
	}
	return strconv.Quote(s)
}

func madeUpNode(name string) bool {
	digits, ok := strings.CutPrefix(name, "n")
	return ok && isDigits(digits)
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
