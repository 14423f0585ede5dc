package plan

import (
	"archive/zip"
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/edsrzf/mmap-go"

	"github.com/seed-c851cfd2/moec/ir"
)

// ErrFormat is the kind of error for a file that is not a sound .moec.
var ErrFormat = errors.New("not a sound .moec file")

// align is where every entry's data starts: a cache line, and the width of the widest
// vector load.
const align = 64

// Names of the container's entries.
const (
	entryManifest = "manifest.json"
	entryPlan     = "plan.txt"
	entryProgram  = "program.json"
	entryWeights  = "weights.safetensors"
	entryReceipts = "receipts.json"
	kernelDir     = "kernels/"
)

// Manifest is the first entry of a container.
type Manifest struct {
	Format   int               `json:"format"`
	Producer string            `json:"producer"`
	Source   Source            `json:"source"`
	Target   Target            `json:"target"`
	Recipe   string            `json:"recipe,omitempty"`
	SHA256   map[string]string `json:"sha256"` // of every other entry
}

// Write writes the container. The same program gives the same bytes on any machine.
func Write(w io.Writer, p *Program) error {
	prog, consts, err := encodeProgram(p)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := Print(&text, p); err != nil {
		return err
	}
	type entry struct {
		name  string
		write func(io.Writer) error
	}
	raw := func(b []byte) func(io.Writer) error {
		return func(w io.Writer) error { _, err := w.Write(b); return err }
	}
	entries := []entry{
		{entryPlan, raw(text.Bytes())},
		{entryProgram, raw(prog)},
		{entryWeights, func(w io.Writer) error { return writeWeights(w, consts) }},
	}
	for _, m := range p.Modules {
		entries = append(entries, entry{kernelDir + m.Name + ".ptx", raw([]byte(m.Text))})
	}
	if len(p.Receipts) > 0 {
		entries = append(entries, entry{entryReceipts, raw(p.Receipts)})
	}
	man := Manifest{
		Format: FormatVersion, Producer: p.Producer, Source: p.Source, Target: p.Target, Recipe: p.Recipe,
		SHA256: map[string]string{},
	}
	sums := make([]sum, len(entries))
	for i, e := range entries {
		h, c := sha256.New(), crc32.NewIEEE()
		n := &counter{w: io.MultiWriter(h, c)}
		if err := e.write(n); err != nil {
			return err
		}
		man.SHA256[e.name] = hex.EncodeToString(h.Sum(nil))
		sums[i] = sum{crc: c.Sum32(), size: n.n}
	}
	mb, err := json.MarshalIndent(man, "", " ")
	if err != nil {
		return err
	}
	out := &counter{w: w}
	zw := zip.NewWriter(out)
	if err := addEntry(zw, out, entryManifest, sum{crc32.ChecksumIEEE(mb), int64(len(mb))}, raw(mb)); err != nil {
		return err
	}
	for i, e := range entries {
		if err := addEntry(zw, out, e.name, sums[i], e.write); err != nil {
			return err
		}
	}
	return zw.Close()
}

type sum struct {
	crc  uint32
	size int64
}

// addEntry stores one entry so that its data starts at a multiple of align: the local
// header gets an extra field of the missing length (id 0xd935, the one zipalign uses).
func addEntry(zw *zip.Writer, out *counter, name string, s sum, write func(io.Writer) error) error {
	if err := zw.Flush(); err != nil {
		return err
	}
	pad := int(-(out.n + 30 + int64(len(name))) & (align - 1))
	if pad < 4 {
		pad += align
	}
	extra := make([]byte, pad)
	extra[0], extra[1] = 0x35, 0xd9
	extra[2], extra[3] = byte(pad-4), byte((pad-4)>>8)
	w, err := zw.CreateRaw(&zip.FileHeader{
		Name: name, Method: zip.Store, Extra: extra, CRC32: s.crc,
		CompressedSize64: uint64(s.size), UncompressedSize64: uint64(s.size),
	})
	if err != nil {
		return err
	}
	return write(w)
}

type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

// Save writes the container to a temporary file beside path and renames it, so that no
// half-written artifact is ever seen.
func Save(path string, p *Program) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	if err := Write(w, p); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// Open maps a container into memory and checks it: version, sizes, checksums and every
// index in the program. ops gives steps their meaning. Constants stay views of the
// mapping until Close.
func Open(path string, ops ir.OpSet) (*Program, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.Size() == 0 {
		return nil, fmt.Errorf("%s: %w: the file is empty", path, ErrFormat)
	}
	m, err := mmap.Map(f, mmap.RDONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("%s: cannot map: %w", path, err)
	}
	p, err := Decode(m, ops)
	if err != nil {
		m.Unmap()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	p.close = m.Unmap
	return p, nil
}

// Decode reads a container from memory, which must stay unchanged while the program is
// in use: constants are views of it. Packed weights want it to begin at a multiple of 64
// bytes, as mapped files do; a Session says so where it does not.
func Decode(data []byte, ops ir.OpSet) (*Program, error) {
	zr, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	files := map[string][]byte{}
	var names []string
	for _, f := range zr.File {
		b, err := stored(data, f)
		if err != nil {
			return nil, err
		}
		if _, dup := files[f.Name]; dup {
			return nil, fmt.Errorf("%w: two entries are named %q", ErrFormat, f.Name)
		}
		files[f.Name] = b
		names = append(names, f.Name)
	}
	var man Manifest
	if err := json.Unmarshal(files[entryManifest], &man); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrFormat, entryManifest, err)
	}
	if man.Format < 1 || man.Format > FormatVersion {
		return nil, fmt.Errorf("%w: format %d; this moec reads formats 1 to %d: compile the model again", ErrFormat, man.Format, FormatVersion)
	}
	p := &Program{Producer: man.Producer, Source: man.Source, Target: man.Target, Recipe: man.Recipe, Receipts: files[entryReceipts]}
	for _, n := range names {
		if base, ok := strings.CutPrefix(n, kernelDir); ok {
			p.Modules = append(p.Modules, Module{strings.TrimSuffix(base, ".ptx"), string(files[n])})
		}
	}
	if err := decodeProgram(p, files[entryProgram], files[entryWeights], ops); err != nil {
		return nil, err
	}
	return p, nil
}

// stored gives an entry's bytes in place, after checking size and CRC-32.
func stored(data []byte, f *zip.File) ([]byte, error) {
	off, err := f.DataOffset()
	if err != nil {
		return nil, fmt.Errorf("%w: entry %q: %w", ErrFormat, f.Name, err)
	}
	n := f.UncompressedSize64
	if f.Method != zip.Store || f.CompressedSize64 != n || off < 0 || uint64(off) > uint64(len(data)) || n > uint64(len(data))-uint64(off) {
		return nil, fmt.Errorf("%w: entry %q is not stored whole", ErrFormat, f.Name)
	}
	b := data[off : uint64(off)+n : uint64(off)+n]
	if crc32.ChecksumIEEE(b) != f.CRC32 {
		return nil, fmt.Errorf("%w: entry %q is damaged (its checksum does not match)", ErrFormat, f.Name)
	}
	return b, nil
}

// VerifyFile recomputes the SHA-256 of every entry of a container and compares it with
// the manifest's.
func VerifyFile(path string) error {
	zr, err := zip.OpenReader(path)
	if err != nil {
		return fmt.Errorf("%s: %w: %w", path, ErrFormat, err)
	}
	defer zr.Close()
	var man Manifest
	got := map[string]string{}
	for _, f := range zr.File {
		r, err := f.Open()
		if err != nil {
			return fmt.Errorf("%s: %w: %w", path, ErrFormat, err)
		}
		h := sha256.New()
		var keep bytes.Buffer
		w := io.Writer(h)
		if f.Name == entryManifest {
			w = &keep
		}
		_, err = io.Copy(w, r)
		r.Close()
		if err != nil {
			return fmt.Errorf("%s: %w: entry %q: %w", path, ErrFormat, f.Name, err)
		}
		if f.Name == entryManifest {
			if err := json.Unmarshal(keep.Bytes(), &man); err != nil {
				return fmt.Errorf("%s: %w: %w", path, ErrFormat, err)
			}
			continue
		}
		got[f.Name] = hex.EncodeToString(h.Sum(nil))
	}
	if man.Format == 0 {
		return fmt.Errorf("%s: %w: no %s", path, ErrFormat, entryManifest)
	}
	for name, want := range man.SHA256 {
		if got[name] != want {
			return fmt.Errorf("%s: %w: entry %q does not have the SHA-256 that the manifest gives", path, ErrFormat, name)
		}
	}
	if len(got) != len(man.SHA256) {
		return fmt.Errorf("%s: %w: entries that the manifest does not list", path, ErrFormat)
	}
	return nil
}
