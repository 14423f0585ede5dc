package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/seed-c851cfd2/moec/cuda/emu"
	"github.com/seed-c851cfd2/moec/cuda/emu/launchfile"
)

func (a *app) emuCommand() *cobra.Command {
	var seed uint64
	var asJSON, unchecked bool
	cmd := &cobra.Command{
		Use:   "emu KERNEL.ptx LAUNCH.json",
		Short: "Run a PTX launch on the emulated device, checks on",
		Long: "emu executes the PTX text on a device in software, checks every access, barrier and wait, and\n" +
			"compares the outputs with those that LAUNCH.json names. Exit code 3 when they differ.",
		Args: exactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			opt := emu.Options{Seed: seed, Checks: emu.AllChecks}
			if unchecked {
				opt.Checks = 0
			}
			return a.emulate(cmd.Context(), args[0], args[1], opt, asJSON)
		},
	}
	cmd.Flags().Uint64Var(&seed, "seed", 1, "seed of the order in which blocks run")
	cmd.Flags().BoolVar(&unchecked, "no-checks", false, "do not look for races, uninitialised reads and the like")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func (a *app) emulate(ctx context.Context, ptx, launch string, opt emu.Options, asJSON bool) error {
	res, err := launchfile.Run(ctx, ptx, launch, opt)
	if err != nil {
		return err
	}
	if asJSON {
		if err := json.NewEncoder(a.out).Encode(res); err != nil {
			return err
		}
	} else {
		printLaunch(a.out, res)
		for _, o := range res.Outputs {
			mark := "ok"
			if !o.OK() {
				mark = "MISS"
			}
			fmt.Fprintf(a.out, "%s %s: relative error %.3g, allowed %.3g, over %d elements\n", mark, o.Name, o.Error, o.Tolerance, o.Elements)
		}
	}
	if err := res.Err(); err != nil {
		return fmt.Errorf("%w: %w", errMissed, err)
	}
	return nil
}

func printLaunch(out io.Writer, res *launchfile.Result) {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	st := res.Stats
	fmt.Fprintf(w, "kernel\t%s\n", res.Kernel)
	fmt.Fprintf(w, "blocks\t%d of %d warps in all\n", st.Blocks, st.Warps)
	fmt.Fprintf(w, "instructions\t%d by warps, %d by threads\n", st.WarpInstr, st.ThreadInstr)
	fmt.Fprintf(w, "FLOPs\t%d, on tensor cores %d\n", st.Flops, st.TensorFlops)
	fmt.Fprintf(w, "global memory\t%d bytes read, %d written, %d sectors, efficiency %.0f%%\n", st.GlobalLoadBytes, st.GlobalStoreBytes, st.GlobalSectors, 100*st.Efficiency())
	fmt.Fprintf(w, "shared memory\t%d bytes in %d accesses, %d bank conflicts\n", st.SharedBytes, st.SharedAccesses, st.BankConflicts())
	fmt.Fprintf(w, "barriers\t%d\n", st.Barriers)
	for _, g := range emu.GPUs() {
		b := st.Bound(g)
		fmt.Fprintf(w, "bound on %s\t%v, by %s (a projection)\n", g.Name, b.Time, b.Limit)
	}
	w.Flush()
}
