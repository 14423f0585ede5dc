package cpu

import (
	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// panels packs matrices [..., K, N] for the GEMM kernels; transposed ones are given as
// [..., N, K].
type panels struct {
	precision  layout.Precision
	transposed bool
}

// Layout names the precision and, where the constant is stored the other way round than
// its logical shape, that too.
func (p panels) Layout() string {
	if p.transposed {
		return p.precision.Name() + ".t"
	}
	return p.precision.Name()
}

// Pack packs.
func (p panels) Pack(t *tensor.Tensor) (*tensor.Tensor, error) {
	return layout.PackStack(p.precision, t, p.transposed)
}
