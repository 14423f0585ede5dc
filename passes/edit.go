package passes

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// edit is a graph under rewriting. The first error sticks; changed tells whether
// anything happened.
type edit struct {
	g       *ir.Graph
	added   []*ir.Node
	changed bool
	err     error
}

// add emits a node that stands for the nodes in from and returns its first output with
// its type inferred. Attributes come as name, value pairs.
func (e *edit) add(name string, ins []*ir.Value, from []*ir.Node, attrs ...any) *ir.Value {
	return e.addN(name, ins, from, 1, attrs...).Outputs[0]
}

// addN is add for a node of several outputs.
func (e *edit) addN(name string, ins []*ir.Value, from []*ir.Node, outs int, attrs ...any) *ir.Node {
	op := e.g.Op(name)
	var a any
	if op.Attrs != nil {
		a = op.Attrs()
	}
	for i := 0; i+1 < len(attrs); i += 2 {
		if err := ir.SetAttr(a, attrs[i].(string), attrs[i+1]); err != nil {
			e.fail(fmt.Errorf("%s: %w", name, err))
		}
	}
	return e.addAttrs(op, a, ins, from, outs)
}

// addAttrs is addN with the attribute struct made already.
func (e *edit) addAttrs(op *ir.Op, attrs any, ins []*ir.Value, from []*ir.Node, outs int) *ir.Node {
	n := e.g.Add(op, attrs, ins, make([]string, outs)...)
	n.Origin = ir.Merge(from...)
	if err := ir.InferNode(n); err != nil {
		e.fail(ir.NodeError(n, err))
	}
	e.added = append(e.added, n)
	return n
}

func (e *edit) fail(err error) {
	if e.err == nil {
		e.err = err
	}
}

// can reports whether repl may take old's place: an output of the graph keeps its name
// only when what replaces it is produced by a node and is no output itself.
func (e *edit) can(old, repl *ir.Value) bool {
	return !e.g.IsOutput(old) || repl.Def != nil && !e.g.IsOutput(repl)
}

// replace makes the readers of old read repl; a made-up name gives way to old's. It
// does nothing and returns false where can says no. Nodes that nobody reads any more
// are left to dead.
func (e *edit) replace(old, repl *ir.Value) bool {
	if old == repl || !e.can(old, repl) {
		return false
	}
	e.g.ReplaceUses(old, repl)
	if strings.HasPrefix(repl.Name, "%") && !strings.HasPrefix(old.Name, "%") {
		old.Name, repl.Name = repl.Name, old.Name
	}
	e.changed = true
	return true
}

func (e *edit) ints(v ...int64) *ir.Value { return e.g.NewConst("", tensor.Of(v, len(v))) }

// done removes what became unused, or was added in vain, and ends a pass.
func (e *edit) done() (bool, error) {
	if e.changed && e.err == nil {
		removeDead(e.g)
		return true, nil
	}
	for _, n := range slices.Backward(e.added) {
		if !e.read(n) {
			e.g.Remove(n)
		}
	}
	return e.changed, e.err
}

// def is the node that produces v when it applies one of the named ops.
func def(v *ir.Value, names ...string) *ir.Node {
	if v == nil || v.Def == nil || !v.Def.Is(names...) {
		return nil
	}
	return v.Def
}

// input is the i-th input of n, nil when absent.
func input(n *ir.Node, i int) *ir.Value {
	if i >= len(n.Inputs) {
		return nil
	}
	return n.Inputs[i]
}

// number is the one element of a constant of a float or integer type, whatever its rank.
func number(v *ir.Value) (float64, bool) {
	if !v.IsConst() || v.Const.Len() != 1 {
		return 0, false
	}
	f, err := v.Const.Float64s()
	if err != nil {
		return 0, false
	}
	return f[0], true
}

// uniform is the value that all elements of a float constant have.
func uniform(v *ir.Value) (float64, bool) {
	if !v.IsConst() || v.Const.Len() == 0 || v.Const.Len() > 1<<20 {
		return 0, false
	}
	f, err := v.Const.Float64s()
	if err != nil || slices.ContainsFunc(f, func(x float64) bool { return x != f[0] }) {
		return 0, false
	}
	return f[0], true
}

// withNumber splits a commutative node into its variable operand and its constant
// number, when one operand is such a constant that does not widen the other's rank.
func withNumber(n *ir.Node) (x *ir.Value, c float64, ok bool) {
	for i := range 2 {
		if c, ok = number(n.Inputs[1-i]); ok && keepsShape(n.Inputs[i], n.Outputs[0]) {
			return n.Inputs[i], c, true
		}
	}
	return nil, 0, false
}

// keepsShape reports whether x certainly has the shape of y: replacing y by x, or by an
// elementwise function of x, changes no shape.
func keepsShape(x, y *ir.Value) bool {
	a, b := x.Type, y.Type
	if !a.Ranked || !b.Ranked || len(a.Shape) != len(b.Shape) {
		return false
	}
	for i, d := range a.Shape {
		if !d.Same(b.Shape[i]) && !stretchFree(y, x, i) {
			return false
		}
	}
	return true
}

// stretchFree reports whether y, of x's rank, is an elementwise node whose other operands
// all have size 1 along axis i, so that x is not stretched though its size is unknown.
func stretchFree(y, x *ir.Value, i int) bool {
	n := y.Def
	if n == nil || !n.Is("Add", "Sub", "Mul", "Div", "Pow", "Max") {
		return false
	}
	for _, v := range n.Inputs {
		if v == x {
			continue
		}
		t := v.Type
		if !t.Ranked || len(t.Shape) > len(x.Type.Shape) {
			return false
		}
		if j := i - (len(x.Type.Shape) - len(t.Shape)); j >= 0 && t.Shape[j] != ir.Known(1) {
			return false
		}
	}
	return true
}

// near compares a constant with what a formula has there, as half precision and
// decimal truncation leave it.
func near(c, want float64, dt tensor.DType) bool {
	tol := 1e-5
	switch dt {
	case tensor.F16:
		tol = 2e-3
	case tensor.BF16:
		tol = 1e-2
	}
	return math.Abs(c-want) <= tol*math.Abs(want)
}

// other is the operand of a binary node that is not v.
func other(n *ir.Node, v *ir.Value) *ir.Value {
	if n.Inputs[0] == v {
		return n.Inputs[1]
	}
	return n.Inputs[0]
}

func intAttr(n *ir.Node, name string) int64 {
	for _, a := range ir.AttrsOf(n.Attrs) {
		if x, ok := a.Value.(int64); ok && a.Name == name {
			return x
		}
		if x, ok := a.Value.(bool); ok && a.Name == name && x {
			return 1
		}
	}
	return 0
}

func floatAttr(n *ir.Node, name string) float64 {
	for _, a := range ir.AttrsOf(n.Attrs) {
		if x, ok := a.Value.(float32); ok && a.Name == name {
			return float64(x)
		}
	}
	return 0
}

func intsAttr(n *ir.Node, name string) []int64 {
	for _, a := range ir.AttrsOf(n.Attrs) {
		if x, ok := a.Value.([]int64); ok && a.Name == name {
			return x
		}
	}
	return nil
}

func stringAttr(n *ir.Node, name string) string {
	for _, a := range ir.AttrsOf(n.Attrs) {
		if x, ok := a.Value.(string); ok && a.Name == name {
			return x
		}
	}
	return ""
}

// constInts are the elements of a constant integer value.
func constInts(v *ir.Value) ([]int64, bool) {
	if !v.IsConst() || v.Const.Len() > 1024 {
		return nil, false
	}
	x, err := v.Const.Int64s()
	return x, err == nil
}

func values(v ...*ir.Value) []*ir.Value { return v }

func nodes(n ...*ir.Node) []*ir.Node {
	return slices.DeleteFunc(n, func(m *ir.Node) bool { return m == nil })
}
