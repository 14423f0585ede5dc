package main

import "strconv"

// windows emits the kernels of channels last: every channel of some pixels side by side
// is folded over the taps of its window, weighted, added up or the greatest.
//
//	y       first pixel out; ystep bytes from one to the next
//	n       pixels
//	bytes   of the channels of a pixel
//	x       first pixel's window; xstep bytes from one pixel's to the next
//	taps    count of off: byte offset of each tap in a window
//	w, woff weights and byte offset of each tap's in them
//	bias    per channel, or nil for start
func (v *vec) windows(name string, fold folding) {
	v.fn = v.f.Func(name+v.r(0)[:1], 104, "")
	fn := v.fn
	fn.I("MOVQ y+0(FP), DI")
	fn.I("MOVQ n+8(FP), R14")
	fn.I("MOVQ x+24(FP), SI")
	fn.I("MOVQ xstep+32(FP), R8")
	fn.I("LEAQ (R8)(R8*2), R9")
	fn.I("LEAQ (R8)(R8*4), R10")
	fn.I("LEAQ (R9)(R8*4), R11")
	fn.I("MOVQ off+40(FP), R12")
	fn.I("MOVQ w+56(FP), BX")
	fn.I("MOVQ woff+64(FP), R13")
	fn.I("VBROADCASTSS start+80(FP), %s", v.r(v.start()))
	size := 4 * v.lanes()
	for _, tile := range v.tiles() {
		pixels, most := tile[0], tile[1]
		loop, next := fn.Label("pixels"), fn.Label("next")
		fn.Mark(loop)
		fn.I("CMPQ R14, $%d", pixels)
		fn.I("JLT %s", next)
		fn.I("XORQ BP, BP")
		for vectors := most; vectors > 0; vectors /= 2 {
			again, less := fn.Label("channels"), fn.Label("less")
			fn.Mark(again)
			fn.I("MOVQ bytes+16(FP), CX")
			fn.I("SUBQ BP, CX")
			fn.I("CMPQ CX, $%d", vectors*size)
			fn.I("JLT %s", less)
			v.pixels(pixels, vectors, false, fold)
			fn.I("ADDQ $%d, BP", vectors*size)
			fn.I("JMP %s", again)
			fn.Mark(less)
		}
		whole := fn.Label("whole")
		fn.I("TESTQ CX, CX")
		fn.I("JZ %s", whole)
		if v.wide {
			fn.I("SHRQ $2, CX")
			fn.I("MOVL $1, AX")
			fn.I("SHLL CX, AX")
			fn.I("DECL AX")
			fn.I("KMOVW AX, K1")
		} else {
			fn.I("MOVQ mask+96(FP), DX")
			fn.I("SUBQ CX, DX")
			fn.I("VMOVUPS (DX), %s", v.r(regTail))
		}
		v.pixels(pixels, 1, true, fold)
		fn.Mark(whole)
		fn.I("MOVQ ystep+88(FP), AX")
		fn.I("IMULQ $%d, AX", pixels)
		fn.I("ADDQ AX, DI")
		fn.I("LEAQ (SI)(R8*%d), SI", pixels)
		fn.I("SUBQ $%d, R14", pixels)
		fn.I("JMP %s", loop)
		fn.Mark(next)
	}
	fn.I("VZEROUPPER")
	fn.I("RET")
}

// folding is what becomes of the elements of a window.
type folding uint8

const (
	weigh folding = iota
	total
	greatest
)

// tiles are the pixels and vectors of channels that accumulate at a time: enough chains
// to hide the latency of an addition, with one or two registers to spare.
func (v *vec) tiles() [][2]int {
	if v.wide {
		return [][2]int{{8, 2}, {4, 4}, {2, 8}, {1, 16}}
	}
	return [][2]int{{8, 1}, {4, 2}, {2, 4}, {1, 8}}
}

// start is the register of the start, one above the accumulators.
func (v *vec) start() int {
	if v.wide {
		return 16
	}
	return 8
}

// pixels folds all taps of some vectors of channels of some pixels.
func (v *vec) pixels(pixels, vectors int, masked bool, fold folding) {
	fn, size := v.fn, 4*v.lanes()
	start, x := v.start(), v.start()+1
	regX, regNaN := x, x+1
	if !v.wide {
		regX, regNaN = 9, 11
	}
	load := func(from string, reg int) {
		switch {
		case !masked:
			fn.I("VMOVUPS %s, %s", from, v.r(reg))
		case v.wide:
			fn.I("VMOVUPS.Z %s, K1, %s", from, v.r(reg))
		default:
			fn.I("VMASKMOVPS %s, %s, %s", from, v.r(regTail), v.r(reg))
		}
	}
	loadX := load
	if v.half {
		loadX = func(from string, reg int) {
			mask, z := "", ""
			if masked {
				mask, z = " K1,", ".Z"
			}
			fn.I("VPMOVZXWD%s %s,%s %s", z, from, mask, v.r(reg))
			fn.I("VPSLLD $16, %s, %s", v.r(reg), v.r(reg))
		}
	}
	acc := func(p, i int) int { return p*vectors + i }
	bias, go1 := fn.Label("bias"), fn.Label("go")
	fn.I("MOVQ bias+72(FP), AX")
	fn.I("TESTQ AX, AX")
	fn.I("JNZ %s", bias)
	for i := range pixels * vectors {
		fn.I("VMOVAPS %s, %s", v.r(start), v.r(i))
	}
	fn.I("JMP %s", go1)
	fn.Mark(bias)
	for i := range vectors {
		load(addr(i*size, "(AX)(BP*1)"), acc(0, i))
		for p := 1; p < pixels; p++ {
			fn.I("VMOVAPS %s, %s", v.r(acc(0, i)), v.r(acc(p, i)))
		}
	}
	fn.Mark(go1)
	tap, stop := fn.Label("tap"), fn.Label("stop")
	fn.I("XORQ CX, CX")
	fn.Mark(tap)
	fn.I("CMPQ CX, taps+48(FP)")
	fn.I("JGE %s", stop)
	fn.I("MOVQ (R12)(CX*8), AX")
	fn.I("ADDQ BP, AX")
	sizeX := size
	if v.half {
		fn.I("SHRQ $1, AX")
		sizeX /= 2
	}
	fn.I("ADDQ SI, AX")
	if fold == weigh {
		fn.I("MOVQ (R13)(CX*8), DX")
		fn.I("ADDQ BP, DX")
	}
	fn.I("INCQ CX")
	places := []string{"(AX)", "(AX)(R8*1)", "(AX)(R8*2)", "(AX)(R9*1)", "(AX)(R8*4)", "(AX)(R10*1)", "(AX)(R9*2)", "(AX)(R11*1)"}
	for i := range vectors {
		w := regX
		if fold == weigh {
			load(addr(i*size, "(BX)(DX*1)"), w)
		}
		for p := range pixels {
			from, to := addr(i*sizeX, places[p]), acc(p, i)
			switch {
			case fold == weigh && v.half:
				loadX(from, regNaN)
				fn.I("VFMADD231PS %s, %s, %s", v.r(regNaN), v.r(w), v.r(to))
			case fold == weigh && !masked:
				fn.I("VFMADD231PS %s, %s, %s", from, v.r(w), v.r(to))
			case fold == weigh && v.wide:
				fn.I("VFMADD231PS %s, %s, K1, %s", from, v.r(w), v.r(to))
			case fold == weigh:
				load(from, regNaN)
				fn.I("VFMADD231PS %s, %s, %s", v.r(regNaN), v.r(w), v.r(to))
			case fold == total:
				loadX(from, regX)
				fn.I("VADDPS %s, %s, %s", v.r(regX), v.r(to), v.r(to))
			default:
				loadX(from, regX)
				v.maximum(regX, regNaN, to)
			}
		}
	}
	fn.I("JMP %s", tap)
	fn.Mark(stop)
	fn.I("LEAQ (DI)(BP*1), AX")
	for p := range pixels {
		for i := range vectors {
			to := addr(i*size, "(AX)")
			switch {
			case !masked:
				fn.I("VMOVUPS %s, %s", v.r(acc(p, i)), to)
			case v.wide:
				fn.I("VMOVUPS %s, K1, %s", v.r(acc(p, i)), to)
			default:
				fn.I("VMASKMOVPS %s, %s, %s", v.r(acc(p, i)), v.r(regTail), to)
			}
		}
		if p < pixels-1 {
			fn.I("ADDQ ystep+88(FP), AX")
		}
	}
}

// maximum sets acc to the greater of it and x; a NaN stays. VMAXPS gives its second
// source, the accumulator, where either is NaN.
func (v *vec) maximum(x, nan, acc int) {
	v.fn.I("VMAXPS %s, %s, %s", v.r(acc), v.r(x), v.r(acc))
	if v.wide {
		v.fn.I("VCMPPS $3, %s, %s, K2", v.r(x), v.r(x))
		v.fn.I("VMOVAPS %s, K2, %s", v.r(x), v.r(acc))
		return
	}
	v.fn.I("VCMPPS $3, %s, %s, %s", v.r(x), v.r(x), v.r(nan))
	v.fn.I("VBLENDVPS %s, %s, %s, %s", v.r(nan), v.r(x), v.r(acc), v.r(acc))
}

func addr(disp int, base string) string {
	if disp == 0 {
		return base
	}
	return strconv.Itoa(disp) + base
}
