package ops

import (
	"errors"
	"math"
	"testing"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

func evalOne(t *testing.T, op *ir.Op, attrs any, ins ...*tensor.Tensor) []*tensor.Tensor {
	t.Helper()
	c := &ir.EvalCtx{Attrs: attrs, Ins: ins, Outs: make([]*tensor.Tensor, op.MaxOut), Want: make([]bool, op.MaxOut)}
	if err := op.Eval(c); err != nil {
		t.Fatal(err)
	}
	return c.Outs
}

func near(t *testing.T, got *tensor.Tensor, want ...float64) {
	t.Helper()
	v, err := got.Float64s()
	if err != nil || len(v) != len(want) {
		t.Fatalf("%s, want %d elements (%v)", got, len(want), err)
	}
	for i := range v {
		if math.Abs(v[i]-want[i]) > 1e-6*max(1, math.Abs(want[i])) || math.IsNaN(v[i]) != math.IsNaN(want[i]) {
			t.Errorf("element %d is %v, want %v", i, v[i], want[i])
		}
	}
}

func f32(shape []int, v ...float32) *tensor.Tensor { return tensor.Of(v, shape...) }

func TestLinear(t *testing.T) {
	x := f32([]int{1, 2, 2}, 1, 2, -3, 4)
	w := f32([]int{2, 3}, 1, 0, 2, 0, 1, -1)
	b := f32([]int{3}, 0.5, 0, -1)
	r := f32([]int{1, 2, 3}, 10, 20, 30, 40, 50, 60)
	// x@w = [1 2 0; -3 4 -10]; + b = [1.5 2 -1; -2.5 4 -11]
	near(t, evalOne(t, linearOp(), &LinearAttrs{}, x, w, b)[0], 1.5, 2, -1, -2.5, 4, -11)
	near(t, evalOne(t, linearOp(), &LinearAttrs{Activation: ActReLU}, x, w, b, r)[0], 11.5, 22, 30, 40, 54, 60)
	near(t, evalOne(t, linearOp(), &LinearAttrs{}, x, w, nil, r)[0], 11, 22, 30, 37, 54, 50)
}

func TestSkipNorm(t *testing.T) {
	x, s := f32([]int{1, 2}, 1, 2), f32([]int{1, 2}, 2, 5)
	scale, bias := f32([]int{2}, 2, 3), f32([]int{2}, 10, 20)
	// the sum is [3 7]: mean 5, variance 4
	out := evalOne(t, skipNormOp(), &SkipNormAttrs{Kind: NormLayer}, x, s, scale, bias)
	near(t, out[0], 8, 23)
	near(t, out[1], 3, 7)
	out = evalOne(t, skipNormOp(), &SkipNormAttrs{Kind: NormRMS, Epsilon: 0}, x, s, scale)
	near(t, out[0], 2*3/math.Sqrt(29), 3*7/math.Sqrt(29))
}

// One head of size 1 with keys 0, ln 2, ln 4: weights 1/7, 2/7, 4/7 for query 1.
func TestAttention(t *testing.T) {
	ln2 := float32(math.Ln2)
	q := f32([]int{1, 2, 1}, 1, 2)
	k := f32([]int{1, 3, 1}, 0, ln2, 2*ln2)
	v := f32([]int{1, 3, 2}, 1, 10, 2, 20, 3, 30)
	attrs := func(edit func(*FusedAttentionAttrs)) *FusedAttentionAttrs {
		a := fusedAttentionOp().Attrs().(*FusedAttentionAttrs)
		a.Heads, a.KVHeads, a.HeadDim, a.VHeadDim = 1, 1, 1, 2
		edit(a)
		return a
	}
	op := fusedAttentionOp()
	y := evalOne(t, op, attrs(func(*FusedAttentionAttrs) {}), q, k, v)[0]
	near(t, y, 17./7, 170./7, (1+4*2+16*3)/21., 10*(1+4*2+16*3)/21.)

	// Half the scale turns the second query into the first.
	y = evalOne(t, op, attrs(func(a *FusedAttentionAttrs) { a.Scale = 0.5 }), q, k, v)[0]
	near(t, y.Reshape(4), 1/(1+math.Sqrt2+2)*(1+2*math.Sqrt2+6), 10/(1+math.Sqrt2+2)*(1+2*math.Sqrt2+6), 17./7, 170./7)

	y = evalOne(t, op, attrs(func(a *FusedAttentionAttrs) { a.Causal = true }), q, k, v)[0]
	near(t, y, 1, 10, (1+4*2)/5., 10*(1+4*2)/5.)

	keep := tensor.Of([]bool{true, false, true, false, false, false}, 2, 3)
	y = evalOne(t, op, attrs(func(a *FusedAttentionAttrs) { a.NaNToZero = true }), q, k, v, keep)[0]
	near(t, y, 13./5, 130./5, 0, 0)
	y = evalOne(t, op, attrs(func(*FusedAttentionAttrs) {}), q, k, v, keep)[0]
	near(t, y, 13./5, 130./5, math.NaN(), math.NaN())

	// The largest negative number swallows the scores: what sees nothing sees all alike.
	hide := f32([]int{1, 1, 1, 3}, -math.MaxFloat32, -math.MaxFloat32, -math.MaxFloat32)
	y = evalOne(t, op, attrs(func(*FusedAttentionAttrs) {}), q, k, v, hide)[0]
	near(t, y, 2, 20, 2, 20)
}

// Packed operands, grouped heads and the other layout are other ways to lie in memory.
func TestAttentionLayouts(t *testing.T) {
	op := fusedAttentionOp()
	base := op.Attrs().(*FusedAttentionAttrs)
	base.Heads, base.KVHeads, base.HeadDim, base.VHeadDim, base.Scale = 4, 2, 3, 2, 0.7
	const b, s = 2, 3
	mk := func(heads, dim int, salt float64) func(b, h, i, d int) float32 {
		return func(b, h, i, d int) float32 {
			return float32(math.Sin(salt + float64(b*1000+h*100+i*10+d)))
		}
	}
	parts := []struct {
		heads, dim int
		at         func(b, h, i, d int) float32
	}{{4, 3, mk(4, 3, 1)}, {2, 3, mk(2, 3, 2)}, {2, 2, mk(2, 2, 3)}}
	var bhsd, bsd []*tensor.Tensor
	width := 4*3 + 2*3 + 2*2
	packed := tensor.New(tensor.F32, b, s, width)
	from := 0
	for _, p := range parts {
		x, y := tensor.New(tensor.F32, b, p.heads, s, p.dim), tensor.New(tensor.F32, b, s, p.heads*p.dim)
		for n := range b {
			for h := range p.heads {
				for i := range s {
					for d := range p.dim {
						v := p.at(n, h, i, d)
						tensor.Data[float32](x)[((n*p.heads+h)*s+i)*p.dim+d] = v
						tensor.Data[float32](y)[(n*s+i)*p.heads*p.dim+h*p.dim+d] = v
						tensor.Data[float32](packed)[(n*s+i)*width+from+h*p.dim+d] = v
					}
				}
			}
		}
		from += p.heads * p.dim
		bhsd, bsd = append(bhsd, x), append(bsd, y)
	}
	want, err := evalOne(t, op, base, bsd...)[0].Float64s()
	if err != nil {
		t.Fatal(err)
	}
	a := *base
	a.QLayout, a.KLayout, a.VLayout = LayoutBHSD, LayoutBHSD, LayoutBHSD
	near(t, evalOne(t, op, &a, bhsd...)[0], want...)
	a = *base
	a.KOffset, a.VOffset = 12, 18
	near(t, evalOne(t, op, &a, packed, packed, packed)[0], want...)
	a.OutLayout = LayoutBHSD
	got := tensor.Data[float32](evalOne(t, op, &a, packed, packed, packed)[0])
	near(t, tensor.Of(got[6:8], 2), want[2], want[3])             // batch 0, head 1, position 0
	near(t, tensor.Of(got[2*2:2*2+2], 2), want[2*8], want[2*8+1]) // batch 0, head 0, position 2
	near(t, tensor.Of(got[24:26], 2), want[s*8], want[s*8+1])     // batch 1
}

// A quarter turn takes (a, b) to (-b, a), a half turn to (-a, -b).
func TestRotary(t *testing.T) {
	op := fusedRotaryOp()
	attrs := func(edit func(*FusedRotaryAttrs)) *FusedRotaryAttrs {
		a := op.Attrs().(*FusedRotaryAttrs)
		a.Heads, a.HeadDim, a.RotaryDim = 2, 5, 4
		edit(a)
		return a
	}
	// Two positions of a value that holds 1 element, 2 heads, and 1 element more.
	x := f32([]int{1, 2, 12}, 9, 1, 2, 3, 4, 5, 10, 20, 30, 40, 50, 8, 9, 1, 2, 3, 4, 5, 10, 20, 30, 40, 50, 8)
	// Position 0: pair 0 by a quarter, pair 1 not at all. Position 1: both by a half.
	cos, sin := f32([]int{1, 2, 2}, 0, 1, -1, -1), f32([]int{1, 2, 2}, 1, 0, 0, 0)
	part := func(a *FusedRotaryAttrs) { a.Offset, a.Tail = 1, 1 }
	y := evalOne(t, op, attrs(part), x, cos, sin)[0]
	near(t, y, -3, 2, 1, 4, 5, -30, 20, 10, 40, 50, 8, -1, -2, -3, -4, 5, -10, -20, -30, -40, 50, 8)
	y = evalOne(t, op, attrs(func(a *FusedRotaryAttrs) { a.Offset, a.OutLayout, a.Interleaved = 1, LayoutBHSD, true }), x, cos, sin)[0]
	heads := []float64{-2, 1, 3, 4, 5, -1, -2, -3, -4, 5, -20, 10, 30, 40, 50, -10, -20, -30, -40, 50}
	near(t, y, heads...)
	if got := y.Shape(); len(got) != 4 || got[1] != 2 || got[2] != 2 {
		t.Errorf("shape %v", got)
	}
	// A table of one number per element is read by element: here the second of pair 0
	// stays while the first turns.
	wide := f32([]int{1, 2, 4}, 0, 1, 1, 1, 1, 1, 1, 1)
	wideSin := f32([]int{1, 2, 4}, 1, 0, 0, 0, 0, 0, 0, 0)
	y = evalOne(t, op, attrs(part), x, wide, wideSin)[0]
	near(t, y, -3, 2, 3, 4, 5, -30, 20, 30, 40, 50, 8, 1, 2, 3, 4, 5, 10, 20, 30, 40, 50, 8)
}

func TestFusedOpsRefuseWhatDoesNotFit(t *testing.T) {
	attn := &FusedAttentionAttrs{Heads: 3, KVHeads: 2, HeadDim: 1, VHeadDim: 1, QLayout: LayoutBSD, KLayout: LayoutBSD, VLayout: LayoutBSD, OutLayout: LayoutBSD}
	x := f32([]int{1, 1, 3}, 1, 2, 3)
	for _, c := range []struct {
		op    *ir.Op
		attrs any
		ins   []*tensor.Tensor
		want  error
	}{
		{linearOp(), &LinearAttrs{}, []*tensor.Tensor{x, f32([]int{2, 1}, 1, 2)}, ir.ErrShape},
		{linearOp(), &LinearAttrs{Activation: "nope"}, []*tensor.Tensor{x, f32([]int{3, 1}, 1, 2, 3)}, ir.ErrAttr},
		{linearOp(), &LinearAttrs{}, []*tensor.Tensor{x, f32([]int{3, 1}, 1, 2, 3), nil, x}, ir.ErrShape},
		{fusedAttentionOp(), attn, []*tensor.Tensor{x, x, x}, ir.ErrAttr},
		{fusedRotaryOp(), &FusedRotaryAttrs{Heads: 1, HeadDim: 3, RotaryDim: 3, Layout: LayoutBSD, OutLayout: LayoutBSD}, []*tensor.Tensor{x, x, x}, ir.ErrAttr},
		{fusedRotaryOp(), &FusedRotaryAttrs{Heads: 1, HeadDim: 2, RotaryDim: 2, Layout: LayoutBSD, OutLayout: LayoutBHSD, Tail: 1}, []*tensor.Tensor{x, x, x}, ir.ErrAttr},
		{fusedRotaryOp(), &FusedRotaryAttrs{Heads: 1, HeadDim: 2, RotaryDim: 2, Layout: LayoutBSD, OutLayout: LayoutBSD, Tail: 2}, []*tensor.Tensor{x, f32([]int{1, 1, 1}, 1), f32([]int{1, 1, 1}, 1)}, ir.ErrShape},
		{fusedRotaryOp(), &FusedRotaryAttrs{Heads: 1, HeadDim: 2, RotaryDim: 2, Layout: LayoutBSD, OutLayout: LayoutBSD}, []*tensor.Tensor{x, x, x}, ir.ErrShape},
		{fusedRotaryOp(), &FusedRotaryAttrs{Heads: 1, HeadDim: 2, RotaryDim: 2, Layout: LayoutBSD, OutLayout: LayoutBSD}, []*tensor.Tensor{x, f32([]int{1, 1, 2}, 1, 2), f32([]int{1, 1, 1}, 1)}, ir.ErrShape},
		{skipNormOp(), &SkipNormAttrs{Kind: NormLayer}, []*tensor.Tensor{x, x, f32([]int{2}, 1, 2)}, ir.ErrShape},
	} {
		ic := &ir.InferCtx{Attrs: c.attrs, Outs: make([]ir.Type, c.op.MaxOut)}
		for _, in := range c.ins {
			ty := ir.Type{}
			if in != nil {
				ty = ir.TypeOf(in)
			}
			ic.Ins = append(ic.Ins, ty)
		}
		if err := c.op.Infer(ic); !errors.Is(err, c.want) {
			t.Errorf("%s: inference gives %v, want %v", c.op, err, c.want)
		}
		ec := &ir.EvalCtx{Attrs: c.attrs, Ins: c.ins, Outs: make([]*tensor.Tensor, 2), Want: make([]bool, 2)}
		if err := c.op.Eval(ec); !errors.Is(err, c.want) {
			t.Errorf("%s: evaluation gives %v, want %v", c.op, err, c.want)
		}
	}
}

func TestActivations(t *testing.T) {
	for name, want := range map[Activation]float64{
		ActNone: -1, ActReLU: 0, ActReLU2: 0, ActReLU6: 0, ActTanh: -0.76159415595576488811,
		ActSigmoid: 0.26894142136999512075, ActSiLU: -0.26894142136999512075,
		ActGELU: -0.15865525393145705142, ActGELUTanh: -0.15880800939172324,
		ActQuickGELU: -0.15420423, ActHardSwish: -1. / 3,
	} {
		f, ok := name.fn()
		if !ok || math.Abs(f(-1)-want) > 1e-8 {
			t.Errorf("%s(-1) = %v, want %v", name, f(-1), want)
		}
	}
	if _, ok := Activation("no such").fn(); ok {
		t.Error("an unknown activation was found")
	}
}

func TestFusedConv(t *testing.T) {
	x := f32([]int{1, 1, 3}, 1, 2, 4)
	w := f32([]int{2, 1, 2}, 1, -1, 0, 1)
	b := f32([]int{2}, 0, 10)
	r := f32([]int{1, 2, 2}, 0, 3, -20, 0)
	// conv: [1-2 2-4; 2 4], + bias: [-1 -2; 12 14], + residual: [-1 1; -8 14]
	a := FuseConv(newConvAttrs().(*ConvAttrs), ActReLU)
	near(t, evalOne(t, fusedConvOp(), a, x, w, b)[0], 0, 0, 12, 14)
	near(t, evalOne(t, fusedConvOp(), a, x, w, b, r)[0], 0, 1, 0, 14)
	a = FuseConv(newConvAttrs().(*ConvAttrs), ActNone)
	near(t, evalOne(t, fusedConvOp(), a, x, w, nil, r)[0], -1, 1, -18, 4)
}
