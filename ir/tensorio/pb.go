package tensorio

import (
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"

	"github.com/seed-c851cfd2/moec/ir/internal/onnxpb"
	"github.com/seed-c851cfd2/moec/ir/internal/tensorpb"
	"github.com/seed-c851cfd2/moec/ir/internal/wire"
)

// DecodePB reads an ONNX TensorProto. Raw data that is aligned is viewed, not copied.
func DecodePB(data []byte) (Named, error) {
	p := new(onnxpb.TensorProto)
	small, err := wire.Scan(data, p.ProtoReflect().Descriptor(), wire.Limits{Depth: 8, Bytes: len(data) + 1<<20})
	if err != nil {
		return Named{}, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if err := proto.Unmarshal(small, p); err != nil {
		return Named{}, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	t, err := (&tensorpb.Decoder{File: data}).Decode(p)
	if err != nil {
		return Named{}, fmt.Errorf("%w: TensorProto: %w", ErrFormat, err)
	}
	return Named{p.GetName(), t}, nil
}

// WritePB writes a tensor as an ONNX TensorProto.
func WritePB(w io.Writer, a Named) error {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(tensorpb.Encode(a.Name, a.Tensor))
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}
