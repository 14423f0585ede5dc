package onnx_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/onnx"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// TestWeights overlays an initializer: under its name, under a mapped name, from half
// precision; and refuses what does not fit or fits nothing.
func TestWeights(t *testing.T) {
	ctx, table := context.Background(), ops.NewTable()
	g := ir.NewGraph("g", table)
	x := g.AddInput("x", ir.MakeType(tensor.F32, ir.Known(2)))
	n := g.Add(g.Op("Add"), nil, []*ir.Value{x, g.NewConst("w", tensor.Of([]float32{1, 2}, 2))}, "y")
	g.Outputs = n.Outputs
	if err := ir.Infer(g); err != nil {
		t.Fatal(err)
	}
	b, err := onnx.Encode(ctx, g, onnx.ExportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f32 := tensor.Of([]float32{3, 4}, 2)
	f16 := tensor.Of([]tensor.Float16{tensor.ToFloat16(3), tensor.ToFloat16(4)}, 2)
	for _, c := range []struct {
		name   string
		opt    onnx.Options
		refuse string
	}{
		{"own name", onnx.Options{Weights: map[string]*tensor.Tensor{"w": f32, "else": f16}}, ""},
		{"mapped", onnx.Options{Weights: map[string]*tensor.Tensor{"layer.0": f32}, WeightNames: map[string]string{"w": "layer.0"}}, ""},
		{"half", onnx.Options{Weights: map[string]*tensor.Tensor{"w": f16}}, ""},
		{"shape", onnx.Options{Weights: map[string]*tensor.Tensor{"w": tensor.Of([]float32{1, 2}, 1, 2)}}, `weight "w" is f32[1,2]`},
		{"type", onnx.Options{Weights: map[string]*tensor.Tensor{"w": tensor.Of([]int64{1, 2}, 2)}}, "i64[2]"},
		{"none", onnx.Options{Weights: map[string]*tensor.Tensor{"v": f32}}, "map their names"},
	} {
		got, err := onnx.Decode(ctx, b, c.opt)
		if c.refuse != "" {
			if !errors.Is(err, ir.ErrInput) || !strings.Contains(err.Error(), c.refuse) {
				t.Errorf("%s: error %v, want one that says %q", c.name, err, c.refuse)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if w := got.Nodes[0].Inputs[1].Const; !tensor.Equal(w, f32) {
			t.Errorf("%s: the weight is %v", c.name, w)
		}
	}
}
