package asmgen

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// The expected bytes are those of GNU as for the same operands.
func TestEVEXBytes(t *testing.T) {
	for _, c := range []struct {
		e               EVEX
		name            string
		dst, src1, src2 int
		want            string
	}{
		{VDPBF16PS, "VDPBF16PS", 1, 2, 3, "62 f2 6e 48 52 cb"},
		{VDPBF16PS, "VDPBF16PS", 13, 22, 31, "62 12 4e 40 52 ef"},
		{VDPBF16PS, "VDPBF16PS", 27, 30, 9, "62 42 0e 40 52 d9"},
		{VCVTNE2PS2BF16, "VCVTNE2PS2BF16", 17, 29, 12, "62 c2 17 40 72 cc"},
		{VCVTNEPS2BF16, "VCVTNEPS2BF16", 9, 0, 20, "62 32 7e 48 72 cc"},
		{VCVTNEPS2BF16, "VCVTNEPS2BF16", 31, 0, 9, "62 42 7e 48 72 f9"},
	} {
		line := c.e.RRR(c.name, c.dst, c.src1, c.src2)
		var got []string
		for _, m := range regexp.MustCompile(`BYTE \$0x(..)`).FindAllStringSubmatch(line, -1) {
			got = append(got, m[1])
		}
		if g := strings.Join(got, " "); g != c.want {
			t.Errorf("%s z%d z%d z%d = %s, want %s", c.name, c.dst, c.src1, c.src2, g, c.want)
		}
	}
}

func TestFileText(t *testing.T) {
	f := New("amd64", "go run ./gen")
	fn := f.Func("k", 8, "k does nothing.")
	l := fn.Label("loop")
	fn.Mark(l)
	fn.I("VBROADCASTSS %s, Z0", f.Bcast(1))
	fn.I("VBROADCASTSS %s, Z1", f.Bcast(2))
	fn.I("VADDPS %s, %s, %s", Z(0), Z(1), Z(2))
	if a, b := f.Bcast(1), fmt.Sprintf("pool<>+%d(SB)", 0); a != b {
		t.Errorf("constant not shared: %s", a)
	}
	fn.I("RET")
	got := string(f.Bytes())
	for _, want := range []string{
		"//go:build amd64\n", "DO NOT EDIT", "TEXT ·k(SB), NOSPLIT, $8-8\n", "loop1:\n",
		"DATA pool<>+0(SB)/4, $0x3f800000\n", "DATA pool<>+4(SB)/4, $0x40000000\n", "GLOBL pool<>(SB), RODATA|NOPTR, $8\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}
