package gemm

import "math"

// The row conversions; see gen.

//go:noescape
func rangeV(x *float32, n int) (lo, hi, sum float32)

//go:noescape
func quantizeV(dst *uint32, x *float32, n int, inv float32, zp int32)

// rowRange is the least and greatest of x and zero, and a sum that is zero if all
// of x is finite.
func (k *Kernels) rowRange(x []float32) (lo, hi, sum float32) {
	whole := len(x) &^ 3
	if !k.feat.NEON || whole == 0 {
		return rowRange(x)
	}
	lo, hi, sum = rangeV(&x[0], whole)
	l, h, s := rowRange(x[whole:])
	if sum != 0 || s != 0 {
		return lo, hi, float32(math.NaN())
	}
	return min(lo, l), max(hi, h), 0
}

func (k *Kernels) quantizeRow(dst []uint32, x []float32, inv float32, zp int32) {
	whole := len(x) &^ 3
	if k.feat.NEON && whole > 0 {
		quantizeV(&dst[:whole/4][0], &x[0], whole, inv, zp)
		dst, x = dst[whole/4:], x[whole:]
	}
	quantizeRow(dst, x, inv, zp)
}

func (k *Kernels) bf16Vector([]uint32, int, []float32, int, int, int) bool { return false }

func (k *Kernels) pairVector([]uint32, int, []float32, int, int, int) bool { return false }

func (k *Kernels) pairHalvesVector([]uint32, int, []uint16, int, int, int) bool { return false }

func (k *Kernels) widenVector([]float32, int, []uint16, int, int, int) int { return 0 }

func (k *Kernels) roundVector([]uint32, []float32) int { return 0 }
