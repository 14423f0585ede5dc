package tests

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/cuda/session"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/eval"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// inF64 is a case with every f32 tensor widened.
func inF64(c *familyCase) *familyCase {
	d := *c
	d.name += "_f64"
	d.ins = make([]*tensor.Tensor, len(c.ins))
	for i, x := range c.ins {
		if d.ins[i] = x; x != nil && x.DType() == tensor.F32 {
			d.ins[i] = castTo(x, tensor.F64)
		}
	}
	return &d
}

// deviceSession compiles a graph for the device, where no step of it may be left to the host, and opens it there.
func deviceSession(t *testing.T, g *ir.Graph, precision string) *session.Session {
	t.Helper()
	p, err := codegen.Compile(context.Background(), g, codegen.Target{Device: "cuda", Precision: precision})
	if err != nil {
		t.Fatal(err)
	}
	if host := hostSteps(p); len(host) > 0 {
		t.Errorf("on the host:\n%s", strings.Join(host, "\n"))
	}
	return emulated(t, p)
}

// holdOnDevice compares a run on the device with the interpreter.
func holdOnDevice(t *testing.T, what string, s *session.Session, g *ir.Graph, ins []*tensor.Tensor, tol func(tensor.DType) float64) {
	t.Helper()
	want, err := eval.Run(context.Background(), g, ins, eval.Options{})
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]*tensor.Tensor{}
	for i, v := range g.Inputs {
		named[v.Name] = ins[i]
	}
	got, err := s.Run(context.Background(), named)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range g.Outputs {
		nearly(t, what+v.Name, got[v.Name], want[i], tol(v.Type.DType))
	}
}

// TestFamilyOnDevice: every layer of the family with all that it can have - masks, noise, replayed selections, every
// output, no tokens, one - runs whole on the device and gives what Eval gives, in f32 and in f64.
func TestFamilyOnDevice(t *testing.T) {
	table := ops.NewTable()
	for _, c := range familyCases() {
		for _, c := range []*familyCase{c, inF64(c)} {
			t.Run(c.name, func(t *testing.T) {
				g, ins := c.graph(t, table)
				holdOnDevice(t, "", deviceSession(t, g, ""), g, ins, func(dt tensor.DType) float64 { return bodyTolerance[dt] })
			})
		}
	}
}

// TestFamilyOnDeviceSymbolic leaves the leading dimensions of every input that has a row per token open, by name and
// without one.
func TestFamilyOnDeviceSymbolic(t *testing.T) {
	table := ops.NewTable()
	for i, c := range familyCases() {
		t.Run(c.name, func(t *testing.T) {
			g, ins := c.graph(t, table)
			lead := c.ins[0].Rank() - 1
			for _, v := range g.Inputs {
				for j := range lead {
					if v.Type.Shape[j] = ir.Unknown(); i%2 == 0 {
						v.Type.Shape[j] = ir.Sym(fmt.Sprint("lead", j))
					}
				}
			}
			if err := ir.Infer(g); err != nil {
				t.Fatal(err)
			}
			holdOnDevice(t, "", deviceSession(t, g, ""), g, ins, func(dt tensor.DType) float64 { return bodyTolerance[dt] })
		})
	}
}

// TestFamilyOnDeviceTyped runs layers of f64, f16 and bf16 models, the latter two also where the target keeps values in
// 16 bits itself.
func TestFamilyOnDeviceTyped(t *testing.T) {
	table := ops.NewTable()
	for _, c := range typedCases() {
		for _, precision := range []string{"f32", "f16", "bf16"} {
			t.Run(c.name+"/"+precision, func(t *testing.T) {
				g, ins := c.graph(t, table)
				holdOnDevice(t, "", deviceSession(t, g, precision), g, ins, func(dt tensor.DType) float64 {
					if precision == "bf16" && dt != tensor.F64 {
						dt = tensor.BF16
					}
					return bodyTolerance[dt]
				})
			})
		}
	}
}

// TestFamilyOnDeviceOpen leaves the number of tokens open, at sizes around the kernels' tiles, with outputs beyond y.
func TestFamilyOnDeviceOpen(t *testing.T) {
	table := ops.NewTable()
	for i, c := range kernelCases() {
		switch c.op {
		case "moec::MoE":
			c.outs = []int{ops.MoEOutY, ops.MoEOutIndices, ops.MoEOutGates, ops.MoEOutEntropy, ops.MoEOutSwitch}
		case "moec::PKM":
			c.outs = []int{ops.PKMOutY, ops.PKMOutIndices, ops.PKMOutScores}
		case "moec::TopKMLP":
			c.outs = []int{ops.TopKOutY, ops.TopKOutHidden}
		}
		if i%3 == 1 {
			c = inF64(c)
		}
		t.Run(c.name, func(t *testing.T) {
			g := openGraph(t, c, table)
			s := deviceSession(t, g, "")
			for _, n := range []int{0, 1, 33} {
				x := newDrawer(uint64(n)).normal(n, lastDim(c.ins[0]))
				if c.ins[0].DType() == tensor.F64 {
					x = castTo(x, tensor.F64)
				}
				holdOnDevice(t, fmt.Sprintf("%d tokens: ", n), s, g, []*tensor.Tensor{x}, func(dt tensor.DType) float64 { return bodyTolerance[dt] })
			}
		})
	}
}

// TestFamilyOnDevice16 runs the cases at the 16-bit precisions. x and the other inputs are numbers of the format, so that
// what the device gets is what the interpreter gets. The tolerance is that of the format's expansions; a selection that
// the rounding of logits turned over would show, and these seeds have none.
func TestFamilyOnDevice16(t *testing.T) {
	table := ops.NewTable()
	for precision, dt := range map[string]tensor.DType{"bf16": tensor.BF16, "f16": tensor.F16} {
		for _, c := range familyCases() {
			t.Run(precision+"/"+c.name, func(t *testing.T) {
				d := *c
				d.ins = make([]*tensor.Tensor, len(c.ins))
				for i, x := range c.ins {
					if d.ins[i] = x; x != nil && x.DType() == tensor.F32 {
						d.ins[i] = rounded(castTo(x, dt))
					}
				}
				g, ins := d.graph(t, table)
				holdOnDevice(t, "", deviceSession(t, g, precision), g, ins, func(out tensor.DType) float64 { return bodyTolerance[dt] })
			})
		}
	}
}

// rounded widens a 16-bit tensor to f32.
func rounded(x *tensor.Tensor) *tensor.Tensor {
	v, _ := x.Float64s()
	out := tensor.New(tensor.F32, x.Shape()...)
	for i := range v {
		tensor.Data[float32](out)[i] = float32(v[i])
	}
	return out
}
