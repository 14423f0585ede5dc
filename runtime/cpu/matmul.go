package cpu

import (
	"fmt"
	"slices"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
	"github.com/seed-c851cfd2/moec/runtime/cpu/pool"
)

// matmulAt is MatMul of two f32 values at a precision where the CPU has instructions of its own for
// it, else in f32. A few steps of k stay f32: positions are multiplied by frequencies so, and their sines
// need all digits.
func matmulAt(p layout.Precision) func(b *Binding) (Bound, error) {
	return func(b *Binding) (Bound, error) {
		if x := shapeOf(b.Ins[0]); len(x) == 0 || x[len(x)-1] < minRoundedSteps || !b.Device.gemm.Native(p) {
			return bindMatMul(b, layout.F32)
		}
		return bindMatMul(b, p)
	}
}

// minRoundedSteps is the least k of products that are rounded.
const minRoundedSteps = 16

// bindMatMul is MatMul of two f32 values of any rank, the right one packed on the way.
func bindMatMul(b *Binding, p layout.Precision) (Bound, error) {
	x, y := shapeOf(b.Ins[0]), shapeOf(b.Ins[1])
	if len(x) == 1 {
		x = []int{1, x[0]}
	}
	if len(y) == 1 {
		y = []int{y[0], 1}
	}
	if len(x) < 2 || len(y) < 2 || x[len(x)-1] != y[len(y)-2] {
		return Bound{}, fmt.Errorf("%w: matrix product of %s and %s", ir.ErrShape, b.Ins[0], b.Ins[1])
	}
	if tensor.NumElems(x) == 0 || tensor.NumElems(y) == 0 {
		return bindRef(b)
	}
	k, n := y[len(y)-2], y[len(y)-1]
	m, bx, by := x[len(x)-2], x[:len(x)-2], y[:len(y)-2]
	if tensor.NumElems(by) == 1 { // all rows meet one matrix
		m, bx, by = m*tensor.NumElems(bx), nil, nil
	}
	batch, err := ops.BroadcastShapes(bx, by)
	if err != nil {
		return Bound{}, err
	}
	mul := &gemm.MatMul{Kernels: b.Device.gemm, Precision: p, M: m, N: n, K: k, AStride: k, CStride: n, BK: n, BN: 1}
	mul.AOff, mul.BOff, mul.COff = batchOffsets(bx, batch, m*k), batchOffsets(by, batch, k*n), batchOffsets(batch, batch, m*n)
	var r pool.Runner = b.Device.pool
	count := float64(len(mul.COff))
	if b.Device.gemm.Serial(p, 2*count*float64(m)*float64(k)*float64(n), 4*count*float64(k)*float64(n)) {
		r = pool.Serial{}
	}
	need := mul.Scratch(r.Workers())
	return Bound{Scratch: 4 * need, Run: func(c *Call) error {
		mul.A, mul.B, mul.C = tensor.Data[float32](c.Ins[0]), tensor.Data[float32](c.Ins[1]), tensor.Data[float32](c.Outs[0])
		return mul.Run(r, c.f32(need))
	}}, nil
}

// batchOffsets are where the matrices of size elements of a value lie whose batch
// dimensions broadcast to batch, in the order of batch.
func batchOffsets(shape, batch []int, size int) []int {
	strides, idx := broadcastStrides(shape, batch), make([]int, len(batch))
	out := make([]int, 0, tensor.NumElems(batch))
	for range cap(out) {
		at := 0
		for d, i := range idx {
			at += i * strides[d]
		}
		out = append(out, at*size)
		for d := range slices.Backward(idx) {
			if idx[d]++; idx[d] < batch[d] {
				break
			}
			idx[d] = 0
		}
	}
	return out
}
