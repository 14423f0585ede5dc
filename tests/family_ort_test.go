package tests

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/eval"
	"github.com/seed-c851cfd2/moec/ir/onnx"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/ir/tensorio"
)

// needONNXRuntime skips a test where python or its packages are missing.
func needONNXRuntime(t *testing.T) string {
	t.Helper()
	py, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	if out, err := exec.Command(py, "-c", "import numpy, onnx, onnxruntime").CombinedOutput(); err != nil {
		t.Skipf("python3 lacks numpy, onnx or onnxruntime (pip install numpy onnx onnxruntime): %s", bytes.TrimSpace(out))
	}
	return py
}

// familyWithORT holds every model in a folder to the outputs beside it, to 1e-5 of the
// largest (f16: a few of its roundings), after the full checker.
const familyWithORT = `
import glob, sys, numpy as np, onnx, onnxruntime as ort
ort.set_default_logger_severity(4)
bad = 0
for model in sorted(glob.glob(sys.argv[1] + "/*.onnx")):
    try:
        onnx.checker.check_model(model, full_check=True)
        data = np.load(model[:-5] + ".npz")
        session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
        names = [o.name for o in session.get_outputs()]
        got = dict(zip(names, session.run(names, {k[3:]: v for k, v in data.items() if k.startswith("in_")})))
        for k, w in data.items():
            if not k.startswith("out_"): continue
            g = got[k[4:]]
            if g.shape != w.shape or g.dtype != w.dtype: raise Exception(f"{k} is {g.dtype}{g.shape}, want {w.dtype}{w.shape}")
            d, top = np.abs(g.astype("float64") - w).max(initial=0), max(1, np.abs(w).max(initial=0))
            tol = 1e-2 if w.dtype == np.float16 else 1e-5
            if not d <= tol * top: raise Exception(f"{k} differs by {d}, largest magnitude {top}")
    except Exception as e:
        bad += 1
        print(model, str(e)[:500])
sys.exit(bad > 0)
`

// TestFamilyExports: each body passes ONNX's checker, gives Eval's results in onnxruntime,
// and is the op that it was when read again.
func TestFamilyExports(t *testing.T) {
	py := needONNXRuntime(t)
	ctx, dir, table := context.Background(), t.TempDir(), ops.NewTable()
	cases := familyCases()
	for _, c := range typedCases() {
		if c.ins[0].DType() == tensor.F16 { // the others onnxruntime's CPU kernels lack
			cases = append(cases, c)
		}
	}
	for i, c := range cases {
		for _, body := range ops.Bodies() {
			if body != ops.BodyPortable && c.op != "moec::MoE" && c.op != "moec::PKM" || body == ops.BodyORT && c.op == "moec::PKM" {
				continue // the same as the portable one
			}
			g, ins := c.graph(t, table)
			want, err := eval.Run(ctx, g, ins, eval.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if i%2 == 1 {
				openLead(t, g)
			}
			file := filepath.Join(dir, c.name+"_"+string(body))
			err = onnx.Save(ctx, g, file+".onnx", onnx.ExportOptions{Body: func(g *ir.Graph, n *ir.Node) ([]*ir.Value, error) {
				return ops.ExpandBody(body, g, n)
			}})
			if err != nil {
				if body == ops.BodyORT && strings.Contains(err.Error(), "cannot hold") {
					continue
				}
				t.Errorf("%s: %v", file, err)
				continue
			}
			again, err := onnx.LoadFile(ctx, file+".onnx", onnx.Options{Ops: table})
			if err != nil {
				t.Errorf("%s: read again: %v", file, err)
				continue
			}
			sameFamilyNode(t, filepath.Base(file), g.Nodes[0], again)
			var list []tensorio.Named
			for i, v := range g.Inputs {
				list = append(list, tensorio.Named{Name: "in_" + v.Name, Tensor: ins[i]})
			}
			for i, v := range g.Outputs {
				list = append(list, tensorio.Named{Name: "out_" + v.Name, Tensor: want[i]})
			}
			var b bytes.Buffer
			if err := tensorio.WriteNPZ(&b, list); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file+".npz", b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if out, err := exec.Command(py, "-c", familyWithORT, dir).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// openLead gives names to the sizes that the inputs share before their last axes.
func openLead(t *testing.T, g *ir.Graph) {
	t.Helper()
	lead := g.Inputs[0].Type.Rank() - 1
	for _, v := range g.Inputs {
		shape := append([]ir.Dim(nil), v.Type.Shape...)
		for i := range lead {
			shape[i] = ir.Sym(fmt.Sprintf("n%d", i))
		}
		v.Type.Shape = shape
	}
	if err := ir.Infer(g); err != nil {
		t.Fatal(err)
	}
}

// sameFamilyNode: import gives the one node back, with its attributes and parameters.
func sameFamilyNode(t *testing.T, what string, n *ir.Node, g *ir.Graph) {
	t.Helper()
	if len(g.Nodes) != 1 || g.Nodes[0].Op.String() != n.Op.String() || !ir.EqualAttrs(g.Nodes[0].Attrs, n.Attrs) {
		var got []string
		for _, m := range g.Nodes {
			got = append(got, fmt.Sprint(m.Op, ir.AttrsOf(m.Attrs)))
		}
		t.Errorf("%s: read again as %s, want %s%v", what, got, n.Op, ir.AttrsOf(n.Attrs))
		return
	}
	m := g.Nodes[0]
	for i, v := range n.Inputs {
		if (v == nil) != (i >= len(m.Inputs) || m.Inputs[i] == nil) {
			t.Errorf("%s: input %d is there before or after only", what, i)
		}
	}
}
