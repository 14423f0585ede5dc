package emu_test

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/cuda/emu"
)

// callees are a recursive function, one that calls it, and two that are called
// through a table of addresses.
const callees = `.version 7.8
.target sm_80
.address_size 64
.func (.param .b32 r) fib(.param .b32 n);
.func (.param .b32 r) twice(.param .b32 n) { .reg .b32 %a; ld.param.b32 %a, [n]; shl.b32 %a, %a, 1; st.param.b32 [r], %a; ret; }
.func (.param .b32 r) fib(.param .b32 n)
{
	.reg .b32 %a, %b; .reg .pred %p;
	.local .b32 keep;
	ld.param.b32 %a, [n];
	setp.lt.s32 %p, %a, 2;
	@%p bra DONE;
	add.s32 %b, %a, -1;
	{ .param .b32 p0; .param .b32 q; st.param.b32 [p0], %b; call (q), fib, (p0); ld.param.b32 %b, [q]; }
	st.local.b32 [keep], %b;
	add.s32 %a, %a, -2;
	{ .param .b32 p0; .param .b32 q; st.param.b32 [p0], %a; call (q), fib, (p0); ld.param.b32 %a, [q]; }
	ld.local.b32 %b, [keep];
	add.s32 %a, %a, %b;
DONE:
	st.param.b32 [r], %a;
	ret;
}
.global .align 8 .u64 table[3] = {twice, fib, 0};
.visible .entry k(.param .u64 out, .param .u32 n)
{
	.reg .b32 %t, %i, %n, %v; .reg .b64 %o, %d, %f;
	ld.param.u64 %o, [out];
	ld.param.u32 %n, [n];
	mov.u32 %t, %tid.x;
	rem.u32 %i, %t, %n;
	mov.u64 %d, table;
	mad.wide.u32 %d, %i, 8, %d;
	ld.global.u64 %f, [%d];
	{ .param .b32 p0; .param .b32 q; st.param.b32 [p0], %t; proto: .callprototype (.param .b32 _) _ (.param .b32 _); call (q), %f, (p0), proto; ld.param.b32 %v, [q]; }
	mad.wide.u32 %o, %t, 4, %o;
	st.global.b32 [%o], %v;
	ret;
}
`

func TestOutlinedCalls(t *testing.T) {
	mod, err := emu.Parse(callees)
	if err != nil {
		t.Fatal(err)
	}
	dev := emu.NewDevice(emu.Options{Checks: emu.AllChecks})
	out, _ := dev.Alloc(4 * 20)
	if _, err := dev.Launch(t.Context(), mod, "k", emu.Launch{Block: [3]int{20}, Args: []any{out, uint32(2)}}); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 4*20)
	if err := dev.CopyOut(got, out); err != nil {
		t.Fatal(err)
	}
	fib := []uint32{0, 1}
	for i := range uint32(20) {
		fib = append(fib, fib[i]+fib[i+1])
		want := 2 * i
		if i%2 == 1 {
			want = fib[i]
		}
		if g := binary.LittleEndian.Uint32(got[4*i:]); g != want {
			t.Errorf("thread %d: %d, expected %d", i, g, want)
		}
	}
	_, err = dev.Launch(t.Context(), mod, "k", emu.Launch{Block: [3]int{20}, Args: []any{out, uint32(3)}})
	if err == nil || !strings.Contains(err.Error(), "not the address of a function") {
		t.Errorf("a call through a null pointer: %v", err)
	}
	endless, err := emu.Parse(strings.Replace(callees, "@%p bra DONE;", "", 1))
	if err != nil {
		t.Fatal(err)
	}
	_, err = dev.Launch(t.Context(), endless, "k", emu.Launch{Block: [3]int{20}, Args: []any{out, uint32(2)}})
	if err == nil || !strings.Contains(err.Error(), "calls without a return") {
		t.Errorf("endless recursion: %v", err)
	}
}

// TestHeap allocates and frees in device code.
func TestHeap(t *testing.T) {
	src := `.version 7.8
.target sm_80
.address_size 64
.extern .func (.param .b64 r) malloc(.param .b64 n);
.extern .func free(.param .b64 p);
.visible .entry k(.param .u64 out)
{
	.reg .b32 %t, %v; .reg .b64 %o, %p;
	ld.param.u64 %o, [out];
	mov.u32 %t, %tid.x;
	{ .param .b64 p0; .param .b64 q; st.param.b64 [p0], 8; call (q), malloc, (p0); ld.param.b64 %p, [q]; }
	st.b32 [%p+4], %t;
	ld.b32 %v, [%p+AT];
	mad.wide.u32 %o, %t, 4, %o;
	st.global.b32 [%o], %v;
	{ .param .b64 p0; st.param.b64 [p0], %p; call free, (p0); }
	LATER
	ret;
}
`
	for _, c := range []struct {
		at, later, want string
	}{
		{"4", "", ""},
		{"0", "", "has no value"},
		{"8", "", "out of bounds"},
		{"4", "ld.b32 %v, [%p+4];", "freed"},
		{"4", "{ .param .b64 p0; st.param.b64 [p0], %p; call free, (p0); }", "not an allocation"},
	} {
		mod, err := emu.Parse(strings.NewReplacer("AT]", c.at+"]", "LATER", c.later).Replace(src))
		if err != nil {
			t.Fatal(err)
		}
		dev := emu.NewDevice(emu.Options{Checks: emu.AllChecks})
		out, _ := dev.Alloc(4 * 32)
		_, err = dev.Launch(t.Context(), mod, "k", emu.Launch{Block: [3]int{32}, Args: []any{out}})
		if err == nil {
			err = dev.CopyOut(make([]byte, 4*32), out)
		}
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v: %v", c, err)
		}
	}
}
