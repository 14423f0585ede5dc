package onnx_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/eval"
	"github.com/seed-c851cfd2/moec/ir/onnx"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/ir/tensorio"
)

// TestExportIdentity: import, export and import again gives the same graph, node for
// node, and the same bytes when exported once more.
func TestExportIdentity(t *testing.T) {
	ctx := context.Background()
	for _, file := range zoo(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			g, err := onnx.LoadFile(ctx, file)
			if err != nil {
				t.Fatal(err)
			}
			first, err := onnx.Encode(ctx, g, onnx.ExportOptions{})
			if err != nil {
				t.Fatal(err)
			}
			again, err := onnx.Decode(ctx, first)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(describe(g), describe(again)); d != "" {
				t.Errorf("import after export differs (-before +after):\n%s", d)
			}
			second, err := onnx.Encode(ctx, again, onnx.ExportOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(first, second) {
				t.Error("exporting again gives other bytes")
			}
			sm := samples(t, file)[0]
			a, err := interpret(g, sm.in)
			if err != nil {
				t.Fatal(err)
			}
			b, err := interpret(again, sm.in)
			if err != nil {
				t.Fatal(err)
			}
			for name := range a {
				if !tensor.Equal(a[name], b[name]) {
					t.Errorf("output %q differs after export", name)
				}
			}
		})
	}
}

// nodeText is a node as plain data for comparing graphs.
type nodeText struct {
	Op, Name   string
	Ins, Outs  []string
	Attrs      []ir.Attr
	Origin     []string
	Subgraphs  []graphText
	NumCapture int
}

type graphText struct {
	Name      string
	Ins, Outs []string
	Nodes     []nodeText
	Consts    map[string]*tensor.Tensor
}

func describe(g *ir.Graph) graphText {
	out := graphText{Name: g.Name, Consts: map[string]*tensor.Tensor{}}
	name := func(v *ir.Value) string {
		switch {
		case v == nil:
			return ""
		case v.IsConst():
			out.Consts[v.Name] = v.Const
			return v.Name
		}
		return v.Name + " " + v.Type.String()
	}
	list := func(vs []*ir.Value) []string {
		s := make([]string, len(vs))
		for i, v := range vs {
			s[i] = name(v)
		}
		return s
	}
	out.Ins, out.Outs = list(g.Inputs), list(g.Outputs)
	for _, n := range g.Nodes {
		nt := nodeText{
			Op: n.Op.String(), Name: n.Name, Ins: list(n.Inputs), Outs: list(n.Outputs),
			Attrs: ir.AttrsOf(n.Attrs), Origin: n.Origin, NumCapture: n.Captures,
		}
		for _, s := range n.Subgraphs {
			nt.Subgraphs = append(nt.Subgraphs, describe(s))
		}
		out.Nodes = append(out.Nodes, nt)
	}
	return out
}

// Equal lets cmp compare constants by their bits.
func (g graphText) Equal(h graphText) bool {
	if len(g.Consts) != len(h.Consts) {
		return false
	}
	for name, t := range g.Consts {
		if u := h.Consts[name]; u == nil || !tensor.Equal(t, u) {
			return false
		}
	}
	return g.Name == h.Name && cmp.Equal(g.Ins, h.Ins) && cmp.Equal(g.Outs, h.Outs) && cmp.Equal(g.Nodes, h.Nodes, tensorsEqual)
}

var tensorsEqual = cmp.Comparer(func(a, b *tensor.Tensor) bool {
	return a == b || a != nil && b != nil && tensor.Equal(a, b)
})

// sample is one run of a model by onnxruntime: arrays in_NAME and out_NAME.
type sample struct {
	file    string
	in, out map[string]*tensor.Tensor
}

func zoo(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("../../tests/testdata/models/zoo/*.onnx")
	if err != nil || len(files) == 0 {
		t.Fatal("no models in testdata/models/zoo", err)
	}
	return files
}

func samples(t *testing.T, model string) []sample {
	t.Helper()
	files, err := filepath.Glob(strings.TrimSuffix(model, ".onnx") + ".sample*.npz")
	if err != nil || len(files) == 0 {
		t.Fatal("no samples of ", model, err)
	}
	var out []sample
	for _, f := range files {
		list, err := tensorio.ReadFile(f, 0)
		if err != nil {
			t.Fatal(err)
		}
		s := sample{f, map[string]*tensor.Tensor{}, map[string]*tensor.Tensor{}}
		for _, a := range list {
			if name, ok := strings.CutPrefix(a.Name, "in_"); ok {
				s.in[name] = a.Tensor
			} else if name, ok := strings.CutPrefix(a.Name, "out_"); ok {
				s.out[name] = a.Tensor
			}
		}
		out = append(out, s)
	}
	return out
}

func interpret(g *ir.Graph, in map[string]*tensor.Tensor) (map[string]*tensor.Tensor, error) {
	ins := make([]*tensor.Tensor, len(g.Inputs))
	for i, v := range g.Inputs {
		if ins[i] = in[v.Name]; ins[i] == nil {
			return nil, fmt.Errorf("no value for input %q", v.Name)
		}
	}
	outs, err := eval.Run(context.Background(), g, ins, eval.Options{})
	if err != nil {
		return nil, err
	}
	byName := map[string]*tensor.Tensor{}
	for i, v := range g.Outputs {
		byName[v.Name] = outs[i]
	}
	return byName, nil
}

// python runs a script with what follows as arguments, or skips the test when the
// interpreter or one of the packages is missing.
func python(t *testing.T, script string, args ...string) string {
	t.Helper()
	py, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	if out, err := exec.Command(py, "-c", "import numpy, onnx, onnxruntime").CombinedOutput(); err != nil {
		t.Skipf("python3 lacks numpy, onnx or onnxruntime (pip install numpy onnx onnxruntime): %s", bytes.TrimSpace(out))
	}
	out, err := exec.Command(py, append([]string{"-c", script}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// runWithORT checks pairs of a model and a sample: the full checker accepts the model and
// onnxruntime gives the sample's outputs to 1e-4 of the largest.
const runWithORT = `
import sys, numpy as np, onnx, onnxruntime as ort
onnxruntime_logs = ort.set_default_logger_severity(3)
bad = 0
for model, sample in zip(sys.argv[1::2], sys.argv[2::2]):
    try:
        onnx.checker.check_model(model, full_check=True)
        data = np.load(sample)
        session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
        names = [o.name for o in session.get_outputs()]
        got = dict(zip(names, session.run(names, {k[3:]: v for k, v in data.items() if k.startswith("in_")})))
        for k, want in data.items():
            if not k.startswith("out_"): continue
            g = got[k[4:]].astype("float64")
            w = want.astype("float64")
            if "in_attention_mask" in data and w.ndim > 2:
                m = data["in_attention_mask"] != 0
                g, w = g[m], w[m]
            d, top = np.abs(g - w).max(initial=0), max(1, np.abs(w).max(initial=0))
            if not d <= 1e-4 * top:
                raise Exception(f"output {k} differs by {d}, largest magnitude {top}")
    except Exception as e:
        bad = 1
        print(model, str(e)[:600])
sys.exit(bad)
`

// TestExportRuns: what is exported passes ONNX's full checker and gives the same outputs
// in onnxruntime, with the weights inside and in a file of their own.
func TestExportRuns(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	var args []string
	for i, file := range zoo(t) {
		g, err := onnx.LoadFile(ctx, file)
		if err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(dir, filepath.Base(file))
		if err := onnx.Save(ctx, g, out, onnx.ExportOptions{External: i%2 == 1}); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(out + ".data"); (err == nil) != (i%2 == 1) {
			t.Errorf("%s: weights in a second file: %v", out, err == nil)
		}
		again, err := onnx.LoadFile(ctx, out)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(describe(g), describe(again)); d != "" {
			t.Errorf("%s: import after Save differs:\n%s", out, d)
		}
		args = append(args, out, samples(t, file)[0].file)
	}
	python(t, runWithORT, args...)
}
