package ops

import (
	"errors"
	"math"
	"testing"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// routed evaluates a MoE whose logits are given; expert e answers with e+1, so that y is
// the sum of gate times that, and every output can be checked by hand.
func routed(t *testing.T, change func(*MoEAttrs), ins map[int]*tensor.Tensor, logits ...[]float32) []*tensor.Tensor {
	t.Helper()
	n, e := len(logits), len(logits[0])
	flat := tensor.New(tensor.F32, n, e)
	for i, row := range logits {
		copy(tensor.Data[float32](flat)[i*e:], row)
	}
	in := make([]*tensor.Tensor, moeNumIn)
	in[MoEInX], in[MoEInLogits] = tensor.New(tensor.F32, n, 1), flat
	in[MoEInW1], in[MoEInW2] = tensor.New(tensor.F32, e, 1, 1), tensor.New(tensor.F32, e, 1, 1)
	bias := tensor.New(tensor.F32, e, 1)
	for i := range e {
		tensor.Data[float32](bias)[i] = float32(i + 1)
	}
	in[MoEInOutBias] = bias
	for i, x := range ins {
		in[i] = x
	}
	return runFamily(t, moeOp(), moeAttrs(change), in...)
}

func holdInts(t *testing.T, what string, got *tensor.Tensor, want ...int64) {
	t.Helper()
	v := tensor.Data[int64](got)
	for i := range want {
		if len(v) != len(want) || v[i] != want[i] {
			t.Errorf("%s is %v, want %v", what, v, want)
			return
		}
	}
}

func TestRankingOfOddScores(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	negZero := float32(math.Copysign(0, -1))
	top3 := func(a *MoEAttrs) { a.Gate, a.K = GateNone, 3 }
	for _, c := range []struct {
		name   string
		logits []float32
		want   []int64
	}{
		{"ties by index", []float32{1, 2, 1, 2, 1}, []int64{1, 3, 0}},
		{"NaN last", []float32{nan, -inf, nan, 5}, []int64{3, 1, 0}},
		{"all NaN", []float32{nan, nan, nan, nan}, []int64{0, 1, 2}},
		{"infinities", []float32{-inf, inf, 0, inf}, []int64{1, 3, 2}},
		{"zeros are equal", []float32{negZero, 0, negZero, 0}, []int64{0, 1, 2}},
		{"huge sigmoids do not tie", []float32{50, 60, 55, 40}, []int64{1, 2, 0}},
	} {
		holdInts(t, c.name, routed(t, top3, nil, c.logits)[MoEOutIndices], c.want...)
	}
	out := routed(t, func(a *MoEAttrs) { a.K = 2 }, nil, []float32{50, 60, 55, 40})
	holdInts(t, "saturated sigmoid", out[MoEOutIndices], 1, 2)
}

// A NaN that is selected shows in its own row only; one that is not selected, nowhere.
func TestNaNStaysInItsRow(t *testing.T) {
	nan := float32(math.NaN())
	for _, gate := range []Gate{GateSigmoid, GateSoftmaxAfter, GateNone} {
		y := routed(t, func(a *MoEAttrs) { a.Gate, a.K = gate, 2 }, nil, []float32{1, 2, nan}, []float32{nan, nan, 3}, []float32{3, 2, 1})[MoEOutY]
		v := tensor.Data[float32](y)
		if v[0] != v[0] || v[2] != v[2] {
			t.Errorf("%s: a NaN got out of its row: %v", gate, v)
		}
		if isNaN := v[1] != v[1]; isNaN != (gate != GateNone) {
			t.Errorf("%s: a row that selected a NaN gave %v", gate, v[1])
		}
	}
}

func TestSelectionSizes(t *testing.T) {
	l := []float32{2, 0, 1, -1}
	g := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	out := routed(t, func(a *MoEAttrs) { a.K = 9 }, nil, l)
	holdInts(t, "K beyond E", out[MoEOutIndices], 0, 2, 1, 3)
	near(t, out[MoEOutGates], g(2), g(1), g(0), g(-1))
	near(t, out[MoEOutY], g(2)+3*g(1)+2*g(0)+4*g(-1))

	threshold := func(thr float32, lo, hi int64) []*tensor.Tensor {
		return routed(t, func(a *MoEAttrs) {
			a.Selection, a.Threshold, a.MinK, a.MaxK = SelectThreshold, thr, lo, hi
		}, nil, l, []float32{-9, -8, -7, -6}, []float32{9, 9, 9, 9})
	}
	out = threshold(0.5, 0, 0)
	holdInts(t, "count", out[MoEOutCount], 3, 0, 4)
	near(t, out[MoEOutGates], g(2), g(1), g(0), 0, 0, 0, 0, 0, g(9), g(9), g(9), g(9))
	near(t, out[MoEOutY], g(2)+3*g(1)+2*g(0), 0, 10*g(9))
	holdInts(t, "count with a floor and a cap", threshold(0.5, 1, 2)[MoEOutCount], 2, 1, 2)
	holdInts(t, "slots with a cap", threshold(0.5, 1, 2)[MoEOutIndices], 0, 2, 3, 2, 0, 1)
	holdInts(t, "one expert", routed(t, func(a *MoEAttrs) { a.K = 3 }, nil, []float32{1})[MoEOutIndices], 0)
}

func TestExpertDropout(t *testing.T) {
	drop := tensor.Of([]uint8{1, 0, 0, 0, 1, 1, 1, 0}, 2, 4)
	out := routed(t, func(a *MoEAttrs) { a.Gate, a.K = GateSoftmaxAfter, 2 }, map[int]*tensor.Tensor{MoEInExpertDrop: drop},
		[]float32{5, 1, 3, 2}, []float32{5, 4, 3, 0})
	e := math.E
	holdInts(t, "selection", out[MoEOutIndices], 2, 3, 3, 0)
	holdInts(t, "count", out[MoEOutCount], 2, 1)
	near(t, out[MoEOutGates], e/(1+e), 1/(1+e), 1, 0) // only one survives in the second row
	near(t, out[MoEOutY], (3*e+4)/(1+e), 4)

	all := tensor.Of([]bool{true, true}, 1, 2)
	out = routed(t, func(a *MoEAttrs) { a.Gate = GateSoftmaxAfter }, map[int]*tensor.Tensor{MoEInExpertDrop: all}, []float32{5, 1})
	near(t, out[MoEOutY], 0)
	holdInts(t, "count of none", out[MoEOutCount], 0)
}

func TestReplayedSelection(t *testing.T) {
	sel := tensor.Of([]int64{3, 0}, 1, 2)
	out := routed(t, func(a *MoEAttrs) { a.Gate, a.K = GateNone, 2 }, map[int]*tensor.Tensor{MoEInSelect: sel}, []float32{1, 2, 3, 4})
	near(t, out[MoEOutY], 4+1)
	for _, bad := range []int64{-1, 4, math.MaxInt64} {
		in := make([]*tensor.Tensor, moeNumIn)
		in[MoEInX], in[MoEInLogits] = tensor.New(tensor.F32, 1, 1), tensor.New(tensor.F32, 1, 4)
		in[MoEInW1], in[MoEInW2] = tensor.New(tensor.F32, 4, 1, 1), tensor.New(tensor.F32, 4, 1, 1)
		in[MoEInSelect] = tensor.Of([]int64{bad}, 1, 1)
		if _, err := tryFamily(moeOp(), moeAttrs(func(*MoEAttrs) {}), in...); !errors.Is(err, ir.ErrInput) {
			t.Errorf("expert %d of 4: %v", bad, err)
		}
	}
}

// Sinkhorn: the true iteration tends to rows that sum to E and columns that sum to T, and
// the authors' one does not.
func TestSinkhornBalances(t *testing.T) {
	logits := [][]float32{{2, 0, 1}, {1, 1, 3}, {0, 2, 2}, {3, 0, 0}}
	for _, gate := range []Gate{GateSinkhornTrue, GateSinkhorn} {
		out := routed(t, func(a *MoEAttrs) { a.Gate, a.Training, a.SinkhornIters = gate, true, 200 }, nil, logits...)
		v := tensor.Data[float32](out[MoEOutScores])
		off := 0.0
		for r := range 4 {
			off = math.Max(off, math.Abs(float64(v[3*r]+v[3*r+1]+v[3*r+2])-3))
		}
		for c := range 3 {
			off = math.Max(off, math.Abs(float64(v[c]+v[3+c]+v[6+c]+v[9+c])-4))
		}
		if balanced := off < 1e-5; balanced != (gate == GateSinkhornTrue) {
			t.Errorf("%s: sums are off by %g", gate, off)
		}
	}
}

// Regularisers on cases small enough to compute by hand.
func TestRegularisers(t *testing.T) {
	ln := func(x float64) float32 { return float32(math.Log(x)) }
	// p is [1/2 1/4 1/4] and [1/4 1/2 1/4]: the mean is [3/8 3/8 1/4].
	rows := [][]float32{{ln(2), 0, 0}, {0, ln(2), 0}}
	out := routed(t, func(a *MoEAttrs) { a.Gate = GateSwitch }, nil, rows...)
	h := 3./8*math.Log(3./8)*2 + 1./4*math.Log(1./4)
	near(t, out[MoEOutEntropy], h)
	near(t, out[MoEOutSwitch], (3./8*1/2+3./8*1/2)/3) // experts 0 and 1 take half each
	// sums of gates [1/2 1/2 0]: mean 1/3, variance 1/18; counts [1 1 0]: mean 2/3, variance 2/9
	near(t, out[MoEOutImportance], 1./18/(1./9))
	near(t, out[MoEOutLoad], 2./9/(4./9))
	near(t, out[MoEOutLoadVector], 1, 1, 0)
	out = routed(t, func(a *MoEAttrs) { a.Gate, a.CVUnbiased = GateSwitch, true }, nil, rows...)
	near(t, out[MoEOutImportance], 1./12/(1./9))
}

func TestTopKMLPKeepsTies(t *testing.T) {
	x := f32([]int{1, 4}, 3, 2, 2, 1)
	eye := f32([]int{4, 4}, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1)
	ones := f32([]int{4, 1}, 1, 1, 1, 1)
	zero := f32([]int{1, 4}, 0, 0, 0, 0)
	run := func(k int64, hidden *tensor.Tensor) []*tensor.Tensor {
		return runFamily(t, topKMLPOp(), &TopKMLPAttrs{Activation: ActReLU, K: k}, zero, eye, ones, hidden.Reshape(4))
	}
	near(t, run(2, x)[TopKOutHidden], 3, 2, 2, 0)
	near(t, run(4, x)[TopKOutY], 8)
	near(t, run(99, x)[TopKOutY], 8)
	nan := float32(math.NaN())
	near(t, run(1, f32([]int{1, 4}, nan, 1, 5, 2))[TopKOutY], 5) // a NaN ranks last and is cut
	if y := tensor.Data[float32](run(2, f32([]int{1, 4}, nan, nan, nan, 2))[TopKOutY])[0]; y == y {
		t.Errorf("fewer numbers than k: y is %g, want NaN", y)
	}
	// 2 times the norm 10 beats 3 times the norm 1.
	down := f32([]int{4, 1}, 1, 10, 1, 1)
	out := runFamily(t, topKMLPOp(), &TopKMLPAttrs{Activation: ActReLU, K: 1, UseNorm: true}, x, eye, down)
	near(t, out[TopKOutHidden], 0, 2, 0, 0)
}

func TestPKMRanksTiesByIndex(t *testing.T) {
	x := f32([]int{1, 2}, 1, 1)
	keys := f32([]int{1, 3, 1}, 1, 2, 2)
	values := f32([]int{9, 1}, 1, 2, 3, 4, 5, 6, 7, 8, 9)
	out := runFamily(t, pkmOp(), &PKMAttrs{KNN: 2, Weighting: Weighting(ActReLU)}, x, keys, keys, values)
	holdInts(t, "indices", out[PKMOutIndices], 4, 5) // of the four sums of 2+2 the two lowest
	near(t, out[PKMOutScores], 4, 4)
	near(t, out[PKMOutY], 4*(5+6))
	nan := float32(math.NaN())
	out = runFamily(t, pkmOp(), &PKMAttrs{KNN: 2, Weighting: Weighting(ActReLU)}, f32([]int{1, 2}, nan, nan), keys, keys, values)
	holdInts(t, "indices of NaN", out[PKMOutIndices], 0, 1)
}

// Every element type gives the f32 result to its own rounding.
func TestFamilyElementTypes(t *testing.T) {
	for dt, tol := range map[tensor.DType]float64{tensor.F64: 1e-5, tensor.F16: 4e-3, tensor.BF16: 3e-2} {
		x := f32([]int{2, 2}, 1, -0.5, 0.25, 2)
		sel, w1 := f32([]int{2, 2}, 1, 0, 0, 1), f32([]int{2, 2, 1}, 1, 2, -1, 1)
		w2 := f32([]int{2, 1, 2}, 1, 2, 3, 4)
		in := []*tensor.Tensor{x, w1, w2, sel}
		want := runFamily(t, moeOp(), moeAttrs(func(a *MoEAttrs) { a.Activation = ActGELU }), in...)
		cast := make([]*tensor.Tensor, len(in))
		for i, s := range in {
			cast[i] = tensor.New(dt, s.Shape()...)
			v, err := s.Float64s()
			if err != nil {
				t.Fatal(err)
			}
			storeRow(cast[i], 0, v) // exact: all are small dyadic numbers
		}
		got := runFamily(t, moeOp(), moeAttrs(func(a *MoEAttrs) { a.Activation = ActGELU }), cast...)
		if d := farthest(t, got[MoEOutY], want[MoEOutY]); d > tol {
			t.Errorf("%s is off by %g", dt, d)
		}
		if got[MoEOutY].DType() != dt {
			t.Errorf("y of %s is %s", dt, got[MoEOutY].DType())
		}
	}
}

// What does not fit is refused by name, and nothing panics.
func TestFamilyRefusesWhatDoesNotFit(t *testing.T) {
	m := func(shape ...int) *tensor.Tensor { return tensor.New(tensor.F32, shape...) }
	mlp := &MLPAttrs{Activation: ActReLU}
	for _, c := range []struct {
		what  string
		op    *ir.Op
		attrs any
		kind  error
		ins   []*tensor.Tensor
	}{
		{"widths", mlpOp(), mlp, ir.ErrShape, []*tensor.Tensor{m(2, 3), m(4, 5), m(5, 6)}},
		{"bias", mlpOp(), mlp, ir.ErrShape, []*tensor.Tensor{m(2, 3), m(3, 5), m(5, 6), m(4)}},
		{"scalar", mlpOp(), mlp, ir.ErrShape, []*tensor.Tensor{m(), m(3, 5), m(5, 6)}},
		{"type", mlpOp(), mlp, ir.ErrType, []*tensor.Tensor{tensor.New(tensor.I64, 2, 3), m(3, 5), m(5, 6)}},
		{"two types", mlpOp(), mlp, ir.ErrType, []*tensor.Tensor{m(2, 3), tensor.New(tensor.F64, 3, 5), m(5, 6)}},
		{"missing", mlpOp(), mlp, ir.ErrGraph, []*tensor.Tensor{m(2, 3), nil, m(5, 6)}},
		{"activation", mlpOp(), &MLPAttrs{Activation: "sine"}, ir.ErrAttr, []*tensor.Tensor{m(2, 3), m(3, 5), m(5, 6)}},
		{"k", topKMLPOp(), &TopKMLPAttrs{Activation: ActReLU}, ir.ErrAttr, []*tensor.Tensor{m(2, 3), m(3, 5), m(5, 6)}},
		{"values", pkmOp(), &PKMAttrs{KNN: 2, Weighting: WeightSoftmax}, ir.ErrShape, []*tensor.Tensor{m(2, 4), m(1, 3, 2), m(1, 3, 2), m(8, 4)}},
		{"no router", moeOp(), moeAttrs(func(*MoEAttrs) {}), ir.ErrGraph, []*tensor.Tensor{m(2, 3), m(4, 3, 5), m(4, 5, 3)}},
		{"no experts", moeOp(), moeAttrs(func(*MoEAttrs) {}), ir.ErrShape, []*tensor.Tensor{m(2, 3), m(0, 3, 5), m(0, 5, 3), m(0, 3)}},
		{"gate", moeOp(), moeAttrs(func(a *MoEAttrs) { a.Gate = "best" }), ir.ErrAttr, []*tensor.Tensor{m(2, 3), m(4, 3, 5), m(4, 5, 3), m(4, 3)}},
		{"caps", moeOp(), moeAttrs(func(a *MoEAttrs) { a.Selection, a.MinK, a.MaxK = SelectThreshold, 3, 2 }), ir.ErrAttr, []*tensor.Tensor{m(2, 3), m(4, 3, 5), m(4, 5, 3), m(4, 3)}},
		{"half a gate", moeOp(), moeAttrs(func(*MoEAttrs) {}), ir.ErrGraph, []*tensor.Tensor{m(2, 3), m(4, 3, 5), m(4, 5, 3), m(4, 3), nil, nil, nil, nil, nil, m(4, 5)}},
	} {
		if _, err := tryFamily(c.op, c.attrs, c.ins...); !errors.Is(err, c.kind) {
			t.Errorf("%s: %v, want %v", c.what, err, c.kind)
		}
	}
}
