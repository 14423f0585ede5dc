package ffn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
)

// topKMLPRef is the second product of one row in float64. gap is the distance of
// the K-th value to the nearest other one that is not equal to it, in units of the
// error of computing values.
func topKMLPRef(l *TopKMLP, x []float32) (y []interval, sure bool) {
	in := make([]interval, len(x))
	for i, v := range x {
		in[i].v = float64(v)
	}
	h := product(l.Kernels, in, l.Up, l.UpBias)
	v, worst := make([]float64, len(h)), 0.0
	for i, a := range h {
		h[i] = interval{l.Act.Exact(a.v), 1.13*a.e + 1e-6*max(1, math.Abs(a.v))}
		if l.Act == act.Relu && a.v < -a.e {
			h[i].e = 0 // surely zero
		}
		v[i] = h[i].v
		if l.Norm != nil {
			v[i] *= float64(l.Norm[i])
		}
		if l.Magnitude {
			v[i] = math.Abs(v[i])
		}
		worst = max(worst, h[i].e*2)
	}
	if l.Norm != nil {
		worst *= float64(slices.Max(l.Norm))
	}
	sure = true
	if l.K < len(v) {
		sorted := slices.Clone(v)
		slices.Sort(sorted)
		slices.Reverse(sorted)
		t := sorted[l.K-1]
		for i := range h {
			if v[i] < t {
				sure = sure && t-v[i] > worst
				h[i] = interval{}
			}
		}
	}
	return product(l.Kernels, h, l.Down, nil), sure
}

func TestTopKMLP(t *testing.T) {
	rs := threads(t)
	checked, unsure := 0, 0
	for level, k := range variants() {
		rng := rand.New(rand.NewPCG(41, 42))
		for _, p := range precisions {
			for _, s := range [][5]int{{0, 3, 3, 3, 1}, {1, 5, 40, 7, 4}, {1, 5, 40, 150, 40}, {3, 8, 70, 260, 9}, {9, 6, 33, 31, 20}, {70, 6, 48, 161, 3}, {5, 4, 3, 4, 7}} {
				for trial := range 3 {
					tokens, d, f, dv := s[0], s[1], s[2], s[3]
					l := &TopKMLP{
						Kernels: k, Weights: randomWeights(t, p, rng, d, f, dv, false), K: s[4], T: tokens,
						X: gemm.Rows{Data: floats(rng, tokens*d), Stride: d}, Magnitude: rng.IntN(3) == 0,
					}
					if trial == 0 {
						l.Act = act.Relu
					}
					if rng.IntN(2) == 0 {
						l.Norm = floats(rng, f)
						for i, v := range l.Norm {
							l.Norm[i] = v*v + 0.1
						}
					}
					if rng.IntN(2) == 0 {
						l.Residual = gemm.Rows{Data: floats(rng, tokens*dv), Stride: dv}
					}
					name := fmt.Sprintf("%s %v %v %v norm=%v magnitude=%v", level, p, s, l.Act, l.Norm != nil, l.Magnitude)
					var first []float32
					for _, r := range rs {
						y := poison(tokens * dv)
						l.Y = gemm.Rows{Data: y, Stride: dv}
						if err := l.Run(r, poison(l.Scratch(r.Workers()))); err != nil {
							t.Fatal(err)
						}
						if first == nil {
							first = y
						}
						sameBits(t, fmt.Sprintf("%s with %d threads", name, r.Workers()), y, first)
					}
					for i := range tokens {
						want, sure := topKMLPRef(l, l.X.Data[i*d:(i+1)*d])
						checked++
						if !sure {
							unsure++
							continue
						}
						within(t, fmt.Sprintf("%s row %d", name, i), first[i*dv:(i+1)*dv], want, func(j int) float64 {
							b := 0.0
							if l.DownBias != nil {
								b = float64(l.DownBias[j])
							}
							if l.Residual.Data != nil {
								b += float64(l.Residual.Data[i*dv+j])
							}
							return b
						})
					}
				}
			}
		}
	}
	// int8's error is a large part of the distance between units, so that most of
	// its selections cannot be told.
	if unsure > checked*2/3 {
		t.Errorf("%d of %d tokens could not be checked", unsure, checked)
	}
}

// A token's output has the same bits in every batch, by lists and without.
func TestTopKMLPBatchInvariance(t *testing.T) {
	rs := threads(t)
	for level, k := range variants() {
		for _, keep := range []int{5, 60} {
			rng := rand.New(rand.NewPCG(1, 9))
			const tokens, d, f, dv = 60, 24, 80, 165
			w := randomWeights(t, layout.F32, rng, d, f, dv, false)
			x := floats(rng, tokens*d)
			run := func(x []float32, r int) []float32 {
				n := len(x) / d
				y := poison(n * dv)
				l := &TopKMLP{Kernels: k, Weights: w, K: keep, T: n, X: gemm.Rows{Data: x, Stride: d}, Y: gemm.Rows{Data: y, Stride: dv}}
				if err := l.Run(rs[r], poison(l.Scratch(rs[r].Workers()))); err != nil {
					t.Fatal(err)
				}
				return y
			}
			all := run(x, 1)
			for n, at := 1, 0; at+n <= tokens; n, at = n+4, at+n {
				for r := range rs {
					sameBits(t, fmt.Sprintf("%s K=%d %d tokens at %d", level, keep, n, at), run(x[at*d:(at+n)*d], r), all[at*dv:(at+n)*dv])
				}
			}
		}
	}
}

// Ties at the K-th value are all kept; NaN ranks last and, beside numbers, is
// dropped; with fewer than K numbers everything is kept.
func TestTopKMLPTiesAndNaN(t *testing.T) {
	for level, k := range variants() {
		up, err := layout.Pack(layout.F32, layout.RowMajor([]float32{2, 3, 3, 1, 3}, 1, 5))
		if err != nil {
			t.Fatal(err)
		}
		down, err := layout.Pack(layout.F32, layout.RowMajor([]float32{1, 10, 100, 1000, 10000}, 5, 1))
		if err != nil {
			t.Fatal(err)
		}
		run := func(keep int, bias []float32) float32 {
			y := poison(1)
			l := &TopKMLP{Kernels: k, Weights: Weights{Up: up, Down: down, UpBias: bias}, K: keep, T: 1, X: gemm.Rows{Data: []float32{1}, Stride: 1}, Y: gemm.Rows{Data: y, Stride: 1}}
			r := threads(t)[0]
			if err := l.Run(r, poison(l.Scratch(1))); err != nil {
				t.Fatal(err)
			}
			return y[0]
		}
		if got := run(1, nil); got != 30330 {
			t.Errorf("%s: top 1 of 2 3 3 1 3 gives %v", level, got)
		}
		if got := run(4, nil); got != 30332 {
			t.Errorf("%s: top 4 gives %v", level, got)
		}
		nan := float32(math.NaN())
		if got := run(1, []float32{0, nan, 0, 0, 0}); got != 30300 {
			t.Errorf("%s: top 1 beside a NaN gives %v", level, got)
		}
		if got := run(3, []float32{nan, nan, nan, 0, 0}); got == got {
			t.Errorf("%s: top 3 of two numbers gives %v", level, got)
		}
	}
}

func TestTopKMLPAllocatesNothing(t *testing.T) {
	for _, r := range threads(t)[:2] {
		for level, k := range variants() {
			for _, keep := range []int{2, 30} {
				for _, n := range []int{1, 50} {
					rng := rand.New(rand.NewPCG(1, 1))
					l := &TopKMLP{Kernels: k, Weights: randomWeights(t, layout.F32, rng, 8, 40, 8, false), K: keep, T: n, X: gemm.Rows{Data: floats(rng, n*8), Stride: 8}, Y: gemm.Rows{Data: floats(rng, n*8), Stride: 8}}
					scratch := make([]float32, l.Scratch(r.Workers()))
					if a := testing.AllocsPerRun(3, func() { _ = l.Run(r, scratch) }); a != 0 {
						t.Errorf("%s K=%d T=%d: %v allocations", level, keep, n, a)
					}
				}
			}
		}
	}
}
