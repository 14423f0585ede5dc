package session

import (
	"fmt"
	"slices"

	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/cuda"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime"
)

// settledElems bounds the values that are computed on the host once per set of shapes, such as masks and positions.
const settledElems = 1 << 24

// instance is the program bound to a set of input shapes: the operations of a run in order, and their memory.
//
// Operations come in segments: uploads, launches, downloads, then what the host computes. Within one, nothing waits
// for the device.
type instance struct {
	s      *Session
	rt     *runtime.Instance
	fn     *plan.Func
	shapes [][]int // of the inputs
	dims   map[string]int64
	ops    []operation
	start  int   // while scheduling: the segment's first operation
	held   int64 // bytes of intermediate values

	runs   int   // that ended well
	unsure int   // the first operation that the device may not have done yet
	broken bool  // the device failed: what the instance left there is not to be used again
	stage  int64 // bytes of the largest segment's transfers

	producer []int // per value: the position in rt.Steps of its step, or -1
	root     []int // per value: the value whose device memory it shares
	onDevice []bool
	onHost   []bool
	memory   []cuda.Ptr // per root; set once it has any
	fixed    []bool     // memory that is not for reuse: constants of the instance
	owned    []cuda.Ptr // everything allocated
	vals     []*tensor.Tensor
	raw      []*tensor.Tensor // per value: where downloads go, kept from run to run
}

// operation is one thing a run does.
type operation struct {
	kind  opKind
	v     int // of uploads, downloads and views
	src   int // of views
	step  *plan.Step
	index int          // of a step, in rt.Steps
	how   plan.Variant // of a step with launches: those for the sizes at hand
	calls []cuda.Launch
	span  *span // that begins here

	staged []byte // of a download under way
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
		onHost: make([]bool, n), memory: make([]cuda.Ptr, n), fixed: make([]bool, n), vals: make([]*tensor.Tensor, n), raw: make([]*tensor.Tensor, n),
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
	in.spans()
	if err := s.stream.Synchronize(); err != nil {
		in.free()
		return nil, err
	}
	return in, nil
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
			in.hostView(dst, src)
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

// hostView appends another shape of a value on the host: at the start of the segment, unless it is fetched in it.
func (in *instance) hostView(dst, src int) {
	at, view := len(in.ops), operation{kind: opHostView, v: dst, src: src}
	if !slices.ContainsFunc(in.ops[in.start:], func(op operation) bool { return op.kind == opDownload && op.v == src }) {
		at = in.start
	}
	in.ops = slices.Insert(in.ops, at, view)
	in.start = at + 1
	in.onHost[dst] = true
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
			p, err = in.settled(in.rt.Known[r])
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
	// The host has had it since before the segment: what the segment fetches is on the device.
	in.ops = slices.Insert(in.ops, in.start, operation{kind: opUpload, v: r})
	in.onDevice[r] = true
	return nil
}

// settled uploads a value that shapes alone decide.
func (in *instance) settled(known *tensor.Tensor) (cuda.Ptr, error) {
	t, err := in.s.stored(known)
	if err != nil {
		return 0, err
	}
	p, err := in.s.alloc(max(1, int64(len(t.Bytes()))))
	if err != nil {
		return 0, err
	}
	in.owned = append(in.owned, p)
	return p, in.s.fill(p, t)
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
	in.start = len(in.ops)
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
	how, err := st.Variant(in.dims, in.s.opt.BatchInvariant)
	if err != nil {
		return err
	}
	for i := range how.Launches {
		for _, text := range how.Launches[i].Args {
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
	in.ops = append(in.ops, operation{kind: opLaunch, step: st, index: pos, how: how})
	for v := range outs {
		if v >= 0 {
			in.onDevice[v] = true
		}
	}
	return nil
}
