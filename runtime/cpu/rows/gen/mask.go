package main

import "github.com/seed-c851cfd2/moec/runtime/cpu/asmgen"

// tops starts the running maxima (registers 0..3, and 9 for lanes outside of the row)
// from the floor.
func (v *vec) tops(floor string) {
	for _, r := range []int{0, 1, 2, 3, 9} {
		v.fn.I("VBROADCASTSS %s, %s", floor, v.r(r))
	}
}

// rise takes register r into the running maximum i; masked-off lanes stay out. VMAXPS
// gives its second source when either is NaN: the running maximum.
func (v *vec) rise(r, i int, masked bool) {
	switch {
	case masked && v.wide:
		v.fn.I("VBLENDMPS Z%d, Z9, K1, Z%d", r, r)
	case masked:
		v.fn.I("VBLENDVPS Y10, Y%d, Y9, Y%d", r, r)
	}
	v.op("VMAXPS", i, r, i)
}

// scaleMax: x = x*factor (+ add), and the maximum of the new x and floor.
func (v *vec) scaleMax(add bool) {
	if add {
		v.begin("scaleAddMax", 44)
	} else {
		v.begin("scaleMax", 36)
	}
	fn := v.fn
	fn.I("MOVQ x+0(FP), SI")
	fn.I("MOVQ n+8(FP), CX")
	fn.I("VBROADCASTSS factor+16(FP), %s", v.r(8))
	v.tops("floor+20(FP)")
	ptrs, mask, ret := []string{"SI"}, "mask+24(FP)", "ret+32(FP)"
	if add {
		fn.I("MOVQ add+24(FP), BX")
		ptrs, mask, ret = []string{"SI", "BX"}, "mask+32(FP)", "ret+40(FP)"
	}
	v.loop(4, mask, ptrs, func(i int, m bool) {
		v.load("SI", i, 4+i, m)
		v.op("VMULPS", 8, 4+i, 4+i)
		if add {
			v.load("BX", i, 11, m)
			v.op("VADDPS", 11, 4+i, 4+i)
		}
		v.store(4+i, "SI", i, m)
		v.rise(4+i, i, m)
	})
	v.fold("VMAX")
	fn.I("MOVSS X0, %s", ret)
	v.end()
}

// selectMax: x = keep ? x*factor : fill over whole vectors, and the maximum of the new
// x and floor. n must be a multiple of the vector length.
func (v *vec) selectMax() {
	v.begin("selectMax", 44)
	fn := v.fn
	fn.I("MOVQ x+0(FP), SI")
	fn.I("MOVQ n+8(FP), CX")
	fn.I("MOVQ keep+16(FP), BX")
	fn.I("VBROADCASTSS factor+24(FP), %s", v.r(8))
	fn.I("VBROADCASTSS fill+28(FP), %s", v.r(11))
	v.tops("floor+32(FP)")
	v.zero(12)
	loop := fn.Label("loop")
	fn.Mark(loop)
	fn.I("VPMOVZXBD (BX), %s", v.r(5))
	v.load("SI", 0, 4, false)
	v.op("VMULPS", 8, 4, 4)
	if v.wide {
		fn.I("VPTESTMD Z5, Z5, K2")
		fn.I("VBLENDMPS Z4, Z11, K2, Z4")
	} else {
		fn.I("VPCMPGTD Y12, Y5, Y5")
		fn.I("VBLENDVPS Y5, Y4, Y11, Y4")
	}
	v.store(4, "SI", 0, false)
	v.rise(4, 0, false)
	fn.I("ADDQ $%d, SI", 4*v.lanes())
	fn.I("ADDQ $%d, BX", v.lanes())
	fn.I("SUBQ $%d, CX", v.lanes())
	fn.I("JGT %s", loop)
	v.fold("VMAX")
	fn.I("MOVSS X0, ret+40(FP)")
	v.end()
}

// transpose8 writes 8 columns of 8 rows as rows, for n blocks down the columns.
func transpose8(f *asmgen.File) {
	fn := f.Func("transpose8", 40, "transpose8 sets dst[j][i] = src[i][j] for i < 8 and j < 8n; strides are in floats.")
	fn.I("MOVQ dst+0(FP), DI")
	fn.I("MOVQ dstStride+8(FP), DX")
	fn.I("MOVQ src+16(FP), SI")
	fn.I("MOVQ srcStride+24(FP), BX")
	fn.I("MOVQ n+32(FP), CX")
	fn.I("SHLQ $2, DX")
	fn.I("SHLQ $2, BX")
	loop := fn.Label("loop")
	fn.Mark(loop)
	fn.I("MOVQ SI, AX")
	for i := range 8 {
		fn.I("VMOVUPS (AX), Y%d", i)
		if i < 7 {
			fn.I("ADDQ BX, AX")
		}
	}
	for i := range 4 { // pairs of rows
		fn.I("VUNPCKLPS Y%d, Y%d, Y%d", 2*i+1, 2*i, 8+2*i)
		fn.I("VUNPCKHPS Y%d, Y%d, Y%d", 2*i+1, 2*i, 9+2*i)
	}
	for i := range 2 { // fours of rows
		a, b := 8+4*i, 10+4*i
		fn.I("VUNPCKLPD Y%d, Y%d, Y%d", b, a, 4*i)
		fn.I("VUNPCKHPD Y%d, Y%d, Y%d", b, a, 4*i+1)
		fn.I("VUNPCKLPD Y%d, Y%d, Y%d", b+1, a+1, 4*i+2)
		fn.I("VUNPCKHPD Y%d, Y%d, Y%d", b+1, a+1, 4*i+3)
	}
	for i := range 4 {
		fn.I("VINSERTF128 $1, X%d, Y%d, Y%d", 4+i, i, 8+i)
		fn.I("VPERM2F128 $0x31, Y%d, Y%d, Y%d", 4+i, i, 12+i)
	}
	fn.I("MOVQ DI, AX")
	for i := range 8 {
		fn.I("VMOVUPS Y%d, (AX)", 8+i)
		if i < 7 {
			fn.I("ADDQ DX, AX")
		}
	}
	fn.I("ADDQ $32, SI")
	fn.I("LEAQ (DI)(DX*8), DI")
	fn.I("DECQ CX")
	fn.I("JNZ %s", loop)
	fn.I("VZEROUPPER")
	fn.I("RET")
}
