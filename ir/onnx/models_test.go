package onnx_test

import (
	"archive/zip"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/onnx"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/ir/tensorio"
)

func entry(t *testing.T, z *zip.ReadCloser, name string) []byte {
	t.Helper()
	f, err := z.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestImportModels imports models of old operator sets, with control flow, functions and
// unusual constants, and compares
// with onnxruntime's outputs (testdata/make_models.py); then exports them and lets
// onnxruntime run what comes out.
func TestImportModels(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	z, err := zip.OpenReader("testdata/models.zip")
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	var pairs []string
	for _, f := range z.File {
		name, ok := strings.CutSuffix(f.Name, "/model.onnx")
		if !ok {
			continue
		}
		t.Run(name, func(t *testing.T) {
			g, err := onnx.Decode(ctx, entry(t, z, f.Name))
			if err != nil {
				t.Fatal(err)
			}
			if err := ir.Verify(g); err != nil {
				t.Fatal(err)
			}
			raw := entry(t, z, name+"/sample.npz")
			list, err := tensorio.DecodeNPZ(raw, 0)
			if err != nil {
				t.Fatal(err)
			}
			in, want := map[string]*tensor.Tensor{}, map[string]*tensor.Tensor{}
			for _, a := range list {
				if k, ok := strings.CutPrefix(a.Name, "in_"); ok {
					in[k] = a.Tensor
				} else {
					want[strings.TrimPrefix(a.Name, "out_")] = a.Tensor
				}
			}
			got, err := interpret(g, in)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, got, want)

			model, npz := filepath.Join(dir, name+".onnx"), filepath.Join(dir, name+".npz")
			if err := onnx.Save(ctx, g, model, onnx.ExportOptions{}); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(npz, raw, 0o644); err != nil {
				t.Fatal(err)
			}
			pairs = append(pairs, model, npz)
			again, err := onnx.LoadFile(ctx, model)
			if err != nil {
				t.Fatal(err)
			}
			if got, err = interpret(again, in); err != nil {
				t.Fatal(err)
			}
			compare(t, got, want)
		})
	}
	python(t, runWithORT, pairs...)
}

// compare holds floats to 1e-5 of the largest magnitude, everything else to equality.
func compare(t *testing.T, got, want map[string]*tensor.Tensor) {
	t.Helper()
	for name, w := range want {
		g := got[name]
		if g == nil || g.String() != w.String() {
			t.Errorf("output %q is %v, want %s", name, g, w)
			continue
		}
		a, err := g.Float64s()
		if err != nil {
			t.Fatal(err)
		}
		b, err := w.Float64s()
		if err != nil {
			t.Fatal(err)
		}
		top := 1.0
		for _, v := range b {
			top = max(top, v, -v)
		}
		for i := range b {
			if d := a[i] - b[i]; !(max(d, -d) <= 1e-5*top) {
				t.Errorf("output %q: element %d is %g, want %g", name, i, a[i], b[i])
				break
			}
		}
	}
}
