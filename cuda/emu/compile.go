package emu

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

// Limits on what one kernel may expand to; a bad file must not exhaust memory.
const (
	maxCode  = 1 << 20
	maxDepth = 32
)

// sharedGap separates shared variables so that running off one of them hits
// no other.
const sharedGap = 64

// frame is one function being expanded: where its registers and variables are.
type frame struct {
	fn      *syntax.Func
	regs    []slot
	vars    map[string]place
	base    int // code index of its first instruction
	index   []int
	patches []patch
	skips   []int // branches around guarded calls, to the end of the expansion
	guesses map[guess]bool
	depth   int
	entry   bool
	outline bool   // has a body of its own; its ret returns
	up      *frame // the function that this one is expanded in
}

// place is where a variable lives.
type place struct {
	space syntax.Space
	off   int // in shared, local or kernel parameter memory
	size  int
	kern  bool        // a kernel parameter
	sym   *syntax.Var // module variable, placed by the device
}

// guess is an address that a compare-and-swap uses.
type guess struct {
	reg int
	off uint64
}

// guesses finds the addresses of a function's compare-and-swaps. A loop around
// one starts from a plain load of the same address; what that load returns is
// only a guess that the swap verifies, so it counts as a strong operation.
func guesses(f *syntax.Func) map[guess]bool {
	out := map[guess]bool{}
	for _, in := range f.Body {
		if in.Mods[0] != "atom" || !in.Has("cas") {
			continue
		}
		for _, a := range in.Args {
			if a.Kind == syntax.KMem && a.Reg >= 0 {
				out[guess{a.Reg, a.Imm}] = true
			}
		}
	}
	return out
}

type patch struct {
	code   int
	labels []string
	line   int
}

type compiler struct {
	m  *Module
	p  *program
	fr *frame
	in *syntax.Instr
	// the instruction being decoded
	out     *instr
	consts  map[constKey]slot
	specs   map[string]slot
	statics map[*syntax.Var]int // shared variables already placed
	ops     map[string]opDef
	outline bool // the next frame is an outlined function's
}

type constKey struct {
	value uint64
	bits  uint8
	sym   *syntax.Var
}

// compile decodes a kernel.
func compile(m *Module, f *syntax.Func) (p *program, err error) {
	c := &compiler{
		m: m, p: &program{name: f.Name, fn: f, module: m.ast, granule: 4, names: map[int32]string{}},
		consts: map[constKey]slot{}, specs: map[string]slot{}, statics: map[*syntax.Var]int{}, ops: opcodes(),
	}
	// Decoding stops at the first fault by unwinding to here.
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(*syntax.Error)
			if !ok {
				panic(r)
			}
			p, err = nil, e
		}
	}()
	c.kernelParams(f)
	for _, v := range m.ast.Vars {
		if v.Space == syntax.Shared {
			c.placeShared(v)
		}
	}
	c.expand(f, 0, nil)
	c.expandOutlines()
	return c.p, nil
}

func (c *compiler) fail(format string, args ...any) {
	line := c.p.fn.Line
	msg := fmt.Sprintf(format, args...)
	if c.in != nil {
		line = c.in.Line
		msg += " in \"" + c.in.Text + "\""
	}
	panic(&syntax.Error{Line: line, Msg: fmt.Sprintf("kernel %s: %s", c.p.name, msg)})
}

func align(n, a int) int { return (n + a - 1) / a * a }

func (c *compiler) kernelParams(f *syntax.Func) {
	for _, v := range f.Params {
		off := align(c.p.paramBytes, v.Align)
		c.p.params = append(c.p.params, Param{Name: v.Name, Offset: off, Size: v.Size(), Type: v.Type.String()})
		c.p.paramBytes = off + v.Size()
	}
}

// placeShared gives a shared variable its address.
func (c *compiler) placeShared(v *syntax.Var) int {
	if i, ok := c.statics[v]; ok {
		return i
	}
	sv := sharedVar{size: v.Size(), dynamic: v.Extern && v.Array && v.Len == 0}
	if !sv.dynamic {
		c.p.staticShared = align(c.p.staticShared, v.Align) + sv.size
		sv.off = align(c.p.sharedSpan, max(v.Align, 16))
		c.p.sharedSpan = sv.off + sv.size + sharedGap
	}
	c.p.shared = append(c.p.shared, sv)
	c.statics[v] = len(c.p.shared) - 1
	return c.statics[v]
}

// expand decodes a function's body at the end of the code. A device function
// is expanded once for each call.
func (c *compiler) expand(f *syntax.Func, depth int, args map[string]place) *frame {
	return c.expandCall(f, depth, args, nil)
}

// expandCall is expand with moves to make before the body, for register parameters.
func (c *compiler) expandCall(f *syntax.Func, depth int, args map[string]place, before []func(*frame)) *frame {
	if depth > maxDepth {
		c.fail("call of %s is recursive or nested too deeply", f.Name)
	}
	fr := &frame{fn: f, vars: map[string]place{}, base: len(c.p.code), depth: depth, entry: depth == 0, up: c.fr, outline: c.outline}
	c.outline = false
	fr.guesses = guesses(f)
	for _, r := range f.Regs {
		s := c.newReg(r.Type)
		fr.regs = append(fr.regs, s)
		c.p.names[s.id] = r.Name
	}
	for n, pl := range args {
		fr.vars[n] = pl
	}
	if fr.entry {
		for _, p := range c.p.params {
			fr.vars[p.Name] = place{space: syntax.Param, off: p.Offset, size: p.Size, kern: true}
		}
	}
	for _, v := range f.Vars {
		c.placeVar(fr, v)
	}
	for _, move := range before {
		move(fr)
	}
	outer, outerIn := c.fr, c.in
	c.fr = fr
	fr.base = len(c.p.code)
	for _, in := range f.Body {
		fr.index = append(fr.index, len(c.p.code))
		c.in = in
		c.instruction(in)
	}
	end := len(c.p.code)
	fr.index = append(fr.index, end)
	if fr.entry {
		c.in = nil
		c.emit(instr{flow: flowExit, guard: -1, src: &syntax.Instr{Op: "ret", Mods: []string{"ret"}, Text: "end of kernel", Line: f.Line}, fn: f.Name})
	}
	if fr.outline {
		c.in = nil
		c.emit(instr{flow: flowReturn, guard: -1, src: &syntax.Instr{Op: "ret", Mods: []string{"ret"}, Text: "end of function", Line: f.Line}, fn: f.Name})
	}
	for _, pt := range fr.patches {
		in := &c.p.code[pt.code]
		for _, l := range pt.labels {
			t := end
			if l != "" {
				i, ok := f.Labels[l]
				if !ok {
					panic(&syntax.Error{Line: pt.line, Msg: "unknown label " + l})
				}
				t = fr.index[i]
			}
			in.targets = append(in.targets, int32(t))
		}
		in.target = in.targets[0]
	}
	c.fr, c.in = outer, outerIn
	return fr
}

func (c *compiler) placeVar(fr *frame, v *syntax.Var) {
	switch v.Space {
	case syntax.Shared:
		i := c.placeShared(v)
		sv := c.p.shared[i]
		fr.vars[v.Name] = place{space: syntax.Shared, off: sv.off, size: sv.size}
	case syntax.Local, syntax.Param:
		off := align(c.p.localBytes, max(v.Align, 16))
		c.p.localBytes = off + v.Size()
		fr.vars[v.Name] = place{space: v.Space, off: off, size: v.Size()}
	case syntax.Global, syntax.Const:
		fr.vars[v.Name] = place{space: v.Space, sym: v, size: v.Size()}
	}
	if c.p.localBytes > 1<<20 {
		panic(&syntax.Error{Line: v.Line, Msg: "too much local memory"})
	}
}

func (c *compiler) newReg(t syntax.Type) slot {
	s := slot{id: int32(c.p.nreg), bits: uint8(8 * t.Size())}
	c.p.nreg++
	switch {
	case t == syntax.Pred:
		s.class, s.idx, s.bits = classPred, int32(c.p.np), 1
		c.p.np++
	case t.Size() == 8:
		s.class, s.idx = class64, int32(c.p.n64)
		c.p.n64++
	case t.Size() > 8: // declared; its use is refused
		s.class, s.idx, s.bits = class64, int32(c.p.n64), 128
		c.p.n64++
	default:
		s.class, s.idx = class32, int32(c.p.n32)
		c.p.n32++
	}
	return s
}

func (c *compiler) constant(v uint64, bits uint8, sym *syntax.Var) slot {
	if bits < 64 {
		v &= 1<<bits - 1
	}
	k := constKey{v, bits, sym}
	if s, ok := c.consts[k]; ok {
		return s
	}
	var t syntax.Type
	switch bits {
	case 1:
		t = syntax.Pred
	case 64:
		t = syntax.B64
	case 16:
		t = syntax.B16
	case 8:
		t = syntax.B8
	default:
		t = syntax.B32
	}
	s := c.newReg(t)
	c.consts[k] = s
	c.p.consts = append(c.p.consts, constant{s, v, sym})
	return s
}

func (c *compiler) emit(in instr) int {
	if len(c.p.code) >= maxCode {
		c.fail("the kernel expands to more than %d instructions", maxCode)
	}
	in.place = int32(len(c.p.code))
	c.p.code = append(c.p.code, in)
	return len(c.p.code) - 1
}

// instruction decodes one instruction through the table of opcodes.
func (c *compiler) instruction(in *syntax.Instr) {
	i := instr{guard: -1, src: in, fn: c.fr.fn.Name}
	if in.Guard >= 0 {
		g := c.fr.regs[in.Guard]
		i.guard, i.guardID, i.guardNot = g.idx, g.id, in.GuardNot
	}
	def, ok := c.ops[in.Mods[0]]
	if !ok {
		c.fail("unknown instruction %q", in.Op)
	}
	if len(in.Args) < def.minArgs || len(in.Args) > def.maxArgs {
		c.fail("%d operands", len(in.Args))
	}
	i.op = def.class
	c.out = &i
	def.decode(c, in)
	for _, at := range c.fr.skips {
		skip := &c.p.code[at]
		skip.target, skip.targets = int32(len(c.p.code)), []int32{int32(len(c.p.code))}
	}
	c.fr.skips = nil
	if c.out == nil { // the decoder emitted what it needed itself
		return
	}
	c.emit(i)
}
