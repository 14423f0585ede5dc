package syntax

import "strconv"

// scope is what a brace block declares. Registers, variables and labels of
// one block may carry the names of another's: the parameters of every call
// are "param0", and inline assembly brings its labels each time it is
// expanded. Variables and labels get names that are unique in the function.
type scope struct {
	outer  *scope
	regs   map[string]int
	vars   map[string]string
	labels map[string]string
	tables []*table   // branch tables, which may name labels further down
	uses   []*Operand // symbols that may turn out to be labels
}

// table is a .branchtargets list.
type table struct {
	name   string
	labels []string
	known  []bool // labels that have their unique names
	line   int
}

func newScope(outer *scope) *scope {
	return &scope{outer: outer, regs: map[string]int{}, vars: map[string]string{}, labels: map[string]string{}}
}

// unique is the name that a declaration gets: its own the first time.
func (p *parser) unique(name string) string {
	n := p.names[name]
	p.names[name]++
	if n == 0 {
		return name
	}
	return name + "#" + strconv.Itoa(n)
}

// declare adds a register to the innermost scope.
func (p *parser) declare(name string, t Type, line int) {
	sc := p.scopes[len(p.scopes)-1]
	if _, dup := sc.regs[name]; dup {
		p.fail(line, "register %s is declared twice", name)
	}
	sc.regs[name] = len(p.f.Regs)
	p.f.Regs = append(p.f.Regs, Reg{Name: name, Type: t})
}

func (p *parser) lookup(name string) (int, bool) {
	for i := len(p.scopes) - 1; i >= 0; i-- {
		if r, ok := p.scopes[i].regs[name]; ok {
			return r, true
		}
	}
	return 0, false
}

// localVars declares variables of the function's body.
func (p *parser) localVars(extern bool) {
	sc := p.scopes[len(p.scopes)-1]
	for _, v := range p.variables(extern) {
		name := v.Name
		if _, dup := sc.vars[name]; dup {
			p.fail(v.Line, "variable %s is declared twice", name)
		}
		v.Name = p.unique(name)
		sc.vars[name] = v.Name
		p.f.Vars = append(p.f.Vars, v)
	}
}

// variable is the unique name of a variable, and whether the function's body
// declares it; other names stay as they are.
func (p *parser) variable(name string) (string, bool) {
	for i := len(p.scopes) - 1; i >= 0; i-- {
		if u, ok := p.scopes[i].vars[name]; ok {
			return u, true
		}
	}
	return name, false
}

func (p *parser) declareLabel(sc *scope, tok token) string {
	if _, dup := sc.labels[tok.text]; dup {
		p.fail(tok.line, "label %s is defined twice", tok.text)
	}
	u := p.unique(tok.text)
	sc.labels[tok.text] = u
	return u
}

// resolveLabels gives the innermost scope's labels, now all known, to the
// operands and tables that use them, and leaves the rest to the scope around.
func (p *parser) resolveLabels() {
	sc := p.scopes[len(p.scopes)-1]
	for _, t := range sc.tables {
		left := false
		for i, l := range t.labels {
			if t.known[i] {
				continue
			}
			if u, ok := sc.labels[l]; ok {
				t.labels[i], t.known[i] = u, true
			} else {
				left = true
			}
		}
		switch {
		case !left:
			p.f.Tables[t.name] = t.labels
		case sc.outer == nil:
			p.fail(t.line, "a branch table names an unknown label")
		default:
			sc.outer.tables = append(sc.outer.tables, t)
		}
	}
	for _, o := range sc.uses {
		if u, ok := sc.labels[o.Sym]; ok {
			o.Sym = u
		} else if sc.outer != nil {
			sc.outer.uses = append(sc.outer.uses, o)
		}
	}
}
