package tests

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/ir/onnx"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/passes"
	"github.com/seed-c851cfd2/moec/runtime"
)

// TestZoo runs every model of testdata/models/zoo in every way there is, and compares
// with onnxruntime's outputs: at most 1e-4 times the largest magnitude (at least 1) apart.
func TestZoo(t *testing.T) {
	models, err := filepath.Glob("testdata/models/zoo/*.onnx")
	if err != nil || len(models) == 0 {
		t.Fatalf("no models: %v", err)
	}
	for _, file := range models {
		base := strings.TrimSuffix(file, ".onnx")
		samples, err := filepath.Glob(base + ".sample*.npz")
		if err != nil || len(samples) == 0 {
			t.Fatalf("%s has no samples: %v", file, err)
		}
		for _, r := range runners {
			for _, sample := range samples {
				t.Run(filepath.Base(base)+"/"+r.name+"/"+strings.TrimPrefix(sample, base+"."), func(t *testing.T) {
					runSample(t, r, file, sample, 1e-4)
				})
			}
		}
	}
}

// TestZooOneArtifact compiles every model once, and runs the saved program at the shapes of
// both samples in turn, the first again at the end.
func TestZooOneArtifact(t *testing.T) {
	models, err := filepath.Glob("testdata/models/zoo/*.onnx")
	if err != nil || len(models) == 0 {
		t.Fatalf("no models: %v", err)
	}
	for _, file := range models {
		t.Run(filepath.Base(file), func(t *testing.T) {
			ctx := context.Background()
			g, err := onnx.LoadFile(ctx, file)
			if err != nil {
				t.Fatal(err)
			}
			base := strings.TrimSuffix(file, ".onnx")
			samples := []*npzSample{readNPZSample(t, g, base+".sample0.npz"), readNPZSample(t, g, base+".sample1.npz")}
			if _, err := passes.Run(ctx, g, passes.Default()); err != nil {
				t.Fatal(err)
			}
			p, err := codegen.Compile(ctx, g, codegen.Target{})
			if err != nil {
				t.Fatal(err)
			}
			artifact := filepath.Join(t.TempDir(), "model.moec")
			if err := plan.Save(artifact, p); err != nil {
				t.Fatal(err)
			}
			if p, err = plan.Open(artifact, ops.NewTable()); err != nil {
				t.Fatal(err)
			}
			s, err := runtime.New(p, runtime.Options{Threads: 2})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			for _, i := range []int{0, 1, 0} {
				outs := make([]*tensor.Tensor, len(g.Outputs))
				if err := s.RunTo(ctx, samples[i].ins, outs, nil); err != nil {
					t.Fatal(err)
				}
				samples[i].compare(t, outs, 1e-4)
			}
		})
	}
}

// near reports a difference above tol times the largest magnitude (at least 1). Positions that a [batch, seq] mask holds to be
// padding are left out of values of shape [batch, seq, ...].
func near(got, want, mask *tensor.Tensor, tol float64) error {
	if got.String() != want.String() {
		return fmt.Errorf("is %s, want %s", got, want)
	}
	g, err := got.Float64s()
	if err != nil {
		return err
	}
	w, err := want.Float64s()
	if err != nil {
		return err
	}
	row := len(w)
	var real []int64
	if mask != nil && want.Rank() >= 2 && want.Shape()[0] == mask.Shape()[0] && want.Shape()[1] == mask.Shape()[1] {
		if real, err = mask.Int64s(); err != nil {
			return err
		}
		row = tensor.NumElems(want.Shape()[2:])
	}
	largest, worst, at := 1.0, 0.0, 0
	for i := range w {
		if real != nil && real[i/row] == 0 {
			continue
		}
		largest = math.Max(largest, math.Abs(w[i]))
		if d := math.Abs(g[i] - w[i]); d > worst || d != d {
			worst, at = d, i
			if d != d {
				break
			}
		}
	}
	if !(worst <= tol*largest) {
		return fmt.Errorf("element %d is %g, want %g (largest magnitude %g)", at, g[at], w[at], largest)
	}
	return nil
}
