package onnx

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/edsrzf/mmap-go"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// mapFrom is the size from which a file is mapped: below it, reading is as fast and
// leaves no mapping behind.
const mapFrom = 1 << 20

// readPath reads or maps a file of the operating system, following symlinks.
func readPath(name string, mayMap bool) ([]byte, error) {
	st, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if err := regular(st); err != nil { // before opening: a pipe would block
		return nil, err
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return contents(f, mayMap)
}

// readRegular reads or maps a file of fsys.
func readRegular(fsys fs.FS, name string, mayMap bool) ([]byte, error) {
	st, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, err
	}
	if err := regular(st); err != nil {
		return nil, err
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return contents(f, mayMap)
}

func regular(st fs.FileInfo) error {
	kind := ""
	switch m := st.Mode(); {
	case m.IsRegular():
		return nil
	case m.IsDir():
		kind = "a directory"
	case m&fs.ModeNamedPipe != 0:
		kind = "a pipe (fifo)"
	case m&fs.ModeDevice != 0:
		kind = "a device"
	default:
		kind = "a special file"
	}
	return fmt.Errorf("%w: not a regular file but %s", ir.ErrModel, kind)
}

// contents maps f when it is a large file of the operating system and reads it
// otherwise. A mapping is never undone: tensors view it.
func contents(f fs.File, mayMap bool) ([]byte, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := regular(st); err != nil { // again, now on what was opened
		return nil, err
	}
	size := st.Size()
	if size != int64(int(size)) {
		return nil, fmt.Errorf("%w: a file of %d bytes cannot be addressed", ir.ErrModel, size)
	}
	if of, ok := f.(*os.File); ok && mayMap && size >= mapFrom {
		m, err := mmap.Map(of, mmap.RDONLY, 0)
		if err == nil {
			return m, nil
		}
	}
	if size > maxRead {
		return nil, fmt.Errorf("%w: a file of %d bytes cannot be mapped and is too large to read into memory", ir.ErrLimit, size)
	}
	b := tensor.AlignedBytes(int(size))
	if _, err := io.ReadFull(f, b); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: the file became shorter while it was read", ir.ErrModel)
		}
		return nil, err
	}
	return b, nil
}

// maxRead bounds what is read into memory when a file system cannot map.
const maxRead = 16 << 30
