package tests

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/eval"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime"
)

// kernelCases are larger than those of familyCases: sizes around the kernels' tiles, many
// experts and few, gated ones, shared ones, every gate the kernels know. x is [n, D] with
// n left open.
func kernelCases() []*familyCase {
	var cases []*familyCase
	shapes := []moeShape{
		{e: 16, d: 33, g: 17, dv: 33, o: true},
		{e: 5, d: 64, g: 32, dv: 70, selBias: true, bias: true, out: true, shared: true},
		{e: 40, d: 24, g: 8, dv: 24, up: true, upBias: true},
		{e: 3, d: 129, g: 65, dv: 31, up: true, bias: true, shared: true, out: true},
		{e: 1, d: 16, g: 16, dv: 16},
		// Small experts, several per token: one layer on tile registers.
		{e: 11, d: 40, g: 16, dv: 33, bias: true, out: true, shared: true},
		{e: 8, d: 33, g: 16, dv: 48, up: true, upBias: true},
		{e: 6, d: 70, g: 32, dv: 24, bias: true, o: true},
	}
	gates := []ops.Gate{ops.GateSigmoid, ops.GateSoftmaxBefore, ops.GateSoftmaxAfter, ops.GateSinkhorn, ops.GateSwitch, ops.GateNoisyTopK, ops.GateNone}
	acts := []ops.Activation{ops.ActReLU, ops.ActGELU, ops.ActGELUTanh, ops.ActSiLU, ops.ActIdentity}
	for i, s := range shapes {
		for j, gate := range gates {
			s.lead = []int{0}
			cases = append(cases, moeCase(fmt.Sprintf("moe%d_%s", i, gate), uint64(100*i+j), s, func(a *ops.MoEAttrs) {
				a.Gate, a.K, a.Activation = gate, int64(1+(i+j)%4), acts[(i+j)%5]
				if i%2 == 1 {
					a.GateEps = 0.01
				}
				if j%3 == 2 {
					a.Selection, a.Threshold, a.MinK, a.MaxK = ops.SelectThreshold, 0.4, int64(j%2), int64(i)
					if a.MaxK > 0 {
						a.MinK = min(a.MinK, a.MaxK)
					}
				}
			}))
		}
	}
	for i, f := range [][3]int{{7, 5, 3}, {33, 65, 17}, {64, 200, 64}, {1, 1, 1}} {
		d := newDrawer(uint64(900 + i))
		x := d.normal(0, f[0])
		w1, wu, w2, b1, bu, b2 := d.normal(f[0], f[1]), d.normal(f[0], f[1]), d.normal(f[1], f[2]), d.normal(f[1]), d.normal(f[1]), d.normal(f[2])
		act := acts[i%len(acts)]
		cases = append(cases,
			&familyCase{name: fmt.Sprintf("mlp%d", i), op: "moec::MLP", attrs: &ops.MLPAttrs{Activation: act}, ins: []*tensor.Tensor{x, w1, w2, b1, b2}, tokens: []int{0}, outs: []int{0}},
			&familyCase{name: fmt.Sprintf("gated%d", i), op: "moec::GatedMLP", attrs: &ops.GatedMLPAttrs{Activation: act}, ins: []*tensor.Tensor{x, w1, wu, w2, nil, bu, b2}, tokens: []int{0}, outs: []int{0}},
			&familyCase{
				name: fmt.Sprintf("topk%d", i), op: "moec::TopKMLP", ins: []*tensor.Tensor{x, w1, w2, b1, b2}, tokens: []int{0}, outs: []int{0},
				attrs: &ops.TopKMLPAttrs{Activation: act, K: int64(1 + f[1]/4), UseNorm: i%2 == 1, Magnitude: i == 2},
			})
	}
	for i, s := range []struct {
		h, n1, n2, d, dv int
		knn              int64
		w                ops.Weighting
		proj             bool
	}{
		{1, 9, 9, 38, 38, 4, "relu", false},
		{4, 17, 33, 22, 19, 5, ops.WeightSoftmax, true},
		{3, 40, 16, 24, 65, 32, ops.WeightSoftmaxHead, true},
		{2, 12, 12, 30, 30, 16, "relu", false},
		{2, 6, 20, 10, 7, 8, "gelu", false},
	} {
		d := newDrawer(uint64(950 + i))
		ins := make([]*tensor.Tensor, 9)
		ins[ops.PKMInX] = d.normal(0, s.d)
		ins[ops.PKMInKeys0], ins[ops.PKMInKeys1] = d.normal(s.h, s.n1, s.d/2), d.normal(s.h, s.n2, s.d-s.d/2)
		ins[ops.PKMInValues] = d.normal(s.n1*s.n2, s.dv)
		if s.proj {
			ins[ops.PKMInQuery], ins[ops.PKMInQueryBias] = d.normal(s.h*s.d, s.d), d.normal(s.h*s.d)
			ins[ops.PKMInKeyBias0], ins[ops.PKMInB2] = d.normal(s.h, s.n1), d.normal(s.dv)
		}
		cases = append(cases, &familyCase{
			name: fmt.Sprintf("pkm%d", i), op: "moec::PKM", attrs: &ops.PKMAttrs{KNN: s.knn, Weighting: s.w}, ins: ins, tokens: []int{0}, outs: []int{0},
		})
	}
	return cases
}

// openGraph is the case's graph with the number of tokens left open.
func openGraph(t *testing.T, c *familyCase, table *ops.Table) *ir.Graph {
	t.Helper()
	g, _ := c.graph(t, table)
	x := g.Inputs[0]
	x.Type = ir.MakeType(x.Type.DType, ir.Sym("n"), x.Type.Shape[1])
	if err := ir.Infer(g); err != nil {
		t.Fatal(err)
	}
	return g
}

// TestFamilyKernels: compiled, the family gives what Eval gives; the same bits with 1, 2
// and 8 threads; and for each row the bits that it gets alone.
func TestFamilyKernels(t *testing.T) {
	table, ctx := ops.NewTable(), context.Background()
	fast := map[string]int{}
	for _, c := range kernelCases() {
		t.Run(c.name, func(t *testing.T) {
			g := openGraph(t, c, table)
			p, err := codegen.Compile(ctx, g, codegen.Target{})
			if err != nil {
				t.Fatal(err)
			}
			if p.Main().Steps[0].Kernel != plan.KernelRef {
				fast[c.op]++
			}
			var sessions []*runtime.Session
			for _, threads := range []int{1, 2, 8} {
				s, err := runtime.New(p, runtime.Options{Threads: threads})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				sessions = append(sessions, s)
			}
			width := lastDim(c.ins[0])
			for _, n := range []int{0, 1, 2, 3, 7, 13, 50, 131} {
				x := newDrawer(uint64(n)).normal(n, width)
				want, err := eval.Run(ctx, g, []*tensor.Tensor{x}, eval.Options{})
				if err != nil {
					t.Fatal(err)
				}
				var first *tensor.Tensor
				for i, s := range sessions {
					out := make([]*tensor.Tensor, 1)
					if err := s.RunTo(ctx, []*tensor.Tensor{x}, out, nil); err != nil {
						t.Fatal(err)
					}
					if i == 0 {
						first = out[0]
						nearly(t, fmt.Sprintf("%d tokens", n), out[0], want[0], 1e-5)
					} else if !tensor.Equal(first, out[0]) {
						t.Errorf("%d tokens: other bits with more threads", n)
					}
				}
				rowAlone(t, sessions[1], x, first)
			}
		})
	}
	for _, op := range []string{"moec::MoE", "moec::MLP", "moec::GatedMLP", "moec::TopKMLP", "moec::PKM"} {
		if fast[op] == 0 {
			t.Errorf("no case of %s ran on a kernel of its own", op)
		}
	}
}

// rowAlone runs the last row by itself.
func rowAlone(t *testing.T, s *runtime.Session, x, y *tensor.Tensor) {
	t.Helper()
	n := x.Shape()[0]
	if n == 0 {
		return
	}
	row := func(m *tensor.Tensor) *tensor.Tensor {
		w := lastDim(m)
		return tensor.Of(tensor.Data[float32](m)[(n-1)*w:], 1, w)
	}
	out := make([]*tensor.Tensor, 1)
	if err := s.RunTo(context.Background(), []*tensor.Tensor{row(x)}, out, nil); err != nil {
		t.Fatal(err)
	}
	if !tensor.Equal(out[0], row(y)) {
		t.Errorf("the last of %d rows has other bits alone", n)
	}
}

// TestFamilyKernelsOnOddInputs: rows of NaN, infinities and zeros, and experts that tie on
// every token, give what Eval gives, row by row.
func TestFamilyKernelsOnOddInputs(t *testing.T) {
	table, ctx := ops.NewTable(), context.Background()
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range kernelCases() {
		t.Run(c.name, func(t *testing.T) {
			if c.op == "moec::MoE" { // the second half of the experts ranks as the first
				tied := *c
				tied.ins = append([]*tensor.Tensor(nil), c.ins...)
				for _, i := range []int{ops.MoEInSel, ops.MoEInSelBias} {
					if c.ins[i] != nil {
						tied.ins[i] = c.ins[i].Clone()
						v := tensor.Data[float32](tied.ins[i])
						copy(v[len(v)-len(v)/2:], v[:len(v)/2])
					}
				}
				c = &tied
			}
			g := openGraph(t, c, table)
			p, err := codegen.Compile(ctx, g, codegen.Target{})
			if err != nil {
				t.Fatal(err)
			}
			s, err := runtime.New(p, runtime.Options{Threads: 2})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			d := lastDim(c.ins[0])
			const n = 37
			x := newDrawer(5).normal(n, d)
			v := tensor.Data[float32](x)
			v[3*d+d/2] = nan
			v[4*d+d/2] = inf
			v[5*d] = -inf
			clear(v[6*d : 7*d])
			for i := range d {
				v[8*d+i] = nan
				v[9*d+i] = float32(math.Copysign(0, -1))
			}
			for _, rows := range []int{n, 10} { // tasks by tokens, and by columns
				x := tensor.Of(v[:rows*d], rows, d)
				want, err := eval.Run(ctx, g, []*tensor.Tensor{x}, eval.Options{})
				if err != nil {
					t.Fatal(err)
				}
				out := make([]*tensor.Tensor, 1)
				if err := s.RunTo(ctx, []*tensor.Tensor{x}, out, nil); err != nil {
					t.Fatal(err)
				}
				w := lastDim(out[0])
				for r := range rows {
					row := func(m *tensor.Tensor) *tensor.Tensor { return tensor.Of(tensor.Data[float32](m)[r*w:(r+1)*w], w) }
					got, want := row(out[0]), row(want[0])
					for i, y := range tensor.Data[float32](want) {
						// Where infinities meet zeros Eval has a NaN, a kernel may have the limit.
						if y != y && (r == 4 || r == 5) {
							tensor.Data[float32](want)[i] = tensor.Data[float32](got)[i]
						}
					}
					nearly(t, fmt.Sprintf("row %d of %d", r, rows), got, want, 1e-5)
				}
			}
		})
	}
}

// TestFamilyKernelsAtLowPrecision: bf16 and int8 programs give Eval's results with the
// error of their weights and activations: 8 bits of mantissa, 7 bits of a row's largest.
// The selections of experts and keys are made in f32 and do not move; the units of a
// TopKMLP near its threshold may.
func TestFamilyKernelsAtLowPrecision(t *testing.T) {
	table, ctx := ops.NewTable(), context.Background()
	joined := 0
	for _, c := range kernelCases() {
		for precision, allowed := range map[string]float64{"bf16": 0.01, "int8": 0.04} {
			t.Run(c.name+"/"+precision, func(t *testing.T) {
				g := openGraph(t, c, table)
				p, err := codegen.Compile(ctx, g, codegen.Target{Precision: precision})
				if err != nil {
					t.Fatal(err)
				}
				for _, k := range p.Consts {
					if strings.HasSuffix(k.Layout, layout.TallSuffix) {
						joined++
					}
				}
				s, err := runtime.New(p, runtime.Options{Threads: 2})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				for _, n := range []int{1, 3, 50} {
					x := newDrawer(uint64(n)).normal(n, lastDim(c.ins[0]))
					want, err := eval.Run(ctx, g, []*tensor.Tensor{x}, eval.Options{})
					if err != nil {
						t.Fatal(err)
					}
					out := make([]*tensor.Tensor, 1)
					if err := s.RunTo(ctx, []*tensor.Tensor{x}, out, nil); err != nil {
						t.Fatal(err)
					}
					diff, size := 0.0, 0.0
					for i, y := range tensor.Data[float32](want[0]) {
						d := float64(tensor.Data[float32](out[0])[i] - y)
						diff += d * d
						size += float64(y) * float64(y)
					}
					if c.op == "moec::TopKMLP" { // a unit for another one of nearly its size
						size *= 64
					}
					if !(math.Sqrt(diff) <= allowed*math.Sqrt(size)) {
						t.Errorf("%d tokens: error %.4g, size %.4g", n, math.Sqrt(diff), math.Sqrt(size))
					}
				}
			})
		}
	}
	if joined < 20 {
		t.Errorf("%d programs hold their experts as one layer; want 20 to be tested", joined)
	}
}
