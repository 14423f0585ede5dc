package conv

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
	"github.com/seed-c851cfd2/moec/runtime/cpu/pool"
)

func benchKernels(b *testing.B) *Kernels {
	f, err := isa.FromEnv()
	if err != nil {
		b.Fatal(err)
	}
	return New(gemm.New(f))
}

// square is a square image and window.
func square(in, kernel, stride, pad int) [3]Axis {
	one := Axis{In: 1, Out: 1, Kernel: 1, Stride: 1, Dilation: 1}
	side := Axis{In: in, Out: (in+2*pad-kernel)/stride + 1, Kernel: kernel, Stride: stride, Dilation: 1, Pad: pad}
	return [3]Axis{one, side, side}
}

// BenchmarkLast: the convolutions of ResNets and MobileNets, one image, one thread.
func BenchmarkLast(b *testing.B) {
	for _, s := range []struct {
		in, c, m, kernel, stride int
		residual                 bool
	}{
		{224, 3, 64, 7, 2, false},
		{56, 64, 64, 3, 1, false},
		{28, 128, 128, 3, 1, false},
		{14, 256, 256, 3, 1, false},
		{7, 512, 512, 3, 1, false},
		{56, 64, 128, 3, 2, false},
		{224, 64, 64, 3, 1, false},
		{56, 64, 256, 1, 1, false},
		{56, 64, 256, 1, 1, true},
		{56, 256, 64, 1, 1, false},
		{14, 1024, 256, 1, 1, false},
		{7, 512, 2048, 1, 1, false},
		{56, 256, 512, 1, 2, false},
		{112, 16, 64, 1, 1, false},
		{112, 16, 96, 1, 1, false},
		{224, 3, 32, 3, 2, false},
		{224, 3, 64, 3, 1, false},
		{56, 72, 24, 1, 1, false},
		{14, 480, 112, 1, 1, false},
	} {
		for _, p := range []layout.Precision{layout.F32, layout.BF16} {
			benchLast(b, p, s.in, s.c, s.m, s.kernel, s.stride, s.residual)
		}
	}
}

// numbers are n normal numbers: tiles run slower on them than on zeros.
func numbers(n int) []float32 {
	rng := rand.New(rand.NewPCG(1, 1))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

func benchLast(b *testing.B, p layout.Precision, in, c, m, kernel, stride int, residual bool) {
	b.Run(fmt.Sprintf("%v/%dx%d-%d_%dx%d_s%d_%t", p, in, c, m, kernel, kernel, stride, residual), func(b *testing.B) {
		axes := square(in, kernel, stride, kernel/2)
		v := NewLast(benchKernels(b), p, 1, c, m, 1, axes, act.Relu)
		k := c * kernel * kernel
		k = p.ConvRows(k)
		w, err := layout.Pack(p, layout.RowMajor(numbers(k*m), k, m))
		if err != nil {
			b.Fatal(err)
		}
		v.W, v.Bias = []*layout.Matrix{w}, make([]float32, m)
		image := func(n int) Images {
			if x := numbers(n); p == layout.F32 || c == 3 && n == in*in*c {
				return Images{F32: x}
			}
			h := make([]uint16, n)
			for i, x := range numbers(n) {
				h[i] = layout.RoundBF16(x)
			}
			return Images{BF16: h}
		}
		v.X, v.Y = image(in*in*c), image(v.area*m)
		if residual {
			v.Residual = image(v.area * m)
		}
		v.Rounded.X, v.Rounded.Y, v.Rounded.Residual = v.X.F32 == nil, v.Y.F32 == nil, v.Residual.BF16 != nil
		r := pool.Serial{}
		scratch := make([]float32, v.Scratch(1)+16)
		b.ResetTimer()
		for b.Loop() {
			if err := v.Run(r, scratch); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(2*float64(v.Work())*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
	})
}

// BenchmarkWindows: depthwise convolutions, one image, one thread.
func BenchmarkWindows(b *testing.B) {
	for _, s := range []struct{ in, c, kernel, stride int }{
		{112, 32, 3, 1},
		{112, 96, 3, 2},
		{56, 144, 3, 1},
		{14, 480, 5, 1},
		{56, 96, 7, 1},
		{7, 768, 7, 1},
	} {
		b.Run(fmt.Sprintf("%dx%d_%dx%d_s%d", s.in, s.c, s.kernel, s.kernel, s.stride), func(b *testing.B) {
			axes := square(s.in, s.kernel, s.stride, s.kernel/2)
			v := NewWindows(benchKernels(b), Depthwise, 1, s.c, axes, act.Identity)
			v.X.F32, v.Y.F32 = make([]float32, s.in*s.in*s.c), make([]float32, axes[1].Out*axes[2].Out*s.c)
			v.W, v.Bias = make([]float32, s.kernel*s.kernel*s.c), make([]float32, s.c)
			v.Prepare(1)
			for b.Loop() {
				if err := v.Run(pool.Serial{}, nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(2*float64(v.Work())*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}
