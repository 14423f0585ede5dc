// Package session runs programs compiled for CUDA on a device: a GPU, or the emulator.
//
//	plan.Program + cuda.Device -> New -> Session -> Run(ctx, inputs) -> outputs
//
// Weights are uploaded once. The first run for a set of input shapes settles what shapes decide, chooses the variants
// of launches for the sizes, lays out device memory and binds every launch; then a run is uploads of the inputs, the
// launches, and downloads of the outputs. The second such run captures the launches into graphs, which later ones
// replay. Steps without a kernel run on the host, with copies, between two graphs; the program says which.
package session

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/cuda"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime"
)

// Options tune a session. The zero value is good.
type Options struct {
	// Instances bounds how many sets of input shapes stay prepared; 0 means 8.
	Instances int
	// MaxElems bounds the elements of one value computed on the host; 0 means no bound.
	MaxElems int
	// Separate gives every value memory of its own and exact size, so that a checking device sees each access past
	// an end and each read before a write.
	Separate bool
	// BatchInvariant passes over variants of launches that add in another order than those for other numbers of
	// tokens, so that a row has the same bits whatever the batch it sits in. It costs time at few tokens.
	BatchInvariant bool
}

// Session runs one program on one device. Runs follow one another.
type Session struct {
	program *plan.Program
	dev     cuda.Device
	opt     Options
	stream  cuda.Stream
	bodies  *runtime.Session // runs the bodies of control flow; nil when there are none

	mu      sync.Mutex
	kernels map[string]*kernel
	modules map[string]*module
	staging staging
	pool    *cuda.Pool // of instances' memory: one's leavings serve the next, since allocating waits for the device
	consts  map[int]cuda.Ptr
	ready   []*instance // the one used last is at the end
}

// New prepares a program for a device, which the session does not close.
func New(p *plan.Program, dev cuda.Device, opt Options) (*Session, error) {
	if p.Target.Device != "cuda" {
		return nil, fmt.Errorf("the program is compiled for %q: compile with --target cuda to run it on a CUDA device", p.Target.Device)
	}
	if opt.Instances <= 0 {
		opt.Instances = 8
	}
	s := &Session{
		program: p, dev: dev, opt: opt, kernels: map[string]*kernel{}, modules: map[string]*module{},
		consts: map[int]cuda.Ptr{}, pool: cuda.NewPool(dev),
	}
	limit := dev.Info().MaxShared
	for _, st := range p.Main().Steps {
		for _, v := range append([]plan.Variant{{Launches: st.Launches}}, st.Variants...) {
			for i, l := range v.Launches {
				if limit > 0 && l.Shared > limit {
					return nil, runtime.StepError(st, fmt.Errorf("launch %d, kernel %s needs %d bytes of shared memory, the device gives a block %d: compile for this GPU with --gpu", i, l.Kernel, l.Shared, limit))
				}
			}
		}
	}
	if len(p.Funcs) > 1 {
		host := *p
		host.Target = plan.Target{Device: "cpu"}
		host.Funcs = append([]*plan.Func{{Name: p.Main().Name}}, p.Funcs[1:]...)
		b, err := runtime.New(&host, runtime.Options{MaxElems: opt.MaxElems})
		if err != nil {
			return nil, err
		}
		s.bodies = b
	}
	var err error
	if s.stream, err = dev.NewStream(); err != nil {
		return nil, err
	}
	return s, nil
}

// Close gives back the session's memory on the device.
func (s *Session) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stream.Synchronize()
	for _, in := range s.ready {
		in.free()
	}
	s.ready = nil
	s.staging.free()
	for c, p := range s.consts {
		s.dev.Free(p)
		delete(s.consts, c)
	}
	s.pool.Trim()
	for name, m := range s.modules {
		m.mod.Unload()
		delete(s.modules, name)
	}
	if s.bodies != nil {
		s.bodies.Close()
	}
	return s.stream.Close()
}

// Inputs lists the program's inputs in order.
func (s *Session) Inputs() []runtime.Port {
	return runtime.Ports(s.program.Main(), s.program.Main().Inputs)
}

// Outputs lists the program's outputs in order.
func (s *Session) Outputs() []runtime.Port {
	return runtime.Ports(s.program.Main(), s.program.Main().Outputs)
}

// IndexBounds gives, by position among the inputs, what made-up indices must stay below; see
// plan.Program.IndexBounds.
func (s *Session) IndexBounds() map[int]int { return s.program.IndexBounds() }

// Run runs the program on inputs by name and returns its outputs by name.
func (s *Session) Run(ctx context.Context, in map[string]*tensor.Tensor) (map[string]*tensor.Tensor, error) {
	return runtime.Named(in, s.Inputs(), s.Outputs(), func(ins, outs []*tensor.Tensor) error { return s.RunTo(ctx, ins, outs, nil) })
}

// RunTo is Run with inputs and outputs in the order of Inputs and Outputs. With an observer, the device is waited
// for after every launch, so that an error which it reports late names the launch; without one, launches of later
// runs of the same shapes are replayed as graphs.
func (s *Session) RunTo(ctx context.Context, ins, outs []*tensor.Tensor, obs *runtime.Observer) error {
	main := s.program.Main()
	if len(ins) != len(main.Inputs) || len(outs) != len(main.Outputs) {
		return fmt.Errorf("%w: got %d inputs and %d outputs, the model has %d and %d", ir.ErrInput, len(ins), len(outs), len(main.Inputs), len(main.Outputs))
	}
	if err := runtime.CheckInputs(main, ins); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	in, err := s.instance(ins)
	if err != nil {
		return err
	}
	err = in.run(ctx, ins, outs, obs)
	if in.broken { // counters that launches leave at zero may not be: the next run starts afresh
		in.free()
		s.ready = s.ready[:len(s.ready)-1]
	}
	return err
}

// Stats is the cost of a run with inputs of these shapes; its memory is that of intermediate values on the device.
func (s *Session) Stats(ins []*tensor.Tensor) (runtime.Stats, error) {
	st, err := runtime.StatsOf(s.program, ins)
	if err != nil {
		return st, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	in, err := s.instance(ins)
	if err == nil {
		st.ArenaBytes = in.held
	}
	return st, err
}

// instance finds or makes what is prepared for the inputs' shapes, and puts it at the end of ready.
func (s *Session) instance(ins []*tensor.Tensor) (*instance, error) {
	for i, in := range s.ready {
		if in.serves(ins) {
			copy(s.ready[i:], s.ready[i+1:])
			s.ready[len(s.ready)-1] = in
			return in, nil
		}
	}
	if len(s.ready) >= s.opt.Instances {
		s.ready[0].free()
		s.ready = slices.Delete(s.ready, 0, 1)
	}
	types := make([]ir.Type, len(ins))
	shapes := make([][]int, len(ins))
	for i, t := range ins {
		types[i], shapes[i] = ir.TypeOf(t), slices.Clone(t.Shape())
	}
	in, err := s.prepare(types)
	if err != nil {
		return nil, err
	}
	in.shapes = shapes
	s.ready = append(s.ready, in)
	return in, nil
}

// serves reports inputs of the types and shapes that the instance is prepared for.
func (in *instance) serves(ins []*tensor.Tensor) bool {
	for i, t := range ins {
		if t.DType() != in.rt.Types[in.fn.Inputs[i]].DType || !slices.Equal(t.Shape(), in.shapes[i]) {
			return false
		}
	}
	return true
}

// constant uploads a constant on its first use. Floats in plain order become what the device stores.
func (s *Session) constant(c int) (cuda.Ptr, error) {
	if p, ok := s.consts[c]; ok {
		return p, nil
	}
	t := s.program.Consts[c].Data
	n := max(1, int64(len(t.Bytes())))
	p, err := s.dev.Alloc(n) // for good, and so of exact size
	if err != nil {
		s.pool.Trim()
		if p, err = s.dev.Alloc(n); err != nil {
			return 0, fmt.Errorf("constant %q: %w", s.program.Consts[c].Name, err)
		}
	}
	s.consts[c] = p
	if err := s.fill(p, t); err != nil {
		delete(s.consts, c)
		s.dev.Free(p)
		return 0, err
	}
	return p, nil
}

// alloc reserves device memory; the stream orders what is done with it after all that its former user did.
func (s *Session) alloc(n int64) (cuda.Ptr, error) {
	if s.opt.Separate {
		return s.dev.Alloc(n)
	}
	return s.pool.Get(n)
}

func (s *Session) release(p cuda.Ptr) {
	if s.opt.Separate {
		s.dev.Free(p)
		return
	}
	s.pool.Put(p)
}

// fill copies a tensor to the device, and waits for it.
func (s *Session) fill(p cuda.Ptr, t *tensor.Tensor) error {
	if len(t.Bytes()) == 0 {
		return nil
	}
	if err := s.stream.CopyIn(p, t.Bytes()); err != nil {
		return err
	}
	return s.stream.Synchronize()
}

// stored is a host value as the device keeps it.
func (s *Session) stored(t *tensor.Tensor) (*tensor.Tensor, error) {
	return plan.Convert(t, s.program.Target.Stored(t.DType()))
}

func fits(t *tensor.Tensor, dt tensor.DType, shape []int) bool {
	return t != nil && t.DType() == dt && slices.Equal(t.Shape(), shape)
}
