package passes

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

func TestPipelineKeepsItsOrder(t *testing.T) {
	names := Names(Pipeline())
	for _, c := range order() {
		if !slices.Contains(names, c.first) || !slices.Contains(names, c.then) {
			t.Errorf("%s before %s: not both are in the pipeline", c.first, c.then)
			continue
		}
		// The first run of one comes before the last run of the other.
		last := 0
		for i, n := range names {
			if n == c.then {
				last = i
			}
		}
		if slices.Index(names, c.first) > last {
			t.Errorf("%s does not run before %s: %s", c.first, c.then, c.why)
		}
	}
	for _, p := range Pipeline() {
		if p.Effect == Approximate {
			t.Errorf("%s is approximate and runs without being asked for", p.Name)
		}
		if p.Doc == "" || strings.ToLower(p.Name) != p.Name {
			t.Errorf("pass %q needs a lower-case name and a sentence", p.Name)
		}
	}
}

func TestBefore(t *testing.T) {
	mine := Pass{Name: "mine"}
	p := []Pass{{Name: "a"}, {Name: "b"}, {Name: "b"}}
	if got := Names(Before(p, "b", mine)); !slices.Equal(got, []string{"a", "mine", "b", "b"}) {
		t.Error(got)
	}
	if got := Names(Before(p, "c", mine)); !slices.Equal(got, []string{"a", "b", "b", "mine"}) {
		t.Error(got)
	}
}

// double is a pass that doubles the output of every Neg, declaring itself exact.
func double(effect Effect) Pass {
	return Pass{Name: "double", Doc: "Double.", Effect: effect, Run: func(ctx context.Context, g *ir.Graph) (bool, error) {
		e := &edit{g: g}
		for _, n := range slices.Clone(g.Nodes) {
			if n.Is("Neg") {
				e.replace(n.Outputs[0], e.add("Add", values(n.Inputs[0], n.Inputs[0]), nodes(n)))
				LeaveReceipt(ctx, Receipt{Pass: "double", Node: n.Name})
			}
		}
		return e.done()
	}}
}

const negText = `graph g(x: f32[n,3]) {
  a = Abs(x)
  y = Neg(a) @ layer/neg
  return y
}`

func TestCheckNamesThePassThatBreaksItsPromise(t *testing.T) {
	for _, effect := range []Effect{Exact, Rounding} {
		_, err := Run(context.Background(), parse(t, negText), Options{
			Pipeline: []Pass{Dead(), double(effect), CSE()}, Check: &Check{Eval: interpret},
		})
		var broken *BrokenPromiseError
		var e *ir.Error
		if !errors.As(err, &broken) || broken.Output != "y" || broken.Effect != effect || !errors.As(err, &e) || e.Pass != "double" {
			t.Errorf("%s: %v", effect, err)
		}
	}
	r, err := Run(context.Background(), parse(t, negText), Options{
		Pipeline: []Pass{double(Approximate)}, Check: &Check{Eval: interpret}, Verify: true,
	})
	if err != nil || len(r.Receipts) != 1 || r.Receipts[0].Pass != "double" {
		t.Errorf("an approximate pass: %v, receipts %v", err, r.Receipts)
	}
}

func TestCheckComparesTheProgram(t *testing.T) {
	c := &Check{Eval: interpret}
	g := parse(t, negText)
	if _, err := Run(context.Background(), g, Options{Check: c}); err != nil {
		t.Fatal(err)
	}
	var good, bad [][]*tensor.Tensor
	for _, ins := range c.Inputs {
		outs, err := interpret(context.Background(), g, ins)
		if err != nil {
			t.Fatal(err)
		}
		good = append(good, outs)
		bad = append(bad, []*tensor.Tensor{scaled(outs[0], 1.01)})
	}
	if err := c.Outputs(g, good); err != nil {
		t.Error(err)
	}
	if err := c.Outputs(g, bad); err == nil {
		t.Error("outputs that are off by a percent pass")
	}
}

func TestRunVerifiesWhatPassesSay(t *testing.T) {
	liar := func(say bool) Pass {
		p := double(Exact)
		return Pass{Name: "liar", Run: func(ctx context.Context, g *ir.Graph) (bool, error) {
			if say {
				return true, nil
			}
			_, err := p.Run(ctx, g)
			return false, err
		}}
	}
	for _, say := range []bool{true, false} {
		_, err := Run(context.Background(), parse(t, negText), Options{Pipeline: []Pass{liar(say)}, Verify: true})
		if err == nil || !strings.Contains(err.Error(), "pass liar") {
			t.Errorf("changed=%v: %v", say, err)
		}
	}
}

func TestPanicsNameThePassAndAreObserved(t *testing.T) {
	var seen []string
	_, err := Run(context.Background(), parse(t, negText), Options{
		Pipeline: []Pass{Dead(), {Name: "boom", Run: func(context.Context, *ir.Graph) (bool, error) { panic("ouch") }}, CSE()},
		Observe: func(s Step, _ *ir.Graph) error {
			seen = append(seen, s.Pass)
			return nil
		},
	})
	var p *PanicError
	if !errors.As(err, &p) || p.Value != "ouch" || !strings.Contains(err.Error(), "pass boom") || len(p.Stack) == 0 {
		t.Error(err)
	}
	if !slices.Equal(seen, []string{"import", "dead", "boom"}) {
		t.Errorf("observed %v", seen)
	}
}

func TestRunStopsWhenCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Run(ctx, parse(t, negText), Default()); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestPassesRunInSubgraphs(t *testing.T) {
	g := parse(t, `graph(c: bool[], x: f32[2]) {
  y = If(c | x) [
    graph then(a: f32[2]) {
      i = Identity(a)
      r = Abs(i)
      return r
    }
    graph else(a: f32[2]) {
      n = Neg(a)
      m = Neg(n)
      r = Neg(m)
      return r
    }
  ]
  return y
}`)
	opts := Default()
	opts.Verify, opts.Shuffle, opts.Check = true, true, &Check{Eval: interpret}
	r, err := Run(context.Background(), g, opts)
	if err != nil {
		t.Fatal(err)
	}
	if n := CountNodes(g); n != 3 || r.Steps[0].Before != 6 {
		t.Errorf("%d nodes, want 3; before: %d", n, r.Steps[0].Before)
	}
}

func TestShuffleKeepsProducersFirst(t *testing.T) {
	g := parse(t, `graph g(x: f32[2]) {
  a = Abs(x)
  b = Neg(x)
  c = Add(a, b)
  d = Neg(b)
  e = Add(c, d)
  return e
}`)
	before := slices.Clone(g.Nodes)
	if err := settle(g); err != nil {
		t.Fatal(err)
	}
	shuffle(g)
	if slices.Equal(before, g.Nodes) {
		t.Error("the order did not change")
	}
	if err := ir.Verify(g); err != nil {
		t.Error(err)
	}
}

func TestRandomInputsKnowSumsAndProducts(t *testing.T) {
	g := parse(t, `graph(a: f32[b,"p + 1"], c: f32[p,"2*b+p"], d: f32[b*p]) { return a, c, d }`)
	ins := RandomInputs(g, map[string]int{"b": 3}, 1)
	p := ins[0].Shape()[1] - 1
	if p < 2 || ins[1].Shape()[0] != p || ins[1].Shape()[1] != 6+p || ins[2].Shape()[0] != 3*p {
		t.Errorf("%v %v %v", ins[0], ins[1], ins[2])
	}
}

func TestRandomInputsStayInsideTables(t *testing.T) {
	g := parse(t, `graph(ids: i64[b,s], mask: i64[b,s], x: f16[b,4], flag: bool[b]) {
  flat = Reshape(ids, to=i64[1]{-1})
  e = Gather(table=f32[5,2]rand(1), flat)
  c = Cast(mask) {to=f32}
  return e, c, x, flag
}`)
	if err := settle(g); err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(20) {
		ins := RandomInputs(g, map[string]int{"s": 9}, seed)
		if s := ins[0].Shape(); s[1] != 9 || s[0] != ins[2].Shape()[0] {
			t.Fatalf("shapes %v and %v", ins[0], ins[2])
		}
		for _, x := range tensor.Data[int64](ins[0]) {
			if x < 0 || x >= 5 {
				t.Fatalf("index %d into a table of 5", x)
			}
		}
		for _, x := range tensor.Data[int64](ins[1]) {
			if x != 0 && x != 1 {
				t.Fatalf("%d in a mask", x)
			}
		}
		if _, err := interpret(context.Background(), g, ins); err != nil {
			t.Fatal(err)
		}
	}
}

// A model that runs on images alone is checked on images.
func TestCheckFindsSizesTheModelRunsOn(t *testing.T) {
	g := parse(t, `graph(x: f32[n,1,h,w]) {
  y = Conv(x, k=f32[1,1,20,20]rand(1))
  return y
}`)
	c := &Check{Eval: interpret}
	if _, err := Run(context.Background(), g, Options{Pipeline: []Pass{Dead()}, Check: c}); err != nil {
		t.Fatal(err)
	}
	if len(c.Inputs) != 1 || c.Inputs[0][0].Shape()[2] != 32 {
		t.Errorf("checked on %v", c.Inputs)
	}
	g = parse(t, `graph(x: f32[2,3]) {
  y = Reshape(x, to=i64[1]{7})
  return y
}`)
	if _, err := Run(context.Background(), g, Options{Check: &Check{Eval: interpret}}); err == nil {
		t.Error("a model that never runs was checked")
	}
}

func TestCompare(t *testing.T) {
	nan := float32(0)
	nan /= nan
	a := tensor.Of([]float32{1, -2, nan, 0}, 4)
	for _, c := range []struct {
		name            string
		b               *tensor.Tensor
		exact, rounding bool
	}{
		{"same", tensor.Of([]float32{1, -2, -nan, 0}, 4), true, true},
		{"rounded", tensor.Of([]float32{1.00001, -2, nan, 0}, 4), false, true},
		{"far", tensor.Of([]float32{1.001, -2, nan, 0}, 4), false, false},
		{"number for NaN", tensor.Of([]float32{1, -2, 3, 0}, 4), false, false},
		{"NaN for number", tensor.Of([]float32{nan, -2, nan, 0}, 4), false, false},
		{"shape", tensor.Of([]float32{1, -2, nan, 0}, 2, 2), false, false},
	} {
		d := Compare(a, c.b)
		if Exact.allows(d) != c.exact || Rounding.allows(d) != c.rounding {
			t.Errorf("%s: %s", c.name, d)
		}
	}
	if d := Compare(tensor.Of([]int64{1}, 1), tensor.Of([]int64{2}, 1)); Rounding.allows(d) {
		t.Errorf("integers: %s", d)
	}
}
