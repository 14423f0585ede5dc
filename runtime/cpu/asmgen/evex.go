package asmgen

import "fmt"

// EVEX is the fixed part of an EVEX-encoded instruction that Go's assembler does
// not know. Fields follow the manual's notation "EVEX.<L>.<PP>.<Map>.W<W> <Op>".
type EVEX struct {
	Map byte // 1: 0F, 2: 0F38, 3: 0F3A
	PP  byte // 0: none, 1: 66, 2: F3, 3: F2
	W   byte
	Op  byte
}

// AVX512-BF16, missing from Go's assembler.
var (
	// VDPBF16PS: dst.f32[i] += a.bf16[2i]*b.bf16[2i] + a.bf16[2i+1]*b.bf16[2i+1].
	VDPBF16PS = EVEX{Map: 2, PP: 2, W: 0, Op: 0x52}
	// VCVTNE2PS2BF16: the low half of dst is src2 (r/m) rounded to bf16, the high half src1.
	VCVTNE2PS2BF16 = EVEX{Map: 2, PP: 3, W: 0, Op: 0x72}
	// VCVTNEPS2BF16: 16 floats of src2 to 16 bf16 in the 256-bit dst; src1 is register 0.
	VCVTNEPS2BF16 = EVEX{Map: 2, PP: 2, W: 0, Op: 0x72}
)

// RRR encodes the 512-bit form on registers: dst, src1 (the vvvv field, 0 where
// the instruction has none) and src2 (the r/m field), each 0 to 31. The line
// carries the mnemonic given as name in a comment.
func (e EVEX) RRR(name string, dst, src1, src2 int) string {
	inv := func(v, bit int) byte { return byte(^(v >> bit) & 1) }
	p0 := inv(dst, 3)<<7 | inv(src2, 4)<<6 | inv(src2, 3)<<5 | inv(dst, 4)<<4 | e.Map
	vvvv := byte(^src1 & 15)
	if name == "VCVTNEPS2BF16" {
		vvvv = 15 // the field is reserved as all ones
	}
	p1 := e.W<<7 | vvvv<<3 | 1<<2 | e.PP
	p2 := byte(2)<<5 | inv(src1, 4)<<3 // L'L = 2: 512 bits, no mask
	modrm := byte(3)<<6 | byte(dst&7)<<3 | byte(src2&7)
	return fmt.Sprintf("BYTE $0x62; BYTE $0x%02x; BYTE $0x%02x; BYTE $0x%02x; BYTE $0x%02x; BYTE $0x%02x // %s Z%d, Z%d, Z%d",
		p0, p1, p2, e.Op, modrm, name, src2, src1, dst)
}
