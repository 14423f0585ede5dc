// Package runtime runs compiled programs.
//
//	plan.Program -> New -> Session -> Run(ctx, inputs) -> outputs
//
// A Session may be used by many goroutines at once. The first run for a set of input
// shapes instantiates the program: it infers all shapes, evaluates what they alone
// decide, lays out one arena of memory and binds every step's kernel. Later runs with
// those shapes reuse all of it.
package runtime

import (
	"context"
	"fmt"
	goruntime "runtime"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime/cpu"
)

// Options tune a session. The zero value is good.
type Options struct {
	Threads int // workers per session; 0: one per processor that Go may use
	// Instances bounds how many sets of input shapes stay prepared; 0 means 16.
	Instances int
	// MaxElems bounds the elements of one value; 0 means no bound.
	MaxElems int
	// HugePages says whether packed weights are copied into huge pages.
	HugePages HugePages
}

// Session runs one program.
type Session struct {
	program *plan.Program
	opt     Options
	device  *cpu.Device
	funcs   []*function
	consts  []*tensor.Tensor // data of the program's constants, copied or its own
}

// New prepares a program for running. It fails when a step names a kernel that this
// build does not have.
func New(p *plan.Program, opt Options) (*Session, error) {
	if p.Target.Device != "cpu" && p.Target.Device != "" {
		return nil, fmt.Errorf("the program is compiled for %q: run it with --device emu or --device cuda (or package cuda/session), or compile with --target cpu", p.Target.Device)
	}
	if opt.Instances <= 0 {
		opt.Instances = 16
	}
	dev, err := cpu.NewDevice(opt.Threads)
	if err != nil {
		return nil, err
	}
	s := &Session{program: p, opt: opt, device: dev}
	for _, fn := range p.Funcs {
		for _, st := range fn.Steps {
			if !dev.Has(st.Kernel) {
				dev.Close()
				return nil, StepError(st, fmt.Errorf("this build has no kernel %q: compile the model again with this version", st.Kernel))
			}
		}
		s.funcs = append(s.funcs, &function{fn: fn})
	}
	if s.consts, err = copyWeights(p, opt.HugePages); err != nil {
		dev.Close()
		return nil, err
	}
	goruntime.AddCleanup(s, (*cpu.Device).Close, dev)
	return s, nil
}

// Close stops the session's workers; those of a session that is dropped without it stop
// when the collector finds out. No run may be under way.
func (s *Session) Close() error {
	s.device.Close()
	return nil
}

// Port describes an input or output.
type Port struct {
	Name string
	Type ir.Type
}

// Inputs lists the program's inputs in order.
func (s *Session) Inputs() []Port { return Ports(s.program.Main(), s.program.Main().Inputs) }

// Outputs lists the program's outputs in order.
func (s *Session) Outputs() []Port { return Ports(s.program.Main(), s.program.Main().Outputs) }

// IndexBounds gives, by position among the inputs, what made-up indices must stay below;
// see plan.Program.IndexBounds.
func (s *Session) IndexBounds() map[int]int { return s.program.IndexBounds() }

// Ports describes values of a function.
func Ports(fn *plan.Func, ids []int) []Port {
	out := make([]Port, len(ids))
	for i, v := range ids {
		out[i] = Port{fn.Values[v].Name, fn.Values[v].Type}
	}
	return out
}

// Run runs the program on inputs by name and returns its outputs by name. Inputs are
// not changed and may be reused at once; outputs belong to the caller.
func (s *Session) Run(ctx context.Context, in map[string]*tensor.Tensor) (map[string]*tensor.Tensor, error) {
	return Named(in, s.Inputs(), s.Outputs(), func(ins, outs []*tensor.Tensor) error { return s.RunTo(ctx, ins, outs, nil) })
}

// Observer sees a run step by step. Its methods are called on the goroutine that runs.
type Observer struct {
	// Step is told of each step after it ran.
	Step func(st *plan.Step, start time.Time, took time.Duration)
	// Value is shown each value a step produced; the tensor is valid during the call.
	Value func(name string, t *tensor.Tensor)
}

// RunTo is Run with inputs and outputs in the order of Inputs and Outputs. Where outs
// holds a tensor of the right type and shape, the result is written into it, and a run
// of a shape seen before allocates nothing for steps with kernels of their own;
// otherwise outs receives a new tensor. obs may be nil.
func (s *Session) RunTo(ctx context.Context, ins, outs []*tensor.Tensor, obs *Observer) error {
	main := s.program.Main()
	if len(ins) != len(main.Inputs) || len(outs) != len(main.Outputs) {
		return fmt.Errorf("%w: got %d inputs and %d outputs, the model has %d and %d", ir.ErrInput, len(ins), len(outs), len(main.Inputs), len(main.Outputs))
	}
	if err := CheckInputs(main, ins); err != nil {
		return err
	}
	return s.call(ctx, 0, ins, outs, obs)
}

// CheckInputs holds inputs to the declared types of a function: element type, rank, known
// sizes, and one size per name. Errors wrap ir.ErrInput.
func CheckInputs(fn *plan.Func, ins []*tensor.Tensor) error {
	type named struct {
		name string
		size int
	}
	names := make([]named, 0, 8) // stays on the stack for most models
	for i, v := range fn.Inputs {
		p, t := &fn.Values[v], ins[i]
		if t == nil {
			return fmt.Errorf("%w: input %q (%s) is missing", ir.ErrInput, p.Name, p.Type)
		}
		if p.Type.DType != tensor.Invalid && t.DType() != p.Type.DType {
			return fmt.Errorf("%w: input %q is %s, want %s", ir.ErrInput, p.Name, t, p.Type)
		}
		if !p.Type.Ranked {
			continue
		}
		if t.Rank() != len(p.Type.Shape) {
			return fmt.Errorf("%w: input %q is %s, want %s", ir.ErrInput, p.Name, t, p.Type)
		}
		for j, d := range p.Type.Shape {
			n := t.Shape()[j]
			switch {
			case d.IsKnown():
				if int64(n) != d.Size {
					return fmt.Errorf("%w: input %q is %s, want %s", ir.ErrInput, p.Name, t, p.Type)
				}
			case d.Name != "":
				at := slices.IndexFunc(names, func(x named) bool { return x.name == d.Name })
				if at >= 0 && names[at].size != n {
					return fmt.Errorf("%w: input %q is %s, want %s with %s = %d as in an input before it", ir.ErrInput, p.Name, t, p.Type, d.Name, names[at].size)
				}
				if at < 0 {
					names = append(names, named{d.Name, n})
				}
			}
		}
	}
	return nil
}

// Named runs an ordered run function on inputs by name, and gives its outputs by name.
func Named(in map[string]*tensor.Tensor, inputs, outputs []Port, run func(ins, outs []*tensor.Tensor) error) (map[string]*tensor.Tensor, error) {
	ins := make([]*tensor.Tensor, len(inputs))
	for i, p := range inputs {
		if ins[i] = in[p.Name]; ins[i] == nil {
			return nil, fmt.Errorf("%w: input %q (%s) is missing", ir.ErrInput, p.Name, p.Type)
		}
	}
	if len(in) > len(inputs) {
		return nil, fmt.Errorf("%w: the model has no input %s; its inputs are %s", ir.ErrInput, unknownNames(in, inputs), portNames(inputs))
	}
	outs := make([]*tensor.Tensor, len(outputs))
	if err := run(ins, outs); err != nil {
		return nil, err
	}
	m := make(map[string]*tensor.Tensor, len(outs))
	for i, p := range outputs {
		m[p.Name] = outs[i]
	}
	return m, nil
}

// RunFunc runs one function of the program, such as a body of a Loop, with inputs and outputs in order.
func (s *Session) RunFunc(ctx context.Context, f int, ins, outs []*tensor.Tensor) error {
	return s.call(ctx, f, ins, outs, nil)
}

func unknownNames(in map[string]*tensor.Tensor, ports []Port) string {
	var extra []string
	for name := range in {
		known := false
		for _, p := range ports {
			known = known || p.Name == name
		}
		if !known {
			extra = append(extra, fmt.Sprintf("%q", name))
		}
	}
	sort.Strings(extra)
	return strings.Join(extra, ", ")
}

func portNames(ports []Port) string {
	s := make([]string, len(ports))
	for i, p := range ports {
		s[i] = fmt.Sprintf("%q", p.Name)
	}
	return strings.Join(s, ", ")
}

// function is one function of the program with the instances prepared for it.
type function struct {
	fn    *plan.Func
	group singleflight.Group

	mu    sync.Mutex
	ready map[string]*prepared
	clock int64
}

// prepared is an instance with the idle executions of it.
type prepared struct {
	key   string
	inst  *Instance
	slots []slot
	size  int
	idle  []*execution
	used  int64 // clock of the last use, for eviction
}
