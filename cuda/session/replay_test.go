package session_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/cuda"
	"github.com/seed-c851cfd2/moec/cuda/emu"
	"github.com/seed-c851cfd2/moec/cuda/nvidia"
	"github.com/seed-c851cfd2/moec/cuda/session"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/eval"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime"
)

// drivers are the emulator, running at once and as late as a GPU may, and, where there is one, a GPU (or the emulator behind the driver's own symbols).
func drivers() map[string]cuda.Driver {
	out := map[string]cuda.Driver{
		"emulator": cuda.Emulator{Options: emu.Options{Checks: emu.AllChecks}},
		"late":     cuda.Emulator{Options: emu.Options{Checks: emu.AllChecks}, Late: true},
	}
	if _, err := (nvidia.Driver{}).Devices(); err == nil {
		out["nvidia"] = nvidia.Driver{}
	}
	return out
}

// counted is a device that counts what its streams are asked to do.
type counted struct {
	cuda.Device
	launches, captures, replays, graphs int
	noGraphs                            bool // captures fail, as on a driver without them
}

func (d *counted) NewStream() (cuda.Stream, error) {
	s, err := d.Device.NewStream()
	return &countedStream{s, d}, err
}

type countedStream struct {
	cuda.Stream
	d *counted
}

func (s *countedStream) Launch(l cuda.Launch) error {
	s.d.launches++
	return s.Stream.Launch(l)
}

func (s *countedStream) Capture(f func() error) (cuda.Graph, error) {
	s.d.captures++
	if s.d.noGraphs {
		return nil, errors.New("no graphs here")
	}
	g, err := s.Stream.Capture(f)
	if err != nil {
		return nil, err
	}
	s.d.graphs++
	return &countedGraph{g, s.d}, nil
}

type countedGraph struct {
	cuda.Graph
	d *counted
}

func (g *countedGraph) Launch(s cuda.Stream) error {
	g.d.replays++
	return g.Graph.Launch(s.(*countedStream).Stream)
}

func (g *countedGraph) Close() error {
	g.d.graphs--
	return g.Graph.Close()
}

// parted is softmax(hardmax(tanh(relu(x w)) + b)) w + b: two launches, a step for which there is no kernel, and more launches that
// also need inputs.
func parted(t *testing.T) (*ir.Graph, *plan.Program) {
	t.Helper()
	g := ir.NewGraph("net", ops.NewTable())
	r := rand.New(rand.NewPCG(3, 4))
	x := g.AddInput("x", ir.MakeType(tensor.F32, ir.Sym("n"), ir.Known(8)))
	b := g.AddInput("b", ir.MakeType(tensor.F32, ir.Sym("n"), ir.Known(8)))
	node := func(op string, attrs any, ins ...*ir.Value) *ir.Value {
		o := g.Op(op)
		if attrs == nil && o.Attrs != nil {
			attrs = o.Attrs()
		}
		return g.Add(o, attrs, ins, "").Outputs[0]
	}
	h := node("moec::Linear", &ops.LinearAttrs{Activation: ops.ActReLU}, x, g.NewConst("w", random(r, 1, 8, 8)))
	h = node("Softmax", nil, h)
	h = node("Hardmax", nil, node("Add", nil, h, b))
	h = node("moec::Linear", &ops.LinearAttrs{}, h, g.NewConst("w2", random(r, 1, 8, 8)))
	h = node("Softmax", nil, node("Add", nil, h, b))
	g.Outputs = []*ir.Value{h}
	if err := ir.Infer(g); err != nil {
		t.Fatal(err)
	}
	p, err := codegen.Compile(context.Background(), g, codegen.Target{Device: "cuda"})
	if err != nil {
		t.Fatal(err)
	}
	return g, p
}

// TestReplay: the first run of a set of shapes launches, the second captures what lies between host steps, and later
// ones replay it, with other inputs each time; shapes whose instance was dropped begin again. Graphs are given back.
// An observer, and a driver without graphs, see plain launches.
func TestReplay(t *testing.T) {
	g, p := parted(t)
	host := 0
	for _, st := range p.Main().Steps {
		if st.Kernel == plan.KernelRef {
			host++
		}
	}
	if host != 1 {
		t.Fatalf("%d steps on the host, want 1 between launches", host)
	}
	for name, drv := range drivers() {
		for _, noGraphs := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s_without_%t", name, noGraphs), func(t *testing.T) {
				inner, err := drv.Open(0)
				if err != nil {
					t.Fatal(err)
				}
				defer inner.Close()
				dev := &counted{Device: inner, noGraphs: noGraphs}
				s, err := session.New(p, dev, session.Options{Instances: 2})
				if err != nil {
					t.Fatal(err)
				}
				r := rand.New(rand.NewPCG(5, 6))
				run := func(n int, obs *runtime.Observer) {
					t.Helper()
					ins := []*tensor.Tensor{random(r, 1, n, 8), random(r, 1, n, 8)}
					outs := make([]*tensor.Tensor, 1)
					if err := s.RunTo(context.Background(), ins, outs, obs); err != nil {
						t.Fatal(err)
					}
					want, err := eval.Run(context.Background(), g, ins, eval.Options{})
					if err != nil {
						t.Fatal(err)
					}
					near(t, fmt.Sprintf("%d rows", n), tensor.Data[float32](outs[0]), tensor.Data[float32](want[0]), 1e-5)
				}
				run(3, nil)
				plain := dev.launches
				if plain < 4 || dev.captures != 0 {
					t.Fatalf("the first run made %d launches and %d captures", plain, dev.captures)
				}
				for range 4 {
					run(3, nil)
				}
				run(5, nil)
				run(3, nil)
				if !noGraphs && (dev.captures != 2 || dev.launches != 3*plain || dev.replays != 2*5 || dev.graphs != 2) {
					t.Errorf("%d captures, %d launches, %d replays, %d graphs; want 2, %d, 10, 2", dev.captures, dev.launches, dev.replays, dev.graphs, 3*plain)
				}
				if noGraphs && (dev.captures != 2 || dev.launches != 7*plain) {
					t.Errorf("without graphs: %d attempts, %d launches; want 2 and %d", dev.captures, dev.launches, 7*plain)
				}
				before := dev.launches
				run(3, &runtime.Observer{})
				if dev.launches != before+plain {
					t.Errorf("with an observer: %d launches, want %d", dev.launches-before, plain)
				}
				run(6, nil) // takes the place of 5
				run(7, nil) // takes the place of 3
				if dev.graphs != 0 {
					t.Errorf("%d graphs of dropped shapes are left", dev.graphs)
				}
				run(3, nil)
				run(3, nil)
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if dev.graphs != 0 {
					t.Errorf("%d graphs are left after Close", dev.graphs)
				}
			})
		}
	}
}

// TestReplayAllocates: a run that replays allocates nothing in the session.
func TestReplayAllocates(t *testing.T) {
	for _, layers := range []int{2, 20} {
		g := ir.NewGraph("net", ops.NewTable())
		v := g.AddInput("x", ir.MakeType(tensor.F32, ir.Sym("n"), ir.Known(4)))
		for range layers {
			v = g.Add(g.Op("Softmax"), g.Op("Softmax").Attrs(), []*ir.Value{v}, "").Outputs[0]
		}
		g.Outputs = []*ir.Value{v}
		if err := ir.Infer(g); err != nil {
			t.Fatal(err)
		}
		p, err := codegen.Compile(context.Background(), g, codegen.Target{Device: "cuda"})
		if err != nil {
			t.Fatal(err)
		}
		inner, err := cuda.Emulator{}.Open(0)
		if err != nil {
			t.Fatal(err)
		}
		s, err := session.New(p, &idle{inner}, session.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		ins, outs := []*tensor.Tensor{tensor.New(tensor.F32, 3, 4)}, []*tensor.Tensor{tensor.New(tensor.F32, 3, 4)}
		run := func() {
			if err := s.RunTo(context.Background(), ins, outs, nil); err != nil {
				t.Fatal(err)
			}
		}
		run()
		run() // captures
		if n := testing.AllocsPerRun(20, run); n != 0 {
			t.Errorf("%v allocations for %d launches", n, layers)
		}
	}
}

// idle is a device whose graphs and copies do nothing, so that only the session's own allocations are counted.
type idle struct{ cuda.Device }

func (d *idle) NewStream() (cuda.Stream, error) {
	s, err := d.Device.NewStream()
	return &idleStream{s}, err
}

type idleStream struct{ cuda.Stream }

func (s *idleStream) CopyIn(cuda.Ptr, []byte) error            { return nil }
func (s *idleStream) CopyOut([]byte, cuda.Ptr) error           { return nil }
func (s *idleStream) Capture(func() error) (cuda.Graph, error) { return idleGraph{}, nil }

type idleGraph struct{}

func (idleGraph) Launch(cuda.Stream) error { return nil }
func (idleGraph) Close() error             { return nil }

// treacherous is y = tanh(f(relu(x w))) where the kernel of f reads past its end when the first number is large.
func treacherous(t *testing.T) *plan.Program {
	p := program(t)
	for _, st := range p.Main().Steps {
		if st.Op.Name != "Tanh" {
			continue
		}
		l := &st.Launches[0]
		for i, m := range p.Modules {
			if m.Name == l.Module {
				p.Modules[i].Text = fmt.Sprintf(`.version 7.0
.target sm_80
.address_size 64
.visible .entry %s(.param .u64 x, .param .u64 y, .param .u32 n)
{
	.reg .b32 %%r<4>; .reg .f32 %%f<2>; .reg .b64 %%rd<4>; .reg .pred %%p;
	ld.param.u64 %%rd0, [x];
	ld.param.u64 %%rd1, [y];
	ld.param.u32 %%r0, [n];
	mov.u32 %%r1, %%tid.x;
	setp.ge.u32 %%p, %%r1, %%r0;
	@%%p bra DONE;
	ld.global.f32 %%f0, [%%rd0];
	cvt.rzi.u32.f32 %%r2, %%f0;
	mul.wide.u32 %%rd2, %%r2, 4;
	add.u64 %%rd2, %%rd0, %%rd2;
	ld.global.f32 %%f1, [%%rd2];
	mul.wide.u32 %%rd3, %%r1, 4;
	add.u64 %%rd3, %%rd1, %%rd3;
	st.global.f32 [%%rd3], %%f1;
DONE:
	ret;
}
`, l.Kernel)
			}
		}
	}
	return p
}

// lateFault runs the treacherous program until its launches are a graph, then with numbers that make it fail, and
// returns that error and what a run after it gives.
func lateFault(t *testing.T, drv cuda.Driver) (fault, after error) {
	dev, err := drv.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	s, err := session.New(treacherous(t), dev, session.Options{Separate: true})
	if err != nil {
		t.Fatal(err)
	}
	run := func(v float32) error {
		_, err := s.Run(context.Background(), map[string]*tensor.Tensor{"x": tensor.Of([]float32{v, 0, 0, 0}, 2, 2)})
		return err
	}
	for range 3 {
		if err := run(0); err != nil {
			t.Fatal(err)
		}
	}
	return run(1 << 28), run(0)
}

// TestFaultInGraph: a launch that fails when a graph is replayed is named, and the session begins afresh.
func TestFaultInGraph(t *testing.T) {
	for _, name := range []string{"emulator", "late"} {
		fault, after := lateFault(t, drivers()[name])
		var le *cuda.LaunchError
		if !errors.As(fault, &le) || le.Node != "/net/tanh" || le.Index != 0 || !strings.Contains(fault.Error(), "out of bounds") || !strings.Contains(fault.Error(), "Tanh") {
			t.Errorf("%s: the error is %v", name, fault)
		}
		if after != nil {
			t.Errorf("%s: the next run: %v", name, after)
		}
	}
}

// TestFaultReportedLate: a GPU reports a fault when it is waited for. The error then names the launches among which it is, and what
// names it; the context is lost, so the test runs in a process of its own.
func TestFaultReportedLate(t *testing.T) {
	const env = "MOEC_TEST_LATE_FAULT"
	drv, ok := drivers()["nvidia"]
	if !ok {
		t.Skip("no driver that reports late")
	}
	if os.Getenv(env) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestFaultReportedLate$", "-test.v")
		cmd.Env = append(os.Environ(), env+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	fault, after := lateFault(t, drv)
	for _, want := range []string{"one of 2 launches", "elementwise_tanh", "/net/tanh", "moec profile"} {
		if fault == nil || !strings.Contains(fault.Error(), want) {
			t.Errorf("%v does not say %q", fault, want)
		}
	}
	if after == nil {
		t.Error("the device works on after a fault")
	}
}

// TestStaging: values larger than the page-locked memory, and runs that end early, leave the caller's tensors alone.
func TestStaging(t *testing.T) {
	for name, drv := range drivers() {
		t.Run(name, func(t *testing.T) {
			dev, err := drv.Open(0)
			if err != nil {
				t.Fatal(err)
			}
			defer dev.Close()
			s, err := session.New(program(t), dev, session.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			for _, n := range []int{1, 5000, 2} { // the buffer grows in between
				x := tensor.New(tensor.F32, n, 2)
				x.Bytes()[len(x.Bytes())-1] = 0x40 // 2
				out, err := s.Run(context.Background(), map[string]*tensor.Tensor{"x": x})
				if err != nil {
					t.Fatal(err)
				}
				if got := tensor.Data[float32](out["y"])[2*n-1]; math.Abs(float64(got)-math.Tanh(6)) > 1e-6 {
					t.Errorf("%d rows: the last number is %g, want tanh 6", n, got)
				}
			}
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			if _, err := s.Run(ctx, map[string]*tensor.Tensor{"x": tensor.New(tensor.F32, 2, 2)}); !errors.Is(err, context.Canceled) {
				t.Errorf("a cancelled run gives %v", err)
			}
		})
	}
}

// TestMemory: shapes that take turns use each other's memory, and Close gives all of it back.
func TestMemory(t *testing.T) {
	_, p := parted(t)
	inner, err := cuda.Emulator{Late: true}.Open(0)
	if err != nil {
		t.Fatal(err)
	}
	dev := &metered{Device: inner, live: map[cuda.Ptr]bool{}}
	s, err := session.New(p, dev, session.Options{Instances: 1})
	if err != nil {
		t.Fatal(err)
	}
	run := func(n int) {
		t.Helper()
		in := map[string]*tensor.Tensor{"x": tensor.New(tensor.F32, n, 8), "b": tensor.New(tensor.F32, n, 8)}
		if _, err := s.Run(context.Background(), in); err != nil {
			t.Fatal(err)
		}
	}
	run(3)
	run(4)
	after := dev.allocations
	for n := 5; n < 9; n++ {
		run(n)
	}
	if dev.allocations != after {
		t.Errorf("%d allocations for shapes of like size", dev.allocations-after)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if len(dev.live) != 0 {
		t.Errorf("%d allocations are left after Close", len(dev.live))
	}
}

// metered is a device that knows what is allocated.
type metered struct {
	cuda.Device
	allocations int
	live        map[cuda.Ptr]bool
}

func (d *metered) Alloc(n int64) (cuda.Ptr, error) {
	p, err := d.Device.Alloc(n)
	if err == nil {
		d.allocations++
		d.live[p] = true
	}
	return p, err
}

func (d *metered) Free(p cuda.Ptr) error {
	delete(d.live, p)
	return d.Device.Free(p)
}
