package tests

import (
	"archive/tar"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

func unsupported(err error) bool {
	return errors.Is(err, ir.ErrUnsupportedOp) || errors.Is(err, ir.ErrUnsupportedType)
}

// closeTo checks type, shape and elements: |got-want| <= atol + rtol*|want|, NaN equal to
// NaN; integers, bools and strings exactly.
func closeTo(got, want *tensor.Tensor, rtol, atol float64) error {
	if got.String() != want.String() {
		return fmt.Errorf("is %s, want %s", got, want)
	}
	if !want.DType().IsFloat() {
		if !tensor.Equal(got, want) {
			return fmt.Errorf("%s differs", got)
		}
		return nil
	}
	g, err := got.Float64s()
	if err != nil {
		return err
	}
	w, err := want.Float64s()
	if err != nil {
		return err
	}
	if want.DType() == tensor.F16 {
		// onnxruntime computes f16 chains in f32 and rounds once at the end; we round after
		// every op, as the model says. Each rounding moves a value by up to 2^-11 of it, and
		// sums of values near the largest one inherit that; four of them are allowed for.
		largest := 0.0
		for _, v := range w {
			largest = max(largest, math.Abs(v))
		}
		atol = max(atol, largest/512)
	}
	for i := range w {
		same := g[i] == w[i] || math.IsNaN(g[i]) && math.IsNaN(w[i])
		if !same && !(math.Abs(g[i]-w[i]) <= atol+rtol*math.Abs(w[i])) {
			return fmt.Errorf("element %d is %g, want %g", i, g[i], w[i])
		}
	}
	return nil
}

var numpyTypes = map[string]tensor.DType{
	"float32": tensor.F32, "float64": tensor.F64, "float16": tensor.F16, "bool": tensor.Bool,
	"int8": tensor.I8, "int16": tensor.I16, "int32": tensor.I32, "int64": tensor.I64,
	"uint8": tensor.U8, "uint16": tensor.U16, "uint32": tensor.U32, "uint64": tensor.U64,
	"bfloat16": tensor.BF16,
}

func (b badTensor) tensor() *tensor.Tensor {
	if b.DType == "string" {
		return tensor.OfStrings(b.Text, b.Shape...)
	}
	data, err := base64.StdEncoding.DecodeString(b.Data)
	if err != nil {
		panic(err)
	}
	t, err := tensor.FromBytes(numpyTypes[b.DType], b.Shape, data)
	if err != nil {
		panic(fmt.Sprintf("%s: %v", b.DType, err))
	}
	return t
}

// untar unpacks a .tgz of plain files.
func untar(t *testing.T, file, dir string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(z)
	for {
		h, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, filepath.FromSlash(h.Name))
		if h.Typeflag == tar.TypeDir {
			if err := os.MkdirAll(name, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		w, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, r); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
