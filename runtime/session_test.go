package runtime_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/eval"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime"
)

// model is y = relu(x w) + x w, a view of it as [batch*seq, 5], its shape, and x's rows
// that are positive somewhere (a shape that the data decides).
func model(t *testing.T) *ir.Graph {
	t.Helper()
	g := ir.NewGraph("model", ops.NewTable())
	x := g.AddInput("x", ir.MakeType(tensor.F32, ir.Sym("batch"), ir.Sym("seq"), ir.Known(3)))
	w := tensor.New(tensor.F32, 3, 5)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range tensor.Data[float32](w) {
		tensor.Data[float32](w)[i] = float32(rng.NormFloat64())
	}
	one := func(op string, attrs any, name string, ins ...*ir.Value) *ir.Value {
		if o := g.Op(op); attrs == nil && o.Attrs != nil {
			attrs = o.Attrs()
		}
		n := g.Add(g.Op(op), attrs, ins, name)
		n.Origin = []string{"the_" + op}
		return n.Outputs[0]
	}
	h := one("MatMul", nil, "h", x, g.NewConst("w", w))
	r := one("Relu", nil, "r", h)
	y := one("Add", nil, "y", r, h)
	shape := one("Shape", nil, "shape", y)
	flat := one("Reshape", nil, "flat", y, g.NewConst("to", tensor.Of([]int64{-1, 5}, 2)))
	where := one("NonZero", nil, "where", r)
	twice := one("Add", nil, "twice", where, where)
	g.Outputs = []*ir.Value{y, flat, shape, twice, y, x}
	if err := ir.Infer(g); err != nil {
		t.Fatal(err)
	}
	if err := ir.Verify(g); err != nil {
		t.Fatal(err)
	}
	return g
}

func session(t *testing.T, g *ir.Graph, opt runtime.Options) *runtime.Session {
	t.Helper()
	p, err := codegen.Compile(context.Background(), g, codegen.Target{})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := plan.Write(&b, p); err != nil {
		t.Fatal(err)
	}
	q, err := plan.Decode(b.Bytes(), ops.NewTable())
	if err != nil {
		t.Fatal(err)
	}
	s, err := runtime.New(q, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func input(seed uint64, shape ...int) *tensor.Tensor {
	x := tensor.New(tensor.F32, shape...)
	rng := rand.New(rand.NewPCG(seed, 2))
	for i := range tensor.Data[float32](x) {
		tensor.Data[float32](x)[i] = float32(rng.NormFloat64())
	}
	return x
}

// sameAsEval compares all outputs with the interpreter's.
func sameAsEval(t *testing.T, g *ir.Graph, x *tensor.Tensor, outs []*tensor.Tensor) {
	t.Helper()
	want, err := eval.Run(context.Background(), g, []*tensor.Tensor{x}, eval.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i, w := range want {
		if outs[i].String() != w.String() {
			t.Fatalf("output %d is %s, want %s", i, outs[i], w)
		}
		a, _ := outs[i].Float64s()
		b, _ := w.Float64s()
		for j := range a {
			if d := a[j] - b[j]; d > 1e-5 || d < -1e-5 || d != d {
				t.Fatalf("output %d element %d is %v, want %v", i, j, a[j], b[j])
			}
		}
	}
}

func TestRunsAnyShapeLikeTheInterpreter(t *testing.T) {
	g := model(t)
	s := session(t, g, runtime.Options{Threads: 2, Instances: 3})
	for round := range 2 {
		for seed, shape := range [][]int{{1, 1, 3}, {2, 7, 3}, {0, 4, 3}, {5, 33, 3}, {1, 300, 3}} {
			x := input(uint64(seed+round), shape...)
			outs := make([]*tensor.Tensor, 6)
			if err := s.RunTo(context.Background(), []*tensor.Tensor{x}, outs, nil); err != nil {
				t.Fatal(err)
			}
			sameAsEval(t, g, x, outs)
		}
	}
}

// Outputs given to RunTo are written in place, and never alias each other or the inputs.
func TestOutputsBelongToTheCaller(t *testing.T) {
	g := model(t)
	s := session(t, g, runtime.Options{Threads: 1})
	outs := make([]*tensor.Tensor, 6)
	x := input(3, 2, 4, 3)
	if err := s.RunTo(context.Background(), []*tensor.Tensor{x}, outs, nil); err != nil {
		t.Fatal(err)
	}
	was := append([]*tensor.Tensor(nil), outs...)
	x2 := input(4, 2, 4, 3)
	if err := s.RunTo(context.Background(), []*tensor.Tensor{x2}, outs, nil); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, 1, 2, 4, 5} {
		if outs[i] != was[i] {
			t.Errorf("output %d was made anew", i)
		}
	}
	sameAsEval(t, g, x2, outs)
	for i := range outs {
		for b := range outs[i].Bytes() {
			outs[i].Bytes()[b] = 0xff
		}
		for j := range outs {
			if j > i && len(outs[j].Bytes()) > 0 && outs[j].Bytes()[0] == 0xff && outs[j].Bytes()[1] == 0xff {
				t.Errorf("outputs %d and %d share memory", i, j)
			}
		}
	}
	if tensor.Data[float32](x2)[0] != tensor.Data[float32](input(4, 2, 4, 3))[0] {
		t.Error("the input was changed")
	}
}

func TestManyGoroutines(t *testing.T) {
	g := model(t)
	s := session(t, g, runtime.Options{Threads: 2, Instances: 2})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for j := range 5 {
				x := input(uint64(i), 1+i%4, 2+j, 3)
				outs := make([]*tensor.Tensor, 6)
				if err := s.RunTo(context.Background(), []*tensor.Tensor{x}, outs, nil); err != nil {
					t.Error(err)
					return
				}
				sameAsEval(t, g, x, outs)
			}
		}()
	}
	wg.Wait()
}

func TestThreadsDoNotChangeBits(t *testing.T) {
	g := model(t)
	var first []*tensor.Tensor
	for _, threads := range []int{1, 2, 8} {
		s := session(t, g, runtime.Options{Threads: threads})
		outs := make([]*tensor.Tensor, 6)
		if err := s.RunTo(context.Background(), []*tensor.Tensor{input(9, 3, 129, 3)}, outs, nil); err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = outs
			continue
		}
		for i := range outs {
			if !tensor.Equal(outs[i], first[i]) {
				t.Errorf("%d threads change output %d", threads, i)
			}
		}
	}
}

func TestBadInputs(t *testing.T) {
	s := session(t, model(t), runtime.Options{Threads: 1})
	for _, c := range []struct {
		in   map[string]*tensor.Tensor
		want string
	}{
		{nil, `input "x" (f32[batch,seq,3]) is missing`},
		{map[string]*tensor.Tensor{"x": tensor.New(tensor.F64, 1, 1, 3)}, `input "x" is f64[1,1,3], want f32[batch,seq,3]`},
		{map[string]*tensor.Tensor{"x": tensor.New(tensor.F32, 1, 1, 4)}, `input "x" is f32[1,1,4], want f32[batch,seq,3]`},
		{map[string]*tensor.Tensor{"x": tensor.New(tensor.F32, 3)}, `input "x" is f32[3], want f32[batch,seq,3]`},
		{map[string]*tensor.Tensor{"x": tensor.New(tensor.F32, 1, 1, 3), "z": tensor.New(tensor.F32)}, `the model has no input "z"; its inputs are "x"`},
	} {
		_, err := s.Run(context.Background(), c.in)
		if err == nil || !errors.Is(err, ir.ErrInput) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

func TestCancel(t *testing.T) {
	s := session(t, model(t), runtime.Options{Threads: 1})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := s.Run(ctx, map[string]*tensor.Tensor{"x": input(1, 1, 1, 3)})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// If, Loop and Scan bodies run as functions of their own.
func TestSubgraphs(t *testing.T) {
	g := ir.NewGraph("outer", ops.NewTable())
	cond := g.AddInput("c", ir.MakeType(tensor.Bool))
	x := g.AddInput("x", ir.MakeType(tensor.F32, ir.Sym("n")))
	body := func(name, op string) *ir.Graph {
		b := ir.NewGraph(name, g.Ops)
		v := b.AddInput("x", ir.MakeType(tensor.F32, ir.Sym("n")))
		n := b.Add(b.Op(op), nil, []*ir.Value{v, v}, "y")
		b.Outputs = n.Outputs
		return b
	}
	n := g.Add(g.Op("If"), nil, []*ir.Value{cond, x}, "out")
	n.Subgraphs, n.Captures = []*ir.Graph{body("then", "Add"), body("else", "Mul")}, 1
	m := g.Add(g.Op("Add"), nil, []*ir.Value{n.Outputs[0], x}, "sum")
	g.Outputs = m.Outputs
	if err := ir.Infer(g); err != nil {
		t.Fatal(err)
	}
	s := session(t, g, runtime.Options{Threads: 1})
	for _, c := range []bool{true, false} {
		out, err := s.Run(context.Background(), map[string]*tensor.Tensor{"c": tensor.Scalar(c), "x": tensor.Of([]float32{2, 3}, 2)})
		if err != nil {
			t.Fatal(err)
		}
		want := map[bool][]float32{true: {6, 9}, false: {6, 12}}[c]
		got := tensor.Data[float32](out["sum"])
		if got[0] != want[0] || got[1] != want[1] {
			t.Errorf("%v: %v, want %v", c, got, want)
		}
	}
}
