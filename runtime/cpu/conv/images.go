package conv

import (
	"unsafe"

	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
)

// Images are the elements of images, in f32 or in bf16; neither for none. Pixels of bf16
// have an even number of channels, where they are written, so that each begins at a whole word.
type Images struct {
	F32  []float32
	BF16 []uint16
}

// none reports whether there are no images.
func (m Images) none() bool { return m.F32 == nil && m.BF16 == nil }

// from is the images from an element on.
func (m Images) from(i int) Images {
	if m.BF16 != nil {
		return Images{BF16: m.BF16[i:]}
	}
	return Images{F32: m.F32[i:]}
}

// words views bf16 elements two by two, from an even one on.
func words(x []uint16) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(x))), len(x)/2)
}

// halves views words as bf16 elements.
func halves(x []float32) []uint16 {
	return unsafe.Slice((*uint16)(unsafe.Pointer(unsafe.SliceData(x))), 2*len(x))
}

// load copies elements from at on to dst, in f32.
func (m Images) load(k *gemm.Kernels, dst []float32, at int) {
	if m.BF16 == nil {
		copy(dst, m.F32[at:at+len(dst)])
		return
	}
	k.WidenBF16(dst, m.BF16[at:at+len(dst)])
}

// store rounds rows of n elements of x to bf16 elements from at on; rows are stride apart
// in both. at, n and stride are even.
func (m Images) store(k *gemm.Kernels, at int, x []float32, stride, rows, n int) {
	if n == stride {
		n, rows = n*rows, 1
	}
	k.RoundBF16(words(m.BF16[at:]), stride/2, x, stride, rows, n)
}
