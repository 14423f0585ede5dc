package ffn

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
	"github.com/seed-c851cfd2/moec/runtime/cpu/pool"
	"github.com/seed-c851cfd2/moec/runtime/cpu/probe"
)

// layer is what the benchmarks run.
type layer interface {
	Scratch(workers int) int
	Run(r pool.Runner, scratch []float32) error
}

// report runs l and gives the median time, GFLOP/s, its share of the peak measured in
// between, and GB/s of the weights that are touched at least once.
func report(b *testing.B, l layer, p layout.Precision, workers int, flops, bytes float64) {
	f, err := isa.FromEnv()
	if err != nil {
		b.Fatal(err)
	}
	r := pool.New(workers)
	defer r.Close()
	scratch := make([]float32, l.Scratch(workers))
	rounds := max(1, int(2e7/flops))
	var times, peaks []float64
	best := 0.0 // of all peaks
	for range b.N {
		for range 20 {
			begin := time.Now()
			for range rounds {
				if err := l.Run(r, scratch); err != nil {
					b.Fatal(err)
				}
			}
			times = append(times, time.Since(begin).Seconds()/float64(rounds))
			peak := probe.Peak(f, p, workers, 0)
			peaks, best = append(peaks, peak.Median), max(best, peak.Best)
		}
	}
	slices.Sort(times)
	slices.Sort(peaks)
	mid, peak := times[len(times)/2], peaks[len(peaks)/2]
	b.ReportMetric(mid*1e6, "us")
	b.ReportMetric(flops/mid/1e9, "GFLOP/s")
	b.ReportMetric(100*flops/mid/1e9/peak, "%peak")
	b.ReportMetric(100*flops/times[0]/1e9/best, "%best") // the fastest run: where neighbours share the core, medians are theirs
	b.ReportMetric(bytes/mid/1e9, "GB/s")
	b.ReportMetric(0, "ns/op")
}

func benchKernels(b *testing.B) *gemm.Kernels {
	f, err := isa.FromEnv()
	if err != nil {
		b.Fatal(err)
	}
	return gemm.New(f)
}

func BenchmarkMLP(b *testing.B) {
	k := benchKernels(b)
	for _, p := range precisions {
		for _, d := range []int{256, 384, 512, 1024} {
			for _, tokens := range []int{1, 8, 64, 512} {
				for workers := 1; workers <= 2; workers++ {
					b.Run(fmt.Sprintf("%v/d%d/T%d/%d", p, d, tokens, workers), func(b *testing.B) {
						rng := rand.New(rand.NewPCG(1, 1))
						l := &MLP{
							Kernels: k, T: tokens, X: gemm.Rows{Data: floats(rng, tokens*d), Stride: d},
							Y:       gemm.Rows{Data: make([]float32, tokens*d), Stride: d},
							Weights: Weights{Up: huge(b, pack(b, p, rng, d, 4*d)), Down: huge(b, pack(b, p, rng, 4*d, d)), UpBias: make([]float32, 4*d), DownBias: make([]float32, d), Act: act.Relu},
						}
						report(b, l, p, workers, float64(tokens)*16*float64(d*d), 2*float64(p.Bytes(d, 4*d)))
					})
				}
			}
		}
	}
}

func BenchmarkMoE(b *testing.B) {
	k := benchKernels(b)
	for _, p := range precisions {
		for _, s := range []moeShape{{0, 256, 128, 256, 8, 4}, {0, 512, 128, 512, 16, 4}, {0, 1024, 128, 1024, 32, 4}, {0, 384, 16, 384, 96, 24}} {
			for _, tokens := range []int{1, 8, 64, 512} {
				for workers := 1; workers <= 2; workers++ {
					b.Run(fmt.Sprintf("%v/d%d_G%d_E%d_K%d/T%d/%d", p, s.d, s.g, s.e, s.k, tokens, workers), func(b *testing.B) {
						benchMoE(b, k, p, s, tokens, workers)
					})
				}
			}
		}
	}
}

func benchMoE(b *testing.B, k *gemm.Kernels, p layout.Precision, s moeShape, tokens, workers int) {
	rng := rand.New(rand.NewPCG(1, 1))
	l := &MoE{
		Kernels: k, T: tokens, X: gemm.Rows{Data: floats(rng, tokens*s.d), Stride: s.d},
		Y:      gemm.Rows{Data: make([]float32, tokens*s.dv), Stride: s.dv},
		Router: Router{W: pack(b, layout.F32, rng, s.d, s.e), Gating: GateSigmoid, K: s.k},
	}
	if s.g == 16 {
		l.Router.Gating = GateNone
	}
	for range s.e {
		l.Experts = append(l.Experts, Weights{Up: huge(b, pack(b, p, rng, s.d, s.g)), Down: huge(b, pack(b, p, rng, s.g, s.dv)), Act: act.Relu})
	}
	if s.g <= layout.NR && p != layout.F32 { // as compiled
		join(b, p, rng, l)
	}
	touched := min(s.e, tokens*s.k)
	report(b, l, p, workers, float64(tokens)*float64(4*s.k*s.g*s.d+2*s.d*s.e), float64(touched*(p.Bytes(s.d, s.g)+p.Bytes(s.g, s.dv))))
}
