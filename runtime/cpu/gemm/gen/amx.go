package main

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/runtime/cpu/asmgen"
)

// General registers of the tile kernels. DI is the argument throughout.
const (
	amxA  = "R8"  // rows of A at the current k
	amxA1 = "R10" // the second sixteen of them
	amxAS = "R9"  // bytes from row to row of A
	amxB  = "SI"  // B at the current k
	amxBK = "R11" // bytes from row to row of B
	amxK  = "CX"  // whole k tiles left
	amxB2 = "R13" // B of the second panel
)

// scratchRow is the distance of rows in amxTile.scratch: a panel of f32.
const scratchRow = 128

// amx emits the kernel of rt times 16 rows by p panels at a time of ct times 16
// columns each. Tiles 0 to 3 hold C, row of tiles by row of tiles; then come those
// of A, then those of B. A k tile is 64 bytes of k: 32 bf16, 64 of int8.
//
// A bf16 element of C starts from C, the bias or zero and takes one k tile after
// the other, so that its bits depend on how k was cut only through the tiles, which
// callers keep at multiples of 64 bytes. Integers are exact.
func (kd kind) amx(f *asmgen.File, rt, ct, p int) {
	name := fmt.Sprintf("%sT%dx%dp%d", kd.name, rt, ct, p)
	fn := f.Func(name, 8, fmt.Sprintf("%s multiplies up to %d rows by t.n panels of %d columns, %d at a time.", name, 16*rt, 16*ct, p))
	dot := asmgen.TDPBF16PS
	if kd.int8 {
		dot = asmgen.TDPBUSD
	}
	cols := ct * p // tiles of C in a row of tiles
	acc := func(r, c int) int { return r*cols + c }
	a := func(r int) int { return rt*cols + r }
	nb := 8 - rt*cols - rt
	b := func(c int) int { return 8 - nb + c%nb }
	eachC := func(emit func(t, r, c int)) {
		for r := range rt {
			for c := range cols {
				emit(acc(r, c), r, c)
			}
		}
	}

	fn.I("MOVQ t+0(FP), DI")
	fn.I("LEAQ amxTile_cfg(DI), AX")
	fn.I("%s", asmgen.LoadTileConfig(0, "AX"))
	panel := fn.Label("panel")
	fn.Mark(panel)
	fn.I("KXNORW K1, K1, K1")
	fn.I("KXNORW K2, K2, K2")
	if p == 1 {
		full := fn.Label("full")
		fn.I("CMPQ amxTile_n(DI), $1")
		fn.I("JNE %s", full)
		fn.I("MOVL amxTile_mask(DI), AX")
		fn.I("KMOVW AX, K1")
		fn.I("SHRL $16, AX")
		fn.I("KMOVW AX, K2")
		fn.Mark(full)
	}
	mask := func(c int) int { return min(c, 1) + 1 } // partial panels come one at a time
	fn.I("LEAQ amxTile_scratch(DI), AX")
	fn.I("MOVQ amxTile_off(DI), BP")
	if kd.int8 {
		eachC(func(t, _, _ int) { fn.I("%s", asmgen.TileZero(t)) })
	} else {
		amxStart(fn, rt, cols, eachC, mask)
	}

	fn.I("MOVQ amxTile_a(DI), %s", amxA)
	fn.I("MOVQ amxTile_as(DI), %s", amxAS)
	if rt == 2 {
		fn.I("MOVQ %s, %s", amxAS, amxA1)
		fn.I("SHLQ $4, %s", amxA1)
		fn.I("ADDQ %s, %s", amxA, amxA1)
	}
	fn.I("MOVQ amxTile_b(DI), %s", amxB)
	fn.I("ADDQ amxTile_boff(DI), %s", amxB)
	if p == 2 {
		fn.I("MOVQ %s, %s", amxB, amxB2)
		fn.I("ADDQ amxTile_bp(DI), %s", amxB2)
	}
	fn.I("MOVQ $%d, %s", 64*ct, amxBK)
	fn.I("MOVQ amxTile_k(DI), %s", amxK)

	bmem := func(c int) (int32, string) {
		if c/ct == 1 {
			return int32(64 * (c % ct)), amxB2
		}
		return int32(64 * (c % ct)), amxB
	}
	step := func() {
		fn.I("%s", asmgen.TILELOADD.Mem(a(0), 0, amxA, amxAS))
		if rt == 2 {
			fn.I("%s", asmgen.TILELOADD.Mem(a(1), 0, amxA1, amxAS))
		}
		for c := range cols {
			disp, base := bmem(c)
			fn.I("%s", asmgen.TILELOADD.Mem(b(c), disp, base, amxBK))
			for r := range rt {
				fn.I("%s", dot.RRR(acc(r, c), a(r), b(c)))
			}
		}
	}
	loop := fn.Label("loop")
	fn.Mark(loop)
	step()
	fn.I("ADDQ $64, %s", amxA)
	if rt == 2 {
		fn.I("ADDQ $64, %s", amxA1)
	}
	fn.I("ADDQ $%d, %s", 16*64*ct, amxB)
	if p == 2 {
		fn.I("ADDQ $%d, %s", 16*64*ct, amxB2)
	}
	fn.I("DECQ %s", amxK)
	fn.I("JNZ %s", loop)

	// What is left of k has tiles of its own shape, and changing shapes clears the tiles.
	whole := fn.Label("whole")
	fn.I("MOVQ $%d, BX", scratchRow*p)
	fn.I("CMPL amxTile_tail(DI), $0")
	fn.I("JEQ %s", whole)
	eachC(func(t, r, c int) { fn.I("%s", asmgen.TILESTORED.Mem(t, amxSlot(r, c, p), "AX", "BX")) })
	fn.I("LEAQ amxTile_cfgTail(DI), DX")
	fn.I("%s", asmgen.LoadTileConfig(0, "DX"))
	eachC(func(t, r, c int) { fn.I("%s", asmgen.TILELOADD.Mem(t, amxSlot(r, c, p), "AX", "BX")) })
	step()
	fn.Mark(whole)

	if kd.int8 {
		eachC(func(t, r, c int) { fn.I("%s", asmgen.TILESTORED.Mem(t, amxSlot(r, c, p), "AX", "BX")) })
		amxFinishInt8(fn, cols, p, mask)
	} else {
		amxFinish(fn, cols, p, eachC, mask)
	}
	next, done := fn.Label("next"), fn.Label("done")
	fn.I("ADDQ $%d, amxTile_off(DI)", 64*ct*p)
	fn.I("MOVQ amxTile_bp(DI), AX")
	if p == 2 {
		fn.I("SHLQ $1, AX")
	}
	fn.I("ADDQ AX, amxTile_boff(DI)")
	fn.I("SUBQ $%d, amxTile_n(DI)", p)
	fn.I("CMPQ amxTile_n(DI), $%d", p)
	fn.I("JLT %s", done)
	fn.I("CMPL amxTile_tail(DI), $0")
	fn.I("JEQ %s", next)
	fn.I("LEAQ amxTile_cfg(DI), AX")
	fn.I("%s", asmgen.LoadTileConfig(0, "AX"))
	fn.Mark(next)
	fn.I("JMP %s", panel)
	fn.Mark(done)
	fn.I("%s", asmgen.TileRelease())
	fn.I("VZEROUPPER")
	fn.I("RET")
}

// amxSlot is where tile (r, c) lies in the scratch of p panels.
func amxSlot(r, c, p int) int32 { return int32(r*16*scratchRow*p + c*64) }

// amxRows emits a loop over the rows of the tile: body finds the address of the row
// of C at the panel in DX, the scratch row in AX and the number of the row in CX.
func amxRows(fn *asmgen.Func, p int, body func()) {
	loop := fn.Label("row")
	fn.I("XORQ CX, CX")
	fn.Mark(loop)
	fn.I("MOVQ amxTile_c(DI)(CX*8), DX")
	fn.I("ADDQ BP, DX")
	body()
	fn.I("ADDQ $%d, AX", scratchRow*p)
	fn.I("INCQ CX")
	fn.I("CMPQ CX, amxTile_rows(DI)")
	fn.I("JLT %s", loop)
	fn.I("LEAQ amxTile_scratch(DI), AX")
}

// amxStart fills the tiles of C from C, else from the bias, else with zeros. AX is the
// scratch and BP the offset of the panel in C and the bias.
func amxStart(fn *asmgen.Func, rt, cols int, eachC func(func(t, r, c int)), mask func(int) int) {
	p := (cols + 1) / 2
	noC, viaScratch, noBias, begin := fn.Label("noc"), fn.Label("copied"), fn.Label("nobias"), fn.Label("begin")
	fn.I("MOVL amxTile_flags(DI), DX")
	fn.I("TESTL $1, DX")
	fn.I("JZ %s", noC)
	fn.I("TESTL $2, DX")
	fn.I("JZ %s", viaScratch)
	fn.I("MOVQ amxTile_c(DI), DX")
	fn.I("ADDQ BP, DX")
	fn.I("MOVQ amxTile_cs(DI), BX")
	if rt == 2 {
		fn.I("MOVQ BX, R8")
		fn.I("SHLQ $4, R8")
		fn.I("ADDQ DX, R8")
	}
	eachC(func(t, r, c int) {
		base := "DX"
		if r == 1 {
			base = "R8"
		}
		fn.I("%s", asmgen.TILELOADD.Mem(t, int32(64*c), base, "BX"))
	})
	fn.I("JMP %s", begin)
	fn.Mark(viaScratch)
	amxRows(fn, p, func() {
		for c := range cols {
			fn.I("VMOVUPS.Z %d(DX), K%d, Z%d", 64*c, mask(c), c)
		}
		for c := range cols {
			fn.I("VMOVUPS Z%d, %d(AX)", c, 64*c)
		}
	})
	fn.I("MOVQ $%d, BX", scratchRow*p)
	eachC(func(t, r, c int) { fn.I("%s", asmgen.TILELOADD.Mem(t, amxSlot(r, c, p), "AX", "BX")) })
	fn.I("JMP %s", begin)
	fn.Mark(noC)
	fn.I("MOVQ amxTile_bias(DI), DX")
	fn.I("TESTQ DX, DX")
	fn.I("JZ %s", noBias)
	fn.I("ADDQ BP, DX")
	fn.I("XORQ BX, BX") // stride 0 repeats the row
	partial := fn.Label("partial")
	fn.I("CMPL amxTile_mask(DI), $-1")
	fn.I("JNE %s", partial)
	eachC(func(t, _, c int) { fn.I("%s", asmgen.TILELOADD.Mem(t, int32(64*c), "DX", "BX")) })
	fn.I("JMP %s", begin)
	fn.Mark(partial)
	for c := range cols {
		fn.I("VMOVUPS.Z %d(DX), K%d, Z%d", 64*c, mask(c), c)
		fn.I("VMOVUPS Z%d, %d(AX)", c, 64*c)
	}
	eachC(func(t, _, c int) { fn.I("%s", asmgen.TILELOADD.Mem(t, int32(64*c), "AX", "BX")) })
	fn.I("JMP %s", begin)
	fn.Mark(noBias)
	eachC(func(t, _, _ int) { fn.I("%s", asmgen.TileZero(t)) })
	fn.Mark(begin)
}

// amxFinish stores the tiles to C, bounded below: straight to rows at one stride where
// t says so and there is no bound, else row by row. BX is the stride of the scratch.
func amxFinish(fn *asmgen.Func, cols, p int, eachC func(func(t, r, c int)), mask func(int) int) {
	byRow, done := fn.Label("byrow"), fn.Label("stored")
	fn.I("TESTL $4, amxTile_flags(DI)")
	fn.I("JZ %s", byRow)
	fn.I("MOVQ amxTile_c(DI), DX")
	fn.I("ADDQ BP, DX")
	fn.I("MOVQ amxTile_cs(DI), BX")
	fn.I("MOVQ BX, R8")
	fn.I("SHLQ $4, R8")
	fn.I("ADDQ DX, R8")
	eachC(func(t, r, c int) {
		base := "DX"
		if r == 1 {
			base = "R8"
		}
		fn.I("%s", asmgen.TILESTORED.Mem(t, int32(64*c), base, "BX"))
	})
	fn.I("JMP %s", done)
	fn.Mark(byRow)
	eachC(func(t, r, c int) { fn.I("%s", asmgen.TILESTORED.Mem(t, amxSlot(r, c, p), "AX", "BX")) })
	fn.I("VBROADCASTSS amxTile_lo(DI), Z31")
	amxRows(fn, p, func() {
		for c := range cols {
			fn.I("VMOVUPS %d(AX), Z%d", 64*c, c)
			fn.I("VMAXPS Z%d, Z31, Z%d", c, c)
			fn.I("VMOVUPS Z%d, K%d, %d(DX)", c, mask(c), 64*c)
		}
	})
	fn.Mark(done)
}

// amxFinishInt8 turns the sums in the scratch into floats as finishInt8 does, with the
// same operations in the same order: both kinds of kernels give the same bits.
func amxFinishInt8(fn *asmgen.Func, cols, p int, mask func(int) int) {
	corr := func(c int) int { return 31 - c }
	scale := func(c int) int { return 27 - c }
	add := func(c int) int { return 23 - c } // the bias, or zero
	sum := func(c int) int { return c }
	fn.I("MOVQ amxTile_corr(DI), DX")
	fn.I("MOVQ amxTile_scale(DI), BX")
	for c := range cols {
		fn.I("VMOVUPS.Z %d(DX)(BP*1), K%d, Z%d", 64*c, mask(c), corr(c))
		fn.I("VMOVUPS.Z %d(BX)(BP*1), K%d, Z%d", 64*c, mask(c), scale(c))
	}
	fn.I("VBROADCASTSS amxTile_lo(DI), Z19")
	scaled := func() {
		for c := range cols {
			fn.I("VMOVDQU32 %d(AX), Z%d", 64*c, sum(c))
			fn.I("VPDPWSSD.BCST amxTile_za(DI)(CX*4), Z%d, Z%d", corr(c), sum(c))
			fn.I("VCVTDQ2PS Z%d, Z%d", sum(c), sum(c))
			fn.I("VMULPS Z%d, Z%d, Z%d", scale(c), sum(c), sum(c))
		}
	}
	store := func() {
		for c := range cols {
			fn.I("VMAXPS Z%d, Z19, Z%d", sum(c), sum(c))
			fn.I("VMOVUPS Z%d, K%d, %d(DX)", sum(c), mask(c), 64*c)
		}
	}
	noC, noBias, done := fn.Label("noc"), fn.Label("nobias"), fn.Label("finished")
	fn.I("TESTL $1, amxTile_flags(DI)")
	fn.I("JZ %s", noC)
	amxRows(fn, p, func() {
		scaled()
		fn.I("VBROADCASTSS amxTile_sa(DI)(CX*4), Z18")
		for c := range cols {
			fn.I("VMOVUPS.Z %d(DX), K%d, Z%d", 64*c, mask(c), add(c))
			fn.I("VFMADD213PS Z%d, Z18, Z%d", add(c), sum(c))
		}
		store()
	})
	fn.I("JMP %s", done)
	fn.Mark(noC)
	fn.I("MOVQ amxTile_bias(DI), DX")
	fn.I("TESTQ DX, DX")
	fn.I("JZ %s", noBias)
	for c := range cols {
		fn.I("VMOVUPS.Z %d(DX)(BP*1), K%d, Z%d", 64*c, mask(c), add(c))
	}
	amxRows(fn, p, func() {
		scaled()
		fn.I("VBROADCASTSS amxTile_sa(DI)(CX*4), Z18")
		for c := range cols {
			fn.I("VFMADD213PS Z%d, Z18, Z%d", add(c), sum(c))
		}
		store()
	})
	fn.I("JMP %s", done)
	fn.Mark(noBias)
	amxRows(fn, p, func() {
		scaled()
		for c := range cols {
			fn.I("VMULPS.BCST amxTile_sa(DI)(CX*4), Z%d, Z%d", sum(c), sum(c))
		}
		store()
	})
	fn.Mark(done)
}
