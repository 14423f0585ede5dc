package onnx

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/internal/onnxpb"
	"github.com/seed-c851cfd2/moec/ir/internal/tensorpb"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// sparse reads a sparse tensor as a dense one. Indices are positions in the flattened
// tensor, or rows of coordinates, ascending.
func (im *importer) sparse(t *onnxpb.SparseTensorProto) (*tensor.Tensor, error) {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: sparse tensor: %s", ir.ErrModel, fmt.Sprintf(format, args...))
	}
	if t == nil || t.Values == nil || t.Indices == nil {
		return nil, bad("values or indices are missing")
	}
	shape, n, err := tensorpb.Shape(t.Dims, im.opt.Limits.Elems)
	if err != nil {
		return nil, fmt.Errorf("sparse tensor: %w", err)
	}
	values, err := im.tensors.Decode(t.Values)
	if err != nil {
		return nil, fmt.Errorf("sparse tensor values: %w", err)
	}
	indices, err := im.tensors.Decode(t.Indices)
	if err != nil {
		return nil, fmt.Errorf("sparse tensor indices: %w", err)
	}
	if values.Rank() != 1 {
		return nil, bad("values have rank %d, want 1", values.Rank())
	}
	if indices.DType() != tensor.I64 {
		return nil, bad("indices are %s, want i64", indices.DType())
	}
	nnz := values.Len()
	rows := indices.Rank() == 2
	if indices.Rank() != 1 && !rows || indices.Shape()[0] != nnz || rows && indices.Shape()[1] != len(shape) {
		return nil, bad("%d values, but indices of shape %v", nnz, indices.Shape())
	}
	size := values.DType().Size()
	if size == 0 {
		return nil, bad("element type %s", values.DType())
	}
	if n > im.opt.Limits.Bytes/size {
		return nil, fmt.Errorf("%w: sparse tensor of dims %v takes more than %d bytes when filled in (raise it with --max-bytes)", ir.ErrLimit, shape, im.opt.Limits.Bytes)
	}
	// A few values must not blow up into gigabytes of zeros.
	if limit := sparseRoom; n*size > limit && n/limit > nnz {
		return nil, fmt.Errorf("%w: sparse tensor of dims %v holds only %d values", ir.ErrLimit, shape, nnz)
	}
	ix := tensor.Data[int64](indices)
	strides := tensor.Strides(shape)
	out := tensor.New(values.DType(), shape...)
	src, dst := values.Bytes(), out.Bytes()
	last := int64(-1)
	for i := range nnz {
		at := int64(0)
		if rows {
			for d, v := range ix[i*len(shape) : (i+1)*len(shape)] {
				if v < 0 || v >= int64(shape[d]) {
					return nil, bad("index %d is out of range for dims %v", v, shape)
				}
				at += v * int64(strides[d])
			}
		} else if at = ix[i]; at < 0 || at >= int64(n) {
			return nil, bad("index %d is out of range for dims %v", at, shape)
		}
		if at <= last {
			return nil, bad("indices do not ascend at entry %d", i)
		}
		last = at
		copy(dst[int(at)*size:], src[i*size:(i+1)*size])
	}
	return out, nil
}

// sparseRoom is the size up to which any sparse tensor is filled in.
const sparseRoom = 128 << 20
