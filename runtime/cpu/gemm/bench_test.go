package gemm

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
	"github.com/seed-c851cfd2/moec/runtime/cpu/pool"
	"github.com/seed-c851cfd2/moec/runtime/cpu/probe"
)

// BenchmarkMul reports the median of many runs of a dense layer: GFLOP/s, its share
// of the machine's peak measured in between, and GB/s of weights; and the fastest run's share of the best peak.
func BenchmarkMul(b *testing.B) {
	f := isa.Detect().Preferred()
	if lim, err := isa.FromEnv(); err == nil {
		f = lim
	}
	k := New(f)
	for _, p := range precisions {
		for _, s := range [][3]int{{1, 1024, 256}, {16, 384, 384}, {1024, 384, 384}, {1024, 1536, 384}, {1024, 384, 1536}, {1, 2048, 2048}, {4, 2048, 2048}, {8, 2048, 2048}, {16, 1536, 384}, {128, 1536, 384}, {128, 384, 1536}, {512, 512, 512}, {1024, 1024, 1024}} {
			for threads := 1; threads <= 2; threads++ {
				b.Run(fmt.Sprintf("%v/%dx%dx%d/%d", p, s[0], s[1], s[2], threads), func(b *testing.B) {
					benchMul(b, k, p, s[0], s[1], s[2], threads)
				})
			}
		}
	}
}

func benchMul(b *testing.B, k *Kernels, p layout.Precision, m, n, kk, threads int) {
	r := pool.New(threads)
	defer r.Close()
	rng := rand.New(rand.NewPCG(1, 1))
	w, err := layout.Pack(p, layout.RowMajor(floats(rng, n*kk), kk, n))
	if err != nil {
		b.Fatal(err)
	}
	mul := &Mul{
		Kernels: k, A: Rows{Data: floats(rng, m*kk), Stride: kk}, M: m, B: w,
		C: Rows{Data: make([]float32, m*n), Stride: n}, Bias: make([]float32, n), Act: act.Relu,
	}
	scratch := make([]float32, mul.Scratch(threads))
	flops := 2 * float64(m) * float64(n) * float64(kk)
	rounds := max(1, int(3e7/flops))
	var times, peaks []float64
	best := 0.0 // of all peaks
	for range b.N {
		for range 20 {
			begin := time.Now()
			for range rounds {
				if err := mul.Run(r, scratch); err != nil {
					b.Fatal(err)
				}
			}
			times = append(times, time.Since(begin).Seconds()/float64(rounds))
			peak := probe.Peak(k.feat, p, threads, 0)
			peaks, best = append(peaks, peak.Median), max(best, peak.Best)
		}
	}
	slices.Sort(times)
	slices.Sort(peaks)
	mid, peak := times[len(times)/2], peaks[len(peaks)/2]
	b.ReportMetric(flops/mid/1e9, "GFLOP/s")
	b.ReportMetric(100*flops/mid/1e9/peak, "%peak")
	b.ReportMetric(100*flops/times[0]/1e9/best, "%best") // the fastest run: where neighbours share the core, medians are theirs
	b.ReportMetric(float64(p.Bytes(kk, n))/mid/1e9, "GB/s")
	b.ReportMetric(0, "ns/op")
}
