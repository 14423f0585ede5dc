package ffn

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
)

// Dense and gated MLPs against float64 and with the same bits from any number of
// threads, over sizes around every edge.
func TestMLP(t *testing.T) {
	rs := threads(t)
	for level, k := range variants() {
		rng := rand.New(rand.NewPCG(21, 22))
		for _, p := range precisions {
			for _, s := range [][4]int{{0, 3, 3, 3}, {1, 1, 1, 1}, {1, 40, 70, 33}, {3, 0, 5, 4}, {3, 4, 0, 5}, {7, 33, 530, 40}, {49, 17, 45, 31}, {200, 12, 30, 9}} {
				for _, gated := range []bool{false, true} {
					tokens, d, f, dv := s[0], s[1], s[2], s[3]
					w := randomWeights(t, p, rng, d, f, dv, gated)
					x := gemm.Rows{Data: floats(rng, tokens*d), Stride: d}
					var res gemm.Rows
					if rng.IntN(2) == 0 {
						res = gemm.Rows{Data: floats(rng, tokens*dv), Stride: dv}
					}
					name := fmt.Sprintf("%s %v T=%d D=%d F=%d Dv=%d gated=%v %v", level, p, tokens, d, f, dv, gated, w.Act)
					var first []float32
					for _, r := range rs {
						y := poison(tokens * dv)
						l := &MLP{Kernels: k, Weights: w, T: tokens, X: x, Y: gemm.Rows{Data: y, Stride: dv}, Residual: res}
						if err := l.Run(r, poison(l.Scratch(r.Workers()))); err != nil {
							t.Fatal(err)
						}
						if first == nil {
							first = y
						}
						sameBits(t, fmt.Sprintf("%s with %d threads", name, r.Workers()), y, first)
					}
					for i := range tokens {
						want := mlpRef(k, &w, x.Data[i*d:(i+1)*d], 1)
						within(t, fmt.Sprintf("%s row %d", name, i), first[i*dv:(i+1)*dv], want, func(j int) float64 {
							b := 0.0
							if w.DownBias != nil {
								b += float64(w.DownBias[j])
							}
							if res.Data != nil {
								b += float64(res.Data[i*dv+j])
							}
							return b
						})
					}
				}
			}
		}
	}
}

// A token's output has the same bits in every batch.
func TestMLPBatchInvariance(t *testing.T) {
	rs := threads(t)
	for level, k := range variants() {
		for _, p := range precisions {
			rng := rand.New(rand.NewPCG(1, 9))
			const tokens, d, f, dv = 120, 24, 600, 37
			w := randomWeights(t, p, rng, d, f, dv, true)
			x := floats(rng, tokens*d)
			run := func(x []float32, r int) []float32 {
				n := len(x) / d
				y := poison(n * dv)
				l := &MLP{Kernels: k, Weights: w, T: n, X: gemm.Rows{Data: x, Stride: d}, Y: gemm.Rows{Data: y, Stride: dv}}
				if err := l.Run(rs[r], poison(l.Scratch(rs[r].Workers()))); err != nil {
					t.Fatal(err)
				}
				return y
			}
			all := run(x, 1)
			for n, at := 1, 0; at+n <= tokens; n, at = n+5, at+n {
				for r := range rs {
					sameBits(t, fmt.Sprintf("%s %v %d tokens at %d", level, p, n, at), run(x[at*d:(at+n)*d], r), all[at*dv:(at+n)*dv])
				}
			}
		}
	}
}

func TestMLPAllocatesNothing(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, r := range threads(t)[:2] {
		for level, k := range variants() {
			for _, p := range precisions {
				for _, tokens := range []int{1, 70} {
					w := randomWeights(t, p, rng, 16, 40, 16, true)
					w.Act = act.Silu
					l := &MLP{Kernels: k, Weights: w, T: tokens, X: gemm.Rows{Data: make([]float32, tokens*16), Stride: 16}, Y: gemm.Rows{Data: make([]float32, tokens*16), Stride: 16}}
					scratch := make([]float32, l.Scratch(r.Workers()))
					if a := testing.AllocsPerRun(3, func() { _ = l.Run(r, scratch) }); a != 0 {
						t.Errorf("%s %v T=%d: %v allocations", level, p, tokens, a)
					}
				}
			}
		}
	}
}
