package main

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/seed-c851cfd2/moec/ir/tensor"
	rt "github.com/seed-c851cfd2/moec/runtime"
)

type benchArgs struct {
	models  []string
	in      []string
	threads int
	seconds float64
	json    bool
	seed    uint64
	device  string
}

func (a *app) benchCommand() *cobra.Command {
	var b benchArgs
	cmd := &cobra.Command{
		Use:   "bench MODEL... --in NAME=rand:SHAPE ...",
		Short: "Measure how long models take, side by side",
		Long: "bench runs each model again and again for a while, the models in turn, and prints one row per\n" +
			"model. It always runs the real plan; for time per node see moec profile.",
		Args: rangeArgs(1, -1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b.models = args
			return a.bench(cmd.Context(), b)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&b.in, "in", nil, inHelp)
	f.IntVar(&b.threads, "threads", 0, "worker threads; 0: one per processor")
	f.StringVar(&b.device, "device", "cpu", "cpu, emu or cuda")
	f.Float64Var(&b.seconds, "seconds", 3, "how long to measure each model")
	f.BoolVar(&b.json, "json", false, "print JSON")
	f.Uint64Var(&b.seed, "seed", 1, "seed of rand: inputs")
	a.addHugePages(cmd, "auto")
	a.addLimits(cmd)
	return cmd
}

// peakTime is how long each peak of the machine is measured.
const peakTime = 100 * time.Millisecond

// benchResult is one row.
type benchResult struct {
	File         string  `json:"file"`
	Threads      int     `json:"threads"`
	Runs         int     `json:"runs"`
	Min          float64 `json:"min_ms"`
	P50          float64 `json:"p50_ms"`
	P90          float64 `json:"p90_ms"`
	P99          float64 `json:"p99_ms"`
	TokensPerSec float64 `json:"tokens_per_s"`
	GFLOPs       float64 `json:"gflops"`
	// Peaks are what the machine does at most; the shares are of the median run: its
	// multiply-adds of the peak, and the least time that the peaks allow its steps
	// (Roof, ms), which counts what a run touches.
	Peaks        *rt.Peaks `json:"peaks,omitempty"`
	PeakShare    float64   `json:"peak_share,omitempty"`
	Roof         float64   `json:"roof_ms,omitempty"`
	RoofShare    float64   `json:"roof_share,omitempty"`
	ArenaBytes   int64     `json:"arena_bytes"`
	WeightBytes  int64     `json:"weight_bytes"`
	AllocsPerRun float64   `json:"allocs_per_run"`
}

func (a *app) bench(ctx context.Context, b benchArgs) error {
	a.overrides = inputNames(b.in)
	threads := b.threads
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	type subject struct {
		s         runner
		ins, outs []*tensor.Tensor
		times     []float64
		res       benchResult
	}
	var subjects []*subject
	for _, file := range b.models {
		s, done, err := a.open(ctx, file, b.device, b.threads)
		if err != nil {
			return err
		}
		defer done()
		in, err := readInputs(b.in, s, b.seed)
		if err != nil {
			return err
		}
		sub := &subject{s: s, outs: make([]*tensor.Tensor, len(s.Outputs())), res: benchResult{File: file, Threads: threads}}
		for _, p := range s.Inputs() {
			t := in[p.Name]
			if t == nil {
				return withFile(file, fmt.Errorf("input %q (%s) is missing: give --in %s=@FILE or %s=rand:SHAPE", p.Name, p.Type, p.Name, p.Name))
			}
			sub.ins = append(sub.ins, t)
		}
		for range 2 { // the first run prepares the shape
			if err := s.RunTo(ctx, sub.ins, sub.outs, nil); err != nil {
				return withFile(file, err)
			}
		}
		subjects = append(subjects, sub)
	}
	for _, sub := range subjects {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range 5 {
			if err := sub.s.RunTo(ctx, sub.ins, sub.outs, nil); err != nil {
				return err
			}
		}
		runtime.ReadMemStats(&after)
		sub.res.AllocsPerRun = float64(after.Mallocs-before.Mallocs) / 5
	}
	deadline := time.Now().Add(time.Duration(b.seconds * float64(time.Second) * float64(len(subjects))))
	for time.Now().Before(deadline) || len(subjects[0].times) < 3 {
		for _, sub := range subjects { // in turn, so that all see the same machine
			start := time.Now()
			if err := sub.s.RunTo(ctx, sub.ins, sub.outs, nil); err != nil {
				return err
			}
			sub.times = append(sub.times, float64(time.Since(start).Nanoseconds())/1e6)
		}
	}
	results := make([]benchResult, len(subjects))
	for i, sub := range subjects {
		slices.Sort(sub.times)
		q := func(p float64) float64 { return sub.times[int(p*float64(len(sub.times)-1))] }
		r := &sub.res
		r.Runs, r.Min, r.P50, r.P90, r.P99 = len(sub.times), sub.times[0], q(.5), q(.9), q(.99)
		st, err := sub.s.Stats(sub.ins)
		if err != nil {
			return err
		}
		r.ArenaBytes, r.WeightBytes = st.ArenaBytes, st.WeightBytes
		r.GFLOPs = float64(st.FLOPs) / r.P50 / 1e6
		if cs, ok := sub.s.(*rt.Session); ok {
			peaks, err := cs.Peaks(sub.ins, peakTime)
			if err != nil {
				return err
			}
			r.Peaks = &peaks
			r.PeakShare = float64(st.FLOPs) / r.P50 / 1e6 / peaks.Packed
			roof, err := cs.Roof(sub.ins, peaks)
			if err != nil {
				return err
			}
			for _, d := range roof {
				r.Roof += float64(d.Nanoseconds()) / 1e6
			}
			r.RoofShare = r.Roof / r.P50
		}
		r.TokensPerSec = float64(tokens(sub.ins)) / r.P50 * 1e3
		results[i] = *r
	}
	if b.json {
		return json.NewEncoder(a.out).Encode(map[string]any{"results": results})
	}
	w := tabwriter.NewWriter(a.out, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "file\tthreads\truns\tmin ms\tp50\tp90\tp99\ttokens/s\tGFLOP/s\tarena MB\tweights MB\tallocs/run\t")
	for _, r := range results {
		fmt.Fprintf(w, "%s\t%d\t%d\t%.3f\t%.3f\t%.3f\t%.3f\t%.0f\t%.1f\t%.1f\t%.1f\t%.0f\t\n", r.File, r.Threads, r.Runs,
			r.Min, r.P50, r.P90, r.P99, r.TokensPerSec, r.GFLOPs, float64(r.ArenaBytes)/1e6, float64(r.WeightBytes)/1e6, r.AllocsPerRun)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, r := range results {
		if p := r.Peaks; p != nil {
			fmt.Fprintf(a.out, "%s: median run at %.0f%% of the %s peak of %.0f GFLOP/s, and at %.0f%% of its roof (%.3f ms; %.0f GB/s reading %.0f MB)\n",
				r.File, 100*r.PeakShare, p.Precision, p.Packed, 100*r.RoofShare, r.Roof, p.Read, float64(p.ReadBytes)/1e6)
		}
	}
	return nil
}

// tokens counts the positions of the first input with a batch and a length: [rows,
// length] of ids, [rows, length, features]; other inputs count their rows.
func tokens(ins []*tensor.Tensor) int {
	if len(ins) == 0 || ins[0].Rank() == 0 {
		return 1
	}
	s := ins[0].Shape()
	if len(s) == 2 && ins[0].DType().IsInt() || len(s) == 3 {
		return s[0] * s[1]
	}
	return s[0]
}
