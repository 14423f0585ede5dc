package tests

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/cuda"
	"github.com/seed-c851cfd2/moec/cuda/emu"
	"github.com/seed-c851cfd2/moec/cuda/session"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/eval"
	"github.com/seed-c851cfd2/moec/ir/onnx"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/passes"
)

// onDevice compiles a model file for CUDA through its .moec form.
func onDevice(t *testing.T, path string, target codegen.Target) *plan.Program {
	t.Helper()
	ctx := context.Background()
	target.Device = "cuda"
	table := ops.NewTable()
	g, err := onnx.LoadFile(ctx, path, onnx.Options{Ops: table})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := passes.Run(ctx, g, passes.Default()); err != nil {
		t.Fatal(err)
	}
	p, err := codegen.Compile(ctx, g, target)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "model.moec")
	if err := plan.Save(file, p); err != nil {
		t.Fatal(err)
	}
	q, err := plan.Open(file, table)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { q.Close() })
	return q
}

// emulated opens a program on the emulated device, every check on.
func emulated(t *testing.T, p *plan.Program) *session.Session {
	t.Helper()
	dev, err := cuda.Emulator{Options: emu.Options{Checks: emu.AllChecks, Seed: 1}}.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	s, err := session.New(p, dev, session.Options{Separate: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		dev.Close()
	})
	return s
}

// hostSteps lists the steps that depend on data and run on the host.
func hostSteps(p *plan.Program) []string {
	var out []string
	for _, st := range p.Main().Steps {
		if strings.HasPrefix(st.Note, "on the host: ") {
			out = append(out, fmt.Sprintf("%s %s: %s", st.Name, st.Op, st.Note))
		}
	}
	return out
}

// deviceModels are the models that run whole on the device, with the attentions of a layer. The bundled model's
// decoder layers have two; of its encoder's, two layers are held to the limit at a time.
var deviceModels = []struct {
	file       string
	attentions int
}{
	{"testdata/models/zoo/gpt2_ts17.onnx", 1},
	{"testdata/models/zoo/vit_ts17.onnx", 1},
	{"testdata/models/zoo/t5enc_ts17.onnx", 1},
	{"testdata/models/zoo/llama_dynamo18.onnx", 1},
	{"testdata/models/zoo/convnext1x1_ts17.onnx", 0},
	{"testdata/models/zoo/convnext_hf_dynamo20.onnx", 0},
	{"testdata/models/zoo/resnet_ts13.onnx", 0},
	{"testdata/models/zoo/gru_ts14.onnx", 0},
	{"testdata/models/zoo/lstm_ts17.onnx", 0},
	{"testdata/detrans/detrans.onnx", 2},
	{"paraphrase-MiniLM-L3-v2.onnx", 1},
}

// TestDeviceLaunches holds the plans to no step on the host and to the launches per layer.
func TestDeviceLaunches(t *testing.T) {
	for _, m := range deviceModels {
		t.Run(filepath.Base(m.file), func(t *testing.T) {
			file := m.file
			if !strings.Contains(file, "/") {
				file = modelFile(t, file)
			}
			p := onDevice(t, file, codegen.Target{GPU: "a100"})
			if host := hostSteps(p); len(host) > 0 {
				t.Errorf("on the host:\n%s", strings.Join(host, "\n"))
			}
			per, total := layerLaunches(p, max(1, m.attentions))
			t.Logf("%d launches, per layer %v", total, per)
			if m.attentions > 0 && (len(per) == 0 || slices.Max(per) > maxLaunches) {
				t.Errorf("%v launches per layer, at most %d are allowed", per, maxLaunches)
			}
		})
	}
}

// long skips a test that takes more than seconds, unless MOEC_LONG asks for it.
func long(t *testing.T) {
	t.Helper()
	if os.Getenv("MOEC_LONG") == "" {
		t.Skip("MOEC_LONG is not set")
	}
}

// TestDevicePretrained runs MiniLM on the emulator against onnxruntime.
func TestDevicePretrained(t *testing.T) {
	long(t)
	s := emulated(t, onDevice(t, modelFile(t, "paraphrase-MiniLM-L3-v2.onnx"), codegen.Target{}))
	sm := readSample(t, "testdata/models/minilm3/paraphrase-MiniLM-L3-v2.sample_1x16.npz")
	for range 2 { // the second run reuses the memory
		out, err := s.Run(context.Background(), sm.in)
		if err != nil {
			t.Fatal(err)
		}
		sm.check(t, out, 1e-4)
	}
}

// TestDeviceEncoderDecoder runs the bundled model on the emulator against the interpreter, for two sets of shapes.
func TestDeviceEncoderDecoder(t *testing.T) {
	const file = "testdata/detrans/detrans.onnx"
	s := emulated(t, onDevice(t, file, codegen.Target{}))
	shapes := [][3]int{{1, 3, 2}}
	if os.Getenv("MOEC_LONG") != "" {
		shapes = append(shapes, [3]int{2, 5, 6})
	}
	for _, n := range shapes {
		ins := map[string]*tensor.Tensor{}
		for i, p := range s.Inputs() {
			x := tensor.New(tensor.I64, n[0], n[1+i])
			for j := range tensor.Data[int64](x) {
				tensor.Data[int64](x)[j] = int64(4 + (j*37+i*11)%400)
			}
			ins[p.Name] = x
		}
		out, err := s.Run(context.Background(), ins)
		if err != nil {
			t.Fatal(err)
		}
		compareWithInterpreter(t, file, ins, out, func(largest float64) float64 { return 1e-4 * max(1, largest) }, 0)
	}
}

// compareWithInterpreter holds outputs to those of the model as imported. least is the least cosine, 0 for any.
func compareWithInterpreter(t *testing.T, file string, ins, got map[string]*tensor.Tensor, tol func(largest float64) float64, least float64) {
	t.Helper()
	ctx := context.Background()
	g, err := onnx.LoadFile(ctx, file)
	if err != nil {
		t.Fatal(err)
	}
	var in []*tensor.Tensor
	for _, v := range g.Inputs {
		in = append(in, ins[v.Name])
	}
	if err := ir.Infer(g); err != nil {
		t.Fatal(err)
	}
	want, err := eval.Run(ctx, g, in, eval.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range g.Outputs {
		x, err := got[v.Name].Float64s()
		if err != nil {
			t.Fatal(err)
		}
		y, err := want[i].Float64s()
		if err != nil {
			t.Fatal(err)
		}
		if len(x) != len(y) {
			t.Fatalf("%s is %s, want %s", v.Name, got[v.Name], want[i])
		}
		worst, largest, xy, xx, yy := 0.0, 0.0, 0.0, 0.0, 0.0
		for j := range y {
			largest = max(largest, math.Abs(y[j]))
			if d := math.Abs(x[j] - y[j]); !(d <= worst) {
				worst = d
			}
			xy, xx, yy = xy+x[j]*y[j], xx+x[j]*x[j], yy+y[j]*y[j]
		}
		cosine := xy / math.Sqrt(xx*yy)
		t.Logf("%s: largest difference %.3g of %.3g, cosine %.6f", v.Name, worst, largest, cosine)
		if !(worst <= tol(largest)) || !(cosine >= least) {
			t.Errorf("%s: largest difference %g, allowed %g; cosine %g, at least %g", v.Name, worst, tol(largest), cosine, least)
		}
	}
}

// TestDevice16 runs models whose values are kept in 16 bits. The bounds: each launch rounds its weights and its output
// once, by 0.43 u of their magnitude in the mean square (see leastCosine); norms hold magnitudes and so gains near 1.
// Where the roundings of L launches all point one way an element is off by 0.86 L u of the largest magnitude: L u is
// allowed. They do not all point one way, and so the cosine between all elements is held closer.
func TestDevice16(t *testing.T) {
	for _, m := range []struct {
		file  string
		short bool
	}{
		{"testdata/models/zoo/t5enc_ts17.onnx", true},
		{"testdata/models/zoo/gpt2_ts17.onnx", false},
		{"testdata/models/zoo/llama_dynamo18.onnx", false},
		{"testdata/models/zoo/vit_ts17.onnx", false},
		{"testdata/models/zoo/convnext_hf_dynamo20.onnx", false},
		{"testdata/models/zoo/convnext1x1_ts17.onnx", false},
		{"testdata/models/zoo/resnet_ts13.onnx", false},
		{"testdata/models/zoo/gru_ts14.onnx", false},
		{"testdata/models/zoo/lstm_ts17.onnx", false},
		{"testdata/detrans/detrans.onnx", false},
	} {
		for precision, u := range map[string]float64{"bf16": unit[tensor.BF16], "f16": unit[tensor.F16]} {
			t.Run(filepath.Base(m.file)+"/"+precision, func(t *testing.T) {
				p := onDevice(t, m.file, codegen.Target{Precision: precision})
				if host := hostSteps(p); len(host) > 0 {
					t.Errorf("on the host:\n%s", strings.Join(host, "\n"))
				}
				if !m.short {
					long(t)
				}
				s, n := emulated(t, p), launches(p)
				g, err := onnx.LoadFile(context.Background(), m.file)
				if err != nil {
					t.Fatal(err)
				}
				ins := map[string]*tensor.Tensor{}
				for i, x := range passes.RandomInputs(g, nil, 3) {
					ins[g.Inputs[i].Name] = x
				}
				out, err := s.Run(context.Background(), ins)
				if err != nil {
					t.Fatal(err)
				}
				compareWithInterpreter(t, m.file, ins, out, func(largest float64) float64 { return float64(n) * u * largest }, leastCosine(2*n, u))
			})
		}
	}
}

// TestGoldensOnDevice runs the goldens, training and f64 among them, all outputs asked for: no step is left to the host,
// and what comes out is what the authors' code computed.
func TestGoldensOnDevice(t *testing.T) {
	whole := 0
	for _, c := range readGoldens(t, filepath.Join("testdata", "goldens")) {
		if builders[c.Variant] == nil {
			continue // an initialisation, no graph
		}
		t.Run(c.Name, func(t *testing.T) {
			ctx := context.Background()
			c.T = readSafetensors(t, filepath.Join("testdata", "goldens", c.File))
			gg := builders[c.Variant](t, c)
			for i, v := range gg.g.Outputs { // an output that is checked twice has one name
				v.Name = fmt.Sprintf("out%d", slices.Index(gg.g.Outputs[:i+1], v))
			}
			if err := gg.g.Sort(); err != nil {
				t.Fatal(err)
			}
			if err := ir.Infer(gg.g); err != nil {
				t.Fatal(err)
			}
			if _, err := passes.Run(ctx, gg.g, passes.Default()); err != nil {
				t.Fatal(err)
			}
			p, err := codegen.Compile(ctx, gg.g, codegen.Target{Device: "cuda"})
			if err != nil {
				t.Fatal(err)
			}
			host := hostSteps(p)
			t.Logf("%d launches, %d steps on the host", launches(p), len(host))
			if len(host) > 0 {
				t.Errorf("on the host:\n%s", strings.Join(host, "\n"))
			} else {
				whole++
			}
			ins := map[string]*tensor.Tensor{}
			for i, v := range gg.g.Inputs {
				ins[v.Name] = gg.ins[i]
			}
			out, err := emulated(t, p).Run(ctx, ins)
			if err != nil {
				t.Fatal(err)
			}
			for i, ck := range gg.checks {
				got := out[gg.g.Outputs[i].Name]
				x, err := got.Float64s()
				if ck.of != nil {
					x = ck.of(got)
				} else if err != nil {
					t.Fatal(err)
				}
				if c.DType == "float64" {
					c.hold(t, ck.what, x, ck.want, ck.exact)
					continue
				}
				if len(x) != len(ck.want) {
					t.Fatalf("%s: %d elements, want %d", ck.what, len(x), len(ck.want))
				}
				for j, w := range ck.want {
					if d := math.Abs(x[j] - w); !(d <= 1e-4*max(1, math.Abs(w))) && x[j] != w || ck.exact && d > 0 {
						t.Fatalf("%s: element %d is %g, want %g", ck.what, j, x[j], w)
					}
				}
			}
		})
	}
	t.Logf("%d goldens run whole on the device", whole)
}
