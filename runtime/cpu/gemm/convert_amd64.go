package gemm

// The row conversions; see gen.

//go:noescape
func rangeZ(x *float32, n int) (lo, hi, sum float32)

//go:noescape
func quantizeZ(dst *uint32, x *float32, n int, inv float32, zp int32)

//go:noescape
func bf16RowsZ(dst *uint32, dstStride int, x *float32, xStride, rows, n int)

//go:noescape
func roundY(dst *uint32, x *float32, n int)

// roundVector rounds a multiple of 16 and returns how many.
func (k *Kernels) roundVector(dst []uint32, x []float32) int {
	n := len(x) &^ 15
	if n == 0 || !k.feat.AVX2 {
		return 0
	}
	roundY(&dst[0], &x[0], n)
	return n
}

//go:noescape
func widenRowsY(dst *float32, dstStride int, x *uint16, xStride, rows, n int)

// widenVector widens a multiple of 16 elements of each row and returns how many.
func (k *Kernels) widenVector(dst []float32, dstStride int, x []uint16, xStride, rows, n int) int {
	if n &^= 15; n == 0 || !k.feat.AVX2 {
		return 0
	}
	widenRowsY(&dst[0], 4*dstStride, &x[0], 2*xStride, rows, n)
	return n
}

//go:noescape
func pairRowsZ(dst *uint32, dstStride int, x *float32, xStride, pairs, n int)

// pairVector is PairBF16 of whole pairs, where the CPU rounds to bf16 itself.
func (k *Kernels) pairVector(dst []uint32, dstStride int, x []float32, xStride, pairs, n int) bool {
	if !k.feat.BF16 {
		return false
	}
	pairRowsZ(&dst[0], 4*dstStride, &x[0], 4*xStride, pairs, n)
	return true
}

//go:noescape
func pairHalvesZ(dst *uint32, dstStride int, x *uint16, xStride, pairs, n int)

// pairHalvesVector is PairHalves of whole pairs.
func (k *Kernels) pairHalvesVector(dst []uint32, dstStride int, x []uint16, xStride, pairs, n int) bool {
	if !k.feat.AVX512 {
		return false
	}
	pairHalvesZ(&dst[0], 4*dstStride, &x[0], 2*xStride, pairs, n)
	return true
}

// rowRange is the least and greatest of x and zero, and a sum that is zero if all
// of x is finite.
func (k *Kernels) rowRange(x []float32) (lo, hi, sum float32) {
	if k.feat.AVX512 && len(x) > 0 {
		return rangeZ(&x[0], len(x))
	}
	return rowRange(x)
}

func (k *Kernels) quantizeRow(dst []uint32, x []float32, inv float32, zp int32) {
	if k.feat.AVX512 && len(x) > 0 {
		quantizeZ(&dst[:(len(x)+3)/4][0], &x[0], len(x), inv, zp)
		return
	}
	quantizeRow(dst, x, inv, zp)
}

// bf16Vector is RoundBF16 where the CPU rounds to bf16 itself.
func (k *Kernels) bf16Vector(dst []uint32, dstStride int, x []float32, xStride, rows, n int) bool {
	if !k.feat.BF16 {
		return false
	}
	bf16RowsZ(&dst[0], 4*dstStride, &x[0], 4*xStride, rows, n)
	return true
}
