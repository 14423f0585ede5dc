package tests

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/ir/onnx"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/ir/tensorio"
)

// TestMicrosoftMoE imports models of one com.microsoft::MoE or QMoE node each and holds
// them to what onnxruntime computed (testdata/msmoe/make.py), run in every way.
func TestMicrosoftMoE(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "msmoe", "*.onnx"))
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".onnx")
		list, err := tensorio.ReadFile(strings.TrimSuffix(file, ".onnx")+".npz", 0)
		if err != nil {
			t.Fatal(err)
		}
		data := map[string]*tensor.Tensor{}
		for _, n := range list {
			data[n.Name] = n.Tensor
		}
		for _, r := range runners {
			t.Run(name+"/"+r.name, func(t *testing.T) {
				g, err := onnx.LoadFile(context.Background(), file, onnx.Options{Ops: ops.NewTable()})
				if err != nil {
					t.Fatal(err)
				}
				ins := make([]*tensor.Tensor, len(g.Inputs))
				for i, v := range g.Inputs {
					ins[i] = data["in_"+v.Name]
				}
				outs, err := r.run(context.Background(), g, ins)
				if err != nil {
					t.Fatal(err)
				}
				// f32 sums of up to 32 terms in another order
				nearly(t, name, outs[0], data["out_Y"], 3e-6)
			})
		}
		t.Run(name+"/exported", func(t *testing.T) {
			g, err := onnx.LoadFile(context.Background(), file, onnx.Options{Ops: ops.NewTable()})
			if err != nil {
				t.Fatal(err)
			}
			b, err := onnx.Encode(context.Background(), g, onnx.ExportOptions{})
			if err != nil {
				t.Fatal(err)
			}
			again, err := onnx.Decode(context.Background(), b, onnx.Options{Ops: ops.NewTable()})
			if err != nil {
				t.Fatal(err)
			}
			sameFamilyNode(t, name, g.Nodes[0], again)
		})
	}
}
