package ops

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// evalOp runs one op on inputs (nil for absent ones) with attributes given by name.
func evalOp(t *testing.T, name string, attrs map[string]any, ins ...*tensor.Tensor) ([]*tensor.Tensor, error) {
	t.Helper()
	return evalOpOuts(t, name, attrs, 1, ins...)
}

func evalOpOuts(t *testing.T, name string, attrs map[string]any, outs int, ins ...*tensor.Tensor) ([]*tensor.Tensor, error) {
	t.Helper()
	op := NewTable().Lookup(ir.DomainONNX, name)
	if op == nil {
		op = NewTable().Lookup(ir.DomainMicrosoft, name)
	}
	if op == nil {
		t.Fatalf("no op %s", name)
	}
	c := &ir.EvalCtx{
		Context: context.Background(), Attrs: newAttrs(t, op, attrs), Ins: ins,
		Outs: make([]*tensor.Tensor, outs), Want: slices.Repeat([]bool{true}, outs), MaxElems: 1 << 24,
	}
	err := op.Eval(c)
	return c.Outs, err
}

func newAttrs(t *testing.T, op *ir.Op, attrs map[string]any) any {
	t.Helper()
	if op.Attrs == nil {
		return nil
	}
	a := op.Attrs()
	for k, v := range attrs {
		if err := ir.SetAttr(a, k, v); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

func ofF32(shape []int, v ...float32) *tensor.Tensor { return tensor.Of(v, shape...) }
func ofI64(v ...int64) *tensor.Tensor                { return tensor.Of(v, len(v)) }

func sameValues(t *testing.T, got *tensor.Tensor, want *tensor.Tensor) {
	t.Helper()
	if got.DType() != want.DType() || !slices.Equal(got.Shape(), want.Shape()) {
		t.Fatalf("got %s, want %s", got, want)
	}
	if got.DType() == tensor.String {
		if !slices.Equal(got.Strings(), want.Strings()) {
			t.Fatalf("got %q, want %q", got.Strings(), want.Strings())
		}
		return
	}
	a, err := got.Float64s()
	if err != nil {
		t.Fatal(err)
	}
	b, _ := want.Float64s()
	for i := range a {
		if a[i] != b[i] && !(a[i] != a[i] && b[i] != b[i]) && math.Abs(a[i]-b[i]) > 1e-6*math.Max(1, math.Abs(b[i])) {
			t.Fatalf("element %d: got %v, want %v\n got %v\nwant %v", i, a[i], b[i], a, b)
		}
	}
}

func TestFirstOps(t *testing.T) {
	x := ofF32([]int{2, 3}, 1, 2, 3, 4, 5, 6)
	cases := []struct {
		op    string
		attrs map[string]any
		ins   []*tensor.Tensor
		want  *tensor.Tensor
	}{
		{"Add", nil, []*tensor.Tensor{x, ofF32([]int{3}, 10, 20, 30)}, ofF32([]int{2, 3}, 11, 22, 33, 14, 25, 36)},
		{"Sub", nil, []*tensor.Tensor{ofF32([]int{2, 1}, 1, 2), x}, ofF32([]int{2, 3}, 0, -1, -2, -2, -3, -4)},
		{"Div", nil, []*tensor.Tensor{ofI64(-7, 7), ofI64(2, -2)}, ofI64(-3, -3)},
		{"Mod", nil, []*tensor.Tensor{ofI64(-7, 7), ofI64(3, -3)}, ofI64(2, -2)},
		{"Mod", map[string]any{"fmod": int64(1)}, []*tensor.Tensor{ofI64(-7, 7), ofI64(3, -3)}, ofI64(-1, 1)},
		{"MatMul", nil, []*tensor.Tensor{x, ofF32([]int{3, 2}, 1, 0, 0, 1, 1, 1)}, ofF32([]int{2, 2}, 4, 5, 10, 11)},
		{
			"Gemm",
			map[string]any{"transA": int64(1), "alpha": float32(2), "beta": float32(0.5)},
			[]*tensor.Tensor{x, ofF32([]int{2, 1}, 1, 2), ofF32([]int{1}, 4)},
			ofF32([]int{3, 1}, 20, 26, 32),
		},
		{"Transpose", nil, []*tensor.Tensor{x}, ofF32([]int{3, 2}, 1, 4, 2, 5, 3, 6)},
		{"Slice", nil, []*tensor.Tensor{x, ofI64(-1), ofI64(-100), ofI64(1), ofI64(-2)}, ofF32([]int{2, 2}, 3, 1, 6, 4)},
		{"Gather", map[string]any{"axis": int64(1)}, []*tensor.Tensor{x, ofI64(-1, 0)}, ofF32([]int{2, 2}, 3, 1, 6, 4)},
		{"ReduceMean", nil, []*tensor.Tensor{x, ofI64(1)}, ofF32([]int{2, 1}, 2, 5)},
		{"Concat", map[string]any{"axis": int64(-1)}, []*tensor.Tensor{x, ofF32([]int{2, 1}, 8, 9)}, ofF32([]int{2, 4}, 1, 2, 3, 8, 4, 5, 6, 9)},
		{"Tile", nil, []*tensor.Tensor{ofF32([]int{2}, 1, 2), ofI64(2)}, ofF32([]int{4}, 1, 2, 1, 2)},
		{"Reshape", nil, []*tensor.Tensor{x, ofI64(0, -1, 1)}, ofF32([]int{2, 3, 1}, 1, 2, 3, 4, 5, 6)},
		{"Reshape", nil, []*tensor.Tensor{ofF32([]int{0, 5, 6}), ofI64(0, 0, -1, 2)}, ofF32([]int{0, 5, 3, 2})}, // copied dims do not hide what -1 stands for
		{"Cast", map[string]any{"to": int64(7)}, []*tensor.Tensor{ofF32([]int{3}, -1.7, 2.9, 0)}, ofI64(-1, 2, 0)},
		{"Range", nil, []*tensor.Tensor{tensor.Scalar(int64(10)), tensor.Scalar(int64(4)), tensor.Scalar(int64(-2))}, ofI64(10, 8, 6)},
		{"Where", nil, []*tensor.Tensor{tensor.Of([]bool{true, false}, 2, 1), x, ofF32(nil, 0)}, ofF32([]int{2, 3}, 1, 2, 3, 0, 0, 0)},
	}
	for _, k := range cases {
		t.Run(k.op, func(t *testing.T) {
			got, err := evalOp(t, k.op, k.attrs, k.ins...)
			if err != nil {
				t.Fatal(err)
			}
			sameValues(t, got[0], k.want)
		})
	}
}

// The shape arithmetic of an attention block as exporters write it keeps its names.
func TestShapeArithmeticStaysSymbolic(t *testing.T) {
	g := ir.NewGraph("g", NewTable())
	x := g.AddInput("x", ir.MakeType(tensor.F32, ir.Sym("batch"), ir.Sym("seq"), ir.Known(384)))
	konst := func(v ...int64) *ir.Value { return g.NewConst("", ofI64(v...)) }
	one := func(op string, attrs map[string]any, ins ...*ir.Value) *ir.Value {
		o := g.Op(op)
		return g.Add(o, newAttrs(t, o, attrs), ins, "").Outputs[0]
	}
	shape := one("Shape", nil, x)
	pick := func(i int64) *ir.Value {
		return one("Gather", nil, shape, g.NewConst("", tensor.Scalar(i)))
	}
	batch, seq := pick(0), pick(1)
	target := one("Concat", map[string]any{"axis": int64(0)},
		one("Unsqueeze", nil, batch, konst(0)), one("Unsqueeze", nil, seq, konst(0)), konst(12), konst(-1))
	heads := one("Transpose", map[string]any{"perm": []int64{0, 2, 1, 3}}, one("Reshape", nil, x, target))
	positions := one("Slice", nil, g.NewConst("", tensor.New(tensor.I64, 1, 512)), konst(0), one("Unsqueeze", nil, seq, konst(0)), konst(1))
	emb := one("Gather", nil, g.NewConst("", tensor.New(tensor.F32, 512, 384)), positions)
	sum := one("Add", nil, x, emb)
	half := one("Range", nil, g.NewConst("", tensor.Scalar(int64(0))), one("Mul", nil, seq, g.NewConst("", tensor.Scalar(int64(2)))), g.NewConst("", tensor.Scalar(int64(1))))
	// An expand to a shape whose -1 stand for "as it is": Where(shape == -1, ones, shape).
	asked := one("Concat", map[string]any{"axis": int64(0)}, one("Unsqueeze", nil, batch, konst(0)), one("Unsqueeze", nil, seq, konst(0)))
	ones := one("ConstantOfShape", map[string]any{"value": ofI64(1)}, konst(2))
	keep := one("Equal", nil, asked, one("Mul", nil, ones, g.NewConst("", tensor.Scalar(int64(-1)))))
	types := one("Expand", nil, positions, one("Where", nil, keep, ones, asked))
	if err := ir.Infer(g); err != nil {
		t.Fatal(err)
	}
	for v, want := range map[*ir.Value]string{
		types: "i64[batch,seq]",
		heads: "f32[batch,12,seq,32]",
		sum:   "f32[batch,seq,384]",
		half:  "i64[2*seq]",
	} {
		if got := v.Type.String(); got != want {
			t.Errorf("%s: got %s, want %s", v.Def.Op, got, want)
		}
	}
}
