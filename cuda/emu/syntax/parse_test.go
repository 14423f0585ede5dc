package syntax

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestScopesAndOperands(t *testing.T) {
	m, err := Parse(`.version 7.0
.target sm_80, debug
.address_size 64
.global .align 8 .u64 table[2] = {generic(data)+4, 7};
.const .f32 c = 1.5;
.visible .entry k(.param .u64 .ptr .global .align 16 a, .param .align 4 .b8 s[12])
.reqntid 64
{
	.reg .b32 %r<3>;
	.reg .pred p;
	setp.lt.s32 p|p, %r0, -3;
	{ .reg .b32 %r1; mov.b32 %r1, 0f3f800000; }
L1: @!p ld.global.L2::128B.v2.b32 {%r0, _}, [a+-8];
	bra L1;
ts: .branchtargets L1, L1;
	ret;
}`)
	if err != nil {
		t.Fatal(err)
	}
	f := m.Func("k")
	if f == nil || !f.Entry || len(f.Params) != 2 || f.Params[1].Size() != 12 || f.ReqNTid != [3]int{64, 1, 1} {
		t.Fatalf("kernel = %+v", f)
	}
	if len(f.Regs) != 5 || f.Body[1].Args[0].Reg != 4 {
		t.Errorf("the inner %%r1 must be a register of its own: %+v", f.Body[1])
	}
	ld := f.Body[2]
	if !ld.GuardNot || !ld.Has("L2::128B") || int64(ld.Args[1].Imm) != -8 || ld.Args[0].Vec[1].Kind != KSink {
		t.Errorf("ld = %+v", ld)
	}
	if f.Labels["L1"] != 2 || len(f.Tables["ts"]) != 2 {
		t.Errorf("labels %v tables %v", f.Labels, f.Tables)
	}
	if v := m.Vars[0]; v.Init[0].Sym != "data" || !v.Init[0].Generic || v.Init[0].Value != 4 || v.Init[1].Value != 7 {
		t.Errorf("table = %+v", v)
	}
	if m.Vars[1].Init[0].Value != 0x3fc00000 {
		t.Errorf("c = %#x", m.Vars[1].Init[0].Value)
	}
}

func TestErrorsNameTheLine(t *testing.T) {
	for _, c := range []struct{ src, want string }{
		{".bogus", "line 1: unknown directive"},
		{".entry k()\n{\nadd.s32 %r1, %r1, 1;\n}", "line 3: register %r1 is not declared"},
		{".entry k()\n{\nret", "line 3: expected"},
		{".entry k()\n{ .reg .b32 %r<9999999999>; }", "too many"},
		{".global .b8 x[99999999999];", "too large"},
		{".entry k() { L: L: ret; }", "defined twice"},
	} {
		_, err := Parse(c.src)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error %v, want %q", c.src, err, c.want)
		}
	}
}

// TestScopes declares names again in other blocks: each use means the nearest.
func TestScopes(t *testing.T) {
	m, err := Parse(`.func f(.param .b32 p) { .reg .pred q; .reg .b32 a;
	{ .param .b32 param0; { .reg .b64 a; mov.b64 a, param0; } L: @q bra L; bra OUT; }
	{ .param .b64 param0[4]; mov.b32 a, param0; L: bra L; T: .branchtargets L, OUT; brx.idx a, T; }
	OUT: ret; }`)
	if err != nil {
		t.Fatal(err)
	}
	f := m.Funcs[0]
	if len(f.Vars) != 2 || f.Vars[0].Name == f.Vars[1].Name {
		t.Fatalf("variables %v", f.Vars)
	}
	body := f.Body
	if body[0].Args[1].Sym != f.Vars[0].Name || body[3].Args[1].Sym != f.Vars[1].Name {
		t.Error("a use means the wrong variable")
	}
	if f.Regs[body[0].Args[0].Reg].Type != B64 || f.Regs[body[3].Args[0].Reg].Type != B32 {
		t.Error("a use means the wrong register")
	}
	for i, want := range map[int]int{1: 1, 2: 6, 4: 4} {
		if at := f.Labels[body[i].Args[0].Sym]; at != want {
			t.Errorf("branch %d goes to %d, expected %d", i, at, want)
		}
	}
	if table := f.Tables[body[5].Args[1].Sym]; len(table) != 2 || f.Labels[table[0]] != 4 || f.Labels[table[1]] != 6 {
		t.Errorf("branch table %v", table)
	}
	if _, err := Parse(".func f() { { T: .branchtargets L; } }"); err == nil || !strings.Contains(err.Error(), "unknown label") {
		t.Errorf("a table of an unknown label: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	files, _ := filepath.Glob("../testdata/ptx-corpus/*/kernel.ptx")
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(src))
	}
	f.Add(".entry k(.param .b32 a){.reg .f32 x; mov.f32 x, 1.0; @p bra L; \"")
	f.Fuzz(func(t *testing.T, src string) {
		if _, err := Parse(src); err != nil && !strings.Contains(err.Error(), "ptx line") {
			t.Errorf("error without a line: %v", err)
		}
	})
}
