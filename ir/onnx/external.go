package onnx

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/internal/onnxpb"
)

// externalFiles opens the files that hold tensors outside the model, each once.
type externalFiles struct {
	fsys  fs.FS  // nil when there is none
	dir   string // the model's folder in fsys
	noMap bool
	open  map[string][]byte
}

// data returns the size bytes of t. Locations are slash-separated paths below the
// model's folder.
func (x *externalFiles) data(t *onnxpb.TensorProto, size int) ([]byte, error) {
	loc, off, length, err := externalEntry(t)
	if err != nil {
		return nil, err
	}
	if length >= 0 && length != int64(size) {
		return nil, fmt.Errorf("%w: external data: length is %d, the element type and dims need a size of %d bytes", ir.ErrModel, length, size)
	}
	if x.fsys == nil {
		return nil, fmt.Errorf("%w: external data %q cannot be opened: the model was read from memory, not from a folder", ir.ErrModel, loc)
	}
	file, err := x.file(loc)
	if err != nil {
		return nil, fmt.Errorf("%w: external data: location %s: %w", ir.ErrModel, clip(loc), err)
	}
	if off > int64(len(file)) || int64(size) > int64(len(file))-off {
		return nil, fmt.Errorf("%w: external data: offset %d and length %d go beyond the end of %s, which has a size of %d bytes", ir.ErrModel, off, size, clip(loc), len(file))
	}
	if length < 0 && off == 0 && size != len(file) {
		return nil, fmt.Errorf("%w: external data: %s has a size of %d bytes, the tensor needs %d", ir.ErrModel, clip(loc), len(file), size)
	}
	return file[off : off+int64(size) : off+int64(size)], nil
}

func externalEntry(t *onnxpb.TensorProto) (loc string, off, length int64, err error) {
	length = -1
	seen := map[string]bool{}
	for _, e := range t.ExternalData {
		k, v := e.GetKey(), e.GetValue()
		if seen[k] {
			return "", 0, 0, fmt.Errorf("%w: external data: %s is given twice", ir.ErrModel, clip(k))
		}
		seen[k] = true
		switch k {
		case "location":
			loc = v
		case "offset", "length":
			n, perr := strconv.ParseUint(v, 10, 63)
			if perr != nil {
				return "", 0, 0, fmt.Errorf("%w: external data: %s %s is not a number in range", ir.ErrModel, k, clip(v))
			}
			if k == "offset" {
				off = int64(n)
			} else {
				length = int64(n)
			}
		}
	}
	if loc == "" {
		return "", 0, 0, fmt.Errorf("%w: external data: location is missing or empty", ir.ErrModel)
	}
	return loc, off, length, nil
}

func (x *externalFiles) file(loc string) ([]byte, error) {
	name, err := cleanLocation(loc)
	if err != nil {
		return nil, err
	}
	if b, ok := x.open[name]; ok {
		return b, nil
	}
	b, err := readRegular(x.fsys, path.Join(x.dir, name), !x.noMap)
	if err != nil {
		var pe *fs.PathError
		if errors.As(err, &pe) && strings.Contains(pe.Err.Error(), "escapes") {
			return nil, fmt.Errorf("a symlink leads outside the model's folder, which is not followed; copy the file beside the model: %w", err)
		}
		return nil, err
	}
	if x.open == nil {
		x.open = map[string][]byte{}
	}
	x.open[name] = b
	return b, nil
}

// cleanLocation refuses what would leave the model's folder before any file is touched.
func cleanLocation(loc string) (string, error) {
	switch {
	case strings.ContainsRune(loc, 0):
		return "", errors.New("the path holds a NUL character")
	case strings.HasPrefix(loc, "/"), len(loc) > 1 && loc[1] == ':':
		return "", errors.New("an absolute path is not allowed, data must lie in the model's folder")
	case strings.Contains(loc, `\`):
		return "", errors.New("the path holds a backslash; ONNX separates folders by /")
	}
	name := path.Clean(loc)
	if name == ".." || strings.HasPrefix(name, "../") {
		return "", errors.New("the path leads outside the model's folder (..)")
	}
	if !fs.ValidPath(name) {
		return "", errors.New("not a valid path")
	}
	return name, nil
}

// clip quotes text from a file for an error: control characters escaped, never long.
func clip(s string) string {
	if len(s) > 80 {
		s = strings.ToValidUTF8(s[:77], "") + "..."
	}
	return strconv.Quote(s)
}
