package runtime

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime/cpu"
)

// call runs function f, preparing an execution for the inputs' shapes if none is idle.
func (s *Session) call(ctx context.Context, f int, ins, outs []*tensor.Tensor, obs *Observer) error {
	fun := s.funcs[f]
	var buf [256]byte
	key := shapeKey(buf[:0], ins)
	fun.mu.Lock()
	p := fun.ready[string(key)]
	var ex *execution
	if p != nil {
		fun.clock++
		p.used = fun.clock
		if n := len(p.idle); n > 0 {
			ex = p.idle[n-1]
			p.idle = p.idle[:n-1]
		}
	}
	fun.mu.Unlock()
	if ex == nil {
		var err error
		if ex, err = s.prepare(fun, string(key), p, ins); err != nil {
			return err
		}
	}
	err := ex.run(ctx, ins, outs, obs)
	fun.mu.Lock()
	ex.prep.idle = append(ex.prep.idle, ex)
	fun.mu.Unlock()
	return err
}

// shapeKey appends element types, ranks and sizes.
func shapeKey(b []byte, ins []*tensor.Tensor) []byte {
	for _, t := range ins {
		if t == nil {
			b = append(b, 0xff)
			continue
		}
		b = append(b, byte(t.DType()), byte(t.Rank()))
		for _, d := range t.Shape() {
			for ; d >= 0x80; d >>= 7 {
				b = append(b, byte(d)|0x80)
			}
			b = append(b, byte(d))
		}
	}
	return b
}

// prepare makes an execution; concurrent callers with one key share the instance.
func (s *Session) prepare(fun *function, key string, p *prepared, ins []*tensor.Tensor) (*execution, error) {
	if p == nil {
		v, err, _ := fun.group.Do(key, func() (any, error) {
			types := make([]ir.Type, len(ins))
			for i, t := range ins {
				if t != nil {
					types[i] = ir.TypeOf(t)
				}
			}
			inst, err := Instantiate(s.program, fun.fn, types, 0)
			if err != nil {
				return nil, err
			}
			p := &prepared{key: key, inst: inst}
			if err := inst.checkSizes(s.opt.MaxElems); err != nil {
				return nil, err
			}
			if p.slots, p.size = inst.layout(); p.size > maxArena {
				return nil, fmt.Errorf("%w: values take more than %d bytes at a time", ir.ErrLimit, maxArena)
			}
			fun.mu.Lock()
			defer fun.mu.Unlock()
			if fun.ready == nil {
				fun.ready = map[string]*prepared{}
			}
			if len(fun.ready) >= s.opt.Instances {
				fun.evict()
			}
			fun.clock++
			p.used = fun.clock
			fun.ready[key] = p
			return p, nil
		})
		if err != nil {
			return nil, err
		}
		p = v.(*prepared)
	}
	return s.newExecution(p)
}

// evict forgets the instance that was used longest ago.
func (f *function) evict() {
	var oldest *prepared
	for _, p := range f.ready {
		if oldest == nil || p.used < oldest.used {
			oldest = p
		}
	}
	delete(f.ready, oldest.key)
}

// execution is the memory and the bound kernels of one run at a time.
type execution struct {
	s     *Session
	prep  *prepared
	vals  []*tensor.Tensor // per value; inputs, outputs and heap values change per run
	calls []call
	heap  []int            // values to forget after a run
	views []*tensor.Tensor // per value: what becomes a view of an input or output during a run
}

// call is one step, bound.
type call struct {
	st    *plan.Step
	bound cpu.Bound // zero for dynamic steps, views and copies
	call  cpu.Call
	kind  callKind
}

type callKind uint8

const (
	callKernel  callKind = iota
	callDynamic          // shapes are settled when it runs
	callView             // nothing to do: the output is a view
)

func (s *Session) newExecution(p *prepared) (*execution, error) {
	in, fn := p.inst, p.inst.Fn
	ex := &execution{s: s, prep: p, vals: make([]*tensor.Tensor, len(fn.Values)), views: make([]*tensor.Tensor, len(fn.Values))}
	scratch := 0
	for pos, si := range in.Steps {
		st := fn.Steps[si]
		c := call{st: st}
		switch {
		case in.Dynamic[pos]:
			c.kind = callDynamic
		case st.Kernel == plan.KernelView && st.Out[0] >= 0 && p.slots[st.Out[0]].kind == slotView:
			c.kind = callView
		default:
			b, err := s.device.Bind(ex.binding(st, in.Types))
			if err != nil {
				return nil, StepError(st, err)
			}
			if b.Scratch < 0 || b.Scratch > maxArena {
				return nil, StepError(st, fmt.Errorf("%w: its kernel works in %d bytes", ir.ErrLimit, b.Scratch))
			}
			c.bound = b
			scratch = max(scratch, b.Scratch)
		}
		c.call.Ins = make([]*tensor.Tensor, len(st.In))
		c.call.Outs = make([]*tensor.Tensor, len(st.Out))
		ex.calls = append(ex.calls, c)
	}
	arena := s.memory(p.size + padded(scratch))
	for i := range ex.calls {
		ex.calls[i].call.Scratch = arena[p.size:]
	}
	for v := range fn.Values {
		switch sl := p.slots[v]; sl.kind {
		case slotKnown:
			ex.vals[v] = in.Known[v]
			if ex.vals[v] == nil {
				ex.vals[v] = s.consts[fn.Values[v].Const]
			}
		case slotArena:
			t, err := ex.place(in.Types[v], arena[sl.offset:])
			if err != nil {
				return nil, err
			}
			ex.vals[v] = t
		case slotView:
			if root := p.slots[v].root; p.slots[root].kind == slotArena {
				t, err := ex.place(in.Types[v], arena[p.slots[root].offset:])
				if err != nil {
					return nil, err
				}
				ex.vals[v] = t
			} else {
				ex.heap = append(ex.heap, v) // a view of an input or output, known when it runs
				shape, _ := in.Types[v].Static()
				ex.views[v] = tensor.Header(in.Types[v].DType, shape...)
			}
		default:
			ex.heap = append(ex.heap, v)
		}
	}
	return ex, nil
}

func (ex *execution) place(t ir.Type, mem []byte) (*tensor.Tensor, error) {
	shape, _ := t.Static()
	n := tensor.NumElems(shape) * t.DType.Size()
	return tensor.FromBytes(t.DType, shape, mem[:n:n])
}

func (ex *execution) binding(st *plan.Step, types []ir.Type) *cpu.Binding {
	fn := ex.prep.inst.Fn
	b := &cpu.Binding{
		Step: st, Device: ex.s.device,
		Ins: make([]ir.Type, len(st.In)), Outs: make([]ir.Type, len(st.Out)),
		Consts: make([]*tensor.Tensor, len(st.In)), Layouts: make([]string, len(st.In)),
	}
	for i, v := range st.In {
		if v < 0 {
			continue
		}
		b.Ins[i] = types[v]
		if c := fn.Values[v].Const; c >= 0 {
			b.Consts[i], b.Layouts[i] = ex.s.consts[c], ex.s.program.Consts[c].Layout
		} else {
			b.Consts[i] = ex.prep.inst.Known[v]
		}
	}
	for i, v := range st.Out {
		if v >= 0 {
			b.Outs[i] = types[v]
		}
	}
	return b
}

// run executes the steps once.
func (ex *execution) run(ctx context.Context, ins, outs []*tensor.Tensor, obs *Observer) error {
	p, fn := ex.prep, ex.prep.inst.Fn
	defer func() {
		for _, v := range ex.heap {
			ex.vals[v] = nil
			if ex.views[v] != nil {
				ex.views[v].ViewOf(nil)
			}
		}
	}()
	for i, v := range fn.Inputs {
		ex.vals[v] = ins[i]
	}
	for i, v := range fn.Outputs {
		if p.slots[v].kind != slotOutput || ex.vals[v] != nil {
			continue
		}
		want := p.inst.Types[v]
		if !fits(outs[i], want) || slices.Contains(ins, outs[i]) {
			shape, _ := want.Static()
			if n, ok := tensor.CheckedElems(shape); !ok || ex.s.opt.MaxElems > 0 && n > ex.s.opt.MaxElems {
				return fmt.Errorf("%w: output %q would be %s (raise the bound with --max-elems)", ir.ErrLimit, fn.Values[v].Name, want)
			}
			outs[i] = tensor.New(want.DType, shape...)
		}
		ex.vals[v] = outs[i]
	}
	var start time.Time
	for i := range ex.calls {
		if err := ctx.Err(); err != nil {
			return err
		}
		c := &ex.calls[i]
		if obs != nil && obs.Step != nil {
			start = time.Now()
		}
		if err := ex.step(ctx, c); err != nil {
			return StepError(c.st, err)
		}
		if obs != nil {
			ex.observe(obs, c.st, start)
		}
	}
	for i, v := range fn.Outputs {
		t := ex.vals[v]
		if t == nil {
			return fmt.Errorf("%w: output %q was not computed", ir.ErrGraph, fn.Values[v].Name)
		}
		if t == outs[i] {
			continue
		}
		if k := p.slots[v].kind; k == slotHeap {
			outs[i] = t
			continue
		}
		// A constant, an input, or a value listed twice: the caller gets a copy.
		if fits(outs[i], ir.TypeOf(t)) && !slices.Contains(ins, outs[i]) {
			copy(outs[i].Bytes(), t.Bytes())
			copy(outs[i].Strings(), t.Strings())
		} else {
			outs[i] = t.Clone()
		}
	}
	return nil
}

func fits(t *tensor.Tensor, want ir.Type) bool {
	if t == nil || t.DType() != want.DType || t.Rank() != len(want.Shape) {
		return false
	}
	for i, d := range want.Shape {
		if int64(t.Shape()[i]) != d.Size {
			return false
		}
	}
	return true
}

func (ex *execution) observe(obs *Observer, st *plan.Step, start time.Time) {
	if obs.Step != nil {
		obs.Step(st, start, time.Since(start))
	}
	if obs.Value == nil {
		return
	}
	for _, v := range st.Out {
		if v >= 0 && ex.vals[v] != nil {
			obs.Value(ex.prep.inst.Fn.Values[v].Name, ex.vals[v])
		}
	}
}

func (ex *execution) step(ctx context.Context, c *call) error {
	switch c.kind {
	case callView:
		v := c.st.Out[0]
		if ex.vals[v] == nil {
			ex.vals[v] = ex.views[v]
			ex.vals[v].ViewOf(ex.vals[c.st.In[0]])
		}
		return nil
	case callDynamic:
		return ex.dynamic(ctx, c)
	}
	for j, v := range c.st.In {
		if v >= 0 {
			c.call.Ins[j] = ex.vals[v]
		}
	}
	for j, v := range c.st.Out {
		if v >= 0 {
			c.call.Outs[j] = ex.vals[v]
		}
	}
	c.call.Context = ctx
	return c.bound.Run(&c.call)
}

// dynamic runs a step whose shapes the data decides: it infers from the actual inputs
// and runs the step's kernel, or the op's Eval where shapes stay open even then.
func (ex *execution) dynamic(ctx context.Context, c *call) error {
	st := c.st
	own := len(st.In) - st.Captures
	ins := make([]*tensor.Tensor, len(st.In))
	types := make([]ir.Type, len(ex.vals))
	for i, v := range st.In {
		if v < 0 {
			continue
		}
		ins[i] = ex.vals[v]
		types[v] = ir.TypeOf(ins[i])
		if ci := ex.prep.inst.Fn.Values[v].Const; ci >= 0 {
			types[v] = ex.prep.inst.Types[v]
		}
	}
	if st.Kernel != plan.KernelRef && st.Kernel != plan.KernelView {
		ic := &ir.InferCtx{Attrs: st.Attrs, Outs: make([]ir.Type, len(st.Out))}
		for i, v := range st.In[:own] {
			if v < 0 {
				ic.Ins, ic.Consts, ic.Syms = append(ic.Ins, ir.Type{}), append(ic.Consts, nil), append(ic.Syms, nil)
				continue
			}
			ic.Ins, ic.Consts, ic.Syms = append(ic.Ins, types[v]), append(ic.Consts, ins[i]), append(ic.Syms, nil)
		}
		if err := st.Op.Infer(ic); err != nil {
			return err
		}
		outs := make([]*tensor.Tensor, len(st.Out))
		for i, v := range st.Out {
			if v < 0 {
				continue
			}
			types[v] = ic.Outs[i]
			shape, ok := ic.Outs[i].Static()
			if !ok {
				return fmt.Errorf("%w: the shape of output %d stays open for inputs of known shape", ir.ErrShape, i)
			}
			if n, ok := tensor.CheckedElems(shape); !ok || ex.s.opt.MaxElems > 0 && n > ex.s.opt.MaxElems {
				return fmt.Errorf("%w: output %d would be %s (raise the bound with --max-elems)", ir.ErrLimit, i, ic.Outs[i])
			}
			outs[i] = tensor.New(ic.Outs[i].DType, shape...)
			ex.vals[v] = outs[i]
		}
		b, err := ex.s.device.Bind(ex.binding(st, types))
		if err != nil {
			return err
		}
		return b.Run(&cpu.Call{Context: ctx, Ins: ins, Outs: outs, Scratch: tensor.AlignedBytes(b.Scratch)})
	}
	ev := &ir.EvalCtx{
		Context: ctx, Attrs: st.Attrs, Ins: ins[:own], Outs: make([]*tensor.Tensor, len(st.Out)),
		Want: wanted(st), MaxElems: ex.s.opt.MaxElems, OutTypes: make([]ir.Type, len(st.Out)),
	}
	for i, v := range st.Out {
		if v >= 0 {
			ev.OutTypes[i] = ex.prep.inst.Fn.Values[v].Type
		}
	}
	if len(st.Subs) > 0 {
		caps := ins[own:]
		ev.Sub = func(i int, sub []*tensor.Tensor) ([]*tensor.Tensor, error) {
			f := st.Subs[i]
			outs := make([]*tensor.Tensor, len(ex.s.program.Funcs[f].Outputs))
			all := append(append(make([]*tensor.Tensor, 0, len(sub)+len(caps)), sub...), caps...)
			return outs, ex.s.call(ctx, f, all, outs, nil)
		}
	}
	if err := st.Op.Eval(ev); err != nil {
		return err
	}
	for i, v := range st.Out {
		if v < 0 {
			continue
		}
		if ev.Outs[i] == nil {
			return fmt.Errorf("%w: no output %d", ir.ErrGraph, i)
		}
		t := ev.Outs[i]
		for _, in := range ins { // a view of memory that the arena may reuse
			if in != nil && sharesMemory(t, in) {
				t = t.Clone()
				break
			}
		}
		ex.vals[v] = t
	}
	return nil
}

func sharesMemory(a, b *tensor.Tensor) bool {
	x, y := a.Bytes(), b.Bytes()
	return len(x) > 0 && len(y) > 0 && &x[0] == &y[0]
}
