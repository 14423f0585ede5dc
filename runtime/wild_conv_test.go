package runtime_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/eval"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime"
)

// eighths are small multiples of 1/8, whose sums and products of two are exact.
func eighths(shape ...int) *tensor.Tensor {
	v := tensor.New(tensor.F32, shape...)
	for i := range tensor.Data[float32](v) {
		tensor.Data[float32](v)[i] = float32(i*i%13-6) / 8
	}
	return v
}

// windowed is a 1x1 convolution and a convolution or pool, which a compiled program has
// with channels last.
func windowed(t *testing.T, kind string, attrs map[string]any) (*ir.Graph, error) {
	t.Helper()
	g := ir.NewGraph(kind, ops.NewTable())
	x := g.AddInput("x", ir.MakeType(tensor.F32, ir.Known(2), ir.Known(16), ir.Sym("h"), ir.Sym("w")))
	conv := g.Op("Conv")
	x = g.Add(conv, conv.Attrs(), []*ir.Value{x, g.NewConst("w0", eighths(16, 16, 1, 1))}, "h").Outputs[0]
	op, ins := g.Op(kind), []*ir.Value{x}
	if kind == "Conv" {
		out, in := 24, 16
		if group, ok := attrs["group"].(int64); ok {
			if in = 16 / int(group); in == 1 {
				out = 16
			}
		}
		ins = append(ins, g.NewConst("w", eighths(out, in, 3, 2)), g.NewConst("b", eighths(out)))
	}
	a := op.Attrs()
	for name, v := range attrs {
		if err := ir.SetAttr(a, name, v); err != nil {
			t.Fatal(err)
		}
	}
	g.Outputs = []*ir.Value{g.Add(op, a, ins, "y").Outputs[0]}
	return g, ir.Infer(g)
}

// TestWildWindows: a program whose windows were changed after it was compiled gives what
// its ops mean, or an error; it reads nothing outside of its tensors, and asks for no
// memory that has nothing to do with their sizes.
func TestWildWindows(t *testing.T) {
	for _, c := range []struct {
		name, op, kernel, precision string
		attrs                       map[string]any
		groups                      []int64
	}{
		{"conv", "Conv", "conv_last", "f32", map[string]any{"group": int64(1)}, []int64{1, 2, 16}},
		{"groups", "Conv", "conv_last", "f32", map[string]any{"group": int64(2)}, []int64{1, 2, 16}},
		{"depthwise", "Conv", "conv_depthwise", "f32", map[string]any{"group": int64(16)}, []int64{1, 2, 16}},
		{"max", "MaxPool", "pool_last", "f32", nil, nil},
		{"average", "AveragePool", "pool_last", "f32", nil, nil},
		// In bf16 sums are rounded: memory alone is held.
		{"conv in bf16", "Conv", "conv_last", "bf16", map[string]any{"group": int64(1)}, []int64{1, 2, 16}},
		{"groups in bf16", "Conv", "conv_last", "bf16", map[string]any{"group": int64(2)}, []int64{1, 2, 16}},
		{"depthwise in bf16", "Conv", "conv_depthwise", "bf16", map[string]any{"group": int64(16)}, []int64{1, 2, 16}},
		{"max in bf16", "MaxPool", "pool_last", "bf16", nil, nil},
		{"average in bf16", "AveragePool", "pool_last", "bf16", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(7, 1))
			some := func(v ...int64) int64 { return v[rng.IntN(len(v))] }
			tame := map[string]any{"kernel_shape": []int64{3, 2}}
			for name, v := range c.attrs {
				tame[name] = v
			}
			g, err := windowed(t, c.op, tame)
			if err != nil {
				t.Fatal(err)
			}
			p, err := codegen.Compile(context.Background(), g, codegen.Target{Precision: c.precision})
			if err != nil {
				t.Fatal(err)
			}
			steps := p.Main().Steps
			at := len(steps) - 1
			for at > 0 && steps[at].Kernel != c.kernel {
				at--
			}
			if at < 1 {
				t.Fatalf("no step after the first convolution runs on %s", c.kernel)
			}
			ran := 0
			for range 2000 {
				far := some(5, 1<<10, 1<<29, 1<<30)
				wild := map[string]any{
					"strides":   []int64{some(1, 2, far), some(1, 3, far)},
					"dilations": []int64{some(1, 3, far), some(1, 2, far)},
					"pads":      []int64{some(0, 1, far, -1), some(0, 2, far, -2), some(0, 1, far, -far), some(0, 1, far)},
				}
				if c.groups != nil {
					wild["group"] = some(c.groups...)
				} else {
					wild["kernel_shape"] = []int64{some(1, 3, far), some(2, 5, far)}
					wild["ceil_mode"] = rng.IntN(2) == 0
				}
				for name, v := range wild {
					if err := ir.SetAttr(steps[at].Attrs, name, v); err != nil {
						t.Fatal(err)
					}
				}
				x := eighths(2, 16, 1+rng.IntN(9), 1+rng.IntN(9))
				s, err := runtime.New(p, runtime.Options{Threads: 2, MaxElems: 1 << 16})
				if err != nil {
					t.Fatal(err)
				}
				got, err := s.Run(context.Background(), map[string]*tensor.Tensor{"x": x})
				s.Close()
				if err != nil {
					if !errors.Is(err, ir.ErrLimit) && !errors.Is(err, ir.ErrShape) && !errors.Is(err, ir.ErrAttr) {
						t.Errorf("%v: %v", wild, err)
					}
					continue
				}
				ran++
				ref, err := windowed(t, c.op, wild)
				if err != nil {
					t.Fatalf("%v runs, but means nothing: %v", wild, err)
				}
				want, err := eval.Run(context.Background(), ref, []*tensor.Tensor{x}, eval.Options{})
				if err != nil {
					t.Fatalf("%v runs, but means nothing: %v", wild, err)
				}
				if c.precision == "f32" {
					same(t, wild, got["y"], want[0], c.op == "AveragePool")
				}
			}
			t.Logf("%d of 2000 ran", ran)
		})
	}
}

// same holds results whose sums are exact: means may be a division or a product by the
// inverse, which differ by two roundings at the most.
func same(t *testing.T, what any, got, want *tensor.Tensor, mean bool) {
	t.Helper()
	if got.String() != want.String() {
		t.Fatalf("%v: %s, want %s", what, got, want)
	}
	x, y := tensor.Data[float32](got), tensor.Data[float32](want)
	for i := range y {
		d := math.Abs(float64(x[i]) - float64(y[i]))
		if x[i] != y[i] && !(mean && d <= 2*math.Abs(float64(y[i]))/(1<<24)) {
			t.Fatalf("%v: element %d is %g, want %g", what, i, x[i], y[i])
		}
	}
}
