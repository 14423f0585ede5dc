package gemm

// The row conversions; see gen.

//go:noescape
func rangeZ(x *float32, n int) (lo, hi, sum float32)

//go:noescape
func quantizeZ(dst *uint32, x *float32, n int, inv float32, zp int32)

//go:noescape
func bf16RowZ(dst *uint32, x *float32, n int)

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

func (k *Kernels) bf16Row(dst []uint32, x []float32) {
	if k.feat.BF16 && len(x) > 0 {
		bf16RowZ(&dst[:(len(x)+1)/2][0], &x[0], len(x))
		return
	}
	bf16Row(dst, x)
}
