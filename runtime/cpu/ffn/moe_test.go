package ffn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
)

// routeRef selects for one row of logits in float64. gap is the distance between
// the last score that is in and the first that is out.
func routeRef(r *Router, logits, given []float64) (experts []int, gates []float64, gap float64) {
	e := len(logits)
	scores := slices.Clone(logits)
	switch r.Gating {
	case GateSigmoid:
		for i, v := range scores {
			scores[i] = 1 / (1 + math.Exp(-v))
		}
	case GateSoftmax:
		scores = softmaxRef(scores)
	}
	order := make([]int, e)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case scores[a] > scores[b]:
			return -1
		case scores[a] < scores[b]:
			return 1
		}
		return 0
	})
	n, gap := min(r.K, e), 1.0
	if r.Above {
		n = 0
		for _, i := range order {
			gap = min(gap, math.Abs(scores[i]-float64(r.Threshold)))
			if scores[i] >= float64(r.Threshold) {
				n++
			}
		}
		n = min(max(n, r.MinK), e)
		if r.MaxK > 0 {
			n = min(n, r.MaxK)
		}
	}
	if n > 0 && n < e {
		gap = min(gap, math.Abs(logits[order[n-1]]-logits[order[n]]))
	}
	experts = order[:n]
	slices.Sort(experts)
	sum := float64(r.Epsilon)
	for _, i := range experts {
		g := scores[i]
		switch r.Gating {
		case GateNone:
			g = 1
		case GateGiven:
			g = given[i]
		}
		gates = append(gates, g)
	}
	if r.Gating == GateSoftmaxAfter {
		gates = softmaxRef(gates)
	}
	if r.Normalise {
		for _, g := range gates {
			sum += g
		}
		for i := range gates {
			gates[i] /= sum
		}
	}
	return experts, gates, gap
}

func softmaxRef(x []float64) []float64 {
	y, sum := make([]float64, len(x)), 0.0
	for i, v := range x {
		y[i] = math.Exp(v)
		sum += y[i]
	}
	for i := range y {
		y[i] /= sum
	}
	return y
}

type moeShape struct{ t, d, g, dv, e, k int }

// randomMoE makes a layer; its logits come from a router matrix or are given.
func randomMoE(t testing.TB, k *gemm.Kernels, p layout.Precision, rng *rand.Rand, s moeShape) *MoE {
	l := &MoE{Kernels: k, T: s.t, X: gemm.Rows{Data: floats(rng, s.t*(s.d+1)), Stride: s.d + 1}}
	gated, kind := rng.IntN(3) == 0, randomWeights(t, p, rng, 1, 1, 1, false).Act
	bias, down := rng.IntN(2) == 0, rng.IntN(2) == 0
	for range s.e {
		w := randomWeights(t, p, rng, s.d, s.g, s.dv, gated)
		w.Act, w.UpBias, w.GateBias, w.DownBias = kind, nil, nil, nil
		if bias {
			w.UpBias = floats(rng, s.g)
		}
		if down {
			w.DownBias = floats(rng, s.dv)
		}
		l.Experts = append(l.Experts, w)
	}
	if s.g%16 == 0 && s.g <= 32 && s.e > 0 && rng.IntN(3) > 0 {
		join(t, p, rng, l)
	}
	l.Router = Router{Gating: Gating(rng.IntN(5)), K: s.k, Normalise: rng.IntN(4) == 0, Epsilon: 1e-3}
	if l.Router.Gating == GateGiven {
		l.Router.Normalise = false
	}
	if rng.IntN(4) == 0 {
		l.Router.Above, l.Router.Threshold = true, float32(rng.Float64())/2
		l.Router.MinK, l.Router.MaxK = rng.IntN(2), rng.IntN(3)
		if l.Router.MaxK > 0 {
			l.Router.MaxK = max(l.Router.MaxK, l.Router.MinK)
		}
	}
	if rng.IntN(2) == 0 {
		l.Router.W = pack(t, layout.F32, rng, s.d, s.e)
	} else {
		l.Router.Logits = gemm.Rows{Data: floats(rng, s.t*s.e), Stride: s.e}
	}
	if rng.IntN(2) == 0 {
		l.Router.Bias = floats(rng, s.e)
	}
	l.Router.Gates = gemm.Rows{Data: floats(rng, s.t*s.e), Stride: s.e}
	if rng.IntN(2) == 0 {
		l.Bias = floats(rng, s.dv)
	}
	if rng.IntN(2) == 0 {
		l.Residual = gemm.Rows{Data: floats(rng, s.t*s.dv), Stride: s.dv}
	}
	if rng.IntN(3) == 0 {
		w := randomWeights(t, p, rng, s.d, s.g+3, s.dv, gated)
		l.Shared = &w
	}
	return l
}

// join gives the experts of l new weights, which are one matrix each too.
func join(t testing.TB, p layout.Precision, rng *rand.Rand, l *MoE) {
	t.Helper()
	d, g, dv, e, _ := l.dims()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	beside := func() (*layout.Matrix, []*layout.Matrix) {
		stored, err := layout.PackStack(p, tensor.Of(floats(rng, e*d*g), e, d, g), false)
		must(err)
		all, err := layout.Beside(p, stored.Bytes(), e, d, g)
		must(err)
		parts, err := layout.Unstack(p, stored.Bytes(), e, d, g)
		must(err)
		return all, parts
	}
	up, ups := beside()
	gate, gates := beside()
	down := pack(t, p, rng, e*g, dv)
	first := l.Experts[0]
	w := Weights{Up: up, Down: down, Act: first.Act}
	if first.Gate != nil {
		w.Gate = gate
	}
	if first.UpBias != nil {
		w.UpBias, w.GateBias = floats(rng, e*g), floats(rng, e*g)
	}
	for i := range l.Experts {
		x := &l.Experts[i]
		x.First = i * g
		x.Up, x.Down = ups[i], down.Part(x.First, g)
		if x.Gate != nil {
			x.Gate = gates[i]
		}
		if w.UpBias != nil {
			x.UpBias, x.GateBias = w.UpBias[i*g:(i+1)*g], w.GateBias[i*g:(i+1)*g]
		}
	}
	l.Joined = &w
}

// checkMoE compares the output with float64, and returns the tokens that it could
// not check because their selection hangs on rounding.
func checkMoE(t *testing.T, name string, l *MoE, y []float32) (unsure int) {
	t.Helper()
	d, _, dv, e, _ := l.dims()
	for i := range l.T {
		x := l.X.Data[l.X.At(i):][:d]
		logits, given := make([]float64, e), make([]float64, e)
		for j := range e {
			if l.Router.W != nil {
				for c, v := range x {
					logits[j] += float64(v) * float64(l.Router.W.At(c, j))
				}
			} else {
				logits[j] = float64(l.Router.Logits.Data[i*e+j])
			}
			if l.Router.Bias != nil {
				logits[j] += float64(l.Router.Bias[j])
			}
			given[j] = float64(l.Router.Gates.Data[i*e+j])
		}
		experts, gates, gap := routeRef(&l.Router, logits, given)
		if gap < 1e-5 {
			unsure++
			continue
		}
		want := make([]interval, dv)
		hidden, top := make([][]interval, len(experts)), 0.0
		for j, n := range experts {
			hidden[j] = hiddenRef(l.Kernels, &l.Experts[n], x, gates[j])
			if l.isJoined() { // all of a token's units are one row
				top = max(top, largest(hidden[j]))
			}
		}
		for j, n := range experts {
			w := &l.Experts[n]
			for c, o := range productFrom(l.Kernels, hidden[j], w.Down, w.First, top, nil) {
				if w.DownBias != nil {
					o.v += gates[j] * float64(w.DownBias[c])
				}
				want[c].v += o.v
				// Gates themselves are good to 1e-5: sigmoid of logits with f32 sums.
				want[c].e += o.e + 1e-5*(math.Abs(o.v)+1)
			}
		}
		if l.Shared != nil {
			for c, o := range mlpRef(l.Kernels, l.Shared, x, 1) {
				want[c].v += o.v
				want[c].e += o.e
			}
		}
		within(t, fmt.Sprintf("%s row %d", name, i), y[i*dv:(i+1)*dv], want, func(j int) float64 {
			b := 0.0
			if l.Bias != nil {
				b += float64(l.Bias[j])
			}
			if l.Shared != nil && l.Shared.DownBias != nil {
				b += float64(l.Shared.DownBias[j])
			}
			if l.Residual.Data != nil {
				b += float64(l.Residual.Data[i*dv+j])
			}
			return b
		})
	}
	return unsure
}

// Every gating, selection and precision against float64, with the same bits from
// any number of threads.
func TestMoE(t *testing.T) {
	rs := threads(t)
	shapes := []moeShape{{0, 3, 3, 3, 2, 1}, {1, 5, 16, 7, 4, 2}, {1, 40, 70, 33, 3, 1}, {5, 24, 16, 40, 6, 3}, {9, 17, 33, 31, 5, 5}, {40, 12, 16, 20, 4, 2}, {70, 8, 5, 9, 3, 2}, {260, 8, 16, 8, 6, 2}, {3, 8, 4, 8, 4, 0}, {7, 20, 16, 33, 9, 4}, {130, 16, 32, 8, 5, 2}, {50, 33, 16, 20, 40, 11}}
	tokens, unsure := 0, 0
	for level, k := range variants() {
		rng := rand.New(rand.NewPCG(31, 32))
		for _, p := range precisions {
			for trial := range 4 {
				for _, s := range shapes {
					l := randomMoE(t, k, p, rng, s)
					name := fmt.Sprintf("%s %v %+v %v above=%v trial %d", level, p, s, l.Router.Gating, l.Router.Above, trial)
					var first []float32
					for _, r := range rs {
						y := poison(s.t * s.dv)
						l.Y = gemm.Rows{Data: y, Stride: s.dv}
						if err := l.Run(r, poison(l.Scratch(r.Workers()))); err != nil {
							t.Fatal(err)
						}
						if first == nil {
							first = y
							unsure += checkMoE(t, name, l, y)
							tokens += s.t
						}
						sameBits(t, fmt.Sprintf("%s with %d threads", name, r.Workers()), y, first)
					}
				}
			}
		}
	}
	if unsure > tokens/50 {
		t.Errorf("%d of %d tokens could not be checked", unsure, tokens)
	}
}

// A token's output has the same bits in every batch.
func TestMoEBatchInvariance(t *testing.T) {
	rs := threads(t)
	for level, k := range variants() {
		for _, p := range precisions {
			rng := rand.New(rand.NewPCG(1, 9))
			for _, s := range []moeShape{{150, 24, 48, 37, 5, 2}, {150, 24, 16, 37, 9, 3}} {
				l := randomMoE(t, k, p, rng, s)
				if s.g == 16 {
					join(t, p, rng, l)
				}
				l.Router.W, l.Router.Gating, l.Residual = pack(t, layout.F32, rng, s.d, s.e), GateSigmoid, gemm.Rows{}
				x, stride := l.X.Data, l.X.Stride
				run := func(at, n, r int) []float32 {
					y := poison(n * s.dv)
					l.T, l.X.Data, l.Y = n, x[at*stride:(at+n)*stride], gemm.Rows{Data: y, Stride: s.dv}
					if err := l.Run(rs[r], poison(l.Scratch(rs[r].Workers()))); err != nil {
						t.Fatal(err)
					}
					return y
				}
				all := run(0, s.t, 1)
				for n, at := 1, 0; at+n <= s.t; n, at = n+1+n/3*5, at+n { // 1, 2, 3, 9, 25, 66
					for r := range rs {
						sameBits(t, fmt.Sprintf("%s %v %+v %d tokens at %d", level, p, s, n, at), run(at, n, r), all[at*s.dv:(at+n)*s.dv])
					}
				}
			}
		}
	}
}

func TestMoEAllocatesNothing(t *testing.T) {
	for _, r := range threads(t)[:2] {
		for level, k := range variants() {
			for _, p := range precisions {
				for _, n := range []int{1, 1, 1, 150, 150, 150} { // joined and apart
					l := randomMoE(t, k, p, rand.New(rand.NewPCG(1, 1)), moeShape{n, 16, 16, 16, 4, 2})
					l.Y = gemm.Rows{Data: make([]float32, n*16), Stride: 16}
					scratch := make([]float32, l.Scratch(r.Workers()))
					if a := testing.AllocsPerRun(3, func() { _ = l.Run(r, scratch) }); a != 0 {
						t.Errorf("%s %v T=%d: %v allocations", level, p, n, a)
					}
				}
			}
		}
	}
}

// The residual may be the output itself.
func TestMoEInPlaceResidual(t *testing.T) {
	k := variants()["portable"]
	rng := rand.New(rand.NewPCG(4, 4))
	l := randomMoE(t, k, layout.F32, rng, moeShape{30, 8, 8, 8, 4, 2})
	res := floats(rng, 30*8)
	run := func(residual, y []float32) []float32 {
		l.Residual, l.Y = gemm.Rows{Data: residual, Stride: 8}, gemm.Rows{Data: y, Stride: 8}
		for _, r := range threads(t)[:1] {
			if err := l.Run(r, poison(l.Scratch(r.Workers()))); err != nil {
				t.Fatal(err)
			}
		}
		return y
	}
	apart := run(res, poison(30*8))
	same := slices.Clone(res)
	sameBits(t, "residual in place", run(same, same), apart)
}
