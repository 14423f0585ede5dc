//go:build !amd64

package conv

func (k *Kernels) sumVector(y, x []float32, off []int, w []float32, start float32) bool { return false }

func (k *Kernels) maxVector(y, x []float32, off []int, start float32) bool { return false }
