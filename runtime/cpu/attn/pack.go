package attn

import (
	"unsafe"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
)

// matrix views packed floats as a matrix at the attention's precision.
func (a *Attention) matrix(k, n int, packed []float32) layout.Matrix {
	m := layout.Matrix{Precision: a.Precision, K: k, N: n}
	if a.Precision == layout.BF16 {
		m.BF16 = unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(packed))), 2*len(packed))
		return m
	}
	m.F32 = packed
	return m
}

// keyWords is the scratch that packing takes: a panel of keys at the precision of the
// products, before they are turned: of bf16, pairs of a key's elements as words.
func (a *Attention) keyWords() int {
	if a.HalfIn == (a.Precision == layout.BF16) {
		return 0
	}
	return layout.NR * a.Precision.Steps(a.Dim)
}

// pack brings keys k0 to k1, transposed, and their values of one head into panels. w is
// scratch of keyWords.
func (a *Attention) pack(b, kv, k0, k1 int, kp, vp, w []float32) {
	keys, steps := k1-k0, a.Precision.Steps(a.Dim)
	for p0 := 0; p0 < keys; p0 += layout.NR {
		width := min(layout.NR, layout.Cols(keys)-p0)
		panel := kp[p0*steps : (p0+width)*steps]
		n := min(width, keys-p0)
		if n < width {
			clear(panel)
		}
		at := a.K.at(b, kv, k0+p0)
		src, stride := a.K.Data, a.K.Pos
		switch {
		case a.HalfIn && a.Precision != layout.BF16:
			a.Kernels.WidenRows(w, steps, src[at/2:], stride/2, n, a.Dim)
			src, stride = w, steps
		case a.HalfIn:
			src, stride = src[at/2:], stride/2
		case a.Precision != layout.BF16:
			src = src[at:]
		default:
			src = src[at:]
			a.Kernels.RoundBF16(w, steps, src, stride, n, a.Dim)
			src, stride = w, steps
		}
		a.Rows.Transpose(panel, width, src, stride, n, steps)
	}
	steps = a.Precision.Steps(keys)
	for p0 := 0; p0 < a.VDim; p0 += layout.NR {
		width := min(layout.NR, layout.Cols(a.VDim)-p0)
		panel := vp[p0*steps : (p0+width)*steps]
		n := min(width, a.VDim-p0)
		at := a.V.at(b, kv, k0) + p0
		if a.Precision == layout.BF16 {
			if n < width {
				clear(panel)
			}
			if a.HalfIn {
				a.Kernels.PairHalves(panel, width, a.V.Data[at/2:], a.V.Pos/2, keys, n)
			} else {
				a.Kernels.PairBF16(panel, width, a.V.Data[at:], a.V.Pos, keys, n)
			}
			continue
		}
		if a.HalfIn {
			if n < width {
				clear(panel)
			}
			a.Kernels.WidenRows(panel, width, a.V.Data[at/2:], a.V.Pos/2, keys, n)
			continue
		}
		for s := range keys {
			dst := panel[s*width:][:width]
			copy(dst, a.V.Data[at+s*a.V.Pos:][:n])
			clear(dst[n:])
		}
	}
}
