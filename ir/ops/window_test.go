package ops

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// TestWindowLengths holds output lengths to counting the positions by hand.
func TestWindowLengths(t *testing.T) {
	for _, c := range []struct {
		spec windowSpec
		in   int64
		want int64 // -1: refused
	}{
		{windowSpec{Kernel: []int64{3}}, 5, 3},
		{windowSpec{Kernel: []int64{3}, Strides: []int64{2}}, 6, 2},
		{windowSpec{Kernel: []int64{3}, Strides: []int64{2}, Ceil: true}, 6, 3},
		{windowSpec{Kernel: []int64{2}, Strides: []int64{3}, Pads: []int64{0, 1}, Ceil: true}, 3, 1}, // a second window would begin past the input
		{windowSpec{Kernel: []int64{3}, Dilations: []int64{2}}, 5, 1},
		{windowSpec{Kernel: []int64{3}, Strides: []int64{2}, AutoPad: "SAME_UPPER"}, 7, 4},
		{windowSpec{Kernel: []int64{3}, AutoPad: "VALID", Pads: []int64{9, 9}}, 5, 3},
		{windowSpec{Kernel: []int64{6}}, 5, -1},
		{windowSpec{Kernel: []int64{6}}, 0, 0},
		{windowSpec{Kernel: []int64{3}, Strides: []int64{0}}, 5, -1},
		{windowSpec{Kernel: []int64{math.MaxInt64}}, 5, -1},
		{windowSpec{Kernel: []int64{3}, Pads: []int64{1}}, 5, -1},
		{windowSpec{Kernel: []int64{3}, AutoPad: "SOMEHOW"}, 5, -1},
	} {
		w, err := newWindow(c.spec, []int{int(c.in)})
		if c.want < 0 {
			if !errors.Is(err, ir.ErrAttr) && !errors.Is(err, ir.ErrShape) {
				t.Errorf("%+v on %d: error %v", c.spec, c.in, err)
			}
			continue
		}
		if err != nil || int64(w.small[0]) != c.want {
			t.Errorf("%+v on %d: %v, %v; want %d", c.spec, c.in, w, err, c.want)
		}
	}
}

// TestConvKeepsSymbolicDims: convolutions that keep the length keep its name.
func TestConvKeepsSymbolicDims(t *testing.T) {
	op := NewTable().Lookup(ir.DomainONNX, "Conv")
	c := &ir.InferCtx{
		Attrs: newAttrs(t, op, map[string]any{"pads": []int64{1, 1, 1, 1}}),
		Ins:   []ir.Type{ir.MakeType(tensor.F32, ir.Sym("n"), ir.Known(4), ir.Sym("h"), ir.Known(9)), ir.MakeType(tensor.F32, ir.Dims(8, 4, 3, 3)...)},
		Outs:  make([]ir.Type, 1),
	}
	if err := op.Infer(c); err != nil {
		t.Fatal(err)
	}
	if got := c.Outs[0].String(); got != "f32[n,8,h,9]" {
		t.Errorf("Conv is %s", got)
	}
}

// TestConvIsItsDefinition compares a strided, dilated, grouped convolution with the sum
// that defines it.
func TestConvIsItsDefinition(t *testing.T) {
	const n, ci, m, h, w, kh, kw, group = 2, 4, 6, 7, 8, 3, 2, 2
	fill := func(size int, step float32) []float32 {
		v := make([]float32, size)
		for i := range v {
			v[i] = float32(math.Sin(float64(float32(i) * step)))
		}
		return v
	}
	x, k, b := fill(n*ci*h*w, 0.7), fill(m*ci/group*kh*kw, 1.3), fill(m, 0.5)
	outs, err := evalOp(t, "Conv", map[string]any{"group": int64(group), "strides": []int64{2, 1}, "dilations": []int64{1, 3}, "pads": []int64{1, 2, 0, 1}},
		tensor.Of(x, n, ci, h, w), tensor.Of(k, m, ci/group, kh, kw), tensor.Of(b, m))
	if err != nil {
		t.Fatal(err)
	}
	oh, ow := (h+1-kh)/2+1, w+3-3*(kw-1)-1+1
	if want := []int{n, m, oh, ow}; !slices.Equal(outs[0].Shape(), want) {
		t.Fatalf("shape %v, want %v", outs[0].Shape(), want)
	}
	y := tensor.Data[float32](outs[0])
	for i := range y {
		img, o, r, c := i/(m*oh*ow), i/(oh*ow)%m, i/ow%oh, i%ow
		want := float64(b[o])
		for ch := range ci / group {
			for p := range kh {
				for q := range kw {
					yy, xx := r*2-1+p, c-2+3*q
					if yy >= 0 && yy < h && xx >= 0 && xx < w {
						in := o/(m/group)*(ci/group) + ch
						want += float64(x[((img*ci+in)*h+yy)*w+xx]) * float64(k[((o*ci/group+ch)*kh+p)*kw+q])
					}
				}
			}
		}
		if math.Abs(float64(y[i])-want) > 1e-5 {
			t.Fatalf("element %d is %v, want %v", i, y[i], want)
		}
	}
}

// TestFourierOfEveryLength compares the fast transforms with the defining sum.
func TestFourierOfEveryLength(t *testing.T) {
	for _, n := range []int{1, 2, 3, 5, 8, 12, 17, 32} {
		x := make([]complex128, n)
		for i := range x {
			x[i] = complex(math.Sin(float64(3*i+1)), math.Cos(float64(i*i)))
		}
		y := fourier(x, false)
		for k := range y {
			var want complex128
			for i, e := range x {
				s, c := math.Sincos(-2 * math.Pi * float64(i*k) / float64(n))
				want += e * complex(c, s)
			}
			if d := y[k] - want; math.Hypot(real(d), imag(d)) > 1e-11 {
				t.Errorf("length %d, bin %d: %v, want %v", n, k, y[k], want)
			}
		}
		for i, e := range fourier(y, true) {
			if d := e - x[i]; math.Hypot(real(d), imag(d)) > 1e-12 {
				t.Errorf("length %d: back at %d: %v, want %v", n, i, e, x[i])
			}
		}
	}
}

// TestRequiredInputsMayBeMissing: an absent required input is an error, not a panic.
func TestRequiredInputsMayBeMissing(t *testing.T) {
	for _, name := range []string{"Conv", "MaxPool", "LayerNormalization", "Softmax", "LSTM", "Attention", "Resize", "If", "Loop", "Scan", "GridSample", "DFT", "NonMaxSuppression", "GroupQueryAttention", "SkipLayerNormalization", "BatchNormalization", "ConvTranspose", "RoiAlign", "QLinearConv"} {
		if _, err := evalOp(t, name, nil, nil, nil, nil); err == nil {
			t.Errorf("%s of nothing gives no error", name)
		}
	}
}
