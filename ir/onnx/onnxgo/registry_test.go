package onnxgo

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/owulveryck/onnx-go"
	"github.com/owulveryck/onnx-go/backend"
	"github.com/owulveryck/onnx-go/backend/testbackend"
	_ "github.com/owulveryck/onnx-go/backend/testbackend/onnx" // registers the cases
	"google.golang.org/protobuf/proto"
	gt "gorgonia.org/tensor"

	"github.com/seed-c851cfd2/moec/ir/eval"
	"github.com/seed-c851cfd2/moec/ir/internal/onnxpb"
	moec "github.com/seed-c851cfd2/moec/ir/onnx"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

var _ backend.ComputationBackend = (*Backend)(nil)

func cases(t *testing.T) []*testbackend.TestCase {
	t.Helper()
	var out []*testbackend.TestCase
	for _, c := range testbackend.FindAllTestsMatching(regexp.MustCompile("")) {
		out = append(out, c())
	}
	slices.SortFunc(out, func(a, b *testbackend.TestCase) int { return strings.Compare(a.Title, b.Title) })
	if len(out) < 300 {
		t.Fatalf("onnx-go registers %d cases, more than 300 were expected", len(out))
	}
	return out
}

func opset(t *testing.T, b []byte) int {
	t.Helper()
	m := new(onnxpb.ModelProto)
	if err := proto.Unmarshal(b, m); err != nil {
		t.Fatal(err)
	}
	v := 0
	for _, o := range m.OpsetImport {
		if o.GetDomain() == "" {
			v = int(o.GetVersion())
		}
	}
	return v
}

// TestRegistry runs onnx-go's own cases twice: decoded by onnx-go and run by this backend,
// and decoded by package ir/onnx and interpreted. Both give what the case expects.
func TestRegistry(t *testing.T) {
	ran := 0
	for _, c := range cases(t) {
		t.Run(c.Title, func(t *testing.T) {
			v := opset(t, c.ModelB)
			if v < 7 {
				t.Skipf("opset %d is below 7", v)
			}
			for title, why := range leftOut {
				prefix, any := strings.CutSuffix(title, "*")
				if c.Title == title || any && strings.HasPrefix(c.Title, prefix) {
					t.Skip(why)
				}
			}
			want, err := all(c.ExpectedOutput)
			if err != nil {
				t.Fatal(err)
			}
			ours, err := direct(c)
			if err != nil {
				t.Fatalf("ir/onnx: %v", err)
			}
			same(t, "ir/onnx", ours, want)
			theirs, err := throughOnnxGo(c, v)
			var lacks *onnx.ErrNotImplemented
			if errors.As(err, &lacks) && lacks.AttributeName != "" {
				t.Skipf("onnx-go cannot decode it: %s", lacks.Message)
			}
			if err != nil {
				t.Fatalf("onnx-go: %v", err)
			}
			same(t, "onnx-go", theirs, want)
			ran++
		})
	}
	t.Logf("%d cases passed in both ways", ran)
}

// leftOut are cases, by title or its beginning, that say nothing about moec.
var leftOut = map[string]string{
	"TestModBroadcast":        "the registry holds float32 where the model has int32 inputs",
	"TestNonmaxsuppression*":  "the registry holds float32 where the model has int64 inputs",
	"TestSliceEndOutOfBounds": "the registry holds float32 where the model has int64 inputs",
	"TestSliceNeg":            "the registry holds float32 where the model has int64 inputs",
	"TestTopK":                "the registry holds float32 where the model has int64 inputs",
	"TestSize*":               "the registry expects float32[1] of an op that gives an int64 scalar",
	"TestTfidfvectorizer*":    "moec leaves text operators out",
	"TestRoialign":            "the registry's outputs have four digits",
}

// direct imports the case with package ir/onnx and interprets it.
func direct(c *testbackend.TestCase) ([]*tensor.Tensor, error) {
	ctx := context.Background()
	g, err := moec.Decode(ctx, c.ModelB)
	if err != nil {
		return nil, err
	}
	ins, err := all(c.Input)
	if err != nil {
		return nil, err
	}
	return eval.Run(ctx, g, ins, eval.Options{})
}

func all(list []gt.Tensor) ([]*tensor.Tensor, error) {
	out := make([]*tensor.Tensor, len(list))
	for i, t := range list {
		var err error
		if out[i], err = toMoec(t); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// same holds floats to 1e-5 of the largest magnitude, as the cases' own data is of
// single precision, and everything else to equality.
func same(t *testing.T, who string, got, want []*tensor.Tensor) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d outputs, want %d", who, len(got), len(want))
		return
	}
	for i := range want {
		if got[i].String() != want[i].String() {
			t.Errorf("%s: output %d is %s, want %s", who, i, got[i], want[i])
			continue
		}
		a, err := got[i].Float64s()
		if err != nil {
			t.Fatal(err)
		}
		b, err := want[i].Float64s()
		if err != nil {
			t.Fatal(err)
		}
		top := 1.0
		for _, v := range b {
			top = max(top, v, -v)
		}
		if !want[i].DType().IsFloat() {
			top = 0
		}
		for j := range b {
			if d := a[j] - b[j]; !(max(d, -d) <= 1e-5*top) {
				t.Errorf("%s: output %d: element %d is %g, want %g", who, i, j, a[j], b[j])
				break
			}
		}
	}
}

func throughOnnxGo(c *testbackend.TestCase, opset int) (out []*tensor.Tensor, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	b := New(Options{Opset: opset, Threads: 1})
	m := onnx.NewModel(b)
	if err := m.UnmarshalBinary(c.ModelB); err != nil {
		return nil, err
	}
	for i, in := range c.Input {
		if err := m.SetInput(i, in); err != nil {
			return nil, err
		}
	}
	if err := b.Run(); err != nil {
		return nil, err
	}
	list, err := m.GetOutputTensors()
	if err != nil {
		return nil, err
	}
	return all(list)
}

// TestRunAgain: a compiled model runs again with other values and other sizes.
func TestRunAgain(t *testing.T) {
	var c *testbackend.TestCase
	for _, k := range testbackend.GetOpTypeTests("Add") {
		if k().Title == "TestAdd" {
			c = k()
		}
	}
	if c == nil {
		t.Fatal("onnx-go has no TestAdd")
	}
	b := New(Options{Opset: 7, Threads: 1})
	m := onnx.NewModel(b)
	if err := m.UnmarshalBinary(c.ModelB); err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{60, 6, 60} {
		x, y, want := make([]float32, size), make([]float32, size), make([]float32, size)
		for i := range x {
			x[i], y[i] = float32(i), float32(size)
			want[i] = float32(i + size)
		}
		shape := gt.WithShape(size/6, 3, 2)
		for i, d := range [][]float32{x, y} {
			if err := m.SetInput(i, gt.New(shape, gt.WithBacking(d))); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Run(); err != nil {
			t.Fatal(err)
		}
		out, err := m.GetOutputTensors()
		if err != nil {
			t.Fatal(err)
		}
		if got := out[0].Data().([]float32); !slices.Equal(got, want) {
			t.Errorf("size %d: %v, want %v", size, got, want)
		}
	}
	if p := b.compiled; p == nil || len(p.inputs) != 2 || len(p.outputs) != 1 {
		t.Errorf("compiled as %+v, want two inputs and one output", p)
	}
}
