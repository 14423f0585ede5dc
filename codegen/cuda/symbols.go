package cuda

import (
	"fmt"
	"strings"

	"github.com/seed-c851cfd2/moec/codegen/plan/expr"
	"github.com/seed-c851cfd2/moec/codegen/ptx"
	"github.com/seed-c851cfd2/moec/ir"
)

// Symbol binds a name in expressions to a dimension of a value.
type Symbol struct {
	Name  string
	Value *ir.Value
	Axis  int
}

// symbols gives every dimension of the graph's values an expression.
type symbols struct {
	list  []Symbol
	bound map[string]bool     // names in list
	named map[string]ptx.Expr // by the dimension's name in the graph
	dims  map[*ir.Value][]ptx.Expr
}

func newSymbols(g *ir.Graph) *symbols {
	s := &symbols{bound: map[string]bool{}, named: map[string]ptx.Expr{}, dims: map[*ir.Value][]ptx.Expr{}}
	for _, v := range g.Inputs {
		s.add(v)
	}
	for _, n := range g.Nodes {
		for _, v := range n.Outputs {
			if v != nil {
				s.add(v)
			}
		}
	}
	return s
}

func (s *symbols) add(v *ir.Value) {
	out := make([]ptx.Expr, len(v.Type.Shape))
	for i, d := range v.Type.Shape {
		switch {
		case d.IsKnown():
			out[i] = ptx.N(int(d.Size))
		case d.Name == "":
			out[i] = s.fresh("u", v, i)
		default:
			out[i] = s.name(d.Name, v, i)
		}
	}
	s.dims[v] = out
}

// name is the expression of a named dimension: a polynomial over names that are bound, or a symbol of its own.
func (s *symbols) name(name string, v *ir.Value, axis int) ptx.Expr {
	if e, ok := s.named[name]; ok {
		return e
	}
	var e ptx.Expr
	plain := !strings.ContainsAny(name, "+-*(),<= ") && (name[0] < '0' || name[0] > '9')
	if parsed, err := expr.Parse(name); err == nil && !plain && s.all(parsed.Symbols()) {
		e = parsed
	} else if plain && !s.bound[name] {
		s.bound[name] = true
		s.list = append(s.list, Symbol{name, v, axis})
		e = ptx.Sym(name)
	} else {
		e = s.fresh("d", v, axis)
	}
	s.named[name] = e
	return e
}

func (s *symbols) all(names []string) bool {
	for _, n := range names {
		if !s.bound[n] {
			return false
		}
	}
	return true
}

// fresh makes a symbol that the model does not name.
func (s *symbols) fresh(prefix string, v *ir.Value, axis int) ptx.Expr {
	name := ""
	for i := len(s.list); name == "" || s.bound[name]; i++ {
		name = fmt.Sprintf("%s%d", prefix, i)
	}
	s.bound[name] = true
	s.list = append(s.list, Symbol{name, v, axis})
	return ptx.Sym(name)
}

// of are the dimensions of a value or constant.
func (s *symbols) of(v *ir.Value) []ptx.Expr {
	if !v.IsConst() {
		return s.dims[v]
	}
	out := make([]ptx.Expr, v.Const.Rank())
	for i, n := range v.Const.Shape() {
		out[i] = ptx.N(n)
	}
	return out
}

// assumedDim is the size that the planner takes for each unknown dimension, where only that is left open.
const assumedDim = 32

// estimate is the size that the planner takes for an expression.
func (s *symbols) estimate(e ptx.Expr) int {
	at := map[string]int64{}
	for _, n := range e.Symbols() {
		at[n] = assumedDim
	}
	v, err := e.Eval(at)
	if err != nil || v < 1 {
		return 1
	}
	return int(min(v, 1<<30))
}

// constDim is a dimension that must be known when the kernel is written.
func constDim(e ptx.Expr) (int, error) {
	n, ok := e.Const()
	if !ok || n < 1 {
		return 0, decline("the kernel needs a fixed size, not %v", e)
	}
	return int(n), nil
}
