package session

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime"
)

// run does the operations of the instance once. Whatever happens, the device is done when it returns.
func (in *instance) run(ctx context.Context, ins, outs []*tensor.Tensor, obs *runtime.Observer) (err error) {
	defer clear(in.vals)
	in.s.staging.reserve(in.s.dev, in.stage)
	in.unsure = 0
	defer func() {
		if err != nil {
			in.s.stream.Synchronize()
		}
	}()
	for i, v := range in.fn.Inputs {
		in.vals[v] = ins[i]
	}
	for i := 0; i < len(in.ops); {
		if err := ctx.Err(); err != nil {
			return err
		}
		if i, err = in.do(ctx, i, obs); err != nil {
			return err
		}
	}
	if err := in.wait(len(in.ops)); err != nil {
		return err
	}
	in.runs++
	for i, v := range in.fn.Outputs {
		t := in.host(v)
		if t == nil {
			return fmt.Errorf("%w: output %q was not computed", ir.ErrGraph, in.fn.Values[v].Name)
		}
		if fits(outs[i], t.DType(), t.Shape()) && !slices.Contains(ins, outs[i]) && t.DType() != tensor.String {
			copy(outs[i].Bytes(), t.Bytes())
		} else {
			outs[i] = t.Clone()
		}
	}
	return nil
}

// do begins operation i, and those that go with it, and returns the next one.
func (in *instance) do(ctx context.Context, i int, obs *runtime.Observer) (int, error) {
	op := &in.ops[i]
	start := time.Now()
	switch op.kind {
	case opUpload:
		return i + 1, in.upload(i)
	case opDownload:
		return in.fetch(i)
	case opHostView:
		shape, ok := in.rt.Types[op.v].Static()
		if !ok {
			return i, fmt.Errorf("%w: the shape of %q stays open", ir.ErrShape, in.fn.Values[op.v].Name)
		}
		in.vals[op.v] = in.vals[op.src].Reshape(shape...)
		return i + 1, nil
	case opHost:
		if err := in.evaluate(ctx, op.step); err != nil {
			return i, runtime.StepError(op.step, err)
		}
	case opLaunch:
		if obs == nil {
			return op.span.end, in.play(i)
		}
		for _, c := range op.calls { // one by one, so that an error is of this launch
			err := in.s.stream.Launch(c)
			if err == nil {
				err = c.Fail(in.s.stream.Synchronize())
			}
			if err != nil {
				in.broken = true
				return i, runtime.StepError(op.step, err)
			}
		}
	}
	if obs != nil {
		if obs.Step != nil {
			obs.Step(op.step, start, time.Since(start))
		}
		if err := in.show(op.step, obs); err != nil {
			return i, err
		}
	}
	return i + 1, nil
}

// upload queues the transfer of a value to the device.
func (in *instance) upload(i int) error {
	v := in.ops[i].v
	t, err := in.s.stored(in.vals[v])
	if err != nil || len(t.Bytes()) == 0 {
		return err
	}
	src := in.s.staging.take(len(t.Bytes()))
	direct := src == nil
	if direct {
		src = t.Bytes()
	} else {
		copy(src, t.Bytes())
	}
	if err := in.s.stream.CopyIn(in.memory[v], src); err != nil {
		return in.blame(in.unsure, i, err)
	}
	if direct && t != in.vals[v] { // the converted copy must outlive the transfer
		return in.wait(i + 1)
	}
	return nil
}

// fetch brings the values of neighbouring downloads to the host, and waits for them once.
func (in *instance) fetch(i int) (int, error) {
	end := i
	for ; end < len(in.ops) && in.ops[end].kind == opDownload; end++ {
		v := in.ops[end].v
		t := in.rawTensor(v)
		if len(t.Bytes()) == 0 {
			continue
		}
		to := in.s.staging.take(len(t.Bytes()))
		in.ops[end].staged = to
		if to == nil {
			to = t.Bytes()
		}
		if err := in.s.stream.CopyOut(to, in.memory[in.root[v]]); err != nil {
			return end, in.blame(in.unsure, end, err)
		}
	}
	if err := in.wait(end); err != nil {
		return end, err
	}
	for j := i; j < end; j++ {
		op := &in.ops[j]
		t := in.raw[op.v]
		copy(t.Bytes(), op.staged)
		op.staged = nil
		var err error
		if in.vals[op.v], err = plan.Convert(t, in.rt.Types[op.v].DType); err != nil {
			return end, err
		}
	}
	return end, nil
}

// rawTensor is where a value comes to lie on the host as the device stores it.
func (in *instance) rawTensor(v int) *tensor.Tensor {
	if in.raw[v] == nil {
		t := in.rt.Types[v]
		shape, _ := t.Static()
		in.raw[v] = tensor.New(in.s.program.Target.Stored(t.DType), shape...)
	}
	return in.raw[v]
}

// host is a value in host memory.
func (in *instance) host(v int) *tensor.Tensor {
	if t := in.vals[v]; t != nil {
		return t
	}
	if t := in.rt.Known[v]; t != nil {
		return t
	}
	if c := in.fn.Values[v].Const; c >= 0 {
		return in.s.program.Consts[c].Data
	}
	return nil
}

// show gives an observer the values of a step, downloading those that only the device has.
func (in *instance) show(st *plan.Step, obs *runtime.Observer) error {
	if obs.Value == nil {
		return nil
	}
	for _, v := range st.Out {
		if v < 0 {
			continue
		}
		t := in.vals[v]
		if t == nil {
			raw := in.rawTensor(v)
			err := in.s.stream.CopyOut(raw.Bytes(), in.memory[in.root[v]])
			if err == nil {
				err = in.s.stream.Synchronize()
			}
			if err == nil {
				t, err = plan.Convert(raw, in.rt.Types[v].DType)
			}
			if err != nil {
				in.broken = true
				return err
			}
		}
		obs.Value(in.fn.Values[v].Name, t)
	}
	return nil
}

// evaluate runs a step by its op's reference evaluation.
func (in *instance) evaluate(ctx context.Context, st *plan.Step) error {
	own := len(st.In) - st.Captures
	ins := make([]*tensor.Tensor, len(st.In))
	for i, v := range st.In {
		if v >= 0 {
			ins[i] = in.host(v)
		}
	}
	ev := &ir.EvalCtx{
		Context: ctx, Attrs: st.Attrs, Ins: ins[:own], Outs: make([]*tensor.Tensor, len(st.Out)),
		Want: make([]bool, len(st.Out)), MaxElems: in.s.opt.MaxElems, OutTypes: make([]ir.Type, len(st.Out)),
	}
	for i, v := range st.Out {
		if v >= 0 {
			ev.Want[i], ev.OutTypes[i] = true, in.fn.Values[v].Type
		}
	}
	if len(st.Subs) > 0 {
		ev.Sub = func(i int, sub []*tensor.Tensor) ([]*tensor.Tensor, error) {
			f := st.Subs[i]
			outs := make([]*tensor.Tensor, len(in.s.program.Funcs[f].Outputs))
			all := append(append(make([]*tensor.Tensor, 0, len(sub)+st.Captures), sub...), ins[own:]...)
			return outs, in.s.bodies.RunFunc(ctx, f, all, outs)
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
		in.vals[v] = ev.Outs[i]
	}
	return nil
}
