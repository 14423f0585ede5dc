//go:build !amd64 && !arm64

package gemm

func (k *Kernels) rowRange(x []float32) (lo, hi, sum float32) { return rowRange(x) }

func (k *Kernels) quantizeRow(dst []uint32, x []float32, inv float32, zp int32) {
	quantizeRow(dst, x, inv, zp)
}

func (k *Kernels) bf16Vector([]uint32, int, []float32, int, int, int) bool { return false }

func (k *Kernels) pairVector([]uint32, int, []float32, int, int, int) bool { return false }

func (k *Kernels) pairHalvesVector([]uint32, int, []uint16, int, int, int) bool { return false }

func (k *Kernels) widenVector([]float32, int, []uint16, int, int, int) int { return 0 }

func (k *Kernels) roundVector([]uint32, []float32) int { return 0 }
