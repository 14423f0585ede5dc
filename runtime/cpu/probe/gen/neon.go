package main

import "github.com/seed-c851cfd2/moec/runtime/cpu/asmgen"

// neonChains is the number of independent accumulators: the latency of 4 cycles times
// the 4 instructions per cycle of the widest cores.
const neonChains = 16

// neonFile is the assembly for arm64.
func neonFile(generator string) *asmgen.File {
	f := asmgen.NewARM64(generator)
	neonMacs(f, "fmaV", func(fn *asmgen.Func, r int) { fn.I("%s", asmgen.FMLAE.Elem(r, 30, 31, 0)) })
	neonMacs(f, "sdotV", func(fn *asmgen.Func, r int) { fn.I("%s", asmgen.SDOT.Elem(r, 30, 31, 0)) })
	neonMacs(f, "smullV", func(fn *asmgen.Func, r int) {
		low, high := neonChains+r%4, neonChains+4+r%4
		fn.I("%s", asmgen.SMULL.RRR(low, 30, 31))
		fn.I("%s", asmgen.SMULL2.RRR(high, 30, 31))
		fn.I("%s", asmgen.ADDP.RRR(low, low, high))
		fn.I("%s", asmgen.SADALP.RR(r, low))
	})

	fn := f.Func("readV", 16, "readV reads n bytes (a multiple of 4096) in four streams.")
	fn.I("MOVD x+0(FP), R0")
	fn.I("MOVD n+8(FP), R4")
	fn.I("LSR $2, R4")
	for i, r := range []string{"R1", "R2", "R3"} {
		fn.I("ADD R4, R%d, %s", i, r)
	}
	loop := fn.Label("loop")
	fn.Mark(loop)
	for i := range 4 {
		for range 4 {
			fn.I("FLDPQ.P 32(R%d), (F%d, F%d)", i, 2*i, 2*i+1)
			for v := range 2 {
				fn.I("VEOR V%d.B16, V%d.B16, V%d.B16", 2*i+v, 8+2*i+v, 8+2*i+v)
			}
		}
	}
	fn.I("SUBS $128, R4")
	fn.I("BNE %s", loop)
	fn.I("RET")
	return f
}

// neonMacs emits n rounds of a multiply-add on each accumulator. All registers are zero,
// so that no number grows.
func neonMacs(f *asmgen.File, name string, op func(fn *asmgen.Func, r int)) {
	fn := f.Func(name, 8, name+" does n rounds of 16 independent multiply-adds.")
	fn.I("MOVD n+0(FP), R0")
	for r := range 32 {
		fn.I("VEOR V%d.B16, V%d.B16, V%d.B16", r, r, r)
	}
	loop := fn.Label("loop")
	fn.Mark(loop)
	for r := range neonChains {
		op(fn, r)
	}
	fn.I("SUBS $1, R0")
	fn.I("BGT %s", loop)
	fn.I("RET")
}
