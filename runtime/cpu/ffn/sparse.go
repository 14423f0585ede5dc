package ffn

import (
	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
)

// The portable forms of the sparse kernels.

func compactPortable(idx []int32, val []float32, keys []uint32, h []float32, t uint32) int {
	n := 0
	for i, v := range h {
		if keys[i] >= t && v != 0 {
			idx[n], val[n] = int32(i), v
			n++
		}
	}
	return n
}

// sparsePortable goes panel by panel. It rounds once per multiply-add where the
// CPU can, as the assembly does, so that columns have the same bits either way.
func sparsePortable(k *gemm.Kernels, c []float32, m *layout.Matrix, n0, n1 int, idx []int32, val []float32) {
	for ; n0 < n1; n0 += layout.NR {
		width := min(layout.NR, n1-n0)
		row := c[:width]
		c = c[width:]
		first := m.Index(0, n0)
		stride := layout.NR
		if layout.Cols(m.N)-n0 < layout.NR {
			stride = layout.NR / 2
		}
		for i, j := range idx {
			at := first + int(j)*stride
			k.Act().Axpy(row, val[i], m.F32[at:at+width])
		}
	}
}

func weightedPortable(k *gemm.Kernels, y, values []float32, stride int, at []int32, w []float32) {
	for i, r := range at {
		from := int(r) * stride
		k.Act().Axpy(y, w[i], values[from:from+len(y)])
	}
}
