package runtime_test

import (
	"context"
	"errors"
	"testing"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime"
)

// TestMaxElemsHoldsEveryValue: the bound holds for what lies between inputs and outputs too.
func TestMaxElemsHoldsEveryValue(t *testing.T) {
	g := ir.NewGraph("wide", ops.NewTable())
	x := g.AddInput("x", ir.MakeType(tensor.F32, ir.Sym("n"), ir.Known(3)))
	matmul := g.Op("MatMul")
	h := g.Add(matmul, nil, []*ir.Value{x, g.NewConst("w", tensor.New(tensor.F32, 3, 100))}, "h").Outputs[0]
	h = g.Add(g.Op("Tanh"), nil, []*ir.Value{h}, "t").Outputs[0]
	g.Outputs = []*ir.Value{g.Add(matmul, nil, []*ir.Value{h, g.NewConst("v", tensor.New(tensor.F32, 100, 2))}, "y").Outputs[0]}
	if err := ir.Infer(g); err != nil {
		t.Fatal(err)
	}
	s := session(t, g, runtime.Options{MaxElems: 1000})
	for n, bad := range map[int]bool{10: false, 11: true} {
		_, err := s.Run(context.Background(), map[string]*tensor.Tensor{"x": tensor.New(tensor.F32, n, 3)})
		if errors.Is(err, ir.ErrLimit) != bad || !bad && err != nil {
			t.Errorf("%d rows of 100 elements with a bound of 1000: %v", n, err)
		}
	}
}
