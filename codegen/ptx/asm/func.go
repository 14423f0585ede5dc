// Package asm is a small typed assembler for PTX, the text form of NVIDIA GPU programs.
//
// A kernel is a Func; instructions are methods on typed values (Pred, U16, U32, U64, F32, F64), each of
// which stands for one virtual register or one constant. Constants fold while the kernel is being
// written, so a kernel generator specialises on a shape simply by passing constants where it could have
// passed run-time values. Control flow is structured (For, If, IfElse), so labels never appear in
// generators. The text it prints is meant to be read: registers carry the names that the generator
// gave them, loops and phases carry comments.
//
// The baseline is `.version 7.0 .target sm_80`, which every driver since CUDA 11.0 compiles for any
// later GPU.
package asm

import (
	"fmt"
	"regexp"
	"strings"
)

// numbered matches the names that unnamed registers have.
var numbered = regexp.MustCompile(`^(p|h|r|rd|f|fd)[0-9]+$`)

// WarpSize is the number of threads that execute in lock-step.
const WarpSize = 32

type class uint8

const (
	classPred class = iota
	class16
	class32
	class64
	classF32
	classF64
	numClasses
)

// classPrefix is the letter of an unnamed register; classType is its declared type.
var (
	classPrefix = [numClasses]string{"p", "h", "r", "rd", "f", "fd"}
	classType   = [numClasses]string{".pred", ".b16", ".b32", ".b64", ".f32", ".f64"}
)

type reg struct {
	class class
	id    int    // number among the unnamed registers of its class
	name  string // empty for an unnamed register
}

func (r *reg) String() string {
	if r.name != "" {
		return "%" + r.name
	}
	return fmt.Sprintf("%%%s%d", classPrefix[r.class], r.id)
}

// line is one line of the kernel: an instruction, a label or a comment.
type line struct {
	depth   int
	comment string
	label   string
	op      string
	guard   *reg
	negated bool
	args    []fmt.Stringer
}

type param struct {
	name, typ string
}

type sharedVar struct {
	name         string
	align, bytes int
}

// Func is one kernel under construction. Its methods append instructions; Text prints the module.
// Misuse (a wrong operand, a shared block of negative size) is a bug in the generator and panics.
type Func struct {
	name    string
	threads int
	minCTAs int
	doc     []string
	params  []param
	shared  []sharedVar
	dynamic bool
	entry   []line // parameters, special registers and addresses: ahead of all else
	lines   []line
	depth   int
	labels  int
	regs    []*reg
	names   map[string]int
	special map[string]U32
	guards  []Pred
	rolled  bool // the next loop is to stay as it is
}

// New starts a kernel of the given entry name whose blocks have threads threads in one dimension.
func New(name string, threads int) *Func {
	return &Func{name: name, threads: threads, names: map[string]int{}, special: map[string]U32{}}
}

// Threads is the block size the kernel was started with.
func (f *Func) Threads() int { return f.threads }

// MinBlocks asks ptxas to limit registers so that at least n blocks fit on one multiprocessor.
func (f *Func) MinBlocks(n int) { f.minCTAs = n }

// Doc adds lines to the comment above the kernel's entry.
func (f *Func) Doc(format string, args ...any) {
	f.doc = append(f.doc, strings.Split(fmt.Sprintf(format, args...), "\n")...)
}

// Comment writes a comment at the current place.
func (f *Func) Comment(format string, args ...any) {
	f.lines = append(f.lines, line{depth: f.depth, comment: fmt.Sprintf(format, args...)})
}

// unique turns a wanted name into one not used yet in this kernel.
func (f *Func) unique(name string) string {
	if numbered.MatchString(name) {
		name += "_"
	}
	n := f.names[name]
	f.names[name]++
	if n == 0 {
		return name
	}
	return f.unique(fmt.Sprintf("%s_%d", name, n+1))
}

func (f *Func) newReg(c class) *reg {
	r := &reg{class: c}
	f.regs = append(f.regs, r)
	return r
}

// emit appends one instruction under the current guard.
func (f *Func) emit(op string, args ...fmt.Stringer) {
	l := line{depth: f.depth, op: op, args: args}
	if n := len(f.guards); n > 0 {
		l.guard, l.negated = f.guards[n-1].r, f.guards[n-1].neg
	}
	f.lines = append(f.lines, l)
}

// atEntry emits what body does at the kernel's entry, where every thread passes, so that values which are
// made once and used everywhere may be asked for first inside a branch.
func (f *Func) atEntry(body func()) {
	lines, depth, guards := f.lines, f.depth, f.guards
	f.lines, f.depth, f.guards = f.entry, 0, nil
	body()
	f.entry = f.lines
	f.lines, f.depth, f.guards = lines, depth, guards
}

// ParamPtr declares a pointer parameter and returns its address in the global state space.
func (f *Func) ParamPtr(name string) U64 {
	f.params = append(f.params, param{name, ".u64"})
	generic, out := f.new64(), f.new64()
	f.atEntry(func() {
		f.emit("ld.param.u64", generic, text("["+name+"]"))
		f.emit("cvta.to.global.u64", out, generic)
	})
	return out.As(name)
}

// ParamU32 declares a 32-bit integer parameter and returns its value.
func (f *Func) ParamU32(name string) U32 {
	f.params = append(f.params, param{name, ".u32"})
	out := f.new32()
	f.atEntry(func() { f.emit("ld.param.u32", out, text("["+name+"]")) })
	return out.As(name)
}

// ParamF32 declares a 32-bit float parameter and returns its value.
func (f *Func) ParamF32(name string) F32 {
	f.params = append(f.params, param{name, ".f32"})
	out := f.newF32()
	f.atEntry(func() { f.emit("ld.param.f32", out, text("["+name+"]")) })
	return out.As(name)
}

// Shared reserves a static block of shared memory and returns its address (a shared-space byte address).
func (f *Func) Shared(name string, align, bytes int) U32 {
	if bytes <= 0 {
		panic(fmt.Sprintf("asm: shared block %s of %d bytes", name, bytes))
	}
	name = f.unique("s_" + name)
	f.shared = append(f.shared, sharedVar{name, align, bytes})
	out := f.new32()
	f.atEntry(func() { f.emit("mov.u32", out, text(name)) })
	return out.As(name + "_addr")
}

// DynamicShared returns the base address of the block of shared memory sized at launch (16-byte aligned).
func (f *Func) DynamicShared() U32 {
	f.dynamic = true
	out := f.new32()
	f.atEntry(func() { f.emit("mov.u32", out, text(f.dynName())) })
	return out.As("smem")
}

func (f *Func) dynName() string { return "dynamic_shared" }

// StaticShared is the number of bytes of static shared memory reserved so far.
func (f *Func) StaticShared() int {
	n := 0
	for _, s := range f.shared {
		n = (n+s.align-1)/s.align*s.align + s.bytes
	}
	return n
}

// Rename changes the entry name.
func (f *Func) Rename(name string) { f.name = name }

// Name is the entry name.
func (f *Func) Name() string { return f.name }

// Text prints the kernel as a complete PTX module.
func (f *Func) Text() string {
	var b strings.Builder
	b.WriteString(".version 7.0\n.target sm_80\n.address_size 64\n\n")
	if f.dynamic {
		fmt.Fprintf(&b, ".extern .shared .align 16 .b8 %s[];\n\n", f.dynName())
	}
	for _, d := range f.doc {
		fmt.Fprintf(&b, "// %s\n", d)
	}
	fmt.Fprintf(&b, ".visible .entry %s(", f.name)
	for i, p := range f.params {
		if i > 0 {
			b.WriteString(",")
		}
		fmt.Fprintf(&b, "\n\t.param %s %s", p.typ, p.name)
	}
	fmt.Fprintf(&b, "\n)\n.maxntid %d, 1, 1\n", f.threads)
	if f.minCTAs > 0 {
		fmt.Fprintf(&b, ".minnctapersm %d\n", f.minCTAs)
	}
	b.WriteString("{\n")
	f.declare(&b)
	for _, s := range f.shared {
		fmt.Fprintf(&b, "\t.shared .align %d .b8 %s[%d];\n", s.align, s.name, s.bytes)
	}
	b.WriteString("\n")
	for i := range f.entry {
		f.entry[i].print(&b)
	}
	for i := range f.lines {
		f.lines[i].print(&b)
	}
	b.WriteString("\tret;\n}\n")
	return b.String()
}

// declare writes the register declarations: numbered ones by range, named ones in short lists.
func (f *Func) declare(b *strings.Builder) {
	for c := range numClasses {
		n := 0
		var named []string
		for _, r := range f.regs {
			switch {
			case r.class != c:
			case r.name == "":
				r.id = n
				n++
			default:
				named = append(named, r.String())
			}
		}
		if n > 0 {
			fmt.Fprintf(b, "\t.reg %s %%%s<%d>;\n", classType[c], classPrefix[c], n)
		}
		for len(named) > 0 {
			k := min(8, len(named))
			fmt.Fprintf(b, "\t.reg %s %s;\n", classType[c], strings.Join(named[:k], ", "))
			named = named[k:]
		}
	}
}

func (l *line) print(b *strings.Builder) {
	if l.label != "" {
		fmt.Fprintf(b, "%s:\n", l.label)
		return
	}
	b.WriteString(strings.Repeat("\t", l.depth+1))
	if l.op == "" {
		fmt.Fprintf(b, "// %s\n", l.comment)
		return
	}
	if l.guard != nil {
		bang := ""
		if l.negated {
			bang = "!"
		}
		fmt.Fprintf(b, "@%s%s ", bang, l.guard)
	}
	b.WriteString(l.op)
	for i, a := range l.args {
		if i > 0 {
			b.WriteString(",")
		}
		b.WriteString(" ")
		b.WriteString(a.String())
	}
	b.WriteString(";\n")
}

// text is an operand printed as it is.
type text string

func (t text) String() string { return string(t) }

// vec is a brace list of operands.
type vec []fmt.Stringer

func (v vec) String() string {
	s := make([]string, len(v))
	for i, x := range v {
		s[i] = x.String()
	}
	return "{" + strings.Join(s, ", ") + "}"
}

// pair is a destination with a second, predicate, destination.
type pair struct{ a, b fmt.Stringer }

func (p pair) String() string { return p.a.String() + "|" + p.b.String() }

// addr is a memory operand [base+off].
type addr struct {
	base fmt.Stringer
	off  int
}

func (a addr) String() string {
	if a.off == 0 {
		return "[" + a.base.String() + "]"
	}
	return fmt.Sprintf("[%s+%d]", a.base, a.off)
}

// Func is the kernel that the value belongs to.
func (x U32) Func() *Func { return x.f }

// Func is the kernel that the value belongs to.
func (x U64) Func() *Func { return x.f }
