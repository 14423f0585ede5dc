package runtime

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime/hugepage"
)

// mapped compiles y = (x w1) w2 + b, writes it to a file and maps it again.
func mapped(t *testing.T, k, n int) *plan.Program {
	t.Helper()
	rng := rand.New(rand.NewPCG(3, 4))
	random := func(shape ...int) *tensor.Tensor {
		w := tensor.New(tensor.F32, shape...)
		for i := range tensor.Data[float32](w) {
			tensor.Data[float32](w)[i] = float32(rng.NormFloat64())
		}
		return w
	}
	g := ir.NewGraph("weights", ops.NewTable())
	x := g.AddInput("x", ir.MakeType(tensor.F32, ir.Sym("n"), ir.Known(int64(k))))
	h := g.Add(g.Op("MatMul"), nil, []*ir.Value{x, g.NewConst("w1", random(k, n))}, "h").Outputs[0]
	y := g.Add(g.Op("MatMul"), nil, []*ir.Value{h, g.NewConst("w2", random(n, 3))}, "y").Outputs[0]
	z := g.Add(g.Op("Add"), nil, []*ir.Value{y, g.NewConst("b", random(1, 3))}, "z").Outputs[0]
	g.Outputs = []*ir.Value{z}
	if err := ir.Infer(g); err != nil {
		t.Fatal(err)
	}
	p, err := codegen.Compile(context.Background(), g, codegen.Target{})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "w.moec")
	var b bytes.Buffer
	if err := plan.Write(&b, p); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	if p, err = plan.Open(file, ops.NewTable()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// Packed constants are copied as the choice says, byte for byte, others never; and the
// program's own stay readable after the pages behind them were given back.
func TestCopyWeights(t *testing.T) {
	small, large := mapped(t, 40, 30), mapped(t, 701, 1500)
	for _, c := range []struct {
		name   string
		p      *plan.Program
		choice HugePages
		copied bool
	}{
		{"off", large, HugePagesOff, false},
		{"on", large, HugePagesOn, true},
		{"auto", large, HugePagesAuto, hugepage.Available()},
		{"small on", small, HugePagesOn, true},
		{"small auto", small, HugePagesAuto, false},
	} {
		before := make([][]byte, len(c.p.Consts))
		for i, k := range c.p.Consts {
			before[i] = bytes.Clone(k.Data.Bytes())
		}
		data, err := copyWeights(c.p, c.choice)
		if err != nil {
			t.Fatal(err)
		}
		packed := 0
		for i, k := range c.p.Consts {
			if k.Layout != "" {
				packed++
			}
			if got := data[i] != k.Data; got != (c.copied && k.Layout != "") {
				t.Errorf("%s: constant %d (layout %q) copied: %v", c.name, i, k.Layout, got)
			}
			if !bytes.Equal(data[i].Bytes(), before[i]) || !bytes.Equal(k.Data.Bytes(), before[i]) {
				t.Errorf("%s: constant %d changed", c.name, i)
			}
		}
		if packed < 2 {
			t.Fatalf("%s: %d packed constants, want two", c.name, packed)
		}
	}
}

// The choice does not change a bit of the results.
func TestHugePagesDoNotChangeBits(t *testing.T) {
	p := mapped(t, 701, 1500)
	x := tensor.New(tensor.F32, 5, 701)
	for i := range tensor.Data[float32](x) {
		tensor.Data[float32](x)[i] = float32(i%13) - 6
	}
	var first []byte
	for _, choice := range []HugePages{HugePagesOff, HugePagesOn, HugePagesAuto, HugePagesOff} {
		s, err := New(p, Options{Threads: 2, HugePages: choice})
		if err != nil {
			t.Fatal(err)
		}
		out, err := s.Run(context.Background(), map[string]*tensor.Tensor{"x": x})
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = bytes.Clone(out["z"].Bytes())
		}
		if !bytes.Equal(out["z"].Bytes(), first) {
			t.Errorf("huge pages %d: other results", choice)
		}
		s.Close()
	}
}
