// Package mutate damages PTX kernels one synchronisation or guard at a time,
// to prove that the emulator's checks notice. Each mutant of a kernel lacks one
// barrier, one wait, one fence, or one bounds predicate; a run of it must end
// in a fault or in wrong output. Those that change nothing are listed by name
// with the reason.
package mutate

import (
	"fmt"
	"sort"
	"strconv"
	"strings"

	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

// Kind is what a mutation takes away.
type Kind string

// The kinds of mutation.
const (
	Barrier  Kind = "barrier"  // bar.sync, barrier.sync, bar.red, bar.arrive removed
	WarpSync Kind = "warpsync" // bar.warp.sync removed
	Wait     Kind = "wait"     // wait for an asynchronous copy or product removed, or for an mbarrier taken as over
	Loosen   Kind = "loosen"   // a wait_group n waits for one group less
	Fence    Kind = "fence"    // membar or fence removed
	Order    Kind = "order"    // acquire or release made relaxed
	Guard    Kind = "guard"    // the predicate of a memory access removed
	ZeroFill Kind = "zerofill" // a cp.async that fills with zeros copies everything
	Skip     Kind = "skip"     // a conditional forward branch not taken: an early exit, a guarded region
)

// Mutant is one damaged kernel.
type Mutant struct {
	Name   string // kind and number, such as "barrier#2", counted from 0 in the text
	Kind   Kind
	Kernel string
	Line   int
	Instr  string // what was changed
	Source string // the whole damaged text

	trap string // the text with a trap in the instruction's place
}

func (m Mutant) String() string {
	return fmt.Sprintf("%s (%s line %d: %s)", m.Name, m.Kernel, m.Line, m.Instr)
}

// Of returns the mutants of a PTX text, of the given kinds or of all kinds.
func Of(src string, kinds ...Kind) ([]Mutant, error) {
	mod, err := syntax.Parse(src)
	if err != nil {
		return nil, err
	}
	want := map[Kind]bool{}
	for _, k := range kinds {
		want[k] = true
	}
	counts := map[Kind]int{}
	var out []Mutant
	for _, f := range mod.Funcs {
		for i, in := range f.Body {
			for _, e := range edits(f, i) {
				n := counts[e.kind]
				counts[e.kind]++
				if len(want) > 0 && !want[e.kind] {
					continue
				}
				out = append(out, Mutant{
					Name: string(e.kind) + "#" + strconv.Itoa(n), Kind: e.kind, Kernel: f.Name, Line: in.Line, Instr: in.Text,
					Source: src[:e.pos] + e.text + src[e.end:],
					trap:   src[:in.Pos] + "trap" + src[in.End:],
				})
			}
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].Line < out[j].Line })
	return out, nil
}

// edit replaces a stretch of the text.
type edit struct {
	kind     Kind
	pos, end int
	text     string
}

// edits are the mutations of one instruction.
func edits(f *syntax.Func, i int) []edit {
	in := f.Body[i]
	remove := func(k Kind) []edit { return []edit{{k, in.Pos, in.End, ""}} }
	op := in.Mods[0]
	var out []edit
	switch {
	case op == "bar" && in.Has("warp"):
		return remove(WarpSync)
	case op == "bar" || op == "barrier":
		return remove(Barrier)
	case op == "membar" || op == "fence" && !strings.Contains(in.Op, "proxy"):
		return remove(Fence)
	case strings.HasPrefix(in.Op, "cp.async.wait"), (op == "cp" || op == "wgmma") && in.Has("wait_group"):
		out = remove(Wait)
		if in.Has("wait_group") && len(in.Args) == 1 {
			out = append(out, edit{Loosen, in.OpPos, in.End, in.Op + " " + strconv.Itoa(int(in.Args[0].Imm)+1)})
		}
		return out
	case op == "mbarrier" && (in.Has("test_wait") || in.Has("try_wait")) && in.Args[0].Kind == syntax.KReg:
		dst, _, _ := strings.Cut(strings.TrimSpace(in.Text[strings.Index(in.Text, in.Op)+len(in.Op):]), ",")
		return []edit{{Wait, in.OpPos, in.End, "setp.eq.u32 " + dst + ", 0, 0"}}
	case op == "bra" && in.Guard >= 0 && len(in.Args) == 1 && f.Labels[in.Args[0].Sym] > i:
		return remove(Skip)
	}
	memory := op == "ld" || op == "st" || op == "atom" || op == "red" || in.Mods[0] == "cp" && in.Has("global")
	if !memory {
		return nil
	}
	for _, m := range []string{"acq_rel", "acquire", "release"} {
		if in.Has(m) {
			relaxed := strings.Replace(in.Op, "."+m, ".relaxed", 1)
			out = append(out, edit{Order, in.OpPos, in.OpPos + len(in.Op), relaxed})
		}
	}
	if in.Guard >= 0 {
		out = append(out, edit{Guard, in.Pos, in.OpPos, ""})
	}
	if op == "cp" && len(in.Args) >= 4 && in.Args[3].Kind == syntax.KReg {
		out = append(out, edit{ZeroFill, in.OpPos, in.End, dropSource(in)})
	}
	return out
}

// dropSource is a cp.async without its source size: the fourth operand.
func dropSource(in *syntax.Instr) string {
	text := in.Text[strings.Index(in.Text, in.Op):]
	parts := strings.Split(text, ",")
	if len(parts) < 4 {
		return text
	}
	return strings.Join(append(parts[:3:3], parts[4:]...), ",")
}
