package emu

import (
	"math/bits"

	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

// Device functions are expanded where they are called. Those that call
// themselves, or are called through an address, cannot be: they are outlined,
// decoded once at the end of the kernel, with a stack for each lane.

// outline is a function with a body of its own. Its registers and its local
// memory are those between the bounds; a lane that calls it again before it
// has returned saves them. (So two calls of one function cannot reach each
// other's variables through pointers.)
type outline struct {
	fn           *syntax.Func
	entry        int32
	params, rets []place
	r32, r64     [2]int32
	preds, ids   [2]int32
	local        [2][2]int // formal parameters and results; variables
}

// callOp is a decoded call of an outlined function.
type callOp struct {
	fn         int  // index of the outline, or
	target     slot // the function's address
	indirect   bool
	args, rets []place // the caller's variables
}

// callFrame is a call that has not returned.
type callFrame struct {
	back int32
	o    *outline
	rets []place
	// What the function held of an earlier call by the same lane.
	saved    bool
	r32      []uint32
	r64      []uint64
	preds    []bool
	def      []bool
	local    [2][]byte
	localDef [2][]bool
}

const (
	// funcWindow is where the addresses of functions lie; they point nowhere.
	funcWindow = uint64(1) << 47
	funcStep   = 16
	// maxCalls bounds a lane's stack.
	maxCalls = 1 << 12
)

// funcAddress is the address that stands for a function; 0 when there is none.
func funcAddress(m *syntax.Module, name string) uint64 {
	for i, f := range m.Funcs {
		if f.Name == name && !f.Entry {
			if !f.Extern {
				return funcWindow + uint64(i)*funcStep
			}
		}
	}
	return 0
}

// outlined is the index of a function's outline, which is made at the end.
func (c *compiler) outlined(f *syntax.Func) int {
	for i, o := range c.p.outlines {
		if o.fn == f {
			return i
		}
	}
	o := &outline{fn: f}
	o.local[0][0] = align(c.p.localBytes, 16)
	for _, list := range []struct {
		vars []*syntax.Var
		out  *[]place
	}{{f.Params, &o.params}, {f.Rets, &o.rets}} {
		for _, v := range list.vars {
			if v.Space != syntax.Param {
				c.fail("%s is recursive or called by address and takes its parameters in registers, which is not supported", f.Name)
			}
			off := align(c.p.localBytes, max(v.Align, 16))
			c.p.localBytes = off + v.Size()
			*list.out = append(*list.out, placeLocal(off, v.Size()))
		}
	}
	o.local[0][1] = max(c.p.localBytes, o.local[0][0])
	c.p.outlines = append(c.p.outlines, o)
	return len(c.p.outlines) - 1
}

// expandOutlines decodes the functions that calls have asked for.
func (c *compiler) expandOutlines() {
	for i := 0; i < len(c.p.outlines); i++ {
		o := c.p.outlines[i]
		formals := map[string]place{}
		for j, v := range o.fn.Params {
			formals[v.Name] = o.params[j]
		}
		for j, v := range o.fn.Rets {
			formals[v.Name] = o.rets[j]
		}
		o.local[1][0] = c.p.localBytes
		o.r32[0], o.r64[0], o.preds[0], o.ids[0] = int32(c.p.n32), int32(c.p.n64), int32(c.p.np), int32(c.p.nreg)
		c.outline = true
		fr := c.expandCall(o.fn, 1, formals, nil)
		o.entry = int32(fr.base)
		o.r32[1], o.r64[1], o.preds[1], o.ids[1] = int32(c.p.n32), int32(c.p.n64), int32(c.p.np), int32(c.p.nreg)
		o.local[1][1] = c.p.localBytes
	}
}

// recursive reports whether a function is being expanded now.
func (c *compiler) recursive(f *syntax.Func) bool {
	for fr := c.fr; fr != nil; fr = fr.up {
		if fr.fn == f {
			return true
		}
	}
	return false
}

// outlineCall decodes a call of an outlined function: f, or by address when nil.
func (c *compiler) outlineCall(f *syntax.Func, target syntax.Operand, args, rets []syntax.Operand) {
	op := &callOp{}
	if f != nil {
		op.fn = c.outlined(f)
		c.checkCall(f, args, rets)
	} else {
		op.indirect = true
		op.target = c.value(target, syntax.B64)
		c.out.must = append(c.out.must, op.target.id)
		for _, g := range c.m.ast.Funcs {
			if !g.Entry && !g.Extern && len(g.Params) == len(args) && len(g.Rets) == len(rets) && c.m.addressed(g.Name) {
				c.outlined(g)
			}
		}
	}
	variable := func(o syntax.Operand) place {
		if o.Kind != syntax.KSym {
			c.fail("an argument that is not a .param variable is not supported here")
		}
		pl := c.place(o.Sym)
		if pl.kern || pl.space != syntax.Param {
			c.fail("%s is not a .param variable of the caller", o.Sym)
		}
		return pl
	}
	for _, o := range args {
		op.args = append(op.args, variable(o))
	}
	for _, o := range rets {
		op.rets = append(op.rets, variable(o))
	}
	c.out.flow, c.out.call = flowCall, op
}

func (c *compiler) checkCall(f *syntax.Func, args, rets []syntax.Operand) {
	if len(args) != len(f.Params) || len(rets) != len(f.Rets) {
		c.fail("call of %s with %d arguments and %d results, it takes %d and gives %d", f.Name, len(args), len(rets), len(f.Params), len(f.Rets))
	}
}

// addressed reports whether the module takes a function's address anywhere.
func (m *Module) addressed(name string) bool {
	for _, v := range m.ast.Vars {
		for _, e := range v.Init {
			if e.Sym == name {
				return true
			}
		}
	}
	for _, f := range m.ast.Funcs {
		for _, in := range f.Body {
			if in.Mods[0] == "call" {
				continue
			}
			for _, a := range in.Args {
				if a.Kind == syntax.KSym && a.Sym == name {
					return true
				}
			}
		}
		for _, v := range f.Vars {
			for _, e := range v.Init {
				if e.Sym == name {
					return true
				}
			}
		}
	}
	return false
}

// call enters the function in the lanes that have it as their target.
func (w *warp) call(in *instr, mask, lanes uint32, pc int32) {
	w.spread()
	w.goTo(mask&^lanes, pc+1)
	op := in.call
	for k := lanes; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k)
		var o *outline
		if op.indirect {
			o = w.callee(op, i)
		} else {
			o = w.b.p.outlines[op.fn]
		}
		fr := callFrame{back: pc + 1, o: o, rets: op.rets}
		if len(w.calls[i]) >= maxCalls {
			w.fault(InvalidOperation, i, "%d calls without a return", maxCalls)
		}
		args := w.argBytes(op, o, i) // before the function's own memory is touched
		for _, f := range w.calls[i] {
			fr.saved = fr.saved || f.o == o
		}
		if fr.saved {
			w.saveFrame(&fr, i)
		}
		for j, a := range args {
			w.local(i).fill(o.params[j].off, a.data, a.def)
		}
		w.calls[i] = append(w.calls[i], fr)
		w.pcs[i] = o.entry
	}
}

// argument is bytes and which of them have values.
type argument struct {
	data []byte
	def  []bool
}

// argBytes is what a lane passes.
func (w *warp) argBytes(op *callOp, o *outline, lane int) []argument {
	var out []argument
	r := w.local(lane)
	for j, a := range op.args {
		n := min(a.size, o.params[j].size)
		out = append(out, argument{append([]byte(nil), r.data[a.off:a.off+n]...), r.definedList(a.off, n)})
	}
	return out
}

// callee is the function that a lane calls by address.
func (w *warp) callee(op *callOp, lane int) *outline {
	a := w.get(op.target, lane)
	if i := int((a - funcWindow) / funcStep); a >= funcWindow && i < len(w.b.p.module.Funcs) && (a-funcWindow)%funcStep == 0 {
		f := w.b.p.module.Funcs[i]
		for _, o := range w.b.p.outlines {
			if o.fn == f && len(o.params) == len(op.args) && len(o.rets) == len(op.rets) {
				return o
			}
		}
	}
	w.fault(InvalidOperation, lane, "call of %#x, which is not the address of a function with %d parameters and %d results", a, len(op.args), len(op.rets))
	return nil
}

// ret leaves the function.
func (w *warp) ret(mask, lanes uint32, pc int32) {
	w.spread()
	w.goTo(mask&^lanes, pc+1)
	for k := lanes; k != 0; k &= k - 1 {
		i := bits.TrailingZeros32(k)
		n := len(w.calls[i]) - 1
		fr := w.calls[i][n]
		w.calls[i] = w.calls[i][:n]
		r := w.local(i)
		var data [][]byte
		var def [][]bool
		for j, v := range fr.o.rets {
			n := min(v.size, fr.rets[j].size)
			data = append(data, append([]byte(nil), r.data[v.off:v.off+n]...))
			def = append(def, r.definedList(v.off, n))
		}
		if fr.saved {
			w.restoreFrame(&fr, i)
		}
		for j, v := range fr.rets {
			r.fill(v.off, data[j], def[j])
		}
		w.pcs[i] = fr.back
	}
}

func (w *warp) saveFrame(fr *callFrame, lane int) {
	o := fr.o
	for k := o.r32[0]; k < o.r32[1]; k++ {
		fr.r32 = append(fr.r32, w.r32[k][lane])
	}
	for k := o.r64[0]; k < o.r64[1]; k++ {
		fr.r64 = append(fr.r64, w.r64[k][lane])
	}
	for k := o.preds[0]; k < o.preds[1]; k++ {
		fr.preds = append(fr.preds, w.pred[k]>>lane&1 != 0)
	}
	if w.def != nil {
		for k := o.ids[0]; k < o.ids[1]; k++ {
			fr.def = append(fr.def, w.def[k]>>lane&1 != 0)
		}
	}
	r := w.local(lane)
	for j, at := range o.local {
		fr.local[j] = append([]byte(nil), r.data[at[0]:at[1]]...)
		fr.localDef[j] = r.definedList(at[0], at[1]-at[0])
	}
}

func (w *warp) restoreFrame(fr *callFrame, lane int) {
	o := fr.o
	for k, v := range fr.r32 {
		w.r32[int(o.r32[0])+k][lane] = v
	}
	for k, v := range fr.r64 {
		w.r64[int(o.r64[0])+k][lane] = v
	}
	put := func(m *uint32, on bool) { *m = *m&^(1<<lane) | bit(on)<<lane }
	for k, v := range fr.preds {
		put(&w.pred[int(o.preds[0])+k], v)
	}
	for k, v := range fr.def {
		put(&w.def[int(o.ids[0])+k], v)
	}
	for j, at := range o.local {
		w.local(lane).fill(at[0], fr.local[j], fr.localDef[j])
	}
}

// definedList is which of n bytes have values.
func (r *region) definedList(off, n int) []bool {
	out := make([]bool, n)
	for i := range out {
		out[i] = r.defined(off+i, 1)
	}
	return out
}

// fill writes bytes and their definedness.
func (r *region) fill(off int, data []byte, def []bool) {
	copy(r.data[off:], data)
	for i, has := range def {
		r.define(off+i, 1, has)
	}
}
