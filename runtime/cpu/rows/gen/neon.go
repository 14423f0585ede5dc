package main

import (
	"maps"
	"math"
	"slices"

	"github.com/seed-c851cfd2/moec/runtime/cpu/asmgen"
)

// neon emits code for arm64's vectors: rows go by four vectors, then one, then one element
// at a time, which is in lane 0.
type neon struct {
	f  *asmgen.File
	fn *asmgen.Func
}

// width is how much of a row body handles: whole vectors, or the element in lane 0.
type width int

const (
	vector width = iota
	element
)

func (v *neon) op(o asmgen.NEON, dst, n, m int) { v.fn.I("%s", o.RRR(dst, n, m)) }
func (v *neon) un(o asmgen.NEON, dst, n int)    { v.fn.I("%s", o.RR(dst, n)) }
func (v *neon) move(from, to int)               { v.fn.I("VMOV V%d.B16, V%d.B16", from, to) }

// begin opens a function; ints go to R0, R1, ..., and floats to all lanes of registers.
func (v *neon) begin(name string, args int, ints []string, floats map[string]int) {
	v.fn = v.f.Func(name+"V", args, "")
	for i, a := range ints {
		v.fn.I("MOVD %s(FP), R%d", a, i)
	}
	for _, a := range slices.Sorted(maps.Keys(floats)) {
		v.fn.I("FMOVS %s(FP), F%d", a, floats[a])
		v.fn.I("VDUP V%d.S[0], V%d.S4", floats[a], floats[a])
	}
}

// zero clears registers.
func (v *neon) zero(regs ...int) {
	for _, r := range regs {
		v.fn.I("VEOR V%d.B16, V%d.B16, V%d.B16", r, r, r)
	}
}

// constant puts c in all lanes of a register.
func (v *neon) constant(c float32, reg int) {
	v.fn.I("MOVW $0x%08x, R9", math.Float32bits(c))
	v.fn.I("VDUP R9, V%d.S4", reg)
}

// load reads what is next at ptr; past an element, lanes are zero.
func (v *neon) load(ptr string, reg int, w width) {
	if w == element {
		v.fn.I("FMOVS.P 4(%s), F%d", ptr, reg)
	} else {
		v.fn.I("FMOVQ.P 16(%s), F%d", ptr, reg)
	}
}

// store writes at ptr, which moves on.
func (v *neon) store(reg int, ptr string, w width) {
	if w == element {
		v.fn.I("FMOVS.P F%d, 4(%s)", reg, ptr)
	} else {
		v.fn.I("FMOVQ.P F%d, 16(%s)", reg, ptr)
	}
}

// only clears the lanes past an element.
func (v *neon) only(reg int, w width) {
	if w == element {
		v.fn.I("FMOVS F%d, F%d", reg, reg)
	}
}

// loop runs body over the floats that R1 counts, unroll vectors at a time; i is 0 but in
// such a group.
func (v *neon) loop(unroll int, body func(i int, w width)) {
	again := func(name string, floats int, do func()) {
		loop, done := v.fn.Label(name), v.fn.Label("done")
		v.fn.I("SUBS $%d, R1", floats)
		v.fn.I("BLT %s", done)
		v.fn.Mark(loop)
		do()
		v.fn.I("SUBS $%d, R1", floats)
		v.fn.I("BGE %s", loop)
		v.fn.Mark(done)
		v.fn.I("ADD $%d, R1", floats)
	}
	if unroll > 1 {
		again("group", 4*unroll, func() {
			for i := range unroll {
				body(i, vector)
			}
		})
	}
	again("one", 4, func() { body(0, vector) })
	again("element", 1, func() { body(0, element) })
}

// sumLanes returns the sum of registers 0 to 3 and their lanes.
func (v *neon) sumLanes(result string) {
	v.op(asmgen.FADD, 0, 0, 1)
	v.op(asmgen.FADD, 2, 2, 3)
	v.op(asmgen.FADD, 0, 0, 2)
	v.op(asmgen.FADDP, 0, 0, 0)
	v.op(asmgen.FADDP, 0, 0, 0)
	v.fn.I("FMOVS F0, %s(FP)", result)
	v.fn.I("RET")
}

// tops copies the floor in register 8 to the running maxima 0 to 3.
func (v *neon) tops() {
	for i := range 4 {
		v.move(8, i)
	}
}

// rise takes register r into the running maximum i, passing over NaN; it uses register t.
func (v *neon) rise(r, i, t int, w width) {
	v.op(asmgen.FCMGT, t, r, i)
	v.only(t, w)
	v.fn.I("VBIT V%d.B16, V%d.B16, V%d.B16", t, r, i)
}

// topLanes returns the greatest of registers 0 to 3 and their lanes, which are not NaN
// unless the floor is.
func (v *neon) topLanes(result string) {
	v.op(asmgen.FMAX, 0, 0, 1)
	v.op(asmgen.FMAX, 2, 2, 3)
	v.op(asmgen.FMAX, 0, 0, 2)
	v.un(asmgen.FMAXV, 0, 0)
	v.fn.I("FMOVS F0, %s(FP)", result)
	v.fn.I("RET")
}

func (v *neon) add() {
	v.begin("add", 32, []string{"dst+0", "n+8", "x+16", "y+24"}, nil)
	v.loop(4, func(i int, w width) {
		v.load("R2", 4+i, w)
		v.load("R3", 16+i, w)
		v.op(asmgen.FADD, 4+i, 4+i, 16+i)
		v.store(4+i, "R0", w)
	})
	v.fn.I("RET")
}

func (v *neon) scale() {
	v.begin("scale", 28, []string{"dst+0", "n+8", "x+16"}, map[string]int{"factor+24": 9})
	v.loop(4, func(i int, w width) {
		v.load("R2", 4+i, w)
		v.op(asmgen.FMUL, 4+i, 4+i, 9)
		v.store(4+i, "R0", w)
	})
	v.fn.I("RET")
}

func (v *neon) sum() {
	v.begin("sum", 20, []string{"x+0", "n+8"}, nil)
	v.zero(0, 1, 2, 3)
	v.loop(4, func(i int, w width) {
		v.load("R0", 4+i, w)
		v.op(asmgen.FADD, i, i, 4+i)
	})
	v.sumLanes("ret+16")
}

// squares: the sum of (x-mean)^2.
func (v *neon) squares() {
	v.begin("squares", 28, []string{"x+0", "n+8"}, map[string]int{"mean+16": 9})
	v.zero(0, 1, 2, 3)
	v.loop(4, func(i int, w width) {
		v.load("R0", 4+i, w)
		v.op(asmgen.FSUB, 4+i, 4+i, 9)
		v.only(4+i, w)
		v.op(asmgen.FMLA, i, 4+i, 4+i)
	})
	v.sumLanes("ret+24")
}

// affine: dst = (x-mean)*factor*scale + bias.
func (v *neon) affine() {
	v.begin("affine", 48, []string{"dst+0", "n+8", "x+16", "scale+32", "bias+40"}, map[string]int{"mean+24": 9, "factor+28": 8})
	v.loop(2, func(i int, w width) {
		v.load("R2", 4+i, w)
		v.load("R3", 16+i, w)
		v.load("R4", 20+i, w)
		v.op(asmgen.FSUB, 4+i, 4+i, 9)
		v.op(asmgen.FMUL, 4+i, 4+i, 8)
		v.op(asmgen.FMLA, 20+i, 4+i, 16+i)
		v.store(20+i, "R0", w)
	})
	v.fn.I("RET")
}

// top: the maximum of x and floor; NaN in x is passed over.
func (v *neon) top() {
	v.begin("top", 28, []string{"x+0", "n+8"}, map[string]int{"floor+16": 8})
	v.tops()
	v.loop(4, func(i int, w width) {
		v.load("R0", 4+i, w)
		v.rise(4+i, i, 16+i, w)
	})
	v.topLanes("ret+24")
}

// scaleMax: x = x*factor (+ add), and the maximum of the new x and floor.
func (v *neon) scaleMax(add bool) {
	name, ints, args, ret := "scaleMax", []string{"x+0", "n+8"}, 28, "ret+24"
	if add {
		name, ints, args, ret = "scaleAddMax", append(ints, "add+24"), 36, "ret+32"
	}
	v.begin(name, args, ints, map[string]int{"factor+16": 9, "floor+20": 8})
	v.fn.I("MOVD R0, R3")
	v.tops()
	v.loop(4, func(i int, w width) {
		v.load("R0", 4+i, w)
		v.op(asmgen.FMUL, 4+i, 4+i, 9)
		if add {
			v.load("R2", 20+i, w)
			v.op(asmgen.FADD, 4+i, 4+i, 20+i)
		}
		v.store(4+i, "R3", w)
		v.rise(4+i, i, 16+i, w)
	})
	v.topLanes(ret)
}

// selectMax: x = keep ? x*factor : fill over whole vectors, and the maximum of the new x
// and floor. n must be a multiple of 4.
func (v *neon) selectMax() {
	v.begin("selectMax", 44, []string{"x+0", "n+8", "keep+16"}, map[string]int{"factor+24": 9, "fill+28": 10, "floor+32": 8})
	v.tops()
	v.zero(11)
	loop := v.fn.Label("loop")
	v.fn.Mark(loop)
	v.fn.I("FMOVS.P 4(R2), F5")
	v.fn.I("VUSHLL $0, V5.B8, V5.H8")
	v.fn.I("VUSHLL $0, V5.H4, V5.S4")
	v.fn.I("FMOVQ (R0), F4")
	v.op(asmgen.FMUL, 4, 4, 9)
	v.fn.I("VCMEQ V11.S4, V5.S4, V5.S4")
	v.fn.I("VBIT V5.B16, V10.B16, V4.B16")
	v.store(4, "R0", vector)
	v.rise(4, 0, 16, vector)
	v.fn.I("SUBS $4, R1")
	v.fn.I("BGT %s", loop)
	v.topLanes("ret+40")
}

// expSum: x = e^(x-top), and the sum of the new x. The coefficients are those of package
// act. FMAX keeps NaN.
func (v *neon) expSum() {
	v.begin("expSum", 28, []string{"x+0", "n+8"}, map[string]int{"top+16": 9})
	v.fn.I("MOVD R0, R3")
	c := asmgen.ExpP
	const coeff, bound, log2e, hi, lo = 24, 20, 21, 22, 23 // registers
	for i, k := range c[1:] {
		v.constant(k, coeff+i)
	}
	for i, k := range []float32{-87.3, math.Log2E, asmgen.Ln2Hi, asmgen.Ln2Lo} {
		v.constant(k, bound+i)
	}
	v.zero(0, 1, 2, 3)
	v.loop(4, func(i int, w width) {
		v.load("R0", 4, w)
		v.op(asmgen.FSUB, 4, 4, 9)
		v.op(asmgen.FMAX, 5, 4, bound)
		v.op(asmgen.FMUL, 6, 5, log2e)
		v.un(asmgen.FRINTN, 6, 6)
		v.op(asmgen.FMLS, 5, 6, hi)
		v.op(asmgen.FMLS, 5, 6, lo)
		v.un(asmgen.FCVTNS, 6, 6)
		acc, next := coeff+5, 16
		for k := 5; k >= 0; k-- {
			v.move(coeff+max(0, k-1), next) // c[0] and c[1] are 1
			v.op(asmgen.FMLA, next, acc, 5)
			acc, next = next, 33-next
		}
		v.fn.I("VSHL $23, V6.S4, V6.S4")
		v.fn.I("VADD V6.S4, V%d.S4, V5.S4", acc)
		// Below the bound the result is zero.
		v.op(asmgen.FCMGT, 6, bound, 4)
		v.zero(7)
		v.fn.I("VBIT V6.B16, V7.B16, V5.B16")
		v.store(5, "R3", w)
		v.only(5, w)
		v.op(asmgen.FADD, i, i, 5)
	})
	v.sumLanes("ret+24")
}

// transpose4 writes 4 columns of 4 rows as rows, for n blocks down the columns.
func (v *neon) transpose4() {
	v.fn = v.f.Func("transpose4", 40, "transpose4 sets dst[j][i] = src[i][j] for i < 4 and j < 4n; strides are in bytes.")
	for i, a := range []string{"dst+0", "dstStride+8", "src+16", "srcStride+24", "n+32"} {
		v.fn.I("MOVD %s(FP), R%d", a, i)
	}
	loop := v.fn.Label("loop")
	v.fn.Mark(loop)
	v.fn.I("MOVD R2, R5")
	for i := range 4 {
		v.fn.I("FMOVQ (R5), F%d", i)
		v.fn.I("ADD R3, R5")
	}
	for i := 0; i < 4; i += 2 { // pairs of rows
		v.fn.I("VTRN1 V%d.S4, V%d.S4, V%d.S4", i+1, i, 4+i)
		v.fn.I("VTRN2 V%d.S4, V%d.S4, V%d.S4", i+1, i, 5+i)
	}
	for i := range 2 {
		v.fn.I("VTRN1 V%d.D2, V%d.D2, V%d.D2", 6+i, 4+i, i)
		v.fn.I("VTRN2 V%d.D2, V%d.D2, V%d.D2", 6+i, 4+i, 2+i)
	}
	for i := range 4 {
		v.fn.I("FMOVQ F%d, (R0)", i)
		v.fn.I("ADD R1, R0")
	}
	v.fn.I("ADD $16, R2")
	v.fn.I("SUBS $1, R4")
	v.fn.I("BNE %s", loop)
	v.fn.I("RET")
}

// neonFile is the assembly for arm64.
func neonFile(generator string) *asmgen.File {
	v := &neon{f: asmgen.NewARM64(generator)}
	v.add()
	v.sum()
	v.squares()
	v.affine()
	v.top()
	v.expSum()
	v.scale()
	v.scaleMax(false)
	v.scaleMax(true)
	v.selectMax()
	v.transpose4()
	return v.f
}
