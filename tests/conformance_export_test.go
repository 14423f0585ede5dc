package tests

import (
	"context"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/seed-c851cfd2/moec/ir/onnx"
	"github.com/seed-c851cfd2/moec/ir/ops"
)

// everyNth thins the suite out: the whole takes minutes in Python, and neighbours in it
// are variants of one op.
const everyNth = 9

const exportsWithORT = `
import glob, os, sys, numpy as np, onnx, onnxruntime as ort
from onnx import numpy_helper
ort.set_default_logger_severity(4)
def run(folder, model):
    s = ort.InferenceSession(folder + "/" + model, providers=["CPUExecutionProvider"])
    ins = {}
    for i, x in enumerate(s.get_inputs()):
        ins[x.name] = numpy_helper.to_array(onnx.load_tensor(f"{folder}/input_{i}.pb"))
    return s.run(None, ins)
bad = 0
for folder in sorted(glob.glob(sys.argv[1] + "/*")):
    try:
        onnx.checker.check_model(folder + "/exported.onnx", full_check=True)
        try: want = run(folder, "model.onnx")
        except Exception: continue  # onnxruntime cannot run the original
        got = run(folder, "exported.onnx")
        for a, b in zip(want, got, strict=True):
            a, b = np.asarray(a), np.asarray(b)
            if a.shape != b.shape or a.dtype != b.dtype: raise Exception(f"{b.dtype}{b.shape}, want {a.dtype}{a.shape}")
            same = np.allclose(a.astype("c16"), b.astype("c16"), rtol=1e-4, atol=1e-6, equal_nan=True) if a.dtype.kind in "fc" else (a == b).all()
            if not same: raise Exception("outputs differ")
    except Exception as e:
        bad += 1
        print(os.path.basename(folder), str(e)[:300])
sys.exit(bad > 0)
`

// TestConformanceExports writes cases of ONNX's suite out again: they pass its full
// checker and onnxruntime computes the same as from the original.
func TestConformanceExports(t *testing.T) {
	py := needONNXRuntime(t)
	ctx, dir, table := context.Background(), t.TempDir(), ops.NewTable()
	cases := readCases(t, nodeTests)
	for i, name := range slices.Sorted(maps.Keys(cases)) {
		c := cases[name]
		if i%everyNth != 0 {
			continue
		}
		g, err := onnx.Decode(ctx, c["model.onnx"], onnx.Options{Ops: table})
		if err != nil {
			continue // TestConformance says why
		}
		folder := filepath.Join(dir, name)
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		for file, data := range c {
			if err := os.WriteFile(filepath.Join(folder, filepath.Base(file)), data, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := onnx.Save(ctx, g, filepath.Join(folder, "exported.onnx"), onnx.ExportOptions{}); err != nil {
			t.Errorf("%s: %v", name, err)
			os.RemoveAll(folder)
		}
	}
	if out, err := exec.Command(py, "-c", exportsWithORT, dir).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
