package main

import "github.com/seed-c851cfd2/moec/runtime/cpu/asmgen"

// keepLines emits what leaves some words of cache lines as they are, or times a gate per
// line, and sets the others to zero.
func keepLines(f *asmgen.File) {
	for _, gated := range []bool{false, true} {
		name, args, doc := "keepZ", 48, "keepZ sets to zero the words of rows of cache lines whose bit in lanes, a word of 16 bits\nper line, is not set; rows are stride and laneStride bytes apart."
		if gated {
			name, args, doc = "keepGatedZ", 56, "keepGatedZ is keepZ, and multiplies what stays by a gate per line; rows of gates are\ntwice laneStride bytes apart."
		}
		fn := f.Func(name, args, doc)
		for i, arg := range []string{"words", "stride", "rows", "lines", "lanes", "laneStride"} {
			fn.I("MOVQ %s+%d(FP), %s", arg, 8*i, []string{"R8", "R9", "R10", "R11", "R12", "R13"}[i])
		}
		if gated {
			fn.I("MOVQ gates+48(FP), BX")
		}
		row, line := fn.Label("row"), fn.Label("line")
		fn.Mark(row)
		fn.I("MOVQ R8, DI")
		fn.I("XORL CX, CX")
		fn.Mark(line)
		fn.I("KMOVW (R12)(CX*2), K1")
		if gated {
			fn.I("VBROADCASTSS (BX)(CX*4), Z0")
			fn.I("VMULPS.Z (DI), Z0, K1, Z0")
		} else {
			fn.I("VMOVDQU32.Z (DI), K1, Z0")
		}
		fn.I("VMOVDQU32 Z0, (DI)")
		fn.I("ADDQ $64, DI")
		fn.I("INCQ CX")
		fn.I("CMPQ CX, R11")
		fn.I("JLT %s", line)
		fn.I("ADDQ R9, R8")
		fn.I("ADDQ R13, R12")
		if gated {
			fn.I("LEAQ (BX)(R13*2), BX")
		}
		fn.I("DECQ R10")
		fn.I("JNZ %s", row)
		fn.I("VZEROUPPER")
		fn.I("RET")
	}
}
