package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/cuda"
	"github.com/seed-c851cfd2/moec/cuda/emu"
	"github.com/seed-c851cfd2/moec/cuda/nvidia"
	"github.com/seed-c851cfd2/moec/cuda/session"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/ir/tensorio"
	"github.com/seed-c851cfd2/moec/runtime"
)

type runArgs struct {
	model   string
	in      []string
	out     string
	threads int
	device  string
	seed    uint64
}

func (a *app) runCommand() *cobra.Command {
	var r runArgs
	cmd := &cobra.Command{
		Use:   "run MODEL --in NAME=@FILE ... [--out DIR|FILE.npz]",
		Short: "Run a .onnx or .moec on given inputs",
		Example: "  moec run m.onnx --in ids=@ids.npy --out result.npz\n" +
			"  moec run m.moec --in input_ids=rand:1x16 --in attention_mask=rand:1x16",
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.model = args[0]
			return a.run(cmd.Context(), r)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&r.in, "in", nil, inHelp)
	f.StringVar(&r.out, "out", "", "write outputs: a folder for NAME.npy files, or FILE.npz")
	f.IntVar(&r.threads, "threads", 0, "worker threads; 0: one per processor")
	f.StringVar(&r.device, "device", "cpu", "cpu, emu or cuda")
	f.Uint64Var(&r.seed, "seed", 1, "seed of rand: inputs")
	a.addHugePages(cmd, "off")
	a.addLimits(cmd)
	return cmd
}

func (a *app) run(ctx context.Context, r runArgs) error {
	a.overrides = inputNames(r.in)
	s, done, err := a.open(ctx, r.model, r.device, r.threads)
	if err != nil {
		return err
	}
	defer done()
	in, err := readInputs(r.in, s, r.seed)
	if err != nil {
		return err
	}
	outs, err := s.Run(ctx, in)
	if err != nil {
		return withFile(r.model, err)
	}
	var list []tensorio.Named
	for _, p := range s.Outputs() {
		list = append(list, tensorio.Named{Name: p.Name, Tensor: outs[p.Name]})
	}
	if r.out != "" {
		return writeOutputs(r.out, list)
	}
	for _, o := range list {
		fmt.Fprintf(a.out, "%s: %s\n", o.Name, summary(o.Tensor))
	}
	return nil
}

// runner is a model opened on some device.
type runner interface {
	Inputs() []runtime.Port
	Outputs() []runtime.Port
	// IndexBounds are the lengths of the tables that integer inputs index, by position.
	IndexBounds() map[int]int
	Run(ctx context.Context, in map[string]*tensor.Tensor) (map[string]*tensor.Tensor, error)
	RunTo(ctx context.Context, ins, outs []*tensor.Tensor, obs *runtime.Observer) error
	Stats(ins []*tensor.Tensor) (runtime.Stats, error)
}

// open prepares a model for a device by name.
func (a *app) open(ctx context.Context, model, device string, threads int) (runner, func(), error) {
	if device == "" || device == "cpu" {
		return a.session(ctx, model, threads)
	}
	drv, separate, err := driver(ctx, device)
	if err != nil {
		return nil, nil, err
	}
	dev, err := drv.Open(0)
	if err != nil {
		return nil, nil, err
	}
	p, err := a.program(ctx, model, codegen.Target{Device: "cuda"})
	if err != nil {
		dev.Close()
		return nil, nil, err
	}
	s, err := session.New(p, dev, session.Options{MaxElems: a.maxElems(), Separate: separate})
	if err != nil {
		p.Close()
		dev.Close()
		return nil, nil, withFile(model, err)
	}
	return s, func() { s.Close(); dev.Close(); p.Close() }, nil
}

// driver finds the driver of a device by name; separate says that values should not share memory there, because
// it checks every access.
func driver(ctx context.Context, device string) (drv cuda.Driver, separate bool, err error) {
	switch device {
	case "emu":
		return cuda.Emulator{Options: emu.Options{Seed: 1, Checks: emu.AllChecks}, Context: ctx}, true, nil
	case "cuda":
		return nvidia.Driver{}, false, nil
	}
	return nil, false, fmt.Errorf("%w: this build has no device %q; moec devices lists what is there", errNoDevice, device)
}
