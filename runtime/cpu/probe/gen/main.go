// Command gen writes the loops that package probe times.
package main

import (
	"log"

	"github.com/seed-c851cfd2/moec/runtime/cpu/asmgen"
)

func main() {
	const generator = "go generate ./runtime/cpu/probe"
	f := asmgen.New("amd64", generator)
	macs(f, "fmaZ", "Z", func(fn *asmgen.Func, r int) { fn.I("VFMADD231PS Z31, Z30, Z%d", r) })
	macs(f, "fmaY", "Y", func(fn *asmgen.Func, r int) { fn.I("VFMADD231PS Y15, Y14, Y%d", r) })
	macs(f, "bf16Z", "Z", func(fn *asmgen.Func, r int) {
		fn.I("%s", asmgen.VDPBF16PS.RRR("VDPBF16PS", r, 30, 31))
	})
	macs(f, "i8Z", "Z", func(fn *asmgen.Func, r int) { fn.I("VPDPBUSD Z31, Z30, Z%d", r) })
	tiles(f, "bf16T", asmgen.TDPBF16PS)
	tiles(f, "i8T", asmgen.TDPBUSD)
	for _, store := range []bool{false, true} {
		loadedTiles(f, "bf16L", asmgen.TDPBF16PS, store)
		loadedTiles(f, "i8L", asmgen.TDPBUSD, store)
	}
	read(f, "readZ", "Z", 64)
	read(f, "readY", "Y", 32)
	if err := f.WriteFile("probe_amd64.s"); err != nil {
		log.Fatal(err)
	}
	if err := neonFile(generator).WriteFile("probe_arm64.s"); err != nil {
		log.Fatal(err)
	}
}

// chains is the number of independent accumulators: twice the latency of 4 by 2
// chains is the number of independent accumulators: at least the latency of 4
// cycles times 2 per cycle, at most what 16 registers leave.
const chains = 12

// macs emits n rounds of one multiply-add on each accumulator. All registers are
// zero, so that no number grows.
func macs(f *asmgen.File, name, class string, op func(fn *asmgen.Func, r int)) {
	fn := f.Func(name, 8, name+" does n rounds of 12 independent multiply-adds.")
	fn.I("MOVQ n+0(FP), CX")
	regs := []int{14, 15}
	if class == "Z" {
		regs = []int{30, 31}
	}
	for r := range chains {
		regs = append(regs, r)
	}
	for _, r := range regs {
		if class == "Z" {
			fn.I("VPXORD Z%d, Z%d, Z%d", r, r, r)
		} else {
			fn.I("VXORPS Y%d, Y%d, Y%d", r, r, r)
		}
	}
	loop := fn.Label("loop")
	fn.Mark(loop)
	for r := range chains {
		op(fn, r)
	}
	fn.I("DECQ CX")
	fn.I("JNZ %s", loop)
	fn.I("VZEROUPPER")
	fn.I("RET")
}

// tiles emits n rounds of a multiply-add of whole tiles on each of four accumulators:
// as many as leave registers for two operands on each side.
func tiles(f *asmgen.File, name string, op asmgen.TileOp) {
	fn := f.Func(name, 16, name+" does n rounds of 4 independent multiply-adds of tiles, shaped by the 64 bytes at cfg.")
	fn.I("MOVQ n+0(FP), CX")
	fn.I("MOVQ cfg+8(FP), SI")
	fn.I("%s", asmgen.LoadTileConfig(0, "SI"))
	for t := range 8 {
		fn.I("%s", asmgen.TileZero(t))
	}
	loop := fn.Label("loop")
	fn.Mark(loop)
	for t := range 4 {
		fn.I("%s", op.RRR(t, 4+t/2, 6+t%2))
	}
	fn.I("DECQ CX")
	fn.I("JNZ %s", loop)
	fn.I("%s", asmgen.TileRelease())
	fn.I("RET")
}

// read emits a sum over n bytes, a multiple of 4096, in four streams a quarter
// of n apart.
func read(f *asmgen.File, name, class string, width int) {
	fn := f.Func(name, 16, name+" reads n bytes (a multiple of 4096) in four streams.")
	fn.I("MOVQ x+0(FP), SI")
	fn.I("MOVQ n+8(FP), CX")
	fn.I("SHRQ $2, CX")
	fn.I("LEAQ (SI)(CX*1), DI")
	fn.I("LEAQ (DI)(CX*1), R8")
	fn.I("LEAQ (R8)(CX*1), R9")
	loop := fn.Label("loop")
	fn.Mark(loop)
	for i, r := range []string{"SI", "DI", "R8", "R9"} {
		for at := 0; at < 128; at += width {
			fn.I("VPXOR%s %d(%s), %s%d, %s%d", map[string]string{"Z": "D", "Y": ""}[class], at, r, class, 2*i+at/width%2, class, 2*i+at/width%2)
		}
		fn.I("ADDQ $128, %s", r)
	}
	fn.I("SUBQ $128, CX")
	fn.I("JNZ %s", loop)
	fn.I("VZEROUPPER")
	fn.I("RET")
}
