package tensorio

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// A .safetensors file is an 8-byte little-endian header length, a JSON header that names
// each tensor's type, shape and place, and the data: packed, without gaps.

// maxHeader is the header size the format allows.
const maxHeader = 100_000_000

var safetensorsTypes = map[string]tensor.DType{
	"BOOL": tensor.Bool, "U8": tensor.U8, "I8": tensor.I8, "I16": tensor.I16, "U16": tensor.U16,
	"F16": tensor.F16, "BF16": tensor.BF16, "I32": tensor.I32, "U32": tensor.U32, "F32": tensor.F32,
	"F64": tensor.F64, "I64": tensor.I64, "U64": tensor.U64, "C64": tensor.C64,
	"F8_E4M3": tensor.F8E4M3FN, "F8_E4M3FNUZ": tensor.F8E4M3FNUZ, "F8_E5M2": tensor.F8E5M2,
	"F8_E5M2FNUZ": tensor.F8E5M2FNUZ, "F8_E8M0": tensor.F8E8M0,
}

type safetensorsEntry struct {
	DType   string   `json:"dtype"`
	Shape   []uint64 `json:"shape"`
	Offsets []uint64 `json:"data_offsets"`
}

// DecodeSafetensors reads all tensors of a .safetensors file, sorted by name, and its
// metadata. Tensors view data where they are aligned.
func DecodeSafetensors(data []byte) (list []Named, metadata map[string]string, err error) {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: safetensors: %s", ErrFormat, fmt.Sprintf(format, args...))
	}
	if len(data) < 8 {
		return nil, nil, bad("%d bytes are too few", len(data))
	}
	size := binary.LittleEndian.Uint64(data)
	if size > maxHeader || size > uint64(len(data)-8) {
		return nil, nil, bad("header length %d is not possible in a file of %d bytes", size, len(data))
	}
	head, body := data[8:8+size], data[8+size:]
	if len(head) == 0 || head[0] != '{' {
		return nil, nil, bad("the header is not a JSON object")
	}
	raw, err := objectEntries(head)
	if err != nil {
		return nil, nil, bad("header: %v", err)
	}
	type place struct{ from, to uint64 }
	var places []place
	for _, e := range raw {
		if e.name == "__metadata__" {
			if err := json.Unmarshal(e.value, &metadata); err != nil {
				return nil, nil, bad("metadata: %v", err)
			}
			continue
		}
		var s safetensorsEntry
		if err := json.Unmarshal(e.value, &s); err != nil {
			return nil, nil, bad("tensor %q: %v", short(e.name), err)
		}
		t, err := s.tensor(body)
		if err != nil {
			return nil, nil, bad("tensor %q: %v", short(e.name), err)
		}
		list = append(list, Named{e.name, t})
		places = append(places, place{s.Offsets[0], s.Offsets[1]})
	}
	slices.SortFunc(places, func(a, b place) int {
		if a.from != b.from {
			return cmp.Compare(a.from, b.from)
		}
		return cmp.Compare(a.to, b.to)
	})
	at := uint64(0)
	for _, p := range places {
		if p.from != at {
			return nil, nil, bad("tensors overlap or leave a gap at byte %d", at)
		}
		at = p.to
	}
	if at != uint64(len(body)) {
		return nil, nil, bad("%d bytes of data, the tensors take %d", len(body), at)
	}
	slices.SortFunc(list, func(a, b Named) int { return cmp.Compare(a.Name, b.Name) })
	return list, metadata, nil
}

func (s *safetensorsEntry) tensor(body []byte) (*tensor.Tensor, error) {
	dt, ok := safetensorsTypes[s.DType]
	if !ok {
		return nil, fmt.Errorf("element type %q is not supported", short(s.DType))
	}
	if len(s.Offsets) != 2 || s.Offsets[0] > s.Offsets[1] || s.Offsets[1] > uint64(len(body)) {
		return nil, fmt.Errorf("data_offsets %v are not possible in %d bytes", s.Offsets, len(body))
	}
	if len(s.Shape) > maxRank {
		return nil, fmt.Errorf("rank %d is too high", len(s.Shape))
	}
	shape := make([]int, len(s.Shape))
	for i, d := range s.Shape {
		if d > math.MaxInt {
			return nil, fmt.Errorf("shape %v is not possible", s.Shape)
		}
		shape[i] = int(d)
	}
	b := body[s.Offsets[0]:s.Offsets[1]:s.Offsets[1]]
	if dt == tensor.Bool {
		b = zeroOne(b)
	}
	return tensor.FromBytes(dt, shape, b)
}

type jsonEntry struct {
	name  string
	value json.RawMessage
}

// objectEntries splits a JSON object, refusing keys given twice.
func objectEntries(b []byte) ([]jsonEntry, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	var out []jsonEntry
	seen := map[string]bool{}
	for d.More() {
		k, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := k.(string)
		if seen[name] {
			return nil, fmt.Errorf("%q is given twice", short(name))
		}
		seen[name] = true
		e := jsonEntry{name: name}
		if err := d.Decode(&e.value); err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	if len(bytes.TrimSpace(b[d.InputOffset():])) > 0 {
		return nil, fmt.Errorf("text after the object")
	}
	return out, nil
}

// WriteSafetensors writes tensors and metadata, data in the order of falling element
// size and then name, so that every tensor is aligned.
func WriteSafetensors(w io.Writer, list []Named, metadata map[string]string) error {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b Named) int {
		if d := b.Tensor.DType().Size() - a.Tensor.DType().Size(); d != 0 {
			return d
		}
		return cmp.Compare(a.Name, b.Name)
	})
	names := map[tensor.DType]string{}
	for name, dt := range safetensorsTypes {
		names[dt] = name
	}
	head := map[string]any{}
	if len(metadata) > 0 {
		head["__metadata__"] = metadata
	}
	at := uint64(0)
	for _, a := range list {
		name := names[a.Tensor.DType()]
		if name == "" {
			return fmt.Errorf("tensor %q: safetensors has no %s", short(a.Name), a.Tensor.DType())
		}
		if _, dup := head[a.Name]; dup || a.Name == "__metadata__" {
			return fmt.Errorf("two tensors are named %q", short(a.Name))
		}
		e := safetensorsEntry{DType: name, Shape: make([]uint64, a.Tensor.Rank())}
		for i, d := range a.Tensor.Shape() {
			e.Shape[i] = uint64(d)
		}
		next := at + uint64(len(a.Tensor.Bytes()))
		e.Offsets = []uint64{at, next}
		at = next
		head[a.Name] = e
	}
	b, err := json.Marshal(head)
	if err != nil {
		return err
	}
	for len(b)%8 != 0 {
		b = append(b, ' ')
	}
	if _, err := w.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(b)))); err != nil {
		return err
	}
	if _, err := w.Write(b); err != nil {
		return err
	}
	for _, a := range list {
		if _, err := w.Write(a.Tensor.Bytes()); err != nil {
			return err
		}
	}
	return nil
}
