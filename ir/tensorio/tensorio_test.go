package tensorio

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// The files in testdata were written by NumPy, safetensors and onnx (make.py); numpy.json
// is what NumPy says is in them.

type known struct {
	Shape  []int `json:"shape"`
	Values []any `json:"values"`
}

func knowns(t *testing.T) map[string]known {
	t.Helper()
	b, err := os.ReadFile("testdata/numpy.json")
	if err != nil {
		t.Fatal(err)
	}
	var k map[string]known
	if err := json.Unmarshal(b, &k); err != nil {
		t.Fatal(err)
	}
	return k
}

func (k known) check(t *testing.T, name string, got *tensor.Tensor) {
	t.Helper()
	if !slices.Equal(got.Shape(), k.Shape) {
		t.Errorf("%s: shape %v, want %v", name, got.Shape(), k.Shape)
		return
	}
	if got.DType() == tensor.String {
		for i, v := range k.Values {
			if got.Strings()[i] != v {
				t.Errorf("%s[%d]: %q, want %q", name, i, got.Strings()[i], v)
			}
		}
		return
	}
	if got.DType() == tensor.C64 {
		for i, v := range k.Values {
			p := v.([]any)
			if c := tensor.Data[complex64](got)[i]; float64(real(c)) != p[0] || float64(imag(c)) != p[1] {
				t.Errorf("%s[%d]: %v, want %v", name, i, c, p)
			}
		}
		return
	}
	vals, err := got.Float64s()
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range k.Values {
		want, isNum := v.(float64)
		if b, ok := v.(bool); ok {
			isNum = true
			if b {
				want = 1
			}
		}
		if !isNum || vals[i] != want {
			t.Errorf("%s[%d]: %v, want %v", name, i, vals[i], v)
		}
	}
}

func read(t *testing.T, name string) []Named {
	t.Helper()
	list, err := ReadFile(filepath.Join("testdata", name), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestReadNumPy(t *testing.T) {
	want := knowns(t)
	list := read(t, "numpy.npz")
	if len(list) != len(want) {
		t.Errorf("%d arrays, want %d", len(list), len(want))
	}
	for _, a := range list {
		want[a.Name].check(t, a.Name, a.Tensor)
	}
	for _, a := range read(t, "packed.npz") {
		want[map[string]string{"a": "float32", "b": "bool"}[a.Name]].check(t, a.Name, a.Tensor)
	}
	bf := read(t, "bf16.npy")[0].Tensor
	if bf.DType() != tensor.BF16 || tensor.Data[tensor.BFloat16](bf)[5].Float32() != 5 {
		t.Errorf("bf16.npy is %s", bf)
	}
}

func TestReadSafetensorsAndPB(t *testing.T) {
	want := knowns(t)
	st := read(t, "numpy.safetensors")
	if len(st) != 15 {
		t.Errorf("%d tensors, want 15", len(st))
	}
	for _, a := range st {
		if a.Name == "bfloat16" {
			if tensor.Data[tensor.BFloat16](a.Tensor)[23].Float32() != 23 {
				t.Errorf("bfloat16: last element is wrong")
			}
			continue
		}
		want[a.Name].check(t, a.Name, a.Tensor)
	}
	for _, name := range []string{"float32", "bool", "uint64", "float16"} {
		a := read(t, name+".pb")[0]
		if a.Name != name {
			t.Errorf("%s.pb holds %q", name, a.Name)
		}
		want[name].check(t, name, a.Tensor)
	}
	i4 := read(t, "int4.pb")[0].Tensor
	for i, v := range tensor.Data[int8](i4) {
		if int(v) != i-8 {
			t.Errorf("int4[%d] = %d, want %d", i, v, i-8)
		}
	}
}

// TestRoundTrip writes and reads back every element type, with awkward names and shapes.
func TestRoundTrip(t *testing.T) {
	list := append(read(t, "numpy.npz"),
		Named{"nan", tensor.Of([]float32{float32(math.NaN()), float32(math.Inf(1)), -0}, 3)},
		Named{"a/../b\\c\x01", tensor.Of([]int64{1, 2}, 1, 2, 1)}, Named{"", tensor.Scalar(true)})
	var b bytes.Buffer
	if err := WriteNPZ(&b, list); err != nil {
		t.Fatal(err)
	}
	got, err := DecodeNPZ(b.Bytes(), 0)
	if err != nil {
		t.Fatal(err)
	}
	same(t, list, got)

	var numbers []Named
	for _, a := range list {
		if a.Tensor.DType() != tensor.String {
			numbers = append(numbers, a)
		}
		b.Reset()
		if err := WritePB(&b, a); err != nil {
			t.Fatal(err)
		}
		back, err := DecodePB(b.Bytes())
		if err != nil {
			t.Fatalf("%q: %v", a.Name, err)
		}
		same(t, []Named{a}, []Named{back})
	}
	b.Reset()
	meta := map[string]string{"format": "pt"}
	if err := WriteSafetensors(&b, numbers, meta); err != nil {
		t.Fatal(err)
	}
	got, m, err := DecodeSafetensors(b.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if !maps.Equal(meta, m) {
		t.Errorf("metadata %v, want %v", m, meta)
	}
	slices.SortFunc(numbers, func(a, b Named) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	same(t, numbers, got)
}

func same(t *testing.T, want, got []Named) {
	t.Helper()
	if len(want) != len(got) {
		t.Fatalf("%d tensors, want %d", len(got), len(want))
	}
	for i := range want {
		if want[i].Name != got[i].Name || !tensor.Equal(want[i].Tensor, got[i].Tensor) {
			t.Errorf("%q %s came back as %q %s", want[i].Name, want[i].Tensor, got[i].Name, got[i].Tensor)
		}
	}
}

func TestWiden(t *testing.T) {
	w, err := Widen(tensor.Of([]tensor.BFloat16{tensor.ToBFloat16(-1.5), tensor.ToBFloat16(3)}, 2))
	if err != nil || !tensor.Equal(w, tensor.Of([]float32{-1.5, 3}, 2)) {
		t.Errorf("bf16 widens to %v, %v", w, err)
	}
	i4 := tensor.New(tensor.I4, 2)
	copy(tensor.Data[int8](i4), []int8{-8, 7})
	if w, err = Widen(i4); err != nil || !tensor.Equal(w, tensor.Of([]int8{-8, 7}, 2)) {
		t.Errorf("i4 widens to %v, %v", w, err)
	}
}

func TestMalformed(t *testing.T) {
	npy := func(head string, body int) []byte {
		b := append([]byte(npyMagic), 1, 0, byte(len(head)), byte(len(head)>>8))
		return append(append(b, head...), make([]byte, body)...)
	}
	st := func(head string, body int) []byte {
		b := append([]byte{byte(len(head)), byte(len(head) >> 8), 0, 0, 0, 0, 0, 0}, head...)
		return append(b, make([]byte, body)...)
	}
	for name, data := range map[string][]byte{
		"empty":        nil,
		"cut":          []byte(npyMagic + "\x01\x00\xff\xff"),
		"length":       []byte(npyMagic + "\x02\x00\xff\xff\xff\xff"),
		"huge":         npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1099511627776, 1099511627776), }", 8),
		"short":        npy("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", 8),
		"object":       npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", 8),
		"no shape":     npy("{'descr': '<f4', 'fortran_order': False, }", 8),
		"negative":     npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }", 8),
		"trailing":     npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), } + x", 8),
		"long strings": npy("{'descr': '<U9999999999', 'fortran_order': False, 'shape': (2,), }", 8),
		"empty text":   npy("{'descr': '<U0', 'fortran_order': False, 'shape': (9999999999999,), }", 0),
		"bad rune":     append(npy("{'descr': '<U1', 'fortran_order': False, 'shape': (1,), }", 0), 0xff, 0xff, 0xff, 0xff),
	} {
		if got, err := DecodeNPY(data); err == nil {
			t.Errorf("npy %s: read as %s", name, got)
		}
	}
	for name, data := range map[string][]byte{
		"empty":      nil,
		"length":     {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, '{'},
		"array":      st("[]", 0),
		"gap":        st(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8),
		"overlap":    st(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8),
		"past":       st(`{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}`, 8),
		"overflow":   st(`{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}`, 0),
		"negative":   st(`{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}`, 4),
		"twice":      st(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, 8),
		"type":       st(`{"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}}`, 4),
		"trailing":   st(`{} {}`, 0),
		"extra data": st(`{}`, 4),
		"reversed":   st(`{"a":{"dtype":"F32","shape":[0],"data_offsets":[4,0]}}`, 4),
	} {
		if got, _, err := DecodeSafetensors(data); err == nil {
			t.Errorf("safetensors %s: read as %v", name, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("testdata/*.*")
	if err != nil || len(files) < 5 {
		f.Fatal("no seeds", err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		if len(b) < 8<<10 {
			f.Add(b)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if a, err := DecodeNPY(bytes.Clone(data)); err == nil {
			var b bytes.Buffer
			if err := WriteNPY(&b, a); err != nil {
				t.Fatal(err)
			}
		}
		_, _ = DecodeNPZ(data, 1<<22)
		_, _ = DecodePB(bytes.Clone(data))
		if list, meta, err := DecodeSafetensors(bytes.Clone(data)); err == nil {
			var b bytes.Buffer
			if err := WriteSafetensors(&b, list, meta); err != nil {
				t.Skip(err) // a name such as __metadata__
			}
			again, _, err := DecodeSafetensors(b.Bytes())
			if err != nil {
				t.Fatal(err)
			}
			same(t, list, again)
		}
	})
}
