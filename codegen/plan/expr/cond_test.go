package expr_test

import (
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen/plan/expr"
)

func TestCond(t *testing.T) {
	dims := map[string]int64{"batch": 3, "seq": 10}
	for _, c := range []struct {
		text string
		want bool
	}{
		{"batch*seq<=30", true},
		{"batch*seq<=29", false},
		{"max(batch,seq)<=4*batch", true},
		{"0<=batch-4", false},
	} {
		cond, err := expr.ParseCond(c.text)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := cond.Holds(dims); err != nil || got != c.want {
			t.Errorf("%s: %t, %v; want %t", c.text, got, err, c.want)
		}
		if cond.String() != c.text {
			t.Errorf("%s prints as %s", c.text, cond)
		}
	}
	for _, bad := range []string{"", "batch", "batch<", "<=3", "batch<=", "a<=b<=c", "a<b"} {
		if c, err := expr.ParseCond(bad); err == nil {
			t.Errorf("%q parses as %s", bad, c)
		}
	}
	if _, err := expr.AtMost(expr.Sym("x"), 1).Holds(dims); err == nil || !strings.Contains(err.Error(), `"x"`) {
		t.Errorf("a missing dimension: %v", err)
	}
	deep := strings.Repeat("min(a,", 1<<20)
	if _, err := expr.Parse(deep); err == nil {
		t.Error("an expression of a million levels parses")
	}
}
