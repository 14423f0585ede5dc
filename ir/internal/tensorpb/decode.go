// Package tensorpb turns ONNX TensorProto messages into tensors and back. It checks
// everything a hostile file could get wrong before it allocates.
package tensorpb

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/internal/onnxpb"
	"github.com/seed-c851cfd2/moec/ir/internal/wire"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// MaxRank is the most dimensions a tensor may have.
const MaxRank = 64

// Decoder holds what tensors of one file need.
type Decoder struct {
	// File are the bytes the message was scanned from: raw_data fields are Spans of
	// it. Nil when the message was unmarshalled without Scan.
	File []byte
	// External opens the data of a tensor that lies outside the file and returns
	// exactly size bytes; nil refuses such tensors.
	External func(t *onnxpb.TensorProto, size int) ([]byte, error)
	// MaxElems bounds one tensor; 0 means no bound.
	MaxElems int
}

// Decode reads t. Little-endian raw data that is aligned is viewed, not copied.
// Errors do not name the tensor; the caller knows better what to call it.
func (d *Decoder) Decode(t *onnxpb.TensorProto) (*tensor.Tensor, error) {
	if t == nil {
		return nil, fmt.Errorf("%w: no tensor", ir.ErrModel)
	}
	dt, shape, n, err := d.header(t)
	if err != nil {
		return nil, err
	}
	if t.Segment != nil {
		return nil, fmt.Errorf("%w: tensors in segments are not supported", ir.ErrModel)
	}
	if err := onlyOneForm(t, dt); err != nil {
		return nil, err
	}
	external := t.GetDataLocation() == onnxpb.TensorProto_EXTERNAL
	if dt == tensor.String {
		if external || t.RawData != nil {
			return nil, fmt.Errorf("%w: a string tensor keeps its elements in string_data only", ir.ErrModel)
		}
		return d.strings(t, shape, n)
	}
	size, ok := packedSize(dt, n)
	if !ok {
		return nil, fmt.Errorf("%w: shape %v has too many elements", ir.ErrModel, shape)
	}
	switch {
	case external:
		if d.External == nil {
			return nil, fmt.Errorf("%w: its data lies in another file, which cannot be opened here", ir.ErrModel)
		}
		raw, err := d.External(t, size)
		if err != nil {
			return nil, err
		}
		return fromRaw(dt, shape, n, raw)
	case t.RawData != nil:
		raw := t.RawData
		if d.File != nil {
			sp := wire.ParseSpan(raw)
			raw = d.File[sp.Off : sp.Off+sp.Len : sp.Off+sp.Len]
		}
		if len(raw) != size {
			return nil, fmt.Errorf("%w: raw_data has %d bytes, %s%v needs %d", ir.ErrModel, len(raw), dt, shape, size)
		}
		return fromRaw(dt, shape, n, raw)
	}
	return typed(t, dt, shape, n)
}

// header checks element type and dims.
func (d *Decoder) header(t *onnxpb.TensorProto) (dt tensor.DType, shape []int, n int, err error) {
	dt, ok := tensor.FromONNX(int(t.GetDataType()))
	if !ok {
		return 0, nil, 0, fmt.Errorf("%w: element type %d is unknown", ir.ErrModel, t.GetDataType())
	}
	shape, n, err = Shape(t.Dims, d.MaxElems)
	return dt, shape, n, err
}

// Shape checks dims from a file and counts their elements; maxElems 0 means no bound.
func Shape(dims []int64, maxElems int) (shape []int, n int, err error) {
	if len(dims) > MaxRank {
		return nil, 0, fmt.Errorf("%w: %d dims, the highest rank is %d", ir.ErrModel, len(dims), MaxRank)
	}
	shape = make([]int, len(dims))
	for i, v := range dims {
		if v < 0 || v > math.MaxInt {
			return nil, 0, fmt.Errorf("%w: dims %v are not possible", ir.ErrModel, dims)
		}
		shape[i] = int(v)
	}
	n, ok := tensor.CheckedElems(shape)
	if !ok {
		return nil, 0, fmt.Errorf("%w: dims %v overflow", ir.ErrModel, dims)
	}
	if maxElems > 0 && n > maxElems {
		return nil, 0, fmt.Errorf("%w: shape %v has more than %d elements (raise it with --max-elems)", ir.ErrLimit, shape, maxElems)
	}
	return shape, n, nil
}

// packedSize is how many bytes n elements take in a file.
func packedSize(dt tensor.DType, n int) (int, bool) {
	if n > math.MaxInt/128 {
		return 0, false
	}
	return (n*dt.Bits() + 7) / 8, true
}

// onlyOneForm refuses tensors that hold elements in more than one field, or in the
// field of another element type.
func onlyOneForm(t *onnxpb.TensorProto, dt tensor.DType) error {
	forms := []struct {
		name string
		has  bool
	}{
		{"raw_data", t.RawData != nil},
		{"float_data", len(t.FloatData) > 0},
		{"int32_data", len(t.Int32Data) > 0},
		{"string_data", len(t.StringData) > 0},
		{"int64_data", len(t.Int64Data) > 0},
		{"double_data", len(t.DoubleData) > 0},
		{"uint64_data", len(t.Uint64Data) > 0},
	}
	if t.GetDataLocation() == onnxpb.TensorProto_EXTERNAL {
		forms = append(forms, struct {
			name string
			has  bool
		}{"external data", true})
	}
	first := ""
	for _, f := range forms {
		switch {
		case !f.has:
		case first == "":
			first = f.name
		default:
			return fmt.Errorf("%w: its elements are given twice, as %s and as %s", ir.ErrModel, first, f.name)
		}
	}
	if first != "" && first != "raw_data" && first != "external data" && first != typedField(dt) {
		return fmt.Errorf("%w: a %s tensor keeps its elements in %s, not in %s", ir.ErrModel, dt, typedField(dt), first)
	}
	return nil
}

// typedField is the field that holds elements of dt one by one.
func typedField(dt tensor.DType) string {
	switch dt {
	case tensor.F32, tensor.C64:
		return "float_data"
	case tensor.F64, tensor.C128:
		return "double_data"
	case tensor.I64:
		return "int64_data"
	case tensor.U32, tensor.U64:
		return "uint64_data"
	case tensor.String:
		return "string_data"
	}
	return "int32_data"
}

// fromRaw reads packed little-endian elements.
func fromRaw(dt tensor.DType, shape []int, n int, raw []byte) (*tensor.Tensor, error) {
	switch dt.Bits() {
	case 4, 2:
		out := tensor.New(dt, shape...)
		unpack(out.Bytes()[:n], raw, dt)
		return out, nil
	}
	if dt == tensor.Bool {
		for _, b := range raw {
			if b > 1 { // Go's bool must be 0 or 1; other files mean "not zero"
				out := tensor.New(dt, shape...)
				dst := out.Bytes()
				for i, b := range raw {
					dst[i] = min(b, 1)
				}
				return out, nil
			}
		}
	}
	return tensor.FromBytes(dt, shape, raw)
}

// unpack spreads 4- or 2-bit elements, lowest bits first, to one per byte.
func unpack(dst, packed []byte, dt tensor.DType) {
	bits := dt.Bits()
	per := 8 / bits
	for i := range dst {
		v := packed[i/per] >> (i % per * bits)
		switch {
		case bits == 4 && dt.IsSigned():
			v = byte(int8(v<<4) >> 4)
		case bits == 4:
			v &= 0xf
		case dt.IsSigned():
			v = byte(int8(v<<6) >> 6)
		default:
			v &= 3
		}
		dst[i] = v
	}
}

// typed reads the elements that are listed one by one.
func typed(t *onnxpb.TensorProto, dt tensor.DType, shape []int, n int) (*tensor.Tensor, error) {
	want, have := n, 0
	switch field := typedField(dt); field {
	case "float_data":
		have = len(t.FloatData)
	case "double_data":
		have = len(t.DoubleData)
	case "int64_data":
		have = len(t.Int64Data)
	case "uint64_data":
		have = len(t.Uint64Data)
	default:
		have = len(t.Int32Data)
		if dt.Bits() < 8 {
			size, _ := packedSize(dt, n)
			want = size // each entry holds a byte of packed elements
		}
	}
	if dt == tensor.C64 || dt == tensor.C128 {
		want = 2 * n
	}
	if have != want {
		return nil, fmt.Errorf("%w: %s has %d entries, %s%v needs %d", ir.ErrModel, typedField(dt), have, dt, shape, want)
	}
	switch dt {
	case tensor.F32:
		return tensor.Of(nonNil(t.FloatData), shape...), nil
	case tensor.F64:
		return tensor.Of(nonNil(t.DoubleData), shape...), nil
	case tensor.I64:
		return tensor.Of(nonNil(t.Int64Data), shape...), nil
	case tensor.U64:
		return tensor.Of(nonNil(t.Uint64Data), shape...), nil
	case tensor.I32:
		return tensor.Of(nonNil(t.Int32Data), shape...), nil
	}
	out := tensor.New(dt, shape...)
	b := out.Bytes()
	switch {
	case dt == tensor.C64:
		for i, v := range t.FloatData {
			binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(v))
		}
	case dt == tensor.C128:
		for i, v := range t.DoubleData {
			binary.LittleEndian.PutUint64(b[8*i:], math.Float64bits(v))
		}
	case dt == tensor.U32:
		for i, v := range t.Uint64Data {
			binary.LittleEndian.PutUint32(b[4*i:], uint32(v))
		}
	case dt.Bits() < 8:
		packed := make([]byte, len(t.Int32Data))
		for i, v := range t.Int32Data {
			packed[i] = byte(v)
		}
		unpack(b[:n], packed, dt)
	case dt == tensor.Bool:
		for i, v := range t.Int32Data {
			if v != 0 {
				b[i] = 1
			}
		}
	case dt.Size() == 2:
		for i, v := range t.Int32Data {
			binary.LittleEndian.PutUint16(b[2*i:], uint16(v))
		}
	default:
		for i, v := range t.Int32Data {
			b[i] = byte(v)
		}
	}
	return out, nil
}

func nonNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

func (d *Decoder) strings(t *onnxpb.TensorProto, shape []int, n int) (*tensor.Tensor, error) {
	if len(t.StringData) != n {
		return nil, fmt.Errorf("%w: string_data has %d entries, %v needs %d", ir.ErrModel, len(t.StringData), shape, n)
	}
	out := make([]string, n)
	for i, b := range t.StringData {
		out[i] = string(b)
	}
	return tensor.OfStrings(out, shape...), nil
}
