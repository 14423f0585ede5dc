package main

import (
	"context"
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/onnx"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/passes"
	"github.com/seed-c851cfd2/moec/passes/convert"
)

type convertArgs struct {
	model, out string
	opt        convert.Options
	export     string
	dryRun     bool
	json       bool
}

func (a *app) convertCommand() *cobra.Command {
	var c convertArgs
	cmd := &cobra.Command{
		Use:   "convert DENSE.onnx -o SPARSE.onnx --to sigma-moe|pkm|topk",
		Short: "Turn the dense MLPs of a model into sparse ones",
		Long: "convert replaces each dense two-layer MLP by a sparse form. It works from the weights alone: hidden\n" +
			"units are clustered into experts by their first-layer weights, and an expert is chosen by the sum of its\n" +
			"units' pre-activations. The receipt lists every MLP as rewritten or left, with the reason: an MLP whose\n" +
			"experts would take longer than it does stays dense, unless --experts or --k ask for them.",
		Example: "  moec convert dense.onnx -o sparse.onnx --to sigma-moe --keep 0.25\n" +
			"  moec convert dense.onnx -o sparse.onnx --to topk --k 64 --json",
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.model = args[0]
			if c.out == "" && !c.dryRun {
				return usagef(cmd, "give the file to write with -o, or --dry-run")
			}
			for _, f := range []string{"experts", "k"} {
				if n, _ := cmd.Flags().GetInt(f); cmd.Flags().Changed(f) && n < 1 {
					name := map[string]string{"experts": "experts", "k": "K"}[f]
					return withFile(c.model, fmt.Errorf("%w: %s is %d, want at least 1 (--%s)", ir.ErrShape, name, n, f))
				}
			}
			// Who gives the sizes wants them; sizes that follow --keep must pay.
			c.opt.Faster = !cmd.Flags().Changed("experts") && !cmd.Flags().Changed("k")
			return a.convert(cmd.Context(), c)
		},
	}
	f := cmd.Flags()
	f.StringVarP(&c.out, "output", "o", "", "the ONNX file to write")
	f.StringVar(&c.opt.To, "to", convert.ToSigmaMoE, "sigma-moe, pkm or topk")
	f.IntVar(&c.opt.Experts, "experts", 0, "experts per MLP (default: experts of about 16 units, fewer in small MLPs)")
	f.IntVar(&c.opt.K, "k", 0, "experts (sigma-moe) or units (topk, pkm) kept per token (default: by --keep)")
	f.Float64Var(&c.opt.Keep, "keep", 0.25, "share of the hidden units kept per token")
	f.StringArrayVar(&c.opt.Exclude, "exclude", nil, "leave the MLP with this node name as it is")
	f.Uint64Var(&c.opt.Seed, "seed", 1, "seed of the clustering")
	f.StringVar(&c.export, "export", "portable", "bodies of the sparse ops for other runtimes: portable, gather or ort")
	f.BoolVar(&c.dryRun, "dry-run", false, "print the receipt and write nothing")
	f.BoolVar(&c.json, "json", false, "print JSON")
	a.addLimits(cmd)
	return cmd
}

func (a *app) convert(ctx context.Context, c convertArgs) error {
	g, err := a.loadGraph(ctx, c.model)
	if err != nil {
		return err
	}
	c.opt.Eval = a.interpret
	receipt, err := convert.Run(ctx, g, c.opt)
	if err != nil {
		return withFile(c.model, err)
	}
	if !c.dryRun {
		if err := a.saveONNX(ctx, g, c.out, c.export); err != nil {
			return withFile(c.out, err)
		}
	}
	if c.json {
		return json.NewEncoder(a.out).Encode(receipt)
	}
	return a.printReceipt(receipt)
}

// saveONNX writes a graph as ONNX: fused ops spelled out, the family as functions with
// the chosen bodies.
func (a *app) saveONNX(ctx context.Context, g *ir.Graph, path, body string) error {
	ok := false
	for _, b := range ops.Bodies() {
		ok = ok || string(b) == body
	}
	if !ok {
		return fmt.Errorf("--export %q: choose portable, gather or ort", body)
	}
	if _, err := passes.Run(ctx, g, passes.Options{Pipeline: []passes.Pass{passes.Unfuse(), passes.Dead()}}); err != nil {
		return err
	}
	return onnx.Save(ctx, g, path, onnx.ExportOptions{Body: func(g *ir.Graph, n *ir.Node) ([]*ir.Value, error) {
		return ops.ExpandBody(ops.Body(body), g, n)
	}})
}

func (a *app) printReceipt(r *convert.Receipt) error {
	w := tabwriter.NewWriter(a.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "mlp\taction\thidden kept\tparameters\tFLOPs/token\terror\treason")
	for _, m := range r.MLPs {
		e := "-"
		if m.Error != nil {
			e = fmt.Sprintf("%.3f", *m.Error)
		}
		fmt.Fprintf(w, "%s\t%s\t%.1f%%\t%d to %d\t%d to %d\t%s\t%s\n", m.Name, m.Action, 100*m.HiddenShare, m.Params[0], m.Params[1], m.FLOPs[0], m.FLOPs[1], e, m.Reason)
	}
	fmt.Fprintf(w, "\ncalibration: %s\n", r.Calibration)
	if r.ErrorMeans != "" {
		fmt.Fprintf(w, "error: %s\n", r.ErrorMeans)
	}
	return w.Flush()
}
