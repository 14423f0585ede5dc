package syntax

import "strings"

// block = { statement } "}". Names declared in it end with it.
func (p *parser) block() {
	for !p.is("}") {
		if p.tok.kind == tEOF {
			p.fail(p.tok.line, "function %s has no end", p.f.Name)
		}
		p.statement()
	}
	p.resolveLabels()
	p.advance()
}

func (p *parser) statement() {
	switch p.tok.text {
	case ";":
		p.advance()
		return
	case "{":
		p.advance()
		p.scopes = append(p.scopes, newScope(p.scopes[len(p.scopes)-1]))
		p.block()
		p.scopes = p.scopes[:len(p.scopes)-1]
		return
	case ".reg":
		p.registers()
		return
	case ".shared", ".local", ".const", ".global", ".param":
		p.localVars(false)
		return
	case ".extern":
		p.advance()
		p.localVars(true)
		return
	case ".loc", ".file":
		p.sc.skipLine()
		p.advance()
		return
	case ".pragma":
		p.skipTo(";")
		return
	case ".section":
		p.section()
		return
	}
	if p.tok.kind == tIdent && p.tok.text[0] != '.' {
		// A label is an identifier followed by a colon.
		save, tok := p.sc, p.tok
		p.advance()
		if p.accept(":") {
			p.label(tok)
			return
		}
		p.sc, p.tok = save, tok
	}
	p.instruction()
}

func (p *parser) label(tok token) {
	sc := p.scopes[len(p.scopes)-1]
	switch p.tok.text {
	case ".branchtargets":
		p.advance()
		t := &table{line: tok.line}
		for {
			t.labels = append(t.labels, p.ident("a label"))
			if !p.accept(",") {
				break
			}
		}
		p.expect(";")
		t.known = make([]bool, len(t.labels))
		sc.tables = append(sc.tables, t)
		t.name = p.declareLabel(sc, tok)
		return
	case ".callprototype", ".calltargets":
		p.declareLabel(sc, tok)
		p.skipTo(";")
		return
	}
	p.f.Labels[p.declareLabel(sc, tok)] = len(p.f.Body)
}

// registers = ".reg" type name [ "<" n ">" ] { "," name } ";".
func (p *parser) registers() {
	p.advance()
	for p.is(".v2") || p.is(".v4") {
		p.fail(p.tok.line, "vector registers are not supported")
	}
	t := p.typeName()
	for {
		line := p.tok.line
		name := p.ident("a register name")
		if p.accept("<") {
			n := p.integer()
			p.expect(">")
			if n < 0 || n+int64(len(p.f.Regs)) > maxRegs {
				p.fail(line, "%d registers are too many", n)
			}
			for i := range int(n) {
				p.declare(name+itoa(i), t, line)
			}
		} else {
			p.declare(name, t, line)
		}
		if !p.accept(",") {
			break
		}
	}
	p.expect(";")
}

// instruction = [ "@" [ "!" ] p ] opcode [ operand { "," operand } ] ";".
func (p *parser) instruction() {
	in := &Instr{Line: p.tok.line, Guard: -1}
	start := p.tok.pos
	if p.accept("@") {
		in.GuardNot = p.accept("!")
		line := p.tok.line
		name := p.ident("a predicate")
		r, ok := p.lookup(name)
		if !ok || p.f.Regs[r].Type != Pred {
			p.fail(line, "guard %s is not a declared predicate", name)
		}
		in.Guard = r
	}
	if p.tok.kind != tIdent || p.tok.text[0] == '.' || p.tok.text[0] == '%' {
		p.fail(p.tok.line, "expected an instruction, found %q", p.tok.text)
	}
	in.Op, in.OpPos = p.tok.text, p.tok.pos
	p.advance()
	in.Mods = strings.Split(in.Op, ".")
	for !p.is(";") {
		in.Args = append(in.Args, p.operand())
		if !p.accept(",") {
			break
		}
	}
	in.Pos, in.End = start, p.tok.pos
	in.Text = strings.Join(strings.Fields(p.sc.src[start:p.tok.pos]), " ")
	if !p.accept(";") {
		p.fail(p.tok.line, "expected \";\" after %q, found %q", in.Op, p.tok.text)
	}
	p.f.Body = append(p.f.Body, in)
	sc := p.scopes[len(p.scopes)-1]
	for i := range in.Args {
		if a := &in.Args[i]; a.Kind == KSym && !a.local {
			sc.uses = append(sc.uses, a)
		}
	}
}

func (p *parser) operand() Operand {
	line := p.tok.line
	o := Operand{Reg: -1, Reg2: -1}
	switch {
	case p.accept("{"):
		o.Kind = KVec
		o.Vec = p.operandList("}")
		return o
	case p.accept("("):
		o.Kind = KList
		o.Vec = p.operandList(")")
		return o
	case p.accept("["):
		return p.address(line)
	case p.accept("!"):
		o = p.operand()
		o.Not = true
		return o
	case p.is("-") || p.is("+") || p.tok.kind == tNumber:
		o := p.number()
		o.Reg = -1
		return o
	}
	name := p.ident("an operand")
	switch r, ok := p.lookup(name); {
	case name == "_":
		o.Kind = KSink
	case ok:
		o.Kind, o.Reg = KReg, r
	case name[0] == '%' && isSpecial(name):
		o.Kind, o.Sym = KSpecial, name
	case name[0] == '%':
		base, sel, _ := strings.Cut(name, ".")
		if r, ok = p.lookup(base); !ok || sel == "" {
			p.fail(line, "register %s is not declared", name)
		}
		o.Kind, o.Reg, o.Sel = KReg, r, sel
	default:
		o.Kind = KSym
		o.Sym, o.local = p.variable(name)
		for p.is("+") || p.is("-") {
			o.Imm += uint64(p.integer())
		}
	}
	if p.accept("|") {
		o2 := p.operand()
		if o2.Kind == KReg {
			o.Reg2 = o2.Reg
		} else if o2.Kind != KSink {
			p.fail(line, "expected a register after \"|\"")
		}
	}
	return o
}

func (p *parser) operandList(end string) []Operand {
	var list []Operand
	for !p.is(end) {
		list = append(list, p.operand())
		if !p.accept(",") {
			break
		}
	}
	p.expect(end)
	return list
}

// address = "[" ( register | symbol | integer ) { ("+"|"-") integer } [ "," coordinates ] "]".
func (p *parser) address(line int) Operand {
	o := Operand{Kind: KMem, Reg: -1, Reg2: -1}
	if p.tok.kind == tIdent {
		name := p.ident("an address")
		switch r, ok := p.lookup(name); {
		case ok:
			o.Reg = r
		case name[0] == '%':
			p.fail(line, "register %s is not declared", name)
		default:
			o.Sym, o.local = p.variable(name)
		}
	}
	for !p.is("]") {
		if p.accept(",") { // of a tensor: coordinates
			if v := p.operand(); v.Kind == KVec && o.Vec == nil {
				o.Vec = v.Vec
				continue
			}
			p.fail(line, "this kind of address is not supported")
		}
		o.Imm += uint64(p.integer())
	}
	p.expect("]")
	return o
}

func itoa(n int) string {
	var b [8]byte
	i := len(b)
	for {
		i--
		b[i] = byte('0' + n%10)
		if n /= 10; n == 0 {
			return string(b[i:])
		}
	}
}

// specials are the special registers that an operand may name.
var specials = map[string]bool{
	"%laneid": true, "%warpid": true, "%nwarpid": true, "%smid": true, "%nsmid": true, "%gridid": true,
	"%lanemask_eq": true, "%lanemask_le": true, "%lanemask_lt": true, "%lanemask_ge": true, "%lanemask_gt": true,
	"%clock": true, "%clock_hi": true, "%clock64": true, "%globaltimer": true, "%globaltimer_lo": true, "%globaltimer_hi": true,
	"%dynamic_smem_size": true, "%total_smem_size": true, "%aggr_smem_size": true, "%is_explicit_cluster": true,
	"%cluster_ctarank": true, "%cluster_nctarank": true, "WARP_SZ": true,
	"%reserved_smem_offset_begin": true, "%reserved_smem_offset_end": true, "%reserved_smem_offset_cap": true,
}

func isSpecial(name string) bool {
	if specials[name] || strings.HasPrefix(name, "%envreg") {
		return true
	}
	base, dim, ok := strings.Cut(name, ".")
	if !ok || dim != "x" && dim != "y" && dim != "z" {
		return false
	}
	switch base {
	case "%tid", "%ntid", "%ctaid", "%nctaid", "%clusterid", "%nclusterid", "%cluster_ctaid", "%cluster_nctaid":
		return true
	}
	return false
}
