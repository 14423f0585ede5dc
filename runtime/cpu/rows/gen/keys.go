package main

// dots: dst[j] = q . row j of k, four rows at a time, then one.
func (v *vec) dots() {
	v.begin("dots", 56)
	fn := v.fn
	for i, arg := range []string{"dst", "q", "k", "stride", "n", "d"} {
		fn.I("MOVQ %s+%d(FP), %s", arg, 8*i, []string{"DI", "BX", "SI", "R11", "R12", "R13"}[i])
	}
	// The elements past the last whole vector.
	fn.I("MOVQ R13, CX")
	fn.I("ANDQ $%d, CX", v.lanes()-1)
	fn.I("MOVQ CX, R8")
	if v.wide {
		fn.TailMask(1, "DX")
	} else {
		fn.TailMaskY(10, "mask+48(FP)", "DX")
	}
	fn.I("SUBQ R8, R13") // elements in whole vectors
	block := func(rows int) {
		at := []string{"(SI)(DX*4)", "(R9)(DX*4)", "(R10)(DX*4)", "(AX)(DX*4)"}[:rows]
		for i, p := range []string{"R9", "R10", "AX"}[:rows-1] {
			fn.I("LEAQ (%s)(R11*1), %s", []string{"SI", "R9", "R10"}[i], p)
		}
		v.zero(0, 1, 2, 3)
		loop, tail, done := fn.Label("loop"), fn.Label("tail"), fn.Label("done")
		fn.I("XORQ DX, DX")
		fn.I("CMPQ DX, R13")
		fn.I("JGE %s", tail)
		fn.Mark(loop)
		fn.I("VMOVUPS (BX)(DX*4), %s", v.r(4))
		for i, a := range at {
			fn.I("VFMADD231PS %s, %s, %s", a, v.r(4), v.r(i))
		}
		fn.I("ADDQ $%d, DX", v.lanes())
		fn.I("CMPQ DX, R13")
		fn.I("JLT %s", loop)
		fn.Mark(tail)
		fn.I("TESTQ R8, R8")
		fn.I("JZ %s", done)
		for i, a := range append([]string{"(BX)(DX*4)"}, at...) {
			if v.wide {
				fn.I("VMOVUPS.Z %s, K1, %s", a, v.r(4+i))
			} else {
				fn.I("VMASKMOVPS %s, Y10, %s", a, v.r(4+i))
			}
		}
		for i := range at {
			v.op("VFMADD231PS", 5+i, 4, i)
		}
		fn.Mark(done)
	}
	four, one, end := fn.Label("four"), fn.Label("one"), fn.Label("end")
	fn.I("SUBQ $4, R12")
	fn.I("JLT %s", one)
	fn.Mark(four)
	block(4)
	// Pairs of lanes of two rows side by side, then of four, then the quarters of the vectors.
	v.op("VUNPCKLPS", 1, 0, 4)
	v.op("VUNPCKHPS", 1, 0, 5)
	v.op("VADDPS", 4, 5, 0)
	v.op("VUNPCKLPS", 3, 2, 4)
	v.op("VUNPCKHPS", 3, 2, 5)
	v.op("VADDPS", 4, 5, 1)
	v.op("VUNPCKLPD", 1, 0, 4)
	v.op("VUNPCKHPD", 1, 0, 5)
	v.op("VADDPS", 4, 5, 0)
	if v.wide {
		fn.I("VEXTRACTF64X4 $1, Z0, Y1")
		fn.I("VADDPS Y1, Y0, Y0")
	}
	fn.I("VEXTRACTF128 $1, Y0, X1")
	fn.I("VADDPS X1, X0, X0")
	fn.I("VMOVUPS X0, (DI)")
	fn.I("ADDQ $16, DI")
	fn.I("LEAQ (SI)(R11*4), SI")
	fn.I("SUBQ $4, R12")
	fn.I("JGE %s", four)
	fn.Mark(one)
	fn.I("ADDQ $4, R12")
	fn.I("JZ %s", end)
	single := fn.Label("single")
	fn.Mark(single)
	block(1)
	v.fold("VADD")
	fn.I("VMOVSS X0, (DI)")
	fn.I("ADDQ $4, DI")
	fn.I("ADDQ R11, SI")
	fn.I("DECQ R12")
	fn.I("JNZ %s", single)
	fn.Mark(end)
	v.end()
}

// weigh: dst += p[0] times row 0 of x, p[1] times row 1, and so on.
func (v *vec) weigh() {
	v.begin("weigh", 56)
	for i, arg := range []string{"dst", "p", "x", "stride", "rows", "n"} {
		v.fn.I("MOVQ %s+%d(FP), %s", arg, 8*i, []string{"DI", "BX", "SI", "R11", "R12", "CX"}[i])
	}
	const factor = 9
	v.down("mask+48(FP)", []string{"DI", "SI"}, func(n int, m bool) {
		for i := range n {
			v.load("DI", i, i, m)
		}
		v.fn.I("MOVQ BX, R9")
	}, func(n int, m bool) {
		v.fn.I("VBROADCASTSS (R9), %s", v.r(factor))
		v.fn.I("ADDQ $4, R9")
		for i := range n {
			v.load("R10", i, 4+i, m)
			v.op("VFMADD231PS", 4+i, factor, i)
		}
	}, func(n int, m bool) {
		for i := range n {
			v.store(i, "DI", i, m)
		}
	})
}
