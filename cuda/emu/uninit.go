package emu

import "github.com/seed-c851cfd2/moec/cuda/emu/syntax"

const localSpace = syntax.Local

// Undefined values are followed as they move, and are an error where they
// matter: as an address, a guard, a membermask, or when the host reads them.
// Compilers move undefined registers about harmlessly (the unused half of a
// vector, rows of a tile beyond the matrix), so a copy or a sum of one is no
// error in itself; its result is undefined too.

// flowDefinedness updates the destinations' masks before an instruction runs.
func (w *warp) flowDefinedness(in *instr, lanes uint32) {
	for _, r := range in.must {
		if w.def[r]&lanes != lanes {
			w.undefinedUse(r, lanes)
		}
	}
	if in.undef != nil {
		in.undef(w, lanes)
		return
	}
	if len(in.dsts) == 0 {
		return
	}
	def := lanes
	for _, r := range in.srcs {
		def &= w.def[r]
	}
	for _, r := range in.dsts {
		w.def[r] = w.def[r]&^lanes | def
	}
}

// undefinedUse reports a register without a value where it decides something.
func (w *warp) undefinedUse(id int32, lanes uint32) {
	lane := 0
	for bad := lanes &^ w.def[id]; bad>>lane&1 == 0; lane++ {
	}
	w.fault(Uninitialised, lane, "register %s has no value", w.b.p.regName(id))
}

// maskedDefinedness is the rule of and/or: a defined zero (for and) or all
// ones (for or) decides the result alone.
func (c *compiler) maskedDefinedness(and bool, d, a, b slot) {
	decides := uint64(0)
	c.out.undef = func(w *warp, m uint32) {
		da, db := w.def[a.id], w.def[b.id]
		def := da & db & m
		if bad := m &^ def; bad != 0 {
			for i := range 32 {
				if bad>>i&1 == 0 {
					continue
				}
				v := decides
				if !and {
					v = zext(^uint64(0), max(int(d.bits)/8, 1))
					if d.class == classPred {
						v = 1
					}
				}
				if da>>i&1 != 0 && w.get(a, i) == v || db>>i&1 != 0 && w.get(b, i) == v {
					def |= 1 << i
				}
			}
		}
		w.def[d.id] = w.def[d.id]&^m | def
	}
}

// selectDefinedness is the rule of selp: the operand not chosen does not count.
func (c *compiler) selectDefinedness(d, a, b, p slot, not bool) {
	c.out.undef = func(w *warp, m uint32) {
		q := w.pred[p.idx]
		if not {
			q = ^q
		}
		def := w.def[p.id] & (w.def[a.id]&q | w.def[b.id]&^q)
		w.def[d.id] = w.def[d.id]&^m | def&m
	}
}

// regName is the name of a register in the kernel's text.
func (p *program) regName(id int32) string {
	if n, ok := p.names[id]; ok {
		return n
	}
	return "of the expression"
}
