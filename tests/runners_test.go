package tests

import (
	"context"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/cuda"
	"github.com/seed-c851cfd2/moec/cuda/emu"
	"github.com/seed-c851cfd2/moec/cuda/session"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/eval"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/passes"
	"github.com/seed-c851cfd2/moec/runtime"
)

// runner runs a graph on inputs in order. It may change the graph.
type runner struct {
	name string
	run  func(ctx context.Context, g *ir.Graph, ins []*tensor.Tensor) ([]*tensor.Tensor, error)
}

// runners are the ways to run a graph that every golden must match on.
var runners = []runner{
	{"interpreter", func(ctx context.Context, g *ir.Graph, ins []*tensor.Tensor) ([]*tensor.Tensor, error) {
		return eval.Run(ctx, g, ins, eval.Options{})
	}},
	{"compiled", func(ctx context.Context, g *ir.Graph, ins []*tensor.Tensor) ([]*tensor.Tensor, error) {
		opts := passes.Default()
		opts.Verify = true
		if _, err := passes.Run(ctx, g, opts); err != nil {
			return nil, err
		}
		p, err := codegen.Compile(ctx, g, codegen.Target{})
		if err != nil {
			return nil, err
		}
		s, err := runtime.New(p, runtime.Options{Threads: 2})
		if err != nil {
			return nil, err
		}
		defer s.Close()
		outs := make([]*tensor.Tensor, len(g.Outputs))
		return outs, s.RunTo(ctx, ins, outs, nil)
	}},
	{"emu", func(ctx context.Context, g *ir.Graph, ins []*tensor.Tensor) ([]*tensor.Tensor, error) {
		return onEmulator(ctx, g, ins, codegen.Target{Device: "cuda"})
	}},
}

// onEmulator compiles a graph for CUDA and runs it on the emulated device, every check on.
func onEmulator(ctx context.Context, g *ir.Graph, ins []*tensor.Tensor, target codegen.Target) ([]*tensor.Tensor, error) {
	opts := passes.Default()
	opts.Verify = true
	if _, err := passes.Run(ctx, g, opts); err != nil {
		return nil, err
	}
	p, err := codegen.Compile(ctx, g, target)
	if err != nil {
		return nil, err
	}
	dev, err := cuda.Emulator{Options: emu.Options{Checks: emu.AllChecks, Seed: 1}, Context: ctx}.Open(0)
	if err != nil {
		return nil, err
	}
	defer dev.Close()
	s, err := session.New(p, dev, session.Options{Separate: true})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	outs := make([]*tensor.Tensor, len(g.Outputs))
	return outs, s.RunTo(ctx, ins, outs, nil)
}
