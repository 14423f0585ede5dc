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
	s := readNPZSample(t, g, sample)
	outs, err := r.run(ctx, g, s.ins)
	if err != nil {
		t.Fatal(err)
	}
	s.compare(t, outs, tol)
}

// npzSample is an npz file laid out for a graph's inputs and outputs.
type npzSample struct {
	ins, outs []*tensor.Tensor
	names     []string // of the outputs
	mask      *tensor.Tensor
}

func readNPZSample(t *testing.T, g *ir.Graph, file string) *npzSample {
	t.Helper()
	data, err := os.ReadFile(file)
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
	s := &npzSample{mask: named["in_attention_mask"]}
	take := func(prefix string, v *ir.Value) *tensor.Tensor {
		x := named[prefix+v.Name]
		if x == nil {
			t.Fatalf("%s has no %s%s", file, prefix, v.Name)
		}
		return x
	}
	for _, v := range g.Inputs {
		s.ins = append(s.ins, take("in_", v))
	}
	for _, v := range g.Outputs {
		s.outs = append(s.outs, take("out_", v))
		s.names = append(s.names, v.Name)
	}
	return s
}

func (s *npzSample) compare(t *testing.T, got []*tensor.Tensor, tol float64) {
	t.Helper()
	for i, want := range s.outs {
		if err := near(got[i], want, s.mask, tol); err != nil {
			t.Errorf("%s: %v", s.names[i], err)
		}
	}
}
