package tests

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/eval"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime"
	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
)

// kernelNode is one node whose operands but inputs are constants.
type kernelNode struct {
	name   string
	op     string
	attrs  any
	ins    []*tensor.Tensor
	inputs []int // of ins, those the graph takes
	outs   int
	ref    bool // runs on the reference kernel

	precision string // of the program; "" is f32
}

func (c *kernelNode) graph(t *testing.T) (*ir.Graph, []*tensor.Tensor) {
	t.Helper()
	g := ir.NewGraph("node", ops.NewTable())
	vals := make([]*ir.Value, len(c.ins))
	var ins []*tensor.Tensor
	for i, x := range c.ins {
		switch {
		case x == nil:
		case slices.Contains(c.inputs, i):
			vals[i] = g.AddInput(fmt.Sprintf("in%d", i), ir.TypeOf(x))
			ins = append(ins, x)
		default:
			vals[i] = g.NewConst(fmt.Sprintf("p%d", i), x)
		}
	}
	n := g.Add(g.Op(c.op), c.attrs, vals, make([]string, c.outs)...)
	for i, v := range n.Outputs {
		v.Name = fmt.Sprintf("out%d", i)
		g.Outputs = append(g.Outputs, v)
	}
	if err := ir.Infer(g); err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	return g, ins
}

// check runs the case compiled, at every level of the CPU that its precision knows and with
// 1, 2 and 8 threads, against the reference; the bits do not depend on the threads, and a
// second run leaves no trace of the first.
func (c *kernelNode) check(t *testing.T, tol float64) {
	t.Helper()
	ctx := context.Background()
	g, ins := c.graph(t)
	want, err := eval.Run(ctx, g, ins, eval.Options{})
	if err != nil {
		t.Fatalf("%s: %v", c.name, err)
	}
	p, err := codegen.Compile(ctx, g, codegen.Target{Precision: c.precision})
	if err != nil {
		t.Fatal(err)
	}
	levels := isa.Levels()
	if c.precision == "" {
		levels = levels[:min(3, len(levels))]
	}
	for _, st := range p.Main().Steps {
		if ref := st.Kernel == plan.KernelRef; ref && !c.ref {
			t.Errorf("%s: kernel %q of %s", c.name, st.Kernel, st.Op)
		}
	}
	for _, level := range levels {
		t.Setenv(isa.Env, level)
		var first []*tensor.Tensor
		for _, threads := range []int{1, 2, 8} {
			s, err := runtime.New(p, runtime.Options{Threads: threads})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			for range 2 {
				outs := make([]*tensor.Tensor, len(g.Outputs))
				if err := s.RunTo(ctx, ins, outs, nil); err != nil {
					t.Fatalf("%s: %v", c.name, err)
				}
				for i := range outs {
					if first == nil {
						nearly(t, fmt.Sprintf("%s: %s: output %d", c.name, level, i), outs[i], want[i], tol)
					} else if !tensor.Equal(first[i], outs[i]) {
						t.Errorf("%s: %s: other bits with %d threads", c.name, level, threads)
					}
				}
				if first == nil {
					first = outs
				}
			}
		}
	}
}

// convShape draws one convolution.
type convShape struct {
	x, w                      []int
	group                     int64
	strides, dilations, pads  []int64
	auto                      string
	bias, residual, activated bool
}

func convShapes() []convShape {
	return []convShape{
		{x: []int{1, 3, 9, 9}, w: []int{5, 3, 3, 3}, bias: true},
		{x: []int{2, 16, 14, 14}, w: []int{24, 16, 1, 1}, bias: true, residual: true, activated: true},
		{x: []int{1, 16, 33, 33}, w: []int{33, 16, 1, 1}, strides: []int64{2, 2}},
		{x: []int{1, 3, 31, 29}, w: []int{13, 3, 7, 7}, strides: []int64{2, 2}, pads: []int64{3, 3, 3, 3}, activated: true},
		{x: []int{3, 8, 7, 7}, w: []int{16, 8, 3, 3}, pads: []int64{1, 1, 1, 1}, bias: true, residual: true},
		{x: []int{1, 70, 7, 7}, w: []int{70, 70, 3, 3}, pads: []int64{1, 1, 1, 1}, bias: true, activated: true},
		{x: []int{2, 12, 11, 5}, w: []int{8, 6, 3, 2}, group: 2, dilations: []int64{2, 3}, pads: []int64{2, 0, 1, 3}, bias: true},
		{x: []int{1, 4, 40, 40}, w: []int{8, 4, 3, 3}, strides: []int64{5, 7}, pads: []int64{0, 1, 0, 1}},
		{x: []int{1, 4, 2, 2}, w: []int{8, 4, 3, 3}, pads: []int64{4, 5, 4, 5}, bias: true},
		{x: []int{1, 4, 10, 10}, w: []int{8, 4, 3, 3}, pads: []int64{-1, -2, 0, -1}, bias: true},
		{x: []int{1, 4, 10, 11}, w: []int{6, 4, 4, 3}, auto: "SAME_UPPER", strides: []int64{2, 3}},
		{x: []int{1, 4, 10, 11}, w: []int{6, 4, 4, 3}, auto: "SAME_LOWER", bias: true},
		{x: []int{1, 4, 10, 11}, w: []int{6, 4, 4, 3}, auto: "VALID"},
		{x: []int{1, 4, 11, 30}, w: []int{8, 4, 3, 3}, strides: []int64{2, 2}, pads: []int64{-1, -1, 0, 2}},
		{x: []int{1, 4, 11, 31}, w: []int{8, 4, 3, 4}, strides: []int64{1, 2}, pads: []int64{0, 5, 0, 4}},
		{x: []int{1, 6, 60, 61}, w: []int{6, 1, 3, 3}, group: 6, pads: []int64{1, 1, 1, 1}, bias: true},
		{x: []int{2, 5, 100}, w: []int{9, 5, 4}, strides: []int64{3}, pads: []int64{2, 1}, bias: true},
		{x: []int{1, 6, 5, 6, 7}, w: []int{7, 6, 3, 2, 3}, strides: []int64{2, 1, 2}, pads: []int64{1, 0, 1, 1, 1, 1}, bias: true, residual: true, activated: true},
		{x: []int{1, 1, 20, 20}, w: []int{32, 1, 5, 5}, pads: []int64{2, 2, 2, 2}},
		// depthwise
		{x: []int{2, 9, 14, 14}, w: []int{9, 1, 7, 7}, group: 9, pads: []int64{3, 3, 3, 3}, bias: true, residual: true, activated: true},
		{x: []int{1, 6, 15, 17}, w: []int{12, 1, 3, 3}, group: 6, strides: []int64{2, 2}, pads: []int64{1, 1, 1, 1}, bias: true},
		{x: []int{1, 6, 8, 9}, w: []int{6, 1, 3, 3}, group: 6, dilations: []int64{2, 2}},
		{x: []int{1, 5, 70}, w: []int{5, 1, 3}, group: 5, pads: []int64{1, 1}},
		{x: []int{1, 3, 4, 5, 6}, w: []int{3, 1, 2, 2, 2}, group: 3, pads: []int64{1, 0, 1, 0, 1, 1}},
		// several panels of channels, whole, half and cut, with tiles of every height
		{x: []int{1, 20, 5, 23}, w: []int{100, 20, 3, 3}, pads: []int64{1, 1, 1, 1}, bias: true, residual: true, activated: true},
		{x: []int{2, 9, 6, 6}, w: []int{70, 9, 1, 1}, bias: true, activated: true},
		{x: []int{1, 33, 1, 7}, w: []int{144, 33, 1, 3}, residual: true},
		{x: []int{1, 3, 19, 21}, w: []int{64, 3, 2, 2}, strides: []int64{2, 2}, activated: true},
		// so many weights that threads share the channels out
		{x: []int{1, 140, 6, 5}, w: []int{530, 140, 2, 2}, pads: []int64{1, 0, 0, 1}, bias: true, residual: true, activated: true},
		// groups of some channels
		{x: []int{1, 40, 6, 7}, w: []int{160, 10, 3, 3}, group: 4, pads: []int64{1, 1, 1, 1}, bias: true, residual: true, activated: true},
		{x: []int{1, 24, 9, 9}, w: []int{24, 8, 3, 3}, group: 3, strides: []int64{2, 2}},
		// nothing, and single elements
		{x: []int{0, 3, 9, 9}, w: []int{5, 3, 3, 3}, bias: true},
		{x: []int{1, 3, 1, 1}, w: []int{5, 3, 1, 1}, bias: true},
		{x: []int{1, 1, 1, 1}, w: []int{1, 1, 1, 1}},
		{x: []int{2, 1, 3, 0}, w: []int{2, 1, 1, 1}},
		// a padded input so sparse that nobody copies it
		{x: []int{1, 1, 1, 1}, w: []int{8, 1, 2, 2}, dilations: []int64{3000, 3000}, pads: []int64{1500, 1500, 1500, 1500}},
		// long reductions, many columns
		{x: []int{1, 130, 40, 40}, w: []int{14, 130, 3, 3}, pads: []int64{1, 1, 1, 1}, bias: true},
	}
}

func (s convShape) node(seed uint64) *kernelNode {
	d := newDrawer(seed)
	group := max(1, s.group)
	a := &ops.ConvAttrs{AutoPad: s.auto, Group: group, Strides: s.strides, Dilations: s.dilations, Pads: s.pads}
	c := &kernelNode{name: fmt.Sprintf("conv %v by %v", s.x, s.w), op: "Conv", attrs: a, ins: []*tensor.Tensor{d.normal(s.x...), d.normal(s.w...), nil, nil}, inputs: []int{0, 3}, outs: 1}
	if s.bias {
		c.ins[2] = d.normal(s.w[0])
	}
	if !s.residual && !s.activated {
		c.ins = c.ins[:3]
		return c
	}
	c.op = "moec::Conv"
	act := ops.ActNone
	if s.activated {
		act = []ops.Activation{ops.ActReLU, ops.ActSiLU, ops.ActReLU6, ops.ActHardSwish}[seed%4]
	}
	c.attrs = ops.FuseConv(a, act)
	if s.residual {
		win, err := ops.ConvWindow(a, s.x, s.w)
		if err != nil {
			panic(err)
		}
		out := []int{s.x[0], s.w[0]}
		for _, w := range win {
			out = append(out, w.Out)
		}
		c.ins[3] = d.normal(out...)
	}
	return c
}

// TestConvKernels: a convolution of up to 1170 products of numbers around 1 is within
// 1e-5 of its size.
func TestConvKernels(t *testing.T) {
	for i, s := range convShapes() {
		s.node(uint64(i)).check(t, 1e-5)
		// Weights that are no constant meet the image in the order it has.
		c := s.node(uint64(i))
		c.inputs = append(c.inputs, 1)
		c.name += " given"
		c.check(t, 1e-5)
	}
}

// TestPoolsWithChannelsLast: windows inside, across the borders and outside of the image,
// channels that fill vectors and that do not.
func TestPoolsWithChannelsLast(t *testing.T) {
	d := newDrawer(5)
	for _, c := range []int{1, 3, 16, 40, 67, 300} {
		x := d.normal(2, 9, 13, c)
		for i, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1)} {
			tensor.Data[float32](x)[i*17] = float32(v)
		}
		for _, a := range []ops.FusedPoolAttrs{
			{Kind: ops.PoolMax, KernelShape: []int64{3, 3}, Strides: []int64{2, 2}, Pads: []int64{1, 1, 1, 1}},
			{Kind: ops.PoolMax, KernelShape: []int64{2, 4}, Dilations: []int64{3, 2}, CeilMode: true, Strides: []int64{2, 3}},
			{Kind: ops.PoolMax, KernelShape: []int64{5, 5}, AutoPad: "SAME_LOWER"},
			{Kind: ops.PoolAverage, KernelShape: []int64{3, 2}, Strides: []int64{2, 3}, Pads: []int64{1, 0, 2, 1}},
			{Kind: ops.PoolAverage, KernelShape: []int64{3, 2}, Pads: []int64{1, 0, 2, 1}, CountIncludePad: true},
			{Kind: ops.PoolGlobal},
		} {
			if a.AutoPad == "" {
				a.AutoPad = "NOTSET"
			}
			n := &kernelNode{name: fmt.Sprintf("pool %v %+v", x.Shape(), a), op: "moec::Pool", attrs: &a, ins: []*tensor.Tensor{x}, inputs: []int{0}, outs: 1}
			n.check(t, 2e-6)
		}
	}
	for _, shape := range [][]int{{2, 150, 5}, {1, 3, 4, 5, 6}, {0, 3, 3, 4}, {1, 40, 40, 17}} {
		a := &ops.FusedPoolAttrs{Kind: ops.PoolGlobal, AutoPad: "NOTSET"}
		n := &kernelNode{name: fmt.Sprintf("mean %v", shape), op: "moec::Pool", attrs: a, ins: []*tensor.Tensor{d.normal(shape...)}, inputs: []int{0}, outs: 1}
		n.check(t, 2e-6)
	}
}

// TestConvOfABatch: an image has the same bits alone and in a batch.
func TestConvOfABatch(t *testing.T) {
	for i, s := range convShapes() {
		if !s.residual && s.x[0] != 0 {
			s.x[0] = 9
			s.node(uint64(i)).checkBatch(t)
		}
	}
}

// checkBatch: one of nine images has the same bits alone.
func (c *kernelNode) checkBatch(t *testing.T) {
	t.Helper()
	ctx := context.Background()
	g, ins := c.graph(t)
	x := g.Inputs[0]
	x.Type.Shape = append([]ir.Dim{ir.Sym("n")}, x.Type.Shape[1:]...)
	if err := ir.Infer(g); err != nil {
		t.Fatal(err)
	}
	p, err := codegen.Compile(ctx, g, codegen.Target{Precision: c.precision})
	if err != nil {
		t.Fatal(err)
	}
	sess, err := runtime.New(p, runtime.Options{Threads: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer sess.Close()
	run := func(x *tensor.Tensor) []float32 {
		out := make([]*tensor.Tensor, 1)
		if err := sess.RunTo(ctx, []*tensor.Tensor{x}, out, nil); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		return tensor.Data[float32](out[0])
	}
	all := run(ins[0])
	one := slices.Clone(ins[0].Shape())
	one[0] = 1
	v := tensor.Data[float32](ins[0])
	alone := run(tensor.Of(slices.Clone(v[len(v)/9*5:len(v)/9*6]), one...))
	if !slices.Equal(alone, all[len(all)/9*5:len(all)/9*6]) {
		t.Errorf("%s: other bits alone", c.name)
	}
}

// TestPoolKernels: pools, means over planes and normalised channels.
func TestPoolKernels(t *testing.T) {
	d := newDrawer(3)
	x4, x3, x5 := d.normal(2, 5, 17, 19), d.normal(1, 3, 70), d.normal(1, 2, 5, 6, 7)
	odd := x4.Clone()
	for i, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1)} {
		tensor.Data[float32](odd)[i*61] = float32(v)
	}
	var cases []*kernelNode
	add := func(op string, x *tensor.Tensor, attrs any) {
		cases = append(cases, &kernelNode{name: fmt.Sprintf("%s %v %+v", op, x.Shape(), attrs), op: op, attrs: attrs, ins: []*tensor.Tensor{x}, inputs: []int{0}, outs: 1})
	}
	for _, x := range []*tensor.Tensor{x4, odd} {
		for _, ceil := range []bool{false, true} {
			add("MaxPool", x, &ops.MaxPoolAttrs{KernelShape: []int64{3, 3}, Strides: []int64{2, 2}, Pads: []int64{1, 1, 1, 1}, CeilMode: ceil})
			add("MaxPool", x, &ops.MaxPoolAttrs{KernelShape: []int64{3, 2}, Dilations: []int64{2, 3}, CeilMode: ceil})
			for _, pad := range []bool{false, true} {
				add("AveragePool", x, &ops.AveragePoolAttrs{KernelShape: []int64{3, 2}, Strides: []int64{2, 3}, Pads: []int64{1, 0, 2, 1}, CeilMode: ceil, CountIncludePad: pad})
			}
		}
		add("MaxPool", x, &ops.MaxPoolAttrs{KernelShape: []int64{5, 5}, AutoPad: "SAME_LOWER"})
		add("AveragePool", x, &ops.AveragePoolAttrs{KernelShape: []int64{2, 2}, Strides: []int64{3, 4}, AutoPad: "SAME_UPPER"})
		add("GlobalAveragePool", x, nil)
	}
	add("MaxPool", x3, &ops.MaxPoolAttrs{KernelShape: []int64{4}, Strides: []int64{3}})
	add("AveragePool", x3, &ops.AveragePoolAttrs{KernelShape: []int64{4}, Pads: []int64{3, 3}})
	add("MaxPool", x5, &ops.MaxPoolAttrs{KernelShape: []int64{2, 2, 2}, Strides: []int64{1, 2, 1}, Pads: []int64{1, 1, 1, 0, 0, 0}})
	add("AveragePool", x5, &ops.AveragePoolAttrs{KernelShape: []int64{2, 2, 2}, Strides: []int64{1, 2, 1}})
	add("GlobalAveragePool", d.normal(2, 3), nil)
	add("MaxPool", d.normal(0, 3, 4, 4), &ops.MaxPoolAttrs{KernelShape: []int64{2, 2}})
	for _, shape := range [][]int{{2, 5, 17, 3}, {3, 4}, {1, 1, 130}, {0, 4, 3}} {
		v := d.normal(shape[1])
		for i, x := range tensor.Data[float32](v) {
			tensor.Data[float32](v)[i] = x*x + 0.1
		}
		cases = append(cases, &kernelNode{
			name: fmt.Sprintf("BatchNormalization %v", shape), op: "BatchNormalization", attrs: &ops.BatchNormAttrs{Epsilon: 1e-3, Momentum: 0.9},
			ins: []*tensor.Tensor{d.normal(shape...), d.normal(shape[1]), d.normal(shape[1]), d.normal(shape[1]), v}, inputs: []int{0}, outs: 1,
		})
	}
	for _, c := range cases {
		c.check(t, 1e-6)
	}
}
