package layout

import (
	"fmt"
	"strings"
	"unsafe"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Names under which plans store packed constants, by Precision.
var names = [...]string{F32: "panels.f32", BF16: "panels.bf16", I8: "panels.int8"}

// Name is the layout name that a plan stores for packed matrices of p.
func (p Precision) Name() string { return names[p] }

// ParseName is the inverse of Name.
func ParseName(s string) (Precision, bool) {
	for p, n := range names {
		if n == s {
			return Precision(p), true
		}
	}
	return 0, false
}

// ConvName is the layout name of the weights of a convolution: of each group a matrix of
// [Precision.ConvRows] rows.
func (p Precision) ConvName(groups int) string {
	if groups > 1 {
		return fmt.Sprintf("conv.%s.%d", p.Name(), groups)
	}
	return "conv." + p.Name()
}

// ParseConvName is the precision of what ConvName named.
func ParseConvName(s string) (Precision, bool) {
	s, ok := strings.CutPrefix(s, "conv.")
	for p, n := range names {
		if ok && (s == n || strings.HasPrefix(s, n+".")) {
			return Precision(p), true
		}
	}
	return 0, false
}

// storedBytes is the size of one matrix in a stored constant: the elements, then for
// int8 scales and sums, padded so that the next matrix starts on a cache line.
func (p Precision) storedBytes(k, n int) int {
	b := p.Bytes(k, n)
	if p == I8 {
		b += 8 * n
	}
	return (b + 63) &^ 63
}

// PackStack packs the matrices of a tensor f32[..., K, N] (or [..., N, K] when
// transposed) one after the other into one block of bytes, as Unstack reads it.
func PackStack(p Precision, t *tensor.Tensor, transposed bool) (*tensor.Tensor, error) {
	shape := t.Shape()
	if t.DType() != tensor.F32 || len(shape) < 2 {
		return nil, fmt.Errorf("layout: %s cannot be packed, want f32 of rank 2 or more", t)
	}
	k, n := shape[len(shape)-2], shape[len(shape)-1]
	if transposed {
		k, n = n, k
	}
	count := tensor.NumElems(shape[:len(shape)-2])
	size := p.storedBytes(k, n)
	out := tensor.New(tensor.U8, count*size)
	data := tensor.Data[float32](t)
	for i := range count {
		src := RowMajor(data[i*k*n:(i+1)*k*n], k, n)
		if transposed {
			src = Transposed(data[i*k*n:(i+1)*k*n], k, n)
		}
		m, err := Pack(p, src)
		if err != nil {
			return nil, err
		}
		m.store(out.Bytes()[i*size : (i+1)*size])
	}
	return out, nil
}

func (m *Matrix) store(dst []byte) {
	switch m.Precision {
	case F32:
		copy(dst, bytesOf(m.F32))
	case BF16:
		copy(dst, bytesOf(m.BF16))
	case I8:
		n := copy(dst, bytesOf(m.I8))
		n += copy(dst[n:], bytesOf(m.Scale))
		copy(dst[n:], bytesOf(m.Sum))
	}
}

// Unstack views count packed k x n matrices in stored bytes, which must be 64-byte
// aligned, without copying.
func Unstack(p Precision, stored []byte, count, k, n int) ([]*Matrix, error) {
	size := p.storedBytes(k, n)
	if len(stored) != count*size {
		return nil, fmt.Errorf("layout: %d matrices %dx%d of %s take %d bytes, got %d", count, k, n, p, count*size, len(stored))
	}
	if len(stored) > 0 && uintptr(unsafe.Pointer(&stored[0]))%64 != 0 {
		return nil, fmt.Errorf("layout: packed weights are not aligned to 64 bytes")
	}
	out := make([]*Matrix, count)
	for i := range out {
		b := stored[i*size : (i+1)*size]
		m := &Matrix{Precision: p, K: k, N: n}
		elems := b[:p.Bytes(k, n)]
		switch p {
		case F32:
			m.F32 = viewOf[float32](elems)
		case BF16:
			m.BF16 = viewOf[uint16](elems)
		case I8:
			m.I8 = viewOf[int8](elems)
			rest := b[len(elems):]
			m.Scale = viewOf[float32](rest[:4*n])
			m.Sum = viewOf[uint32](rest[4*n : 8*n])
		}
		if err := m.Check(); err != nil {
			return nil, err
		}
		out[i] = m
	}
	return out, nil
}

func bytesOf[T float32 | uint16 | int8 | uint32](s []T) []byte {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), len(s)*int(unsafe.Sizeof(s[0])))
}

func viewOf[T float32 | uint16 | int8 | uint32](b []byte) []T {
	if len(b) == 0 {
		return nil
	}
	var z T
	return unsafe.Slice((*T)(unsafe.Pointer(&b[0])), len(b)/int(unsafe.Sizeof(z)))
}
