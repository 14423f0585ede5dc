package main

import (
	"context"
	"fmt"
	"os"
	"sort"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	rt "github.com/seed-c851cfd2/moec/runtime"
)

type profileArgs struct {
	device  string
	model   string
	in      []string
	threads int
	runs    int
	top     int
	trace   string
	seed    uint64
}

func (a *app) profileCommand() *cobra.Command {
	var p profileArgs
	cmd := &cobra.Command{
		Use:   "profile MODEL --in NAME=rand:SHAPE ...",
		Short: "Show where the time goes, node by node under your names",
		Long: "profile times each step of the plan, beside the least time that the machine's peak and bandwidth\n" +
			"(measured here) allow it. Sums of node times do not compare two models: use moec bench\n" +
			"for that. --trace writes events that https://ui.perfetto.dev opens.",
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p.model = args[0]
			return a.profile(cmd.Context(), p)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&p.in, "in", nil, inHelp)
	f.IntVar(&p.threads, "threads", 0, "worker threads; 0: one per processor")
	f.StringVar(&p.device, "device", "cpu", "cpu, emu or cuda")
	f.IntVar(&p.runs, "runs", 10, "runs to average over")
	f.IntVar(&p.top, "top", 30, "how many steps to print; 0: all")
	f.StringVar(&p.trace, "trace", "", "write a Chrome trace of the last run to this file")
	f.Uint64Var(&p.seed, "seed", 1, "seed of rand: inputs")
	a.addHugePages(cmd, "auto")
	a.addLimits(cmd)
	return cmd
}

func (a *app) profile(ctx context.Context, p profileArgs) error {
	a.overrides = inputNames(p.in)
	s, done, err := a.open(ctx, p.model, p.device, p.threads)
	if err != nil {
		return err
	}
	defer done()
	in, err := readInputs(p.in, s, p.seed)
	if err != nil {
		return err
	}
	ins := make([]*tensor.Tensor, len(s.Inputs()))
	for i, port := range s.Inputs() {
		ins[i] = in[port.Name]
	}
	outs := make([]*tensor.Tensor, len(s.Outputs()))
	if err := s.RunTo(ctx, ins, outs, nil); err != nil {
		return withFile(p.model, err)
	}
	took := map[*plan.Step]time.Duration{}
	var order []*plan.Step
	var total time.Duration
	obs := &rt.Observer{Step: func(st *plan.Step, _ time.Time, d time.Duration) {
		if _, ok := took[st]; !ok {
			order = append(order, st)
		}
		took[st] += d
		total += d
	}}
	for range p.runs {
		if err := s.RunTo(ctx, ins, outs, obs); err != nil {
			return err
		}
	}
	if p.trace != "" {
		if err := writeTrace(ctx, s, ins, outs, p.trace); err != nil {
			return err
		}
		a.logf("trace: %s (open it at https://ui.perfetto.dev)", p.trace)
	}
	var roof map[*plan.Step]time.Duration
	if cs, ok := s.(*rt.Session); ok {
		peaks, err := cs.Peaks(ins, peakTime)
		if err != nil {
			return err
		}
		if roof, err = cs.Roof(ins, peaks); err != nil {
			return err
		}
		a.logf("roof: %.0f GFLOP/s (f32), %.0f GFLOP/s (%s weights), %.0f GB/s reading %.0f MB", peaks.F32, peaks.Packed, peaks.Precision, peaks.Read, float64(peaks.ReadBytes)/1e6)
	}
	sort.SliceStable(order, func(i, j int) bool { return took[order[i]] > took[order[j]] })
	w := tabwriter.NewWriter(a.out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "ms\tshare\troof ms\tof roof\tkernel\top\tnodes")
	for i, st := range order {
		if p.top > 0 && i == p.top {
			fmt.Fprintf(w, "\t\t\t\t\t\t(%d more steps; --top 0 shows all)\n", len(order)-i)
			break
		}
		ms := float64(took[st].Nanoseconds()) / 1e6 / float64(p.runs)
		fmt.Fprintf(w, "%.3f\t%.1f%%\t%s\t%s\t%s\t%s\n", ms, 100*float64(took[st])/float64(total), ofRoof(roof, st, ms), st.Kernel, st.Op, strings.Join(st.Origin, " "))
	}
	least := 0.0
	for _, d := range roof {
		least += float64(d.Nanoseconds()) / 1e6
	}
	ms := float64(total.Nanoseconds()) / 1e6 / float64(p.runs)
	fmt.Fprintf(w, "%.3f\t100%%\t%s\ttotal\t\t%d steps\n", ms, shareOf(least, ms, roof != nil), len(order))
	if err := w.Flush(); err != nil {
		return err
	}
	if q, ok := roofError(took, roof, p.runs); ok {
		fmt.Fprintf(a.out, "model: measured over roof, by time: a tenth below %.2f, half below %.2f, nine tenths below %.2f\n", q[0], q[1], q[2])
	}
	return nil
}

// roofError is how far the roof is from the truth as a model of time: of the ratios of
// measured time to roof, the quantiles .1, .5 and .9, each step weighing its time.
func roofError(took, roof map[*plan.Step]time.Duration, runs int) (q [3]float64, ok bool) {
	type ratio struct{ value, weight float64 }
	var all []ratio
	total := 0.0
	for st, d := range took {
		if r := roof[st]; r > 0 && d > 0 {
			all = append(all, ratio{float64(d) / float64(runs) / float64(r), float64(d)})
			total += float64(d)
		}
	}
	sort.Slice(all, func(i, j int) bool { return all[i].value < all[j].value })
	for i, share := range []float64{.1, .5, .9} {
		sum := 0.0
		for _, r := range all {
			if sum += r.weight; sum >= share*total {
				q[i] = r.value
				break
			}
		}
	}
	return q, len(all) > 0
}

// ofRoof is the predicted time of a step, and its share of the measured one.
func ofRoof(roof map[*plan.Step]time.Duration, st *plan.Step, ms float64) string {
	d, ok := roof[st]
	return shareOf(float64(d.Nanoseconds())/1e6, ms, ok)
}

func shareOf(least, ms float64, known bool) string {
	if !known || ms == 0 {
		return "-\t-"
	}
	return fmt.Sprintf("%.3f\t%.0f%%", least, 100*least/ms)
}

func writeTrace(ctx context.Context, s runner, ins, outs []*tensor.Tensor, path string) error {
	t := rt.NewTrace()
	if err := s.RunTo(ctx, ins, outs, t.Observer()); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := t.Write(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
