// Package plan is a compiled program as data: values, steps and constants. It prints
// as text, is written to and read from the .moec container, and is all that the
// runtime needs.
//
//	ir.Graph -> codegen -> plan.Program -> .moec -> plan.Open -> runtime
//
// A step is an op with its attributes plus the name of the kernel that runs it. Shapes
// may be symbolic: the runtime instantiates the program once per set of input shapes.
package plan

import (
	"encoding/json"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// FormatVersion is written into every container; Open refuses newer ones.
const FormatVersion = 1

// Kernels that every target has.
const (
	// KernelRef runs the op's reference Eval.
	KernelRef = "ref"
	// KernelView makes the output another shape of the first input's memory.
	KernelView = "view"
	// KernelLaunch runs the step's Launches on the device.
	KernelLaunch = "launch"
	// KernelInside marks a step that another step's launches compute along the way: its outputs reach memory only
	// where that step's Also names them.
	KernelInside = "inside"
)

// Stored is the element type in which a device keeps values of type dt: programs of 16-bit precision keep f32
// values in 16 bits.
func (t Target) Stored(dt tensor.DType) tensor.DType {
	if dt != tensor.F32 || t.Device != "cuda" {
		return dt
	}
	switch t.Precision {
	case "bf16":
		return tensor.BF16
	case "f16":
		return tensor.F16
	}
	return dt
}

// Program is a compiled model.
type Program struct {
	Producer string          // what made it: "moec 0.1"
	Source   Source          // the model file it came from
	Target   Target          // what it was compiled for
	Recipe   string          // the recipe given to the compiler, verbatim
	Consts   []*Const        // weights and other constants
	Funcs    []*Func         // Funcs[0] is the model; others are bodies of If, Loop, Scan
	Modules  []Module        // device code, by name
	Receipts json.RawMessage // what approximate rewrites cost, as JSON

	close func() error
}

// Source names the model file a program came from.
type Source struct {
	File   string `json:"file,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
}

// Target is what a program was compiled for.
type Target struct {
	Device    string `json:"device"`              // "cpu" or "cuda"
	GPU       string `json:"gpu,omitempty"`       // "3090", "a100", "h100", "h200", "generic"
	Precision string `json:"precision,omitempty"` // "f32", "f16", "bf16", "int8"
}

// Module is device code as text.
type Module struct {
	Name string // file name in kernels/, without .ptx
	Text string
}

// Const is a constant of the program. Data holds it as its kernel reads it: row-major
// when Layout is empty, else packed as codegen/plan/layout says under that name; then
// its own dtype and shape describe the storage, DType and Shape the logical value.
type Const struct {
	Name   string
	DType  tensor.DType
	Shape  []int
	Layout string
	Data   *tensor.Tensor
}

// Func is a list of steps over numbered values.
type Func struct {
	Name    string
	Values  []Value
	Inputs  []int // indices into Values
	Outputs []int
	Steps   []*Step
	// Symbols are the run-time dimensions that the launches' expressions are over; empty on the CPU.
	Symbols []Symbol
}

// Value is a slot that a step fills, an input, or a constant.
type Value struct {
	Name  string
	Type  ir.Type // dims may be symbolic or unknown
	Const int     // index into Program.Consts, or -1
}

// Step runs one kernel.
type Step struct {
	Name     string
	Op       *ir.Op
	Attrs    any
	Kernel   string
	In       []int // indices into Func.Values; -1 for an absent optional input; captures last
	Out      []int // -1 for an output nobody reads
	Subs     []int // indices into Program.Funcs
	Captures int   // how many of In are passed on to the Subs
	Origin   []string
	Note     string // why this kernel: printed with the plan
	// Launches are what a device target runs for this step, in order, whatever the sizes; empty on the CPU.
	Launches []Launch
	// Also are the outputs of inside steps that the launches leave in memory, besides Out.
	Also []int
	// Temps are the pieces of device memory that the launches share, "t0", "t1", ... in their arguments.
	Temps []Temp
	// Variants are launches that are better than Launches for some sizes. See Step.Variant.
	Variants []Variant
}

// Variant is other launches for a step, for the sizes that its condition names.
type Variant struct {
	When     string   `json:"when,omitempty"` // a condition that expr.ParseCond reads
	Launches []Launch `json:"launches"`
	Temps    []Temp   `json:"temps,omitempty"`
	// Reorders says that some sum is added in another order than Launches do: results may differ in their last bits.
	Reorders bool `json:"reorders,omitempty"`
}

// Launch is one kernel launch of a device program. Expressions are over the function's Symbols, in the form that
// codegen/plan/expr parses.
type Launch struct {
	Module string    `json:"module"` // name of the Module
	Kernel string    `json:"kernel"` // entry point
	Grid   [3]string `json:"grid"`   // expressions: blocks; a launch with an empty grid is skipped
	Block  int       `json:"block"`  // threads
	Shared int       `json:"shared"` // dynamic shared memory, bytes
	// Args are the kernel's parameters in order: "v12" is the memory of value 12 of the function, "t0" a Temp of
	// the step, "u32:EXPR" a number.
	Args  []string `json:"args"`
	Note  string   `json:"note,omitempty"`  // reason and bound
	Bytes string   `json:"bytes,omitempty"` // bytes that must move between device memory and the chip, an expression
	FLOPs string   `json:"flops,omitempty"` // floating-point operations, an expression
}

// Temp is device memory that lives while a step's launches run, or, when Zero, that is zeroed once, belongs to
// the step alone, and is left zero by every run.
type Temp struct {
	Bytes string `json:"bytes"` // an expression
	Zero  bool   `json:"zero,omitempty"`
}

// Symbol names a dimension: that of axis Axis of value Value.
type Symbol struct {
	Name  string `json:"name"`
	Value int    `json:"value"`
	Axis  int    `json:"axis"`
}

// Main is the model's own function.
func (p *Program) Main() *Func { return p.Funcs[0] }

// Close gives back the file mapping that constants point into. The program and
// tensors made from its constants must not be used afterwards.
func (p *Program) Close() error {
	if p.close == nil {
		return nil
	}
	c := p.close
	p.close = nil
	return c()
}

// Release says that b, memory of a constant, will not be read soon: of a program that
// [Open] mapped from a file, its pages cease to count as the process's. The constant stays
// valid.
func (p *Program) Release(b []byte) {
	if p.close != nil {
		release(b)
	}
}

// WeightBytes is the size of all constants as stored.
func (p *Program) WeightBytes() int64 {
	var n int64
	for _, c := range p.Consts {
		n += int64(len(c.Data.Bytes()))
	}
	return n
}
