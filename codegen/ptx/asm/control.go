package asm

import "fmt"

func (f *Func) newLabel(what string) string {
	f.labels++
	return fmt.Sprintf("$%s_%d", what, f.labels)
}

func (f *Func) place(label string) { f.lines = append(f.lines, line{label: label}) }

// jump branches to a label where p holds.
func (f *Func) jump(p Pred, label string) {
	if p.known {
		if p.val {
			f.lines = append(f.lines, line{depth: f.depth, op: "bra", args: []fmt.Stringer{text(label)}})
		}
		return
	}
	f.lines = append(f.lines, line{depth: f.depth, op: "bra", guard: p.r, negated: p.neg, args: []fmt.Stringer{text(label)}})
}

func (f *Func) indented(body func()) {
	if len(f.guards) > 0 {
		panic("asm: control flow under a guard")
	}
	f.depth++
	body()
	f.depth--
}

// If runs body in the threads where p holds, by a branch.
func (f *Func) If(p Pred, body func()) {
	if v, ok := p.Const(); ok {
		if v {
			body()
		}
		return
	}
	end := f.newLabel("end")
	f.jump(p.Not(), end)
	f.indented(body)
	f.place(end)
}

// IfElse runs yes where p holds and no elsewhere.
func (f *Func) IfElse(p Pred, yes, no func()) {
	if v, ok := p.Const(); ok {
		if v {
			yes()
		} else {
			no()
		}
		return
	}
	other, end := f.newLabel("else"), f.newLabel("end")
	f.jump(p.Not(), other)
	f.indented(yes)
	f.jump(f.Bool(true), end)
	f.place(other)
	f.indented(no)
	f.place(end)
}

// Guard predicates every instruction that body emits; body must be straight-line code, and registers it
// defines have a value only where p holds.
func (f *Func) Guard(p Pred, body func()) {
	if v, ok := p.Const(); ok {
		if v {
			body()
		}
		return
	}
	if n := len(f.guards); n > 0 {
		panic("asm: nested guards")
	}
	f.guards = append(f.guards, p)
	body()
	f.guards = f.guards[:0]
}

// For runs body for i = from, from+step, ... while i < to (unsigned). A loop known to run once or never
// leaves no branch.
func (f *Func) For(name string, from, to U32, step int, body func(i U32)) {
	f.ForStep(name, from, to, f.Const(step), body)
}

// ForStep is For with a step known at run time.
func (f *Func) ForStep(name string, from, to, step U32, body func(i U32)) {
	nonEmpty := from.Lt(to)
	if v, ok := nonEmpty.Const(); ok {
		if !v {
			return
		}
		if step.imm && from.Add(step).k >= to.k {
			body(from)
			return
		}
	}
	loop, end := f.newLabel("loop_"+name), f.newLabel("done_"+name)
	i := from.Var(name)
	f.jump(nonEmpty.Not(), end)
	f.place(loop)
	f.indented(func() {
		if f.rolled {
			f.emit(".pragma \"nounroll\"")
			f.rolled = false
		}
		body(i)
		f.emit("add.u32", i, i, step)
		f.jump(i.Lt(to), loop)
	})
	f.place(end)
}

// KeepRolled asks that the next loop is not unrolled by the compiler that finishes the kernel: its body is
// large already, and copies of it would only cost registers.
func (f *Func) KeepRolled() { f.rolled = true }

// While runs body as long as cond, evaluated before each round, holds.
func (f *Func) While(name string, cond func() Pred, body func()) {
	loop, end := f.newLabel("while_"+name), f.newLabel("done_"+name)
	f.place(loop)
	f.indented(func() {
		f.jump(cond().Not(), end)
		body()
		f.jump(f.Bool(true), loop)
	})
	f.place(end)
}

// ExitIf ends the threads where p holds.
func (f *Func) ExitIf(p Pred) {
	if v, ok := p.Const(); ok && !v {
		return
	}
	f.Guard(p, func() { f.emit("ret") })
}

// Barrier waits for every thread of the block and orders their shared and global accesses.
func (f *Func) Barrier() { f.emit("bar.sync", text("0")) }

// SyncWarp waits for every lane of the warp and orders their memory accesses.
func (f *Func) SyncWarp() { f.emit("bar.warp.sync", text("-1")) }

func (f *Func) sreg(name, as string) U32 {
	if v, ok := f.special[name]; ok {
		return v
	}
	out := f.new32()
	f.atEntry(func() { f.emit("mov.u32", out, text(name)) })
	out = out.As(as)
	f.special[name] = out
	return out
}

// Tid is the thread's index in its block.
func (f *Func) Tid() U32 { return f.sreg("%tid.x", "thread") }

// BlockX is the block's first index in the grid.
func (f *Func) BlockX() U32 { return f.sreg("%ctaid.x", "blockX") }

// BlockY is the block's second index in the grid.
func (f *Func) BlockY() U32 { return f.sreg("%ctaid.y", "blockY") }

// BlockZ is the block's third index in the grid.
func (f *Func) BlockZ() U32 { return f.sreg("%ctaid.z", "blockZ") }

// GridX is the number of blocks along the first index.
func (f *Func) GridX() U32 { return f.sreg("%nctaid.x", "gridX") }

// GridY is the number of blocks along the second index.
func (f *Func) GridY() U32 { return f.sreg("%nctaid.y", "gridY") }

// Lane is the thread's index in its warp.
func (f *Func) Lane() U32 {
	if v, ok := f.special["lane"]; ok {
		return v
	}
	tid := f.Tid()
	var v U32
	f.atEntry(func() { v = tid.AndI(WarpSize - 1).As("lane") })
	f.special["lane"] = v
	return v
}

// Warp is the warp's index in its block.
func (f *Func) Warp() U32 {
	if v, ok := f.special["warp"]; ok {
		return v
	}
	tid := f.Tid()
	var v U32
	f.atEntry(func() { v = tid.ShrI(5).As("warp") })
	f.special["warp"] = v
	return v
}
