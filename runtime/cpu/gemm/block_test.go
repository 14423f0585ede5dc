package gemm

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
)

func BenchmarkTmp(b *testing.B) {
	k := New(isa.Detect())
	rng := rand.New(rand.NewPCG(1, 1))
	for _, p := range []layout.Precision{layout.F32, layout.BF16, layout.I8} {
		for _, s := range [][3]int{{12, 32, 512}, {12, 256, 384}, {512, 512, 512}, {512, 1536, 384}, {512, 384, 1536}, {1, 2048, 2048}, {1, 1024, 256}, {4, 2048, 2048}, {1024, 1024, 1024}, {96, 16, 384}, {96, 384, 16}} {
			m, n, kk := s[0], s[1], s[2]
			a := make([]float32, m*kk)
			w := make([]float32, n*kk)
			for i := range a {
				a[i] = rng.Float32() - .5
			}
			for i := range w {
				w[i] = rng.Float32() - .5
			}
			B, _ := layout.Pack(p, layout.RowMajor(w, kk, n))
			c := make([]float32, m*n)
			blk := Block{A: Operand{F32: Rows{Data: a, Stride: kk}}, M: m, B: B, N1: n, K1: kk, C: Rows{Data: c, Stride: n}}
			if p != layout.F32 {
				words := p.Steps(kk)
				blk.A = Operand{Data: make([]uint32, m*words), Words: words}
				if p == layout.I8 {
					blk.A.Scale = make([]float32, m)
					blk.A.Zero = make([]uint32, m)
				}
			}
			k.Run(&blk)
			best := math.Inf(1)
			end := time.Now().Add(200 * time.Millisecond)
			for time.Now().Before(end) {
				t0 := time.Now()
				r := max(1, int(2e7/(float64(m)*float64(n)*float64(kk))))
				for range r {
					k.Run(&blk)
				}
				best = math.Min(best, time.Since(t0).Seconds()/float64(r))
			}
			fl := 2 * float64(m) * float64(n) * float64(kk)
			b.Logf("%v %4dx%4dx%4d %9.2f us %7.1f GF/s  B %6.1f GB/s", p, m, n, kk, best*1e6, fl/best/1e9, float64(p.Bytes(kk, n))/best/1e9)
		}
	}
}
