package conv

import (
	"testing"

	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
	"github.com/seed-c851cfd2/moec/runtime/cpu/pool"
)

// TestRunAllocatesNothing: a second run of a convolution, plain or by planes, takes no
// memory.
func TestRunAllocatesNothing(t *testing.T) {
	f, err := isa.FromEnv()
	if err != nil {
		t.Fatal(err)
	}
	k := New(gemm.New(f))
	one := Axis{In: 1, Out: 1, Kernel: 1, Stride: 1, Dilation: 1}
	side := Axis{In: 20, Out: 20, Kernel: 3, Stride: 1, Dilation: 1, Pad: 1}
	axes := [3]Axis{one, side, side}
	const n, c = 2, 16
	x, y := make([]float32, n*c*400), make([]float32, n*c*400)
	p := pool.New(2)
	defer p.Close()
	for _, r := range []pool.Runner{pool.Serial{}, p} {
		v, err := NewConv(k, n, c, c, 1, axes, act.Silu)
		if err != nil {
			t.Fatal(err)
		}
		v.X, v.Y, v.W, v.Bias = x, y, make([]float32, c*c*9), make([]float32, c)
		scratch := make([]float32, v.Scratch(r.Workers()))
		if a := testing.AllocsPerRun(3, func() { _ = v.Run(r, scratch) }); a != 0 {
			t.Errorf("%v allocations of a convolution", a)
		}
		d, err := NewPlanes(k, Depthwise, n, c, 1, axes, act.Relu)
		if err != nil {
			t.Fatal(err)
		}
		d.X, d.Y, d.W = x, y, make([]float32, c*9)
		scratch = make([]float32, d.Scratch(r.Workers()))
		if a := testing.AllocsPerRun(3, func() { _ = d.Run(r, scratch) }); a != 0 {
			t.Errorf("%v allocations of a depthwise convolution", a)
		}
	}
}
