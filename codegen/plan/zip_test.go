package plan_test

import (
	"archive/zip"
	"bytes"
	"hash/crc32"
	"io"
	"testing"
	"unsafe"
)

// entry reads one entry of a container.
func entry(t testing.TB, container []byte, name string) []byte {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(container), int64(len(container)))
	if err != nil {
		t.Fatal(err)
	}
	f, err := r.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// replaceEntry writes the container again with another text in one entry, checksums that
// fit it, and data on cache lines.
func replaceEntry(t testing.TB, container []byte, name string, text []byte) []byte {
	t.Helper()
	r, err := zip.NewReader(bytes.NewReader(container), int64(len(container)))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for _, f := range r.File {
		data := text
		if f.Name != name {
			data = entry(t, container, f.Name)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		pad := 4 + 63&-(out.Len()+34+len(f.Name))
		extra := append([]byte{0x35, 0xd9, byte(pad - 4), 0}, make([]byte, pad-4)...)
		e, err := w.CreateRaw(&zip.FileHeader{
			Name: f.Name, Method: zip.Store, Extra: extra, CRC32: crc32.ChecksumIEEE(data),
			CompressedSize64: uint64(len(data)), UncompressedSize64: uint64(len(data)),
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return onCacheLine(out.Bytes())
}

// onCacheLine copies b to where a mapped file would lie.
func onCacheLine(b []byte) []byte {
	buf := make([]byte, len(b)+64)
	for uintptr(unsafe.Pointer(&buf[0]))%64 != 0 {
		buf = buf[1:]
	}
	return buf[:copy(buf, b)]
}
