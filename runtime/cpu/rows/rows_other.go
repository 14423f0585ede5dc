//go:build !amd64 && !arm64

package rows

func (k *Kernels) addVector(dst, x, y []float32) bool { return false }

func (k *Kernels) sumVector(x []float32) (float32, bool) { return 0, false }

func (k *Kernels) squaresVector(x []float32, mean float32) (float32, bool) { return 0, false }

func (k *Kernels) affineVector(dst, x []float32, mean, factor float32, scale, bias []float32) bool {
	return false
}

func (k *Kernels) topVector(x []float32, floor float32) (float32, bool) { return 0, false }

func (k *Kernels) expSumVector(x []float32, top float32) (float32, bool) { return 0, false }

func (k *Kernels) scaleVector(dst, x []float32, factor float32) bool { return false }

func (k *Kernels) scaleMaxVector(x []float32, factor float32, add []float32, floor float32) (float32, bool) {
	return 0, false
}

func (k *Kernels) selectMaxVector(x []float32, keep []bool, factor, fill, floor float32) (top float32, done int) {
	return floor, 0
}

func (k *Kernels) transposeVector(dst []float32, dstStride int, src []float32, srcStride, rows, cols int) (r, c int) {
	return 0, 0
}

func (k *Kernels) expSumRowsVector([]uint32, int, []float32, int, int, []float32, []float32) bool {
	return false
}

func (k *Kernels) scaleMaxRowsVector([]float32, int, int, float32, []float32, int, []float32) bool {
	return false
}

func (k *Kernels) scaleRowsVector([]float32, int, []float32, int, []float32, int) bool { return false }

func (k *Kernels) momentsVector([]float32, []float32, []float32, []float32, int) bool { return false }

func (k *Kernels) affineColumnsVector([]float32, []float32, []float32, []float32, []float32, int) bool {
	return false
}

func (k *Kernels) dotsVector([]float32, []float32, []float32, int) bool { return false }

func (k *Kernels) weighVector([]float32, []float32, []float32, int) bool { return false }
