package ops

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// runFamily infers and evaluates an op directly with all its outputs wanted, and checks that
// inference foretold the types.
func runFamily(t testing.TB, op *ir.Op, attrs any, ins ...*tensor.Tensor) []*tensor.Tensor {
	t.Helper()
	outs, err := tryFamily(op, attrs, ins...)
	if err != nil {
		t.Fatalf("%s: %v", op, err)
	}
	ic := &ir.InferCtx{Attrs: attrs, Ins: make([]ir.Type, len(ins)), Outs: make([]ir.Type, op.MaxOut)}
	for i, x := range ins {
		if x != nil {
			ic.Ins[i] = ir.TypeOf(x)
		}
	}
	if err := op.Infer(ic); err != nil {
		t.Fatalf("%s: inference: %v", op, err)
	}
	for i, out := range outs {
		if !ic.Outs[i].Equal(ir.TypeOf(out)) {
			t.Errorf("%s: output %d is %s, inferred %s", op, i, out, ic.Outs[i])
		}
	}
	return outs
}

func tryFamily(op *ir.Op, attrs any, ins ...*tensor.Tensor) ([]*tensor.Tensor, error) {
	c := &ir.EvalCtx{Context: context.Background(), Attrs: attrs, Ins: ins, Outs: make([]*tensor.Tensor, op.MaxOut), Want: make([]bool, op.MaxOut)}
	for i := range c.Want {
		c.Want[i] = true
	}
	if err := op.Eval(c); err != nil {
		return nil, err
	}
	return c.Outs, nil
}

func gaussian(r *rand.Rand, shape ...int) *tensor.Tensor {
	t := tensor.New(tensor.F32, shape...)
	for i := range tensor.Data[float32](t) {
		tensor.Data[float32](t)[i] = float32(r.NormFloat64())
	}
	return t
}

func farthest(t testing.TB, a, b *tensor.Tensor) float64 {
	t.Helper()
	x, err := a.Float64s()
	if err != nil {
		t.Fatal(err)
	}
	y, err := b.Float64s()
	if err != nil {
		t.Fatal(err)
	}
	if len(x) != len(y) {
		t.Fatalf("%s and %s", a, b)
	}
	worst := 0.0
	for i := range x {
		if d := math.Abs(x[i] - y[i]); !(d <= worst) {
			worst = d
		}
	}
	return worst
}

// moeAttrs are the defaults with changes.
func moeAttrs(change func(*MoEAttrs)) *MoEAttrs {
	a := moeOp().Attrs().(*MoEAttrs)
	change(a)
	return a
}

func TestMoEOfAllExpertsIsTheDenseMLP(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const n, d, e, g, dv = 5, 7, 4, 3, 6
	x, w1, b1 := gaussian(r, n, d), gaussian(r, d, e*g), gaussian(r, e*g)
	w2, b2 := gaussian(r, e*g, dv), gaussian(r, dv)
	dense := runFamily(t, mlpOp(), &MLPAttrs{Activation: ActGELU}, x, w1, w2, b1, b2)[0]
	split := tensor.New(tensor.F32, e, d, g) // w1's columns dealt out to experts
	for i, v := range tensor.Data[float32](w1) {
		row, col := i/(e*g), i%(e*g)
		tensor.Data[float32](split)[(col/g*d+row)*g+col%g] = v
	}
	moe := runFamily(t, moeOp(), moeAttrs(func(a *MoEAttrs) { a.Gate, a.Activation, a.K = GateNone, ActGELU, e+3 }),
		x, split, w2.Reshape(e, g, dv), gaussian(r, e, d), nil, b1.Reshape(e, g), nil, b2)
	if diff := farthest(t, dense, moe[MoEOutY]); diff > 1e-5 {
		t.Errorf("differs from the dense MLP by %g", diff)
	}
}
