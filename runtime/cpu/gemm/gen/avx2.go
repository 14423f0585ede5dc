package main

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/runtime/cpu/asmgen"
)

// avx2 emits the kernel of mr rows by 16 columns: one half of a panel. Row r of
// C is in Y(2r) and Y(2r+1).
//
// f32 and widened bf16 hold up to six rows and keep B in Y12, Y13 and two
// broadcast elements of A in Y14, Y15. int8 holds up to four rows: AVX2's product
// of unsigned and signed bytes saturates, so that bytes 0 and 2, and 1 and 3, of
// every word are spread to 16 bits (Y8..Y11) and multiplied exactly.
func (kd kind) avx2(f *asmgen.File, mr int) {
	name := fmt.Sprintf("%sY%d", kd.name, mr)
	fn := f.Func(name, 8, name+" multiplies rows by half a panel (16 columns).")
	fn.I("MOVQ t+0(FP), DI")
	fn.I("MOVQ tile_k(DI), SI")
	fn.I("SHLQ $2, SI")
	for i := range mr {
		fn.I("MOVQ tile_a+%d(DI), %s", 8*i, rowRegs[i])
		fn.I("ADDQ SI, %s", rowRegs[i])
	}
	fn.I("MOVQ tile_off(DI), BP")
	if kd.int8 {
		kd.initInt8AVX2(fn, mr)
	} else {
		initFloatAVX2(fn, mr)
	}
	fn.I("MOVQ tile_b(DI), SI")
	fn.I("ADDQ tile_boff(DI), SI")
	fn.I("MOVQ tile_bk(DI), BP")
	fn.I("MOVQ tile_k(DI), DI")
	fn.I("SHLQ $2, DI")
	fn.I("NEGQ DI")
	fmas := func(u int) {
		for i := range mr {
			fn.I("VBROADCASTSS %d(%s)(DI*1), Y%d", 4*u, rowRegs[i], 14+i%2)
			fn.I("VFMADD231PS Y12, Y%d, Y%d", 14+i%2, 2*i)
			fn.I("VFMADD231PS Y13, Y%d, Y%d", 14+i%2, 2*i+1)
		}
	}
	step := func(u int) {
		switch {
		case kd.wide:
			fn.I("VMOVDQU (SI), Y12")
			fn.I("VMOVDQU 32(SI), Y13")
			fn.I("VPSLLD $16, Y12, Y12")
			fn.I("VPSLLD $16, Y13, Y13")
			fmas(u)
			fn.I("VMOVDQU highs<>+0(SB), Y12")
			fn.I("VPAND 32(SI), Y12, Y13")
			fn.I("VPAND (SI), Y12, Y12")
			fn.I("ADDQ BP, SI")
			fmas(u + 1)
		case kd.int8:
			kd.stepInt8AVX2(fn, mr, u)
		default:
			fn.I("VMOVUPS (SI), Y12")
			fn.I("VMOVUPS 32(SI), Y13")
			fn.I("PREFETCHT0 (SI)(BP*8)")
			fn.I("ADDQ BP, SI")
			fmas(u)
		}
	}
	stride := 1
	if kd.wide {
		stride = 2
	}
	loop, tail, last, done := fn.Label("loop"), fn.Label("tail"), fn.Label("last"), fn.Label("done")
	fn.I("CMPQ DI, $%d", -4*unroll)
	fn.I("JGT %s", tail)
	fn.Mark(loop)
	for u := 0; u < unroll; u += stride {
		step(u)
	}
	fn.I("ADDQ $%d, DI", 4*unroll)
	fn.I("CMPQ DI, $%d", -4*unroll)
	fn.I("JLE %s", loop)
	fn.Mark(tail)
	fn.I("TESTQ DI, DI")
	fn.I("JZ %s", done)
	if kd.wide {
		fn.I("CMPQ DI, $-4")
		fn.I("JEQ %s", last)
		step(0)
		fn.I("ADDQ $8, DI")
		fn.I("JZ %s", done)
		fn.Mark(last)
		fn.I("VMOVDQU (SI), Y12")
		fn.I("VMOVDQU 32(SI), Y13")
		fn.I("VPSLLD $16, Y12, Y12")
		fn.I("VPSLLD $16, Y13, Y13")
		fmas(0)
	} else {
		fn.Mark(last)
		step(0)
		fn.I("ADDQ $4, DI")
		fn.I("JNZ %s", last)
	}
	fn.Mark(done)
	fn.I("MOVQ t+0(FP), DI")
	fn.I("MOVQ tile_off(DI), BP")
	if kd.int8 {
		kd.finishInt8AVX2(fn, mr)
	}
	masksAVX2(fn)
	fn.I("VBROADCASTSS tile_lo(DI), Y15")
	for i := range mr {
		fn.I("MOVQ tile_c+%d(DI), SI", 8*i)
		for v := range 2 {
			r := 2*i + v
			fn.I("VMAXPS Y%d, Y15, Y%d", r, r)
			fn.I("VMASKMOVPS Y%d, Y%d, %d(SI)(BP*1)", r, 12+v, 32*v)
		}
	}
	fn.I("VZEROUPPER")
	fn.I("RET")
}

// masksAVX2 loads the masks of the half panel's columns to Y12 and Y13.
func masksAVX2(fn *asmgen.Func) {
	fn.I("MOVQ tile_mask8(DI), SI")
	fn.I("VMOVDQU (SI), Y12")
	fn.I("VMOVDQU 32(SI), Y13")
}

// initFloatAVX2 starts the accumulators from C, else from the bias, else zero.
func initFloatAVX2(fn *asmgen.Func, mr int) {
	noC, noBias, begin := fn.Label("noc"), fn.Label("nobias"), fn.Label("begin")
	masksAVX2(fn)
	fn.I("TESTL $1, tile_flags(DI)")
	fn.I("JZ %s", noC)
	for i := range mr {
		fn.I("MOVQ tile_c+%d(DI), SI", 8*i)
		for v := range 2 {
			fn.I("VMASKMOVPS %d(SI)(BP*1), Y%d, Y%d", 32*v, 12+v, 2*i+v)
		}
	}
	fn.I("JMP %s", begin)
	fn.Mark(noC)
	fn.I("MOVQ tile_bias(DI), SI")
	fn.I("TESTQ SI, SI")
	fn.I("JZ %s", noBias)
	for v := range 2 {
		fn.I("VMASKMOVPS %d(SI)(BP*1), Y%d, Y%d", 32*v, 12+v, v)
		for i := 1; i < mr; i++ {
			fn.I("VMOVAPS Y%d, Y%d", v, 2*i+v)
		}
	}
	fn.I("JMP %s", begin)
	fn.Mark(noBias)
	for r := range 2 * mr {
		fn.I("VXORPS Y%d, Y%d, Y%d", r, r, r)
	}
	fn.Mark(begin)
}

// initInt8AVX2 starts the accumulators from minus the zero point times the sum of
// the column; see initInt8.
func (kd kind) initInt8AVX2(fn *asmgen.Func, mr int) {
	masksAVX2(fn)
	fn.I("MOVQ tile_corr(DI), SI")
	for v := range 2 {
		fn.I("VPMASKMOVD %d(SI)(BP*1), Y%d, Y%d", 32*v, 12+v, 8+v)
	}
	for i := range mr {
		fn.I("VPBROADCASTD tile_za+%d(DI), Y14", 4*i)
		for v := range 2 {
			fn.I("VPMADDWD Y%d, Y14, Y%d", 8+v, 2*i+v)
		}
	}
}

// stepInt8AVX2 adds four k of every row: Y8, Y9 hold bytes 0 and 2 of the words
// of B as 16-bit pairs, Y10, Y11 bytes 1 and 3.
func (kd kind) stepInt8AVX2(fn *asmgen.Func, mr, u int) {
	for v := range 2 {
		fn.I("VMOVDQU %d(SI), Y%d", 32*v, 10+v)
		fn.I("VPSLLW $8, Y%d, Y%d", 10+v, 8+v)
		fn.I("VPSRAW $8, Y%d, Y%d", 8+v, 8+v)
		fn.I("VPSRAW $8, Y%d, Y%d", 10+v, 10+v)
	}
	fn.I("ADDQ BP, SI")
	for i := range mr {
		fn.I("VPBROADCASTD %d(%s)(DI*1), Y12", 4*u, rowRegs[i])
		fn.I("VPSRLW $8, Y12, Y13")
		fn.I("VPAND lows<>+0(SB), Y12, Y12")
		for v := range 2 {
			fn.I("VPMADDWD Y%d, Y12, Y14", 8+v)
			fn.I("VPADDD Y14, Y%d, Y%d", 2*i+v, 2*i+v)
			fn.I("VPMADDWD Y%d, Y13, Y15", 10+v)
			fn.I("VPADDD Y15, Y%d, Y%d", 2*i+v, 2*i+v)
		}
	}
}

// finishInt8AVX2 scales the accumulators and adds C or the bias, if any.
func (kd kind) finishInt8AVX2(fn *asmgen.Func, mr int) {
	masksAVX2(fn)
	fn.I("MOVQ tile_scale(DI), SI")
	for v := range 2 {
		fn.I("VMASKMOVPS %d(SI)(BP*1), Y%d, Y%d", 32*v, 12+v, 8+v)
	}
	for i := range mr {
		for v := range 2 {
			r := 2*i + v
			fn.I("VCVTDQ2PS Y%d, Y%d", r, r)
			fn.I("VMULPS Y%d, Y%d, Y%d", 8+v, r, r)
		}
	}
	noC, noBias, scaled := fn.Label("nocadd"), fn.Label("nobiasadd"), fn.Label("scaled")
	fn.I("VXORPS Y10, Y10, Y10")
	fn.I("VXORPS Y11, Y11, Y11")
	fn.I("TESTL $1, tile_flags(DI)")
	fn.I("JZ %s", noC)
	for i := range mr {
		fn.I("MOVQ tile_c+%d(DI), SI", 8*i)
		fn.I("VBROADCASTSS tile_sa+%d(DI), Y14", 4*i)
		for v := range 2 {
			fn.I("VMASKMOVPS %d(SI)(BP*1), Y%d, Y15", 32*v, 12+v)
			fn.I("VFMADD213PS Y15, Y14, Y%d", 2*i+v)
		}
	}
	fn.I("JMP %s", scaled)
	fn.Mark(noC)
	fn.I("MOVQ tile_bias(DI), SI")
	fn.I("TESTQ SI, SI")
	fn.I("JZ %s", noBias)
	for v := range 2 {
		fn.I("VMASKMOVPS %d(SI)(BP*1), Y%d, Y%d", 32*v, 12+v, 10+v)
	}
	fn.Mark(noBias)
	for i := range mr {
		fn.I("VBROADCASTSS tile_sa+%d(DI), Y14", 4*i)
		for v := range 2 {
			fn.I("VFMADD213PS Y%d, Y14, Y%d", 10+v, 2*i+v)
		}
	}
	fn.Mark(scaled)
}
