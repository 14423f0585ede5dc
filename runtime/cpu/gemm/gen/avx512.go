package main

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/runtime/cpu/asmgen"
)

// kind is a precision: all read four bytes of a row of A per step (one f32, two
// bf16, four u8), broadcast them, and multiply by 32 columns of four bytes of B.
type kind struct {
	name string
	mac  func(fn *asmgen.Func, acc, a, b int) // acc += a*b on registers
	mem  string                               // mnemonic that takes B from memory, if any
	int8 bool
	wide bool // B is bf16, widened to f32 on the way; A is f32 and t.k counts its elements
}

var (
	f32 = kind{name: "f32", mem: "VFMADD231PS", mac: func(fn *asmgen.Func, acc, a, b int) {
		fn.I("VFMADD231PS Z%d, Z%d, Z%d", b, a, acc)
	}}
	bf16 = kind{name: "bf16", mac: func(fn *asmgen.Func, acc, a, b int) {
		fn.I("%s", asmgen.VDPBF16PS.RRR("VDPBF16PS", acc, b, a))
	}}
	wide = kind{name: "wide", wide: true, mac: f32.mac}
	i8   = kind{name: "i8", mem: "VPDPBUSD", int8: true, mac: func(fn *asmgen.Func, acc, a, b int) {
		fn.I("VPDPBUSD Z%d, Z%d, Z%d", b, a, acc)
	}}
)

// General registers: twelve rows, and three for the rest.
var rowRegs = []string{"R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15", "AX", "BX", "CX", "DX"}

const (
	regB     = "SI" // B at the current step
	regK     = "DI" // bytes of A left, negative; rows point at their ends
	regAhead = "BP" // distance to what is fetched into L2 meanwhile
	unroll   = 4
	near     = 1024 // distance of prefetches to L1 in bytes of B
)

// variant is the form of a kernel beside its number of rows.
type variant struct {
	nv int // vectors of a panel: 2, or 1 for the half panel at the end of a matrix
	p  int // panels at a time
	// stream makes a kernel of twelve rows fetch every line at regAhead into L2, as those
	// of eight and ten do, which mostly run alone: where B comes from memory, this is what
	// keeps it coming. The twelve rows of a block's later tiles fetch two lines in eight.
	stream bool
}

// avx512 emits the kernel of mr rows in a form.
//
// Accumulators are Z0.., row by row; the last registers hold B and the broadcast
// elements of A. Every element of C is one chain of multiply-adds over ascending
// k that starts from C, the bias or zero, so that its bits depend on neither mr
// nor p nor where k was cut.
func (kd kind) avx512(f *asmgen.File, mr int, form variant) {
	nv, p := form.nv, form.p
	name := fmt.Sprintf("%sZ%dx%d", kd.name, mr, nv)
	if p > 1 {
		name += fmt.Sprintf("p%d", p)
	}
	lines := 256 // bytes of B from one line that is fetched into L2 to the next
	if form.stream {
		name += "s"
	}
	if form.stream || mr == 8 || mr == 10 {
		lines = 64
	}
	fn := f.Func(name, 8, fmt.Sprintf("%s multiplies %d rows by t.n panels of %d columns, %d at a time.", name, mr, 16*nv, p))
	acc := func(q, i, v int) int { return (q*mr+i)*nv + v }
	nacc := mr * nv * p
	if nacc > 28 {
		panic(name + ": too many accumulators")
	}
	breg := func(v int) int { return 32 - nv + v } // Z30, Z31
	free := 32 - nv - nacc                         // registers for broadcasts
	if kd.wide {
		free -= nv + 1 // raw words and the mask of high halves
	}
	nbc := min(4, free)
	raw := func(v int) int { return 32 - 2*nv + v }
	high := 32 - 2*nv - 1
	areg := func(i int) int { return nacc + i%nbc }
	// B pointers of the further panels take row registers that mr leaves free.
	bregs := append([]string{regB}, rowRegs[mr:]...)[:p]

	fn.I("MOVQ t+0(FP), DI")
	fn.I("MOVQ tile_k(DI), SI")
	fn.I("SHLQ $2, SI")
	for i := range mr {
		fn.I("MOVQ tile_a+%d(DI), %s", 8*i, rowRegs[i])
		fn.I("ADDQ SI, %s", rowRegs[i])
	}
	if kd.wide {
		fn.I("VPBROADCASTD %s, Z%d", f.Const32(0xffff0000), high)
	}
	panel, masked := fn.Label("panel"), fn.Label("full")
	fn.Mark(panel)
	fn.I("MOVQ t+0(FP), DI")
	fn.I("KXNORW K1, K1, K1")
	fn.I("KXNORW K2, K2, K2")
	if p == 1 {
		// Only the last panel may be partial; several at a time are always whole.
		fn.I("CMPQ tile_n(DI), $1")
		fn.I("JNE %s", masked)
		fn.I("MOVL tile_mask(DI), SI")
		fn.I("KMOVW SI, K1")
		fn.I("SHRL $16, SI")
		fn.I("KMOVW SI, K2")
		fn.Mark(masked)
	}
	fn.I("MOVQ tile_off(DI), BP")
	if kd.int8 {
		kd.initInt8(fn, mr, nv, p, acc)
	} else {
		initFloat(fn, mr, nv, p, acc)
	}
	fn.I("MOVQ tile_b(DI), SI")
	fn.I("ADDQ tile_boff(DI), SI")
	fn.I("MOVQ tile_bp(DI), BP")
	for q := 1; q < p; q++ {
		fn.I("LEAQ (%s)(BP*1), %s", bregs[q-1], bregs[q])
	}
	fn.I("MOVQ tile_ahead(DI), BP")
	fn.I("MOVQ tile_k(DI), DI")
	fn.I("SHLQ $2, DI")
	fn.I("NEGQ DI")

	// Two k of widened bf16: the even one in the low halves of the words.
	pair := func(u int, ahead, odd bool) {
		for q := range p {
			for v := range nv {
				fn.I("VMOVUPS %d(%s), Z%d", 64*v, bregs[q], raw(v))
				fn.I("VPSLLD $16, Z%d, Z%d", raw(v), breg(v))
				if ahead {
					fn.I("PREFETCHT0 %d(%s)", near+64*v, bregs[q])
				}
			}
			fn.I("ADDQ $%d, %s", 64*nv, bregs[q])
			for e := range 2 {
				if e == 1 {
					if !odd {
						continue
					}
					for v := range nv {
						fn.I("VPANDD Z%d, Z%d, Z%d", raw(v), high, breg(v))
					}
				}
				for i := range mr {
					fn.I("VBROADCASTSS %d(%s)(DI*1), Z%d", 4*(u+e), rowRegs[i], areg(i))
					for v := range nv {
						kd.mac(fn, acc(q, i, v), areg(i), breg(v))
					}
				}
			}
		}
	}
	step := func(u int, ahead bool) {
		if kd.wide {
			pair(u, ahead, true)
			return
		}
		if p > 1 && mr == 1 && kd.mem != "" {
			fn.I("VBROADCASTSS %d(%s)(DI*1), Z%d", 4*u, rowRegs[0], areg(u))
			for q := range p {
				for v := range nv {
					fn.I("%s %d(%s), Z%d, Z%d", kd.mem, 64*v, bregs[q], areg(u), acc(q, 0, v))
				}
				if ahead {
					fn.I("PREFETCHT0 %d(%s)", near, bregs[q])
					fn.I("PREFETCHT0 %d(%s)", near+64, bregs[q])
				}
				fn.I("ADDQ $%d, %s", 64*nv, bregs[q])
			}
			return
		}
		for q := range p {
			for v := range nv {
				// Panels are padded: a masked load would take an FMA port.
				fn.I("VMOVUPS %d(%s), Z%d", 64*v, bregs[q], breg(v))
			}
			if ahead {
				for v := range nv {
					fn.I("PREFETCHT0 %d(%s)", near+64*v, bregs[q])
				}
			}
			fn.I("ADDQ $%d, %s", 64*nv, bregs[q])
			for i := range mr {
				fn.I("VBROADCASTSS %d(%s)(DI*1), Z%d", 4*u, rowRegs[i], areg(i))
				for v := range nv {
					kd.mac(fn, acc(q, i, v), areg(i), breg(v))
				}
			}
		}
	}
	loop, tail, tail1, done := fn.Label("loop"), fn.Label("tail"), fn.Label("tailstep"), fn.Label("done")
	fn.I("CMPQ DI, $%d", -4*unroll)
	fn.I("JGT %s", tail)
	fn.Mark(loop)
	stride := 1
	if kd.wide {
		stride = 2
	}
	for at := 0; p == 1 && at < unroll*64*nv/stride; at += lines {
		fn.I("PREFETCHT1 %d(%s)(%s*1)", at, regB, regAhead)
	}
	for u := 0; u < unroll; u += stride {
		step(u, true)
	}
	fn.I("ADDQ $%d, DI", 4*unroll)
	fn.I("CMPQ DI, $%d", -4*unroll)
	fn.I("JLE %s", loop)
	fn.Mark(tail)
	fn.I("TESTQ DI, DI")
	fn.I("JZ %s", done)
	if kd.wide {
		last := fn.Label("last")
		fn.I("CMPQ DI, $-4")
		fn.I("JEQ %s", last)
		step(0, false)
		fn.I("ADDQ $8, DI")
		fn.I("JZ %s", done)
		fn.Mark(last)
		pair(0, false, false)
	} else {
		fn.Mark(tail1)
		step(0, false)
		fn.I("ADDQ $4, DI")
		fn.I("JNZ %s", tail1)
	}
	fn.Mark(done)

	fn.I("MOVQ t+0(FP), DI")
	fn.I("MOVQ tile_off(DI), BP")
	if kd.int8 {
		kd.finishInt8(fn, mr, nv, p, acc)
	} else {
		atLeast(fn, nacc)
	}
	for i := range mr {
		fn.I("MOVQ tile_c+%d(DI), SI", 8*i)
		for q := range p {
			for v := range nv {
				fn.I("VMOVUPS Z%d, K%d, %d(SI)(BP*1)", acc(q, i, v), v+1, 64*(q*nv+v))
			}
		}
	}
	fn.I("ADDQ $%d, tile_off(DI)", 64*nv*p)
	fn.I("MOVQ tile_bp(DI), SI")
	if p > 1 {
		fn.I("IMULQ $%d, SI", p)
	}
	fn.I("ADDQ SI, tile_boff(DI)")
	fn.I("SUBQ $%d, tile_n(DI)", p)
	if p == 1 {
		fn.I("JNZ %s", panel)
	} else {
		fn.I("CMPQ tile_n(DI), $%d", p)
		fn.I("JGE %s", panel)
	}
	fn.I("VZEROUPPER")
	fn.I("RET")
}

// initFloat starts the accumulators from C, else from the bias, else from zero.
// DI is the tile and BP the byte offset of the panel in C and in the bias.
func initFloat(fn *asmgen.Func, mr, nv, p int, acc func(q, i, v int) int) {
	noC, noBias, begin := fn.Label("noc"), fn.Label("nobias"), fn.Label("begin")
	fn.I("TESTL $1, tile_flags(DI)")
	fn.I("JZ %s", noC)
	for i := range mr {
		fn.I("MOVQ tile_c+%d(DI), SI", 8*i)
		for q := range p {
			for v := range nv {
				fn.I("VMOVUPS.Z %d(SI)(BP*1), K%d, Z%d", 64*(q*nv+v), v+1, acc(q, i, v))
			}
		}
		// The same of the next panel, which short sums would wait for.
		for v := 0; v < nv && p == 1; v++ {
			fn.I("PREFETCHT0 %d(SI)(BP*1)", 64*(nv+v))
		}
	}
	fn.I("JMP %s", begin)
	fn.Mark(noC)
	fn.I("MOVQ tile_bias(DI), SI")
	fn.I("TESTQ SI, SI")
	fn.I("JZ %s", noBias)
	for q := range p {
		for v := range nv {
			fn.I("VMOVUPS.Z %d(SI)(BP*1), K%d, Z%d", 64*(q*nv+v), v+1, acc(q, 0, v))
			for i := 1; i < mr; i++ {
				fn.I("VMOVAPS Z%d, Z%d", acc(q, 0, v), acc(q, i, v))
			}
		}
	}
	fn.I("JMP %s", begin)
	fn.Mark(noBias)
	for r := range mr * nv * p {
		fn.I("VPXORD %s, %s, %s", asmgen.Z(r), asmgen.Z(r), asmgen.Z(r))
	}
	fn.Mark(begin)
}

// initInt8 starts the accumulators from minus the zero point times the column's
// sum. The sum is stored as two signed 16-bit digits (lo, hi) with lo+128*hi, and
// the row's word holds (-zp, -128*zp), so that one VPDPWSSD gives the product.
func (kd kind) initInt8(fn *asmgen.Func, mr, nv, p int, acc func(q, i, v int) int) {
	fn.I("MOVQ tile_corr(DI), SI")
	for q := range p {
		for v := range nv {
			fn.I("VMOVUPS.Z %d(SI)(BP*1), K%d, Z%d", 64*(q*nv+v), v+1, 30+v)
		}
		for i := range mr {
			for v := range nv {
				fn.I("VPXORD Z%d, Z%d, Z%d", acc(q, i, v), acc(q, i, v), acc(q, i, v))
				fn.I("VPDPWSSD.BCST tile_za+%d(DI), Z%d, Z%d", 4*i, 30+v, acc(q, i, v))
			}
		}
	}
}

// finishInt8 turns the accumulators into floats: scale of the column, scale of
// the row, plus C or the bias, then the lower bound.
func (kd kind) finishInt8(fn *asmgen.Func, mr, nv, p int, acc func(q, i, v int) int) {
	// Z28 and Z29 hold the column scales, Z30 the row's, Z31 what is added.
	fn.I("MOVQ tile_scale(DI), SI")
	for q := range p {
		for v := range nv {
			fn.I("VMOVUPS.Z %d(SI)(BP*1), K%d, Z%d", 64*(q*nv+v), v+1, 28+v)
		}
		for i := range mr {
			for v := range nv {
				r := acc(q, i, v)
				fn.I("VCVTDQ2PS Z%d, Z%d", r, r)
				fn.I("VMULPS Z%d, Z%d, Z%d", 28+v, r, r)
			}
		}
	}
	scaled, noC, noBias := fn.Label("scaled"), fn.Label("nocadd"), fn.Label("nobiasadd")
	fn.I("TESTL $1, tile_flags(DI)")
	fn.I("JZ %s", noC)
	for i := range mr {
		fn.I("MOVQ tile_c+%d(DI), SI", 8*i)
		fn.I("VBROADCASTSS tile_sa+%d(DI), Z30", 4*i)
		for q := range p {
			for v := range nv {
				r := acc(q, i, v)
				fn.I("VMOVUPS.Z %d(SI)(BP*1), K%d, Z31", 64*(q*nv+v), v+1)
				fn.I("VFMADD213PS Z31, Z30, Z%d", r)
			}
		}
	}
	fn.I("JMP %s", scaled)
	fn.Mark(noC)
	fn.I("MOVQ tile_bias(DI), SI")
	fn.I("TESTQ SI, SI")
	fn.I("JZ %s", noBias)
	for q := range p {
		for v := range nv {
			fn.I("VMOVUPS.Z %d(SI)(BP*1), K%d, Z%d", 64*(q*nv+v), v+1, 28+v)
		}
		for i := range mr {
			fn.I("VBROADCASTSS tile_sa+%d(DI), Z30", 4*i)
			for v := range nv {
				fn.I("VFMADD213PS Z%d, Z30, Z%d", 28+v, acc(q, i, v))
			}
		}
	}
	fn.I("JMP %s", scaled)
	fn.Mark(noBias)
	for i := range mr {
		fn.I("VBROADCASTSS tile_sa+%d(DI), Z30", 4*i)
		for q := range p {
			for v := range nv {
				r := acc(q, i, v)
				fn.I("VMULPS Z30, Z%d, Z%d", r, r)
			}
		}
	}
	fn.Mark(scaled)
	atLeast(fn, mr*nv*p)
}

// atLeast raises the first n accumulators to lo where there is one; a NaN stays one.
func atLeast(fn *asmgen.Func, n int) {
	free := fn.Label("free")
	fn.I("TESTL $4, tile_flags(DI)")
	fn.I("JZ %s", free)
	fn.I("VBROADCASTSS tile_lo(DI), Z31")
	for r := range n {
		fn.I("VMAXPS Z%d, Z31, Z%d", r, r)
	}
	fn.Mark(free)
}
