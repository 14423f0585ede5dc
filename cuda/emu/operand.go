package emu

import (
	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

// typ is the i-th type modifier of the opcode counted from the end: 0 is the
// last one, as in cvt.f32.s32 where 0 is s32 and 1 is f32.
func (c *compiler) typ(i int) syntax.Type {
	for j := len(c.in.Mods) - 1; j > 0; j-- {
		if t := syntax.ParseType(c.in.Mods[j]); t != syntax.None {
			if t == syntax.B128 || t == syntax.F32x2 {
				c.fail("type %s is not supported", t)
			}
			if i == 0 {
				return t
			}
			i--
		}
	}
	c.fail("instruction without a type")
	return syntax.None
}

// reg is the slot of a register operand, noted as read.
func (c *compiler) read(s slot) slot {
	c.out.srcs = append(c.out.srcs, s.id)
	return s
}

func (c *compiler) wrote(s slot) slot {
	c.out.dsts = append(c.out.dsts, s.id)
	return s
}

// value is the slot holding a source operand read as type t.
func (c *compiler) value(o syntax.Operand, t syntax.Type) slot {
	bits := uint8(8 * t.Size())
	if t == syntax.Pred {
		bits = 1
	}
	if o.Sel != "" {
		c.fail("a part of a register is not supported here")
	}
	switch o.Kind {
	case syntax.KReg:
		s := c.fr.regs[o.Reg]
		if s.bits == 128 {
			c.fail("128-bit registers are not supported")
		}
		if (s.class == classPred) != (t == syntax.Pred) {
			c.fail("predicate and data registers are mixed")
		}
		if o.Not && t == syntax.Pred {
			c.fail("negated operand is not supported here")
		}
		return s
	case syntax.KInt, syntax.KF32, syntax.KF64:
		return c.constant(o.ImmediateAs(t), bits, nil)
	case syntax.KSpecial:
		return c.special(o.Sym)
	case syntax.KSym:
		if o.Sym == "WARP_SZ" {
			return c.constant(32, bits, nil)
		}
		if a := funcAddress(c.m.ast, o.Sym); a != 0 {
			return c.constant(a, bits, nil)
		}
		pl := c.place(o.Sym)
		if pl.sym != nil {
			return c.constant(o.Imm, bits, pl.sym)
		}
		if pl.space == syntax.Shared && pl.off < 0 {
			c.fail("address of %s", o.Sym)
		}
		return c.symbolAddress(o, pl, bits)
	}
	c.fail("operand is not a value")
	return slot{}
}

// symbolAddress is the address of a shared, local or parameter variable.
func (c *compiler) symbolAddress(o syntax.Operand, pl place, bits uint8) slot {
	if sv := c.dynamicShared(o.Sym); sv {
		// Dynamic shared memory begins after every static variable, whose
		// total is known only when the whole kernel is decoded.
		return c.constant(o.Imm, bits, dynamicMark)
	}
	return c.constant(uint64(pl.off)+o.Imm, bits, nil)
}

// dynamicMark stands for the start of dynamic shared memory in constants.
var dynamicMark = &syntax.Var{Name: "dynamic shared memory"}

func (c *compiler) dynamicShared(name string) bool {
	if _, local := c.fr.vars[name]; local {
		for _, v := range c.fr.fn.Vars {
			if v.Name == name {
				return v.Space == syntax.Shared && v.Extern
			}
		}
		return false
	}
	v := c.m.symbols[name]
	return v != nil && v.Space == syntax.Shared && v.Extern
}

// place finds a variable: the function's own, else the module's.
func (c *compiler) place(name string) place {
	if pl, ok := c.fr.vars[name]; ok {
		return pl
	}
	if v, ok := c.m.symbols[name]; ok {
		if v.Space == syntax.Shared {
			sv := c.p.shared[c.placeShared(v)]
			return place{space: syntax.Shared, off: sv.off, size: sv.size}
		}
		return place{space: v.Space, sym: v, size: v.Size()}
	}
	c.fail("unknown symbol %s", name)
	return place{}
}

func (c *compiler) special(name string) slot {
	if s, ok := c.specs[name]; ok {
		return s
	}
	t := syntax.B32
	if name == "%clock64" || name == "%globaltimer" || name == "%gridid" {
		t = syntax.B64
	}
	if name == "%is_explicit_cluster" {
		t = syntax.Pred
	}
	s := c.newReg(t)
	c.specs[name] = s
	c.p.specials = append(c.p.specials, special{s, name})
	return s
}

// src is a source operand of the given type, read by the instruction.
func (c *compiler) src(i int, t syntax.Type) slot {
	if i >= len(c.in.Args) {
		c.fail("operand %d is missing", i)
	}
	s := c.value(c.arg(i), t)
	if t.Size() == 8 && s.class == class32 && t != syntax.Pred {
		c.fail("operand %d is narrower than the type", i)
	}
	return c.read(s)
}

// dst is the destination operand i; "_" gets a register of its own.
func (c *compiler) dst(i int, t syntax.Type) slot {
	return c.dstOperand(c.arg(i), t)
}

func (c *compiler) dstOperand(o syntax.Operand, t syntax.Type) slot {
	switch o.Kind {
	case syntax.KSink:
		return c.wrote(c.newReg(t))
	case syntax.KReg:
		if o.Sel != "" {
			c.fail("a part of a register is not supported here")
		}
		s := c.fr.regs[o.Reg]
		if s.bits == 128 {
			c.fail("128-bit registers are not supported")
		}
		if (s.class == classPred) != (t == syntax.Pred) {
			c.fail("predicate and data registers are mixed")
		}
		if t.Size() == 8 && s.class == class32 {
			c.fail("the destination is narrower than the type")
		}
		return c.wrote(s)
	}
	c.fail("the destination is not a register")
	return slot{}
}

// vector is the list of operands of "{a, b}", or the single operand.
func vector(o syntax.Operand) []syntax.Operand {
	if o.Kind == syntax.KVec {
		return o.Vec
	}
	return []syntax.Operand{o}
}

// need32 insists that a slot is in the 32-bit file.
func (c *compiler) need32(s slot) int32 {
	if s.class != class32 {
		c.fail("operand must be a 32-bit register")
	}
	return s.idx
}

// mod is the i-th word of the opcode, empty when there are fewer.
func (c *compiler) mod(i int) string {
	if i < len(c.in.Mods) {
		return c.in.Mods[i]
	}
	return ""
}

// arg is the i-th operand.
func (c *compiler) arg(i int) syntax.Operand {
	if i >= len(c.in.Args) {
		c.fail("operand %d is missing", i)
	}
	return c.in.Args[i]
}
