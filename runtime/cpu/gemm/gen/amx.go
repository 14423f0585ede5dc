package main

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/runtime/cpu/asmgen"
)

// General registers of the tile kernels. DI is the argument throughout.
const (
	amxA    = "R8"  // rows of A at the current k
	amxA1   = "R10" // the second sixteen of them
	amxAS   = "R9"  // bytes from row to row of A
	amxB    = "SI"  // B at the current k
	amxB2   = "R12" // B of the second panel
	amxBK   = "R11" // bytes from row to row of B
	amxK    = "CX"  // whole k tiles left
	amxRow  = "DX"  // number of the row that the epilogue is at
	amxLeft = "BP"  // rows left for the epilogue
	amxPrev = "R13" // offset of the epilogue's panel in C; half of it, for bf16 rows, in R14
)

const (
	// slotBytes is the size of a slot of amxTile.scratch: 32 rows of a panel.
	slotBytes = 32 * 128
)

// shape is the part of C that a tile kernel computes at a time: rt times 16 rows by p
// panels of ct times 16 columns each.
type shape struct{ rt, ct, p int }

var shapes = []shape{{2, 2, 1}, {2, 1, 1}, {1, 2, 2}, {1, 2, 1}, {1, 1, 1}, {2, 1, 2}, {1, 1, 2}}

func (s shape) cols() int { return s.ct * s.p } // tiles in a row of tiles

// slotRow is the distance of rows in a slot.
func (s shape) slotRow() int { return 64 * s.cols() }

// rowsPerStep is the number of rows of the epilogue per k tile: with 12 k tiles (384
// of bf16) 32 rows are nearly done when the next panel is.
func (s shape) rowsPerStep() int { return 3 - s.cols()/3 }

// tileKernel generates one kernel. Tiles 0 to 3 hold C, row of tiles by row of tiles;
// then come those of A, then those of B. A k tile is 64 bytes of k: 32 bf16, 64 of int8.
//
// The picture: the tiles of a panel are summed up by the tile unit while the vector
// units finish the panel before: its sums lie in one slot of the scratch, in L1, and
// become floats, pass the activation and go to C, a few rows per k tile. Only the last
// panel of a call is finished by itself.
//
// A bf16 element of C starts from C, the bias or zero and takes one k tile after
// the other, so that its bits depend on how k was cut only through the tiles, which
// callers keep at multiples of 64 bytes. Integers are exact.
type tileKernel struct {
	kind
	shape
	epilogue
	fn *asmgen.Func
}

func (k *tileKernel) name() string {
	return fmt.Sprintf("%sT%dx%dp%d%s", k.kind.name, k.rt, k.ct, k.p, k.epilogue.suffix())
}

func (k *tileKernel) acc(r, c int) int { return r*k.cols() + c }
func (k *tileKernel) a(r int) int      { return k.rt*k.cols() + r }
func (k *tileKernel) b(c int) int {
	n := 8 - k.rt*k.cols() - k.rt
	return 8 - n + c%n
}

// eachC calls emit for the tiles of C.
func (k *tileKernel) eachC(emit func(t, r, c int)) {
	for r := range k.rt {
		for c := range k.cols() {
			emit(k.acc(r, c), r, c)
		}
	}
}

// slot is where tile (r, c) lies in a slot of the scratch.
func (k *tileKernel) slot(r, c int) int32 { return int32(r*16*k.slotRow() + c*64) }

// mask is the mask register of column tile c: partial panels come one at a time.
func (k *tileKernel) mask(c int) int { return min(c, 1) + 1 }

// emit writes the kernel to f.
func (k *tileKernel) emit(f *asmgen.File) {
	fn := f.Func(k.name(), 8, fmt.Sprintf("%s multiplies up to %d rows by t.n panels of %d columns, %d at a time.", k.name(), 16*k.rt, 16*k.ct, k.p))
	k.fn = fn
	fn.I("MOVQ t+0(FP), DI")
	k.constants(f, fn)
	fn.I("LEAQ amxTile_cfg(DI), AX")
	fn.I("%s", asmgen.LoadTileConfig(0, "AX"))
	fn.I("MOVQ $0, amxTile_left(DI)")
	if k.piped {
		fn.I("MOVQ $0, amxTile_block(DI)")
		fn.I("MOVQ $0, amxTile_first(DI)")
		for i, f := range []string{"off", "boff", "n"} {
			fn.I("MOVQ amxTile_%s(DI), AX", f)
			fn.I("MOVQ AX, amxTile_offs+%d(DI)", 8*i)
		}
	}
	fn.I("MOVL amxTile_mask(DI), AX")
	fn.I("KMOVW AX, K1")
	fn.I("SHRL $16, AX")
	fn.I("KMOVW AX, K2")
	if k.half {
		fn.I("MOVL amxTile_maskUp(DI), AX")
		fn.I("KMOVW AX, K3")
		fn.I("SHRL $16, AX")
		fn.I("KMOVW AX, K4")
	}
	panel := fn.Label("panel")
	fn.Mark(panel)
	fn.I("MOVQ amxTile_slot(DI), AX")
	fn.I("LEAQ amxTile_scratch(DI)(AX*1), AX")
	fn.I("MOVQ amxTile_off(DI), BP")
	if k.int8 {
		k.eachC(func(t, _, _ int) { fn.I("%s", asmgen.TileZero(t)) })
	} else {
		k.start()
	}
	k.operands()
	// What is to be finished meanwhile.
	fn.I("MOVQ amxTile_slot(DI), AX")
	fn.I("XORQ $%d, AX", slotBytes)
	fn.I("LEAQ amxTile_scratch(DI)(AX*1), AX")
	k.firstRow()
	fn.I("MOVQ amxTile_left(DI), %s", amxLeft)

	loop, busy := fn.Label("loop"), fn.Label("busy")
	fn.Mark(loop)
	k.step()
	k.advance()
	if !k.plain() {
		fn.I("CMPQ %s, $%d", amxLeft, k.rowsPerStep())
		fn.I("JLT %s", busy)
		for range k.rowsPerStep() {
			k.row(k.piped)
		}
		fn.I("SUBQ $%d, %s", k.rowsPerStep(), amxLeft)
		fn.Mark(busy)
	}
	fn.I("DECQ %s", amxK)
	fn.I("JNZ %s", loop)
	k.nextSpan(loop)
	if !k.plain() {
		k.rest(k.piped)
	}

	k.tail()
	if k.plain() {
		k.store(panel)
		return
	}
	fn.I("MOVQ amxTile_slot(DI), AX")
	fn.I("XORQ $%d, amxTile_slot(DI)", slotBytes)
	fn.I("LEAQ amxTile_scratch(DI)(AX*1), AX")
	fn.I("MOVQ $%d, BX", k.slotRow())
	k.eachC(func(t, r, c int) { fn.I("%s", asmgen.TILESTORED.Mem(t, k.slot(r, c), "AX", "BX")) })
	fn.I("MOVQ amxTile_rows(DI), %s", amxLeft)
	fn.I("MOVQ %s, amxTile_left(DI)", amxLeft)
	if k.piped {
		fn.I("MOVQ amxTile_block(DI), BX")
		fn.I("SHLQ $5, BX")
		fn.I("MOVQ BX, amxTile_first(DI)")
	}
	fn.I("MOVQ amxTile_off(DI), %s", amxPrev)
	if k.half || k.res {
		fn.I("MOVQ %s, R14", amxPrev)
		fn.I("SHRQ $1, R14")
	}
	k.next(panel)
	fn.I("%s", asmgen.TileRelease())
	k.firstRow()
	k.rest(true)
	fn.I("VZEROUPPER")
	fn.I("RET")
}

// next goes on to the next panel, or falls through after the last.
func (k *tileKernel) next(panel string) {
	fn := k.fn
	next, more, done := fn.Label("next"), fn.Label("more"), fn.Label("done")
	fn.I("ADDQ $%d, amxTile_off(DI)", 64*k.ct*k.p)
	fn.I("MOVQ amxTile_bp(DI), BX")
	if k.p == 2 {
		fn.I("SHLQ $1, BX")
	}
	fn.I("ADDQ BX, amxTile_boff(DI)")
	fn.I("SUBQ $%d, amxTile_n(DI)", k.p)
	fn.I("CMPQ amxTile_n(DI), $%d", k.p)
	if k.piped {
		fn.I("JGE %s", more)
		fn.I("INCQ amxTile_block(DI)")
		fn.I("MOVQ amxTile_block(DI), BX")
		fn.I("CMPQ BX, amxTile_blocks(DI)")
		fn.I("JGE %s", done)
		for i, f := range []string{"off", "boff", "n"} {
			fn.I("MOVQ amxTile_offs+%d(DI), BX", 8*i)
			fn.I("MOVQ BX, amxTile_%s(DI)", f)
		}
		fn.Mark(more)
	} else {
		fn.I("JLT %s", done)
	}
	fn.I("CMPL amxTile_tail(DI), $0")
	fn.I("JEQ %s", next)
	fn.I("LEAQ amxTile_cfg(DI), AX")
	fn.I("%s", asmgen.LoadTileConfig(0, "AX"))
	fn.Mark(next)
	fn.I("JMP %s", panel)
	fn.Mark(done)
}

// store puts the sums where they belong at once: straight to rows at one stride, where t
// says so and there is no bound, else row by row. Passing them through the scratch while
// the next panel is summed up measured 15 % slower.
func (k *tileKernel) store(panel string) {
	fn := k.fn
	byRow, stored := fn.Label("byrow"), fn.Label("stored")
	fn.I("TESTL $4, amxTile_flags(DI)")
	fn.I("JZ %s", byRow)
	fn.I("MOVQ amxTile_start(DI), DX")
	fn.I("ADDQ amxTile_off(DI), DX")
	fn.I("MOVQ amxTile_cs(DI), BX")
	fn.I("MOVQ BX, R8")
	fn.I("SHLQ $4, R8")
	fn.I("ADDQ DX, R8")
	k.eachC(func(t, r, c int) {
		base := "DX"
		if r == 1 {
			base = "R8"
		}
		fn.I("%s", asmgen.TILESTORED.Mem(t, int32(64*c), base, "BX"))
	})
	fn.I("JMP %s", stored)
	fn.Mark(byRow)
	fn.I("LEAQ amxTile_scratch(DI), AX")
	fn.I("MOVQ $%d, BX", k.slotRow())
	k.eachC(func(t, r, c int) { fn.I("%s", asmgen.TILESTORED.Mem(t, k.slot(r, c), "AX", "BX")) })
	fn.I("MOVQ amxTile_rows(DI), %s", amxLeft)
	fn.I("MOVQ amxTile_off(DI), %s", amxPrev)
	fn.I("XORQ %s, %s", amxRow, amxRow)
	k.rest(true)
	fn.Mark(stored)
	k.next(panel)
	fn.I("%s", asmgen.TileRelease())
	fn.I("VZEROUPPER")
	fn.I("RET")
}

// operands sets the registers that walk A and B.
func (k *tileKernel) operands() {
	fn := k.fn
	fn.I("MOVQ DI, BX")
	if k.piped {
		fn.I("MOVQ amxTile_block(DI), BX")
		fn.I("SHLQ $4, BX")
		fn.I("ADDQ DI, BX")
	}
	fn.I("MOVQ amxTile_a(BX), %s", amxA)
	fn.I("MOVQ amxTile_as(DI), %s", amxAS)
	if k.rt == 2 {
		fn.I("MOVQ amxTile_a+8(BX), %s", amxA1)
	}
	fn.I("MOVQ $0, amxTile_span(DI)")
	fn.I("MOVQ amxTile_b(DI), %s", amxB)
	fn.I("ADDQ amxTile_boff(DI), %s", amxB)
	if k.p == 2 {
		fn.I("MOVQ %s, %s", amxB, amxB2)
		fn.I("ADDQ amxTile_bp(DI), %s", amxB2)
	}
	fn.I("MOVQ $%d, %s", 64*k.ct, amxBK)
	fn.I("MOVQ amxTile_k(DI), %s", amxK)
}

// step multiplies one k tile.
func (k *tileKernel) step() {
	fn := k.fn
	// Rows of bf16 just fill L1, where those of A are wanted again: with the hint for B an MLP of
	// d 384 takes 0.83 of the time at 512 tokens. In int8, where rows are half as long, and
	// with few rows it takes up to 1.1.
	dot, load := asmgen.TDPBF16PS, asmgen.TILELOADD
	if k.int8 {
		dot = asmgen.TDPBUSD
	} else if k.rt == 2 {
		load = asmgen.TILELOADDT1
	}
	fn.I("%s", asmgen.TILELOADD.Mem(k.a(0), 0, amxA, amxAS))
	if k.rt == 2 {
		fn.I("%s", asmgen.TILELOADD.Mem(k.a(1), 0, amxA1, amxAS))
	}
	for c := range k.cols() {
		base := amxB
		if c/k.ct == 1 {
			base = amxB2
		}
		fn.I("%s", load.Mem(k.b(c), int32(64*(c%k.ct)), base, amxBK))
		for r := range k.rt {
			fn.I("%s", dot.RRR(k.acc(r, c), k.a(r), k.b(c)))
		}
	}
}

// advance goes on to the next k tile.
func (k *tileKernel) advance() {
	k.fn.I("ADDQ $64, %s", amxA)
	if k.rt == 2 {
		k.fn.I("ADDQ $64, %s", amxA1)
	}
	k.fn.I("ADDQ $%d, %s", 16*64*k.ct, amxB)
	if k.p == 2 {
		k.fn.I("ADDQ $%d, %s", 16*64*k.ct, amxB2)
	}
}

// nextSpan goes on to the next stretch of the rows of A, or falls through after the last.
func (k *tileKernel) nextSpan(loop string) {
	fn := k.fn
	last := fn.Label("last")
	fn.I("MOVQ amxTile_span(DI), BX")
	fn.I("CMPQ BX, amxTile_spans(DI)")
	fn.I("JEQ %s", last)
	fn.I("INCQ amxTile_span(DI)")
	fn.I("MOVQ amxTile_jumps(DI), R15")
	fn.I("MOVQ (R15)(BX*8), BX")
	fn.I("ADDQ BX, %s", amxA)
	if k.rt == 2 {
		fn.I("ADDQ BX, %s", amxA1)
	}
	fn.I("MOVQ amxTile_k(DI), %s", amxK)
	fn.I("JMP %s", loop)
	fn.Mark(last)
}

// tail multiplies what is left of k with tiles of their own shape; as changing shapes
// clears the tiles, the sums wait in the scratch.
func (k *tileKernel) tail() {
	fn := k.fn
	whole := fn.Label("whole")
	fn.I("CMPL amxTile_tail(DI), $0")
	fn.I("JEQ %s", whole)
	fn.I("MOVQ amxTile_slot(DI), AX")
	fn.I("LEAQ amxTile_scratch(DI)(AX*1), AX")
	fn.I("MOVQ $%d, BX", k.slotRow())
	k.eachC(func(t, r, c int) { fn.I("%s", asmgen.TILESTORED.Mem(t, k.slot(r, c), "AX", "BX")) })
	fn.I("LEAQ amxTile_cfgTail(DI), DX")
	fn.I("%s", asmgen.LoadTileConfig(0, "DX"))
	k.eachC(func(t, r, c int) { fn.I("%s", asmgen.TILELOADD.Mem(t, k.slot(r, c), "AX", "BX")) })
	k.step()
	fn.Mark(whole)
}

// start fills the tiles of C from C, else from the bias, else with zeros. AX is the
// slot and BP the offset of the panel in C and the bias.
func (k *tileKernel) start() {
	fn := k.fn
	noC, viaScratch, noBias, begin := fn.Label("noc"), fn.Label("copied"), fn.Label("nobias"), fn.Label("begin")
	fn.I("MOVL amxTile_flags(DI), DX")
	fn.I("TESTL $1, DX")
	fn.I("JZ %s", noC)
	fn.I("TESTL $2, DX")
	fn.I("JZ %s", viaScratch)
	fn.I("MOVQ amxTile_start(DI), DX")
	fn.I("ADDQ BP, DX")
	fn.I("MOVQ amxTile_cs(DI), BX")
	if k.rt == 2 {
		fn.I("MOVQ BX, R8")
		fn.I("SHLQ $4, R8")
		fn.I("ADDQ DX, R8")
	}
	k.eachC(func(t, r, c int) {
		base := "DX"
		if r == 1 {
			base = "R8"
		}
		fn.I("%s", asmgen.TILELOADD.Mem(t, int32(64*c), base, "BX"))
	})
	fn.I("JMP %s", begin)
	fn.Mark(viaScratch)
	copyRow := fn.Label("copy")
	fn.I("XORQ CX, CX")
	fn.I("MOVQ AX, R8")
	fn.Mark(copyRow)
	fn.I("MOVQ amxTile_c(DI)(CX*8), DX")
	for c := range k.cols() {
		fn.I("VMOVUPS.Z %d(DX)(BP*1), K%d, Z0", 64*c, k.mask(c))
		fn.I("VMOVUPS Z0, %d(R8)", 64*c)
	}
	fn.I("ADDQ $%d, R8", k.slotRow())
	fn.I("INCQ CX")
	fn.I("CMPQ CX, amxTile_rows(DI)")
	fn.I("JLT %s", copyRow)
	fn.I("MOVQ $%d, BX", k.slotRow())
	k.eachC(func(t, r, c int) { fn.I("%s", asmgen.TILELOADD.Mem(t, k.slot(r, c), "AX", "BX")) })
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
	k.eachC(func(t, _, c int) { fn.I("%s", asmgen.TILELOADD.Mem(t, int32(64*c), "DX", "BX")) })
	fn.I("JMP %s", begin)
	fn.Mark(partial)
	for c := range k.cols() {
		fn.I("VMOVUPS.Z %d(DX), K%d, Z0", 64*c, k.mask(c))
		fn.I("VMOVUPS Z0, %d(AX)", 64*c)
	}
	k.eachC(func(t, _, c int) { fn.I("%s", asmgen.TILELOADD.Mem(t, int32(64*c), "AX", "BX")) })
	fn.I("JMP %s", begin)
	fn.Mark(noBias)
	k.eachC(func(t, _, _ int) { fn.I("%s", asmgen.TileZero(t)) })
	fn.Mark(begin)
}

// firstRow sets the number of the row to finish next to the first of the panel before.
func (k *tileKernel) firstRow() {
	if k.piped {
		k.fn.I("MOVQ amxTile_first(DI), %s", amxRow)
	} else {
		k.fn.I("XORQ %s, %s", amxRow, amxRow)
	}
}

// rest finishes the rows that are left.
func (k *tileKernel) rest(masked bool) {
	fn := k.fn
	loop, done := fn.Label("rest"), fn.Label("rested")
	fn.I("TESTQ %s, %s", amxLeft, amxLeft)
	fn.I("JZ %s", done)
	fn.Mark(loop)
	k.row(masked)
	fn.I("DECQ %s", amxLeft)
	fn.I("JNZ %s", loop)
	fn.Mark(done)
}

// row finishes one row of the panels in the slot at AX and goes on to the next.
func (k *tileKernel) row(masked bool) {
	fn := k.fn
	masks := func(c int) (load, store string) {
		if masked {
			return fmt.Sprintf(", K%d", k.mask(c)), fmt.Sprintf(" K%d,", k.mask(c))
		}
		return "", ""
	}
	z := ""
	if masked {
		z = ".Z"
	}
	fn.I("MOVQ amxTile_c(DI)(%s*8), BX", amxRow)
	if k.int8 {
		fn.I("MOVQ amxTile_bias(DI), R15")
		fn.I("TESTL $1, amxTile_flags(DI)")
		fn.I("CMOVQNE BX, R15")
	}
	if k.res {
		k.residual(z, func(c int) string { load, _ := masks(c); return load })
	}
	for c := range k.cols() {
		load, store := masks(c)
		fn.I("VMOVUPS %d(AX), Z0", 64*c)
		if k.int8 {
			k.dequantise(c, z, load)
		}
		if k.res {
			fn.I("VADDPS Z%d, Z0, Z0", residualReg+c)
		}
		k.activate(fn)
		if k.gated {
			fn.I("VMULPS.BCST amxTile_gate(DI)(%s*4), Z0, Z0", amxRow)
		}
		if k.half {
			if masked && !k.piped { // whose rows have an even number of elements
				fn.I("VMOVAPS.Z Z0, K%d, Z0", k.mask(c))
			}
			fn.I("%s", asmgen.VCVTNEPS2BF16.RRR("VCVTNEPS2BF16", 1, 0, 0))
			if masked { // to whole words of two
				fn.I("VMOVDQU16 Y1, K%d, %d(BX)(R14*1)", k.mask(c)+2, 32*c)
			} else {
				fn.I("VMOVDQU Y1, %d(BX)(R14*1)", 32*c)
			}
			continue
		}
		fn.I("VMOVUPS Z0,%s %d(BX)(%s*1)", store, 64*c, amxPrev)
	}
	fn.I("ADDQ $%d, AX", k.slotRow())
	fn.I("INCQ %s", amxRow)
}

// residualReg is the first register of a row of the residual.
const residualReg = 7

// residual loads a row of the residual, of f32 or of bf16.
func (k *tileKernel) residual(z string, load func(c int) string) {
	fn := k.fn
	half, loaded := fn.Label("half"), fn.Label("loaded")
	fn.I("MOVQ amxTile_r(DI)(%s*8), R15", amxRow)
	fn.I("TESTL $8, amxTile_flags(DI)")
	fn.I("JNZ %s", half)
	for c := range k.cols() {
		fn.I("VMOVUPS%s %d(R15)(%s*1)%s, Z%d", z, 64*c, amxPrev, load(c), residualReg+c)
	}
	fn.I("JMP %s", loaded)
	fn.Mark(half)
	for c := range k.cols() {
		fn.I("VPMOVZXWD%s %d(R15)(R14*1)%s, Z%d", z, 32*c, load(c), residualReg+c)
		fn.I("VPSLLD $16, Z%d, Z%d", residualReg+c, residualReg+c)
	}
	fn.Mark(loaded)
}
