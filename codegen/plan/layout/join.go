package layout

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// TallSuffix follows the name of a precision in the name under which a plan stores a stack
// that Tall has made one matrix.
const TallSuffix = ".tall"

// Tall makes one matrix of a stack f32[count, K, N]: [count*K, N], one above the other.
func Tall(t *tensor.Tensor) (*tensor.Tensor, error) {
	shape := t.Shape()
	if len(shape) != 3 {
		return nil, fmt.Errorf("layout: %s is no stack of matrices", t)
	}
	return t.Reshape(shape[0]*shape[1], shape[2]), nil
}

// Part is rows k0 to k0+rows of m as far as products with that range of k need it: m
// itself, and in int8 with the sums of those rows alone.
func (m *Matrix) Part(k0, rows int) *Matrix {
	if m.Precision != I8 {
		return m
	}
	part := *m
	part.Sum = make([]uint32, m.N)
	for n := range part.Sum {
		sum := int32(0)
		for k := k0; k < k0+rows; k++ {
			sum += int32(m.I8[m.Index(k, n)])
		}
		part.Sum[n] = Digits(sum)
	}
	return &part
}

// Beside views count packed k x n matrices in stored bytes as one matrix of count*n
// columns. n must be the width of a panel or of half of one. Elements are not copied, scales and sums
// are.
func Beside(p Precision, stored []byte, count, k, n int) (*Matrix, error) {
	if n != NR && n != half {
		return nil, fmt.Errorf("layout: matrices of %d columns, want %d or %d", n, half, NR)
	}
	parts, err := Unstack(p, stored, count, k, n)
	if err != nil {
		return nil, err
	}
	m := &Matrix{Precision: p, K: k, N: count * n, Width: n, Pitch: p.storedBytes(k, n)}
	switch p {
	case F32:
		m.F32 = viewOf[float32](stored)
	case BF16:
		m.BF16 = viewOf[uint16](stored)
	case I8:
		m.I8 = viewOf[int8](stored)
		for _, part := range parts {
			m.Scale, m.Sum = append(m.Scale, part.Scale...), append(m.Sum, part.Sum...)
		}
	}
	return m, nil
}
