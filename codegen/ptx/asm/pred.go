package asm

import "fmt"

// Pred is a condition: a predicate register, its negation, or a constant.
type Pred struct {
	f     *Func
	r     *reg
	neg   bool
	known bool // a constant condition
	val   bool
}

// Bool is a constant condition.
func (f *Func) Bool(v bool) Pred { return Pred{f: f, known: true, val: v} }

func (f *Func) newPred() Pred { return Pred{f: f, r: f.newReg(classPred)} }

func (p Pred) String() string {
	if p.known || p.neg {
		panic("asm: a constant or negated predicate cannot be an operand")
	}
	return p.r.String()
}

// As names the register behind the condition.
func (p Pred) As(name string) Pred {
	if !p.known && p.r.name == "" {
		p.r.name = p.f.unique(name)
	}
	return p
}

// Const reports a constant condition and its value.
func (p Pred) Const() (val, ok bool) { return p.val, p.known }

// Not is the negation; it costs no instruction.
func (p Pred) Not() Pred {
	if p.known {
		p.val = !p.val
	} else {
		p.neg = !p.neg
	}
	return p
}

// plain returns the condition in a register of its own sense, emitting a not where needed.
func (p Pred) plain() Pred {
	if p.known {
		n := 0
		if p.val {
			n = 1
		}
		out := p.f.newPred()
		p.f.emit("setp.ne.u32", out, text(fmt.Sprint(n)), text("0"))
		return out
	}
	if !p.neg {
		return p
	}
	out := p.f.newPred()
	p.neg = false
	p.f.emit("not.pred", out, p)
	return out
}

// And is p && q.
func (p Pred) And(q Pred) Pred {
	if p.known {
		if p.val {
			return q
		}
		return p
	}
	if q.known {
		return q.And(p)
	}
	a, b := p.plain(), q.plain()
	out := p.f.newPred()
	p.f.emit("and.pred", out, a, b)
	return out
}

// Or is p || q.
func (p Pred) Or(q Pred) Pred { return p.Not().And(q.Not()).Not() }

// Xor is p != q.
func (p Pred) Xor(q Pred) Pred {
	if p.known {
		if p.val {
			return q.Not()
		}
		return q
	}
	if q.known {
		return q.Xor(p)
	}
	flip := p.neg != q.neg
	p.neg, q.neg = false, false
	out := p.f.newPred()
	p.f.emit("xor.pred", out, p, q)
	if flip {
		return out.Not()
	}
	return out
}

// SelU32 is a where p holds and b elsewhere.
func (p Pred) SelU32(a, b U32) U32 {
	if p.known {
		if p.val {
			return a
		}
		return b
	}
	if p.neg {
		return p.Not().SelU32(b, a)
	}
	out := p.f.new32()
	p.f.emit("selp.b32", out, a, b, p)
	return out
}

// SelU64 is a where p holds and b elsewhere.
func (p Pred) SelU64(a, b U64) U64 {
	if p.known {
		if p.val {
			return a
		}
		return b
	}
	if p.neg {
		return p.Not().SelU64(b, a)
	}
	out := p.f.new64()
	p.f.emit("selp.b64", out, a, b, p)
	return out
}

// SelF32 is a where p holds and b elsewhere.
func (p Pred) SelF32(a, b F32) F32 {
	if p.known {
		if p.val {
			return a
		}
		return b
	}
	if p.neg {
		return p.Not().SelF32(b, a)
	}
	out := p.f.newF32()
	p.f.emit("selp.f32", out, a, b, p)
	return out
}

// U32 is 1 where p holds and 0 elsewhere.
func (p Pred) U32() U32 { return p.SelU32(p.f.Const(1), p.f.Const(0)) }
