package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/codegen/cuda"
	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/eval"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/passes"
)

type compileArgs struct {
	model, out string
	target     codegen.Target
	recipe     string
	export     string
	dump       string
	check      bool
	noParity   bool
}

func (a *app) compileCommand() *cobra.Command {
	var c compileArgs
	cmd := &cobra.Command{
		Use:   "compile MODEL.onnx -o OUT.moec",
		Short: "Compile a model file to an artifact (or, with -o X.onnx, to optimised ONNX)",
		Args:  exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.model = args[0]
			if c.out == "" {
				c.out = strings.TrimSuffix(c.model, ".onnx") + ".moec"
			}
			return a.compile(cmd.Context(), c)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&c.out, "output", "o", "", "the artifact to write (default: MODEL.moec); a name in .onnx exports instead")
	f.StringVar(&c.target.Device, "target", "cpu", "cpu or cuda")
	f.StringVar(&c.target.GPU, "gpu", "generic", "GPU the cuda plan is made for: 3090, a100, h100, h200, generic")
	f.StringVar(&c.target.Precision, "precision", "f32", "f32, f16 (cuda), bf16 or int8 (cpu)")
	f.StringVar(&c.recipe, "recipe", "", "recipe (TOML) of approximate rewrites: [[rewrite]] with to, experts, k, keep, seed, exclude")
	f.StringVar(&c.export, "export", "portable", "bodies of moec ops in ONNX: portable, gather or ort")
	f.StringVar(&c.dump, "dump", "", "write the graph after every pass, and one HTML page, into this folder")
	f.BoolVar(&c.check, "check", false, "validate every pass and the final program on random inputs")
	f.BoolVar(&c.noParity, "no-parity", false, "skip the closing comparison with the reference interpreter")
	a.addLimits(cmd)
	return cmd
}

func (a *app) compile(ctx context.Context, c compileArgs) error {
	start := time.Now()
	g, err := a.loadGraph(ctx, c.model)
	if err != nil {
		return err
	}
	imported := passes.CountNodes(g)
	opts := passes.Default()
	var check *passes.Check
	if c.check {
		check = &passes.Check{Seed: 1, Eval: a.interpret}
		opts.Check, opts.Verify = check, true
	}
	recipe, err := readRecipe(c.recipe, a.interpret)
	if err != nil {
		return err
	}
	opts.Pipeline = recipe.insert(opts.Pipeline)
	d, err := newDumper(c.dump)
	if err != nil {
		return err
	}
	defer d.close(a) // also after a failure: the columns so far
	opts.Observe = d.observe()
	rep, err := passes.Run(ctx, g, opts)
	if err != nil {
		return withFile(c.model, err)
	}
	if strings.HasSuffix(c.out, ".onnx") {
		return a.export(ctx, c, g, imported, start)
	}
	p, err := codegen.Compile(ctx, g, c.target)
	if err != nil {
		return withFile(c.model, err)
	}
	if err := d.program(p); err != nil {
		return err
	}
	if p.Source, err = sourceOf(c.model); err != nil {
		return err
	}
	p.Recipe = recipe.text
	for _, r := range rep.Receipts {
		a.logf("%s: %s to %s: %s", strings.Join(r.Origin[:min(1, len(r.Origin))], ""), r.From, r.To, r.Note)
	}
	if len(rep.Receipts) > 0 {
		if p.Receipts, err = json.Marshal(rep.Receipts); err != nil {
			return err
		}
	}
	if err := plan.Save(c.out, p); err != nil {
		return err
	}
	fmt.Fprintf(a.out, "%s: %d nodes to %d steps, %.1f MB of weights, in %s\n", c.out, imported, len(p.Main().Steps), float64(p.WeightBytes())/1e6, time.Since(start).Round(time.Millisecond))
	a.deviceSteps(p)
	if check != nil {
		if err := a.checkProgram(ctx, c, g, check); err != nil {
			os.Remove(c.out) // a program that fails its check is not handed out
			return withFile(c.out, err)
		}
	}
	if c.noParity {
		return nil
	}
	return a.parity(ctx, c)
}

// interpret runs a graph on the reference interpreter, within the command's limits.
func (a *app) interpret(ctx context.Context, g *ir.Graph, ins []*tensor.Tensor) ([]*tensor.Tensor, error) {
	return eval.Run(ctx, g, ins, eval.Options{MaxElems: a.maxElems()})
}

// parity runs the artifact and, on the model as imported, the reference interpreter on
// the same random inputs, and prints how far apart they are.
func (a *app) parity(ctx context.Context, c compileArgs) error {
	g, err := a.loadGraph(ctx, c.model)
	if err != nil {
		return err
	}
	ins, want, err := passes.Sample(ctx, g, a.interpret, 1)
	if err != nil {
		a.logf("parity: not measured: the model does not run on random inputs: %v", err)
		return nil
	}
	device := "cpu"
	if c.target.Device == "cuda" {
		device = "emu"
	}
	s, done, err := a.open(ctx, c.out, device, 0)
	if err != nil {
		return err
	}
	defer done()
	outs := make([]*tensor.Tensor, len(want))
	if err := s.RunTo(ctx, ins, outs, nil); err != nil {
		return withFile(c.out, err)
	}
	worst := difference{Cosine: 1}
	for i, w := range want {
		d := compareTensors(g.Outputs[i].Name, outs[i], w, 0, 0)
		if d.Problem != "" {
			return fmt.Errorf("parity: output %q: %s", d.Name, d.Problem)
		}
		if d.MaxAbs > worst.MaxAbs || worst.Name == "" {
			worst = d
		}
	}
	fmt.Fprintf(a.out, "parity: largest difference %.3g at output %q (cosine %.6f) against the reference interpreter on random inputs %s\n",
		worst.MaxAbs, worst.Name, worst.Cosine, shapesText(g.Inputs, ins))
	return nil
}

// deviceSteps prints what of a program for a device runs where.
func (a *app) deviceSteps(p *plan.Program) {
	if p.Target.Device != "cuda" {
		return
	}
	launches, chosen := 0, 0
	host := map[string]int{}
	var order []string
	for _, st := range p.Main().Steps {
		launches += len(st.Launches)
		if len(st.Variants) > 0 {
			chosen++
		}
		if why, ok := strings.CutPrefix(st.Note, cuda.HostNote); ok && st.Kernel == plan.KernelRef {
			if host[why] == 0 {
				order = append(order, why)
			}
			host[why]++
		}
	}
	fmt.Fprintf(a.out, "cuda: %d launches of %d kernels for %s at %s\n", launches, len(p.Modules), p.Target.GPU, p.Target.Precision)
	if chosen > 0 {
		fmt.Fprintf(a.out, "cuda: steps that have other launches for some sizes: %d (moec inspect --plan shows when)\n", chosen)
	}
	for _, why := range order {
		fmt.Fprintf(a.out, "cuda: %d steps run on the host: %s\n", host[why], why)
	}
}

func shapesText(vs []*ir.Value, ins []*tensor.Tensor) string {
	s := make([]string, len(ins))
	for i, t := range ins {
		s[i] = vs[i].Name + " " + t.String()
	}
	return strings.Join(s, ", ")
}
