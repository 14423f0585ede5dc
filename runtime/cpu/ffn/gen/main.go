// Command gen writes the assembly of package ffn: selection of the K largest.
package main

import (
	"log"

	"github.com/seed-c851cfd2/moec/runtime/cpu/asmgen"
)

func main() {
	f := asmgen.New("amd64", "go generate ./runtime/cpu/ffn")
	keys(f)
	kth(f)
	if err := f.WriteFile("select_amd64.s"); err != nil {
		log.Fatal(err)
	}
}

// tailMask sets K1 to the first CX (< 16) lanes. It clobbers AX.
func tailMask(fn *asmgen.Func) {
	fn.I("MOVL $1, AX")
	fn.I("SHLL CX, AX")
	fn.I("DECL AX")
	fn.I("KMOVW AX, K1")
}

// keys emits the map from floats to unsigned integers of the same order.
func keys(f *asmgen.File) {
	fn := f.Func("keysZ", 24, "keysZ writes the key of each of n floats, and zeros up to a multiple of 16.")
	fn.I("MOVQ dst+0(FP), DI")
	fn.I("MOVQ x+8(FP), SI")
	fn.I("MOVQ n+16(FP), CX")
	fn.I("VPXORD Z5, Z5, Z5")
	fn.I("VPBROADCASTD %s, Z6", f.Const32(0x80000000))
	key := func() {
		// Adding zero turns -0 into 0; then negative numbers are inverted and the
		// others get the top bit; NaN becomes zero, below every number.
		fn.I("VCMPPS $7, Z0, Z0, K3") // not NaN
		fn.I("VADDPS Z5, Z0, Z0")
		fn.I("VPSRAD $31, Z0, Z1")
		fn.I("VPORD Z6, Z1, Z1")
		fn.I("VPXORD.Z Z1, Z0, K3, Z0")
	}
	loop, tail, done := fn.Label("loop"), fn.Label("tail"), fn.Label("done")
	fn.I("SUBQ $16, CX")
	fn.I("JLT %s", tail)
	fn.Mark(loop)
	fn.I("VMOVUPS (SI), Z0")
	key()
	fn.I("VMOVDQU32 Z0, (DI)")
	fn.I("ADDQ $64, SI")
	fn.I("ADDQ $64, DI")
	fn.I("SUBQ $16, CX")
	fn.I("JGE %s", loop)
	fn.Mark(tail)
	fn.I("ADDQ $16, CX")
	fn.I("JZ %s", done)
	tailMask(fn)
	fn.I("VMOVUPS.Z (SI), K1, Z0")
	key()
	fn.I("VMOVDQA32.Z Z0, K1, Z0")
	fn.I("VMOVDQU32 Z0, (DI)")
	fn.Mark(done)
	fn.I("VZEROUPPER")
	fn.I("RET")
}

// kth emits the search for a threshold, bit by bit from the top.
func kth(f *asmgen.File) {
	fn := f.Func("kthZ", 28, "kthZ returns a threshold: of n keys (padded with zeros to a multiple of 16) at\nleast k are not below it, and fewer than k are above it.")
	fn.I("MOVQ x+0(FP), SI")
	fn.I("MOVQ n+8(FP), CX")
	fn.I("MOVQ k+16(FP), DX")
	fn.I("ADDQ $15, CX")
	fn.I("SHRQ $4, CX")
	fn.I("SHLQ $6, CX") // bytes of keys
	fn.I("XORL R8, R8") // threshold so far
	fn.I("MOVL $0x80000000, R9")
	bit, scan, done := fn.Label("bit"), fn.Label("scan"), fn.Label("done")
	fn.Mark(bit)
	fn.I("MOVL R8, R10")
	fn.I("ORL R9, R10")
	fn.I("VPBROADCASTD R10, Z0")
	fn.I("XORL R11, R11") // keys not below R10
	fn.I("XORL BX, BX")
	fn.Mark(scan)
	fn.I("VPCMPUD $2, (SI)(BX*1), Z0, K1") // R10 <= key
	fn.I("KMOVW K1, AX")
	fn.I("POPCNTL AX, AX")
	fn.I("ADDL AX, R11")
	fn.I("ADDQ $64, BX")
	fn.I("CMPQ BX, CX")
	fn.I("JLT %s", scan)
	fn.I("CMPL R11, DX")
	fn.I("CMOVLCC R10, R8") // at least k: the bit stays
	fn.I("JEQ %s", done)
	fn.I("SHRL $1, R9")
	fn.I("JNZ %s", bit)
	fn.Mark(done)
	fn.I("MOVL R8, ret+24(FP)")
	fn.I("VZEROUPPER")
	fn.I("RET")
}
