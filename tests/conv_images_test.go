package tests

import (
	"fmt"
	"math"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// inBF16 is x rounded to a tensor of bf16.
func inBF16(x *tensor.Tensor) *tensor.Tensor {
	h := make([]tensor.BFloat16, x.Len())
	for i, v := range tensor.Data[float32](x) {
		h[i] = tensor.BFloat16(layout.RoundBF16(v))
	}
	return tensor.Of(h, x.Shape()...)
}

// channelsLastOf moves the second axis to the end.
func channelsLastOf(x *tensor.Tensor) *tensor.Tensor {
	s := x.Shape()
	n, c, inner := s[0], s[1], tensor.NumElems(s[2:])
	y := tensor.New(tensor.F32, append(append([]int{n}, s[2:]...), c)...)
	in, out := tensor.Data[float32](x), tensor.Data[float32](y)
	for i := range n {
		for j := range c {
			for p := range inner {
				out[(i*inner+p)*c+j] = in[(i*c+j)*inner+p]
			}
		}
	}
	return y
}

// TestConvOfImagesInBF16: convolutions of images in bf16, with residuals in either type and
// results in either, by weights in either, at every level. Results in bf16 may fall on the
// other side of a rounding: they are off by one in 128 of themselves.
func TestConvOfImagesInBF16(t *testing.T) {
	for i, s := range append(convShapes(), roundedShapes()...) {
		group := int(max(1, s.group))
		depthwise := s.w[1] == 1 && s.w[0] == group
		if len(s.x) > 4 || s.w[0]/group%2 != 0 && !(depthwise && s.w[0]%2 == 0) || s.x[0] == 0 || tensor.NumElems(s.x) == 0 || len(s.dilations) > 0 && s.dilations[0] > 100 {
			continue
		}
		if !depthwise && group > 1 && (s.w[1] < 8 || s.w[0]/group < 8) {
			continue
		}
		if depthwise {
			s.residual = false
		}
		s.activated = s.activated || !s.residual // an op of moec's
		for mode := range 8 {
			c := s.node(uint64(i))
			a := *c.attrs.(*ops.FusedConvAttrs)
			a.ChannelsLast, a.Rounded = true, mode&1 != 0
			c.attrs = &a
			c.ins[0], c.ins[1] = channelsLastOf(roundTo(c.ins[0])), roundTo(c.ins[1])
			if mode&2 != 0 {
				c.ins[0] = inBF16(c.ins[0])
			}
			if s.residual {
				if c.ins[3] = channelsLastOf(roundTo(c.ins[3])); mode&4 != 0 {
					c.ins[3] = inBF16(c.ins[3])
				}
			} else if mode&4 != 0 {
				continue
			}
			tol := 1e-5
			if a.Rounded {
				tol = 1. / 128
			}
			c.precision = []string{"bf16", "f32"}[(i+mode)%2]
			c.name = fmt.Sprintf("%s %s mode %d", c.name, c.precision, mode)
			c.check(t, tol)
		}
	}
}

// TestPoolsInBF16: maxima of images in bf16 are exact, means rounded once.
func TestPoolsInBF16(t *testing.T) {
	d := newDrawer(6)
	for _, shape := range [][]int{{2, 9, 13, 40}, {1, 31, 30, 2}, {3, 17, 66}} {
		x := inBF16(d.normal(shape...))
		tensor.Data[tensor.BFloat16](x)[7] = tensor.BFloat16(layout.RoundBF16(float32(math.Inf(1))))
		for _, kind := range []string{ops.PoolMax, ops.PoolAverage} {
			a := &ops.FusedPoolAttrs{Kind: kind, AutoPad: "NOTSET", KernelShape: []int64{3, 2}[:len(shape)-2], Strides: []int64{2, 1}[:len(shape)-2], Pads: []int64{1, 0, 1, 1}[:2*(len(shape)-2)]}
			n := &kernelNode{name: fmt.Sprintf("pool %v %s", shape, kind), op: "moec::Pool", attrs: a, ins: []*tensor.Tensor{x}, inputs: []int{0}, outs: 1, precision: "bf16"}
			n.check(t, 1./128)
		}
	}
}
