package main

import "github.com/seed-c851cfd2/moec/runtime/cpu/asmgen"

// neonConvert emits the conversions of rows of A for arm64, over whole vectors.
func neonConvert(f *asmgen.File) {
	fn := f.Func("rangeV", 28, "rangeV finds the least and greatest of n floats and zero, and a sum that is\nzero unless one of them is infinite or NaN. n is a multiple of 4, and not 0.")
	fn.I("MOVD x+0(FP), R0")
	fn.I("MOVD n+8(FP), R1")
	for r := range 3 {
		fn.I("VEOR V%d.B16, V%d.B16, V%d.B16", r, r, r)
	}
	fn.I("VEOR V4.B16, V4.B16, V4.B16")
	loop := fn.Label("loop")
	fn.Mark(loop)
	fn.I("VLD1.P 16(R0), [V3.B16]")
	fn.I("%s", asmgen.FMIN.RRR(0, 0, 3))
	fn.I("%s", asmgen.FMAX.RRR(1, 1, 3))
	fn.I("%s", asmgen.FMLA.RRR(2, 3, 4))
	fn.I("SUBS $4, R1")
	fn.I("BGT %s", loop)
	fn.I("%s", asmgen.FMINV.RR(0, 0))
	fn.I("%s", asmgen.FMAXV.RR(1, 1))
	fn.I("%s", asmgen.FADDP.RRR(2, 2, 2))
	fn.I("%s", asmgen.FADDP.RRR(2, 2, 2))
	for i, result := range []string{"lo+16", "hi+20", "sum+24"} {
		fn.I("FMOVS F%d, %s(FP)", i, result)
	}
	fn.I("RET")

	fn = f.Func("quantizeV", 32, "quantizeV writes round(x*inv)+zp, clamped to 0..255, for n floats. n is a multiple\nof 4, and not 0.")
	fn.I("MOVD dst+0(FP), R0")
	fn.I("MOVD x+8(FP), R1")
	fn.I("MOVD n+16(FP), R2")
	fn.I("FMOVS inv+24(FP), F1")
	fn.I("VDUP V1.S[0], V1.S4")
	fn.I("MOVW zp+28(FP), R3")
	fn.I("VDUP R3, V2.S4")
	loop = fn.Label("loop")
	fn.Mark(loop)
	fn.I("VLD1.P 16(R1), [V0.B16]")
	fn.I("%s", asmgen.FMUL.RRR(0, 0, 1))
	fn.I("%s", asmgen.FCVTNS.RR(0, 0))
	fn.I("VADD V2.S4, V0.S4, V0.S4")
	fn.I("%s", asmgen.SQXTN.RR(0, 0))
	fn.I("%s", asmgen.SQXTUN.RR(0, 0))
	fn.I("FMOVS.P F0, 4(R0)")
	fn.I("SUBS $4, R2")
	fn.I("BGT %s", loop)
	fn.I("RET")
}
