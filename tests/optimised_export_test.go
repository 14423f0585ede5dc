package tests

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/onnx"
	"github.com/seed-c851cfd2/moec/passes"
)

const optimisedWithORT = `
import sys, numpy as np, onnx, onnxruntime as ort
ort.set_default_logger_severity(4)
bad = 0
for model, sample in zip(sys.argv[1::2], sys.argv[2::2]):
    try:
        onnx.checker.check_model(model, full_check=True)
        data = np.load(sample)
        session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
        names = [o.name for o in session.get_outputs()]
        got = dict(zip(names, session.run(names, {k[3:]: v for k, v in data.items() if k.startswith("in_")})))
        for k, w in data.items():
            if not k.startswith("out_"): continue
            g = got[k[4:]]
            if "in_attention_mask" in data and w.ndim > 2:
                m = data["in_attention_mask"] != 0
                g, w = g[m], w[m]
            d, top = np.abs(g.astype("float64") - w).max(initial=0), max(1, np.abs(w).max(initial=0))
            if not d <= 1e-4 * top: raise Exception(f"{k} differs by {d}, largest magnitude {top}")
    except Exception as e:
        bad += 1
        print(model, str(e)[:500])
sys.exit(bad > 0)
`

// TestOptimisedExports: after all passes a graph is mostly ops of our own. As functions
// they pass ONNX's checker, give the same outputs in onnxruntime for every sample, and
// import gives the same nodes back.
func TestOptimisedExports(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	files, err := filepath.Glob("testdata/models/zoo/*.onnx")
	if err != nil || len(files) == 0 {
		t.Fatal("no models", err)
	}
	args := []string{"-c", optimisedWithORT}
	for _, file := range files {
		g, err := onnx.LoadFile(ctx, file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := passes.Run(ctx, g, passes.Default()); err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(dir, filepath.Base(file))
		if err := onnx.Save(ctx, g, out, onnx.ExportOptions{}); err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		again, err := onnx.LoadFile(ctx, out)
		if err != nil {
			t.Errorf("%s: read again: %v", file, err)
			continue
		}
		sameNodes(t, file, g, again)
		samples, err := filepath.Glob(strings.TrimSuffix(file, ".onnx") + ".sample*.npz")
		if err != nil || len(samples) == 0 {
			t.Fatal("no samples", err)
		}
		for _, s := range samples {
			args = append(args, out, s)
		}
	}
	if out, err := exec.Command(needONNXRuntime(t), args...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func sameNodes(t *testing.T, what string, a, b *ir.Graph) {
	t.Helper()
	if len(a.Nodes) != len(b.Nodes) {
		t.Errorf("%s: %d nodes, read again as %d", what, len(a.Nodes), len(b.Nodes))
		return
	}
	for i, n := range a.Nodes {
		m := b.Nodes[i]
		if n.Op.String() != m.Op.String() || !ir.EqualAttrs(n.Attrs, m.Attrs) || strings.Join(n.Origin, "\n") != strings.Join(m.Origin, "\n") {
			t.Errorf("%s: node %q (%s %v, from %q) was read again as %q (%s %v, from %q)", what,
				n.Name, n.Op, ir.AttrsOf(n.Attrs), n.Origin, m.Name, m.Op, ir.AttrsOf(m.Attrs), m.Origin)
		}
	}
}
