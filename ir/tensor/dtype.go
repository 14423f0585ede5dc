// Package tensor holds the values that flow through a graph: an element type,
// a shape, and the elements in row-major order.
//
// A Tensor's memory is plain bytes, so weights can be views of a mapped file;
// Data gives a typed slice over those bytes without copying.
package tensor

import "fmt"

// DType is an element type.
type DType uint8

// The element types of ONNX. Types narrower than a byte (I4, U4, I2, U2, F4E2M1)
// are kept one element per byte in memory; files pack them.
const (
	Invalid DType = iota
	F32
	F64
	F16
	BF16
	Bool
	I8
	I16
	I32
	I64
	U8
	U16
	U32
	U64
	String
	C64
	C128
	F8E4M3FN
	F8E4M3FNUZ
	F8E5M2
	F8E5M2FNUZ
	F8E8M0
	F4E2M1
	I4
	U4
	I2
	U2
	numDTypes
)

// dtypeInfo is one row of the table of element types.
type dtypeInfo struct {
	name string
	size int // bytes per element in memory; 0 for String
	bits int // bits per element in packed files
	onnx int // TensorProto.DataType
}

var dtypes = [numDTypes]dtypeInfo{
	Invalid:    {"invalid", 0, 0, 0},
	F32:        {"f32", 4, 32, 1},
	F64:        {"f64", 8, 64, 11},
	F16:        {"f16", 2, 16, 10},
	BF16:       {"bf16", 2, 16, 16},
	Bool:       {"bool", 1, 8, 9},
	I8:         {"i8", 1, 8, 3},
	I16:        {"i16", 2, 16, 5},
	I32:        {"i32", 4, 32, 6},
	I64:        {"i64", 8, 64, 7},
	U8:         {"u8", 1, 8, 2},
	U16:        {"u16", 2, 16, 4},
	U32:        {"u32", 4, 32, 12},
	U64:        {"u64", 8, 64, 13},
	String:     {"string", 0, 0, 8},
	C64:        {"c64", 8, 64, 14},
	C128:       {"c128", 16, 128, 15},
	F8E4M3FN:   {"f8e4m3fn", 1, 8, 17},
	F8E4M3FNUZ: {"f8e4m3fnuz", 1, 8, 18},
	F8E5M2:     {"f8e5m2", 1, 8, 19},
	F8E5M2FNUZ: {"f8e5m2fnuz", 1, 8, 20},
	F8E8M0:     {"f8e8m0", 1, 8, 24},
	F4E2M1:     {"f4e2m1", 1, 4, 23},
	I4:         {"i4", 1, 4, 22},
	U4:         {"u4", 1, 4, 21},
	I2:         {"i2", 1, 2, 26},
	U2:         {"u2", 1, 2, 25},
}

// Size is the number of bytes an element takes in memory, 0 for String and Invalid.
func (d DType) Size() int {
	if d >= numDTypes {
		return 0
	}
	return dtypes[d].size
}

// Bits is the number of bits an element takes in a packed file.
func (d DType) Bits() int {
	if d >= numDTypes {
		return 0
	}
	return dtypes[d].bits
}

// ONNX is the type's number in onnx.TensorProto.DataType, 0 when there is none.
func (d DType) ONNX() int {
	if d >= numDTypes {
		return 0
	}
	return dtypes[d].onnx
}

// String is the short name used in the text form of graphs and plans: "f32", "i64".
func (d DType) String() string {
	if d >= numDTypes {
		return fmt.Sprintf("dtype(%d)", uint8(d))
	}
	return dtypes[d].name
}

// ParseDType is the inverse of String; ok is false for an unknown name.
func ParseDType(s string) (d DType, ok bool) {
	for d := F32; d < numDTypes; d++ {
		if dtypes[d].name == s {
			return d, true
		}
	}
	return Invalid, false
}

// FromONNX maps a TensorProto.DataType number; ok is false for an unknown one.
func FromONNX(n int) (d DType, ok bool) {
	for d := F32; d < numDTypes; d++ {
		if dtypes[d].onnx == n {
			return d, true
		}
	}
	return Invalid, false
}

// IsFloat reports whether d is F16, BF16, F32 or F64, the types arithmetic is done in.
func (d DType) IsFloat() bool { return d == F32 || d == F64 || d == F16 || d == BF16 }

// IsFloat8 reports whether d is one of the storage-only 8- and 4-bit float types.
func (d DType) IsFloat8() bool { return d >= F8E4M3FN && d <= F4E2M1 }

// IsInt reports whether d is an integer type, 4- and 2-bit ones included.
func (d DType) IsInt() bool { return d >= I8 && d <= U64 || d >= I4 && d <= U2 }

// IsSigned reports whether d is a signed integer type.
func (d DType) IsSigned() bool { return d >= I8 && d <= I64 || d == I4 || d == I2 }
