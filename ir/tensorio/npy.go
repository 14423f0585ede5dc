// Package tensorio reads and writes tensors in the file formats people keep them in:
// NumPy's .npy and .npz, .safetensors, and ONNX TensorProto .pb.
//
// Readers check every size a file declares against the bytes that are there before they
// allocate; a hostile file gives an error.
package tensorio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// ErrFormat reports a file that is not what its format promises.
var ErrFormat = errors.New("malformed tensor file")

const npyMagic = "\x93NUMPY"

// maxRank bounds the rank of tensors in files.
const maxRank = 64

// DecodeNPY reads a .npy file. Elements that are little-endian, in C order and aligned
// are viewed, not copied, so data must not change afterwards. NumPy has no bfloat16: files
// with 2-byte void elements ("|V2") are read as such, as ml_dtypes writes them.
func DecodeNPY(data []byte) (*tensor.Tensor, error) {
	h, body, err := npyHeader(data)
	if err != nil {
		return nil, err
	}
	n, ok := tensor.CheckedElems(h.shape)
	if !ok || n > math.MaxInt/64 {
		return nil, fmt.Errorf("%w: npy shape %v is not possible", ErrFormat, h.shape)
	}
	if h.dtype == tensor.String {
		return npyStrings(h, n, body)
	}
	size := h.dtype.Size()
	if len(body)/size < n || len(body) != n*size {
		return nil, fmt.Errorf("%w: npy %s%v needs %d bytes, %d are there", ErrFormat, h.dtype, h.shape, n*size, len(body))
	}
	if h.swap {
		body = swapped(body, h.unit)
	}
	if h.dtype == tensor.Bool {
		body = zeroOne(body)
	}
	if !h.fortran || len(h.shape) < 2 {
		return tensor.FromBytes(h.dtype, h.shape, body)
	}
	rev := slices.Clone(h.shape)
	slices.Reverse(rev)
	t, err := tensor.FromBytes(h.dtype, rev, body)
	if err != nil {
		return nil, err
	}
	return reverseDims(t), nil
}

type npyHead struct {
	dtype   tensor.DType
	swap    bool // big-endian
	unit    int  // bytes to swap within
	chars   int  // of each string
	wide    bool // UCS-4 strings, not bytes
	fortran bool
	shape   []int
}

func npyHeader(data []byte) (h npyHead, body []byte, err error) {
	if len(data) < 10 || string(data[:6]) != npyMagic {
		return h, nil, fmt.Errorf("%w: not an npy file", ErrFormat)
	}
	var size uint32
	var at int
	switch data[6] {
	case 1:
		size, at = uint32(binary.LittleEndian.Uint16(data[8:])), 10
	case 2, 3:
		if len(data) < 12 {
			return h, nil, fmt.Errorf("%w: npy header is cut off", ErrFormat)
		}
		size, at = binary.LittleEndian.Uint32(data[8:]), 12
	default:
		return h, nil, fmt.Errorf("%w: npy version %d is unknown", ErrFormat, data[6])
	}
	if size > 1<<20 || int(size) > len(data)-at {
		return h, nil, fmt.Errorf("%w: npy header of %d bytes is cut off or too long", ErrFormat, size)
	}
	end := at + int(size)
	if err := h.parse(string(data[at:end])); err != nil {
		return h, nil, fmt.Errorf("%w: npy header: %w", ErrFormat, err)
	}
	return h, data[end:], nil
}

// parse reads the header: a Python dict literal with three keys.
func (h *npyHead) parse(s string) error {
	p := literal{s: strings.TrimSpace(s)}
	p.expect("{")
	seen := 0
	for !p.failed && !p.accept("}") {
		key := p.str()
		p.expect(":")
		switch key {
		case "descr":
			if err := h.descr(p.str()); err != nil && !p.failed {
				return err
			}
			seen |= 1
		case "fortran_order":
			h.fortran = p.accept("True")
			if !h.fortran {
				p.expect("False")
			}
			seen |= 2
		case "shape":
			h.shape = p.tuple()
			seen |= 4
		default:
			return fmt.Errorf("unknown key %q", short(key))
		}
		if !p.accept(",") {
			p.expect("}")
			break
		}
	}
	if p.failed || seen != 7 || strings.TrimSpace(p.s) != "" {
		return fmt.Errorf("cannot be read: %q", short(s))
	}
	return nil
}

var npyTypes = map[string]tensor.DType{
	"b1": tensor.Bool, "i1": tensor.I8, "i2": tensor.I16, "i4": tensor.I32, "i8": tensor.I64,
	"u1": tensor.U8, "u2": tensor.U16, "u4": tensor.U32, "u8": tensor.U64,
	"f2": tensor.F16, "f4": tensor.F32, "f8": tensor.F64, "c8": tensor.C64, "c16": tensor.C128, "V2": tensor.BF16,
}

func (h *npyHead) descr(d string) error {
	if d == "" {
		return errors.New("no element type")
	}
	order, kind := d[0], d[1:]
	if !strings.ContainsRune("<>|=", rune(order)) {
		order, kind = '=', d
	}
	if dt, ok := npyTypes[kind]; ok {
		h.dtype, h.unit = dt, dt.Size()
		if dt == tensor.C64 || dt == tensor.C128 {
			h.unit /= 2
		}
		h.swap = order == '>' && h.unit > 1
		return nil
	}
	if len(kind) > 1 && (kind[0] == 'U' || kind[0] == 'S') {
		n, err := strconv.ParseUint(kind[1:], 10, 24)
		if err != nil {
			return fmt.Errorf("element type %q", short(d))
		}
		h.dtype, h.chars, h.wide, h.swap = tensor.String, int(n), kind[0] == 'U', order == '>'
		return nil
	}
	return fmt.Errorf("element type %q is not supported", short(d))
}

// npyStrings reads fixed-width strings, which end at their first zero.
func npyStrings(h npyHead, n int, body []byte) (*tensor.Tensor, error) {
	if h.fortran && len(h.shape) > 1 {
		return nil, fmt.Errorf("%w: npy strings in Fortran order are not supported", ErrFormat)
	}
	width := h.chars
	if h.wide {
		width *= 4
	}
	if width == 0 && len(body) == 0 && n <= 1<<20 {
		return tensor.OfStrings(make([]string, n), h.shape...), nil
	}
	if width == 0 || len(body)/width < n || len(body) != n*width {
		return nil, fmt.Errorf("%w: npy strings of shape %v need %d bytes each, %d are there", ErrFormat, h.shape, width, len(body))
	}
	out := make([]string, n)
	var b strings.Builder
	for i := range out {
		cell := body[i*width : (i+1)*width]
		if !h.wide {
			out[i] = string(bytes.TrimRight(cell, "\x00"))
			continue
		}
		b.Reset()
		last := 0
		for j := 0; j < width; j += 4 {
			r := binary.LittleEndian.Uint32(cell[j:])
			if h.swap {
				r = binary.BigEndian.Uint32(cell[j:])
			}
			if r > utf8.MaxRune {
				return nil, fmt.Errorf("%w: npy string holds character %#x", ErrFormat, r)
			}
			b.WriteRune(rune(r))
			if r != 0 {
				last = b.Len()
			}
		}
		out[i] = b.String()[:last]
	}
	return tensor.OfStrings(out, h.shape...), nil
}

// reverseDims transposes t to the reverse order of its dims.
func reverseDims(t *tensor.Tensor) *tensor.Tensor {
	shape := slices.Clone(t.Shape())
	slices.Reverse(shape)
	out := tensor.New(t.DType(), shape...)
	size := t.DType().Size()
	src, dst := t.Bytes(), out.Bytes()
	strides := tensor.Strides(t.Shape())
	slices.Reverse(strides)
	idx := make([]int, len(shape))
	from := 0
	for to := 0; to < len(dst); to += size {
		copy(dst[to:to+size], src[from*size:])
		for d := len(shape) - 1; d >= 0; d-- {
			idx[d]++
			from += strides[d]
			if idx[d] < shape[d] {
				break
			}
			from -= strides[d] * shape[d]
			idx[d] = 0
		}
	}
	return out
}

func swapped(b []byte, unit int) []byte {
	out := make([]byte, len(b))
	for i := 0; i+unit <= len(b); i += unit {
		for j := range unit {
			out[i+j] = b[i+unit-1-j]
		}
	}
	return out
}

// zeroOne makes bytes fit to be seen as Go bools.
func zeroOne(b []byte) []byte {
	if !slices.ContainsFunc(b, func(c byte) bool { return c > 1 }) {
		return b
	}
	out := make([]byte, len(b))
	for i, c := range b {
		out[i] = min(c, 1)
	}
	return out
}

// WriteNPY writes t as .npy in C order, version 1.0 where the header fits. Element types
// that NumPy lacks are widened: bf16 and the 8- and 4-bit floats to float32, 4- and 2-bit
// integers to int8 and uint8. Strings become fixed-width unicode.
func WriteNPY(w io.Writer, t *tensor.Tensor) error {
	t, err := Widen(t)
	if err != nil {
		return err
	}
	descr, body := "", t.Bytes()
	if t.DType() == tensor.String {
		descr, body = ucs4(t.Strings())
	} else {
		for kind, dt := range npyTypes {
			if dt == t.DType() {
				descr = "<" + kind
				if dt.Size() == 1 {
					descr = "|" + kind
				}
			}
		}
	}
	dims := make([]string, t.Rank())
	for i, d := range t.Shape() {
		dims[i] = strconv.Itoa(d)
	}
	shape := strings.Join(dims, ", ")
	if len(dims) == 1 {
		shape += ","
	}
	head := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, shape)
	pad := 64 - (10+len(head)+1)%64 // NumPy aligns the data to 64 bytes
	head += strings.Repeat(" ", pad%64) + "\n"
	out := append([]byte(npyMagic), 1, 0)
	out = binary.LittleEndian.AppendUint16(out, uint16(len(head)))
	if _, err := w.Write(append(out, head...)); err != nil {
		return err
	}
	_, err = w.Write(body)
	return err
}

func ucs4(list []string) (descr string, body []byte) {
	width := 1
	for _, s := range list {
		width = max(width, utf8.RuneCountInString(s))
	}
	body = make([]byte, 0, len(list)*width*4)
	for _, s := range list {
		end := len(body) + width*4
		for _, r := range s {
			body = binary.LittleEndian.AppendUint32(body, uint32(r))
		}
		body = append(body, make([]byte, end-len(body))...)
	}
	return "<U" + strconv.Itoa(width), body
}

func short(s string) string {
	if len(s) > 60 {
		return s[:60] + "..."
	}
	return s
}
