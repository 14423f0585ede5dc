//go:build !amd64

package conv

func (k *Kernels) sumVector(y, x []float32, off []int, w []float32, start float32) bool { return false }

func (k *Kernels) maxVector(y, x []float32, off []int, start float32) bool { return false }

func (k *Kernels) gatherVector(y []float32, stride int, x []float32, off []int, channels, plane, n int) bool {
	return false
}

func (k *Kernels) roundVector(dst []float32, words int, x []float32, off []int, n, pixels, step, zeros int) bool {
	return false
}

func (k *Kernels) splitVector(a, b, x []float32) int { return 0 }

func (k *Kernels) foldVector(kind Kind, y []float32, c int, x Images, step int, off []int, w []float32, woff []int, bias []float32, start float32) bool {
	return false
}

func (k *Kernels) foldsHalves() bool { return false }
