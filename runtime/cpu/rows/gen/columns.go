package main

// columnVectors columns of vectors go down the rows together: with four values each they
// fill half of the registers of AVX-512, and of AVX2 beside the mask.
func (v *vec) columnVectors() int {
	if v.wide {
		return 4
	}
	return 2
}

// down walks n columns (in CX), some vectors at a time, then one, then the tail under the mask. before and after
// stand around a walk down rows (R12) rows at R11 bytes of the pointer SI, copied to R10, which body reads.
func (v *vec) down(maskArg string, ptrs []string, before, body, after func(n int, masked bool)) {
	fn := v.fn
	block := func(n int, masked bool) {
		before(n, masked)
		fn.I("MOVQ SI, R10")
		fn.I("MOVQ R12, R13")
		row := fn.Label("row")
		fn.Mark(row)
		body(n, masked)
		fn.I("ADDQ R11, R10")
		fn.I("DECQ R13")
		fn.I("JNZ %s", row)
		after(n, masked)
	}
	for _, n := range []int{v.columnVectors(), 1} {
		again, done := fn.Label("again"), fn.Label("done")
		fn.I("SUBQ $%d, CX", n*v.lanes())
		fn.I("JLT %s", done)
		fn.Mark(again)
		block(n, false)
		for _, p := range ptrs {
			fn.I("ADDQ $%d, %s", 4*n*v.lanes(), p)
		}
		fn.I("SUBQ $%d, CX", n*v.lanes())
		fn.I("JGE %s", again)
		fn.Mark(done)
		fn.I("ADDQ $%d, CX", n*v.lanes())
	}
	end := fn.Label("end")
	fn.I("TESTQ CX, CX")
	fn.I("JZ %s", end)
	if v.wide {
		fn.TailMask(1, "DX")
	} else {
		fn.TailMaskY(10, maskArg, "DX")
	}
	block(1, true)
	fn.Mark(end)
	v.end()
}

// moments: of each column the sums of d and d^2, d being x less the column's shift.
func (v *vec) moments() {
	v.begin("moments", 56)
	for i, arg := range []string{"sum", "squares", "shift", "x", "n", "rows"} {
		v.fn.I("MOVQ %s+%d(FP), %s", arg, 8*i, []string{"DI", "R8", "BX", "SI", "CX", "R12"}[i])
	}
	v.fn.I("LEAQ (CX*4), R11")
	u := v.columnVectors()
	v.down("mask+48(FP)", []string{"DI", "R8", "BX", "SI"}, func(n int, m bool) {
		for i := range n {
			v.load("BX", i, i, m)
			v.zero(u+i, 2*u+i)
		}
	}, func(n int, m bool) {
		for i := range n {
			v.load("R10", i, 3*u+i, m)
			v.op("VSUBPS", i, 3*u+i, 3*u+i)
			v.op("VADDPS", 3*u+i, u+i, u+i)
			v.op("VFMADD231PS", 3*u+i, 3*u+i, 2*u+i)
		}
	}, func(n int, m bool) {
		for i := range n {
			v.store(u+i, "DI", i, m)
			v.store(2*u+i, "R8", i, m)
		}
	})
}

// affineColumns: dst = (x-mean)*factor + bias, each of them a number per column.
func (v *vec) affineColumns() {
	v.begin("affineColumns", 64)
	for i, arg := range []string{"dst", "x", "mean", "factor", "bias", "n", "rows"} {
		v.fn.I("MOVQ %s+%d(FP), %s", arg, 8*i, []string{"DI", "SI", "BX", "R8", "AX", "CX", "R12"}[i])
	}
	v.fn.I("LEAQ (CX*4), R11")
	u := v.columnVectors()
	v.down("mask+56(FP)", []string{"DI", "SI", "BX", "R8", "AX"}, func(n int, m bool) {
		for i := range n {
			v.load("BX", i, i, m)
			v.load("R8", i, u+i, m)
			v.load("AX", i, 2*u+i, m)
		}
		v.fn.I("MOVQ DI, R9")
	}, func(n int, m bool) {
		for i := range n {
			v.load("R10", i, 3*u+i, m)
			v.op("VSUBPS", i, 3*u+i, 3*u+i)
			v.op("VFMADD213PS", 2*u+i, u+i, 3*u+i)
			v.store(3*u+i, "R9", i, m)
		}
		v.fn.I("ADDQ R11, R9")
	}, func(int, bool) {})
}
