package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/ir/tensorio"
)

// convertCase is an entry of bad-models/manifest.json that says what convert makes of it.
type convertCase struct {
	ID      string
	File    string
	Inputs  []caseTensor
	Outputs []caseTensor
	Rtol    float64
	Atol    float64
	Convert *struct {
		Experts, K int
		Expect     string
		Mention    []string `json:"mention_any"`
		Why        string
	}
	Setup []any
}

type caseTensor struct {
	Name  string
	DType string
	Shape []int
	Data  string `json:"data_b64"`
}

func (c caseTensor) tensor(t *testing.T) *tensor.Tensor {
	t.Helper()
	data, err := base64.StdEncoding.DecodeString(c.Data)
	if err != nil {
		t.Fatal(err)
	}
	dt := map[string]tensor.DType{"float32": tensor.F32, "float64": tensor.F64, "float16": tensor.F16, "bool": tensor.Bool, "int64": tensor.I64}[c.DType]
	x, err := tensor.FromBytes(dt, c.Shape, data)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// TestConvertCases holds convert to the manifest: what is rewritten, left, or refused;
// and a model whose experts are all kept gives the dense model's outputs.
func TestConvertCases(t *testing.T) {
	dir := t.TempDir()
	unpack(t, "../../tests/testdata/bad-models.tgz", dir)
	raw, err := os.ReadFile(filepath.Join(dir, "bad-models", "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m struct{ Cases []convertCase }
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, c := range m.Cases {
		if c.Convert == nil {
			continue
		}
		ran++
		t.Run(c.ID, func(t *testing.T) { c.run(t, filepath.Join(dir, "bad-models", c.File)) })
	}
	if ran == 0 {
		t.Fatal("the manifest has no convert cases")
	}
}

func (c *convertCase) run(t *testing.T, model string) {
	out := filepath.Join(t.TempDir(), "sparse.onnx")
	stdout, stderr, code := moec("convert", model, "-o", out, "--to", "sigma-moe",
		"--experts", fmt.Sprint(c.Convert.Experts), "--k", fmt.Sprint(c.Convert.K), "--json")
	if c.Convert.Expect == "error" {
		if code == 0 {
			t.Fatalf("exit code 0, want an error (%s)", c.Convert.Why)
		}
		if !strings.Contains(stderr, filepath.Base(model)) {
			t.Errorf("the error does not name the file: %s", stderr)
		}
		found := len(c.Convert.Mention) == 0
		for _, w := range c.Convert.Mention {
			found = found || strings.Contains(strings.ToLower(stderr), strings.ToLower(w))
		}
		if !found {
			t.Errorf("the error mentions none of %q: %s", c.Convert.Mention, stderr)
		}
		if _, err := os.Stat(out); err == nil {
			t.Error("a file was written")
		}
		return
	}
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	rewritten := countRewritten(t, stdout)
	either := strings.HasPrefix(c.Convert.Why, "or ") || strings.Contains(c.Convert.Why, ", or ")
	switch {
	case c.Convert.Expect == "rewrite" && rewritten == 0 && !either:
		t.Errorf("nothing was rewritten: %s", stdout)
	case c.Convert.Expect == "leave" && rewritten > 0 && !either:
		t.Errorf("%d rewritten, want none: %s", rewritten, stdout)
	}
	// With all experts kept, and wherever nothing was rewritten, the outputs are the
	// dense model's.
	if rewritten > 0 {
		if stdout, stderr, code = moec("convert", model, "-o", out, "--to", "sigma-moe",
			"--experts", fmt.Sprint(c.Convert.Experts), "--k", fmt.Sprint(c.Convert.Experts), "--json"); code != 0 {
			t.Fatalf("exit code %d: %s", code, stderr)
		}
		if countRewritten(t, stdout) != rewritten {
			t.Errorf("K changes what is rewritten: %s", stdout)
		}
	}
	c.compare(t, out)
}

func (c *convertCase) compare(t *testing.T, model string) {
	dir := t.TempDir()
	args := []string{"compare", model, "--rtol", fmt.Sprint(max(c.Rtol, 1e-4)), "--atol", fmt.Sprint(max(c.Atol, 1e-5))}
	for i, in := range c.Inputs {
		f := filepath.Join(dir, fmt.Sprintf("in%d.pb", i))
		writePB(t, f, in)
		args = append(args, "--in", in.Name+"=@"+f)
	}
	for i, o := range c.Outputs {
		f := filepath.Join(dir, fmt.Sprintf("out%d.pb", i))
		writePB(t, f, o)
		args = append(args, "--want", o.Name+"=@"+f)
	}
	if stdout, stderr, code := moec(args...); code != 0 {
		t.Errorf("exit code %d: %s%s", code, stdout, stderr)
	}
}

func writePB(t *testing.T, file string, c caseTensor) {
	t.Helper()
	var b bytes.Buffer
	if err := tensorio.WritePB(&b, tensorio.Named{Name: c.Name, Tensor: c.tensor(t)}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func countRewritten(t *testing.T, stdout string) int {
	t.Helper()
	var r struct {
		MLPs []struct{ Action, Reason, Name string }
	}
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("%v in %q", err, stdout)
	}
	n := 0
	for _, m := range r.MLPs {
		if m.Reason == "" || m.Name == "" {
			t.Errorf("an entry without name or reason: %+v", m)
		}
		if m.Action == "rewritten" {
			n++
		}
	}
	return n
}

// moec runs a command line in this process.
func moec(args ...string) (stdout, stderr string, code int) {
	var o, e bytes.Buffer
	code = Main(args, &o, &e)
	return o.String(), e.String(), code
}

func unpack(t *testing.T, archive, dir string) {
	t.Helper()
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.FromSlash(h.Name))
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
