package cpu

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// panels packs matrices [..., K, N] for the GEMM kernels; transposed ones are given as
// [..., N, K]. Those of a tall stack become one matrix, one above the other.
type panels struct {
	precision  layout.Precision
	transposed bool
	tall       bool
}

// Layout names the precision and, where the constant is stored the other way round than
// its logical shape, that too.
func (p panels) Layout() string {
	switch {
	case p.transposed:
		return p.precision.Name() + ".t"
	case p.tall:
		return p.precision.Name() + layout.TallSuffix
	}
	return p.precision.Name()
}

// Pack packs.
func (p panels) Pack(t *tensor.Tensor) (*tensor.Tensor, error) {
	if p.tall {
		var err error
		if t, err = layout.Tall(t); err != nil {
			return nil, err
		}
	}
	return layout.PackStack(p.precision, t, p.transposed)
}

// convPanels packs the weights [M, C/groups, kernel...] of a convolution with channels
// last: of each group a matrix [taps*C/groups, M/groups] in panels, with zeros as rows up to
// [layout.Precision.ConvRows].
type convPanels struct {
	precision layout.Precision
	groups    int
}

// Layout names the panels, and their groups where there are several.
func (p convPanels) Layout() string { return p.precision.ConvName(p.groups) }

// Pack packs.
func (p convPanels) Pack(t *tensor.Tensor) (*tensor.Tensor, error) {
	shape := t.Shape()
	if len(shape) < 3 || t.DType() != tensor.F32 || p.groups < 1 || shape[0]%p.groups != 0 {
		return nil, fmt.Errorf("weights %s of a convolution of %d groups", t, p.groups)
	}
	mg, c, taps := shape[0]/p.groups, shape[1], tensor.NumElems(shape[2:])
	depth := p.precision.ConvRows(taps * c)
	rows := tensor.New(tensor.F32, p.groups, depth, mg)
	out, in := tensor.Data[float32](rows), tensor.Data[float32](t)
	for m := range shape[0] {
		to := m/mg*depth*mg + m%mg
		for i := range c {
			for tap := range taps {
				out[to+(tap*c+i)*mg] = in[(m*c+i)*taps+tap]
			}
		}
	}
	return layout.PackStack(p.precision, rows, false)
}

// convTaps packs the weights [C, 1, kernel...] of a depthwise convolution as [taps, C].
type convTaps struct{}

// Layout is the name that plans store.
func (convTaps) Layout() string { return "conv.taps.f32" }

// Pack packs.
func (convTaps) Pack(t *tensor.Tensor) (*tensor.Tensor, error) {
	shape := t.Shape()
	c, taps := shape[0], tensor.NumElems(shape[1:])
	y := tensor.New(tensor.F32, taps, c)
	out, in := tensor.Data[float32](y), tensor.Data[float32](t)
	for i := range c {
		for tap := range taps {
			out[tap*c+i] = in[i*taps+tap]
		}
	}
	return y, nil
}
