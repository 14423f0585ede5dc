package ffinit

import (
	"math"
	"testing"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// moments are mean, standard deviation and kurtosis of a tensor.
func moments(t *testing.T, x *tensor.Tensor) (mean, std, kurtosis float64) {
	t.Helper()
	v, err := x.Float64s()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range v {
		mean += a / float64(len(v))
	}
	std = stdOf(v)
	for _, a := range v {
		kurtosis += math.Pow((a-mean)/std, 4) / float64(len(v))
	}
	return mean, std, kurtosis
}

// holdNormal checks a sample of N(0, std^2): with n draws the mean errs by std/sqrt(n), the
// standard deviation by std/sqrt(2n), the kurtosis of 3 by sqrt(24/n); five times that is
// allowed.
func holdNormal(t *testing.T, name string, x *tensor.Tensor, std float64) {
	t.Helper()
	mean, s, k := moments(t, x)
	n := float64(x.Len())
	if math.Abs(mean) > 5*std/math.Sqrt(n) || math.Abs(s-std) > 5*std/math.Sqrt(2*n) || math.Abs(k-3) > 5*math.Sqrt(24/n) {
		t.Errorf("%s: mean %g, std %g (want %g), kurtosis %g (want 3)", name, mean, s, std, k)
	}
}

func TestMoments(t *testing.T) {
	w := Scale(16, 1)
	if want := math.Sqrt(2.0 / 16); w != want {
		t.Errorf("Scale(16, 1) = %g, want %g", w, want)
	}
	if s := Scale(0, 0.1); s != math.Sqrt(0.1) {
		t.Errorf("Scale(0, 0.1) = %g", s)
	}
	p := New(7).MoE(16, 100, 32, 90, w, MoEOptions{})
	holdNormal(t, "w1", p.W1, w/10)
	holdNormal(t, "w2", p.W2, w/math.Sqrt(16*32))
	holdNormal(t, "w2 by expert", New(7).MoE(16, 100, 32, 90, w, MoEOptions{ExpertFanIn: true}).W2, w/math.Sqrt(32))
	holdNormal(t, "sel as drawn", New(7).MoE(64, 100, 1, 1, w, MoEOptions{UnequalRows: true}).Sel, w/10)
	d := New(8).MLP(100, 400, 50, 1)
	holdNormal(t, "dense w1", d.W1, 0.1)
	holdNormal(t, "dense w2", d.W2, 0.05)
	for values, std := range map[PKMValues]float64{ValuesByInput: 0.125, ValuesBySlots: 1 / math.Sqrt(2*8), ValuesByAll: 1 / math.Sqrt(13*17)} {
		k := New(9).PKM(2, 13, 17, 64, 70, 8, 1, values)
		holdNormal(t, "values", k.Values, std)
		holdNormal(t, "keys0", k.Keys0, 0.125)
		holdNormal(t, "keys1", k.Keys1, 0.125)
	}
}

func TestTruncatedHasTheExactStandardDeviation(t *testing.T) {
	x := New(3).Truncated(0.3, 200, 50)
	mean, std, kurtosis := moments(t, x)
	if math.Abs(std-0.3) > 1e-7 {
		t.Errorf("standard deviation %g, want 0.3", std)
	}
	// N(0,1) cut off at 2 has standard deviation 0.8796 and kurtosis 2.366.
	if math.Abs(mean) > 5*0.3/100 || math.Abs(kurtosis-2.366) > 0.1 {
		t.Errorf("mean %g, kurtosis %g", mean, kurtosis)
	}
	for _, v := range tensor.Data[float32](x) {
		if math.Abs(float64(v)) > 2*0.3/0.87 {
			t.Fatalf("%g lies beyond two standard deviations", v)
		}
	}
}

func TestEqualRows(t *testing.T) {
	in := New(5).Normal(0.7, 20, 30)
	out := EqualRows(in)
	_, was, _ := moments(t, in)
	_, is, _ := moments(t, out)
	if math.Abs(was-is) > 1e-6 {
		t.Errorf("standard deviation went from %g to %g", was, is)
	}
	norm := func(row int) float64 {
		s := 0.0
		for _, v := range tensor.Data[float32](out)[row*30 : row*30+30] {
			s += float64(v) * float64(v)
		}
		return math.Sqrt(s)
	}
	for r := range 20 {
		if d := norm(r)/norm(0) - 1; math.Abs(d) > 1e-6 {
			t.Errorf("row %d is longer than row 0 by %g", r, d)
		}
	}
	zero := EqualRows(tensor.New(tensor.F32, 3, 4))
	for _, v := range tensor.Data[float32](zero) {
		if v != 0 {
			t.Errorf("a zero matrix became %g", v)
		}
	}
}

func TestSeedsDecide(t *testing.T) {
	a, b := New(1).MoE(4, 8, 3, 8, 1, MoEOptions{}), New(1).MoE(4, 8, 3, 8, 1, MoEOptions{})
	if !tensor.Equal(a.Sel, b.Sel) || !tensor.Equal(a.W1, b.W1) || !tensor.Equal(a.W2, b.W2) {
		t.Error("one seed gives two results")
	}
	if tensor.Equal(a.W1, New(2).MoE(4, 8, 3, 8, 1, MoEOptions{}).W1) {
		t.Error("two seeds give one result")
	}
}
