package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

type inspectArgs struct {
	model        string
	json, verify bool
	plan         bool
	shapes       []string
}

func (a *app) inspectCommand() *cobra.Command {
	var i inspectArgs
	cmd := &cobra.Command{
		Use:   "inspect MODEL",
		Short: "Show a model's inputs, outputs, operators, size, and what is unsupported",
		Args:  exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			i.model = args[0]
			return a.inspect(cmd.Context(), i)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&i.json, "json", false, "print JSON")
	f.BoolVar(&i.verify, "verify", false, "check the SHA-256 of every part of a .moec")
	f.BoolVar(&i.plan, "plan", false, "print the program of a .moec")
	f.StringArrayVar(&i.shapes, "dim", nil, "size of a named dimension for the FLOP count: NAME=SIZE")
	a.addLimits(cmd)
	return cmd
}

// inspection is what inspect prints.
type inspection struct {
	File        string           `json:"file"`
	Kind        string           `json:"kind"` // "onnx" or "moec"
	Inputs      []portInfo       `json:"inputs"`
	Outputs     []portInfo       `json:"outputs"`
	Ops         map[string]int   `json:"ops"`
	Kernels     map[string]int   `json:"kernels,omitempty"`
	Nodes       int              `json:"nodes"`
	Parameters  int64            `json:"parameters"`
	WeightBytes int64            `json:"weight_bytes"`
	FLOPs       *int64           `json:"flops,omitempty"`
	Dims        map[string]int64 `json:"dims,omitempty"`
	MLPs        []mlpInfo        `json:"mlps"`
	Unsupported []string         `json:"unsupported"`
	Manifest    map[string]any   `json:"manifest,omitempty"`
}

type portInfo struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

func (a *app) inspect(ctx context.Context, i inspectArgs) error {
	var in *inspection
	var err error
	if strings.HasSuffix(i.model, ".moec") {
		if i.verify {
			if err := plan.VerifyFile(i.model); err != nil {
				return err
			}
			a.logf("%s: every part has the SHA-256 that the manifest gives", i.model)
		}
		p, err := plan.Open(i.model, a.ops)
		if err != nil {
			return err
		}
		defer p.Close()
		if i.plan {
			return plan.Print(a.out, p)
		}
		in = inspectProgram(i.model, p)
	} else {
		if i.verify || i.plan {
			return fmt.Errorf("--verify and --plan are for .moec files")
		}
		if in, err = a.inspectModel(ctx, i); in == nil {
			return err
		}
	}
	if i.json {
		if e := json.NewEncoder(a.out).Encode(in); e != nil {
			return e
		}
		return err
	}
	a.printInspection(in)
	return err
}

func (a *app) inspectModel(ctx context.Context, i inspectArgs) (*inspection, error) {
	in := &inspection{File: i.model, Kind: "onnx", Ops: map[string]int{}, MLPs: []mlpInfo{}, Unsupported: []string{}}
	if st, err := os.Stat(i.model); err == nil {
		in.WeightBytes = st.Size()
	}
	g, err := a.loadGraph(ctx, i.model)
	if err != nil {
		if !errors.Is(err, ir.ErrUnsupportedOp) && !errors.Is(err, ir.ErrUnsupportedType) {
			return nil, err
		}
		in.Unsupported = strings.Split(err.Error(), "\n")
		return in, err
	}
	in.Inputs, in.Outputs = portsOf(g.Inputs), portsOf(g.Outputs)
	in.WeightBytes = 0
	seen := map[*tensor.Tensor]bool{}
	countGraph(g, in, seen)
	dims, err := parseDims(i.shapes)
	if err != nil {
		return nil, err
	}
	in.Dims, in.FLOPs = dims, flopsAt(g, dims)
	in.MLPs, err = a.findMLPs(ctx, g)
	return in, err
}

// countGraph adds up ops and constants, subgraphs included.
func countGraph(g *ir.Graph, in *inspection, seen map[*tensor.Tensor]bool) {
	for _, v := range g.Values() {
		if v.IsConst() && !seen[v.Const] {
			seen[v.Const] = true
			in.WeightBytes += int64(len(v.Const.Bytes()))
			if v.Const.DType().IsFloat() {
				in.Parameters += int64(v.Const.Len())
			}
		}
	}
	for _, n := range g.Nodes {
		in.Ops[n.Op.String()]++
		in.Nodes++
		for _, s := range n.Subgraphs {
			countGraph(s, in, seen)
		}
	}
}

func portsOf(vs []*ir.Value) []portInfo {
	out := []portInfo{}
	for _, v := range vs {
		out = append(out, portInfo{v.Name, v.Type.String()})
	}
	return out
}

func parseDims(args []string) (map[string]int64, error) {
	dims := map[string]int64{}
	for _, s := range args {
		name, size, ok := strings.Cut(s, "=")
		var n int64
		if _, err := fmt.Sscan(size, &n); !ok || err != nil || n < 0 {
			return nil, fmt.Errorf("--dim %q: want NAME=SIZE", s)
		}
		dims[name] = n
	}
	return dims, nil
}

// flopsAt counts the work of one run with every named dim at the given size (1 where
// none is given); nil when some shape stays unknown.
func flopsAt(g *ir.Graph, dims map[string]int64) *int64 {
	was := make([]ir.Type, len(g.Inputs))
	for i, v := range g.Inputs {
		was[i] = v.Type
		shape := make([]ir.Dim, len(v.Type.Shape))
		for j, d := range v.Type.Shape {
			if !d.IsKnown() {
				n, ok := dims[d.Name]
				if !ok {
					n = 1
					if d.Name != "" {
						dims[d.Name] = 1
					}
				}
				d = ir.Known(n)
			}
			shape[j] = d
		}
		v.Type.Shape = shape
	}
	defer func() {
		for i, v := range g.Inputs {
			v.Type = was[i]
		}
		ir.Infer(g)
	}()
	if ir.Infer(g) != nil {
		return nil
	}
	var total int64
	for _, n := range g.Nodes {
		c := &ir.CostCtx{Attrs: n.Attrs}
		for _, v := range n.Inputs[:len(n.Inputs)-n.Captures] {
			t := ir.Type{}
			if v != nil {
				t = v.Type
			}
			c.Ins = append(c.Ins, t)
		}
		for _, v := range n.Outputs {
			t := ir.Type{}
			if v != nil {
				t = v.Type
				if _, ok := t.Static(); !ok {
					return nil
				}
			}
			c.Outs = append(c.Outs, t)
		}
		total += ir.CostOf(n.Op, c).FLOPs
	}
	return &total
}

func inspectProgram(path string, p *plan.Program) *inspection {
	in := &inspection{
		File: path, Kind: "moec", Ops: map[string]int{}, Kernels: map[string]int{}, MLPs: []mlpInfo{}, Unsupported: []string{},
		WeightBytes: p.WeightBytes(), Parameters: int64(parameters(p)),
		Manifest: map[string]any{"producer": p.Producer, "source": p.Source, "target": p.Target},
	}
	main := p.Main()
	for _, v := range main.Inputs {
		in.Inputs = append(in.Inputs, portInfo{main.Values[v].Name, main.Values[v].Type.String()})
	}
	for _, v := range main.Outputs {
		in.Outputs = append(in.Outputs, portInfo{main.Values[v].Name, main.Values[v].Type.String()})
	}
	for _, f := range p.Funcs {
		for _, s := range f.Steps {
			in.Ops[s.Op.String()]++
			in.Kernels[s.Kernel]++
			in.Nodes++
		}
	}
	return in
}

func (a *app) printInspection(in *inspection) {
	w := tabwriter.NewWriter(a.out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "file\t%s (%s)\n", in.File, in.Kind)
	for _, p := range in.Inputs {
		fmt.Fprintf(w, "input\t%s\t%s\n", p.Name, p.Type)
	}
	for _, p := range in.Outputs {
		fmt.Fprintf(w, "output\t%s\t%s\n", p.Name, p.Type)
	}
	fmt.Fprintf(w, "nodes\t%d\n", in.Nodes)
	fmt.Fprintf(w, "parameters\t%d\n", in.Parameters)
	fmt.Fprintf(w, "weights\t%.1f MB\n", float64(in.WeightBytes)/1e6)
	if in.FLOPs != nil {
		fmt.Fprintf(w, "FLOPs\t%.4g\t%s\n", float64(*in.FLOPs), dimText(in.Dims))
	}
	fmt.Fprintf(w, "ops\t%s\n", histogram(in.Ops))
	if len(in.Kernels) > 0 {
		fmt.Fprintf(w, "kernels\t%s\n", histogram(in.Kernels))
	}
	for _, m := range in.MLPs {
		fmt.Fprintf(w, "mlp\t%s\n", m)
	}
	for _, u := range in.Unsupported {
		fmt.Fprintf(w, "unsupported\t%s\n", u)
	}
	w.Flush()
}

func dimText(dims map[string]int64) string {
	var s []string
	for name, n := range dims {
		s = append(s, fmt.Sprintf("%s=%d", name, n))
	}
	sort.Strings(s)
	if len(s) == 0 {
		return ""
	}
	return "at " + strings.Join(s, " ") + " (--dim sets them)"
}

func histogram(m map[string]int) string {
	type kv struct {
		k string
		n int
	}
	var all []kv
	for k, n := range m {
		all = append(all, kv{k, n})
	}
	sort.Slice(all, func(i, j int) bool {
		if all[i].n != all[j].n {
			return all[i].n > all[j].n
		}
		return all[i].k < all[j].k
	})
	var s []string
	for _, e := range all {
		s = append(s, fmt.Sprintf("%s %d", e.k, e.n))
	}
	return strings.Join(s, ", ")
}
