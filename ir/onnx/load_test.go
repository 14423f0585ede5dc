package onnx_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/onnx"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// TestLoad reads a model with external data from every kind of place, and never from
// outside of it.
func TestLoad(t *testing.T) {
	ctx, dir := context.Background(), t.TempDir()
	table := ops.NewTable()
	g := ir.NewGraph("g", table)
	x := g.AddInput("x", ir.MakeType(tensor.F32, ir.Known(512)))
	w := tensor.New(tensor.F32, 512)
	for i := range tensor.Data[float32](w) {
		tensor.Data[float32](w)[i] = float32(i)
	}
	g.Outputs = g.Add(g.Op("Add"), nil, []*ir.Value{x, g.NewConst("w", w)}, "y").Outputs
	if err := ir.Infer(g); err != nil {
		t.Fatal(err)
	}
	sub := filepath.Join(dir, "models", "sub")
	if err := os.MkdirAll(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(sub, "m.onnx")
	if err := onnx.Save(ctx, g, file, onnx.ExportOptions{External: true}); err != nil {
		t.Fatal(err)
	}
	opt := onnx.Options{Ops: table}
	check := func(where string, got *ir.Graph, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", where, err)
		} else if c := got.Nodes[0].Inputs[1].Const; c == nil || !tensor.Equal(c, w) {
			t.Errorf("%s: other weights", where)
		}
	}
	got, err := onnx.LoadFile(ctx, file, opt)
	check("path", got, err)
	got, err = onnx.Load(ctx, os.DirFS(filepath.Join(dir, "models")), "sub/m.onnx", opt)
	check("directory", got, err)
	model, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file + ".data")
	if err != nil {
		t.Fatal(err)
	}
	got, err = onnx.Load(ctx, fstest.MapFS{"a/m.onnx": {Data: model}, "a/m.onnx.data": {Data: data}}, "a/m.onnx", opt)
	check("file system in memory", got, err)
	if _, err = onnx.Decode(ctx, model, opt); err == nil || !strings.Contains(err.Error(), `"w"`) {
		t.Errorf("from bytes alone: error %v, want one that names the tensor", err)
	}

	if err := os.Rename(file+".data", filepath.Join(dir, "secret")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../../secret", file+".data"); err != nil {
		t.Skip("no symlinks here: ", err)
	}
	_, err = onnx.Load(ctx, os.DirFS(filepath.Join(dir, "models")), "sub/m.onnx", opt)
	if !errors.Is(err, ir.ErrModel) || !strings.Contains(err.Error(), "symlink leads outside") {
		t.Errorf("through a symlink out of the directory: %v", err)
	}
	if _, err = onnx.LoadFile(ctx, file, opt); !errors.Is(err, ir.ErrModel) {
		t.Errorf("through a symlink out of the folder: %v", err)
	}
}
