package tests

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/onnx"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/ir/tensorio"
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
					zooSample(t, r, file, sample)
				})
			}
		}
	}
}

func zooSample(t *testing.T, r runner, file, sample string) {
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
		if err := near(outs[i], want, named["in_attention_mask"]); err != nil {
			t.Errorf("%s: %v", v.Name, err)
		}
	}
}

// near compares with the zoo's tolerance. Positions that a [batch, seq] mask holds to be
// padding are left out of values of shape [batch, seq, ...].
func near(got, want, mask *tensor.Tensor) error {
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
	if !(worst <= 1e-4*largest) {
		return fmt.Errorf("element %d is %g, want %g (largest magnitude %g)", at, g[at], w[at], largest)
	}
	return nil
}
