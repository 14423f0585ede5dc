package main

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/runtime/cpu/asmgen"
)

// tileSteps is the number of k tiles of a panel: 384 of bf16, 768 of int8.
const tileSteps = 12

// loadedTiles emits products of 32 rows with panel after panel of 32 columns, as the tile
// kernels do them: operands that change, two tiles of A from L1 and two of B from L2 for
// four multiply-adds; under store, the results of each panel are written too.
func loadedTiles(f *asmgen.File, name string, op asmgen.TileOp, store bool) {
	if store {
		name += "S"
	}
	fn := f.Func(name, 8, fmt.Sprintf("%s multiplies t.rounds panels of %d k tiles.", name, tileSteps))
	fn.I("MOVQ t+0(FP), DI")
	fn.I("LEAQ tileLoop_cfg(DI), AX")
	fn.I("%s", asmgen.LoadTileConfig(0, "AX"))
	fn.I("MOVQ tileLoop_rounds(DI), DX")
	fn.I("MOVQ $%d, R9", 64*tileSteps) // bytes from row to row of A
	fn.I("MOVQ $128, R11")             // and of B and C
	round, loop := fn.Label("round"), fn.Label("loop")
	fn.I("XORQ R13, R13") // panel
	fn.Mark(round)
	for t := range 4 {
		fn.I("%s", asmgen.TileZero(t))
	}
	fn.I("MOVQ tileLoop_a(DI), R8")
	fn.I("LEAQ %d(R8), R10", 16*64*tileSteps)
	fn.I("MOVQ tileLoop_b(DI), SI")
	fn.I("MOVQ R13, AX")
	fn.I("IMULQ $%d, AX", 16*128*tileSteps)
	fn.I("ADDQ AX, SI")
	fn.I("MOVQ $%d, CX", tileSteps)
	fn.Mark(loop)
	fn.I("%s", asmgen.TILELOADD.Mem(4, 0, "R8", "R9"))
	fn.I("%s", asmgen.TILELOADD.Mem(5, 0, "R10", "R9"))
	for c := range 2 {
		fn.I("%s", asmgen.TILELOADD.Mem(6+c, int32(64*c), "SI", "R11"))
		for r := range 2 {
			fn.I("%s", op.RRR(2*r+c, 4+r, 6+c))
		}
	}
	fn.I("ADDQ $64, R8")
	fn.I("ADDQ $64, R10")
	fn.I("ADDQ $%d, SI", 16*128)
	fn.I("DECQ CX")
	fn.I("JNZ %s", loop)
	if store {
		fn.I("MOVQ tileLoop_c(DI), R8")
		fn.I("MOVQ R13, AX")
		fn.I("SHLQ $12, AX")
		fn.I("ADDQ AX, R8")
		for t := range 4 {
			fn.I("%s", asmgen.TILESTORED.Mem(t, int32(t/2*16*128+t%2*64), "R8", "R11"))
		}
	}
	fn.I("INCQ R13")
	fn.I("CMPQ R13, tileLoop_panels(DI)")
	next := fn.Label("next")
	fn.I("JLT %s", next)
	fn.I("XORQ R13, R13")
	fn.Mark(next)
	fn.I("DECQ DX")
	fn.I("JNZ %s", round)
	fn.I("%s", asmgen.TileRelease())
	fn.I("RET")
}
