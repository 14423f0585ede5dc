package tests

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/eval"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime"
)

// matmulCases are products of two values: vectors, batches that broadcast on either side, one matrix for a
// batch of rows, a stack of constant matrices, sizes around a tile and beyond what one thread takes.
func matmulCases(d *drawer) []elementCase {
	var cases []elementCase
	for _, s := range [][2][]int{
		{{3, 4}, {4, 5}},
		{{7}, {7}},
		{{7}, {2, 7, 3}},
		{{2, 3, 7}, {7}},
		{{1, 1}, {1, 1}},
		{{2, 13, 31}, {2, 31, 33}},
		{{5, 2, 12, 64}, {1, 2, 64, 32}},
		{{4, 1, 3, 5}, {3, 5, 2}},
		{{2, 3, 17, 9}, {9, 40}},
		{{27, 64}, {6, 64, 27}},
		{{3, 100, 130}, {3, 130, 97}},
		{{0, 4}, {4, 5}},
		{{3, 0}, {0, 2}},
		{{0, 3, 4}, {1, 4, 5}},
		{{2, 3, 4}, {2, 4, 0}},
		{{200, 300}, {300, 250}},
	} {
		x, y := d.normal(s[0]...), d.normal(s[1]...)
		cases = append(cases, elementCase{op: "MatMul", ins: []*tensor.Tensor{x, y}, tol: 1e-5})
		if len(s[1]) == 3 {
			cases = append(cases, elementCase{op: "MatMul", ins: []*tensor.Tensor{x, y}, consts: []int{1}, tol: 1e-5})
		}
	}
	return cases
}

// padCases pad and cut in each mode, elements of each size, axes given and not.
func padCases(d *drawer) []elementCase {
	var cases []elementCase
	for _, mode := range []string{"constant", "reflect", "edge", "wrap"} {
		for _, x := range []*tensor.Tensor{odd(d.normal(2, 3, 5)), d.ints(9, 2, 3, 5), i32Of(d.ints(9, 2, 3, 5)), d.mask(.5, 2, 3, 5)} {
			for _, pads := range [][]int64{{0, 1, 2, 0, 0, 3}, {1, 0, 0, 1, 0, 0}, {0, 0, 9, 0, 2, 11}, {0, -1, 2, 0, 0, -3}, {0, 0, 0, 0, 0, 0}, {-2, 0, 0, 0, 0, 0}} {
				cases = append(cases, elementCase{op: "Pad", attrs: &ops.PadAttrs{Mode: mode}, ins: []*tensor.Tensor{x, i64s(pads...)}, consts: []int{1}})
			}
			cases = append(cases,
				elementCase{op: "Pad", attrs: &ops.PadAttrs{Mode: mode}, ins: []*tensor.Tensor{x, i64s(1, 2, 3, 4), nil, i64s(-1, 0)}, consts: []int{1, 3}},
				elementCase{op: "Pad", attrs: &ops.PadAttrs{Mode: mode}, ins: []*tensor.Tensor{x, i64s(1, 0, 3, 0, 0, 1)}}) // known only to the run
		}
	}
	x := d.normal(3, 40, 300)
	return append(cases,
		elementCase{op: "Pad", attrs: &ops.PadAttrs{Mode: "constant"}, ins: []*tensor.Tensor{x, i64s(0, 1, 2, 0, 3, 4), tensor.Of([]float32{-2.5})}, consts: []int{1}},
		elementCase{op: "Pad", attrs: &ops.PadAttrs{Mode: "reflect"}, ins: []*tensor.Tensor{x, i64s(0, 1, 2, 0, 3, 4)}, consts: []int{1}},
		elementCase{op: "Pad", attrs: &ops.PadAttrs{Mode: "constant"}, ins: []*tensor.Tensor{d.normal(2, 0, 3), i64s(0, 1, 0, 0, 2, 1)}, consts: []int{1}})
}

// resizeCases resample by each mode and map of coordinates, along rows and along what lies inside them.
func resizeCases(d *drawer) []elementCase {
	var cases []elementCase
	sizes := func(mode, coords, nearest string, x *tensor.Tensor, to ...int64) {
		a := &ops.ResizeAttrs{CoordinateTransformationMode: coords, CubicCoeffA: -0.75, KeepAspectRatioPolicy: "stretch", Mode: mode, NearestMode: nearest, ExtrapolationValue: 7}
		tol := 1e-5
		if mode == "nearest" {
			tol = 0
		}
		ins, consts := []*tensor.Tensor{x, nil, nil, i64s(to...)}, []int{3}
		if coords == "tf_crop_and_resize" {
			n := len(to)
			roi := make([]float32, 2*n)
			for i := range n {
				roi[n+i] = 1
			}
			roi[n-1], roi[2*n-1] = -.2, 1.3
			ins[1], consts = tensor.Of(roi, 2*n), []int{1, 3}
		}
		cases = append(cases, elementCase{op: "Resize", attrs: a, ins: ins, consts: consts, tol: tol})
	}
	for _, mode := range []string{"nearest", "linear", "cubic"} {
		for _, coords := range []string{"half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "tf_crop_and_resize"} {
			nearest := []string{"round_prefer_floor", "floor", "ceil", "round_prefer_ceil"}[len(cases)%4]
			sizes(mode, coords, nearest, odd(d.normal(2, 3, 5, 7)), 2, 3, 10, 14)
			sizes(mode, coords, nearest, d.normal(1, 9, 6, 33), 1, 5, 11, 33) // whole rows
			sizes(mode, coords, nearest, d.normal(2, 4, 1, 1), 2, 4, 3, 2)
		}
	}
	sizes("linear", "half_pixel", "floor", d.normal(2, 8, 40, 50), 2, 8, 90, 31)
	sizes("nearest", "asymmetric", "floor", d.normal(2, 8, 40, 50), 2, 8, 80, 100)
	sizes("nearest", "asymmetric", "floor", d.normal(2, 8, 4, 5), 2, 8, 4, 5) // as it is
	sizes("nearest", "asymmetric", "floor", d.normal(0, 8, 4, 5), 0, 8, 8, 5)
	a := &ops.ResizeAttrs{Antialias: true, CoordinateTransformationMode: "half_pixel", CubicCoeffA: -0.75, KeepAspectRatioPolicy: "stretch", Mode: "linear", NearestMode: "floor"}
	return append(cases, elementCase{op: "Resize", attrs: a, ins: []*tensor.Tensor{d.normal(1, 2, 13, 17), nil, tensor.Of([]float32{1, 1, .4, .7}, 4)}, consts: []int{2}, tol: 1e-5})
}

// stretchCases choose by masks that come in stretches, as those of attention do: causal, padded, all and none,
// with whole values and single ones on either side.
func stretchCases(d *drawer) []elementCase {
	var cases []elementCase
	const n = 83
	for kind := range 4 {
		mask := tensor.New(tensor.Bool, n, n)
		for i := range n * n {
			q, k := i/n, i%n
			tensor.Data[bool](mask)[i] = []bool{k <= q, k < 70, true, false}[kind]
		}
		for _, x := range []*tensor.Tensor{odd(d.normal(n, n)), d.ints(9, n, n), d.mask(.5, n, n), i32Of(d.ints(9, n, n))} {
			one := x.Clone().Reshape(n*n, 1)
			single := tensor.New(x.DType())
			copy(single.Bytes(), one.Bytes())
			cases = append(cases,
				elementCase{op: "Where", ins: []*tensor.Tensor{mask, x, single}},
				elementCase{op: "Where", ins: []*tensor.Tensor{mask, single, x}},
				elementCase{op: "Where", ins: []*tensor.Tensor{mask.Clone().Reshape(1, n, n), single, single}})
		}
	}
	return cases
}

// pickCases pick elements along each axis, of each size of element, tile, and do the arithmetic of positions.
func pickCases(d *drawer) []elementCase {
	var cases []elementCase
	for _, x := range []*tensor.Tensor{odd(d.normal(3, 5, 7)), d.ints(9, 3, 5, 7), i32Of(d.ints(9, 3, 5, 7)), d.mask(.5, 3, 5, 7)} {
		for axis, shape := range [][]int{{4, 5, 6}, {2, 9, 7}, {3, 4, 20}} {
			index := d.ints(2, shape...)
			cases = append(cases,
				elementCase{op: "GatherElements", attrs: &ops.AxisAttrs{Axis: int64(axis)}, ins: []*tensor.Tensor{x, index}},
				elementCase{op: "GatherElements", attrs: &ops.AxisAttrs{Axis: int64(axis - 3)}, ins: []*tensor.Tensor{x, i32Of(index)}})
		}
		for _, reps := range [][]int64{{2, 1, 1}, {1, 3, 2}, {2, 2, 2}, {1, 1, 1}, {0, 1, 2}} {
			cases = append(cases, elementCase{op: "Tile", ins: []*tensor.Tensor{x, i64s(reps...)}, consts: []int{1}})
		}
		cases = append(cases, elementCase{op: "Tile", ins: []*tensor.Tensor{x, i64s(2, 1, 1)}}) // known only to the run
	}
	large := d.normal(4, 300, 200)
	cases = append(cases,
		elementCase{op: "GatherElements", attrs: &ops.AxisAttrs{Axis: 2}, ins: []*tensor.Tensor{large, d.ints(199, 4, 300, 90)}},
		elementCase{op: "GatherElements", attrs: &ops.AxisAttrs{Axis: 0}, ins: []*tensor.Tensor{large, d.ints(3, 0, 300, 200)}},
		elementCase{op: "Tile", ins: []*tensor.Tensor{d.normal(12, 40, 64), i64s(3, 1, 1)}, consts: []int{1}})
	for _, shape := range [][]int{{}, {0, 4}, {3, 50}, {20001}} {
		x, y := d.ints(1<<40, shape...), d.ints(5, shape...)
		for _, op := range []string{"Neg", "Abs", "Sign"} {
			cases = append(cases, elementCase{op: op, ins: []*tensor.Tensor{x}}, elementCase{op: op, ins: []*tensor.Tensor{i32Of(x)}})
		}
		for _, op := range []string{"Min", "Max"} {
			cases = append(cases,
				elementCase{op: op, ins: []*tensor.Tensor{x, y}}, elementCase{op: op, ins: []*tensor.Tensor{i32Of(x), i32Of(y)}},
				elementCase{op: op, ins: []*tensor.Tensor{odd(d.normal(shape...)), d.normal(shape...)}},
				elementCase{op: op, ins: []*tensor.Tensor{odd(d.normal(shape...)), tensor.Of([]float32{.25})}},
				elementCase{op: op, ins: []*tensor.Tensor{d.normal(shape...), d.normal(shape...), d.normal(shape...)}})
		}
		lo, hi := tensor.Of([]int64{-3}), tensor.Of([]int64{2})
		cases = append(cases,
			elementCase{op: "Clip", ins: []*tensor.Tensor{y, lo, hi}}, elementCase{op: "Clip", ins: []*tensor.Tensor{y, hi, lo}},
			elementCase{op: "Clip", ins: []*tensor.Tensor{y, nil, hi}}, elementCase{op: "Clip", ins: []*tensor.Tensor{i32Of(y), i32Of(lo)}})
	}
	return cases
}

// TestPickOutOfRange: an index beyond its axis is an error of the run, whichever thread meets it.
func TestPickOutOfRange(t *testing.T) {
	d := newDrawer(3)
	for _, bad := range []int64{7, -8} {
		index := d.ints(6, 40, 300)
		tensor.Data[int64](index)[11111] = bad
		c := &kernelNode{op: "GatherElements", attrs: &ops.AxisAttrs{Axis: 0}, ins: []*tensor.Tensor{d.normal(7, 300), index}, inputs: []int{0, 1}, outs: 1}
		g, ins := c.graph(t)
		p, err := codegen.Compile(context.Background(), g, codegen.Target{})
		if err != nil {
			t.Fatal(err)
		}
		for _, threads := range []int{1, 3} {
			s, err := runtime.New(p, runtime.Options{Threads: threads})
			if err != nil {
				t.Fatal(err)
			}
			if err := s.RunTo(context.Background(), ins, make([]*tensor.Tensor, 1), nil); !errors.Is(err, ir.ErrInput) {
				t.Errorf("index %d with %d threads: %v", bad, threads, err)
			}
			s.Close()
		}
	}
}

// TestPadByNoElement: a padding value of no element, or of several, is an error of the run.
func TestPadByNoElement(t *testing.T) {
	d := newDrawer(5)
	for _, n := range []int{0, 2} {
		c := &kernelNode{op: "Pad", attrs: &ops.PadAttrs{Mode: "constant"}, ins: []*tensor.Tensor{d.normal(3, 4), i64s(0, 1, 0, 1), d.normal(n)}, inputs: []int{0, 2}, outs: 1}
		g, ins := c.graph(t)
		p, err := codegen.Compile(context.Background(), g, codegen.Target{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := runtime.New(p, runtime.Options{Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.RunTo(context.Background(), ins, make([]*tensor.Tensor, 1), nil); !errors.Is(err, ir.ErrShape) {
			t.Errorf("a padding value of %d elements: %v", n, err)
		}
		s.Close()
	}
}

// TestMatMulOfLowerPrecision: programs in bf16 and int8 multiply two values in bf16 where the CPU can, but not
// the few steps by which positions meet frequencies.
func TestMatMulOfLowerPrecision(t *testing.T) {
	d, ctx := newDrawer(4), context.Background()
	for _, k := range []int{1, 15, 16, 65} {
		c := &kernelNode{op: "MatMul", ins: []*tensor.Tensor{d.normal(3, 20, k), d.normal(3, k, 33)}, inputs: []int{0, 1}, outs: 1}
		g, ins := c.graph(t)
		want, err := eval.Run(ctx, g, ins, eval.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, precision := range []string{"bf16", "int8"} {
			p, err := codegen.Compile(ctx, g, codegen.Target{Precision: precision})
			if err != nil {
				t.Fatal(err)
			}
			s, err := runtime.New(p, runtime.Options{Threads: 2})
			if err != nil {
				t.Fatal(err)
			}
			outs := make([]*tensor.Tensor, 1)
			if err := s.RunTo(ctx, ins, outs, nil); err != nil {
				t.Fatal(err)
			}
			s.Close()
			var largest float64
			for _, v := range tensor.Data[float32](want[0]) {
				largest = max(largest, math.Abs(float64(v)))
			}
			tol := 1e-5
			if k >= 16 { // two roundings of 2^-9 a term, of terms that add up as they come
				tol = 0x1p-8 * largest
			}
			nearly(t, fmt.Sprintf("%s, k=%d", precision, k), outs[0], want[0], tol)
		}
	}
}
