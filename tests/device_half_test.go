package tests

import (
	"context"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/eval"
	"github.com/seed-c851cfd2/moec/ir/onnx"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/passes"
)

// demoted is a model file with all that is f32 in it turned into a 16-bit type, as a converter of exported models does.
func demoted(t *testing.T, file string, dt tensor.DType) *ir.Graph {
	t.Helper()
	g, err := onnx.LoadFile(context.Background(), file, onnx.Options{Ops: ops.NewTable()})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range g.Values() {
		if v.Type.DType != tensor.F32 {
			continue
		}
		if v.Type.DType = dt; v.IsConst() {
			v.Const = castTo(v.Const, dt)
		}
	}
	for _, n := range g.Nodes {
		for _, a := range ir.AttrsOf(n.Attrs) {
			switch x := a.Value.(type) {
			case tensor.DType:
				if x == tensor.F32 {
					err = ir.SetAttr(n.Attrs, a.Name, dt)
				}
			case *tensor.Tensor:
				if x.DType() == tensor.F32 {
					err = ir.SetAttr(n.Attrs, a.Name, castTo(x, dt))
				}
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := ir.Infer(g); err != nil {
		t.Fatal(err)
	}
	return g
}

// TestHalfModelsOnDevice: models in f16 and bf16 run whole on the device, whatever the target's precision. The
// interpreter rounds after each op, the device after each launch, or in f32 outputs alone, and neither rounds weights,
// which the model has in 16 bits: leastCosine says how far that lets them differ.
func TestHalfModelsOnDevice(t *testing.T) {
	ctx := context.Background()
	for _, m := range []struct {
		file string
		run  bool
	}{
		{"testdata/models/zoo/t5enc_ts17.onnx", true},
		{"testdata/models/zoo/gpt2_ts17.onnx", false},
		{"testdata/models/zoo/vit_ts17.onnx", false},
		{"testdata/models/zoo/llama_dynamo18.onnx", false},
		{"testdata/models/zoo/convnext_hf_dynamo20.onnx", false},
		{"testdata/models/zoo/resnet_ts13.onnx", false},
	} {
		for _, dt := range []tensor.DType{tensor.F16, tensor.BF16} {
			for _, precision := range []string{"f32", dt.String()} {
				t.Run(filepath.Base(m.file)+"/"+dt.String()+"/"+precision, func(t *testing.T) {
					g := demoted(t, m.file, dt)
					ins := passes.RandomInputs(g, nil, 3)
					want, err := eval.Run(ctx, g, ins, eval.Options{})
					if err != nil {
						t.Fatal(err)
					}
					n := evalRoundings(g, dt)
					if _, err := passes.Run(ctx, g, passes.Default()); err != nil {
						t.Fatal(err)
					}
					p, err := codegen.Compile(ctx, g, codegen.Target{Device: "cuda", Precision: precision})
					if err != nil {
						t.Fatal(err)
					}
					if host := hostSteps(p); len(host) > 0 {
						t.Errorf("on the host:\n%s", strings.Join(host, "\n"))
					}
					if precision == "f32" {
						n++ // the output
					} else {
						n += launches(p)
					}
					s := emulated(t, p)
					if !m.run {
						long(t)
					}
					named := map[string]*tensor.Tensor{}
					for i, v := range g.Inputs {
						named[v.Name] = ins[i]
					}
					got, err := s.Run(ctx, named)
					if err != nil {
						t.Fatal(err)
					}
					for i, v := range g.Outputs {
						holdCosine(t, v.Name, got[v.Name], want[i], leastCosine(n, unit[dt]))
					}
				})
			}
		}
	}
}

// holdCosine holds the direction of a result.
func holdCosine(t *testing.T, what string, got, want *tensor.Tensor, least float64) {
	t.Helper()
	x, err := got.Float64s()
	if err != nil {
		t.Fatal(err)
	}
	y, err := want.Float64s()
	if err != nil {
		t.Fatal(err)
	}
	if got.DType() != want.DType() || len(x) != len(y) {
		t.Fatalf("%s is %s, want %s", what, got, want)
	}
	xy, xx, yy := 0.0, 0.0, 0.0
	for i := range y {
		xy, xx, yy = xy+x[i]*y[i], xx+x[i]*x[i], yy+y[i]*y[i]
	}
	if cosine := xy / math.Sqrt(xx*yy); !(cosine >= least) {
		t.Errorf("%s: cosine %.7f, at least %.7f", what, cosine, least)
	} else {
		t.Logf("%s: cosine %.7f, at least %.7f", what, cosine, least)
	}
}
