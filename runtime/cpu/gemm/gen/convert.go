package main

import "github.com/seed-c851cfd2/moec/runtime/cpu/asmgen"

// convert emits the conversions of rows of A.
func convert(f *asmgen.File) {
	fn := f.Func("rangeZ", 28, "rangeZ finds the least and greatest of n floats and zero, and a sum that is\nzero unless one of them is infinite or NaN.")
	fn.I("MOVQ x+0(FP), SI")
	fn.I("MOVQ n+8(FP), CX")
	for r := range 3 {
		fn.I("VPXORD Z%d, Z%d, Z%d", r, r, r)
	}
	fn.I("VPXORD Z4, Z4, Z4")
	use := func() {
		fn.I("VMINPS Z3, Z0, Z0")
		fn.I("VMAXPS Z3, Z1, Z1")
		fn.I("VFMADD231PS Z4, Z3, Z2")
	}
	fn.EachVector(16, func() {
		fn.I("VMOVUPS (SI), Z3")
		use()
		fn.I("ADDQ $64, SI")
	}, func() {
		fn.TailMask(1, "AX")
		fn.I("VMOVUPS.Z (SI), K1, Z3")
		use()
	})
	for r, op := range []string{"VMINPS", "VMAXPS", "VADDPS"} {
		fn.I("VEXTRACTF64X4 $1, Z%d, Y3", r)
		fn.I("%s Y3, Y%d, Y%d", op, r, r)
		fn.I("VEXTRACTF128 $1, Y%d, X3", r)
		fn.I("%s X3, X%d, X%d", op, r, r)
		fn.I("VPERMILPS $0x4e, X%d, X3", r)
		fn.I("%s X3, X%d, X%d", op, r, r)
		fn.I("VPERMILPS $0xb1, X%d, X3", r)
		fn.I("%s X3, X%d, X%d", op, r, r)
	}
	fn.I("VMOVSS X0, lo+16(FP)")
	fn.I("VMOVSS X1, hi+20(FP)")
	fn.I("VMOVSS X2, sum+24(FP)")
	fn.I("VZEROUPPER")
	fn.I("RET")

	fn = f.Func("quantizeZ", 32, "quantizeZ writes round(x*inv)+zp, clamped to 0..255, for n floats; bytes up to\nthe next multiple of 16 are not touched.")
	fn.I("MOVQ dst+0(FP), DI")
	fn.I("MOVQ x+8(FP), SI")
	fn.I("MOVQ n+16(FP), CX")
	fn.I("VBROADCASTSS inv+24(FP), Z1")
	fn.I("MOVL zp+28(FP), AX")
	fn.I("VPBROADCASTD AX, Z2")
	fn.I("VPXORD Z3, Z3, Z3")
	quant := func() {
		fn.I("VMULPS Z1, Z0, Z0")
		fn.I("VCVTPS2DQ Z0, Z0")
		fn.I("VPADDD Z2, Z0, Z0")
		fn.I("VPMAXSD Z3, Z0, Z0")
	}
	fn.EachVector(16, func() {
		fn.I("VMOVUPS (SI), Z0")
		quant()
		fn.I("VPMOVUSDB Z0, (DI)")
		fn.I("ADDQ $64, SI")
		fn.I("ADDQ $16, DI")
	}, func() {
		fn.TailMask(1, "AX")
		fn.I("VMOVUPS.Z (SI), K1, Z0")
		quant()
		fn.I("VPMOVUSDB Z0, K1, (DI)")
	})
	fn.I("VZEROUPPER")
	fn.I("RET")

	fn = f.Func("bf16RowsZ", 48, "bf16RowsZ rounds rows rows of n floats to bf16, zero past the end of a row to a whole\nword. Rows are dstStride and xStride bytes apart.")
	eachRow(fn, "rows+32(FP)", []string{"SI"}, 1, func(masked bool) {
		if masked {
			fn.I("VMOVUPS.Z (SI), K1, Z0")
		} else {
			fn.I("VMOVUPS (SI), Z0")
		}
		fn.I("%s", asmgen.VCVTNEPS2BF16.RRR("VCVTNEPS2BF16", 1, 0, 0))
		if masked {
			fn.I("VMOVDQU32 Y1, K2, (DI)")
		} else {
			fn.I("VMOVDQU Y1, (DI)")
			fn.I("ADDQ $32, DI")
		}
	})

	fn = f.Func("widenRowsY", 48, "widenRowsY widens rows > 0 rows of n > 0 bf16 elements, a multiple of 16, to f32. Rows are dstStride and\nxStride bytes apart.")
	fn.I("MOVQ dst+0(FP), DI")
	fn.I("MOVQ dstStride+8(FP), R8")
	fn.I("MOVQ x+16(FP), SI")
	fn.I("MOVQ xStride+24(FP), R9")
	fn.I("MOVQ rows+32(FP), DX")
	fn.I("MOVQ n+40(FP), R10")
	fn.I("SHLQ $1, R10")
	row, widen := fn.Label("row"), fn.Label("widen")
	fn.Mark(row)
	fn.I("XORQ CX, CX")
	fn.Mark(widen)
	for i := range 2 {
		fn.I("VPMOVZXWD %d(SI)(CX*1), Y%d", 16*i, i)
		fn.I("VPSLLD $16, Y%d, Y%d", i, i)
		fn.I("VMOVDQU Y%d, %d(DI)(CX*2)", i, 32*i)
	}
	fn.I("ADDQ $32, CX")
	fn.I("CMPQ CX, R10")
	fn.I("JLT %s", widen)
	fn.I("ADDQ R8, DI")
	fn.I("ADDQ R9, SI")
	fn.I("DECQ DX")
	fn.I("JNZ %s", row)
	fn.I("VZEROUPPER")
	fn.I("RET")

	roundY(f)

	fn = f.Func("pairRowsZ", 48, "pairRowsZ sets word i of row r of dst to the bf16 of x[2r][i], low, and x[2r+1][i],\nhigh. Rows are dstStride and xStride bytes apart.")
	order := make([]uint32, 16) // 16-bit elements 0, 16, 1, 17, ...
	for i := range order {
		order[i] = uint32(i) | uint32(16+i)<<16
	}
	fn.I("VMOVDQU32 %s, Z4", f.Table("interleave", order))
	eachRow(fn, "pairs+32(FP)", []string{"SI", "DX"}, 2, func(masked bool) {
		if masked {
			fn.I("VMOVUPS.Z (SI), K1, Z0")
			fn.I("VMOVUPS.Z (DX), K1, Z1")
		} else {
			fn.I("VMOVUPS (SI), Z0")
			fn.I("VMOVUPS (DX), Z1")
		}
		fn.I("%s", asmgen.VCVTNE2PS2BF16.RRR("VCVTNE2PS2BF16", 2, 1, 0))
		fn.I("VPERMW Z2, Z4, Z2")
		if masked {
			fn.I("VMOVDQU32 Z2, K1, (DI)")
		} else {
			fn.I("VMOVDQU32 Z2, (DI)")
			fn.I("ADDQ $64, DI")
		}
	})

	fn = f.Func("pairHalvesZ", 48, "pairHalvesZ is pairRowsZ of rows that are bf16 already.")
	eachRow(fn, "pairs+32(FP)", []string{"SI", "DX"}, 2, func(masked bool) {
		if masked {
			fn.I("VPMOVZXWD.Z (SI), K1, Z0")
			fn.I("VPMOVZXWD.Z (DX), K1, Z1")
		} else {
			fn.I("VPMOVZXWD (SI), Z0")
			fn.I("VPMOVZXWD (DX), Z1")
		}
		fn.I("VPSLLD $16, Z1, Z1")
		fn.I("VPORD Z1, Z0, Z0")
		if masked {
			fn.I("VMOVDQU32 Z0, K1, (DI)")
			return
		}
		fn.I("VMOVDQU32 Z0, (DI)")
		fn.I("ADDQ $64, DI")
		fn.I("SUBQ $32, SI") // of the 64 that follow
		fn.I("SUBQ $32, DX")
	})
}

// eachRow emits the arguments dst, dstStride, x, xStride, a count of rows and n, and a
// loop over the rows and their vectors. body handles 16 elements at DI and at the
// pointers, which are consecutive rows of x, and advances DI; under masked, those that K1
// selects, whose words of two are in K2.
func eachRow(fn *asmgen.Func, count string, ptrs []string, rows int, body func(masked bool)) {
	fn.I("MOVQ dst+0(FP), R8")
	fn.I("MOVQ dstStride+8(FP), R9")
	fn.I("MOVQ x+16(FP), R10")
	fn.I("MOVQ xStride+24(FP), R11")
	fn.I("MOVQ %s, R12", count)
	fn.I("MOVQ n+40(FP), R13")
	fn.I("MOVQ R13, CX")
	fn.I("ANDQ $15, CX")
	fn.TailMask(1, "AX")
	fn.I("INCL CX")
	fn.I("SHRL $1, CX")
	fn.TailMask(2, "AX")
	row, loop, tail, done := fn.Label("row"), fn.Label("loop"), fn.Label("tail"), fn.Label("done")
	fn.Mark(row)
	fn.I("MOVQ R8, DI")
	fn.I("MOVQ R10, %s", ptrs[0])
	if rows == 2 {
		fn.I("LEAQ (R10)(R11*1), %s", ptrs[1])
	}
	fn.I("MOVQ R13, CX")
	fn.I("SUBQ $16, CX")
	fn.I("JLT %s", tail)
	fn.Mark(loop)
	body(false)
	for _, p := range ptrs {
		fn.I("ADDQ $64, %s", p)
	}
	fn.I("SUBQ $16, CX")
	fn.I("JGE %s", loop)
	fn.Mark(tail)
	fn.I("CMPQ CX, $-16")
	fn.I("JEQ %s", done)
	body(true)
	fn.Mark(done)
	fn.I("ADDQ R9, R8")
	for range rows {
		fn.I("ADDQ R11, R10")
	}
	fn.I("DECQ R12")
	fn.I("JNZ %s", row)
	fn.I("VZEROUPPER")
	fn.I("RET")
}

// roundY emits the rounding to bf16 in the operations of layout.RoundBF16, for CPUs that
// have no instruction for it.
func roundY(f *asmgen.File) {
	const one, bias, exponent, sign, quiet, zero = 8, 9, 10, 11, 12, 13
	fn := f.Func("roundY", 24, "roundY rounds n > 0 floats, a multiple of 16, to bf16: to nearest, ties to even,\ndenormals to zero, NaN to a quiet one.")
	fn.I("MOVQ dst+0(FP), DI")
	fn.I("MOVQ x+8(FP), SI")
	fn.I("MOVQ n+16(FP), CX")
	for i, v := range []uint32{1, 0x7fff, 0x7f800000, 0x80000000, 0x400000} {
		fn.I("VPBROADCASTD %s, Y%d", f.Const32(v), one+i)
	}
	fn.I("VPXOR Y%d, Y%d, Y%d", zero, zero, zero)
	loop := fn.Label("loop")
	fn.Mark(loop)
	for i := range 2 {
		x, t, u := 3*i, 3*i+1, 3*i+2
		fn.I("VMOVDQU %d(SI), Y%d", 32*i, x)
		fn.I("VPSRLD $16, Y%d, Y%d", x, t)
		fn.I("VPAND Y%d, Y%d, Y%d", one, t, t)
		fn.I("VPADDD Y%d, Y%d, Y%d", bias, t, t)
		fn.I("VPADDD Y%d, Y%d, Y%d", x, t, t)
		fn.I("VPAND Y%d, Y%d, Y%d", exponent, x, u)
		fn.I("VPCMPEQD Y%d, Y%d, Y%d", zero, u, u)
		fn.I("VPAND Y%d, Y%d, Y6", sign, x)
		fn.I("VBLENDVPS Y%d, Y6, Y%d, Y%d", u, t, t)
		fn.I("VCMPPS $3, Y%d, Y%d, Y%d", x, x, u)
		fn.I("VPOR Y%d, Y%d, Y6", quiet, x)
		fn.I("VBLENDVPS Y%d, Y6, Y%d, Y%d", u, t, t)
		fn.I("VPSRLD $16, Y%d, Y%d", t, t)
	}
	fn.I("VPACKUSDW Y4, Y1, Y1")
	fn.I("VPERMQ $0xd8, Y1, Y1")
	fn.I("VMOVDQU Y1, (DI)")
	fn.I("ADDQ $64, SI")
	fn.I("ADDQ $32, DI")
	fn.I("SUBQ $16, CX")
	fn.I("JNZ %s", loop)
	fn.I("VZEROUPPER")
	fn.I("RET")
}
