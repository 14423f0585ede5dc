package tests

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/eval"
	"github.com/seed-c851cfd2/moec/ir/onnx"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/passes"
	mrt "github.com/seed-c851cfd2/moec/runtime"
)

// badCase is one entry of bad-models/manifest.json: a model file, valid or not, and what
// must come of it. Expected outputs are onnxruntime's.
type badCase struct {
	ID         string      `json:"id"`
	File       string      `json:"file"`
	Wrong      string      `json:"wrong"`
	Expect     string      `json:"expect"` // works, error, runtime_error
	Mention    []string    `json:"mention_any"`
	AlsoAccept []string    `json:"also_accept"`
	Inputs     []badTensor `json:"inputs"`
	Outputs    []badTensor `json:"outputs"`
	Rtol       float64     `json:"rtol"`
	Atol       float64     `json:"atol"`
	Setup      []struct {
		Op     string `json:"op"`
		Path   string `json:"path"`
		Target string `json:"target"`
		Size   int64  `json:"size"`
	} `json:"setup"`
}

type badTensor struct {
	Name  string   `json:"name"`
	DType string   `json:"dtype"`
	Shape []int    `json:"shape"`
	Data  string   `json:"data_b64"`
	Text  []string `json:"strings"`
}

// TestBadModels loads and runs every case: those that work give their outputs, with the
// interpreter and with the compiled program; every other gives an error that names the
// file, and nothing panics or takes memory out of proportion.
func TestBadModels(t *testing.T) {
	dir := t.TempDir()
	untar(t, "testdata/bad-models.tgz", dir)
	dir = filepath.Join(dir, "bad-models")
	raw, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m struct{ Cases []badCase }
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	for _, c := range m.Cases {
		t.Run(c.ID, func(t *testing.T) {
			if !c.prepare(t, dir) {
				return
			}
			outcome, err := c.run(t, dir)
			c.judge(t, outcome, err)
		})
	}
}

// run gives "works", "error" (loading failed), "runtime_error" or "wrong".
func (c *badCase) run(t *testing.T, dir string) (outcome string, err error) {
	defer func() {
		if p := recover(); p != nil {
			outcome, err = "panic", fmt.Errorf("%v\n%s", p, debug.Stack())
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	ins := map[string]*tensor.Tensor{}
	var names []string
	for _, in := range c.Inputs {
		ins[in.Name] = in.tensor()
		names = append(names, in.Name)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	g, err := onnx.LoadFile(ctx, filepath.Join(dir, c.File), onnx.Options{Inputs: names})
	runtime.ReadMemStats(&after)
	if got, limit := after.TotalAlloc-before.TotalAlloc, uint64(256<<20+4*c.size(dir)); got > limit {
		t.Errorf("loading allocated %d MiB, at most %d expected", got>>20, limit>>20)
	}
	if err != nil {
		return "error", err
	}
	if err := ir.Verify(g); err != nil {
		return "malformed graph", err
	}
	list := make([]*tensor.Tensor, len(g.Inputs))
	for i, v := range g.Inputs {
		list[i] = ins[v.Name]
	}
	if outcome, err = c.compare(func() (map[string]*tensor.Tensor, error) {
		if slices.Contains(list, nil) || len(ins) != len(list) {
			return nil, fmt.Errorf("%w: inputs are %v", ir.ErrInput, c.Inputs)
		}
		outs, err := eval.Run(ctx, g, list, eval.Options{MaxElems: 1 << 28})
		if err != nil {
			return nil, err
		}
		byName := map[string]*tensor.Tensor{}
		for i, v := range g.Outputs {
			byName[v.Name] = outs[i]
		}
		return byName, nil
	}); err != nil && outcome != "runtime_error" {
		return "interpreter " + outcome, err
	}
	ctx, cancel = context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if _, err := passes.Run(ctx, g, passes.Default()); err != nil {
		return "error", err
	}
	p, err := codegen.Compile(ctx, g, codegen.Target{})
	if err != nil {
		return "error", err
	}
	s, err := mrt.New(p, mrt.Options{Threads: 1, MaxElems: 1 << 28})
	if err != nil {
		return "error", err
	}
	defer s.Close()
	return c.compare(func() (map[string]*tensor.Tensor, error) { return s.Run(ctx, ins) })
}

func (c *badCase) compare(run func() (map[string]*tensor.Tensor, error)) (string, error) {
	outs, err := run()
	if err != nil {
		return "runtime_error", err
	}
	for _, want := range c.Outputs {
		got := outs[want.Name]
		if got == nil {
			return "wrong", fmt.Errorf("no output %q", want.Name)
		}
		if err := closeTo(got, want.tensor(), c.Rtol, c.Atol); err != nil {
			return "wrong", fmt.Errorf("output %q: %w", want.Name, err)
		}
	}
	return "works", nil
}

func (c *badCase) judge(t *testing.T, outcome string, err error) {
	t.Helper()
	ok := outcome == c.Expect || slices.Contains(c.AlsoAccept, outcome)
	if !ok && outcome == "error" && slices.Contains(c.AlsoAccept, "unsupported") {
		ok = unsupported(err)
	}
	if !ok && c.Expect == "runtime_error" && outcome == "error" {
		ok = true // found out even earlier
	}
	if !ok {
		t.Errorf("%s: %s, want %s (or %v): %v", c.Wrong, outcome, c.Expect, c.AlsoAccept, err)
		return
	}
	if err == nil {
		return
	}
	msg := err.Error()
	if len(msg) >= 2000 || strings.ContainsFunc(msg, func(r rune) bool { return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 }) {
		t.Errorf("%s: the error is too long or has control characters: %d bytes, %.300q", c.Wrong, len(msg), msg)
	}
	if strings.Contains(msg, "a bug in moec") {
		t.Errorf("%s: %s", c.Wrong, msg)
	}
	if outcome == "error" && !strings.Contains(msg, filepath.Base(c.File)) {
		t.Errorf("%s: the error does not name the file: %s", c.Wrong, msg)
	}
	if outcome == c.Expect && !mentions(msg, c.Mention) {
		t.Errorf("%s: none of %q in: %s", c.Wrong, c.Mention, msg)
	}
}

func mentions(msg string, any []string) bool {
	msg = strings.ToLower(msg)
	for _, w := range any {
		if strings.Contains(msg, strings.ToLower(w)) {
			return true
		}
	}
	return len(any) == 0
}

func (c *badCase) size(dir string) int64 {
	st, err := os.Stat(filepath.Join(dir, c.File))
	if err != nil {
		return 0
	}
	return st.Size()
}

// prepare makes what an archive cannot carry: links, pipes, sparse files. It reports
// whether the case can run here.
func (c *badCase) prepare(t *testing.T, dir string) bool {
	for _, s := range c.Setup {
		path := filepath.Join(dir, filepath.FromSlash(s.Path))
		if _, err := os.Lstat(path); err == nil && s.Op != "chmod000" {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		switch s.Op {
		case "symlink":
			err = os.Symlink(s.Target, path)
		case "hardlink":
			err = os.Link(filepath.Join(filepath.Dir(path), s.Target), path)
		case "fifo":
			err = makeFIFO(path)
		case "mkdir":
			err = os.MkdirAll(path, 0o755)
		case "sparse":
			var f *os.File
			if f, err = os.Create(path); err == nil {
				err = f.Truncate(s.Size)
				f.Close()
			}
		case "chmod000":
			if os.Geteuid() == 0 {
				t.Skip("root may read every file")
			}
			err = os.Chmod(path, 0)
		default:
			t.Fatalf("unknown setup %q", s.Op)
		}
		if err != nil {
			t.Skipf("cannot make a %s here: %v", s.Op, err)
		}
	}
	return true
}
