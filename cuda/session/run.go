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

// run does the operations of the instance once.
func (in *instance) run(ctx context.Context, ins, outs []*tensor.Tensor, obs *runtime.Observer) error {
	defer clear(in.vals)
	for i, v := range in.fn.Inputs {
		in.vals[v] = ins[i]
	}
	for i := range in.ops {
		if err := ctx.Err(); err != nil {
			return err
		}
		op := &in.ops[i]
		start := time.Now()
		if err := in.do(ctx, op); err != nil {
			in.s.stream.Synchronize()
			if op.step != nil {
				return runtime.StepError(op.step, err)
			}
			return err
		}
		if obs == nil || op.step == nil {
			continue
		}
		if err := in.s.stream.Synchronize(); err != nil {
			return runtime.StepError(op.step, err)
		}
		if obs.Step != nil {
			obs.Step(op.step, start, time.Since(start))
		}
		if err := in.show(op.step, obs); err != nil {
			return err
		}
	}
	if err := in.s.stream.Synchronize(); err != nil {
		return err
	}
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
			var err error
			if t, err = in.download(v); err != nil {
				return err
			}
		}
		obs.Value(in.fn.Values[v].Name, t)
	}
	return nil
}

// download copies a value to the host and waits for it.
func (in *instance) download(v int) (*tensor.Tensor, error) {
	t := in.rt.Types[v]
	shape, _ := t.Static()
	raw := tensor.New(in.s.program.Target.Stored(t.DType), shape...)
	if len(raw.Bytes()) > 0 {
		if err := in.s.stream.CopyOut(raw.Bytes(), in.memory[in.root[v]]); err != nil {
			return nil, err
		}
	}
	if err := in.s.stream.Synchronize(); err != nil {
		return nil, err
	}
	return plan.Convert(raw, t.DType)
}

func (in *instance) do(ctx context.Context, op *operation) error {
	switch op.kind {
	case opUpload:
		t, err := in.s.stored(in.vals[op.v])
		if err != nil || len(t.Bytes()) == 0 {
			return err
		}
		if err := in.s.stream.CopyIn(in.memory[op.v], t.Bytes()); err != nil {
			return err
		}
		if t != in.vals[op.v] { // the converted copy must outlive the transfer
			return in.s.stream.Synchronize()
		}
		return nil
	case opDownload:
		t, err := in.download(op.v)
		in.vals[op.v] = t
		return err
	case opHostView:
		shape, ok := in.rt.Types[op.v].Static()
		if !ok {
			return fmt.Errorf("%w: the shape of %q stays open", ir.ErrShape, in.fn.Values[op.v].Name)
		}
		in.vals[op.v] = in.vals[op.src].Reshape(shape...)
		return nil
	case opHost:
		return in.evaluate(ctx, op.step)
	}
	for _, c := range op.calls {
		if err := in.s.stream.Launch(c); err != nil {
			return err
		}
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
