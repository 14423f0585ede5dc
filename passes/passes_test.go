package passes

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/eval"
	"github.com/seed-c851cfd2/moec/ir/irtext"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

var update = flag.Bool("update", false, "rewrite the after blocks of testdata")

func interpret(ctx context.Context, g *ir.Graph, ins []*tensor.Tensor) ([]*tensor.Tensor, error) {
	return eval.Run(ctx, g, ins, eval.Options{})
}

func parse(t *testing.T, text string) *ir.Graph {
	t.Helper()
	g, err := irtext.Parse(text, ops.NewTable(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// testCases runs a pass over testdata/<pass>/*.txtar: it must turn the graph of the
// block "before" into that of "after", and change the outputs no more than it declares.
// A line "passes: a b" names the passes to run instead ("all": the pipeline), and a line
// "sizes: x=3 y=4" the sizes of named dims.
func testCases(t *testing.T, p Pass) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", p.Name, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases for %s (%v)", p.Name, err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".txtar"), func(t *testing.T) { testCase(t, f, p) })
	}
}

func testCase(t *testing.T, file string, p Pass) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	head, before, after := cutCase(t, string(data))
	pipeline, check := []Pass{p}, &Check{Eval: interpret, Seed: 1, Sizes: map[string]int{}}
	for line := range strings.Lines(head) {
		key, rest, _ := strings.Cut(strings.TrimSpace(line), ": ")
		switch {
		case key == "sizes":
			for _, f := range strings.Fields(rest) {
				name, n, _ := strings.Cut(f, "=")
				if check.Sizes[name], err = strconv.Atoi(n); err != nil {
					t.Fatal(err)
				}
			}
		case key == "passes" && rest == "all":
			pipeline = Pipeline()
		case key == "passes":
			pipeline = nil
			for _, name := range strings.Fields(rest) {
				pipeline = append(pipeline, passNamed(t, name))
			}
		}
	}
	g := parse(t, before)
	_, err = Run(context.Background(), g, Options{
		Pipeline: pipeline, Verify: true, Shuffle: true, Check: check,
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, irtext.String(g))
	}
	if err := g.Sort(); err != nil {
		t.Fatal(err)
	}
	got := irtext.String(g)
	if *update {
		text := head + "-- before --\n" + before + "-- after --\n" + got
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d := cmp.Diff(after, got); d != "" {
		t.Errorf("after %s (-want +got; go test -update rewrites it):\n%s", p.Name, d)
	}
}

func passNamed(t *testing.T, name string) Pass {
	t.Helper()
	for _, p := range Pipeline() {
		if p.Name == name {
			return p
		}
	}
	t.Fatalf("no pass is called %q", name)
	return Pass{}
}

// cutCase splits a txtar file into its comment and the two blocks.
func cutCase(t *testing.T, s string) (head, before, after string) {
	t.Helper()
	head, rest, ok1 := strings.Cut(s, "-- before --\n")
	before, after, ok2 := strings.Cut(rest, "-- after --\n")
	if !ok1 || !ok2 {
		t.Fatal("want blocks before and after")
	}
	return head, before, after
}

// A transformer layer as torch's exporters write it becomes a handful of nodes.
func TestPipelineOnLayers(t *testing.T) { testCases(t, Pass{Name: "pipeline"}) }

func TestDead(t *testing.T)      { testCases(t, Dead()) }
func TestFold(t *testing.T)      { testCases(t, Fold()) }
func TestCSE(t *testing.T)       { testCases(t, CSE()) }
func TestCanonical(t *testing.T) { testCases(t, Canonical()) }

func TestDims(t *testing.T)         { testCases(t, Dims()) }
func TestRespell(t *testing.T)      { testCases(t, Respell()) }
func TestStrength(t *testing.T)     { testCases(t, Strength()) }
func TestBranches(t *testing.T)     { testCases(t, Branches()) }
func TestNorms(t *testing.T)        { testCases(t, Norms()) }
func TestActivations(t *testing.T)  { testCases(t, Activations()) }
func TestSoftmaxes(t *testing.T)    { testCases(t, Softmaxes()) }
func TestChannelsLast(t *testing.T) { testCases(t, ChannelsLast()) }

func TestRoundedImages(t *testing.T) { testCases(t, RoundedImages()) }

func TestRoundedProjections(t *testing.T) { testCases(t, RoundedProjections()) }

func TestConvNorms(t *testing.T)   { testCases(t, ConvNorms()) }
func TestLinears(t *testing.T)     { testCases(t, Linears()) }
func TestRotaries(t *testing.T)    { testCases(t, Rotaries()) }
func TestAttentions(t *testing.T)  { testCases(t, Attentions()) }
func TestQKV(t *testing.T)         { testCases(t, QKV()) }
func TestFeedforward(t *testing.T) { testCases(t, Feedforward()) }
func TestEpilogues(t *testing.T)   { testCases(t, Epilogues()) }
func TestSkipNorms(t *testing.T)   { testCases(t, SkipNorms()) }
