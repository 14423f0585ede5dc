package syntax

import (
	"fmt"
	"strconv"
	"strings"
)

// maxRegs bounds the registers of one function: a range such as %r<1000000000>
// in a bad file must not exhaust memory.
const maxRegs = 1 << 20

// maxVarBytes bounds one variable for the same reason.
const maxVarBytes = 1 << 30

// Parse reads a PTX file. Errors are *Error and carry the line.
func Parse(src string) (m *Module, err error) {
	p := &parser{sc: scanner{src: src, line: 1}, m: &Module{AddressSize: 64}}
	// The recursive descent reports the first fault by unwinding to here.
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(*Error)
			if !ok {
				panic(r)
			}
			m, err = nil, e
		}
	}()
	p.advance()
	p.module()
	return p.m, nil
}

type parser struct {
	sc  scanner
	tok token
	m   *Module

	f      *Func
	scopes []*scope
	names  map[string]int // how often a variable or label name was declared in the function
}

func (p *parser) fail(line int, format string, args ...any) {
	panic(&Error{Line: line, Msg: fmt.Sprintf(format, args...)})
}

func (p *parser) advance() { p.tok = p.sc.next() }

func (p *parser) is(text string) bool {
	return p.tok.text == text && (p.tok.kind == tPunct || p.tok.kind == tIdent)
}

func (p *parser) accept(text string) bool {
	if p.is(text) {
		p.advance()
		return true
	}
	return false
}

func (p *parser) expect(text string) {
	if !p.accept(text) {
		p.fail(p.tok.line, "expected %q, found %q", text, p.tok.text)
	}
}

func (p *parser) ident(what string) string {
	if p.tok.kind != tIdent {
		p.fail(p.tok.line, "expected %s, found %q", what, p.tok.text)
	}
	s := p.tok.text
	p.advance()
	return s
}

// module = { directive | variable | function }.
func (p *parser) module() {
	for p.tok.kind != tEOF {
		switch p.tok.text {
		case ";":
			p.advance()
		case ".version":
			p.advance()
			p.m.Version = p.tok.text
			p.advance()
		case ".target":
			p.advance()
			p.m.Target = p.ident("a target")
			for p.accept(",") {
				p.ident("a target option")
			}
		case ".address_size":
			p.advance()
			p.m.AddressSize = int(p.integer())
		case ".file", ".loc":
			p.sc.skipLine()
			p.advance()
		case ".section":
			p.section()
		case ".pragma":
			p.skipTo(";")
		case ".visible", ".extern", ".weak", ".common", ".func", ".entry", ".global", ".const", ".shared":
			p.linked()
		case ".alias":
			p.skipTo(";")
		default:
			p.fail(p.tok.line, "unknown directive %q", p.tok.text)
		}
	}
}

func (p *parser) skipTo(end string) {
	for p.tok.kind != tEOF && !p.is(end) {
		p.advance()
	}
	p.advance()
}

// section skips a debug section: a name and a brace block.
func (p *parser) section() {
	for p.tok.kind != tEOF && !p.is("{") {
		p.advance()
	}
	p.skipBlock()
}

func (p *parser) skipBlock() {
	depth := 0
	for p.tok.kind != tEOF {
		if p.is("{") {
			depth++
		} else if p.is("}") {
			depth--
			if depth == 0 {
				p.advance()
				return
			}
		}
		p.advance()
	}
}

func (p *parser) linked() {
	extern := false
	for {
		switch p.tok.text {
		case ".visible", ".weak", ".common":
			p.advance()
			continue
		case ".extern":
			extern = true
			p.advance()
			continue
		case ".func":
			p.advance()
			p.function(false, extern)
		case ".entry":
			p.advance()
			p.function(true, extern)
		case ".global", ".const", ".shared":
			p.m.Vars = append(p.m.Vars, p.variables(extern)...)
		default:
			p.fail(p.tok.line, "expected a function or variable, found %q", p.tok.text)
		}
		return
	}
}

var spaceOf = map[string]Space{".global": Global, ".const": Const, ".shared": Shared, ".local": Local, ".param": Param}

// variables = space { .align n | type | qualifier } name [ "[" n "]" ] [ "=" init ] { "," name ... } ";".
func (p *parser) variables(extern bool) []*Var {
	proto := p.varHead()
	proto.Extern = extern
	var out []*Var
	for {
		v := *proto
		p.varName(&v)
		if p.accept("=") {
			p.initialiser(&v)
		}
		out = append(out, &v)
		if !p.accept(",") {
			break
		}
	}
	p.expect(";")
	return out
}

func (p *parser) varHead() *Var {
	v := &Var{Line: p.tok.line, Len: 1}
	v.Space = spaceOf[p.ident("a state space")]
	vec := 1
	for p.tok.kind == tIdent && p.tok.text[0] == '.' {
		word := p.tok.text
		p.advance()
		switch word {
		case ".align":
			v.Align = int(p.integer())
		case ".v2":
			vec = 2
		case ".v4":
			vec = 4
		case ".ptr", ".global", ".shared", ".const", ".local", ".param", ".attribute", ".managed", ".unified", ".texref", ".samplerref", ".surfref":
			// What a pointer parameter points to is a hint; the address itself says it at run time.
			if word == ".attribute" && p.is("(") {
				p.skipTo(")")
			}
		default:
			t := ParseType(word[1:])
			if t == None {
				p.fail(v.Line, "unknown type %q", word)
			}
			// ".ptr .align" gives the pointee's alignment, which must not become the parameter's.
			v.Type = t
			if p.is(".ptr") {
				p.advance()
				for p.tok.kind == tIdent && p.tok.text[0] == '.' {
					if p.is(".align") {
						p.advance()
						p.integer()
						continue
					}
					p.advance()
				}
			}
		}
	}
	if v.Type == None {
		p.fail(v.Line, "variable without a type")
	}
	if v.Align == 0 {
		v.Align = v.Type.Size() * vec
	}
	if v.Align <= 0 || v.Align&(v.Align-1) != 0 || v.Align > 1<<20 {
		p.fail(v.Line, "alignment %d is not a power of two", v.Align)
	}
	v.Len = vec
	return v
}

func (p *parser) varName(v *Var) {
	v.Line = p.tok.line
	v.Name = p.ident("a variable name")
	for p.accept("[") {
		v.Array = true
		n := int64(0)
		if !p.is("]") {
			n = p.integer()
		}
		p.expect("]")
		if n < 0 || n > maxVarBytes || int64(v.Len)*n*int64(v.Type.Size()) > maxVarBytes {
			p.fail(v.Line, "variable %s is too large", v.Name)
		}
		v.Len *= int(n)
	}
}

func (p *parser) initialiser(v *Var) {
	if p.accept("{") {
		for !p.is("}") {
			if p.is("{") {
				p.initialiser(v)
			} else {
				v.Init = append(v.Init, p.initElem(v))
			}
			if !p.accept(",") {
				break
			}
		}
		p.expect("}")
	} else {
		v.Init = append(v.Init, p.initElem(v))
	}
	if len(v.Init) > v.Len {
		if v.Array && v.Len == 0 {
			v.Len = len(v.Init)
		} else {
			p.fail(v.Line, "variable %s has %d elements and %d initial values", v.Name, v.Len, len(v.Init))
		}
	}
}

func (p *parser) initElem(v *Var) Init {
	if p.tok.kind == tIdent {
		in := Init{Sym: p.ident("a symbol")}
		if in.Sym == "generic" && p.accept("(") {
			in.Generic = true
			in.Sym = p.ident("a symbol")
			p.expect(")")
		}
		if p.accept("+") {
			in.Value = uint64(p.integer())
		}
		return in
	}
	o := p.number()
	return Init{Value: numberAs(o, v.Type)}
}

func (p *parser) function(entry, extern bool) {
	f := &Func{Entry: entry, Extern: extern, Line: p.tok.line, Labels: map[string]int{}, Tables: map[string][]string{}}
	if !entry && p.is("(") {
		f.Rets = p.params()
	}
	f.Name = p.ident("a function name")
	if p.is("(") {
		f.Params = p.params()
	}
	p.f, p.scopes, p.names = f, []*scope{newScope(nil)}, map[string]int{}
	for _, list := range [][]*Var{f.Params, f.Rets} {
		for _, v := range list {
			if v.Space != Param { // a register parameter
				p.declare(v.Name, v.Type, v.Line)
			}
		}
	}
	for !p.is("{") && !p.is(";") {
		p.functionDirective(f)
	}
	if p.accept(";") {
		f.Extern = true
	} else {
		p.expect("{")
		p.block()
	}
	p.m.Funcs = append(p.m.Funcs, f)
	p.f = nil
}

func (p *parser) params() []*Var {
	p.expect("(")
	var out []*Var
	for !p.is(")") {
		if p.is(".reg") {
			v := &Var{Line: p.tok.line, Len: 1, Space: Generic}
			p.advance()
			v.Type = p.typeName()
			v.Name = p.ident("a parameter name")
			out = append(out, v)
		} else {
			v := p.varHead()
			p.varName(v)
			out = append(out, v)
		}
		if !p.accept(",") {
			break
		}
	}
	p.expect(")")
	return out
}

func (p *parser) typeName() Type {
	line := p.tok.line
	s := p.ident("a type")
	t := ParseType(strings.TrimPrefix(s, "."))
	if t == None {
		p.fail(line, "unknown type %q", s)
	}
	return t
}

func (p *parser) functionDirective(f *Func) {
	line := p.tok.line
	word := p.ident("a directive or body")
	triple := func() (v [3]int) {
		v = [3]int{1, 1, 1}
		for i := 0; i < 3; i++ {
			v[i] = int(p.integer())
			if !p.accept(",") {
				break
			}
		}
		return v
	}
	switch word {
	case ".maxntid":
		f.MaxNTid = triple()
	case ".reqntid":
		f.ReqNTid = triple()
	case ".minnctapersm":
		f.MinCTAs = int(p.integer())
	case ".maxnreg":
		f.MaxNReg = int(p.integer())
	case ".noreturn", ".unique":
	case ".maxnctapersm", ".maxclusterrank", ".local_maxnreg", ".abi_preserve", ".abi_preserve_control":
		p.integer()
	case ".explicitcluster", ".blocksareclusters":
	case ".reqnctapercluster":
		f.Cluster = triple()
	case ".pragma":
		p.skipTo(";")
	default:
		p.fail(line, "unknown function directive %q", word)
	}
}

// number reads an optionally signed literal.
func (p *parser) number() Operand {
	neg := false
	for p.is("-") || p.is("+") {
		neg = neg != p.is("-")
		p.advance()
	}
	if p.accept("(") {
		o := p.number()
		p.expect(")")
		return negate(o, neg)
	}
	if p.tok.kind != tNumber {
		p.fail(p.tok.line, "expected a number, found %q", p.tok.text)
	}
	o, err := literal(p.tok.text)
	if err != nil {
		p.fail(p.tok.line, "bad number %q", p.tok.text)
	}
	p.advance()
	return negate(o, neg)
}

func (p *parser) integer() int64 {
	line := p.tok.line
	o := p.number()
	if o.Kind != KInt {
		p.fail(line, "expected an integer")
	}
	return int64(o.Imm)
}

func literal(s string) (Operand, error) {
	if len(s) > 1 && s[0] == '0' {
		switch s[1] {
		case 'f', 'F':
			v, err := strconv.ParseUint(s[2:], 16, 32)
			return Operand{Kind: KF32, Imm: v, Reg2: -1}, err
		case 'd', 'D':
			v, err := strconv.ParseUint(s[2:], 16, 64)
			return Operand{Kind: KF64, Imm: v, Reg2: -1}, err
		}
	}
	t := strings.TrimRight(s, "U")
	if v, err := strconv.ParseUint(t, 0, 64); err == nil {
		return Operand{Kind: KInt, Imm: v, Reg2: -1}, nil
	}
	v, err := strconv.ParseFloat(s, 64)
	return Operand{Kind: KF64, Imm: f64bits(v), Reg2: -1}, err
}
