package asmgen

import "fmt"

// NEON is an instruction of arm64 on 128-bit vectors that Go's assembler does not
// know. Operands are written in the order of the manual: destination first.
type NEON struct {
	name string
	// Arrangements of the operands, as in "4S": destination, first and second source,
	// where m may be an immediate instead.
	d, n, m string
	op      uint32 // with all register fields zero
}

// Arithmetic on four floats, or on bytes and halves as the arrangements say.
var (
	FADD   = NEON{"FADD", "4S", "4S", "4S", 0x4e20d400}
	FSUB   = NEON{"FSUB", "4S", "4S", "4S", 0x4ea0d400}
	FMUL   = NEON{"FMUL", "4S", "4S", "4S", 0x6e20dc00}
	FDIV   = NEON{"FDIV", "4S", "4S", "4S", 0x6e20fc00}
	FMLA   = NEON{"FMLA", "4S", "4S", "4S", 0x4e20cc00} // dst += n*m, rounded once
	FMLS   = NEON{"FMLS", "4S", "4S", "4S", 0x4ea0cc00} // dst -= n*m, rounded once
	FMAX   = NEON{"FMAX", "4S", "4S", "4S", 0x4e20f400} // NaN if either is
	FMIN   = NEON{"FMIN", "4S", "4S", "4S", 0x4ea0f400} // NaN if either is
	FCMGT  = NEON{"FCMGT", "4S", "4S", "4S", 0x6ea0e400}
	FADDP  = NEON{"FADDP", "4S", "4S", "4S", 0x6e20d400} // sums of neighbours, of n then m
	MUL    = NEON{"MUL", "4S", "4S", "4S", 0x4ea09c00}   // of 32-bit integers
	SMULL  = NEON{"SMULL", "8H", "8B", "8B", 0x0e20c000} // products of the low eight bytes
	SMULL2 = NEON{"SMULL2", "8H", "16B", "16B", 0x4e20c000}
	ADDP   = NEON{"ADDP", "8H", "8H", "8H", 0x4e60bc00} // sums of neighbours, of n then m

	// FMLAE and SDOT take one 32-bit element of m for all lanes; see Elem.
	FMLAE = NEON{"FMLA", "4S", "4S", "S", 0x4f801000}
	SDOT  = NEON{"SDOT", "4S", "16B", "4B", 0x4f80e000} // needs the dot-product extension

	FABS   = NEON{"FABS", "4S", "4S", "", 0x4ea0f800}
	FNEG   = NEON{"FNEG", "4S", "4S", "", 0x6ea0f800}
	FRINTN = NEON{"FRINTN", "4S", "4S", "", 0x4e218800} // to nearest, ties to even
	FCVTNS = NEON{"FCVTNS", "4S", "4S", "", 0x4e21a800} // the same as integers, saturating
	SCVTF  = NEON{"SCVTF", "4S", "4S", "", 0x4e21d800}
	SADALP = NEON{"SADALP", "4S", "8H", "", 0x4e606800} // dst += sums of neighbouring halves
	SQXTN  = NEON{"SQXTN", "4H", "4S", "", 0x0e614800}  // to 16 bits, saturating
	SQXTUN = NEON{"SQXTUN", "8B", "8H", "", 0x2e212800} // to unsigned bytes, saturating
	FMAXV  = NEON{"FMAXV", "", "4S", "", 0x6e30f800}    // the greatest of four, in lane 0
	FMINV  = NEON{"FMINV", "", "4S", "", 0x6eb0f800}    // the least of four, in lane 0
	SSHR16 = NEON{"SSHR", "4S", "4S", "#16", 0x4f300400}

	MOVI128 = NEON{"MOVI", "16B", "", "#128", 0x4f04e400}
	BICLow  = NEON{"BIC", "4S", "", "#255", 0x6f0717e0}         // clears bits 0 to 7 of 32-bit lanes
	BICNext = NEON{"BIC", "4S", "", "#255, LSL #8", 0x6f0737e0} // clears bits 8 to 15
)

// RRR encodes dst = n op m, or dst += for those that accumulate.
func (o NEON) RRR(dst, n, m int) string {
	return o.word(uint32(m)<<16|uint32(n)<<5|uint32(dst), fmt.Sprintf("%s V%d.%s, V%d.%s, V%d.%s", o.name, dst, o.d, n, o.n, m, o.m))
}

// Elem encodes dst += n times an element of m.
func (o NEON) Elem(dst, n, m, lane int) string {
	fields := uint32(lane&1)<<21 | uint32(lane>>1)<<11 | uint32(m)<<16 | uint32(n)<<5 | uint32(dst)
	return o.word(fields, fmt.Sprintf("%s V%d.%s, V%d.%s, V%d.%s[%d]", o.name, dst, o.d, n, o.n, m, o.m, lane))
}

// RR encodes dst = op n.
func (o NEON) RR(dst, n int) string {
	to, imm := fmt.Sprintf("V%d.%s", dst, o.d), ""
	if o.d == "" {
		to = fmt.Sprintf("S%d", dst)
	}
	if o.m != "" {
		imm = ", " + o.m
	}
	return o.word(uint32(n)<<5|uint32(dst), fmt.Sprintf("%s %s, V%d.%s%s", o.name, to, n, o.n, imm))
}

// R encodes the instructions on one register and an immediate.
func (o NEON) R(dst int) string {
	return o.word(uint32(dst), fmt.Sprintf("%s V%d.%s, %s", o.name, dst, o.d, o.m))
}

// word is an assembly line of one instruction.
func (o NEON) word(fields uint32, comment string) string {
	return fmt.Sprintf("WORD $0x%08x // %s", o.op|fields, comment)
}
