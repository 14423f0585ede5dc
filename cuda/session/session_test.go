package session_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/cuda"
	"github.com/seed-c851cfd2/moec/cuda/session"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// program is y = tanh(relu(x w)): a product, and a launch after it.
func program(t *testing.T) *plan.Program {
	t.Helper()
	g := ir.NewGraph("net", ops.NewTable())
	x := g.AddInput("x", ir.MakeType(tensor.F32, ir.Sym("n"), ir.Known(2)))
	w := g.NewConst("w", tensor.Of([]float32{1, -1, 2, 3}, 2, 2))
	a := g.Add(g.Op("moec::Linear"), &ops.LinearAttrs{Activation: ops.ActReLU}, []*ir.Value{x, w}, "")
	b := g.Add(g.Op("Tanh"), nil, a.Outputs, "y")
	b.Origin = []string{"/net/tanh"}
	g.Outputs = b.Outputs
	if err := ir.Infer(g); err != nil {
		t.Fatal(err)
	}
	p, err := codegen.Compile(context.Background(), g, codegen.Target{Device: "cuda"})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func open(t *testing.T, drv cuda.Driver, p *plan.Program, opt session.Options) *session.Session {
	t.Helper()
	dev, err := drv.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	s, err := session.New(p, dev, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Close()
		dev.Close()
	})
	return s
}

// TestShapes runs several batch sizes, none included, in turn, with room for one prepared shape, and with shared and
// separate memory.
func TestShapes(t *testing.T) {
	for _, opt := range []session.Options{{Instances: 1}, {Separate: true}} {
		for name, drv := range drivers() {
			t.Run(fmt.Sprintf("%s_%+v", name, opt), func(t *testing.T) { shapes(t, open(t, drv, program(t), opt)) })
		}
	}
}

func shapes(t *testing.T, s *session.Session) {
	for _, n := range []int{1, 3, 0, 3, 1} {
		x := tensor.New(tensor.F32, n, 2)
		for i := range tensor.Data[float32](x) {
			tensor.Data[float32](x)[i] = float32(i) / 4
		}
		out, err := s.Run(context.Background(), map[string]*tensor.Tensor{"x": x})
		if err != nil {
			t.Fatal(err)
		}
		got := tensor.Data[float32](out["y"])
		if len(got) != 2*n {
			t.Fatalf("%d rows gave %s", n, out["y"])
		}
		for i := range n {
			a, b := float64(2*i)/4, float64(2*i+1)/4
			for j, want := range []float64{math.Tanh(max(0, a+2*b)), math.Tanh(max(0, 3*b-a))} {
				if g := float64(got[2*i+j]); math.Abs(g-want) > 1e-6 {
					t.Errorf("row %d of %d, column %d: %g, want %g", i, n, j, g, want)
				}
			}
		}
	}
}

// TestFaultNamesNode: a launch that reads past an end is reported with the user's node, the launch and the kernel.
func TestFaultNamesNode(t *testing.T) {
	p := program(t)
	for _, st := range p.Main().Steps {
		if st.Op.Name != "Tanh" {
			continue
		}
		for i, a := range st.Launches[0].Args {
			if strings.HasPrefix(a, "u32:") {
				st.Launches[0].Args[i] = a + "+4"
			}
		}
	}
	s := open(t, drivers()["emulator"], p, session.Options{Separate: true})
	_, err := s.Run(context.Background(), map[string]*tensor.Tensor{"x": tensor.New(tensor.F32, 3, 2)})
	for _, want := range []string{"/net/tanh", "launch 0", "elementwise_tanh", "out of bounds"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %q", err, want)
		}
	}
}

// TestWrongTarget: a program for the CPU is refused with the remedy.
func TestWrongTarget(t *testing.T) {
	dev, err := cuda.Emulator{}.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := session.New(&plan.Program{Target: plan.Target{Device: "cpu"}}, dev, session.Options{}); err == nil || !strings.Contains(err.Error(), "--target cuda") {
		t.Errorf("%v", err)
	}
}
