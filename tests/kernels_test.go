package tests

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/ir/eval"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime"
)

// elementCase is one op on inputs, the constant ones marked.
type elementCase struct {
	op     string
	attrs  any
	ins    []*tensor.Tensor
	consts []int
	tol    float64 // 0: the bits of Eval
	outs   int
}

func (d *drawer) ints(limit int64, shape ...int) *tensor.Tensor {
	t := tensor.New(tensor.I64, shape...)
	for i := range tensor.Data[int64](t) {
		tensor.Data[int64](t)[i] = d.r.Int64N(2*limit+1) - limit
	}
	return t
}

func i32Of(t *tensor.Tensor) *tensor.Tensor {
	out := tensor.New(tensor.I32, t.Shape()...)
	for i, v := range tensor.Data[int64](t) {
		tensor.Data[int32](out)[i] = int32(v)
	}
	return out
}

func i64s(v ...int64) *tensor.Tensor { return tensor.Of(v, len(v)) }

// odd puts NaN, infinities and a negative zero among the elements.
func odd(t *tensor.Tensor) *tensor.Tensor {
	v := tensor.Data[float32](t)
	for i, x := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), -200, 300} {
		if at := 7*i + 3; at < len(v) {
			v[at] = float32(x)
		}
	}
	return t
}

func elementCases() []elementCase {
	d := newDrawer(11)
	var cases []elementCase
	add := func(c elementCase) { cases = append(cases, c) }
	pairs := [][2][]int{
		{{3, 1, 5, 1}, {1, 4, 1, 7}},
		{{2, 3, 4}, {}},
		{{}, {}},
		{{5}, {5}},
		{{0, 3}, {1, 3}},
		{{1, 1, 129, 1}, {4, 1, 1, 129}},
		{{3, 5, 7}, {5, 7}},
		{{20011}, {1}},
		{{2, 3, 1}, {2, 1, 700}},
	}
	for _, p := range pairs {
		for _, op := range []string{"Add", "Sub", "Mul", "Div", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "Pow"} {
			c := elementCase{op: op, ins: []*tensor.Tensor{odd(d.normal(p[0]...)), odd(d.normal(p[1]...))}}
			add(c)
			if op != "Div" && op != "Pow" {
				x, y := d.ints(5, p[0]...), d.ints(5, p[1]...)
				add(elementCase{op: op, ins: []*tensor.Tensor{x, y}})
				add(elementCase{op: op, ins: []*tensor.Tensor{i32Of(x), i32Of(y)}})
			}
		}
		for _, op := range []string{"And", "Or", "Xor", "Equal"} {
			add(elementCase{op: op, ins: []*tensor.Tensor{d.mask(.5, p[0]...), d.mask(.5, p[1]...)}})
		}
		for _, x := range []*tensor.Tensor{odd(d.normal(p[0]...)), d.ints(9, p[0]...), i32Of(d.ints(9, p[0]...)), d.mask(.5, p[0]...)} {
			y := x.Clone()
			add(elementCase{op: "Where", ins: []*tensor.Tensor{d.mask(.5, p[1]...), x, y}})
			add(elementCase{op: "Where", ins: []*tensor.Tensor{d.mask(.5, p[0]...), x, tensor.New(x.DType())}})
		}
	}
	for _, shape := range [][]int{{}, {1}, {0, 4}, {3, 50}, {20001}} {
		for _, op := range []string{"Exp", "Log", "Erf", "Sin", "Cos", "Floor", "Ceil", "Round", "Neg", "Abs", "Sqrt", "Reciprocal"} {
			add(elementCase{op: op, ins: []*tensor.Tensor{odd(d.normal(shape...))}})
		}
		add(elementCase{op: "Not", ins: []*tensor.Tensor{d.mask(.5, shape...)}})
		lo, hi := tensor.Of([]float32{-.5}), tensor.Of([]float32{.25})
		add(elementCase{op: "Clip", ins: []*tensor.Tensor{odd(d.normal(shape...)), lo, hi}})
		add(elementCase{op: "Clip", ins: []*tensor.Tensor{odd(d.normal(shape...)), lo}})
		add(elementCase{op: "Clip", ins: []*tensor.Tensor{odd(d.normal(shape...)), hi, lo}})
		x := d.ints(1<<60, shape...)
		for _, c := range []struct {
			from *tensor.Tensor
			to   []tensor.DType
		}{
			{x, []tensor.DType{tensor.F32, tensor.Bool, tensor.I64}},
			{i32Of(x), []tensor.DType{tensor.F32, tensor.Bool, tensor.I64}},
			{d.mask(.5, shape...), []tensor.DType{tensor.F32, tensor.I32, tensor.I64}},
		} {
			for _, to := range c.to {
				add(elementCase{op: "Cast", attrs: &ops.CastAttrs{To: to, Saturate: true, RoundMode: "up"}, ins: []*tensor.Tensor{c.from}})
			}
		}
	}
	for _, shape := range [][]int{{1, 3, 16411}, {2, 3, 9001}, {1, 20, 1237}, {3, 1237, 17}} { // planes in pieces
		add(elementCase{op: "Transpose", attrs: &ops.TransposeAttrs{Perm: []int64{0, 2, 1}}, ins: []*tensor.Tensor{d.normal(shape...)}})
	}
	moves := func(x *tensor.Tensor) {
		for _, perm := range [][]int64{{0, 2, 1}, {2, 1, 0}, {1, 0, 2}, {2, 0, 1}, {0, 1, 2}} {
			add(elementCase{op: "Transpose", attrs: &ops.TransposeAttrs{Perm: perm}, ins: []*tensor.Tensor{x}})
		}
		add(elementCase{op: "Slice", ins: []*tensor.Tensor{x, i64s(1, -9), i64s(9, 100), i64s(2, 1), i64s(2, 1)}, consts: []int{1, 2, 3, 4}})
		add(elementCase{op: "Slice", ins: []*tensor.Tensor{x, i64s(-1, 0), i64s(-100, 2), i64s(2, 0), i64s(-1, 1)}, consts: []int{1, 2, 3, 4}})
		add(elementCase{op: "Slice", ins: []*tensor.Tensor{x, i64s(0), i64s(1)}}) // known only to the run
		add(elementCase{op: "Concat", attrs: &ops.ConcatAttrs{Axis: 1}, ins: []*tensor.Tensor{x, x, x}})
		add(elementCase{op: "Concat", attrs: &ops.ConcatAttrs{Axis: -1}, ins: []*tensor.Tensor{x, x}})
		three := int64(3)
		add(elementCase{op: "Split", attrs: &ops.SplitAttrs{Axis: -1, NumOutputs: &three}, ins: []*tensor.Tensor{x}, outs: 3})
		add(elementCase{op: "Gather", attrs: &ops.AxisAttrs{Axis: 2}, ins: []*tensor.Tensor{x, tensor.Of([]int64{0, -1, 1, 0}, 2, 2)}})
		add(elementCase{op: "Gather", attrs: &ops.AxisAttrs{Axis: -2}, ins: []*tensor.Tensor{x, tensor.Of([]int32{1}, 1)}})
		add(elementCase{op: "Gather", attrs: &ops.AxisAttrs{Axis: 1}, ins: []*tensor.Tensor{x, tensor.New(tensor.I64, 0)}})
	}
	for _, shape := range [][]int{{2, 3, 4}, {3, 17, 40}, {1, 8, 8}, {0, 2, 3}, {5, 64, 33}} {
		for _, x := range []*tensor.Tensor{d.normal(shape...), d.ints(9, shape...), d.mask(.5, shape...)} {
			moves(x)
		}
	}
	add(elementCase{op: "Expand", ins: []*tensor.Tensor{d.normal(3, 1, 4), i64s(2, 1, 5, 1)}, consts: []int{1}})
	add(elementCase{op: "Expand", ins: []*tensor.Tensor{d.ints(5, 1), i64s(0, 3)}, consts: []int{1}})
	for _, shape := range [][]int{{2, 3, 4}, {5, 1, 700}, {4, 130, 33}, {2, 0, 3}, {0, 2, 2}, {1, 1, 1}} {
		for _, op := range []string{"ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare"} {
			for _, axes := range []*tensor.Tensor{nil, i64s(1), i64s(-1), i64s(0, 1), i64s(2, 0), i64s(0)} {
				c := elementCase{op: op, attrs: &ops.ReduceAttrs{KeepDims: axes == nil}, ins: []*tensor.Tensor{d.normal(shape...)}}
				if axes != nil {
					c.ins, c.consts = append(c.ins, axes), []int{1}
				}
				add(c)
			}
		}
		add(elementCase{op: "GlobalAveragePool", ins: []*tensor.Tensor{d.normal(2, shape[0], shape[1], shape[2])}, tol: 1e-6})
	}
	for _, c := range []struct {
		x, w []int
		a    ops.ConvAttrs
	}{
		{[]int{2, 3, 9, 11}, []int{5, 3, 3, 3}, ops.ConvAttrs{Pads: []int64{1, 1, 1, 1}}},
		{[]int{1, 3, 24, 24}, []int{16, 3, 7, 7}, ops.ConvAttrs{Pads: []int64{3, 3, 3, 3}, Strides: []int64{2, 2}}},
		{[]int{3, 8, 7, 7}, []int{8, 1, 7, 7}, ops.ConvAttrs{Pads: []int64{3, 3, 3, 3}, Group: 8}},
		{[]int{1, 6, 10, 5}, []int{4, 3, 2, 3}, ops.ConvAttrs{Group: 2, Dilations: []int64{3, 1}, Pads: []int64{0, 2, 1, 0}}},
		{[]int{2, 40, 6, 6}, []int{70, 40, 1, 1}, ops.ConvAttrs{Strides: []int64{2, 2}}},
		{[]int{2, 4, 33}, []int{3, 4, 5}, ops.ConvAttrs{AutoPad: "SAME_LOWER", Strides: []int64{3}}},
		{[]int{0, 4, 5, 5}, []int{3, 4, 3, 3}, ops.ConvAttrs{}},
		{[]int{1, 2, 1, 1}, []int{1, 2, 3, 3}, ops.ConvAttrs{Pads: []int64{1, 1, 1, 1}}},
		{[]int{1, 2, 70, 90}, []int{13, 2, 3, 3}, ops.ConvAttrs{AutoPad: "SAME_UPPER"}},
		{[]int{1, 2, 4, 5, 6}, []int{3, 2, 2, 2, 2}, ops.ConvAttrs{}},
	} {
		if c.a.AutoPad == "" {
			c.a.AutoPad = "NOTSET"
		}
		c.a.Group = max(1, c.a.Group)
		x, w, bias := d.normal(c.x...), d.normal(c.w...), d.normal(c.w[0])
		add(elementCase{op: "Conv", attrs: &c.a, ins: []*tensor.Tensor{x, w}, consts: []int{1}, tol: 1e-5})
		add(elementCase{op: "Conv", attrs: &c.a, ins: []*tensor.Tensor{x, w, bias}, consts: []int{1, 2}, tol: 1e-5})
		add(elementCase{op: "moec::Conv", attrs: ops.FuseConv(&c.a, ops.ActSiLU), ins: []*tensor.Tensor{x, w, bias}, consts: []int{1, 2}, tol: 1e-5})
	}
	for _, shape := range [][]int{{2, 3, 4, 5}, {1, 1, 2048}, {3, 7, 1100}, {2, 4}, {0, 3, 4}, {2, 3, 1}} {
		c := shape[1]
		add(elementCase{op: "InstanceNormalization", attrs: &ops.InstanceNormAttrs{Epsilon: 1e-3}, ins: []*tensor.Tensor{d.normal(shape...), d.normal(c), d.normal(c)}, tol: 1e-5})
	}
	for _, more := range [][]elementCase{matmulCases(d), padCases(d), resizeCases(d), stretchCases(d), pickCases(d)} {
		cases = append(cases, more...)
	}
	return cases
}

// TestElementKernels: ops that copy, compare, add up and convolve give what Eval gives, to
// the bit where they round nothing or as Eval does; and the same bits on any threads.
func TestElementKernels(t *testing.T) {
	table, ctx := ops.NewTable(), context.Background()
	fast, slow := map[string]bool{}, map[string]bool{}
	for i, e := range elementCases() {
		c := &familyCase{name: fmt.Sprintf("%03d_%s", i, e.op), op: e.op, attrs: e.attrs, ins: e.ins}
		isConst := map[int]bool{}
		for _, j := range e.consts {
			isConst[j] = true
		}
		var ins []*tensor.Tensor
		for j, x := range e.ins {
			if x == nil {
				continue
			}
			c.name += "_" + x.String()
			if !isConst[j] {
				c.tokens = append(c.tokens, j)
				ins = append(ins, x)
			}
		}
		for j := range max(1, e.outs) {
			c.outs = append(c.outs, j)
		}
		t.Run(c.name, func(t *testing.T) {
			g, _ := c.graph(t, table)
			want, err := eval.Run(ctx, g, ins, eval.Options{})
			if err != nil {
				t.Fatal(err)
			}
			p, err := codegen.Compile(ctx, g, codegen.Target{})
			if err != nil {
				t.Fatal(err)
			}
			for _, st := range p.Main().Steps {
				if st.Kernel == plan.KernelRef {
					slow[e.op] = true
				} else {
					fast[e.op] = true
				}
			}
			var first []*tensor.Tensor
			for _, threads := range []int{1, 2, 3} {
				s, err := runtime.New(p, runtime.Options{Threads: threads})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				outs := make([]*tensor.Tensor, len(want))
				if err := s.RunTo(ctx, ins, outs, nil); err != nil {
					t.Fatal(err)
				}
				for j := range outs {
					nearly(t, fmt.Sprintf("output %d", j), outs[j], want[j], e.tol)
					if first != nil && !sameBytes(first[j], outs[j]) {
						t.Errorf("output %d: other bits with %d threads", j, threads)
					}
				}
				if first == nil {
					first = outs
				}
			}
		})
	}
	for op := range slow {
		if !fast[op] {
			t.Errorf("no case of %s ran on a kernel of its own", op)
		}
	}
}

func sameBytes(a, b *tensor.Tensor) bool { return string(a.Bytes()) == string(b.Bytes()) }
