package asmgen

// TailMask sets mask register k to the lowest CX lanes, for CX below 32: the elements
// past the last whole vector of 512 bits. It clobbers the general register tmp.
func (fn *Func) TailMask(k int, tmp string) {
	fn.I("MOVL $1, %s", tmp)
	fn.I("SHLL CX, %s", tmp)
	fn.I("DECL %s", tmp)
	fn.I("KMOVW %s, K%d", tmp, k)
}

// TailMaskY sets the 256-bit register reg to ones in its lowest CX lanes, for CX of 0 to
// 8: AVX2 has no mask registers. zeros is the operand that holds the address of the
// second half of an array of 8 words of ones and 8 of zeros, in which the mask begins CX
// words before the zeros. It clobbers CX and the general register tmp.
func (fn *Func) TailMaskY(reg int, zeros, tmp string) {
	fn.I("MOVQ %s, %s", zeros, tmp)
	fn.I("SHLQ $2, CX")
	fn.I("SUBQ CX, %s", tmp)
	fn.I("VMOVUPS (%s), Y%d", tmp, reg)
}

// EachVector walks CX elements, lanes at a time: whole emits a step that also advances the
// pointers, rest the last one, of the CX elements past the last whole vector, if there are any.
func (fn *Func) EachVector(lanes int, whole, rest func()) {
	loop, tail, done := fn.Label("loop"), fn.Label("tail"), fn.Label("done")
	fn.I("SUBQ $%d, CX", lanes)
	fn.I("JLT %s", tail)
	fn.Mark(loop)
	whole()
	fn.I("SUBQ $%d, CX", lanes)
	fn.I("JGE %s", loop)
	fn.Mark(tail)
	fn.I("ADDQ $%d, CX", lanes)
	fn.I("JZ %s", done)
	rest()
	fn.Mark(done)
}
