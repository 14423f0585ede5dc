package onnx

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"reflect"

	"google.golang.org/protobuf/proto"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/internal/onnxpb"
	"github.com/seed-c851cfd2/moec/ir/internal/wire"
)

// Load reads the model called name in fsys and the external data beside it. When fsys is
// os.DirFS, nothing outside that directory is opened, symlinks included.
func Load(ctx context.Context, fsys fs.FS, name string, opts ...Options) (*ir.Graph, error) {
	o, err := pick(opts)
	if err != nil {
		return nil, err
	}
	if dir, ok := dirOf(fsys); ok {
		root, err := os.OpenRoot(dir)
		if err != nil {
			return nil, &ir.Error{File: name, Err: err}
		}
		defer root.Close()
		fsys = root.FS()
	}
	data, err := readRegular(fsys, name, !o.NoMap)
	if err != nil {
		return nil, &ir.Error{File: name, Err: err}
	}
	o.fsys, o.dir, o.file = fsys, path.Dir(name), name
	return decode(ctx, data, o)
}

// LoadFile reads the model at a path. The file itself may be a symlink to anywhere;
// external data must lie in the folder of that path.
func LoadFile(ctx context.Context, file string, opts ...Options) (*ir.Graph, error) {
	o, err := pick(opts)
	if err != nil {
		return nil, err
	}
	data, err := readPath(file, !o.NoMap)
	if err != nil {
		return nil, &ir.Error{File: file, Err: err}
	}
	root, err := os.OpenRoot(filepath.Dir(file))
	if err != nil {
		return nil, &ir.Error{File: file, Err: err}
	}
	defer root.Close()
	o.fsys, o.dir, o.file = root.FS(), ".", file
	return decode(ctx, data, o)
}

// Decode reads a model from memory. Its tensors may view data, which must not change
// afterwards. External data cannot be opened: such models need Load.
func Decode(ctx context.Context, data []byte, opts ...Options) (*ir.Graph, error) {
	o, err := pick(opts)
	if err != nil {
		return nil, err
	}
	return decode(ctx, data, o)
}

func decode(ctx context.Context, data []byte, o Options) (g *ir.Graph, err error) {
	defer func() { // the edge of the importer: a bug of ours must not end a user's program
		if p := recover(); p != nil {
			g, err = nil, &ir.Error{File: o.file, Err: fmt.Errorf("%w: a bug in moec, please report it with the model: %s", ir.ErrModel, clip(fmt.Sprint(p)))}
		}
	}()
	g, err = decodeModel(ctx, data, o)
	if err != nil {
		var e *ir.Error
		if errors.As(err, &e) && e.File != "" || o.file == "" {
			return nil, err
		}
		return nil, &ir.Error{File: o.file, Err: err}
	}
	return g, nil
}

func decodeModel(ctx context.Context, data []byte, o Options) (*ir.Graph, error) {
	o.Limits = o.Limits.filled()
	if len(data) == 0 {
		return nil, fmt.Errorf("%w: the file is empty", ir.ErrModel)
	}
	m := new(onnxpb.ModelProto)
	small, err := wire.Scan(data, m.ProtoReflect().Descriptor(), wire.Limits{
		Depth: 4*o.Limits.Depth + 16, // a subgraph is three messages deeper than its node's graph
		Bytes: o.Limits.Bytes,
	})
	if errors.Is(err, wire.ErrDepth) {
		return nil, fmt.Errorf("%w: %w (raise it with --max-depth)", ir.ErrLimit, err)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ir.ErrModel, err)
	}
	if err := proto.Unmarshal(small, m); err != nil {
		return nil, fmt.Errorf("%w: invalid protobuf: %w", ir.ErrModel, err)
	}
	return newImporter(ctx, data, m, o).run()
}

// dirOf tells the directory of an os.DirFS, which offers no way to ask: it is a string
// type inside package os. Through a directory files can be mapped and symlinks held inside.
func dirOf(fsys fs.FS) (string, bool) {
	v := reflect.ValueOf(fsys)
	if !v.IsValid() || v.Type() != reflect.TypeOf(os.DirFS(".")) {
		return "", false
	}
	return v.String(), true
}
