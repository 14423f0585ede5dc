package tensor

import (
	"fmt"
	"math"
	"strings"
	"unsafe"
)

// Tensor is a dense array in row-major order. A Tensor with no dimensions is a
// scalar and holds one element. Tensors that come from files or that several
// graphs share are read-only by convention: nobody but their maker writes them.
type Tensor struct {
	dtype DType
	shape []int
	data  []byte
	strs  []string // elements when dtype is String
}

// Elem are the Go types that elements are seen as.
type Elem interface {
	float32 | float64 | Float16 | BFloat16 | bool |
		int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 |
		complex64 | complex128
}

// New returns a zeroed tensor. Its memory is 64-byte aligned from 64 bytes up.
// Dimensions must not be negative.
func New(dt DType, shape ...int) *Tensor {
	n := NumElems(shape)
	t := &Tensor{dtype: dt, shape: append([]int(nil), shape...)}
	if dt == String {
		t.strs = make([]string, n)
		return t
	}
	t.data = AlignedBytes(n * dt.Size())
	return t
}

// AlignedBytes returns n zero bytes starting at a multiple of 64.
func AlignedBytes(n int) []byte {
	if n < 64 {
		// A slice of words is 8-byte aligned, which every element type is content with.
		w := make([]uint64, (n+7)/8)
		return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(w))), len(w)*8)[:n:n]
	}
	b := make([]byte, n+63)
	off := int(-uintptr(unsafe.Pointer(&b[0])) & 63)
	return b[off : off+n : off+n]
}

// FromBytes views little-endian elements as a tensor without copying, unless data
// is not aligned for the element type: then it is copied. It returns an error when
// the length does not match.
func FromBytes(dt DType, shape []int, data []byte) (*Tensor, error) {
	n, ok := CheckedElems(shape)
	if !ok {
		return nil, fmt.Errorf("shape %v has a negative dimension or too many elements", shape)
	}
	if dt.Size() == 0 {
		return nil, fmt.Errorf("a %s tensor has no byte form", dt)
	}
	if n > math.MaxInt/16 || len(data) != n*dt.Size() {
		return nil, fmt.Errorf("%s%v needs %d bytes, got %d", dt, shape, n*dt.Size(), len(data))
	}
	t := &Tensor{dtype: dt, shape: append([]int(nil), shape...), data: data}
	if len(data) > 0 && uintptr(unsafe.Pointer(&data[0]))%uintptr(min(dt.Size(), 8)) != 0 {
		t.data = AlignedBytes(len(data))
		copy(t.data, data)
	}
	return t, nil
}

// Of wraps elements as a tensor of the given shape; the slice is not copied.
// It panics when the element count does not match the shape: a bug in the caller.
func Of[T Elem](elems []T, shape ...int) *Tensor {
	if NumElems(shape) != len(elems) {
		panic(fmt.Sprintf("tensor.Of: %d elements for shape %v", len(elems), shape))
	}
	dt := DTypeOf[T]()
	size := dt.Size()
	return &Tensor{
		dtype: dt, shape: append([]int(nil), shape...),
		data: unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(elems))), len(elems)*size),
	}
}

// Scalar is a tensor without dimensions.
func Scalar[T Elem](v T) *Tensor { return Of([]T{v}) }

// OfStrings wraps strings as a tensor; the slice is not copied.
func OfStrings(elems []string, shape ...int) *Tensor {
	if NumElems(shape) != len(elems) {
		panic(fmt.Sprintf("tensor.OfStrings: %d elements for shape %v", len(elems), shape))
	}
	return &Tensor{dtype: String, shape: append([]int(nil), shape...), strs: elems}
}

// DTypeOf is the element type that a Go type stands for.
func DTypeOf[T Elem]() DType {
	var z T
	switch any(z).(type) {
	case float32:
		return F32
	case float64:
		return F64
	case Float16:
		return F16
	case BFloat16:
		return BF16
	case bool:
		return Bool
	case int8:
		return I8
	case int16:
		return I16
	case int32:
		return I32
	case int64:
		return I64
	case uint8:
		return U8
	case uint16:
		return U16
	case uint32:
		return U32
	case uint64:
		return U64
	case complex64:
		return C64
	default:
		return C128
	}
}

// DType is the element type.
func (t *Tensor) DType() DType { return t.dtype }

// Shape is the list of dimensions; callers must not change it.
func (t *Tensor) Shape() []int { return t.shape }

// Rank is the number of dimensions.
func (t *Tensor) Rank() int { return len(t.shape) }

// Len is the number of elements.
func (t *Tensor) Len() int { return NumElems(t.shape) }

// Bytes is the memory of the elements, little-endian, nil for strings.
func (t *Tensor) Bytes() []byte { return t.data }

// Strings are the elements of a String tensor.
func (t *Tensor) Strings() []string { return t.strs }

// Data views the elements as T without copying. T must be the Go type of the
// tensor's element type; narrow storage-only types (F8*, F4, I4, U4, I2, U2) are
// seen as uint8 (int8 for I4 and I2). Anything else panics: a bug in the caller.
func Data[T Elem](t *Tensor) []T {
	want := DTypeOf[T]()
	if want != t.dtype && !narrowView(t.dtype, want) {
		panic(fmt.Sprintf("tensor.Data: %s tensor seen as %s", t.dtype, want))
	}
	if len(t.data) == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(&t.data[0])), len(t.data)/want.Size())
}

func narrowView(dt, as DType) bool {
	switch dt {
	case I4, I2:
		return as == I8
	case U4, U2:
		return as == U8
	}
	return dt.IsFloat8() && as == U8
}

// Reshape views the same elements under another shape with as many elements.
func (t *Tensor) Reshape(shape ...int) *Tensor {
	if NumElems(shape) != t.Len() {
		panic(fmt.Sprintf("tensor.Reshape: %v to %v", t.shape, shape))
	}
	return &Tensor{dtype: t.dtype, shape: append([]int(nil), shape...), data: t.data, strs: t.strs}
}

// Header is a tensor without elements, to be pointed at some by ViewOf.
func Header(dt DType, shape ...int) *Tensor {
	return &Tensor{dtype: dt, shape: append([]int(nil), shape...)}
}

// ViewOf points t at the elements of src, under t's own shape; nil lets go of them. It
// is Reshape for those who keep the tensor from use to use.
func (t *Tensor) ViewOf(src *Tensor) {
	if src == nil {
		t.data, t.strs = nil, nil
		return
	}
	if NumElems(t.shape) != src.Len() || t.dtype != src.dtype {
		panic(fmt.Sprintf("tensor.ViewOf: %s%v of %s%v", t.dtype, t.shape, src.dtype, src.shape))
	}
	t.data, t.strs = src.data, src.strs
}

// As views the same bytes as another element type of the same size.
func (t *Tensor) As(dt DType) *Tensor {
	if dt.Size() != t.dtype.Size() {
		panic(fmt.Sprintf("tensor.As: %s to %s", t.dtype, dt))
	}
	return &Tensor{dtype: dt, shape: t.shape, data: t.data}
}

// Clone copies the tensor and its elements.
func (t *Tensor) Clone() *Tensor {
	c := New(t.dtype, t.shape...)
	copy(c.data, t.data)
	copy(c.strs, t.strs)
	return c
}

// String describes the tensor without its elements: "f32[2,3]".
func (t *Tensor) String() string {
	var b strings.Builder
	b.WriteString(t.dtype.String())
	b.WriteByte('[')
	for i, d := range t.shape {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprint(&b, d)
	}
	b.WriteByte(']')
	return b.String()
}

// NumElems is the product of the dimensions, 1 for none.
func NumElems(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// CheckedElems is NumElems for shapes that come from outside: ok is false when a
// dimension is negative or the product overflows.
func CheckedElems(shape []int) (n int, ok bool) {
	n, zero := 1, false
	for _, d := range shape {
		switch {
		case d < 0:
			return 0, false
		case d == 0:
			zero = true
		case n > math.MaxInt/d:
			if !zero {
				n = -1
			}
		case n > 0:
			n *= d
		}
	}
	if zero {
		return 0, true
	}
	return n, n >= 0
}

// Strides are the row-major strides of a shape, in elements.
func Strides(shape []int) []int {
	s := make([]int, len(shape))
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		s[i] = n
		n *= shape[i]
	}
	return s
}

// Equal reports whether two tensors have the same type, shape and bits.
func Equal(a, b *Tensor) bool {
	if a.dtype != b.dtype || len(a.shape) != len(b.shape) {
		return false
	}
	for i := range a.shape {
		if a.shape[i] != b.shape[i] {
			return false
		}
	}
	for i := range a.strs {
		if a.strs[i] != b.strs[i] {
			return false
		}
	}
	return string(a.data) == string(b.data)
}
