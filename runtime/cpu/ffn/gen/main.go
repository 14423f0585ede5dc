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
	iota := f.Table("iota", counting())
	compact(f, iota)
	pick(f, iota)
	sparse(f)
	axpy4(f)
	keepLines(f)
	if err := f.WriteFile("select_amd64.s"); err != nil {
		log.Fatal(err)
	}
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
	fn.EachVector(16, func() {
		fn.I("VMOVUPS (SI), Z0")
		key()
		fn.I("VMOVDQU32 Z0, (DI)")
		fn.I("ADDQ $64, SI")
		fn.I("ADDQ $64, DI")
	}, func() {
		fn.TailMask(1, "AX")
		fn.I("VMOVUPS.Z (SI), K1, Z0")
		key()
		fn.I("VMOVDQA32.Z Z0, K1, Z0")
		fn.I("VMOVDQU32 Z0, (DI)")
	})
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

// compact emits the selection of units by key.
func compact(f *asmgen.File, iota string) {
	fn := f.Func("compactZ", 56, "compactZ writes the indexes and values of the units of h whose key is at least t\nand that are not zero, ascending, and returns how many. It may write 16 past them.")
	fn.I("MOVQ idx+0(FP), DI")
	fn.I("MOVQ val+8(FP), SI")
	fn.I("MOVQ keys+16(FP), R8")
	fn.I("MOVQ h+24(FP), R9")
	fn.I("MOVQ n+32(FP), CX")
	fn.I("MOVL t+40(FP), AX")
	fn.I("VPBROADCASTD AX, Z0")
	fn.I("VMOVDQU32 %s, Z1", iota)
	fn.I("VPBROADCASTD %s, Z2", f.Const32(16))
	fn.I("VPXORD Z3, Z3, Z3")
	fn.I("XORL R10, R10")
	body := func(mask string) {
		fn.I("VPCMPUD $2, (R8), Z0, %sK2", mask) // t <= key
		fn.I("VMOVUPS.Z (R9), K2, Z4")
		fn.I("VCMPPS $4, Z3, Z4, K2, K2") // not zero, or NaN
		fn.I("VPCOMPRESSD.Z Z1, K2, Z5")
		fn.I("VCOMPRESSPS.Z Z4, K2, Z6")
		fn.I("VMOVDQU32 Z5, (DI)(R10*4)")
		fn.I("VMOVUPS Z6, (SI)(R10*4)")
		fn.I("KMOVW K2, AX")
		fn.I("POPCNTL AX, AX")
		fn.I("ADDQ AX, R10")
	}
	fn.EachVector(16, func() {
		body("")
		fn.I("ADDQ $64, R8")
		fn.I("ADDQ $64, R9")
		fn.I("VPADDD Z2, Z1, Z1")
	}, func() {
		fn.TailMask(1, "AX")
		body("K1, ")
	})
	fn.I("MOVQ R10, ret+48(FP)")
	fn.I("VZEROUPPER")
	fn.I("RET")
}

// pick emits the list of the keys that are not below a threshold.
func pick(f *asmgen.File, iota string) {
	fn := f.Func("pickZ", 40, "pickZ writes the indexes of those of n keys that are at least t, ascending, and\nreturns how many.")
	fn.I("MOVQ dst+0(FP), DI")
	fn.I("MOVQ keys+8(FP), SI")
	fn.I("MOVQ n+16(FP), CX")
	fn.I("MOVL t+24(FP), AX")
	fn.I("VPBROADCASTD AX, Z0")
	fn.I("VMOVDQU32 %s, Z1", iota)
	fn.I("VPBROADCASTD %s, Z2", f.Const32(16))
	fn.I("XORL R10, R10")
	body := func(mask string) {
		fn.I("VPCMPUD $2, (SI), Z0, %sK2", mask) // t <= key
		fn.I("KMOVW K2, AX")
		fn.I("POPCNTL AX, BX")
		fn.I("VPCOMPRESSD.Z Z1, K2, Z3")
		fn.I("MOVL $-1, DX")
		fn.I("SHLXL BX, DX, DX")
		fn.I("NOTL DX") // as many lanes as there are
		fn.I("KMOVW DX, K3")
		fn.I("VMOVDQU32 Z3, K3, (DI)(R10*4)")
		fn.I("ADDQ BX, R10")
	}
	fn.EachVector(16, func() {
		body("")
		fn.I("ADDQ $64, SI")
		fn.I("VPADDD Z2, Z1, Z1")
	}, func() {
		fn.TailMask(1, "AX")
		body("K1, ")
	})
	fn.I("MOVQ R10, ret+32(FP)")
	fn.I("VZEROUPPER")
	fn.I("RET")
}

// counting is the words 0 to 15.
func counting() []uint32 {
	words := make([]uint32, 16)
	for i := range words {
		words[i] = uint32(i)
	}
	return words
}

// sparse emits C += sum of val[i] * row idx[i] of B for 4 panels of 32 columns.
func sparse(f *asmgen.File) {
	fn := f.Func("sparseZ", 48, "sparseZ adds val[i] times row idx[i] of each of 4 panels, bp bytes apart, to 128\nfloats of c, for n > 0 values in order.")
	fn.I("MOVQ c+0(FP), DI")
	fn.I("MOVQ b+8(FP), R8")
	fn.I("MOVQ bp+16(FP), DX")
	fn.I("MOVQ idx+24(FP), SI")
	fn.I("MOVQ val+32(FP), BX")
	fn.I("MOVQ n+40(FP), CX")
	fn.I("LEAQ (R8)(DX*1), R9")
	fn.I("LEAQ (R9)(DX*1), R10")
	fn.I("LEAQ (R10)(DX*1), R11")
	for r := range 8 {
		fn.I("VMOVUPS %d(DI), Z%d", 64*r, r)
	}
	loop := fn.Label("loop")
	fn.Mark(loop)
	fn.I("MOVLQSX (SI), AX")
	fn.I("SHLQ $7, AX")
	fn.I("VBROADCASTSS (BX), Z8")
	for p, b := range []string{"R8", "R9", "R10", "R11"} {
		fn.I("VFMADD231PS (%s)(AX*1), Z8, Z%d", b, 2*p)
		fn.I("VFMADD231PS 64(%s)(AX*1), Z8, Z%d", b, 2*p+1)
	}
	fn.I("ADDQ $4, SI")
	fn.I("ADDQ $4, BX")
	fn.I("DECQ CX")
	fn.I("JNZ %s", loop)
	for r := range 8 {
		fn.I("VMOVUPS Z%d, %d(DI)", r, 64*r)
	}
	fn.I("VZEROUPPER")
	fn.I("RET")
}

// axpy4 emits y += w[0]*r[0] + ... + w[3]*r[3] over rows of n floats, while the
// next four rows are fetched.
func axpy4(f *asmgen.File) {
	fn := f.Func("axpy4Z", 32, "axpy4Z adds w[0]*rows[0] + ... + w[3]*rows[3] to n floats of y, in that order, and\nfetches rows[4] to rows[7] meanwhile.")
	fn.I("MOVQ y+0(FP), DI")
	fn.I("MOVQ n+8(FP), CX")
	fn.I("MOVQ rows+16(FP), SI")
	fn.I("MOVQ w+24(FP), BX")
	rows := []string{"R8", "R9", "R10", "R11"}
	next := []string{"R12", "R13", "DX", "BP"}
	for i := range 4 {
		fn.I("MOVQ %d(SI), %s", 8*i, rows[i])
		fn.I("MOVQ %d(SI), %s", 32+8*i, next[i])
		fn.I("VBROADCASTSS %d(BX), Z%d", 4*i, i)
	}
	fn.I("XORL AX, AX")
	fn.EachVector(16, func() {
		fn.I("VMOVUPS (DI)(AX*4), Z4")
		for i := range 4 {
			fn.I("PREFETCHT0 (%s)(AX*4)", next[i])
			fn.I("VFMADD231PS (%s)(AX*4), Z%d, Z4", rows[i], i)
		}
		fn.I("VMOVUPS Z4, (DI)(AX*4)")
		fn.I("ADDQ $16, AX")
	}, func() {
		fn.TailMask(1, "SI")
		fn.I("VMOVUPS.Z (DI)(AX*4), K1, Z4")
		for i := range 4 {
			fn.I("VMOVUPS.Z (%s)(AX*4), K1, Z5", rows[i])
			fn.I("VFMADD231PS Z5, Z%d, Z4", i)
		}
		fn.I("VMOVUPS Z4, K1, (DI)(AX*4)")
	})
	fn.I("VZEROUPPER")
	fn.I("RET")
}
