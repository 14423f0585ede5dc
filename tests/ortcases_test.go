package tests

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/onnx"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/ir/tensorio"
)

// TestMicrosoft compares onnxruntime's contributed operators with onnxruntime, on the
// cases that testdata/microsoft/make.py makes.
func TestMicrosoft(t *testing.T) { onnxruntimeCases(t, "testdata/microsoft") }

// TestOnnxruntimeCases does the same for standard operators, in forms that the node tests
// of onnx leave out; testdata/ortcases/make.py makes the cases.
func TestOnnxruntimeCases(t *testing.T) { onnxruntimeCases(t, "testdata/ortcases") }

// onnxruntimeCases runs the models of a folder, each with a sample of its name. Sums are
// taken in another order there: 1e-5 of the largest magnitude is allowed.
func onnxruntimeCases(t *testing.T, dir string) {
	models, err := filepath.Glob(dir + "/*.onnx")
	if err != nil || len(models) == 0 {
		t.Fatalf("no models: %v", err)
	}
	for _, file := range models {
		base := strings.TrimSuffix(file, ".onnx")
		for _, r := range runners {
			t.Run(filepath.Base(base)+"/"+r.name, func(t *testing.T) { runSample(t, r, file, base+".npz", 1e-5) })
		}
	}
}

// runSample runs a model on the in_ arrays of an npz file and compares with its out_
// arrays.
func runSample(t *testing.T, r runner, file, sample string, tol float64) {
	t.Helper()
	ctx := context.Background()
	g, err := onnx.LoadFile(ctx, file)
	if err != nil {
		t.Fatal(err)
	}
	if err := ir.Infer(g); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(sample)
	if err != nil {
		t.Fatal(err)
	}
	arrays, err := tensorio.DecodeNPZ(data, 1<<28)
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]*tensor.Tensor{}
	for _, a := range arrays {
		named[a.Name] = a.Tensor
	}
	ins := make([]*tensor.Tensor, len(g.Inputs))
	for i, v := range g.Inputs {
		if ins[i] = named["in_"+v.Name]; ins[i] == nil {
			t.Fatalf("the sample has no input %q", v.Name)
		}
	}
	outs, err := r.run(ctx, g, ins)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range g.Outputs {
		want := named["out_"+v.Name]
		if want == nil {
			t.Fatalf("the sample has no output %q", v.Name)
		}
		if err := near(outs[i], want, named["in_attention_mask"], tol); err != nil {
			t.Errorf("%s: %v", v.Name, err)
		}
	}
}
