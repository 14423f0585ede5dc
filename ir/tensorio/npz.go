package tensorio

import (
	"archive/zip"
	"bytes"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Named is a tensor with its name.
type Named struct {
	Name   string
	Tensor *tensor.Tensor
}

// DecodeNPZ reads all arrays of a .npz file in the file's order. maxBytes bounds what
// they take in memory together; 0 means no bound.
func DecodeNPZ(data []byte, maxBytes int64) ([]Named, error) {
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("%w: npz: %w", ErrFormat, err)
	}
	if maxBytes <= 0 {
		maxBytes = math.MaxInt64
	}
	var out []Named
	seen := map[string]bool{}
	for _, f := range z.File {
		name, isArray := strings.CutSuffix(f.Name, ".npy")
		if !isArray {
			continue
		}
		if seen[name] {
			return nil, fmt.Errorf("%w: npz holds two arrays named %q", ErrFormat, short(name))
		}
		seen[name] = true
		t, err := npzEntry(f, &maxBytes)
		if err != nil {
			return nil, fmt.Errorf("npz array %q: %w", short(name), err)
		}
		out = append(out, Named{name, t})
	}
	return out, nil
}

// npzEntry unpacks one array. The size that the archive declares is not believed: memory
// grows with what really comes out.
func npzEntry(f *zip.File, budget *int64) (*tensor.Tensor, error) {
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	defer r.Close()
	var b bytes.Buffer
	b.Grow(int(min(f.UncompressedSize64, 1<<20)))
	limit := *budget
	if limit < math.MaxInt64 {
		limit++
	}
	n, err := io.Copy(&b, io.LimitReader(r, limit))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if n > *budget {
		return nil, fmt.Errorf("%w: unpacks to more bytes than allowed (raise it with --max-bytes)", ErrFormat)
	}
	*budget -= n
	return DecodeNPY(b.Bytes())
}

// WriteNPZ writes arrays under their exact names, whatever characters those hold,
// uncompressed, as numpy.savez does. The same arrays give the same bytes.
func WriteNPZ(w io.Writer, list []Named) error {
	z := zip.NewWriter(w)
	for i, a := range list {
		if slices.ContainsFunc(list[:i], func(b Named) bool { return b.Name == a.Name }) {
			return fmt.Errorf("two arrays are named %q", short(a.Name))
		}
		e, err := z.CreateHeader(&zip.FileHeader{Name: a.Name + ".npy", Method: zip.Store})
		if err != nil {
			return err
		}
		if err := WriteNPY(e, a.Tensor); err != nil {
			return fmt.Errorf("array %q: %w", short(a.Name), err)
		}
	}
	return z.Close()
}
