package emu_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/cuda/emu"
)

// FuzzModule decodes damaged kernels: whatever the text, the outcome is a
// module or an error that names a line.
func FuzzModule(f *testing.F) {
	files, err := filepath.Glob("testdata/ptx-corpus/*/kernel.ptx")
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(src))
	}
	for _, body := range []string{
		"setp r, r, r;", "mov.b32 {r, r}, d;", "call (r), k, (r);", "mma.sync.m16n8k16.row.col.f32.bf16.bf16.f32 {r}, {r}, {r}, {r};",
		"cp.async.ca.shared.global [r], [d], 4, 2;", "atom.cas.b32 r, [d], r, r;", "vote.sync.ballot.b32 r, p, 1;", "bar.red.popc.u32 r, 0, p;",
		"cvt.pack.sat.s8.s32.b32 r, r, r, r;", "ldmatrix.sync.aligned.m8n8.x2.shared.b16 {r, r}, [r];", "st.v2.f32 [d], {r, r};",
		"shf.l.wrap.b32 r, r, r, r;", "brx.idx r, t; t: .branchtargets L; L:", "set.eq.u32.f32 r, r, r;", "red.global.add.v2.f32 [d], {r, r};",
	} {
		f.Add(".version 7.0\n.target sm_80\n.address_size 64\n.entry k(.param .u64 a) { .reg .b32 r; .reg .b64 d; .reg .pred p;\n" + body + "\nret; }")
	}
	f.Fuzz(func(t *testing.T, src string) {
		if len(src) > 1<<16 {
			t.Skip("long enough to be slow")
		}
		if _, err := emu.Parse(src); err != nil && !strings.Contains(err.Error(), "ptx line") {
			t.Errorf("error without a line: %v", err)
		}
	})
}

// TestDamagedInstructions gives every opcode operands of every wrong kind.
func TestDamagedInstructions(t *testing.T) {
	ops := []string{
		"add", "sub", "mul", "mad", "mul24", "mad24", "fma", "div", "rem", "neg", "abs", "min", "max", "sad", "dp4a", "dp2a", "addc", "subc", "madc",
		"rcp", "sqrt", "rsqrt", "sin", "cos", "lg2", "ex2", "tanh", "copysign", "testp", "and", "or", "xor", "not", "cnot", "shl", "shr", "shf", "lop3",
		"prmt", "bfe", "bfi", "bfind", "brev", "clz", "popc", "fns", "bmsk", "szext", "setp", "set", "selp", "slct", "mov", "cvt", "cvta", "isspacep",
		"ld", "ldu", "st", "atom", "red", "cp", "cp.async", "ldmatrix", "stmatrix", "movmatrix", "prefetch", "createpolicy", "mbarrier", "mma", "shfl.sync",
		"vote.sync", "match.sync", "redux.sync", "activemask", "elect.sync", "bar", "bar.sync", "bar.warp", "bar.red", "bar.arrive", "barrier", "membar",
		"fence", "nanosleep", "bra", "brx", "call", "ret", "exit", "trap",
	}
	mods := []string{"", ".b32", ".u64", ".f32", ".pred", ".f16x2", ".s8", ".eq.s32", ".eq.f32", ".global.u32", ".shared.v4.f32", ".param.b64", ".hi.s32", ".wide.u16", ".rn.f16.f32", ".sync.aligned.m8n8.x4.shared.b16", ".ballot.b32", ".cas.b64", ".ca.shared.global", ".cc.u32", ".to.global.u64", ".l.clamp.b32", ".b128", ".tf32"}
	args := []string{"", "r", "r, r", "r, r, r", "r, r, r, r", "r, r, r, r, r", "p, r, r", "p|p, r, r, !p", "[d], r", "r, [d]", "{r, r}, [d+4]", "[r], [d], 4", "[r], [d], 16, r", "r, 1, 2, 3", "d, d", "d, r", "h, r", "_, r", "r, _", "(r), k, (r)", "k", "L", "r, p, r", "r|p, r, r, r, r", "{r}, {r}, {r}, {r}", "{}, r", "r, {}", "0", "p", "r, x", "nosuch", "%tid.x, r", "r, %clock", "!r, r", "[nosuch], r", "r, 0f3f800000, 0d3ff0000000000000"}
	runs, faults := 0, 0
	defer func() { t.Logf("%d of the texts parse, %d of those fault", runs, faults) }()
	for _, op := range ops {
		for _, m := range mods {
			for _, a := range args {
				src := ".version 7.0\n.target sm_80\n.address_size 64\n.entry k(.param .u64 x) { .reg .b16 h; .reg .b32 r; .reg .b64 d; .reg .pred p; L:\n" + op + m + " " + a + ";\nret; }"
				mod, err := emu.Parse(src)
				if err != nil {
					if !strings.Contains(err.Error(), "ptx line") {
						t.Errorf("%s%s %s: error without a line: %v", op, m, a, err)
					}
					continue
				}
				// What parses may fault when it runs, but must not panic.
				dev := emu.NewDevice(emu.Options{MaxSteps: 1})
				if _, err := dev.Launch(t.Context(), mod, "k", emu.Launch{Block: [3]int{32}, Args: []any{uint64(0)}}); err != nil {
					faults++
				}
				runs++
			}
		}
	}
}
