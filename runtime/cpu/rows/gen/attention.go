package main

import (
	"math"

	"github.com/seed-c851cfd2/moec/runtime/cpu/asmgen"
)

// exp2 approximates 2^r on |r| <= 1/2 within 2.7e-6 relative: a minimax fit by linear
// programming.
var exp2 = []float32{0.9999992251396179, 0.6931217312812805, 0.2402476668357849, 0.05591824650764465, 0.009569674730300903}

// expFloor is the exponent of two below which e^x is set to zero: a little above that of
// denormals.
const expFloor = -125

// expSumRows: dst = e^(x-top) as bf16, zero past the end to a whole word, and the sums
// before rounding, for rows with a top each. AVX-512 with BF16 only. Several rows a call,
// since the sum of one row's lanes would else be waited for: rows of 128 take 2/3 of the time.
func expSumRows(f *asmgen.File) {
	fn := f.Func("expSumRowsZ", 64, "expSumRowsZ writes e^(x-top) of rows of n floats as bf16 and their sums before rounding;\nrows are dstStride and xStride bytes apart.")
	for i, arg := range []string{"dst", "dstStride", "x", "xStride", "n", "top", "sum", "rows"} {
		fn.I("MOVQ %s+%d(FP), %s", arg, 8*i, []string{"R8", "R9", "R10", "R11", "R13", "BX", "DX", "R12"}[i])
	}
	const log2e, low, offset, first = 16, 17, 18, 19
	fn.I("VBROADCASTSS %s, Z%d", f.Bcast(math.Log2E), log2e)
	fn.I("VBROADCASTSS %s, Z%d", f.Bcast(expFloor), low)
	for i, c := range exp2 {
		fn.I("VBROADCASTSS %s, Z%d", f.Bcast(c), first+i)
	}
	tailMasks(fn, "R13")
	row := fn.Label("row")
	fn.Mark(row)
	for r := range 4 {
		fn.I("VPXORD Z%d, Z%d, Z%d", r, r, r)
	}
	fn.I("VBROADCASTSS (BX), Z%d", offset)
	fn.I("VFNMADD213PS Z0, Z%d, Z%d", log2e, offset)
	fn.I("MOVQ R8, DI")
	fn.I("MOVQ R10, SI")
	fn.I("MOVQ R13, CX")
	body := func(i int, masked bool) {
		if masked {
			fn.I("VMOVUPS.Z (SI), K1, Z4")
		} else {
			fn.I("VMOVUPS %d(SI), Z4", 64*i)
		}
		fn.I("VFMADD213PS Z%d, Z%d, Z4", offset, log2e)
		// Not less than the floor, or NaN. VSCALEFPS takes an assist of the microcode where it
		// underflows: with half of the keys masked, attention took five times as long.
		fn.I("VCMPPS $21, Z%d, Z4, K3", low)
		fn.I("VRNDSCALEPS $0, Z4, Z5")
		fn.I("VSUBPS Z5, Z4, Z4")
		fn.I("VMOVAPS Z%d, Z6", first+len(exp2)-1)
		for j := len(exp2) - 2; j >= 0; j-- {
			fn.I("VFMADD213PS Z%d, Z4, Z6", first+j)
		}
		fn.I("VSCALEFPS.Z Z5, Z6, K3, Z6")
		if masked {
			fn.I("VMOVAPS.Z Z6, K1, Z6")
		}
		fn.I("VADDPS Z6, Z%d, Z%d", i, i)
		fn.I("%s", asmgen.VCVTNEPS2BF16.RRR("VCVTNEPS2BF16", 7, 0, 6))
		if masked {
			fn.I("VMOVDQU32 Y7, K2, (DI)")
		} else {
			fn.I("VMOVDQU Y7, %d(DI)", 32*i)
		}
	}
	loop := func(vectors int) {
		again, done := fn.Label("again"), fn.Label("done")
		fn.I("SUBQ $%d, CX", 16*vectors)
		fn.I("JLT %s", done)
		fn.Mark(again)
		for i := range vectors {
			body(i, false)
		}
		fn.I("ADDQ $%d, SI", 64*vectors)
		fn.I("ADDQ $%d, DI", 32*vectors)
		fn.I("SUBQ $%d, CX", 16*vectors)
		fn.I("JGE %s", again)
		fn.Mark(done)
		fn.I("ADDQ $%d, CX", 16*vectors)
	}
	loop(4)
	loop(1)
	end := fn.Label("end")
	fn.I("TESTQ CX, CX")
	fn.I("JZ %s", end)
	body(0, true)
	fn.Mark(end)
	v := &vec{f: f, fn: fn, wide: true}
	v.fold("VADD")
	fn.I("MOVSS X0, (DX)")
	fn.I("ADDQ R9, R8")
	fn.I("ADDQ R11, R10")
	fn.I("ADDQ $4, BX")
	fn.I("ADDQ $4, DX")
	fn.I("DECQ R12")
	fn.I("JNZ %s", row)
	v.end()
}

// tailMasks sets K1 to the elements, and K2 to the words of two, past the last whole
// vector of n. It uses AX and CX.
func tailMasks(fn *asmgen.Func, n string) {
	fn.I("MOVQ %s, CX", n)
	fn.I("ANDQ $15, CX")
	fn.TailMask(1, "AX")
	fn.I("INCL CX")
	fn.I("SHRL $1, CX")
	fn.TailMask(2, "AX")
}

// scaleMaxRows: x = x*factor (+ add), and for each row the maximum of the new x and top.
func scaleMaxRows(f *asmgen.File) {
	fn := f.Func("scaleMaxRowsZ", 60, "scaleMaxRowsZ scales rows of n floats, adds a row of add, unless that is nil, and raises\neach row's top to the largest; rows are xStride and addStride bytes apart.")
	for i, arg := range []string{"x", "xStride", "n", "add", "addStride", "top", "rows"} {
		fn.I("MOVQ %s+%d(FP), %s", arg, 8*i, []string{"R8", "R9", "R13", "R10", "R11", "BX", "R12"}[i])
	}
	fn.I("VBROADCASTSS factor+56(FP), Z8")
	tailMasks(fn, "R13")
	row := fn.Label("row")
	fn.Mark(row)
	for r := range 4 {
		fn.I("VBROADCASTSS (BX), Z%d", r)
	}
	fn.I("VMOVAPS Z0, Z9")
	fn.I("MOVQ R8, DI")
	fn.I("MOVQ R10, SI")
	fn.I("MOVQ R13, CX")
	plain, end := fn.Label("plain"), fn.Label("end")
	pass := func(add bool) {
		body := func(i int, masked bool) {
			switch {
			case masked:
				fn.I("VMOVUPS.Z (DI), K1, Z4")
			default:
				fn.I("VMOVUPS %d(DI), Z4", 64*i)
			}
			fn.I("VMULPS Z8, Z4, Z4")
			switch {
			case add && masked:
				fn.I("VMOVUPS.Z (SI), K1, Z5")
				fn.I("VADDPS Z5, Z4, Z4")
			case add:
				fn.I("VADDPS %d(SI), Z4, Z4", 64*i)
			}
			if masked {
				fn.I("VMOVUPS Z4, K1, (DI)")
				fn.I("VBLENDMPS Z4, Z9, K1, Z4")
			} else {
				fn.I("VMOVUPS Z4, %d(DI)", 64*i)
			}
			// VMAXPS gives its second source when either is NaN: the running maximum.
			fn.I("VMAXPS Z%d, Z4, Z%d", i, i)
		}
		for _, vectors := range []int{4, 1} {
			again, done := fn.Label("again"), fn.Label("done")
			fn.I("SUBQ $%d, CX", 16*vectors)
			fn.I("JLT %s", done)
			fn.Mark(again)
			for i := range vectors {
				body(i, false)
			}
			fn.I("ADDQ $%d, DI", 64*vectors)
			if add {
				fn.I("ADDQ $%d, SI", 64*vectors)
			}
			fn.I("SUBQ $%d, CX", 16*vectors)
			fn.I("JGE %s", again)
			fn.Mark(done)
			fn.I("ADDQ $%d, CX", 16*vectors)
		}
		fn.I("TESTQ CX, CX")
		fn.I("JZ %s", end)
		body(0, true)
	}
	fn.I("TESTQ R10, R10")
	fn.I("JZ %s", plain)
	pass(true)
	fn.I("JMP %s", end)
	fn.Mark(plain)
	pass(false)
	fn.Mark(end)
	v := &vec{f: f, fn: fn, wide: true}
	v.fold("VMAX")
	fn.I("MOVSS X0, (BX)")
	fn.I("ADDQ R9, R8")
	fn.I("ADDQ R11, R10")
	fn.I("ADDQ $4, BX")
	fn.I("DECQ R12")
	fn.I("JNZ %s", row)
	v.end()
}

// scaleRows: rows of dst = rows of x times a factor each.
func scaleRows(f *asmgen.File) {
	fn := f.Func("scaleRowsZ", 56, "scaleRowsZ sets rows rows of n floats of dst to those of x times a factor each; rows are\ndstStride and xStride bytes apart.")
	for i, arg := range []string{"dst", "dstStride", "x", "xStride", "factor", "rows", "n"} {
		fn.I("MOVQ %s+%d(FP), %s", arg, 8*i, []string{"R8", "R9", "R10", "R11", "BX", "R12", "R13"}[i])
	}
	tailMasks(fn, "R13")
	row, loop, tail, done := fn.Label("row"), fn.Label("loop"), fn.Label("tail"), fn.Label("done")
	fn.Mark(row)
	fn.I("VBROADCASTSS (BX), Z1")
	fn.I("XORQ SI, SI")
	fn.I("MOVQ R13, CX")
	fn.I("SUBQ $16, CX")
	fn.I("JLT %s", tail)
	fn.Mark(loop)
	fn.I("VMULPS (R10)(SI*1), Z1, Z0")
	fn.I("VMOVUPS Z0, (R8)(SI*1)")
	fn.I("ADDQ $64, SI")
	fn.I("SUBQ $16, CX")
	fn.I("JGE %s", loop)
	fn.Mark(tail)
	fn.I("CMPQ CX, $-16")
	fn.I("JEQ %s", done)
	fn.I("VMOVUPS.Z (R10)(SI*1), K1, Z0")
	fn.I("VMULPS Z1, Z0, Z0")
	fn.I("VMOVUPS Z0, K1, (R8)(SI*1)")
	fn.Mark(done)
	fn.I("ADDQ R9, R8")
	fn.I("ADDQ R11, R10")
	fn.I("ADDQ $4, BX")
	fn.I("DECQ R12")
	fn.I("JNZ %s", row)
	fn.I("VZEROUPPER")
	fn.I("RET")
}
