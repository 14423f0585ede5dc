package emu_test

import (
	"testing"

	"github.com/seed-c851cfd2/moec/cuda/emu"
)

// TestContestedLock lets every block wait for its turn at a lock with a
// barrier in each attempt: the block that waits must give way to the others.
func TestContestedLock(t *testing.T) {
	st, err := launch(t, `
	setp.ne.s32 %p0, %r0, 0;
AGAIN:
	@!%p0 atom.acquire.gpu.global.cas.b32 %r5, [%rd1], %r1, %r1;
	@!%p0 st.shared.u32 [buf], %r5;
	bar.sync 0;
	ld.shared.u32 %r6, [buf];
	bar.sync 0;
	setp.ne.s32 %p1, %r6, %r1;
	@%p1 bra AGAIN;
	st.global.u32 [%rd3], %r1;
	add.s32 %r7, %r1, 1;
	bar.sync 0;
	@!%p0 atom.release.gpu.global.exch.b32 %r5, [%rd1], %r7;
`, 6, 64)
	if err != nil {
		t.Fatal(err)
	}
	if st.WarpInstr > 1<<17 {
		t.Errorf("%d instructions for six turns", st.WarpInstr)
	}
}

// TestLockWithinWarp lets the lanes of a warp contend for a lock in a loop
// whose exit lies further down: the lane that holds it must get its turn.
func TestLockWithinWarp(t *testing.T) {
	if _, err := launch(t, `
	mov.u32 %r5, 0;
TRY:
	atom.acquire.gpu.global.cas.b32 %r6, [%rd1], 0, 1;
	setp.ne.s32 %p0, %r6, 0;
	@%p0 bra TRY;
	ld.global.u32 %r7, [%rd1+4];
	add.s32 %r7, %r7, 1;
	st.global.u32 [%rd1+4], %r7;
	atom.release.gpu.global.exch.b32 %r6, [%rd1], 0;
	st.global.u32 [%rd3], %r7;
`, 1, 64); err != nil {
		t.Error(err)
	}
}

// TestWordAtTheEnd adds to the last 16-bit element of an odd-sized allocation
// by a compare-and-swap of the word around it, as compilers do.
func TestWordAtTheEnd(t *testing.T) {
	for want, body := range map[emu.FaultKind]string{
		"":              "ld.relaxed.gpu.global.b32 %r5, [%rd0+4]; add.s32 %r6, %r5, 1; atom.relaxed.gpu.global.cas.b32 %r7, [%rd0+4], %r5, %r6;",
		emu.OutOfBounds: "ld.global.b32 %r5, [%rd0+4];",
	} {
		mod, err := emu.Parse(header + body + "\nret; }")
		if err != nil {
			t.Fatal(err)
		}
		dev := emu.NewDevice(emu.Options{Checks: emu.AllChecks})
		out, _ := dev.Alloc(6)
		if err := dev.Memset(out, []byte{1, 0}, 6); err != nil {
			t.Fatal(err)
		}
		_, err = dev.Launch(t.Context(), mod, "k", emu.Launch{Args: []any{out, out}})
		if want != "" {
			if f, ok := err.(*emu.Fault); !ok || f.Kind != want {
				t.Errorf("a plain load of the word: %v", err)
			}
			continue
		}
		got := make([]byte, 6)
		if err == nil {
			err = dev.CopyOut(got, out)
		}
		if err != nil || got[4] != 2 {
			t.Errorf("%v, %v", got, err)
		}
	}
}

// TestParameterAddresses reads parameters through addresses: a kernel's in
// generic space, a function's by a register in its parameter space.
func TestParameterAddresses(t *testing.T) {
	mod, err := emu.Parse(`.version 7.8
.target sm_80
.address_size 64
.func (.param .b32 ret) pick(.param .align 4 .b8 s[16], .param .b32 i)
{
	.reg .b32 %r<3>; .reg .b64 %d<3>;
	mov.b64 %d0, s;
	ld.param.u32 %r0, [i];
	mul.wide.u32 %d1, %r0, 4;
	add.s64 %d1, %d0, %d1;
	ld.param.b32 %r1, [%d1];
	cvta.param.u64 %d2, %d1;
	ld.b32 %r2, [%d2];
	add.s32 %r1, %r1, %r2;
	st.param.b32 [ret], %r1;
	ret;
}
.visible .entry k(.param .u64 out, .param .align 4 .b8 v[16])
{
	.reg .b32 %r<8>; .reg .b64 %d<4>;
	ld.param.u64 %d0, [out];
	mov.u32 %r0, %tid.x;
	mov.b64 %d1, v;
	cvta.param.u64 %d1, %d1;
	mul.wide.u32 %d2, %r0, 4;
	add.s64 %d1, %d1, %d2;
	ld.b32 %r1, [%d1];
	{
		.param .align 4 .b8 p0[16]; .param .b32 p1; .param .b32 r;
		st.param.b32 [p0], 100; st.param.b32 [p0+4], 200; st.param.b32 [p0+8], 300; st.param.b32 [p0+12], 400;
		st.param.b32 [p1], %r0;
		call (r), pick, (p0, p1);
		ld.param.b32 %r2, [r];
	}
	add.s32 %r1, %r1, %r2;
	add.s64 %d0, %d0, %d2;
	st.global.b32 [%d0], %r1;
	ret;
}`)
	if err != nil {
		t.Fatal(err)
	}
	dev := emu.NewDevice(emu.Options{Checks: emu.AllChecks})
	out, _ := dev.Alloc(16)
	v := []byte{1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0}
	if _, err := dev.Launch(t.Context(), mod, "k", emu.Launch{Block: [3]int{4}, Args: []any{out, v}}); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 16)
	if err := dev.CopyOut(got, out); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		if g, want := int(got[4*i])|int(got[4*i+1])<<8, 201*(i+1); g != want {
			t.Errorf("thread %d: %d, expected %d", i, g, want)
		}
	}
}
