package emu

import (
	"math/bits"

	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

func (c *compiler) opBra(in *syntax.Instr) {
	if c.arg(0).Kind != syntax.KSym {
		c.fail("the branch target is not a label")
	}
	c.out.flow = flowBranch
	c.fr.patches = append(c.fr.patches, patch{len(c.p.code), []string{c.arg(0).Sym}, in.Line})
}

func (c *compiler) opBrx(in *syntax.Instr) {
	table, ok := c.fr.fn.Tables[c.arg(1).Sym]
	if !ok || len(table) == 0 {
		c.fail("unknown branch table %s", c.arg(1).Sym)
	}
	c.out.flow = flowTable
	c.out.index = c.src(0, syntax.U32)
	c.out.must = append(c.out.must, c.out.index.id)
	c.fr.patches = append(c.fr.patches, patch{len(c.p.code), table, in.Line})
}

// opRet ends the kernel, or leaves the expanded body of a device function.
func (c *compiler) opRet(in *syntax.Instr) {
	if c.fr.entry {
		c.out.flow = flowExit
		return
	}
	if c.fr.outline {
		c.out.flow = flowReturn
		return
	}
	c.out.flow = flowBranch
	c.fr.patches = append(c.fr.patches, patch{len(c.p.code), []string{""}, in.Line})
}

func (c *compiler) opExit(*syntax.Instr) { c.out.flow = flowExit }

func (c *compiler) opTrap(in *syntax.Instr) {
	c.out.run = func(w *warp, m uint32) {
		w.fault(Trapped, bits.TrailingZeros32(m), "the kernel executed %s", in.Op)
	}
}

// opCall expands the called function in place: its parameters become the
// caller's variables copied, and its ret a branch behind the expansion.
func (c *compiler) opCall(in *syntax.Instr) {
	var rets, args []syntax.Operand
	var name string
	var target *syntax.Operand
	for i, a := range in.Args {
		switch {
		case a.Kind == syntax.KReg && target == nil && name == "":
			target = &a
		case a.Kind == syntax.KList && name == "" && i == 0:
			rets = a.Vec
		case a.Kind == syntax.KSym && name == "" && target == nil:
			name = a.Sym
		case a.Kind == syntax.KList:
			args = a.Vec
		}
	}
	if target != nil {
		c.outlineCall(nil, *target, args, rets)
		return
	}
	if name == "" {
		c.fail("call without a function")
	}
	f := c.m.ast.Func(name)
	if f == nil {
		c.fail("call of the unknown function %s", name)
	}
	if f.Entry {
		c.fail("%s is a kernel", name)
	}
	if f.Extern {
		c.externCall(name, args, rets)
		return
	}
	c.checkCall(f, args, rets)
	if c.recursive(f) {
		c.outlineCall(f, syntax.Operand{}, args, rets)
		return
	}
	if in.Guard >= 0 {
		c.guardCall()
	}
	formals := map[string]place{}
	place := func(v *syntax.Var) place {
		off := align(c.p.localBytes, max(v.Align, 16))
		c.p.localBytes = off + v.Size()
		return placeLocal(off, v.Size())
	}
	for i, v := range f.Params {
		if v.Space == syntax.Param {
			formals[v.Name] = place(v)
			c.copyParam(formals[v.Name], args[i], v, true)
		}
	}
	for _, v := range f.Rets {
		if v.Space == syntax.Param {
			formals[v.Name] = place(v)
		}
	}
	c.callRegs(f, args, rets, formals)
}

func placeLocal(off, size int) place { return place{space: syntax.Param, off: off, size: size} }

// callRegs expands the body, moving .reg parameters in and out around it.
func (c *compiler) callRegs(f *syntax.Func, args, rets []syntax.Operand, formals map[string]place) {
	caller, line := c.fr, c.in
	// .reg parameters are the first registers of the callee in order.
	var regIn []func(fr *frame)
	n := 0
	for i, v := range f.Params {
		if v.Space != syntax.Param {
			arg, r, t := args[i], n, v.Type
			regIn = append(regIn, func(fr *frame) { c.move(fr.regs[r], c.value(arg, t), t) })
			n++
		}
	}
	var regOut []func(fr *frame)
	for i, v := range f.Rets {
		if v.Space != syntax.Param {
			res, r, t := rets[i], n, v.Type
			regOut = append(regOut, func(fr *frame) { c.move(c.fr.regs[res.Reg], fr.regs[r], t) })
			n++
		}
	}
	fr := c.expandCall(f, caller.depth+1, formals, regIn)
	c.fr, c.in = caller, line
	for _, out := range regOut {
		out(fr)
	}
	for i, v := range f.Rets {
		if v.Space == syntax.Param {
			c.copyParam(formals[v.Name], rets[i], v, false)
		}
	}
	c.out = nil
}

// move emits a register copy.
func (c *compiler) move(d, s slot, t syntax.Type) {
	n := t.Size()
	in := instr{guard: -1, src: c.in, fn: c.fr.fn.Name, srcs: []int32{s.id}, dsts: []int32{d.id}}
	in.run = lift1(d, s, func(a uint64) uint64 { return zext(a, n) }, nil)
	if d.class == classPred {
		in.run = lift1(d, s, func(a uint64) uint64 { return a & 1 }, nil)
	}
	c.emit(in)
}

// copyParam emits the copy between a caller's .param variable and a callee's
// formal: into it, or out of it.
func (c *compiler) copyParam(formal place, arg syntax.Operand, v *syntax.Var, into bool) {
	in := instr{guard: -1, src: c.in, fn: c.fr.fn.Name}
	if arg.Kind != syntax.KSym {
		s := c.value(arg, v.Type)
		n := v.Type.Size()
		if !into {
			c.fail("the result is not a variable")
		}
		in.must = []int32{s.id}
		in.run = func(w *warp, m uint32) {
			for ; m != 0; m &= m - 1 {
				i := bits.TrailingZeros32(m)
				r := w.local(i)
				storeBytes(r.data[formal.off:], n, w.get(s, i))
				r.define(formal.off, n, true)
			}
		}
		c.emit(in)
		return
	}
	pl := c.place(arg.Sym)
	from, to := pl.off, formal.off
	if pl.kern {
		c.fail("a kernel parameter is passed on as a whole")
	}
	if !into {
		from, to = to, from
	}
	n := min(pl.size, formal.size)
	in.run = func(w *warp, m uint32) {
		for ; m != 0; m &= m - 1 {
			r := w.local(bits.TrailingZeros32(m))
			copy(r.data[to:to+n], r.data[from:from+n])
			for k := range n {
				r.define(to+k, 1, r.defined(from+k, 1))
			}
		}
	}
	c.emit(in)
}

// guardCall emits a branch around a call that carries a guard.
func (c *compiler) guardCall() {
	g := *c.out
	g.flow, g.guardNot = flowBranch, !g.guardNot
	c.emit(g)
	c.fr.skips = append(c.fr.skips, len(c.p.code)-1)
}

// externCall handles the functions that the system provides.
func (c *compiler) externCall(name string, args, rets []syntax.Operand) {
	switch name {
	case "malloc", "free":
		c.heapCall(name, args, rets)
	case "__assertfail":
		c.out.run = func(w *warp, m uint32) {
			w.fault(Trapped, bits.TrailingZeros32(m), "a device assertion failed")
		}
	case "vprintf":
		if len(rets) != 1 {
			c.fail("vprintf gives one result")
		}
		pl := c.place(rets[0].Sym)
		c.out.run = func(w *warp, m uint32) {
			for ; m != 0; m &= m - 1 {
				r := w.local(bits.TrailingZeros32(m))
				storeBytes(r.data[pl.off:], 4, 0)
				r.define(pl.off, 4, true)
			}
		}
	default:
		c.fail("call of the external function %s", name)
	}
}

// heapCall is malloc and free in device code.
func (c *compiler) heapCall(name string, args, rets []syntax.Operand) {
	if len(args) != 1 || args[0].Kind != syntax.KSym || name == "malloc" && (len(rets) != 1 || rets[0].Kind != syntax.KSym) {
		c.fail("malformed call of %s", name)
	}
	arg := c.place(args[0].Sym)
	var res place
	if name == "malloc" {
		res = c.place(rets[0].Sym)
	}
	c.out.run = func(w *warp, m uint32) {
		dev := w.b.l.dev
		for ; m != 0; m &= m - 1 {
			i := bits.TrailingZeros32(m)
			r := w.local(i)
			v := le.Uint64(r.data[arg.off:])
			switch {
			case name == "malloc":
				if v > 1<<32 {
					v = 0
				} else {
					v = dev.mem.alloc(max(int(v), 1), dev.opt.Checks&CheckUninitialised != 0, "by malloc").base
				}
				le.PutUint64(r.data[res.off:], v)
				r.define(res.off, 8, true)
			case v != 0:
				g := dev.mem.find(v)
				if g == nil || g.base != v || g.freed {
					w.fault(InvalidOperation, i, "free of %#x, which is not an allocation", v)
				}
				dev.release(g)
				w.hit = nil
			}
		}
	}
}
