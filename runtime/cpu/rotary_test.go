package cpu

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// The kernel gives the bits of the reference, and allocates nothing per run.
func TestRotary(t *testing.T) {
	op := ops.NewTable().Lookup(ir.DomainMoec, "Rotary")
	rng := rand.New(rand.NewPCG(1, 1))
	random := func(shape ...int) *tensor.Tensor {
		x := tensor.New(tensor.F32, shape...)
		for i := range tensor.Data[float32](x) {
			tensor.Data[float32](x)[i] = float32(rng.NormFloat64())
		}
		return x
	}
	const batch, positions, heads = 2, 7, 3
	for _, threads := range []int{1, 3} {
		d, err := NewDevice(threads)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(d.Close)
		for _, dims := range [][2]int{{2, 2}, {8, 6}, {64, 64}, {70, 40}} {
			for variant := range 32 {
				a := &ops.FusedRotaryAttrs{
					Heads: heads, HeadDim: int64(dims[0]), RotaryDim: int64(dims[1]),
					Interleaved: variant&1 != 0, Layout: ops.LayoutBSD, OutLayout: ops.LayoutBSD,
				}
				shape := []int{batch, positions, 5 + heads*dims[0] + 4}
				a.Offset, a.Tail = 5, 3
				if variant&2 != 0 {
					a.OutLayout, a.Tail = ops.LayoutBHSD, 0
				}
				if variant&4 != 0 {
					a.Layout, a.Offset, a.Tail = ops.LayoutBHSD, 0, 0
					shape = []int{batch, heads, positions, dims[0]}
				}
				table := []int{batch, positions, dims[1] / 2}
				if variant&8 != 0 {
					table[0] = 1
				}
				if variant&16 != 0 {
					table[2] *= 2
				}
				t.Run(fmt.Sprint(threads, dims, variant), func(t *testing.T) {
					ins := []*tensor.Tensor{random(shape...), random(table...), random(table...)}
					holdToReference(t, d, op, a, "rotary", ins)
				})
			}
		}
	}
}

// holdToReference runs a kernel and the op's Eval on the same inputs.
func holdToReference(t *testing.T, d *Device, op *ir.Op, attrs any, kernel string, ins []*tensor.Tensor) {
	t.Helper()
	ev := &ir.EvalCtx{Attrs: attrs, Ins: ins, Outs: make([]*tensor.Tensor, 1), Want: []bool{true}}
	if err := op.Eval(ev); err != nil {
		t.Fatal(err)
	}
	want := ev.Outs[0]
	b := &Binding{Step: &plan.Step{Op: op, Attrs: attrs, Kernel: kernel}, Outs: []ir.Type{ir.TypeOf(want)}, Device: d}
	for _, in := range ins {
		b.Ins = append(b.Ins, ir.TypeOf(in))
	}
	bound, err := d.Bind(b)
	if err != nil {
		t.Fatal(err)
	}
	got := tensor.New(tensor.F32, want.Shape()...)
	for i := range tensor.Data[float32](got) {
		tensor.Data[float32](got)[i] = float32(math.NaN())
	}
	c := &Call{Context: context.Background(), Ins: ins, Outs: []*tensor.Tensor{got}, Scratch: make([]byte, bound.Scratch)}
	run := func() {
		if err := bound.Run(c); err != nil {
			t.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(3, run); n != 0 {
		t.Errorf("%v allocations per run", n)
	}
	for i, v := range tensor.Data[float32](want) {
		if g := tensor.Data[float32](got)[i]; math.Float32bits(g) != math.Float32bits(v) {
			t.Fatalf("element %d is %v, want %v", i, g, v)
		}
	}
}
