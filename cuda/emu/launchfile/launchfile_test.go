package launchfile

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/cuda/emu"
)

const addOne = `.version 7.0
.target sm_80
.address_size 64
.visible .entry k(.param .u64 y, .param .f32 a)
{
	.reg .b32 %r; .reg .f32 %f<3>; .reg .b64 %rd<3>;
	ld.param.u64 %rd0, [y];
	ld.param.f32 %f0, [a];
	mov.u32 %r, %tid.x;
	mul.wide.u32 %rd1, %r, 4;
	add.u64 %rd2, %rd0, %rd1;
	ld.global.f32 %f1, [%rd2];
	add.f32 %f2, %f1, %f0;
	st.global.f32 [%rd2], %f2;
	ret;
}
`

// npy is a .npy file of four float32 values.
func npy(v ...byte) []byte {
	header := "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }"
	header += strings.Repeat(" ", 118-len(header)-1) + "\n"
	out := append([]byte("\x93NUMPY\x01\x00"), byte(len(header)), 0)
	out = append(out, header...)
	for _, b := range v {
		out = append(out, 0, 0, b, 0x3f) // 0x3f80 is 1, 0x3f00 is 0.5
	}
	return out
}

func write(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestRun(t *testing.T) {
	launch := `{"grid":[1,1,1],"block":[4,1,1],"params":[{"name":"y","kind":"buffer","in":"in.npy","out":"OUT","tolerance":0},{"kind":"f32","value":0.5}]}`
	files := map[string][]byte{
		"k.ptx": []byte(addOne), "in.npy": npy(0, 0, 0, 0), "right.npy": npy(0x80, 0x80, 0x80, 0x80), "wrong.npy": npy(0x80, 0x80, 0, 0x80),
		"short.npy": npy(0x80), "bad.npy": []byte("not an array"), "cut.npy": npy(0x80)[:20],
	}
	for _, c := range []struct{ out, want string }{
		{"right.npy", ""},
		{"wrong.npy", "output y: element 2 is 1, expected 0.5"},
		{"short.npy", "1 elements expected, the buffer has 4"},
		{"bad.npy", "bad.npy: not a usable .npy file"},
		{"cut.npy", "cut off"},
		{"absent.npy", "absent.npy"},
	} {
		files["l.json"] = []byte(strings.Replace(launch, "OUT", c.out, 1))
		dir := write(t, files)
		res, err := Run(t.Context(), filepath.Join(dir, "k.ptx"), filepath.Join(dir, "l.json"), emu.Options{Checks: emu.AllChecks})
		if err == nil {
			err = res.Err()
		}
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.out, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: error %v, want %q", c.out, err, c.want)
		}
	}
}

func TestScalars(t *testing.T) {
	for _, c := range []struct {
		kind, value string
		want        any // nil for an error
	}{
		{"s32", "-3", uint32(0xfffffffd)},
		{"u64", "18446744073709551615", uint64(1<<64 - 1)},
		{"s64", "-1", uint64(1<<64 - 1)},
		{"f32", "1e-5", float32(1e-5)},
		{"f64", "0.1", 0.1},
		{"f16", "1.5", uint16(0x3e00)},
		{"bf16", "1.5", uint16(0x3fc0)},
		{"u8", "256", nil},
		{"s32", "", nil},
		{"q7", "1", nil},
	} {
		v, err := Param{Kind: c.kind, Value: json.Number(c.value)}.scalar()
		if c.want == nil && err == nil || c.want != nil && (err != nil || v != c.want) {
			t.Errorf("%s %s: %v, %v", c.kind, c.value, v, err)
		}
	}
}
