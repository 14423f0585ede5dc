package tests

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/ir/onnx"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/passes"
	"github.com/seed-c851cfd2/moec/runtime"
)

// TestNoAllocations: after the first run of a shape, a model whose steps all have kernels
// allocates nothing, whatever the threads, when it writes into outputs it is given.
func TestNoAllocations(t *testing.T) {
	for _, name := range []string{"gpt2_ts17", "vit_ts17", "resnet_ts13", "convnext1x1_ts17"} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			base := filepath.Join("testdata/models/zoo", name)
			g, err := onnx.LoadFile(ctx, base+".onnx")
			if err != nil {
				t.Fatal(err)
			}
			sample := readNPZSample(t, g, base+".sample0.npz")
			if _, err := passes.Run(ctx, g, passes.Default()); err != nil {
				t.Fatal(err)
			}
			for _, precision := range []string{"f32", "bf16", "int8"} {
				p, err := codegen.Compile(ctx, g, codegen.Target{Precision: precision})
				if err != nil {
					t.Fatal(err)
				}
				for _, threads := range []int{1, 2} {
					s, err := runtime.New(p, runtime.Options{Threads: threads})
					if err != nil {
						t.Fatal(err)
					}
					defer s.Close()
					outs := make([]*tensor.Tensor, len(g.Outputs))
					once := func() {
						if err := s.RunTo(ctx, sample.ins, outs, nil); err != nil {
							t.Fatal(err)
						}
					}
					once()
					if n := testing.AllocsPerRun(10, once); n != 0 {
						t.Errorf("%s, %d threads: %v allocations per run", precision, threads, n)
					}
				}
			}
		})
	}
}
