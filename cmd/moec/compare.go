package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/eval"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/ir/tensorio"
	rt "github.com/seed-c851cfd2/moec/runtime"
)

type compareArgs struct {
	models     []string
	in, want   []string
	rtol, atol float64
	perLayer   bool
	threads    int
	device     string
	json       bool
	seed       uint64
}

func (a *app) compareCommand() *cobra.Command {
	var c compareArgs
	cmd := &cobra.Command{
		Use:   "compare A [B] --in ... [--want NAME=@FILE]",
		Short: "Run two models, or one against expected outputs, and show the largest differences",
		Long: "compare runs A and B on the same inputs and compares the outputs they share by name; with --want it\n" +
			"compares A with given tensors. An element passes when |a-b| <= atol + rtol*|b|. Exit code 3 when\n" +
			"one does not. --per-layer runs A (a .onnx) in the reference interpreter and names the first value\n" +
			"at which B (by default A, compiled) diverges.",
		Args: rangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c.models = args
			if len(args) == 1 && len(c.want) == 0 && !c.perLayer {
				return usagef(cmd, "give a second model, --want NAME=@FILE, or --per-layer")
			}
			return a.compare(cmd.Context(), c)
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&c.in, "in", nil, inHelp)
	f.StringArrayVar(&c.want, "want", nil, "an expected output: NAME=@FILE, or @FILE.npz for all of its keys")
	f.Float64Var(&c.rtol, "rtol", 1e-4, "relative tolerance")
	f.Float64Var(&c.atol, "atol", 1e-4, "absolute tolerance")
	f.BoolVar(&c.perLayer, "per-layer", false, "find the first value that diverges")
	f.IntVar(&c.threads, "threads", 0, "worker threads; 0: one per processor")
	f.StringVar(&c.device, "device", "cpu", "where the models run: cpu, emu or cuda")
	f.BoolVar(&c.json, "json", false, "print JSON")
	f.Uint64Var(&c.seed, "seed", 1, "seed of rand: inputs")
	a.addLimits(cmd)
	return cmd
}

// difference compares one output.
type difference struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	OK       bool   `json:"ok"`
	MaxAbs   number `json:"max_abs"`
	MaxRel   number `json:"max_rel"` // relative to the larger of |b| and atol
	MeanAbs  number `json:"mean_abs"`
	Cosine   number `json:"cosine"`
	Misses   int    `json:"misses"`
	Elements int    `json:"elements"`
	At       []int  `json:"at,omitempty"` // index of the largest difference
	A        number `json:"a"`
	B        number `json:"b"`
	Problem  string `json:"problem,omitempty"`
}

// number is a float64 that JSON can hold: NaN and infinities print as null.
type number float64

// MarshalJSON implements json.Marshaler.
func (n number) MarshalJSON() ([]byte, error) {
	if f := float64(n); math.IsNaN(f) || math.IsInf(f, 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

func (a *app) compare(ctx context.Context, c compareArgs) error {
	a.overrides = inputNames(c.in)
	if c.perLayer {
		return a.comparePerLayer(ctx, c)
	}
	got, ports, err := a.runFor(ctx, c, c.models[0])
	if err != nil {
		return err
	}
	want := map[string]*tensor.Tensor{}
	if len(c.models) == 2 {
		if want, _, err = a.runFor(ctx, c, c.models[1]); err != nil {
			return err
		}
	}
	for _, w := range c.want {
		if err := readWant(want, w); err != nil {
			return err
		}
	}
	var rows []difference
	for _, p := range ports {
		if w := want[p.Name]; w != nil {
			rows = append(rows, compareTensors(p.Name, got[p.Name], w, c.rtol, c.atol))
			delete(want, p.Name)
		} else if len(c.models) == 2 {
			rows = append(rows, difference{Name: p.Name, Type: got[p.Name].String(), Problem: "only the first model has this output"})
		}
	}
	for name := range want {
		rows = append(rows, difference{Name: name, Problem: "the first model has no such output"})
	}
	return a.reportDifferences(rows, c.json)
}

func (a *app) runFor(ctx context.Context, c compareArgs, model string) (map[string]*tensor.Tensor, []rt.Port, error) {
	s, done, err := a.open(ctx, model, c.device, c.threads)
	if err != nil {
		return nil, nil, err
	}
	defer done()
	in, err := readInputs(c.in, s, c.seed)
	if err != nil {
		return nil, nil, err
	}
	outs, err := s.Run(ctx, in)
	return outs, s.Outputs(), withFile(model, err)
}

func readWant(want map[string]*tensor.Tensor, arg string) error {
	if file, ok := strings.CutPrefix(arg, "@"); ok {
		list, err := tensorio.ReadFile(file, maxInputBytes)
		if err != nil {
			return err
		}
		for _, e := range list {
			want[e.Name] = e.Tensor
		}
		return nil
	}
	i := strings.LastIndex(arg, "=@")
	if i < 0 {
		return fmt.Errorf("--want %q: want NAME=@FILE or @FILE.npz", arg)
	}
	t, err := readTensor(arg[i+2:])
	if err != nil {
		return fmt.Errorf("--want %s: %w", arg[:i], err)
	}
	want[arg[:i]] = t
	return nil
}

func (a *app) reportDifferences(rows []difference, asJSON bool) error {
	missed := len(rows) == 0
	for _, r := range rows {
		missed = missed || !r.OK
	}
	if asJSON {
		if err := json.NewEncoder(a.out).Encode(map[string]any{"ok": !missed, "outputs": rows}); err != nil {
			return err
		}
	} else {
		w := tabwriter.NewWriter(a.out, 0, 4, 2, ' ', 0)
		fmt.Fprintln(w, "\toutput\ttype\tmax abs\tmax rel\tmean abs\tcosine\toutside\tworst at")
		for _, r := range rows {
			mark := "ok"
			if !r.OK {
				mark = "MISS"
			}
			if r.Problem != "" {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", mark, r.Name, r.Type, r.Problem)
				continue
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%.3g\t%.3g\t%.3g\t%.6f\t%d of %d\t%v: %.6g, want %.6g\n", mark, r.Name, r.Type, r.MaxAbs, r.MaxRel, r.MeanAbs, r.Cosine, r.Misses, r.Elements, r.At, r.A, r.B)
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
	if missed {
		if len(rows) == 0 {
			return fmt.Errorf("%w: there is no output to compare", errMissed)
		}
		return fmt.Errorf("%w: outputs differ by more than the tolerance", errMissed)
	}
	return nil
}

// compareTensors compares elementwise; NaN equals NaN, infinities equal themselves.
func compareTensors(name string, got, want *tensor.Tensor, rtol, atol float64) difference {
	d := difference{Name: name, Type: got.String(), Elements: got.Len()}
	if fmt.Sprint(got.Shape()) != fmt.Sprint(want.Shape()) {
		d.Problem = fmt.Sprintf("shape %v, want %v", got.Shape(), want.Shape())
		return d
	}
	if got.DType() == tensor.String || want.DType() == tensor.String {
		d.OK = got.DType() == want.DType() && tensor.Equal(got, want)
		if !d.OK {
			d.Problem = "strings differ"
		}
		return d
	}
	x, err1 := widened(got)
	y, err2 := widened(want)
	if err1 != nil || err2 != nil {
		d.Problem = "element types cannot be compared: " + got.String() + ", " + want.String()
		return d
	}
	var sum, dot, xx, yy float64
	worst := -1.0
	for i := range x {
		e := math.Abs(x[i] - y[i])
		if x[i] == y[i] || x[i] != x[i] && y[i] != y[i] {
			e = 0
		} else if e != e {
			e = math.Inf(1)
		}
		if e > 0 && !(e <= atol+rtol*math.Abs(y[i])) {
			d.Misses++
		}
		sum += e
		if p := x[i] * y[i]; !math.IsNaN(p) && !math.IsInf(p, 0) {
			dot, xx, yy = dot+p, xx+x[i]*x[i], yy+y[i]*y[i]
		}
		if e > 0 {
			d.MaxRel = max(d.MaxRel, number(e/max(math.Abs(y[i]), atol, 1e-30)))
		}
		if e > worst {
			worst = e
			d.MaxAbs, d.A, d.B, d.At = number(e), number(x[i]), number(y[i]), unravel(i, got.Shape())
		}
	}
	d.Cosine = 1
	if xx > 0 && yy > 0 {
		d.Cosine = number(dot / math.Sqrt(xx*yy))
	}
	if len(x) > 0 {
		d.MeanAbs = number(sum / float64(len(x)))
	}
	d.OK = d.Misses == 0
	return d
}

func widened(t *tensor.Tensor) ([]float64, error) {
	w, err := tensorio.Widen(t)
	if err != nil {
		return nil, err
	}
	return w.Float64s()
}

func unravel(i int, shape []int) []int {
	at := make([]int, len(shape))
	for d := len(shape) - 1; d >= 0; d-- {
		at[d] = i % shape[d]
		i /= shape[d]
	}
	return at
}

// comparePerLayer runs the compiled model keeping its values by name, then interprets
// the model as imported and compares value by value, in its own order.
func (a *app) comparePerLayer(ctx context.Context, c compareArgs) error {
	g, err := a.loadGraph(ctx, c.models[0])
	if err != nil {
		return err
	}
	s, done, err := a.open(ctx, c.models[len(c.models)-1], c.device, c.threads)
	if err != nil {
		return err
	}
	defer done()
	in, err := readInputs(c.in, s, c.seed)
	if err != nil {
		return err
	}
	ins := make([]*tensor.Tensor, len(s.Inputs()))
	for i, p := range s.Inputs() {
		ins[i] = in[p.Name]
	}
	values := map[string]*tensor.Tensor{}
	obs := &rt.Observer{Value: func(name string, t *tensor.Tensor) { values[name] = t.Clone() }}
	if err := s.RunTo(ctx, ins, make([]*tensor.Tensor, len(s.Outputs())), obs); err != nil {
		return withFile(c.models[0], err)
	}
	gin := make([]*tensor.Tensor, len(g.Inputs))
	for i, v := range g.Inputs {
		if gin[i] = in[v.Name]; gin[i] == nil {
			return fmt.Errorf("%w: input %q is missing", ir.ErrInput, v.Name)
		}
	}
	var first *difference
	var firstNode *ir.Node
	compared := 0
	_, err = eval.Run(ctx, g, gin, eval.Options{MaxElems: a.maxElems(), Observe: func(v *ir.Value, t *tensor.Tensor) {
		got := values[v.Name]
		if got == nil || first != nil {
			return
		}
		compared++
		if d := compareTensors(v.Name, got, t, c.rtol, c.atol); !d.OK {
			first, firstNode = &d, v.Def
		}
	}})
	if err != nil {
		return withFile(c.models[0], err)
	}
	if first == nil {
		fmt.Fprintf(a.out, "no value diverges: %d values of the compiled model match the interpreter\n", compared)
		return nil
	}
	fmt.Fprintf(a.out, "first divergence after %d matching values: %q, made by node %q (%s)\n", compared-1, first.Name, strings.Join(firstNode.Origin, "+"), firstNode.Op)
	return a.reportDifferences([]difference{*first}, false)
}
