package main

import "fmt"

// maxRows is the most pixels of a tile of one panel: two vectors of channels each are 24
// chains, and one register per pixel says where it is. A tile of two panels has half as
// many: it loads 10 times for 24 multiply-adds instead of 14, which is worth 5 %.
const maxRows = 12

// product emits the tile of a convolution with channels last for AVX-512: rows pixels by
// the channels of some panels of weights, each of some vectors of 16, over a list of
// stretches of the windows. The sums stay in registers from stretch to stretch. It goes
// over tiles of pixels, while the weights stay in L1.
//
//	x        the input; pixel stride in bytes
//	index    where the window of each pixel starts, in pixels
//	spans    count pairs: byte offset of a stretch in a window, floats of it
//	b        weights, a row of the panel per float
//	y        first pixel's channels; ystride bytes from pixel to pixel
//	bias     per channel, or nil: start from y
//	residual like y, added before the activation, or nil
//	after    1 relu, 2 relu6, 3 hardswish
//	mask     of the channels, 16 bits per vector
//	apart    bytes from a panel to the next
//	next     weights wanted after these: some of them are fetched into L2 at every step
func (v *vec) product(panels, perPanel, rows int) {
	vectors := panels * perPanel
	v.fn = v.f.Func(fmt.Sprintf("product%dx%d", rows, 16*vectors), 144, "")
	fn := v.fn
	ptr := []string{"AX", "BX", "CX", "DX", "SI", "DI", "R8", "R9", "R10", "R11", "R12", "R13"}
	acc := func(r, i int) string { return fmt.Sprintf("Z%d", r*vectors+i) }
	b := func(i int) string { return fmt.Sprintf("Z%d", 24+i) }
	fn.I("MOVQ mask+88(FP), AX")
	for i := range vectors {
		fn.I("KMOVW AX, K%d", i+1)
		fn.I("SHRQ $16, AX")
	}
	if panels > 1 {
		fn.I("MOVQ apart+112(FP), R12")
	}
	panel := func(i int, base string) string { // that of vector i
		if i < perPanel {
			return "(" + base + ")"
		}
		return "(" + base + ")(R12*1)"
	}
	spare := 24 + vectors // the first register that holds neither sums nor weights
	tile := fn.Label("tile")
	fn.Mark(tile)
	fn.I("MOVQ index+16(FP), R15")
	for r := range rows {
		fn.I("MOVLQSX %d(R15), %s", 4*r, ptr[r])
		fn.I("IMULQ stride+8(FP), %s", ptr[r])
		fn.I("ADDQ x+0(FP), %s", ptr[r])
	}
	fn.I("ADDQ $%d, R15", 4*rows)
	fn.I("MOVQ R15, index+16(FP)")
	each := func(base, step string, f func(r, i int, at, mask string)) {
		for r := range rows {
			for i := range vectors {
				f(r, i, addr(64*i, "("+base+")"), fmt.Sprintf("K%d", i+1))
			}
			if r < rows-1 {
				fn.I("ADDQ %s, %s", step, base)
			}
		}
	}
	again, go1 := fn.Label("again"), fn.Label("go")
	fn.I("MOVQ bias+64(FP), R14")
	fn.I("TESTQ R14, R14")
	fn.I("JZ %s", again)
	for i := range vectors {
		fn.I("VMOVUPS.Z %s, K%d, %s", addr(64*i, "(R14)"), i+1, acc(0, i))
		for r := 1; r < rows; r++ {
			fn.I("VMOVAPS %s, %s", acc(0, i), acc(r, i))
		}
	}
	fn.I("JMP %s", go1)
	fn.Mark(again)
	fn.I("MOVQ y+48(FP), R14")
	each("R14", "ystride+56(FP)", func(r, i int, at, mask string) { fn.I("VMOVUPS.Z %s, %s, %s", at, mask, acc(r, i)) })
	fn.Mark(go1)
	fn.I("MOVQ spans+24(FP), R15")
	fn.I("MOVQ R15, span+120(FP)")
	fn.I("MOVQ count+32(FP), R15")
	fn.I("MOVQ R15, left+128(FP)")
	fn.I("MOVQ b+40(FP), R14")
	fn.I("MOVQ next+104(FP), BP")
	span, four, one, last, rest := fn.Label("span"), fn.Label("four"), fn.Label("one"), fn.Label("last"), fn.Label("rest")
	fn.Mark(span)
	fn.I("MOVQ BP, next+104(FP)")
	fn.I("MOVQ span+120(FP), BP")
	fn.I("ADDQ $16, span+120(FP)")
	fn.I("MOVQ (BP), R15")
	fn.I("MOVQ 8(BP), BP")
	fn.I("LEAQ (R15)(BP*4), BP")
	fn.I("MOVQ BP, end+136(FP)")
	fn.I("MOVQ next+104(FP), BP")
	// R15 is 16 bytes ahead in the loop over four floats.
	step := func(k, ahead int) {
		for i := range vectors {
			fn.I("VMOVUPS %s, %s", addr(64*(k*perPanel+i%perPanel), panel(i, "R14")), b(i))
		}
		for r := range rows {
			x := fmt.Sprintf("Z%d", spare+r%(32-spare))
			fn.I("VBROADCASTSS %s, %s", addr(4*k-ahead, fmt.Sprintf("(%s)(R15*1)", ptr[r])), x)
			for i := range vectors {
				fn.I("VFMADD231PS %s, %s, %s", b(i), x, acc(r, i))
			}
		}
	}
	fn.I("ADDQ $16, R15")
	fn.I("CMPQ R15, end+136(FP)")
	fn.I("JGT %s", rest)
	fn.Mark(four)
	for k := range 4 {
		step(k, 16)
	}
	for i := range vectors {
		fn.I("PREFETCHT1 %s", addr(64*(i%perPanel), panel(i, "BP")))
	}
	fn.I("ADDQ $%d, BP", 64*perPanel)
	fn.I("ADDQ $%d, R14", 4*64*perPanel)
	fn.I("ADDQ $16, R15")
	fn.I("CMPQ R15, end+136(FP)")
	fn.I("JLE %s", four)
	fn.Mark(rest)
	fn.I("SUBQ $16, R15")
	fn.I("CMPQ R15, end+136(FP)")
	fn.I("JEQ %s", last)
	fn.Mark(one)
	step(0, 0)
	fn.I("ADDQ $%d, R14", 64*perPanel)
	fn.I("ADDQ $4, R15")
	fn.I("CMPQ R15, end+136(FP)")
	fn.I("JLT %s", one)
	fn.Mark(last)
	fn.I("DECQ left+128(FP)")
	fn.I("JNZ %s", span)
	fn.I("MOVQ BP, next+104(FP)")
	// Residual, relu, and out.
	plain, linear := fn.Label("plain"), fn.Label("linear")
	fn.I("MOVQ ystride+56(FP), AX")
	fn.I("MOVQ residual+72(FP), R14")
	fn.I("TESTQ R14, R14")
	fn.I("JZ %s", plain)
	each("R14", "AX", func(r, i int, at, mask string) {
		fn.I("VADDPS %s, %s, %s, %s", at, acc(r, i), mask, acc(r, i))
	})
	fn.I("ADDQ AX, R14")
	fn.I("MOVQ R14, residual+72(FP)")
	fn.Mark(plain)
	// NaN stays: it is the second source of VMAXPS and VMINPS.
	relu6, swish := fn.Label("relu6"), fn.Label("swish")
	all := func(f func(z string)) {
		for r := range rows {
			for i := range vectors {
				f(acc(r, i))
			}
		}
	}
	fn.I("MOVQ after+80(FP), R15")
	fn.I("TESTQ R15, R15")
	fn.I("JZ %s", linear)
	fn.I("VPXORD Z24, Z24, Z24")
	fn.I("CMPQ R15, $2")
	fn.I("JEQ %s", relu6)
	fn.I("JGT %s", swish)
	all(func(z string) { fn.I("VMAXPS %s, Z24, %s", z, z) })
	fn.I("JMP %s", linear)
	fn.Mark(relu6)
	fn.I("VBROADCASTSS %s, Z25", v.f.Bcast(6))
	all(func(z string) {
		fn.I("VMAXPS %s, Z24, %s", z, z)
		fn.I("VMINPS %s, Z25, %s", z, z)
	})
	fn.I("JMP %s", linear)
	fn.Mark(swish)
	fn.I("VBROADCASTSS %s, Z25", v.f.Bcast(1))
	fn.I("VBROADCASTSS %s, Z26", v.f.Bcast(1.0/6))
	fn.I("VBROADCASTSS %s, Z27", v.f.Bcast(0.5))
	all(func(z string) {
		fn.I("VMOVAPS Z26, Z28")
		fn.I("VFMADD213PS Z27, %s, Z28", z)
		fn.I("VMAXPS Z28, Z24, Z28")
		fn.I("VMINPS Z28, Z25, Z28")
		fn.I("VMULPS Z28, %s, %s", z, z)
	})
	fn.Mark(linear)
	fn.I("MOVQ y+48(FP), R14")
	each("R14", "AX", func(r, i int, at, mask string) { fn.I("VMOVUPS %s, %s, %s", acc(r, i), mask, at) })
	fn.I("ADDQ AX, R14")
	fn.I("MOVQ R14, y+48(FP)")
	fn.I("DECQ tiles+96(FP)")
	fn.I("JNZ %s", tile)
	fn.I("VZEROUPPER")
	fn.I("RET")
}
