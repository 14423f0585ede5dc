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
