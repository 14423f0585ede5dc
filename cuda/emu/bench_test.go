package emu_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/cuda/emu"
)

// benchKernel loops 256 times over a body.
func benchKernel(regs, body string) string {
	return fmt.Sprintf(`.version 7.0
.target sm_80
.address_size 64
.visible .entry k(.param .u64 out)
{
	.reg .b32 %%r<32>; .reg .f32 %%f<32>; .reg .b64 %%rd<8>; .reg .pred %%p<4>; %s
	ld.param.u64 %%rd0, [out];
	mov.u32 %%r0, %%tid.x;
	mov.u32 %%r1, %%ctaid.x;
	mad.lo.s32 %%r2, %%r1, 128, %%r0;
	mul.wide.u32 %%rd1, %%r2, 4;
	add.s64 %%rd2, %%rd0, %%rd1;
	mov.b32 %%r3, 0; mov.f32 %%f0, 0f3f800000; mov.f32 %%f1, 0f3f000000; mov.b32 %%r4, 7; mov.b32 %%r5, 9; mov.b32 %%r6, 3; mov.b32 %%r7, 1;
	mov.f32 %%f2, 0f00000000; mov.f32 %%f3, 0f00000000; mov.f32 %%f4, 0f00000000; mov.f32 %%f5, 0f00000000;
L:
%s
	add.s32 %%r3, %%r3, 1;
	setp.lt.s32 %%p0, %%r3, 256;
	@%%p0 bra L;
	st.global.u32 [%%rd2], %%r4;
	ret;
}`, regs, body)
}

func BenchmarkEmulator(b *testing.B) {
	alu := strings.Repeat("add.s32 %r4, %r4, %r3; fma.rn.f32 %f2, %f0, %f1, %f2; xor.b32 %r5, %r5, %r4; mad.lo.s32 %r6, %r4, %r5, %r6; shl.b32 %r7, %r6, 1;\n", 8)
	mem := strings.Repeat("ld.global.u32 %r8, [%rd2]; add.s32 %r8, %r8, 1; st.global.u32 [%rd2], %r8;\n", 8)
	mma := strings.Repeat("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f2,%f3,%f4,%f5}, {%r4,%r5,%r6,%r7}, {%r4,%r5}, {%f2,%f3,%f4,%f5};\n", 8)
	for _, c := range []struct {
		name, body string
		checks     emu.Checks
	}{
		{"alu", alu, emu.AllChecks},
		{"alu-unchecked", alu, emu.NoChecks},
		{"memory", mem, emu.AllChecks},
		{"memory-unchecked", mem, emu.NoChecks},
		{"mma", mma, emu.AllChecks},
	} {
		b.Run(c.name, func(b *testing.B) {
			mod, err := emu.Parse(benchKernel("", c.body))
			if err != nil {
				b.Fatal(err)
			}
			dev := emu.NewDevice(emu.Options{Checks: c.checks})
			p, _ := dev.Alloc(4 * 128 * 4)
			if err := dev.Memset(p, []byte{0}, 4*128*4); err != nil {
				b.Fatal(err)
			}
			var st emu.Stats
			for b.Loop() {
				s, err := dev.Launch(b.Context(), mod, "k", emu.Launch{Grid: [3]int{4}, Block: [3]int{128}, Args: []any{p}})
				if err != nil {
					b.Fatal(err)
				}
				st.Add(s)
			}
			b.ReportMetric(float64(st.ThreadInstr)/b.Elapsed().Seconds()/1e6, "Minstr/s")
			if st.TensorFlops > 0 {
				b.ReportMetric(float64(st.TensorFlops)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			}
		})
	}
}
