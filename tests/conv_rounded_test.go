package tests

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/ir/eval"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime"
	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
)

// roundedShapes are convolutions whose windows are read from strips in bf16 where they
// lie, and those next to them that are not.
func roundedShapes() []convShape {
	return []convShape{
		{x: []int{1, 64, 14, 14}, w: []int{64, 64, 3, 3}, pads: []int64{1, 1, 1, 1}, bias: true, activated: true},
		{x: []int{3, 32, 7, 7}, w: []int{48, 32, 3, 3}, pads: []int64{1, 1, 1, 1}, bias: true, residual: true, activated: true},
		{x: []int{5, 32, 3, 2}, w: []int{17, 32, 3, 3}, pads: []int64{1, 1, 1, 1}, activated: true},
		{x: []int{1, 96, 15, 13}, w: []int{40, 96, 3, 3}, strides: []int64{2, 2}, pads: []int64{1, 1, 1, 1}, residual: true},
		{x: []int{1, 32, 23, 19}, w: []int{33, 32, 5, 5}, strides: []int64{3, 2}, pads: []int64{2, 2, 2, 2}, bias: true, activated: true},
		{x: []int{2, 32, 9, 11}, w: []int{64, 32, 2, 4}, strides: []int64{1, 3}, pads: []int64{0, 1, 3, 5}, bias: true},
		{x: []int{2, 16, 9, 7}, w: []int{24, 16, 3, 2}, strides: []int64{2, 5}, pads: []int64{1, 5, 5, 5}, bias: true}, // windows of padding alone
		{x: []int{2, 32, 5, 4}, w: []int{24, 32, 3, 2}, pads: []int64{1, 6, 1, 3}},
		{x: []int{1, 64, 12, 12}, w: []int{100, 64, 3, 3}, pads: []int64{-1, -2, 0, -1}, bias: true},
		{x: []int{1, 64, 12, 17}, w: []int{32, 64, 3, 3}, dilations: []int64{2, 3}, pads: []int64{2, 3, 2, 3}, residual: true, activated: true},
		{x: []int{1, 64, 12, 17}, w: []int{32, 64, 3, 3}, strides: []int64{2, 2}, dilations: []int64{3, 2}, pads: []int64{2, 3, 2, 3}},
		{x: []int{2, 16, 8, 9}, w: []int{32, 16, 3, 2}, pads: []int64{1, 0, 1, 1}, activated: true},
		{x: []int{1, 128, 9, 10}, w: []int{96, 64, 3, 3}, group: 2, pads: []int64{1, 1, 1, 1}, bias: true, residual: true, activated: true},
		{x: []int{1, 48, 9, 10}, w: []int{48, 24, 1, 1}, group: 2, bias: true, residual: true},
		{x: []int{1, 27, 6, 5}, w: []int{36, 9, 1, 1}, group: 3, bias: true},
		// one by one: apart, padded, of odd and of many channels
		{x: []int{2, 40, 9, 9}, w: []int{72, 40, 1, 1}, strides: []int64{2, 2}, bias: true, activated: true},
		{x: []int{1, 33, 8, 7}, w: []int{65, 33, 1, 1}, strides: []int64{2, 3}, pads: []int64{1, 2, 0, 1}, activated: true},
		{x: []int{1, 300, 5, 5}, w: []int{160, 300, 1, 1}, bias: true, residual: true, activated: true},
		{x: []int{1, 1, 3, 3}, w: []int{40, 1, 1, 1}, bias: true},
		// taps on one axis
		{x: []int{1, 64, 4, 12}, w: []int{32, 64, 3, 1}, pads: []int64{1, 0, 1, 0}, bias: true, activated: true},
		{x: []int{1, 64, 4, 12}, w: []int{32, 64, 3, 1}, strides: []int64{2, 2}, pads: []int64{2, 1, 0, 1}},
		{x: []int{2, 32, 70}, w: []int{64, 32, 5}, pads: []int64{2, 2}, bias: true, residual: true, activated: true},
		{x: []int{1, 64, 400}, w: []int{64, 64, 3}, strides: []int64{2}, pads: []int64{1, 0}, bias: true},
		{x: []int{1, 64, 301}, w: []int{96, 64, 3}, dilations: []int64{4}, pads: []int64{4, 4}, residual: true, activated: true},
		// volumes
		{x: []int{2, 32, 5, 6, 7}, w: []int{40, 32, 3, 3, 3}, pads: []int64{1, 1, 1, 1, 1, 1}, bias: true, activated: true},
		{x: []int{1, 32, 7, 6, 9}, w: []int{24, 32, 3, 2, 1}, strides: []int64{2, 1, 2}, dilations: []int64{2, 1, 1}, pads: []int64{1, 1, 1, 0, 0, 1}, residual: true},
		// threads share the channels out, and strips of a large image
		{x: []int{1, 192, 7, 7}, w: []int{544, 192, 3, 3}, pads: []int64{1, 1, 1, 1}, bias: true, residual: true, activated: true},
		{x: []int{1, 64, 90, 70}, w: []int{64, 64, 3, 3}, pads: []int64{1, 1, 1, 1}, residual: true, activated: true},
		{x: []int{1, 64, 61, 90}, w: []int{32, 64, 3, 3}, strides: []int64{2, 2}, pads: []int64{1, 1, 1, 1}, activated: true},
	}
}

// roundTo rounds to bf16.
func roundTo(x *tensor.Tensor) *tensor.Tensor {
	y := x.Clone()
	for i, v := range tensor.Data[float32](y) {
		tensor.Data[float32](y)[i] = math.Float32frombits(uint32(layout.RoundBF16(v)) << 16)
	}
	return y
}

// TestConvInBF16: with images and weights that bf16 can hold nothing is rounded before the
// sums, so that the reference in f32 holds as tightly as for f32 programs, at every level;
// int8 programs have the same convolutions. A pixel that is no number spoils the windows
// that read it, and no other.
func TestConvInBF16(t *testing.T) {
	for i, s := range append(convShapes(), roundedShapes()...) {
		c := s.node(uint64(i))
		c.ins[0], c.ins[1] = roundTo(c.ins[0]), roundTo(c.ins[1])
		for _, c.precision = range []string{"bf16", "int8"}[:1+i%2] {
			c.check(t, 1e-5)
		}
		if s.residual || s.x[0] == 0 {
			continue
		}
		c.name += " with NaNs"
		x := tensor.Data[float32](c.ins[0])
		for j := range min(3, len(x)) {
			x[j*len(x)/3] = float32(math.NaN())
		}
		c.check(t, 1e-5)
	}
}

// TestConvInBF16Rounds: images and weights that bf16 cannot hold are each rounded by one
// part in 512 at most, so that a sum is off by one in 256 of the sum of its products'
// magnitudes, and the accumulation by far less; the activations' slopes are 1.5 at most.
func TestConvInBF16Rounds(t *testing.T) {
	ctx := context.Background()
	for i, s := range roundedShapes() {
		c := s.node(uint64(i))
		g, ins := c.graph(t)
		want, err := eval.Run(ctx, g, ins, eval.Options{})
		if err != nil {
			t.Fatal(err)
		}
		s.bias, s.residual, s.activated = false, false, false
		size := s.node(uint64(i))
		for _, x := range size.ins[:2] {
			for j, v := range tensor.Data[float32](x) {
				tensor.Data[float32](x)[j] = float32(math.Abs(float64(v)))
			}
		}
		gm, insm := size.graph(t)
		mag, err := eval.Run(ctx, gm, insm, eval.Options{})
		if err != nil {
			t.Fatal(err)
		}
		p, err := codegen.Compile(ctx, g, codegen.Target{Precision: "bf16"})
		if err != nil {
			t.Fatal(err)
		}
		for _, level := range isa.Levels() {
			t.Setenv(isa.Env, level)
			sess, err := runtime.New(p, runtime.Options{Threads: 2})
			if err != nil {
				t.Fatal(err)
			}
			defer sess.Close()
			got := make([]*tensor.Tensor, 1)
			if err := sess.RunTo(ctx, ins, got, nil); err != nil {
				t.Fatal(err)
			}
			m, w := tensor.Data[float32](mag[0]), tensor.Data[float32](want[0])
			for j, v := range tensor.Data[float32](got[0]) {
				if d := math.Abs(float64(v - w[j])); !(d <= 1.5/256*float64(m[j])+1e-4) {
					t.Errorf("%s: %s: element %d is %g, want %g", c.name, level, j, v, w[j])
					break
				}
			}
		}
	}
}

// TestConvOfABatchInBF16: an image has the same bits alone and in a batch.
func TestConvOfABatchInBF16(t *testing.T) {
	for i, s := range slices.Concat(convShapes(), roundedShapes()) {
		if s.residual || s.x[0] == 0 {
			continue
		}
		s.x[0] = 9
		c := s.node(uint64(i))
		c.name = fmt.Sprintf("%s in bf16", c.name)
		c.precision = "bf16"
		c.checkBatch(t)
	}
}
