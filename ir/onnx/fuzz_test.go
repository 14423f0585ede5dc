package onnx_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/onnx"
	"github.com/seed-c851cfd2/moec/ir/ops"
)

// FuzzDecode: whatever the bytes, import gives a graph that verifies or an error; a graph
// can be written or is refused, and what was written can be read.
func FuzzDecode(f *testing.F) {
	for _, b := range seedModels(f) {
		f.Add(b)
	}
	table := ops.NewTable()
	f.Fuzz(func(t *testing.T, data []byte) {
		ctx := context.Background()
		opt := onnx.Options{Ops: table, Limits: onnx.Limits{Nodes: 2000, Depth: 16, Bytes: 1 << 24, Elems: 1 << 20}}
		g, err := onnx.Decode(ctx, bytes.Clone(data), opt)
		if err != nil {
			if msg := err.Error(); len(msg) > 2000 || strings.Contains(msg, "a bug in moec") {
				t.Errorf("error of %d bytes: %.300s", len(msg), msg)
			}
			return
		}
		if err := ir.Verify(g); err != nil {
			t.Fatal(err)
		}
		out, err := onnx.Encode(ctx, g, onnx.ExportOptions{})
		if err != nil {
			return
		}
		if _, err := onnx.Decode(ctx, out, opt); err != nil {
			t.Fatalf("written, but not read again: %v", err)
		}
	})
}

// seedModels are the small models of the tests.
func seedModels(f *testing.F) [][]byte {
	f.Helper()
	var out [][]byte
	z, err := zip.OpenReader("testdata/models.zip")
	if err != nil {
		f.Fatal(err)
	}
	defer z.Close()
	for _, e := range z.File {
		if !strings.HasSuffix(e.Name, ".onnx") {
			continue
		}
		r, err := e.Open()
		if err != nil {
			f.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			f.Fatal(err)
		}
		out = append(out, b)
	}
	tgz, err := os.Open("../../tests/testdata/bad-models.tgz")
	if err != nil {
		f.Fatal(err)
	}
	defer tgz.Close()
	gz, err := gzip.NewReader(tgz)
	if err != nil {
		f.Fatal(err)
	}
	for r := tar.NewReader(gz); ; {
		h, err := r.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			f.Fatal(err)
		}
		if strings.HasSuffix(h.Name, ".onnx") && h.Size < 2000 {
			b, err := io.ReadAll(r)
			if err != nil {
				f.Fatal(err)
			}
			out = append(out, b)
		}
	}
}
