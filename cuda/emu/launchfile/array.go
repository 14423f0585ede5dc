package launchfile

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/seed-c851cfd2/moec/cuda/emu/internal/fp"
)

var le = binary.LittleEndian

// array is the content of a .npy file.
type array struct {
	dtype string // in launch-file terms, such as "f32"
	data  []byte
}

// npyTypes maps NumPy's type codes to ours.
var npyTypes = map[string]string{
	"f2": "f16", "f4": "f32", "f8": "f64",
	"i1": "s8", "i2": "s16", "i4": "s32", "i8": "s64",
	"u1": "u8", "u2": "u16", "u4": "u32", "u8": "u64", "b1": "u8",
}

func readArray(path string) (*array, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	bad := func(why string) (*array, error) { return nil, fmt.Errorf("%s: not a usable .npy file: %s", path, why) }
	if len(b) < 12 || string(b[:6]) != "\x93NUMPY" {
		return bad("no header")
	}
	start, n := 10, int(le.Uint16(b[8:]))
	if b[6] >= 2 {
		start, n = 12, int(le.Uint32(b[8:]))
	}
	if n < 0 || start+n > len(b) {
		return bad("the header is cut off")
	}
	header := string(b[start : start+n])
	if strings.Contains(header, "'fortran_order': True") {
		return bad("Fortran order")
	}
	_, rest, ok := strings.Cut(header, "'descr': '")
	if !ok {
		return bad("no type")
	}
	code, _, _ := strings.Cut(rest, "'")
	if strings.HasPrefix(code, ">") {
		return bad("big-endian")
	}
	dt, ok := npyTypes[strings.TrimLeft(code, "<|=")]
	if !ok {
		return bad("type " + code)
	}
	return &array{dtype: dt, data: b[start+n:]}, nil
}

// decode turns little-endian elements into float64 values.
func decode(dtype string, b []byte) ([]float64, error) {
	sizes := map[string]int{"f16": 2, "bf16": 2, "f32": 4, "f64": 8, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "s32": 4, "u32": 4, "s64": 8, "u64": 8}
	n := sizes[dtype]
	if n == 0 {
		return nil, fmt.Errorf("unknown dtype %q", dtype)
	}
	if len(b)%n != 0 {
		return nil, fmt.Errorf("%d bytes are not a whole number of %s", len(b), dtype)
	}
	out := make([]float64, len(b)/n)
	for i := range out {
		e := b[i*n:]
		switch dtype {
		case "f16":
			out[i] = float64(fp.FromF16(le.Uint16(e)))
		case "bf16":
			out[i] = float64(fp.FromBF16(le.Uint16(e)))
		case "f32":
			out[i] = float64(math.Float32frombits(le.Uint32(e)))
		case "f64":
			out[i] = math.Float64frombits(le.Uint64(e))
		case "s8":
			out[i] = float64(int8(e[0]))
		case "u8":
			out[i] = float64(e[0])
		case "s16":
			out[i] = float64(int16(le.Uint16(e)))
		case "u16":
			out[i] = float64(le.Uint16(e))
		case "s32":
			out[i] = float64(int32(le.Uint32(e)))
		case "u32":
			out[i] = float64(le.Uint32(e))
		case "s64":
			out[i] = float64(int64(le.Uint64(e)))
		case "u64":
			out[i] = float64(le.Uint64(e))
		}
	}
	return out, nil
}

// scalar is the parameter's value as the Go type of its kind.
func (p Param) scalar() (any, error) {
	text := string(p.Value)
	if text == "" {
		return nil, fmt.Errorf("%s has no value", p.Kind)
	}
	switch p.Kind {
	case "f16", "bf16", "f32", "f64":
		v, err := json.Number(text).Float64()
		if err != nil {
			return nil, err
		}
		switch p.Kind {
		case "f16":
			return fp.ToF16(float32(v)), nil
		case "bf16":
			return fp.ToBF16(float32(v)), nil
		case "f32":
			return float32(v), nil
		}
		return v, nil
	}
	var bits int
	switch p.Kind {
	case "s8", "u8":
		bits = 8
	case "s16", "u16":
		bits = 16
	case "s32", "u32":
		bits = 32
	case "s64", "u64":
		bits = 64
	default:
		return nil, fmt.Errorf("unknown kind %q", p.Kind)
	}
	var v uint64
	if p.Kind[0] == 'u' && !strings.HasPrefix(text, "-") {
		u, err := strconv.ParseUint(text, 10, bits)
		if err != nil {
			return nil, err
		}
		v = u
	} else {
		s, err := strconv.ParseInt(text, 10, bits)
		if err != nil {
			return nil, err
		}
		v = uint64(s)
	}
	switch bits {
	case 8:
		return uint8(v), nil
	case 16:
		return uint16(v), nil
	case 32:
		return uint32(v), nil
	}
	return v, nil
}
