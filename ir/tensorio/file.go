package tensorio

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// ReadFile reads the tensors of a .npy, .npz, .pb or .safetensors file, told apart by
// the file's ending. Those of a .npy file have no name. maxBytes bounds the file and
// what it unpacks to; 0 means no bound.
func ReadFile(name string, maxBytes int64) ([]Named, error) {
	data, err := readAll(name, maxBytes)
	if err != nil {
		return nil, err
	}
	var list []Named
	switch ext := strings.ToLower(filepath.Ext(name)); ext {
	case ".npy":
		var a Named
		a.Tensor, err = DecodeNPY(data)
		list = []Named{a}
	case ".npz":
		list, err = DecodeNPZ(data, maxBytes)
	case ".pb":
		var a Named
		a, err = DecodePB(data)
		list = []Named{a}
	case ".safetensors":
		list, _, err = DecodeSafetensors(data)
	default:
		err = fmt.Errorf("%w: cannot tell the format of a %q file (.npy, .npz, .pb and .safetensors are read)", ErrFormat, ext)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return list, nil
}

func readAll(name string, maxBytes int64) ([]byte, error) {
	st, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() { // before opening: a pipe would block
		return nil, fmt.Errorf("%s: %w: not a regular file", name, ErrFormat)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if maxBytes <= 0 {
		maxBytes = 1<<63 - 2
	}
	if st.Size() > maxBytes {
		return nil, fmt.Errorf("%s: %w: %d bytes are more than %d (raise it with --max-bytes)", name, ErrFormat, st.Size(), maxBytes)
	}
	b := make([]byte, st.Size())
	if _, err := io.ReadFull(f, b); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: the file became shorter while it was read", ErrFormat)
		}
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return b, nil
}
