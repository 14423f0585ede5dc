package emu_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/cuda/emu"
)

const (
	header = `.version 7.0
.target sm_80
.address_size 64
.extern .shared .align 16 .b8 dyn[];
.visible .entry k(.param .u64 out, .param .u64 in)
{
	.reg .b32 %r<32>; .reg .b16 %h<8>; .reg .f32 %f<16>; .reg .b64 %rd<16>; .reg .pred %p<8>;
	.shared .align 16 .b8 buf[4096];
	ld.param.u64 %rd0, [out];
	ld.param.u64 %rd1, [in];
	mov.u32 %r0, %tid.x;
	mov.u32 %r1, %ctaid.x;
	shl.b32 %r2, %r0, 2;
	mov.u32 %r3, buf;
	add.s32 %r4, %r3, %r2;          // &buf[tid]
	mul.wide.u32 %rd2, %r0, 4;
	add.s64 %rd3, %rd0, %rd2;       // &out[tid]
	add.s64 %rd4, %rd1, %rd2;       // &in[tid]
`
	// neighbour reads what the next thread of the block wrote to shared memory.
	neighbour = `
	add.s32 %r5, %r2, 4; and.b32 %r5, %r5, 255; add.s32 %r5, %r5, %r3;
	st.shared.u32 [%r4], %r0;
	SYNC
	ld.shared.u32 %r6, [%r5];
	st.global.u32 [%rd3], %r6;
`
	// handOver passes a value from block 0 to block 1 through a flag in[0].
	handOver = `
	setp.ne.s32 %p0, %r0, 0;
	setp.ne.s32 %p1, %r1, 0;
	@%p1 bra CONSUME;
	st.global.u32 [%rd3+256], %r0;
	bar.sync 0;
	@%p0 bra DONE;
	WFENCE
	WRITE
	bra DONE;
CONSUME:
	@%p0 bra WAITED;
SPIN:
	READ
	setp.eq.s32 %p2, %r7, 0;
	@%p2 bra SPIN;
	RFENCE
WAITED:
	bar.sync 0;
	ld.global.u32 %r8, [%rd3+256];
	st.global.u32 [%rd3], %r8;
DONE:
`
)

func replace(s string, pairs ...string) string { return strings.NewReplacer(pairs...).Replace(s) }

// launch runs a body over out (128 words, not written) and in (128 zero words).
func launch(t *testing.T, body string, grid, block int) (emu.Stats, error) {
	t.Helper()
	mod, err := emu.Parse(header + body + "\n\tret;\n}\n")
	if err != nil {
		t.Fatal(err)
	}
	var last emu.Stats
	for seed := range uint64(4) {
		dev := emu.NewDevice(emu.Options{Seed: seed, Checks: emu.AllChecks, MaxSteps: 1 << 23})
		out, _ := dev.Alloc(512)
		in, _ := dev.Alloc(512)
		if err := dev.Memset(in, []byte{0}, 512); err != nil {
			t.Fatal(err)
		}
		last, err = dev.Launch(t.Context(), mod, "k", emu.Launch{Grid: [3]int{grid}, Block: [3]int{block}, SharedBytes: 64, Args: []any{out, in}})
		if err != nil {
			return last, err
		}
		if err := dev.CopyOut(make([]byte, 4*block), out); err != nil {
			return last, err
		}
	}
	return last, nil
}

func TestFaults(t *testing.T) {
	store := "\n\tst.global.u32 [%rd3], %r0;\n"
	for _, c := range []struct {
		name, body  string
		grid, block int
		want        emu.FaultKind // "" when the kernel is right
		msg         string
	}{
		{"in bounds", store, 1, 64, "", ""},
		{"out of bounds", "st.global.u32 [%rd3+512], %r0;", 1, 32, emu.OutOfBounds, "allocation"},
		{"before the allocation", "st.global.u32 [%rd3-4], %r0;", 1, 32, emu.OutOfBounds, "lane 0"},
		{"shared out of bounds", "st.shared.u32 [%r4+4090], %r0;" + store, 1, 32, emu.Misaligned, ""},
		{"between shared variables", "st.shared.u32 [%r4+4096], %r0;" + store, 1, 32, emu.OutOfBounds, "shared"},
		{"dynamic shared", "st.shared.u32 [dyn+64], %r0;" + store, 1, 1, emu.OutOfBounds, "shared"},
		{"misaligned", "st.global.v2.u32 [%rd3], {%r0, %r0};", 1, 32, emu.Misaligned, "lane 1"},

		{"a tile too large", `mov.b32 %r5, 300;
			tensormap.replace.tile.box_dim.global.b1024.b32 [%rd1], 0, %r5;
			cp.async.bulk.tensor.1d.shared::cta.global.mbarrier::complete_tx::bytes [buf], [%rd1, {%r0}], [buf];` + store, 1, 1, emu.InvalidOperation, "tiles of 300"},
		{"a tile of nothing", `
			cp.async.bulk.tensor.1d.shared::cta.global.mbarrier::complete_tx::bytes [buf], [%rd1, {%r0}], [buf];` + store, 1, 1, emu.InvalidOperation, "tiles of 0"},

		{"barrier", replace(neighbour, "SYNC", "bar.sync 0;"), 1, 64, "", ""},
		{"no barrier", replace(neighbour, "SYNC", ""), 1, 64, emu.Race, "nothing orders"},
		{"warp barrier", replace(neighbour, "255", "127", "SYNC", "bar.warp.sync -1;"), 1, 32, "", ""},
		{"no warp barrier", replace(neighbour, "255", "127", "SYNC", ""), 1, 32, emu.Race, "lane"},
		{"warp barrier for two warps", replace(neighbour, "SYNC", "bar.warp.sync -1;"), 1, 64, emu.Race, ""},
		{"half-warp barriers", replace(neighbour, "SYNC", `
			and.b32 %r7, %r0, 16; shl.b32 %r8, 65535, %r7; and.b32 %r5, %r2, 63; add.s32 %r5, %r5, 4; and.b32 %r5, %r5, 63;
			and.b32 %r9, %r2, 64; add.s32 %r5, %r5, %r9; add.s32 %r5, %r5, %r3; bar.warp.sync %r8;`), 1, 32, "", ""},
		{"wrong half-warp barriers", replace(neighbour, "SYNC", `
			and.b32 %r7, %r0, 16; shl.b32 %r8, 65535, %r7; xor.b32 %r5, %r4, 64; bar.warp.sync %r8;`), 1, 32, emu.Race, ""},
		{"shuffle orders no memory", replace(neighbour, "255", "127", "SYNC", "shfl.sync.idx.b32 %r9, %r0, 0, 31, -1;"), 1, 32, emu.Race, ""},

		{"two blocks, one place", store, 2, 32, "", ""}, // equal values
		{"two blocks, two values", "add.s32 %r5, %r0, %r1; st.global.u32 [%rd3], %r5;", 2, 32, emu.Race, "block"},
		{"atomics do not race", "atom.global.add.u32 %r5, [%rd1], 1;" + store, 2, 32, "", ""},
		{"atomic against load", "atom.global.add.u32 %r5, [%rd4], 1; ld.global.u32 %r6, [%rd1+4];" + store, 2, 64, emu.Race, ""},
		{"block-scope atomics across blocks", "atom.cta.global.add.u32 %r5, [%rd1], 1;" + store, 2, 32, emu.Race, ""},

		{"release and acquire", replace(handOver, "WFENCE", "", "RFENCE", "", "WRITE", "st.release.gpu.global.u32 [%rd1], 1;", "READ", "ld.acquire.gpu.global.u32 %r7, [%rd1];"), 2, 64, "", ""},
		{"relaxed write", replace(handOver, "WFENCE", "", "RFENCE", "", "WRITE", "st.relaxed.gpu.global.u32 [%rd1], 1;", "READ", "ld.acquire.gpu.global.u32 %r7, [%rd1];"), 2, 64, emu.Race, ""},
		{"relaxed read", replace(handOver, "WFENCE", "", "RFENCE", "", "WRITE", "st.release.gpu.global.u32 [%rd1], 1;", "READ", "ld.relaxed.gpu.global.u32 %r7, [%rd1];"), 2, 64, emu.Race, ""},
		{"block scope is too narrow", replace(handOver, "WFENCE", "", "RFENCE", "", "WRITE", "st.release.cta.global.u32 [%rd1], 1;", "READ", "ld.acquire.gpu.global.u32 %r7, [%rd1];"), 2, 64, emu.Race, ""},
		{"fences around atomics", replace(handOver, "WFENCE", "membar.gl;", "RFENCE", "fence.acq_rel.gpu;", "WRITE", "red.global.add.u32 [%rd1], 1;", "READ", "atom.global.or.b32 %r7, [%rd1], 0;"), 2, 64, "", ""},
		{"writer's fence missing", replace(handOver, "WFENCE", "", "RFENCE", "membar.gl;", "WRITE", "red.global.add.u32 [%rd1], 1;", "READ", "atom.global.or.b32 %r7, [%rd1], 0;"), 2, 64, emu.Race, ""},
		{"reader's fence missing", replace(handOver, "WFENCE", "membar.gl;", "RFENCE", "", "WRITE", "red.global.add.u32 [%rd1], 1;", "READ", "atom.global.or.b32 %r7, [%rd1], 0;"), 2, 64, emu.Race, ""},

		{"undefined address", "ld.global.u32 %r6, [%rd9];" + store, 1, 32, emu.Uninitialised, "%rd9"},
		{"undefined predicate", "@%p5 bra X; X:" + store, 1, 32, emu.Uninitialised, "%p5"},
		{"undefined value moved about", "mov.b32 %r9, %r10; add.s32 %r9, %r9, 1; st.shared.u32 [%r4], %r9;" + store, 1, 32, "", ""},
		{"undefined value reaches the host", "add.s32 %r9, %r10, 1; st.global.u32 [%rd3], %r9;", 1, 32, emu.Uninitialised, "host"},
		{"undefined value not selected", "setp.lt.s32 %p0, %r0, 99; selp.b32 %r9, %r0, %r10, %p0; st.global.u32 [%rd3], %r9;", 1, 32, "", ""},
		{"undefined half not used", "mov.b32 {%h0, %h1}, %r0; mov.b32 %r9, {%h0, %h2}; shl.b32 %r9, %r9, 16; shr.u32 %r9, %r9, 16; st.global.u32 [%rd3], %r9;", 1, 32, "", ""},
		{"undefined half used", "mov.b32 {%h0, %h1}, %r0; mov.b32 %r9, {%h0, %h2}; shr.u32 %r9, %r9, 8; st.global.u32 [%rd3], %r9;", 1, 32, emu.Uninitialised, "host"},
		{"undefined bytes permuted away", "mov.b32 {%h0, %h1}, %r0; mov.b32 %r9, {%h0, %h2}; prmt.b32 %r9, %r9, %r0, 0x4101; st.global.u32 [%rd3], %r9;", 1, 32, "", ""},
		{"undefined bytes permuted in", "mov.b32 {%h0, %h1}, %r0; mov.b32 %r9, {%h0, %h2}; prmt.b32 %r9, %r9, %r0, 0x4102; st.global.u32 [%rd3], %r9;", 1, 32, emu.Uninitialised, "host"},
		{"undefined bits masked", "lop3.b32 %r9, %r10, 255, %r0, 0x80; and.b32 %r9, %r9, 0xffffff00; st.global.u32 [%rd3], %r9;", 1, 32, "", ""},
		{"structure copied with its padding", "cvt.u16.u32 %h0, %r0; st.shared.b16 [%r4], %h0; ld.shared.u32 %r9, [%r4]; st.shared.u32 [%r4+128], %r9; ld.shared.u16 %r9, [%r4+128]; st.global.u32 [%rd3], %r9;", 1, 32, "", ""},
		{"padding used", "cvt.u16.u32 %h0, %r0; st.shared.b16 [%r4], %h0; ld.shared.u32 %r9, [%r4]; st.shared.u32 [%r4+128], %r9; ld.shared.u16 %r9, [%r4+130]; st.global.u32 [%rd3], %r9;", 1, 32, emu.Uninitialised, "host"},
		{"vector with one undefined element", "st.shared.u32 [%r4], %r0; bar.sync 0; ld.shared.v2.u32 {%r9, %r10}, [buf]; mov.u32 %r9, 0; ld.shared.v4.u32 {%r5, %r6, %r7, %r8}, [buf+112]; ld.shared.v2.u32 {%r5, %r6}, [buf+120]; st.global.u32 [%rd3], %r6;", 1, 32, "", ""},
		{"lanes that store replicas", "cvt.rn.f32.u32 %f0, %r0; fma.rn.f32 %f0, %f0, 0f33000000, 0f3f800000; st.shared.f32 [buf], %f0;" + store, 1, 32, "", ""},
		{"lanes that store what differs", "cvt.rn.f32.u32 %f0, %r0; fma.rn.f32 %f0, %f0, 0f3a000000, 0f3f800000; st.shared.f32 [buf], %f0;" + store, 1, 32, emu.Race, "lane"},
		{"replicas of two warps", "cvt.rn.f32.u32 %f0, %r0; fma.rn.f32 %f0, %f0, 0f33000000, 0f3f800000; st.shared.f32 [buf], %f0;" + store, 1, 64, emu.Race, "warp"},
		{"undefined shared memory decides", "ld.shared.u32 %r5, [%r4]; setp.eq.s32 %p0, %r5, 0; @%p0 bra X; X:" + store, 1, 32, emu.Uninitialised, "%p0"},
		{"host reads what nobody wrote", "ret;", 1, 32, emu.Uninitialised, "nobody wrote"},

		{"divergent barrier", "setp.lt.s32 %p0, %r0, 7; @%p0 bra X; bar.sync 0; X:" + store, 1, 32, emu.Divergence, "lanes"},
		{"barriers of different places", "setp.lt.s32 %p0, %r0, 32; @%p0 bra X; bar.sync 0; bra Y; X: bar.sync 0; Y:" + store, 1, 64, emu.Divergence, "at line"},
		{"shuffle without its lanes", "setp.lt.s32 %p0, %r0, 7; @%p0 bra X; shfl.sync.idx.b32 %r9, %r0, 0, 31, -1; X:" + store, 1, 32, emu.Divergence, ""},
		{"barrier for too many", "bar.sync 1, 64;" + store, 1, 32, emu.InvalidOperation, ""},
		{"barrier nobody else reaches", "setp.ge.s32 %p0, %r0, 32; @%p0 bra X; bar.sync 1, 64; X:" + store, 1, 64, emu.Deadlock, "warp 0 at line"},
		{"endless wait", "SPIN: ld.volatile.global.u32 %r5, [%rd1]; setp.eq.s32 %p0, %r5, 0; @%p0 bra SPIN;" + store, 1, 32, emu.Deadlock, ""},
		{"trap", "trap;", 1, 32, emu.Trapped, ""},

		{"async waited", "cp.async.ca.shared.global [%r4], [%rd4], 4; cp.async.commit_group; cp.async.wait_group 0; ld.shared.u32 %r5, [%r4]; st.global.u32 [%rd3], %r5;", 1, 32, "", ""},
		{"async not waited", "cp.async.ca.shared.global [%r4], [%rd4], 4; cp.async.commit_group; ld.shared.u32 %r5, [%r4]; st.global.u32 [%rd3], %r5;", 1, 32, emu.AsyncPending, "cp.async"},
		{"async waited by its own thread alone", "cp.async.ca.shared.global [%r4], [%rd4], 4; cp.async.wait_all; xor.b32 %r5, %r4, 4; ld.shared.u32 %r5, [%r5]; st.global.u32 [%rd3], %r5;", 1, 32, emu.Race, ""},
		{"async over pending reads", "st.shared.u32 [%r4], %r0; bar.sync 0; xor.b32 %r5, %r4, 4; ld.shared.u32 %r6, [%r5]; cp.async.ca.shared.global [%r4], [%rd4], 4; cp.async.wait_all; st.global.u32 [%rd3], %r6;", 1, 32, emu.Race, ""},

		{"named barriers", `
			setp.ge.s32 %p0, %r0, 32; @%p0 bra CONSUMER;
			st.shared.u32 [%r4], %r0; bar.arrive 1, 64; bra DONE2;
			CONSUMER: bar.sync 1, 64; ld.shared.u32 %r5, [%r4-128]; st.global.u32 [%rd3], %r5; st.global.u32 [%rd3-128], %r5;
			DONE2:`, 1, 64, "", ""},
		{"consumer does not wait", `
			setp.ge.s32 %p0, %r0, 32; @%p0 bra CONSUMER;
			st.shared.u32 [%r4], %r0; bar.sync 1, 64; bra DONE2;
			CONSUMER: bar.arrive 1, 64; ld.shared.u32 %r5, [%r4-128]; st.global.u32 [%rd3], %r5;
			DONE2:`, 1, 64, emu.Race, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := launch(t, c.body, c.grid, c.block)
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			var f *emu.Fault
			if !errors.As(err, &f) || f.Kind != c.want {
				t.Fatalf("got %v, want a fault of kind %q", err, c.want)
			}
			if !strings.Contains(f.Error(), c.msg) {
				t.Errorf("message %q does not contain %q", f, c.msg)
			}
			if f.Kernel != "k" && f.Kernel != "(none)" {
				t.Errorf("the fault names kernel %q", f.Kernel)
			}
		})
	}
}

func TestUnknownInstruction(t *testing.T) {
	_, err := emu.Parse(header + "\n\ttcgen05.fence::before_thread_sync;\n}\n")
	if err == nil || !strings.Contains(err.Error(), "line 20") || !strings.Contains(err.Error(), "tcgen05") {
		t.Errorf("error %v", err)
	}
}

// mbarrierBody is a producer warp that fills buf and a consumer that waits for
// it by an mbarrier in dynamic shared memory.
const mbarrierBody = `
	.reg .b64 %st;
	setp.ne.s32 %p0, %r0, 0;
	@!%p0 mbarrier.init.shared.b64 [dyn], 32;
	bar.sync 0;
	setp.ge.s32 %p1, %r0, 32;
	@%p1 bra CONSUME;
	st.shared.u32 [%r4], %r0;
	ARRIVE
	bra DONE;
CONSUME:
	mov.b64 %st, 0;
POLL:
	WAIT
	@!%p2 bra POLL;
	xor.b32 %r6, %r4, 4;
	ld.shared.u32 %r5, [%r6-128];
	st.global.u32 [%rd3], %r5;
	st.global.u32 [%rd3-128], %r5;
DONE:
`

func TestMbarrier(t *testing.T) {
	arrive, wait := "mbarrier.arrive.shared.b64 %st, [dyn];", "mbarrier.test_wait.shared.b64 %p2, [dyn], %st;"
	if _, err := launch(t, replace(mbarrierBody, "ARRIVE", arrive, "WAIT", wait), 1, 64); err != nil {
		t.Error(err)
	}
	parity := "mbarrier.try_wait.parity.shared::cta.b64 %p2, [dyn], 0;"
	if _, err := launch(t, replace(mbarrierBody, "ARRIVE", arrive, "WAIT", parity), 1, 64); err != nil {
		t.Error(err)
	}
	for name, body := range map[string]string{
		"no wait":           replace(mbarrierBody, "ARRIVE", arrive, "WAIT", "setp.eq.s32 %p2, %r0, %r0;"),
		"stores after":      replace(mbarrierBody, "ARRIVE", arrive+" st.shared.u32 [%r4], %r1;", "WAIT", wait),
		"nobody arrives":    replace(mbarrierBody, "ARRIVE", "", "WAIT", wait),
		"not initialised":   replace(mbarrierBody, "@!%p0 mbarrier.init.shared.b64 [dyn], 32;", "", "ARRIVE", arrive, "WAIT", wait),
		"init without sync": replace(mbarrierBody, "bar.sync 0;", "", "ARRIVE", arrive, "WAIT", wait),
	} {
		var f *emu.Fault
		if _, err := launch(t, body, 1, 64); !errors.As(err, &f) {
			t.Errorf("%s: %v", name, err)
		} else {
			t.Logf("%s: %v", name, f.Kind)
		}
	}
}
