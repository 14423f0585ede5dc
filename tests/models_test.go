package tests

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/ir/onnx"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/ir/tensorio"
	"github.com/seed-c851cfd2/moec/passes"
	"github.com/seed-c851cfd2/moec/runtime"
)

// compiled takes a model file through the whole road, the .moec file included.
func compiled(t *testing.T, path string, target codegen.Target) *runtime.Session {
	t.Helper()
	ctx := context.Background()
	table := ops.NewTable()
	g, err := onnx.LoadFile(ctx, path, onnx.Options{Ops: table})
	if err != nil {
		t.Fatal(err)
	}
	opts := passes.Default()
	opts.Verify = true
	if _, err := passes.Run(ctx, g, opts); err != nil {
		t.Fatal(err)
	}
	p, err := codegen.Compile(ctx, g, target)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "model.moec")
	if err := plan.Save(file, p); err != nil {
		t.Fatal(err)
	}
	q, err := plan.Open(file, table)
	if err != nil {
		t.Fatal(err)
	}
	s, err := runtime.New(q, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		q.Close()
	})
	return s
}

// sample is one run of a model by onnxruntime: arrays in_NAME and out_NAME.
type sample struct {
	in, out map[string]*tensor.Tensor
}

func readSample(t *testing.T, path string) sample {
	t.Helper()
	list, err := tensorio.ReadFile(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := sample{map[string]*tensor.Tensor{}, map[string]*tensor.Tensor{}}
	for _, e := range list {
		if name, ok := strings.CutPrefix(e.Name, "in_"); ok {
			s.in[name] = e.Tensor
		} else if name, ok := strings.CutPrefix(e.Name, "out_"); ok {
			s.out[name] = e.Tensor
		}
	}
	return s
}

// check holds outputs to the sample: at most tol x max(1, largest magnitude) apart.
// Positions that the attention mask hides are left out of outputs [batch, position, ...].
func (s sample) check(t *testing.T, got map[string]*tensor.Tensor, tol float64) {
	t.Helper()
	if len(s.out) == 0 {
		t.Fatal("the sample has no outputs")
	}
	mask := s.in["attention_mask"]
	for name, want := range s.out {
		g := got[name]
		if g == nil {
			t.Errorf("no output %q", name)
			continue
		}
		x, err := g.Float64s()
		if err != nil {
			t.Fatal(err)
		}
		y, err := want.Float64s()
		if err != nil {
			t.Fatal(err)
		}
		if len(x) != len(y) {
			t.Errorf("output %q is %s, want %s", name, g, want)
			continue
		}
		skip := func(int) bool { return false }
		if mask != nil && want.Rank() >= 2 && mask.Rank() == 2 && want.Shape()[0] == mask.Shape()[0] && want.Shape()[1] == mask.Shape()[1] {
			m, err := mask.Int64s()
			if err != nil {
				t.Fatal(err)
			}
			per := len(y) / len(m)
			skip = func(i int) bool { return m[i/per] == 0 }
		}
		worst, scale := 0.0, 1.0
		for i := range y {
			if skip(i) {
				continue
			}
			scale = max(scale, math.Abs(y[i]))
			if d := math.Abs(x[i] - y[i]); d > worst || d != d {
				worst = d
			}
		}
		if !(worst <= tol*scale) {
			t.Errorf("output %q: largest difference %g, allowed %g", name, worst, tol*scale)
		}
	}
}

// modelFile finds a fetched model, or skips.
func modelFile(t *testing.T, name string) string {
	t.Helper()
	dir := os.Getenv("MOEC_MODELS")
	if dir == "" {
		t.Skip(`MOEC_MODELS is not set: export MOEC_MODELS="$(scripts/fetch-models.sh)" fetches the models by pip`)
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%v: scripts/fetch-models.sh fetches it", err)
	}
	return path
}

// TestPretrainedModels runs published checkpoints, one artifact for all shapes, against
// onnxruntime's outputs.
func TestPretrainedModels(t *testing.T) {
	for _, m := range []struct{ model, samples string }{
		{"paraphrase-MiniLM-L3-v2.onnx", "testdata/models/minilm3/*.npz"},
		{"minilm6.onnx", "testdata/models/minilm6/*.npz"},
	} {
		t.Run(m.model, func(t *testing.T) {
			s := compiled(t, modelFile(t, m.model), codegen.Target{})
			runSamples(t, s, m.samples)
		})
	}
}

func runSamples(t *testing.T, s *runtime.Session, pattern string) {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no samples %s: %v", pattern, err)
	}
	for _, f := range files {
		sm := readSample(t, f)
		for range 2 { // the second run reuses the instance
			out, err := s.Run(context.Background(), sm.in)
			if err != nil {
				t.Fatalf("%s: %v", filepath.Base(f), err)
			}
			sm.check(t, out, 1e-4)
		}
	}
}
