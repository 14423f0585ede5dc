//go:build !amd64

package ffn

import (
	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
)

// fillKeys writes the keys of x to dst, of length padKeys(len(x)).
func fillKeys(_ isa.Features, dst []uint32, x []float32) { fillKeysPortable(dst, x) }

// threshold returns a key t such that at least k of the n keys are not below it
// and fewer than k above it; or exactly k not below it. 0 < k <= n.
func threshold(_ isa.Features, keys []uint32, n, k int) uint32 {
	return thresholdPortable(keys[:n], k)
}

// pick writes the indexes of the keys that are at least t to dst, which has room for all,
// ascending, and returns how many.
func pick(_ isa.Features, dst []int32, keys []uint32, t uint32) int {
	return pickPortable(dst, keys, t)
}

// compact writes the indexes and values of the units of h whose key is at least t
// and that are not zero, ascending, and returns how many. idx and val have 16 more
// elements than h.
func compact(_ isa.Features, idx []int32, val []float32, keys []uint32, h []float32, t uint32) int {
	return compactPortable(idx, val, keys, h, t)
}

// sparseRows adds val[i] times row idx[i] of m to columns n0 to n1 of c, which
// begins at column n0, a multiple of layout.NR. m is f32.
func sparseRows(k *gemm.Kernels, c []float32, m *layout.Matrix, n0, n1 int, idx []int32, val []float32) {
	sparsePortable(k, c, m, n0, n1, idx, val)
}

// weighted adds w[i] times row at[i] of values, rows stride apart, to y, in order.
func weighted(k *gemm.Kernels, y, values []float32, stride int, at []int32, w []float32) {
	weightedPortable(k, y, values, stride, at, w)
}

// apply does it.
func (b *keptRows) apply(isa.Features) { b.portable() }
