package dump_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/irtext"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/passes"
	"github.com/seed-c851cfd2/moec/passes/dump"
)

const text = `graph "<b>mlp</b>"(x: f32[n,8]) {
  h = MatMul(x, w=f32[8,8]rand(1)) @ fc
  "</script><i>" = Relu(h) @ "<img>"
  y = Identity("</script><i>") @ id
  z = Neg(y) @ neg
  return z
}`

func run(t *testing.T, opts passes.Options) (dir string, err error) {
	t.Helper()
	g, perr := irtext.Parse(text, ops.NewTable(), nil)
	if perr != nil {
		t.Fatal(perr)
	}
	dir = filepath.Join(t.TempDir(), "new", "folder")
	d, derr := dump.New(dir)
	if derr != nil {
		t.Fatal(derr)
	}
	opts.Observe = d.Observe
	_, err = passes.Run(context.Background(), g, opts)
	if e := errors.Join(d.Text("plan", "The program.", "step 0: gemm\n"), d.Close()); e != nil {
		t.Fatal(e)
	}
	return dir, err
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range list {
		out = append(out, e.Name())
	}
	return out
}

func page(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "index.html"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestFilesAndPage(t *testing.T) {
	opts := passes.Options{Pipeline: []passes.Pass{passes.Dead(), passes.Canonical(), passes.Linears(), passes.Epilogues()}}
	dir, err := run(t, opts)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"00_import.ir", "02_canonical.ir", "03_linear.ir", "04_epilogue.ir", "05_plan.txt", "index.html"}
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Errorf("files %v, want %v", got, want)
	}
	b, err := os.ReadFile(filepath.Join(dir, "04_epilogue.ir"))
	if err != nil || !strings.Contains(string(b), `moec::Linear(x, w=f32[8,8]#`) {
		t.Errorf("%s (%v)", b, err)
	}
	html := page(t, dir)
	if n := strings.Count(html, "<section"); n != 6 {
		t.Errorf("%d columns, want 6", n)
	}
	if n := strings.Count(html, `class="same folded"`); n != 1 {
		t.Errorf("%d folded columns, want 1, of dead", n)
	}
	// The same value has the same key in every column; the input is read and declared.
	key := regexp.MustCompile(`data-k="(\d+)">x</a>`).FindAllStringSubmatch(html, -1)
	if len(key) != 8 {
		t.Errorf("the input x is marked %d times, want 8", len(key))
	}
	for _, k := range key {
		if k[1] != key[0][1] {
			t.Errorf("x has keys %s and %s", key[0][1], k[1])
		}
	}
	if !strings.Contains(html, `class="l new"`) || !strings.Contains(html, `gone"`) {
		t.Error("no line is marked as new or gone")
	}
}

// The page must not fetch anything, nor run what the model's names say.
func TestPageIsSelfContainedAndSafe(t *testing.T) {
	dir, err := run(t, passes.Options{})
	if err != nil {
		t.Fatal(err)
	}
	html := page(t, dir)
	if m := regexp.MustCompile(`(?i)\b(src|href)\s*=|https?:|@import|url\(`).FindString(html); m != "" {
		t.Errorf("the page refers to something outside: %s", m)
	}
	for _, bad := range []string{"<b>mlp", "</script><i>", "<img>"} {
		if strings.Contains(html, bad) {
			t.Errorf("the name %s is not escaped", bad)
		}
	}
}

func TestFailingPassIsShown(t *testing.T) {
	opts := passes.Options{Pipeline: []passes.Pass{passes.Canonical(), {
		Name: "boom", Run: func(context.Context, *ir.Graph) (bool, error) { panic("ouch") },
	}}}
	dir, err := run(t, opts)
	if err == nil || !strings.Contains(err.Error(), "pass boom") {
		t.Error(err)
	}
	if got := names(t, dir); !slices.Contains(got, "02_boom.ir") || !slices.Contains(got, "index.html") {
		t.Errorf("files %v", got)
	}
}
