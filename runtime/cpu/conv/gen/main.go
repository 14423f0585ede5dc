// Command gen writes the assembly of package conv for AVX-512 and AVX2.
package main

import (
	"log"

	"github.com/seed-c851cfd2/moec/runtime/cpu/asmgen"
)

func main() {
	f := asmgen.New("amd64", "go generate ./runtime/cpu/conv")
	for _, wide := range []bool{true, false} {
		v := &vec{f: f, wide: wide}
		v.taps("sumTaps", true)
		v.taps("maxTaps", false)
		v.gather()
		v.windows("weighWindows", weigh)
		v.windows("addWindows", total)
		v.windows("maxWindows", greatest)
	}
	h := &vec{f: f, wide: true, half: true}
	h.windows("weighHalves", weigh)
	h.windows("addHalves", total)
	h.windows("maxHalves", greatest)
	split(f)
	roundGather(f)
	p := asmgen.New("amd64", "go generate ./runtime/cpu/conv")
	v := &vec{f: p, wide: true}
	for rows := 1; rows <= maxRows; rows++ {
		v.product(1, 1, rows)
		v.product(1, 2, rows)
	}
	for rows := 1; rows <= maxRows/2; rows++ {
		v.product(2, 2, rows)
	}
	if err := p.WriteFile("product_amd64.s"); err != nil {
		log.Fatal(err)
	}
	if err := f.WriteFile("taps_amd64.s"); err != nil {
		log.Fatal(err)
	}
}

// vec emits code for one vector width.
type vec struct {
	f    *asmgen.File
	fn   *asmgen.Func
	wide bool
	half bool // x is bf16; wide only
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

// Registers beside the accumulators 0..7.
const (
	regX      = 8  // elements of x, or the weight of a tap
	regNaN    = 9  // lanes of x that are NaN (AVX2)
	regTail   = 10 // lanes of the tail (AVX2)
	regStart  = 11
	regMasked = 12 // elements of x under the mask
)

// taps is start + w[t]*x[off[t]+i] over taps t in order, or their maximum with start,
// in which a NaN stays.
func (v *vec) taps(name string, weigh bool) {
	v.fn = v.f.Func(name+v.r(0)[:1], 64, "")
	fn, size := v.fn, 4*v.lanes()
	fn.I("MOVQ y+0(FP), DI")
	fn.I("MOVQ n+8(FP), CX")
	fn.I("MOVQ x+16(FP), SI")
	fn.I("MOVQ off+24(FP), R9")
	fn.I("MOVQ taps+32(FP), R10")
	fn.I("MOVQ w+40(FP), R8")
	fn.I("VBROADCASTSS start+48(FP), %s", v.r(regStart))
	done := fn.Label("done")
	for _, vectors := range []int{8, 4, 2, 1} {
		loop, next := fn.Label("block"), fn.Label("next")
		fn.I("CMPQ CX, $%d", vectors*v.lanes())
		fn.I("JLT %s", next)
		fn.Mark(loop)
		v.block(vectors, weigh, false)
		fn.I("ADDQ $%d, DI", vectors*size)
		fn.I("ADDQ $%d, SI", vectors*size)
		fn.I("SUBQ $%d, CX", vectors*v.lanes())
		fn.I("CMPQ CX, $%d", vectors*v.lanes())
		fn.I("JGE %s", loop)
		fn.Mark(next)
	}
	fn.I("TESTQ CX, CX")
	fn.I("JZ %s", done)
	if v.wide {
		fn.I("MOVL $1, AX")
		fn.I("SHLL CX, AX")
		fn.I("DECL AX")
		fn.I("KMOVW AX, K1")
	} else {
		fn.I("MOVQ mask+56(FP), DX")
		fn.I("SHLQ $2, CX")
		fn.I("SUBQ CX, DX")
		fn.I("VMOVUPS (DX), %s", v.r(regTail))
	}
	v.block(1, weigh, true)
	fn.Mark(done)
	fn.I("VZEROUPPER")
	fn.I("RET")
}

// block does all taps for some vectors of y.
func (v *vec) block(vectors int, weigh, masked bool) {
	fn, size := v.fn, 4*v.lanes()
	for i := range vectors {
		fn.I("VMOVAPS %s, %s", v.r(regStart), v.r(i))
	}
	tap, stop := fn.Label("tap"), fn.Label("stop")
	fn.I("XORQ R11, R11")
	fn.I("TESTQ R10, R10")
	fn.I("JZ %s", stop)
	fn.Mark(tap)
	fn.I("MOVQ (R9)(R11*8), R12")
	fn.I("LEAQ (SI)(R12*4), R12")
	if weigh {
		fn.I("VBROADCASTSS (R8)(R11*4), %s", v.r(regX))
	}
	for i := range vectors {
		if weigh && !masked {
			fn.I("VFMADD231PS %d(R12), %s, %s", i*size, v.r(regX), v.r(i))
			continue
		}
		x := regX
		if weigh {
			x = regMasked
		}
		switch {
		case !masked:
			fn.I("VMOVUPS %d(R12), %s", i*size, v.r(x))
		case v.wide:
			fn.I("VMOVUPS.Z (R12), K1, %s", v.r(x))
		default:
			fn.I("VMASKMOVPS (R12), %s, %s", v.r(regTail), v.r(x))
		}
		if weigh {
			fn.I("VFMADD231PS %s, %s, %s", v.r(x), v.r(regX), v.r(i))
			continue
		}
		v.maximum(x, regNaN, i)
	}
	fn.I("INCQ R11")
	fn.I("CMPQ R11, R10")
	fn.I("JLT %s", tap)
	fn.Mark(stop)
	for i := range vectors {
		switch {
		case !masked:
			fn.I("VMOVUPS %s, %d(DI)", v.r(i), i*size)
		case v.wide:
			fn.I("VMOVUPS %s, K1, (DI)", v.r(i))
		default:
			fn.I("VMASKMOVPS %s, %s, (DI)", v.r(i), v.r(regTail))
		}
	}
}

// gather copies n <= 32 elements from each of channels x taps places of x to rows of y,
// stride elements apart: one stretch of a panel of columns, its masks in registers.
func (v *vec) gather() {
	v.fn = v.f.Func("gather"+v.r(0)[:1], 72, "")
	fn := v.fn
	fn.I("MOVQ y+0(FP), DI")
	fn.I("MOVQ stride+8(FP), BX")
	fn.I("SHLQ $2, BX")
	fn.I("MOVQ x+16(FP), SI")
	fn.I("MOVQ off+24(FP), R9")
	fn.I("MOVQ taps+32(FP), R10")
	fn.I("MOVQ channels+40(FP), R8")
	fn.I("MOVQ plane+48(FP), DX")
	fn.I("SHLQ $2, DX")
	fn.I("MOVQ n+56(FP), CX")
	done := fn.Label("done")
	for whole := 32 / v.lanes(); whole >= 0; whole-- {
		// whole vectors, then what is left of one.
		next := fn.Label("next")
		fn.I("CMPQ CX, $%d", whole*v.lanes())
		fn.I("JLT %s", next)
		plain := fn.Label("plain")
		if whole*v.lanes() < 32 {
			fn.I("SUBQ $%d, CX", whole*v.lanes())
			if whole > 0 {
				fn.I("JZ %s", plain)
			} else {
				fn.I("JZ %s", done)
			}
			if v.wide {
				fn.I("MOVL $1, AX")
				fn.I("SHLL CX, AX")
				fn.I("DECL AX")
				fn.I("KMOVW AX, K1")
			} else {
				fn.I("MOVQ mask+64(FP), AX")
				fn.I("SHLQ $2, CX")
				fn.I("SUBQ CX, AX")
				fn.I("VMOVUPS (AX), %s", v.r(regTail))
			}
			v.copies(whole, true)
			fn.I("JMP %s", done)
		}
		if whole > 0 {
			fn.Mark(plain)
			v.copies(whole, false)
			fn.I("JMP %s", done)
		}
		fn.Mark(next)
	}
	fn.Mark(done)
	fn.I("VZEROUPPER")
	fn.I("RET")
}

// copies is gather's loop for whole vectors and, with tail, a masked one.
func (v *vec) copies(whole int, tail bool) {
	fn, size := v.fn, 4*v.lanes()
	channel, tap := fn.Label("channel"), fn.Label("tap")
	fn.Mark(channel)
	fn.I("XORQ R11, R11")
	fn.Mark(tap)
	fn.I("MOVQ (R9)(R11*8), R12")
	fn.I("LEAQ (SI)(R12*4), R12")
	for i := range whole {
		fn.I("VMOVUPS %d(R12), %s", i*size, v.r(i))
	}
	at := whole * size
	switch {
	case !tail:
	case v.wide:
		fn.I("VMOVUPS.Z %d(R12), K1, %s", at, v.r(whole))
	default:
		fn.I("VMASKMOVPS %d(R12), %s, %s", at, v.r(regTail), v.r(whole))
	}
	for i := range whole {
		fn.I("VMOVUPS %s, %d(DI)", v.r(i), i*size)
	}
	switch {
	case !tail:
	case v.wide:
		fn.I("VMOVUPS %s, K1, %d(DI)", v.r(whole), at)
	default:
		fn.I("VMASKMOVPS %s, %s, %d(DI)", v.r(whole), v.r(regTail), at)
	}
	fn.I("ADDQ BX, DI")
	fn.I("INCQ R11")
	fn.I("CMPQ R11, R10")
	fn.I("JLT %s", tap)
	fn.I("ADDQ DX, SI")
	fn.I("DECQ R8")
	fn.I("JNZ %s", channel)
}

// split copies n elements of each parity, n a multiple of 8, from x to a and b.
func split(f *asmgen.File) {
	fn := f.Func("splitY", 32, "")
	fn.I("MOVQ a+0(FP), DI")
	fn.I("MOVQ b+8(FP), BX")
	fn.I("MOVQ x+16(FP), SI")
	fn.I("MOVQ n+24(FP), CX")
	loop := fn.Label("loop")
	fn.Mark(loop)
	fn.I("VMOVUPS (SI), Y0")
	fn.I("VMOVUPS 32(SI), Y1")
	fn.I("VSHUFPS $0x88, Y1, Y0, Y2")
	fn.I("VSHUFPS $0xdd, Y1, Y0, Y3")
	fn.I("VPERMPD $0xd8, Y2, Y2")
	fn.I("VPERMPD $0xd8, Y3, Y3")
	fn.I("VMOVUPS Y2, (DI)")
	fn.I("VMOVUPS Y3, (BX)")
	fn.I("ADDQ $64, SI")
	fn.I("ADDQ $32, DI")
	fn.I("ADDQ $32, BX")
	fn.I("SUBQ $8, CX")
	fn.I("JNZ %s", loop)
	fn.I("VZEROUPPER")
	fn.I("RET")
}
