package tests

import (
	"context"
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/eval"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// drawMoE draws a mixture of any gate and shape.
func drawMoE(t *rapid.T) *familyCase {
	small := rapid.IntRange(1, 6)
	s := moeShape{
		lead: []int{rapid.IntRange(0, 5).Draw(t, "tokens")}, e: small.Draw(t, "experts"), d: small.Draw(t, "d"), g: small.Draw(t, "g"), dv: small.Draw(t, "dv"),
		selBias: rapid.Bool().Draw(t, "sel_bias"), bias: rapid.Bool().Draw(t, "bias"), out: rapid.Bool().Draw(t, "out_bias"),
		o: rapid.Bool().Draw(t, "o_bias"), shared: rapid.Bool().Draw(t, "shared"), up: rapid.Bool().Draw(t, "gated"),
	}
	gate := rapid.SampledFrom([]ops.Gate{
		ops.GateSigmoid, ops.GateSoftmaxBefore, ops.GateSoftmaxAfter, ops.GateSinkhorn, ops.GateSwitch, ops.GateNoisyTopK, ops.GateNone,
	}).Draw(t, "gate")
	k := int64(small.Draw(t, "k"))
	threshold := rapid.Bool().Draw(t, "threshold")
	return moeCase("drawn", rapid.Uint64().Draw(t, "seed"), s, func(a *ops.MoEAttrs) {
		a.Gate, a.K, a.Activation = gate, k, ops.ActSiLU
		if threshold {
			a.Selection, a.Threshold, a.MinK, a.MaxK = ops.SelectThreshold, 0.25, k/2, k
		}
	})
}

// evalCase runs a case on the interpreter.
func evalCase(t *rapid.T, c *familyCase) []*tensor.Tensor {
	g := ir.NewGraph("drawn", ops.NewTable())
	vals := make([]*ir.Value, len(c.ins))
	for i, x := range c.ins {
		if x != nil {
			vals[i] = g.NewConst("", x)
		}
	}
	n := g.Add(g.Op(c.op), c.attrs, vals, make([]string, c.outs[len(c.outs)-1]+1)...)
	for _, o := range c.outs {
		g.Outputs = append(g.Outputs, n.Outputs[o])
	}
	if err := ir.Infer(g); err != nil {
		t.Fatal(err)
	}
	outs, err := eval.Run(context.Background(), g, nil, eval.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return outs
}

// holdClose compares f32 tensors to rounding.
func holdClose(t *rapid.T, what string, got, want *tensor.Tensor, tol float64) {
	a, b := tensor.Data[float32](got), tensor.Data[float32](want)
	if len(a) != len(b) {
		t.Fatalf("%s: %s, want %s", what, got, want)
	}
	largest := 1.0
	for _, x := range b {
		largest = max(largest, float64(max(x, -x)))
	}
	for i := range a {
		if d := float64(a[i]) - float64(b[i]); !(d <= tol*largest && -d <= tol*largest) {
			t.Fatalf("%s: element %d is %g, want %g", what, i, a[i], b[i])
		}
	}
}

// permuted is x with its blocks along axis 0 (or its last axis) in another order.
func permuted(x *tensor.Tensor, perm []int, last bool) *tensor.Tensor {
	if x == nil {
		return nil
	}
	out := tensor.New(x.DType(), x.Shape()...)
	src, dst := tensor.Data[float32](x), tensor.Data[float32](out)
	if last {
		for i := range src {
			r, e := i/len(perm), i%len(perm)
			dst[i] = src[r*len(perm)+perm[e]]
		}
		return out
	}
	block := len(src) / len(perm)
	for e, from := range perm {
		copy(dst[e*block:(e+1)*block], src[from*block:(from+1)*block])
	}
	return out
}

// Renaming the experts changes nothing (drawn logits do not tie).
func TestPermutingExpertsChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawMoE(t)
		want := evalCase(t, c)[0]
		e := c.ins[ops.MoEInW1].Shape()[0]
		perm := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "order"), 1)).Perm(e)
		p := *c
		p.ins = append([]*tensor.Tensor(nil), c.ins...)
		for _, i := range []int{ops.MoEInW1, ops.MoEInW2, ops.MoEInSel, ops.MoEInSelBias, ops.MoEInBias, ops.MoEInOutBias, ops.MoEInUp, ops.MoEInUpBias} {
			p.ins[i] = permuted(c.ins[i], perm, false)
		}
		holdClose(t, "y", evalCase(t, &p)[0], want, 1e-6)
	})
}

// A row's result does not depend, in a bit, on the rows around it.
func TestRowsAreIndependent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawMoE(t)
		y, x := evalCase(t, c)[0], c.ins[ops.MoEInX]
		d, dv := lastDim(x), lastDim(y)
		for n := range x.Shape()[0] {
			one := *c
			one.ins = append([]*tensor.Tensor(nil), c.ins...)
			one.ins[ops.MoEInX] = tensor.Of(tensor.Data[float32](x)[n*d:(n+1)*d], 1, d)
			want := tensor.Of(tensor.Data[float32](y)[n*dv:(n+1)*dv], 1, dv)
			if got := evalCase(t, &one)[0]; !tensor.Equal(got, want) {
				t.Fatalf("row %d of %d has other bits alone", n, x.Shape()[0])
			}
		}
	})
}

// With every expert kept at weight 1, a mixture is the dense layer of all its units; so is
// a top-K layer that keeps every unit, and a gated mixture a gated layer.
func TestKeepingEverythingIsDense(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		small := rapid.IntRange(1, 6)
		n, e, d, g, dv := rapid.IntRange(0, 4).Draw(t, "n"), small.Draw(t, "e"), small.Draw(t, "d"), small.Draw(t, "g"), small.Draw(t, "dv")
		dr := newDrawer(rapid.Uint64().Draw(t, "seed"))
		gated := rapid.Bool().Draw(t, "gated")
		f := e * g
		x, w1, w2 := dr.normal(n, d), dr.normal(e, d, g), dr.normal(e, g, dv)
		b1, b2, up := dr.normal(e, g), dr.normal(dv), dr.normal(e, d, g)
		wide := func(w *tensor.Tensor) *tensor.Tensor { // [E,D,G] to [D,E*G]
			out := tensor.New(tensor.F32, d, f)
			for i, v := range tensor.Data[float32](w) {
				tensor.Data[float32](out)[i/g%d*f+i/(d*g)*g+i%g] = v
			}
			return out
		}
		c := &familyCase{op: "moec::MLP", attrs: &ops.MLPAttrs{Activation: ops.ActGELU}, outs: []int{0}}
		c.ins = []*tensor.Tensor{x, wide(w1), w2.Reshape(f, dv), b1.Reshape(f), b2}
		if gated {
			c.op, c.attrs = "moec::GatedMLP", &ops.GatedMLPAttrs{Activation: ops.ActGELU}
			c.ins = []*tensor.Tensor{x, wide(w1), wide(up), w2.Reshape(f, dv), b1.Reshape(f), nil, b2}
		}
		want := evalCase(t, c)[0]

		moe := moeCase("all", 1, moeShape{lead: []int{n}, e: e, d: d, g: g, dv: dv}, func(a *ops.MoEAttrs) {
			a.Gate, a.Activation, a.K = ops.GateNone, ops.ActGELU, int64(e)
		})
		moe.ins[ops.MoEInX], moe.ins[ops.MoEInW1], moe.ins[ops.MoEInW2] = x, w1, w2
		moe.ins[ops.MoEInBias], moe.ins[ops.MoEInOBias] = b1, b2
		if gated {
			moe.ins[ops.MoEInUp] = up
		}
		holdClose(t, "MoE", evalCase(t, moe)[0], want, 1e-6)
		if !gated {
			k := &familyCase{op: "moec::TopKMLP", attrs: &ops.TopKMLPAttrs{Activation: ops.ActGELU, K: int64(f)}, ins: c.ins, outs: []int{0}}
			if got := evalCase(t, k)[0]; !tensor.Equal(got, want) {
				t.Fatal("TopKMLP that keeps all units differs from the dense layer")
			}
		}
	})
}

// The dense path of a PKM is a dense layer of n1*n2 units whose keys are sums over heads.
func TestDensePKMIsAnMLP(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		small := rapid.IntRange(1, 4)
		n, h, n1, n2, half, dv := small.Draw(t, "n"), small.Draw(t, "h"), small.Draw(t, "n1"), small.Draw(t, "n2"), small.Draw(t, "half"), small.Draw(t, "dv")
		dr := newDrawer(rapid.Uint64().Draw(t, "seed"))
		x, k0, k1, v := dr.normal(n, 2*half), dr.normal(h, n1, half), dr.normal(h, n2, half), dr.normal(n1*n2, dv)
		w1 := tensor.New(tensor.F32, 2*half, n1*n2)
		sum := func(keys *tensor.Tensor, rows, i, d int) float32 {
			s := float32(0)
			for head := range h {
				s += tensor.Data[float32](keys)[(head*rows+i)*half+d]
			}
			return s
		}
		for i := range n1 {
			for j := range n2 {
				for d := range half {
					tensor.Data[float32](w1)[d*n1*n2+i*n2+j] = sum(k0, n1, i, d)
					tensor.Data[float32](w1)[(half+d)*n1*n2+i*n2+j] = sum(k1, n2, j, d)
				}
			}
		}
		pkm := &familyCase{op: "moec::PKM", attrs: &ops.PKMAttrs{Weighting: "relu", KNN: 9}, ins: []*tensor.Tensor{x, k0, k1, v}, outs: []int{0}}
		mlp := &familyCase{op: "moec::MLP", attrs: &ops.MLPAttrs{Activation: ops.ActReLU}, ins: []*tensor.Tensor{x, w1, v}, outs: []int{0}}
		holdClose(t, "y", evalCase(t, pkm)[0], evalCase(t, mlp)[0], 1e-5)
	})
}
