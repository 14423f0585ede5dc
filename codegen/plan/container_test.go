package plan_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/ir/irtext"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/passes"
	"github.com/seed-c851cfd2/moec/runtime"
)

// A model with packed weights, string and integer constants, attributes of every kind, a
// loop with captures, and open dims.
const model = `graph(x: f32[b,s,8], n: i64[]) {
  g = MatMul(x, w1=f32[8,24]rand(1))
  h = Add(g, b1=f32[24]rand(2))
  a = Relu(h)
  m = MatMul(a, w2=f32[24,8]rand(3))
  sm = Softmax(m) {axis=-1}
  t = Transpose(sm) {perm=[1, 0, 2]}
  k = Gather(t, i=i64[2]{0, -1})
  y = ReduceSum(k, ax=i64[1]{0}) {keepdims=0}
  return y, t
}`

func program(t testing.TB, target codegen.Target) *plan.Program {
	t.Helper()
	ctx := context.Background()
	g, err := irtext.Parse(model, ops.NewTable(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := passes.Run(ctx, g, passes.Default()); err != nil {
		t.Fatal(err)
	}
	p, err := codegen.Compile(ctx, g, target)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func targets() []codegen.Target {
	return []codegen.Target{{Device: "cpu"}, {Device: "cpu", Precision: "int8"}, {Device: "cuda", GPU: "a100"}}
}

func container(t testing.TB, p *plan.Program) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := plan.Write(&b, p); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestTheSameModelGivesTheSameBytes(t *testing.T) {
	for _, target := range targets() {
		one, two := container(t, program(t, target)), container(t, program(t, target))
		if !bytes.Equal(one, two) {
			t.Errorf("%+v: two compilations give different containers", target)
		}
		p, err := plan.Decode(one, ops.NewTable())
		if err != nil {
			t.Fatal(err)
		}
		if again := container(t, p); !bytes.Equal(one, again) {
			t.Errorf("%+v: a decoded container is written differently", target)
		}
	}
}

func TestWeightsLieOnCacheLines(t *testing.T) {
	b := container(t, program(t, codegen.Target{Device: "cpu"}))
	const local = "PK\x03\x04"
	for at := 0; ; {
		i := bytes.Index(b[at:], []byte(local))
		if i < 0 {
			break
		}
		at += i
		data := at + 30 + int(binary.LittleEndian.Uint16(b[at+26:])) + int(binary.LittleEndian.Uint16(b[at+28:]))
		if data%64 != 0 {
			t.Errorf("the entry at %d has its data at %d", at, data)
		}
		at += 4
	}
}

func TestOpenRunsWhatSaveWrote(t *testing.T) {
	ctx := context.Background()
	path := filepath.Join(t.TempDir(), "m.moec")
	p := program(t, codegen.Target{Device: "cpu"})
	p.Recipe, p.Receipts = "to = \"x\"", []byte(`[{"pass":"p"}]`)
	if err := plan.Save(path, p); err != nil {
		t.Fatal(err)
	}
	if err := plan.VerifyFile(path); err != nil {
		t.Fatal(err)
	}
	q, err := plan.Open(path, ops.NewTable())
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	if q.Recipe != p.Recipe || !bytes.Equal(q.Receipts, p.Receipts) || q.Target != p.Target {
		t.Errorf("%q %q %v", q.Recipe, q.Receipts, q.Target)
	}
	x := tensor.New(tensor.F32, 2, 3, 8)
	for i := range tensor.Data[float32](x) {
		tensor.Data[float32](x)[i] = float32(i%7) - 3
	}
	in := map[string]*tensor.Tensor{"x": x, "n": tensor.Scalar(int64(0))}
	var outs [2]map[string]*tensor.Tensor
	for i, prog := range []*plan.Program{p, q} {
		s, err := runtime.New(prog, runtime.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if outs[i], err = s.Run(ctx, in); err != nil {
			t.Fatal(err)
		}
	}
	for name := range outs[0] {
		if !tensor.Equal(outs[0][name], outs[1][name]) {
			t.Errorf("output %q differs after saving", name)
		}
	}
}

// Damaged files give errors of kind ErrFormat and never a panic: cut short anywhere, and
// with any bit of the entries' data turned over.
func TestDamagedContainers(t *testing.T) {
	table := ops.NewTable()
	for _, target := range targets() {
		good := container(t, program(t, target))
		for n := 0; n < len(good); n += 1 + len(good)/997 {
			if _, err := plan.Decode(good[:n:n], table); !errors.Is(err, plan.ErrFormat) {
				t.Fatalf("%+v: cut to %d of %d bytes: %v", target, n, len(good), err)
			}
		}
		rng := rand.New(rand.NewPCG(1, 2))
		for range 1000 {
			bad := bytes.Clone(good)
			bit := rng.IntN(8 * len(bad))
			bad[bit/8] ^= 1 << (bit % 8)
			p, err := plan.Decode(bad, table)
			if err != nil {
				if !errors.Is(err, plan.ErrFormat) {
					t.Fatalf("%+v: bit %d: %v is not of kind ErrFormat", target, bit, err)
				}
				continue
			}
			// What the checksums do not cover (padding, names in the local headers) may be
			// anything; the program must be the same.
			if again := container(t, p); !bytes.Equal(again, good) {
				t.Fatalf("%+v: bit %d turned over goes unseen", target, bit)
			}
		}
	}
}

func TestOpenNamesTheFile(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"empty.moec": "", "text.moec": "hello", "zip.moec": "PK\x05\x06" + string(make([]byte, 18))} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := plan.Open(path, ops.NewTable())
		if !errors.Is(err, plan.ErrFormat) || !bytes.Contains([]byte(err.Error()), []byte(path)) {
			t.Errorf("%s: %v", name, err)
		}
		if err := plan.VerifyFile(path); err == nil {
			t.Errorf("%s: verified", name)
		}
	}
	if _, err := plan.Open(filepath.Join(dir, "absent.moec"), ops.NewTable()); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// runDamaged decodes and runs a container whose program is text; only a panic is wrong.
func runDamaged(t testing.TB, good, text []byte) (ran bool) {
	t.Helper()
	p, err := plan.Decode(replaceEntry(t, good, "program.json", text), ops.NewTable())
	if err != nil {
		return false
	}
	s, err := runtime.New(p, runtime.Options{MaxElems: 1 << 16})
	if err != nil {
		return false
	}
	defer s.Close()
	_, err = s.Run(context.Background(), map[string]*tensor.Tensor{"x": tensor.New(tensor.F32, 1, 2, 8), "n": tensor.Scalar(int64(0))})
	return err == nil
}

// Digits changed behind the checksums give other indices, sizes, ranks and versions: an
// error or some other program, never a panic.
func TestDamagedPrograms(t *testing.T) {
	good := container(t, program(t, codegen.Target{Device: "cpu"}))
	text := entry(t, good, "program.json")
	if !runDamaged(t, good, text) {
		t.Fatal("the sound program does not run")
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		bad := bytes.Clone(text)
		for range 1 + rng.IntN(3) {
			i := rng.IntN(len(bad))
			switch c := bad[i]; {
			case c >= '0' && c <= '9':
				bad[i] = '0' + byte(rng.IntN(10))
			case c == ' ' && rng.IntN(8) == 0:
				bad[i] = '-'
			}
		}
		func() {
			defer func() {
				if v := recover(); v != nil {
					t.Fatalf("panic: %v\n%s", v, bad)
				}
			}()
			runDamaged(t, good, bad)
		}()
	}
}

// FuzzProgram damages the program in any way behind the checksums.
func FuzzProgram(f *testing.F) {
	good := container(f, program(f, codegen.Target{Device: "cpu"}))
	text := entry(f, good, "program.json")
	f.Add(text)
	for _, swap := range [][2]string{{`"kernel": "`, `"kernel": "x`}, {`"f32"`, `"f64"`}, {`"8"`, `"b"`}, {`24`, `25`}, {`"panels.f32"`, `""`}} {
		f.Add(bytes.ReplaceAll(text, []byte(swap[0]), []byte(swap[1])))
	}
	f.Fuzz(func(t *testing.T, text []byte) { runDamaged(t, good, text) })
}
