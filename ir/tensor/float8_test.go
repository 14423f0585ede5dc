package tensor

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"testing"
)

// testdata/float8.bin holds what Python's ml_dtypes (and NumPy for float16) makes of
// numbers: the values of all codes of the six types as float32; 530 float64 and their
// codes in the five signed types; then a count, as many float64 and their float16 bits.
func TestFloat8AgainstMLDTypes(t *testing.T) {
	data, err := os.ReadFile("testdata/float8.bin")
	if err != nil {
		t.Fatal(err)
	}
	r := bytes.NewReader(data)
	read := func(v any) {
		t.Helper()
		if err := binary.Read(r, binary.LittleEndian, v); err != nil {
			t.Fatal(err)
		}
	}
	types := []DType{F8E4M3FN, F8E4M3FNUZ, F8E5M2, F8E5M2FNUZ, F8E8M0, F4E2M1}
	for _, dt := range types {
		want := make([]float32, 1<<dt.Bits())
		read(want)
		for b, w := range want {
			got, ok := DecodeFloat8(dt, uint8(b))
			if !ok || math.Float32bits(float32(got)) != math.Float32bits(w) && !(got != got && w != w) {
				t.Errorf("%s code %#x is %v, want %v", dt, b, got, w)
			}
		}
	}
	x := make([]float64, 530)
	read(x)
	for _, dt := range types {
		if dt == F8E8M0 {
			continue
		}
		want := make([]uint8, len(x))
		read(want)
		for i, v := range x {
			if got, ok := EncodeFloat8(dt, v, false); !ok || got != want[i] {
				t.Errorf("%s of %v is %#x, want %#x", dt, v, got, want[i])
			}
		}
	}
	var n int64
	read(&n)
	h, bits := make([]float64, n), make([]uint16, n)
	read(h)
	read(bits)
	for i, v := range h {
		if got := ToFloat16(Narrow32(v)); uint16(got) != bits[i] && v == v {
			t.Errorf("float16 of %v is %#x, want %#x", v, got, bits[i])
		}
	}
}

func TestFloat8Saturates(t *testing.T) {
	for _, c := range []struct {
		dt   DType
		v    float64
		want uint8
	}{
		// The table of ONNX's Cast: what is too large becomes the largest number.
		{F8E4M3FN, math.Inf(1), 0x7e},
		{F8E4M3FN, -1e9, 0xfe},
		{F8E4M3FNUZ, math.Inf(-1), 0xff},
		{F8E5M2, 1e9, 0x7b},
		{F8E5M2FNUZ, math.Inf(1), 0x7f},
		{F8E4M3FN, math.NaN(), 0x7f},
	} {
		if got, _ := EncodeFloat8(c.dt, c.v, true); got != c.want {
			t.Errorf("%s of %v is %#x, want %#x", c.dt, c.v, got, c.want)
		}
	}
}

func TestE8M0Modes(t *testing.T) {
	for _, c := range []struct {
		v        float32
		mode     string
		saturate bool
		want     uint8
	}{
		{1, "up", true, 127},
		{1.1, "up", true, 128},
		{1.9, "down", true, 127},
		{1.5, "nearest", true, 128},
		{1.4, "nearest", true, 127},
		{math.MaxFloat32, "up", true, 254},
		{math.MaxFloat32, "nearest", false, 255},
		{float32(math.Inf(1)), "down", true, 255},
	} {
		if got, ok := EncodeE8M0(c.v, c.mode, c.saturate); !ok || got != c.want {
			t.Errorf("%v rounded %s is %d, want %d", c.v, c.mode, got, c.want)
		}
	}
	if _, ok := EncodeE8M0(1, "sideways", true); ok {
		t.Error("an unknown mode is accepted")
	}
}
