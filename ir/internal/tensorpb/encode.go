package tensorpb

import (
	"strconv"

	"github.com/seed-c851cfd2/moec/ir/internal/onnxpb"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Encode makes the message for a tensor, its elements as raw_data (strings as
// string_data). The bytes are shared with the tensor where files need no packing.
func Encode(name string, t *tensor.Tensor) *onnxpb.TensorProto {
	p := Header(name, t)
	if t.DType() == tensor.String {
		for _, s := range t.Strings() {
			p.StringData = append(p.StringData, []byte(s))
		}
		return p
	}
	p.RawData = Raw(t)
	return p
}

// Header is Encode without the elements.
func Header(name string, t *tensor.Tensor) *onnxpb.TensorProto {
	dt := int32(t.DType().ONNX())
	p := &onnxpb.TensorProto{DataType: &dt}
	if name != "" {
		p.Name = &name
	}
	for _, d := range t.Shape() {
		p.Dims = append(p.Dims, int64(d))
	}
	return p
}

// Raw are the elements as files hold them: little-endian, narrow types packed.
func Raw(t *tensor.Tensor) []byte {
	b := t.Bytes()
	if b == nil {
		b = []byte{}
	}
	bits := t.DType().Bits()
	if bits >= 8 || bits == 0 {
		return b
	}
	per := 8 / bits
	out := make([]byte, (len(b)+per-1)/per)
	mask := byte(1<<bits - 1)
	for i, v := range b {
		out[i/per] |= v & mask << (i % per * bits)
	}
	return out
}

// SetExternal says that the elements of p lie in another file.
func SetExternal(p *onnxpb.TensorProto, location string, offset, length int64) {
	p.RawData = nil
	p.DataLocation = onnxpb.TensorProto_EXTERNAL.Enum()
	p.ExternalData = nil
	for _, kv := range [][2]string{{"location", location}, {"offset", strconv.FormatInt(offset, 10)}, {"length", strconv.FormatInt(length, 10)}} {
		p.ExternalData = append(p.ExternalData, &onnxpb.StringStringEntryProto{Key: &kv[0], Value: &kv[1]})
	}
}
