package ffn

import (
	"unsafe"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
)

//go:generate go run ./gen

//go:noescape
func keysZ(dst *uint32, x *float32, n int)

//go:noescape
func kthZ(x *uint32, n, k int) uint32

// fillKeys writes the keys of x to dst, of length padKeys(len(x)).
func fillKeys(f isa.Features, dst []uint32, x []float32) {
	if f.AVX512 && len(x) > 0 {
		keysZ(&dst[:padKeys(len(x))][0], &x[0], len(x))
		return
	}
	fillKeysPortable(dst, x)
}

// threshold returns a key t such that at least k of the n keys are not below it
// and fewer than k above it; or exactly k not below it. 0 < k <= n.
func threshold(f isa.Features, keys []uint32, n, k int) uint32 {
	if f.AVX512 {
		return kthZ(&keys[:padKeys(n)][0], n, k)
	}
	return thresholdPortable(keys[:n], k)
}

//go:noescape
func pickZ(dst *int32, keys *uint32, n int, t uint32) int

// pick writes the indexes of the keys that are at least t to dst, which has room for all,
// ascending, and returns how many.
func pick(f isa.Features, dst []int32, keys []uint32, t uint32) int {
	if f.AVX512 && len(keys) > 0 {
		return pickZ(&dst[:len(keys)][0], &keys[0], len(keys), t)
	}
	return pickPortable(dst, keys, t)
}

//go:noescape
func compactZ(idx *int32, val *float32, keys *uint32, h *float32, n int, t uint32) int

//go:noescape
func sparseZ(c, b *float32, bp uintptr, idx *int32, val *float32, n int)

//go:noescape
func axpy4Z(y *float32, n int, rows *[8]unsafe.Pointer, w *[4]float32)

// compact writes the indexes and values of the units of h whose key is at least t
// and that are not zero, ascending, and returns how many. idx and val have 16 more
// elements than h.
func compact(f isa.Features, idx []int32, val []float32, keys []uint32, h []float32, t uint32) int {
	if f.AVX512 && len(h) > 0 {
		_, _ = idx[len(h)+15], val[len(h)+15]
		return compactZ(&idx[0], &val[0], &keys[:padKeys(len(h))][0], &h[0], len(h), t)
	}
	return compactPortable(idx, val, keys, h, t)
}

// sparseRows adds val[i] times row idx[i] of m to columns n0 to n1 of c, which
// begins at column n0, a multiple of layout.NR. m is f32.
func sparseRows(k *gemm.Kernels, c []float32, m *layout.Matrix, n0, n1 int, idx []int32, val []float32) {
	const four = 4 * layout.NR
	if k.Features().AVX512 && len(idx) > 0 {
		for ; n0+four <= min(n1, m.N/layout.NR*layout.NR); n0 += four {
			sparseZ(&c[:four][0], &m.F32[n0*m.K], uintptr(4*layout.NR*m.K), &idx[0], &val[0], len(idx))
			c = c[four:]
		}
	}
	sparsePortable(k, c, m, n0, n1, idx, val)
}

// weighted adds w[i] times row at[i] of values, rows stride apart, to y, in order.
func weighted(k *gemm.Kernels, y, values []float32, stride int, at []int32, w []float32) {
	n := len(y)
	if k.Features().AVX512 && n > 0 {
		var rows [8]unsafe.Pointer
		for ; len(at) >= 4; at, w = at[4:], w[4:] {
			for i := range rows {
				r := int(at[min(i, len(at)-1)]) * stride
				rows[i] = unsafe.Pointer(&values[r : r+n][0])
			}
			axpy4Z(&y[0], n, &rows, (*[4]float32)(w))
		}
	}
	weightedPortable(k, y, values, stride, at, w)
}

//go:noescape
func keepZ(words *uint32, stride uintptr, rows, lines int, lanes *uint16, laneStride uintptr)

//go:noescape
func keepGatedZ(words *uint32, stride uintptr, rows, lines int, lanes *uint16, laneStride uintptr, gates *float32)

// apply does it.
func (b *keptRows) apply(f isa.Features) {
	if !f.AVX512 {
		b.portable()
		return
	}
	_, _ = b.words[(b.rows-1)*b.stride+b.lines*lineUnits-1], b.lanes[(b.rows-1)*b.laneStride+b.lines-1]
	stride, laneStride := uintptr(4*b.stride), uintptr(2*b.laneStride)
	if b.gates == nil {
		keepZ(&b.words[0], stride, b.rows, b.lines, &b.lanes[0], laneStride)
		return
	}
	_ = b.gates[(b.rows-1)*b.laneStride+b.lines-1]
	keepGatedZ(&b.words[0], stride, b.rows, b.lines, &b.lanes[0], laneStride, &b.gates[0])
}
