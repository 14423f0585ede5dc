// Command gen writes the assembly of package rows for AVX-512, AVX2 and NEON.
//
// Sums run in four vectors of lanes that are added pairwise at the end, the same way
// for every call, so that a row's bits depend on its length and contents alone.
package main

import (
	"fmt"
	"log"
	"math"

	"github.com/seed-c851cfd2/moec/runtime/cpu/asmgen"
)

func main() {
	const generator = "go generate ./runtime/cpu/rows"
	f := asmgen.New("amd64", generator)
	for _, wide := range []bool{true, false} {
		v := &vec{f: f, wide: wide}
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
		v.moments()
		v.affineColumns()
		v.dots()
		v.weigh()
	}
	transpose8(f)
	expSumRows(f)
	scaleMaxRows(f)
	scaleRows(f)
	if err := f.WriteFile("rows_amd64.s"); err != nil {
		log.Fatal(err)
	}
	if err := neonFile(generator).WriteFile("rows_arm64.s"); err != nil {
		log.Fatal(err)
	}
}

// vec emits code for one vector width. The tail of a row is read under a mask: K1, or
// Y10 on AVX2.
type vec struct {
	f    *asmgen.File
	fn   *asmgen.Func
	wide bool
}

func (v *vec) r(i int) string {
	if v.wide {
		return asmgen.Z(i)
	}
	return asmgen.Y(i)
}

func (v *vec) lanes() int {
	if v.wide {
		return 16
	}
	return 8
}

func (v *vec) op(name string, regs ...int) {
	s := name
	for i, x := range regs {
		if i > 0 {
			s += ","
		}
		s += " " + v.r(x)
	}
	v.fn.I("%s", s)
}

// opc is op with a constant as the first operand; AVX2 takes it through register 11.
func (v *vec) opc(name string, c float32, regs ...int) {
	if !v.wide {
		v.constant(c, 11)
		v.op(name, append([]int{11}, regs...)...)
		return
	}
	s := name + ".BCST " + v.f.Bcast(c)
	for _, x := range regs {
		s += ", " + v.r(x)
	}
	v.fn.I("%s", s)
}

// begin opens a function. All take a mask argument, which only AVX2 reads.
func (v *vec) begin(name string, args int) {
	v.fn = v.f.Func(name+v.r(0)[:1], args, "")
}

// loop runs body over n floats (n+8(FP) in CX), unroll vectors at a time, then one at a
// time, then the tail under the mask. body(i, masked) handles vector i of the group at
// byte offset i*width of the pointers, which advance adds to.
func (v *vec) loop(unroll int, maskArg string, ptrs []string, body func(i int, masked bool)) {
	fn, lanes := v.fn, v.lanes()
	advance := func(n int) {
		for _, p := range ptrs {
			fn.I("ADDQ $%d, %s", 4*n, p)
		}
	}
	if unroll > 1 {
		group, single := fn.Label("group"), fn.Label("single")
		fn.I("SUBQ $%d, CX", unroll*lanes)
		fn.I("JLT %s", single)
		fn.Mark(group)
		for i := range unroll {
			body(i, false)
		}
		advance(unroll * lanes)
		fn.I("SUBQ $%d, CX", unroll*lanes)
		fn.I("JGE %s", group)
		fn.Mark(single)
		fn.I("ADDQ $%d, CX", unroll*lanes)
	}
	one, tail, done := fn.Label("one"), fn.Label("tail"), fn.Label("done")
	fn.I("SUBQ $%d, CX", lanes)
	fn.I("JLT %s", tail)
	fn.Mark(one)
	body(0, false)
	advance(lanes)
	fn.I("SUBQ $%d, CX", lanes)
	fn.I("JGE %s", one)
	fn.Mark(tail)
	fn.I("ADDQ $%d, CX", lanes)
	fn.I("JZ %s", done)
	if v.wide {
		fn.TailMask(1, "AX")
	} else {
		fn.TailMaskY(10, maskArg, "DX")
	}
	body(0, true)
	fn.Mark(done)
}

// load reads vector i at ptr; masked-off lanes are zero.
func (v *vec) load(ptr string, i, reg int, masked bool) {
	off := ""
	if i > 0 {
		off = fmt.Sprint(i * 4 * v.lanes())
	}
	switch {
	case !masked:
		v.fn.I("VMOVUPS %s(%s), %s", off, ptr, v.r(reg))
	case v.wide:
		v.fn.I("VMOVUPS.Z %s(%s), K1, %s", off, ptr, v.r(reg))
	default:
		v.fn.I("VMASKMOVPS %s(%s), Y10, %s", off, ptr, v.r(reg))
	}
}

func (v *vec) store(reg int, ptr string, i int, masked bool) {
	off := ""
	if i > 0 {
		off = fmt.Sprint(i * 4 * v.lanes())
	}
	switch {
	case !masked:
		v.fn.I("VMOVUPS %s, %s(%s)", v.r(reg), off, ptr)
	case v.wide:
		v.fn.I("VMOVUPS %s, K1, %s(%s)", v.r(reg), off, ptr)
	default:
		v.fn.I("VMASKMOVPS %s, Y10, %s(%s)", v.r(reg), off, ptr)
	}
}

// keep clears the masked-off lanes of a register.
func (v *vec) keep(reg int, masked bool) {
	if !masked {
		return
	}
	if v.wide {
		v.fn.I("VMOVAPS.Z Z%d, K1, Z%d", reg, reg)
	} else {
		v.fn.I("VANDPS Y10, Y%d, Y%d", reg, reg)
	}
}

// fold adds (or takes the maximum of) registers 0..3 and their lanes into X0.
func (v *vec) fold(op string) {
	v.op(op+"PS", 1, 0, 0)
	v.op(op+"PS", 3, 2, 2)
	v.op(op+"PS", 2, 0, 0)
	if v.wide {
		v.fn.I("VEXTRACTF64X4 $1, Z0, Y1")
		v.fn.I("%sPS Y1, Y0, Y0", op)
	}
	v.fn.I("VEXTRACTF128 $1, Y0, X1")
	v.fn.I("%sPS X1, X0, X0", op)
	v.fn.I("VPERMILPS $0x4e, X0, X1")
	v.fn.I("%sPS X1, X0, X0", op)
	v.fn.I("VPERMILPS $0xb1, X0, X1")
	v.fn.I("%sPS X1, X0, X0", op)
}

func (v *vec) zero(regs ...int) {
	for _, r := range regs {
		v.fn.I("VXORPS %s, %s, %s", v.r(r), v.r(r), v.r(r))
	}
}

func (v *vec) end() {
	v.fn.I("VZEROUPPER")
	v.fn.I("RET")
}

func (v *vec) constant(c float32, reg int) {
	v.fn.I("VBROADCASTSS %s, %s", v.f.Bcast(c), v.r(reg))
}

// add: dst = x + y.
func (v *vec) add() {
	v.begin("add", 40)
	v.fn.I("MOVQ dst+0(FP), DI")
	v.fn.I("MOVQ n+8(FP), CX")
	v.fn.I("MOVQ x+16(FP), SI")
	v.fn.I("MOVQ y+24(FP), BX")
	v.loop(4, "mask+32(FP)", []string{"DI", "SI", "BX"}, func(i int, m bool) {
		v.load("SI", i, i, m)
		v.load("BX", i, i+4, m)
		v.op("VADDPS", i+4, i, i)
		v.store(i, "DI", i, m)
	})
	v.end()
}

// sum of x.
func (v *vec) sum() {
	v.begin("sum", 28)
	v.fn.I("MOVQ x+0(FP), SI")
	v.fn.I("MOVQ n+8(FP), CX")
	v.zero(0, 1, 2, 3)
	v.loop(4, "mask+16(FP)", []string{"SI"}, func(i int, m bool) {
		v.load("SI", i, 4+i, m)
		v.op("VADDPS", 4+i, i, i)
	})
	v.fold("VADD")
	v.fn.I("MOVSS X0, ret+24(FP)")
	v.end()
}

// squares: the sum of (x-mean)^2.
func (v *vec) squares() {
	v.begin("squares", 36)
	v.fn.I("MOVQ x+0(FP), SI")
	v.fn.I("MOVQ n+8(FP), CX")
	v.fn.I("VBROADCASTSS mean+16(FP), %s", v.r(9))
	v.zero(0, 1, 2, 3)
	v.loop(4, "mask+24(FP)", []string{"SI"}, func(i int, m bool) {
		v.load("SI", i, 4+i, m)
		v.op("VSUBPS", 9, 4+i, 4+i)
		v.keep(4+i, m)
		v.op("VFMADD231PS", 4+i, 4+i, i)
	})
	v.fold("VADD")
	v.fn.I("MOVSS X0, ret+32(FP)")
	v.end()
}

// affine: dst = (x-mean)*factor*scale + bias.
func (v *vec) affine() {
	v.begin("affine", 56)
	v.fn.I("MOVQ dst+0(FP), DI")
	v.fn.I("MOVQ n+8(FP), CX")
	v.fn.I("MOVQ x+16(FP), SI")
	v.fn.I("VBROADCASTSS mean+24(FP), %s", v.r(9))
	v.fn.I("VBROADCASTSS factor+28(FP), %s", v.r(8))
	v.fn.I("MOVQ scale+32(FP), BX")
	v.fn.I("MOVQ bias+40(FP), R8")
	v.loop(1, "mask+48(FP)", []string{"DI", "SI", "BX", "R8"}, func(i int, m bool) {
		v.load("SI", i, 0, m)
		v.load("BX", i, 1, m)
		v.load("R8", i, 2, m)
		v.op("VSUBPS", 9, 0, 0)
		v.op("VMULPS", 8, 0, 0)
		v.op("VFMADD213PS", 2, 1, 0)
		v.store(0, "DI", i, m)
	})
	v.end()
}

// top: the maximum of x and floor; NaN in x is passed over.
func (v *vec) top() {
	v.begin("top", 36)
	v.fn.I("MOVQ x+0(FP), SI")
	v.fn.I("MOVQ n+8(FP), CX")
	for i := range 4 {
		v.fn.I("VBROADCASTSS floor+16(FP), %s", v.r(i))
	}
	v.fn.I("VBROADCASTSS floor+16(FP), %s", v.r(9))
	v.loop(4, "mask+24(FP)", []string{"SI"}, func(i int, m bool) {
		v.load("SI", i, 4+i, m)
		if m && v.wide {
			v.fn.I("VBLENDMPS Z%d, Z9, K1, Z%d", 4+i, 4+i)
		} else if m {
			v.fn.I("VBLENDVPS Y10, Y%d, Y9, Y%d", 4+i, 4+i)
		}
		// VMAXPS gives its second source when either is NaN: the running maximum.
		v.op("VMAXPS", i, 4+i, i)
	})
	v.fold("VMAX")
	v.fn.I("MOVSS X0, ret+32(FP)")
	v.end()
}

// expSum: x = e^(x-top), and the sum of the new x. The coefficients are those of
// package act.
func (v *vec) expSum() {
	v.begin("expSum", 36)
	v.fn.I("MOVQ x+0(FP), SI")
	v.fn.I("MOVQ n+8(FP), CX")
	v.fn.I("VBROADCASTSS top+16(FP), %s", v.r(9))
	v.zero(0, 1, 2, 3)
	v.loop(1, "mask+24(FP)", []string{"SI"}, func(i int, m bool) {
		v.load("SI", i, 4, m)
		v.op("VSUBPS", 9, 4, 4)
		v.constant(-87.3, 5)
		// NaN stays: VMAXPS gives its second source when either is NaN.
		v.op("VMAXPS", 4, 5, 6)
		v.opc("VMULPS", math.Log2E, 6, 7)
		if v.wide {
			v.fn.I("VRNDSCALEPS $0, Z7, Z7")
		} else {
			v.fn.I("VROUNDPS $0, Y7, Y7")
		}
		v.opc("VFNMADD231PS", asmgen.Ln2Hi, 7, 6)
		v.opc("VFNMADD231PS", asmgen.Ln2Lo, 7, 6)
		c := asmgen.ExpP
		v.constant(c[6], 8)
		for k := 5; k >= 0; k-- {
			v.opc("VFMADD213PS", c[k], 6, 8)
		}
		if v.wide {
			v.fn.I("VSCALEFPS Z7, Z8, Z6")
		} else {
			v.fn.I("VCVTPS2DQ Y7, Y7")
			v.fn.I("VPSLLD $23, Y7, Y7")
			v.fn.I("VPADDD Y7, Y8, Y6")
		}
		// Below the bound the result is zero.
		if v.wide {
			v.fn.I("VCMPPS $1, Z5, Z4, K2") // x < bound
			v.zero(7)
			v.fn.I("VMOVAPS Z7, K2, Z6")
		} else {
			v.fn.I("VCMPPS $1, Y5, Y4, Y7")
			v.fn.I("VANDNPS Y6, Y7, Y6")
		}
		v.store(6, "SI", i, m)
		v.keep(6, m)
		v.op("VADDPS", 6, 0, 0)
	})
	v.fold("VADD")
	v.fn.I("MOVSS X0, ret+32(FP)")
	v.end()
}

// scale: dst = x * factor.
func (v *vec) scale() {
	v.begin("scale", 40)
	v.fn.I("MOVQ dst+0(FP), DI")
	v.fn.I("MOVQ n+8(FP), CX")
	v.fn.I("MOVQ x+16(FP), SI")
	v.fn.I("VBROADCASTSS factor+24(FP), %s", v.r(9))
	v.loop(4, "mask+32(FP)", []string{"DI", "SI"}, func(i int, m bool) {
		v.load("SI", i, i, m)
		v.op("VMULPS", 9, i, i)
		v.store(i, "DI", i, m)
	})
	v.end()
}
