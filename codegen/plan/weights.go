package plan

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// weights.safetensors: an 8-byte header length, a JSON header, then the tensors
// without gaps. Tensors whose size is a multiple of align come first, the others by
// falling element size, and the header is padded, so that every tensor starts aligned
// for its elements, and every packed weight on a cache line.

// safetensorsName maps element types to names of that format; types it lacks are
// stored as bytes.
func safetensorsName(dt tensor.DType) string {
	switch dt {
	case tensor.F32, tensor.F64, tensor.F16, tensor.BF16, tensor.Bool:
		return map[tensor.DType]string{tensor.F32: "F32", tensor.F64: "F64", tensor.F16: "F16", tensor.BF16: "BF16", tensor.Bool: "BOOL"}[dt]
	case tensor.I8, tensor.I16, tensor.I32, tensor.I64:
		return fmt.Sprintf("I%d", dt.Bits())
	case tensor.U16, tensor.U32, tensor.U64:
		return fmt.Sprintf("U%d", dt.Bits())
	}
	return "U8"
}

type safetensorsEntry struct {
	DType   string   `json:"dtype"`
	Shape   []int    `json:"shape"`
	Offsets [2]int64 `json:"data_offsets"`
}

func writeWeights(w io.Writer, consts []*Const) error {
	order := make([]int, 0, len(consts))
	for i, c := range consts {
		if c.Data.DType() != tensor.String {
			order = append(order, i)
		}
	}
	rank := func(c *Const) int {
		if len(c.Data.Bytes())%align == 0 {
			return math.MaxInt
		}
		return c.Data.DType().Size()
	}
	slices.SortStableFunc(order, func(a, b int) int {
		ra, rb := rank(consts[a]), rank(consts[b])
		switch {
		case ra > rb:
			return -1
		case ra < rb:
			return 1
		}
		return 0
	})
	header := map[string]safetensorsEntry{}
	var off int64
	for _, i := range order {
		t := consts[i].Data
		shape := nonNil(t.Shape())
		name := safetensorsName(t.DType())
		if name == "U8" {
			shape = []int{len(t.Bytes())}
		}
		end := off + int64(len(t.Bytes()))
		header[fmt.Sprintf("c%d", i)] = safetensorsEntry{name, shape, [2]int64{off, end}}
		off = end
	}
	hb, err := json.Marshal(header) // keys come out sorted
	if err != nil {
		return err
	}
	for (8+len(hb))%align != 0 {
		hb = append(hb, ' ')
	}
	var n [8]byte
	binary.LittleEndian.PutUint64(n[:], uint64(len(hb)))
	if _, err := w.Write(n[:]); err != nil {
		return err
	}
	if _, err := w.Write(hb); err != nil {
		return err
	}
	for _, i := range order {
		if _, err := w.Write(consts[i].Data.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

// readWeights gives each tensor's bytes, in place.
func readWeights(data []byte) (map[string][]byte, error) {
	if len(data) < 8 {
		return nil, fmt.Errorf("%w: %s is cut short", ErrFormat, entryWeights)
	}
	n := binary.LittleEndian.Uint64(data)
	if n > uint64(len(data)-8) {
		return nil, fmt.Errorf("%w: %s: header of %d bytes in a file of %d", ErrFormat, entryWeights, n, len(data))
	}
	var header map[string]safetensorsEntry
	if err := json.Unmarshal(data[8:8+n], &header); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrFormat, entryWeights, err)
	}
	body := data[8+n:]
	out := make(map[string][]byte, len(header))
	for name, e := range header {
		a, b := e.Offsets[0], e.Offsets[1]
		if a < 0 || b < a || b > int64(len(body)) {
			return nil, fmt.Errorf("%w: %s: tensor %q lies outside the file", ErrFormat, entryWeights, name)
		}
		out[name] = body[a:b:b]
	}
	return out, nil
}
