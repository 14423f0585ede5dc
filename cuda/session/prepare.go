package session

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/codegen/plan/expr"
	"github.com/seed-c851cfd2/moec/cuda"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime"
)

// settledElems bounds the values that are computed on the host once per set of shapes, such as masks and positions.
const settledElems = 1 << 24

// instance is the program bound to a set of input shapes: the operations of a run in order, and their memory.
type instance struct {
	s    *Session
	rt   *runtime.Instance
	fn   *plan.Func
	dims map[string]int64
	ops  []operation
	used int64
	held int64 // bytes of intermediate values

	producer []int // per value: the position in rt.Steps of its step, or -1
	root     []int // per value: the value whose device memory it shares
	onDevice []bool
	onHost   []bool
	memory   []cuda.Ptr // per root; set once it has any
	fixed    []bool     // memory that is not for reuse: constants of the instance
	owned    []cuda.Ptr // everything allocated
	vals     []*tensor.Tensor
}

// operation is one thing a run does.
type operation struct {
	kind  opKind
	v     int // of uploads, downloads and views
	src   int // of views
	step  *plan.Step
	index int // of a step, in rt.Steps
	calls []cuda.Launch
}

type opKind uint8

const (
	opUpload opKind = iota
	opDownload
	opHostView
	opHost
	opLaunch
)

func (s *Session) prepare(types []ir.Type) (*instance, error) {
	fn := s.program.Main()
	rt, err := runtime.Instantiate(s.program, fn, types, settledElems)
	if err != nil {
		return nil, err
	}
	n := len(fn.Values)
	in := &instance{
		s: s, rt: rt, fn: fn, dims: map[string]int64{}, producer: make([]int, n), root: make([]int, n), onDevice: make([]bool, n),
		onHost: make([]bool, n), memory: make([]cuda.Ptr, n), fixed: make([]bool, n), vals: make([]*tensor.Tensor, n),
	}
	for v := range in.root {
		in.root[v], in.producer[v] = v, -1
	}
	for _, sym := range fn.Symbols {
		if t := rt.Types[sym.Value]; t.Ranked && sym.Axis < len(t.Shape) && t.Shape[sym.Axis].IsKnown() {
			in.dims[sym.Name] = t.Shape[sym.Axis].Size
		}
	}
	for _, v := range fn.Inputs {
		in.onHost[v] = true
	}
	for pos, si := range rt.Steps {
		for _, v := range fn.Steps[si].Out {
			if v >= 0 {
				in.producer[v] = pos
			}
		}
	}
	for pos, si := range rt.Steps {
		if err := in.schedule(pos, fn.Steps[si]); err != nil {
			in.free()
			return nil, runtime.StepError(fn.Steps[si], err)
		}
	}
	for _, v := range fn.Outputs {
		if err := in.needHost(v); err != nil {
			in.free()
			return nil, err
		}
	}
	if err := in.bind(); err != nil {
		in.free()
		return nil, err
	}
	return in, s.stream.Synchronize()
}

// known reports a value that every run of the instance has from the start.
func (in *instance) known(v int) bool { return in.fn.Values[v].Const >= 0 || in.rt.Known[v] != nil }

// schedule appends what a step does.
func (in *instance) schedule(pos int, st *plan.Step) error {
	switch {
	case in.rt.Dynamic[pos]:
		return in.hostStep(pos, st)
	case st.Kernel == plan.KernelInside:
		return nil // computed by a launch, which may leave it in memory, or when the host needs it
	case st.Kernel == plan.KernelView:
		src, dst := st.In[0], st.Out[0]
		if dst < 0 {
			return nil
		}
		if in.produced(src) {
			if err := in.needHost(src); err != nil {
				return err
			}
		}
		if !in.known(src) && in.onHost[src] {
			in.ops = append(in.ops, operation{kind: opHostView, v: dst, src: src})
			in.onHost[dst] = true
		} else if in.known(src) {
			return in.hostStep(pos, st)
		}
		in.root[dst] = in.root[src]
		return nil
	case len(st.Launches) > 0:
		return in.launchStep(pos, st)
	}
	return in.hostStep(pos, st)
}

// produced reports a value of a step inside a launch, which has no memory anywhere.
func (in *instance) produced(v int) bool {
	return !in.known(v) && !in.onHost[v] && !in.onDevice[in.root[v]]
}

// needHost makes a value available to the host.
func (in *instance) needHost(v int) error {
	if in.known(v) || in.onHost[v] {
		return nil
	}
	if in.onDevice[in.root[v]] {
		in.ops = append(in.ops, operation{kind: opDownload, v: v})
		in.onHost[v] = true
		return nil
	}
	pos := in.producer[v]
	if pos < 0 {
		return fmt.Errorf("%w: value %q is never computed", ir.ErrGraph, in.fn.Values[v].Name)
	}
	return in.hostStep(pos, in.fn.Steps[in.rt.Steps[pos]])
}

// needDevice makes a value available to launches.
func (in *instance) needDevice(v int) error {
	r := in.root[v]
	if in.onDevice[r] {
		return nil
	}
	if in.known(r) {
		var p cuda.Ptr
		var err error
		if c := in.fn.Values[r].Const; c >= 0 {
			p, err = in.s.constant(c)
		} else {
			var t *tensor.Tensor
			if t, err = in.s.stored(in.rt.Known[r]); err == nil {
				if p, err = in.s.upload(t); err == nil {
					in.owned = append(in.owned, p)
				}
			}
		}
		if err != nil {
			return err
		}
		in.memory[r], in.fixed[r], in.onDevice[r] = p, true, true
		return nil
	}
	if err := in.needHost(r); err != nil {
		return err
	}
	in.ops = append(in.ops, operation{kind: opUpload, v: r})
	in.onDevice[r] = true
	return nil
}

// hostStep runs a step by its op's reference evaluation.
func (in *instance) hostStep(pos int, st *plan.Step) error {
	for _, v := range st.In {
		if v < 0 {
			continue
		}
		if c := in.fn.Values[v].Const; c >= 0 && in.s.program.Consts[c].Layout != "" {
			return fmt.Errorf("the data decides a shape before this step, and its weights are packed for the device: no launch can run it, and the host cannot read them")
		}
		if err := in.needHost(v); err != nil {
			return err
		}
	}
	in.ops = append(in.ops, operation{kind: opHost, step: st, index: pos})
	for _, v := range st.Out {
		if v >= 0 {
			in.onHost[v] = true
		}
	}
	return nil
}

// launchStep appends a step's launches; their arguments get addresses when memory is laid out.
func (in *instance) launchStep(pos int, st *plan.Step) error {
	outs := map[int]bool{}
	for _, v := range st.Out {
		outs[v] = true
	}
	for _, v := range st.Also {
		outs[v] = true
	}
	for i := range st.Launches {
		for _, text := range st.Launches[i].Args {
			a, err := plan.ParseArg(text)
			if err != nil {
				return err
			}
			if a.Value >= 0 && !outs[a.Value] {
				if err := in.needDevice(a.Value); err != nil {
					return err
				}
			}
		}
	}
	in.ops = append(in.ops, operation{kind: opLaunch, step: st, index: pos})
	for v := range outs {
		if v >= 0 {
			in.onDevice[v] = true
		}
	}
	return nil
}

// eval computes an expression over the dimensions; the result fits 31 bits.
func (in *instance) eval(text string) (int64, error) {
	e, err := expr.Parse(text)
	if err != nil {
		return 0, err
	}
	n, err := e.Eval(in.dims)
	if err == nil && (n > math.MaxInt32 || n < math.MinInt32) {
		err = fmt.Errorf("%w: %s is %d: more than a launch can count", ir.ErrLimit, text, n)
	}
	return n, err
}

// bytes is the size of a value on the device.
func (in *instance) bytes(v int) (int64, error) {
	t := in.rt.Types[v]
	shape, ok := t.Static()
	if !ok {
		return 0, fmt.Errorf("%w: the shape of %q stays open: %s", ir.ErrShape, in.fn.Values[v].Name, t)
	}
	n, ok := tensor.CheckedElems(shape)
	if !ok || n > 1<<40 {
		return 0, fmt.Errorf("%w: %q would be %s", ir.ErrLimit, in.fn.Values[v].Name, t)
	}
	return int64(n * in.s.program.Target.Stored(t.DType).Size()), nil
}

// bind lays out device memory, in the order of operations, and binds the launches.
func (in *instance) bind() error {
	last := map[int]int{} // root -> last operation that uses it
	uses := make([][]int, len(in.ops))
	for i, op := range in.ops {
		use := func(v int) {
			r := in.root[v]
			last[r] = i
			uses[i] = append(uses[i], r)
		}
		switch op.kind {
		case opUpload, opDownload:
			use(op.v)
		case opLaunch:
			for _, l := range op.step.Launches {
				for _, text := range l.Args {
					if a, err := plan.ParseArg(text); err == nil && a.Value >= 0 {
						use(a.Value)
					}
				}
			}
			for _, v := range op.step.Out {
				if v >= 0 {
					use(v)
				}
			}
		}
	}
	pool := &layout{in: in, idle: map[int64][]cuda.Ptr{}}
	for i := range in.ops {
		op := &in.ops[i]
		for _, r := range uses[i] {
			if in.memory[r] != 0 {
				continue
			}
			n, err := in.bytes(r)
			if err == nil {
				in.memory[r], err = pool.get(n)
			}
			if err != nil {
				return err
			}
		}
		if op.kind == opLaunch {
			if err := in.bindLaunches(op, pool); err != nil {
				return runtime.StepError(op.step, err)
			}
		}
		done := map[int]bool{}
		for _, r := range uses[i] {
			if last[r] == i && !in.fixed[r] && !done[r] {
				done[r] = true
				n, _ := in.bytes(r)
				pool.put(in.memory[r], n)
			}
		}
	}
	return nil
}

// layout hands out memory that values of disjoint lives share.
type layout struct {
	in   *instance
	idle map[int64][]cuda.Ptr
}

func class(n int64) int64 {
	step := int64(512)
	for n > 8*step {
		step *= 2
	}
	return (n + step - 1) / step * step
}

func (l *layout) get(n int64) (cuda.Ptr, error) {
	n = max(n, 1)
	if !l.in.s.opt.Separate {
		n = class(n)
		if free := l.idle[n]; len(free) > 0 {
			l.idle[n] = free[:len(free)-1]
			return free[len(free)-1], nil
		}
	}
	p, err := l.in.s.dev.Alloc(n)
	if err == nil {
		l.in.owned = append(l.in.owned, p)
		l.in.held += n
	}
	return p, err
}

func (l *layout) put(p cuda.Ptr, n int64) {
	if !l.in.s.opt.Separate {
		n = class(max(n, 1))
		l.idle[n] = append(l.idle[n], p)
	}
}

// bindLaunches gives a step's launches their grids and arguments.
func (in *instance) bindLaunches(op *operation, pool *layout) error {
	temps := make([]cuda.Ptr, len(op.step.Temps))
	sizes := make([]int64, len(temps))
	for i, t := range op.step.Temps {
		n, err := in.eval(t.Bytes)
		if err != nil {
			return err
		}
		sizes[i] = n
		if !t.Zero {
			if temps[i], err = pool.get(n); err != nil {
				return err
			}
			continue
		}
		if temps[i], err = in.s.dev.Alloc(max(n, 1)); err != nil {
			return err
		}
		in.owned = append(in.owned, temps[i])
		if err := in.s.stream.Fill(temps[i], 0, max(n, 1)); err != nil {
			return err
		}
	}
	for li := range op.step.Launches {
		l := &op.step.Launches[li]
		k, err := in.s.kernel(l)
		if err != nil {
			return err
		}
		call := cuda.Launch{Kernel: k, Block: [3]int{l.Block, 1, 1}, SharedBytes: l.Shared, Node: op.step.Name, Index: li}
		if len(op.step.Origin) > 0 {
			call.Node = op.step.Origin[0]
		}
		empty := false
		for i, g := range l.Grid {
			n, err := in.eval(g)
			if err != nil {
				return call.Fail(err)
			}
			empty = empty || n < 1
			call.Grid[i] = int(n)
		}
		if empty {
			continue
		}
		for _, text := range l.Args {
			a, err := plan.ParseArg(text)
			if err != nil {
				return call.Fail(err)
			}
			switch {
			case a.Value >= 0:
				call.Args = append(call.Args, in.memory[in.root[a.Value]])
			case a.Temp >= 0:
				call.Args = append(call.Args, temps[a.Temp])
			default:
				n, err := a.Expr.Eval(in.dims)
				if err == nil && (n > math.MaxInt32 || n < math.MinInt32) {
					err = fmt.Errorf("%w: %s is %d: more than a launch can count", ir.ErrLimit, text, n)
				}
				if err != nil {
					return call.Fail(err)
				}
				call.Args = append(call.Args, uint32(n))
			}
		}
		op.calls = append(op.calls, call)
	}
	for i, t := range op.step.Temps {
		if !t.Zero {
			pool.put(temps[i], sizes[i])
		}
	}
	return nil
}

// free gives back the instance's memory.
func (in *instance) free() {
	for _, p := range in.owned {
		in.s.dev.Free(p)
	}
	in.owned = nil
}
