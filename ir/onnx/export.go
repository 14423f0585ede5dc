package onnx

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/proto"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/internal/onnxpb"
	"github.com/seed-c851cfd2/moec/ir/internal/tensorpb"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// ExportOptions tune writing a model. The zero value is good.
type ExportOptions struct {
	// Opset is the version of ONNX's operator set to write. 0 picks the lowest that says
	// what the graph says, 18 at least.
	Opset int
	// Body spells out, inside g, a node whose op is not of a standard domain, as
	// ir.Op.Expand does; nil uses Op.Expand. Each such op leaves as a model-local
	// function, which import recognises again.
	Body func(g *ir.Graph, n *ir.Node) ([]*ir.Value, error)
	// External makes Save write weights into a second file, NAME.data, whatever their
	// size. They go there in any case above 1 GiB.
	External bool
	// Producer names the program in the file; "moec" by default.
	Producer string
}

// externalFrom is the size of weights from which they go into a file of their own:
// protobuf messages end at 2 GiB.
const externalFrom = 1 << 30

// Encode writes g as the bytes of an ONNX model.
func Encode(ctx context.Context, g *ir.Graph, opt ExportOptions) ([]byte, error) {
	m, ex, err := encodeModel(ctx, g, opt)
	if err != nil {
		return nil, err
	}
	if ex.weightBytes() > externalFrom {
		return nil, fmt.Errorf("%w: %d bytes of weights do not fit in one ONNX file; use Save, which writes them to a second one", ir.ErrLimit, ex.weightBytes())
	}
	for _, w := range ex.weights {
		w.proto.RawData = tensorpb.Raw(w.tensor)
	}
	return proto.MarshalOptions{Deterministic: true}.Marshal(m)
}

// Save writes g to a file, and its weights to NAME.data beside it when they are large.
// The files appear complete or not at all.
func Save(ctx context.Context, g *ir.Graph, name string, opt ExportOptions) error {
	m, ex, err := encodeModel(ctx, g, opt)
	if err != nil {
		return err
	}
	if !opt.External && ex.weightBytes() <= externalFrom {
		for _, w := range ex.weights {
			w.proto.RawData = tensorpb.Raw(w.tensor)
		}
		return writeModel(name, m)
	}
	data := filepath.Base(name) + ".data"
	path := filepath.Join(filepath.Dir(name), data)
	err = writeFile(path, func(f *os.File) error {
		at := int64(0)
		for _, w := range ex.weights {
			if err := ctx.Err(); err != nil {
				return err
			}
			pad := -at & 63 // so that a mapping can be viewed in place
			raw := tensorpb.Raw(w.tensor)
			if _, err := f.Write(make([]byte, pad)); err != nil {
				return err
			}
			if _, err := f.Write(raw); err != nil {
				return err
			}
			tensorpb.SetExternal(w.proto, data, at+pad, int64(len(raw)))
			at += pad + int64(len(raw))
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := writeModel(name, m); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

func writeModel(name string, m *onnxpb.ModelProto) error {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return err
	}
	return writeFile(name, func(f *os.File) error {
		_, err := f.Write(b)
		return err
	})
}

// writeFile fills a temporary file and renames it to name.
func writeFile(name string, fill func(*os.File) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if err := fill(f); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Chmod(0o644); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

// weight is an initializer whose bytes are not placed yet.
type weight struct {
	proto  *onnxpb.TensorProto
	tensor *tensor.Tensor
}

func (ex *exporter) weightBytes() int64 {
	n := int64(0)
	for _, w := range ex.weights {
		n += int64(len(w.tensor.Bytes()))
	}
	return n
}

func encodeModel(ctx context.Context, g *ir.Graph, opt ExportOptions) (*onnxpb.ModelProto, *exporter, error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	ex := &exporter{ctx: ctx, ops: g.Ops, opt: opt, opset: minExport, domains: map[string]bool{}, funcs: map[string][]*exportedFunc{}}
	gp, err := ex.mainGraph(g)
	if len(ex.missing) > 0 {
		err = joined(ex.missing)
	}
	if err != nil {
		return nil, nil, err
	}
	if opt.Opset != 0 {
		if opt.Opset < ex.opset {
			return nil, nil, fmt.Errorf("%w: the graph needs opset %d (for %s), %d was asked for", ir.ErrUnsupportedOp, ex.opset, ex.opsetFor, opt.Opset)
		}
		ex.opset = opt.Opset
	}
	producer := opt.Producer
	if producer == "" {
		producer = "moec"
	}
	m := &onnxpb.ModelProto{
		IrVersion: ptr(ex.irVersion()), ProducerName: &producer, Graph: gp,
		OpsetImport: ex.opsets(ex.domains), Functions: ex.functions(),
	}
	return m, ex, nil
}

func ptr[T any](v T) *T { return &v }
