// Package expr holds the integer expressions of device programs: grids, sizes and scalar arguments over the
// run-time dimensions of a model.
package expr

import (
	"encoding/json"
	"fmt"
	"sort"
	"strconv"
	"strings"
)

// Expr is an integer computed from the run-time dimensions of a model ("T", "batch*seq", 4*T+1): a
// polynomial over symbols, ceildiv, min and max. It is kept in a canonical form, so that two expressions
// that are equal as polynomials print alike. Grids, sizes and scalar arguments are Exprs, which makes a
// launch plain data: it can be written into a plan and evaluated when the dimensions are known.
// The zero Expr is 0.
type Expr struct {
	terms []term // sorted by key, no zero coefficients
}

type term struct {
	coef  int64
	atoms []atom // sorted by text
}

// atom is a symbol or a function of two expressions.
type atom struct {
	name string
	args []Expr // nil for a symbol
}

// N is the constant n.
func N(n int) Expr {
	if n == 0 {
		return Expr{}
	}
	return Expr{[]term{{coef: int64(n)}}}
}

// Sym is the run-time dimension of the given name.
func Sym(name string) Expr { return Expr{[]term{{1, []atom{{name: name}}}}} }

func (a atom) String() string {
	if a.args == nil {
		return a.name
	}
	return a.name + "(" + a.args[0].String() + "," + a.args[1].String() + ")"
}

func (t term) key() string {
	s := make([]string, len(t.atoms))
	for i, a := range t.atoms {
		s[i] = a.String()
	}
	return strings.Join(s, "*")
}

func normal(ts []term) Expr {
	by := map[string]term{}
	for _, t := range ts {
		k := t.key()
		t.coef += by[k].coef
		by[k] = t
	}
	var e Expr
	for _, t := range by {
		if t.coef != 0 {
			e.terms = append(e.terms, t)
		}
	}
	sort.Slice(e.terms, func(i, j int) bool { return e.terms[i].key() > e.terms[j].key() })
	return e
}

// Add is e + o.
func (e Expr) Add(o Expr) Expr {
	return normal(append(append([]term{}, e.terms...), o.terms...))
}

// AddN is e + n.
func (e Expr) AddN(n int) Expr { return e.Add(N(n)) }

// Mul is e * o.
func (e Expr) Mul(o Expr) Expr {
	var ts []term
	for _, a := range e.terms {
		for _, b := range o.terms {
			atoms := append(append([]atom{}, a.atoms...), b.atoms...)
			sort.Slice(atoms, func(i, j int) bool { return atoms[i].String() < atoms[j].String() })
			ts = append(ts, term{a.coef * b.coef, atoms})
		}
	}
	return normal(ts)
}

// MulN is e * n.
func (e Expr) MulN(n int) Expr { return e.Mul(N(n)) }

// CeilDiv is e / n rounded up.
func (e Expr) CeilDiv(n int) Expr {
	if k, ok := e.Const(); ok {
		return N(int((k + int64(n) - 1) / int64(n)))
	}
	if e.DivisibleBy(n) {
		out := Expr{append([]term{}, e.terms...)}
		for i := range out.terms {
			out.terms[i].coef /= int64(n)
		}
		return out
	}
	return Expr{[]term{{1, []atom{{"ceildiv", []Expr{e, N(n)}}}}}}
}

// Min is the smaller of e and o.
func (e Expr) Min(o Expr) Expr { return e.pick("min", o) }

// Max is the larger of e and o.
func (e Expr) Max(o Expr) Expr { return e.pick("max", o) }

func (e Expr) pick(name string, o Expr) Expr {
	a, okA := e.Const()
	b, okB := o.Const()
	if okA && okB {
		return N(int(apply(name, a, b)))
	}
	return Expr{[]term{{1, []atom{{name, []Expr{e, o}}}}}}
}

// Const reports a constant expression and its value.
func (e Expr) Const() (int64, bool) {
	switch {
	case len(e.terms) == 0:
		return 0, true
	case len(e.terms) == 1 && len(e.terms[0].atoms) == 0:
		return e.terms[0].coef, true
	}
	return 0, false
}

// Is reports whether e is the constant n.
func (e Expr) Is(n int) bool {
	k, ok := e.Const()
	return ok && k == int64(n)
}

// Equal reports whether e and o are the same polynomial.
func (e Expr) Equal(o Expr) bool { return e.String() == o.String() }

// DivisibleBy reports whether e is a multiple of n whatever the dimensions are.
func (e Expr) DivisibleBy(n int) bool {
	for _, t := range e.terms {
		if t.coef%int64(n) != 0 {
			return false
		}
	}
	return true
}

func (e Expr) String() string {
	if len(e.terms) == 0 {
		return "0"
	}
	var b strings.Builder
	for i, t := range e.terms {
		if i > 0 && t.coef >= 0 {
			b.WriteByte('+')
		}
		k := t.key()
		switch {
		case k == "":
			fmt.Fprint(&b, t.coef)
		case t.coef == 1:
			b.WriteString(k)
		default:
			fmt.Fprintf(&b, "%d*%s", t.coef, k)
		}
	}
	return b.String()
}

// Eval computes e for the given dimensions; a missing one is an error that names it.
func (e Expr) Eval(dims map[string]int64) (int64, error) {
	sum := int64(0)
	for _, t := range e.terms {
		p := t.coef
		for _, a := range t.atoms {
			var v int64
			if a.args == nil {
				d, ok := dims[a.name]
				if !ok {
					return 0, fmt.Errorf("dimension %q of %s has no value", a.name, e)
				}
				v = d
			} else {
				x, err := a.args[0].Eval(dims)
				if err != nil {
					return 0, err
				}
				y, err := a.args[1].Eval(dims)
				if err != nil {
					return 0, err
				}
				v = apply(a.name, x, y)
			}
			p *= v
		}
		sum += p
	}
	return sum, nil
}

func apply(name string, x, y int64) int64 {
	switch name {
	case "ceildiv":
		return (x + y - 1) / y
	case "min":
		return min(x, y)
	}
	return max(x, y)
}

// MarshalJSON writes the expression as its text.
func (e Expr) MarshalJSON() ([]byte, error) { return json.Marshal(e.String()) }

// UnmarshalJSON reads the text that MarshalJSON wrote.
func (e *Expr) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	x, err := Parse(s)
	*e = x
	return err
}

// Parse reads the text form: sums and products of integers, names, ceildiv(a,n), min(a,b), max(a,b).
func Parse(s string) (Expr, error) {
	p := exprParser{rest: s}
	e, err := p.sum()
	if err == nil && p.rest != "" {
		err = fmt.Errorf("unexpected %q", p.rest)
	}
	if err != nil {
		return Expr{}, fmt.Errorf("expression %q: %w", s, err)
	}
	return e, nil
}

type exprParser struct {
	rest  string
	depth int // of functions within functions
}

// maxDepth bounds functions within functions: a file's text must not decide how deep the stack grows.
const maxDepth = 64

func (p *exprParser) eat(c byte) bool {
	if p.rest != "" && p.rest[0] == c {
		p.rest = p.rest[1:]
		return true
	}
	return false
}

func (p *exprParser) sum() (Expr, error) {
	var out Expr
	for first := true; ; first = false {
		sign := 1
		switch {
		case p.eat('-'):
			sign = -1
		case p.eat('+'), first:
		default:
			return out, nil
		}
		e, err := p.product()
		if err != nil {
			return out, err
		}
		out = out.Add(e.MulN(sign))
	}
}

func (p *exprParser) product() (Expr, error) {
	out, err := p.factor()
	for err == nil && p.eat('*') {
		var e Expr
		e, err = p.factor()
		out = out.Mul(e)
	}
	return out, err
}

func (p *exprParser) factor() (Expr, error) {
	n := strings.IndexAny(p.rest, "+-*(),<=")
	if n < 0 {
		n = len(p.rest)
	}
	word := p.rest[:n]
	p.rest = p.rest[n:]
	if word == "" {
		return Expr{}, fmt.Errorf("a number or name is missing before %q", p.rest)
	}
	if v, err := strconv.Atoi(word); err == nil {
		return N(v), nil
	}
	if !p.eat('(') {
		return Sym(word), nil
	}
	if p.depth++; p.depth > maxDepth {
		return Expr{}, fmt.Errorf("functions are nested more than %d deep", maxDepth)
	}
	defer func() { p.depth-- }()
	a, err := p.sum()
	if err != nil {
		return a, err
	}
	if !p.eat(',') {
		return a, fmt.Errorf("%s takes two arguments", word)
	}
	b, err := p.sum()
	if err != nil {
		return b, err
	}
	if !p.eat(')') {
		return b, fmt.Errorf("%s( is not closed", word)
	}
	switch word {
	case "ceildiv":
		k, ok := b.Const()
		if !ok || k <= 0 {
			return b, fmt.Errorf("ceildiv needs a positive constant divisor")
		}
		return a.CeilDiv(int(k)), nil
	case "min", "max":
		return a.pick(word, b), nil
	}
	return a, fmt.Errorf("unknown function %s", word)
}

// Symbol is the name of the run-time dimension that e is, if it is one and nothing else.
func (e Expr) Symbol() (string, bool) {
	if len(e.terms) == 1 && e.terms[0].coef == 1 && len(e.terms[0].atoms) == 1 && e.terms[0].atoms[0].args == nil {
		return e.terms[0].atoms[0].name, true
	}
	return "", false
}

// Symbols lists the dimensions that e is computed from, each once, in order of appearance.
func (e Expr) Symbols() []string {
	var out []string
	seen := map[string]bool{}
	var walk func(Expr)
	walk = func(e Expr) {
		for _, t := range e.terms {
			for _, a := range t.atoms {
				if a.args == nil {
					if !seen[a.name] {
						seen[a.name] = true
						out = append(out, a.name)
					}
					continue
				}
				walk(a.args[0])
				walk(a.args[1])
			}
		}
	}
	walk(e)
	return out
}
