package emu

import (
	"fmt"
	"strings"
)

// FaultKind says what a kernel did wrong.
type FaultKind string

// What the checks find.
const (
	OutOfBounds      FaultKind = "out of bounds"
	Misaligned       FaultKind = "misaligned"
	Uninitialised    FaultKind = "uninitialised"
	Race             FaultKind = "race"
	Divergence       FaultKind = "divergence"
	Deadlock         FaultKind = "deadlock"
	AsyncPending     FaultKind = "asynchronous copy pending"
	Trapped          FaultKind = "trap"
	InvalidOperation FaultKind = "invalid operation"
)

// Fault is an error of the kernel under emulation, with where it happened.
type Fault struct {
	Kind   FaultKind
	Kernel string
	Block  [3]int
	Warp   int
	Lane   int // -1 when it is the warp's as a whole
	Line   int // PTX line, 0 when there is none
	Instr  string
	Msg    string
}

func (f *Fault) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "kernel %s, block (%d,%d,%d), warp %d", f.Kernel, f.Block[0], f.Block[1], f.Block[2], f.Warp)
	if f.Lane >= 0 {
		fmt.Fprintf(&b, ", lane %d", f.Lane)
	}
	if f.Line > 0 {
		fmt.Fprintf(&b, ", PTX line %d", f.Line)
	}
	fmt.Fprintf(&b, ": %s: %s", f.Kind, f.Msg)
	if f.Instr != "" {
		fmt.Fprintf(&b, " [%s]", f.Instr)
	}
	return b.String()
}

// fault stops the launch: it unwinds to Device.Launch, which returns it.
func (w *warp) fault(kind FaultKind, lane int, format string, args ...any) {
	f := &Fault{Kind: kind, Kernel: w.b.p.name, Block: w.b.idx, Warp: w.id, Lane: lane, Msg: fmt.Sprintf(format, args...)}
	if w.cur != nil {
		f.Line, f.Instr = w.cur.src.Line, w.cur.src.Text
	}
	panic(f)
}
