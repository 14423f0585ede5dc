package plan_test

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/irtext"
	"github.com/seed-c851cfd2/moec/ir/ops"
)

// TestVariant: the first variant whose condition holds is taken, else the launches for all sizes; asked for one order
// of additions, those with another are passed over.
func TestVariant(t *testing.T) {
	launch := func(k string) []plan.Launch { return []plan.Launch{{Kernel: k}} }
	st := &plan.Step{
		Launches: launch("many"),
		Variants: []plan.Variant{
			{When: "n<=4", Launches: launch("few"), Reorders: true},
			{When: "n<=100", Launches: launch("some")},
		},
	}
	for _, c := range []struct {
		n    int64
		same bool
		want string
	}{{0, false, "few"}, {4, false, "few"}, {4, true, "some"}, {5, false, "some"}, {100, true, "some"}, {101, false, "many"}} {
		v, err := st.Variant(map[string]int64{"n": c.n}, c.same)
		if err != nil || v.Launches[0].Kernel != c.want {
			t.Errorf("n=%d, same order %t: %v, %v; want %s", c.n, c.same, v.Launches, err, c.want)
		}
	}
	if _, err := st.Variant(nil, false); err == nil || !strings.Contains(err.Error(), `"n"`) {
		t.Errorf("without the dimension: %v", err)
	}
}

// TestDamagedVariants: what a file says of variants is checked when it is read.
func TestDamagedVariants(t *testing.T) {
	ctx := context.Background()
	g, err := irtext.Parse(`graph(x: f32[n,512]) {
  y = MatMul(x, w=f32[512,2048]rand(1))
  return y
}`, ops.NewTable(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := ir.Infer(g); err != nil {
		t.Fatal(err)
	}
	p, err := codegen.Compile(ctx, g, codegen.Target{Device: "cuda"})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Main().Steps[0].Variants) == 0 {
		var b strings.Builder
		plan.Print(&b, p)
		t.Fatalf("the product has no variants:\n%s", b.String())
	}
	good := container(t, p)
	text := string(entry(t, good, "program.json"))
	for _, c := range []struct{ name, find, put string }{
		{"no condition", `"when": "[^"]*",`, ``},
		{"an open condition", `"when": "n\\u003c=`, `"when": "n\u003c`},
		{"an unknown function", `"when": "n`, `"when": "f(n,n)`},
		{"nested functions", `"when": "n`, `"when": "` + strings.Repeat("min(n,", 1000)},
		{"no launches for all sizes", `(?s)"launches": \[\n.*?"flops": "[^"]*"\s*\}\s*\]`, `"launches": []`},
		{"a value that is not there", `"v0"`, `"v70"`},
		{"a temporary that is not there", `"v0"`, `"t0"`},
		{"a module that is not there", `"module": "linear`, `"module": "liner`},
		{"no threads", `"block": \d+`, `"block": 0`},
		{"a grid that is no expression", `ceildiv\(n,\d+\)`, `ceildiv(n,0)`},
		{"variants of another type", `"variants": \[`, `"variants": 3, "x": [`},
	} {
		re := regexp.MustCompile(c.find)
		if !re.MatchString(text) {
			t.Fatalf("%s: nothing to damage in\n%s", c.name, text)
		}
		// All of them, and the last alone, which is a variant's.
		at := re.FindAllStringIndex(text, -1)
		last := at[len(at)-1]
		for _, bad := range []string{re.ReplaceAllLiteralString(text, c.put), text[:last[0]] + c.put + text[last[1]:]} {
			_, err := plan.Decode(replaceEntry(t, good, "program.json", []byte(bad)), ops.NewTable())
			if !errors.Is(err, plan.ErrFormat) {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	}
}
