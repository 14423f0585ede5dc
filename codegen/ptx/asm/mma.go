package asm

// Fragments: the pieces of a matrix tile that one lane holds. With g = lane/4 and t = lane%4,
//
//	A 16x16, 16-bit: {a[g][2t..], a[g+8][2t..], a[g][2t+8..], a[g+8][2t+8..]}, two numbers per word
//	B 16x8,  16-bit: {b[2t..][g], b[2t+8..][g]}
//	C 16x8,  f32:    {c[g][2t], c[g][2t+1], c[g+8][2t], c[g+8][2t+1]}
//	A 16x8,  tf32:   {a[g][t], a[g+8][t], a[g][t+4], a[g+8][t+4]}
//	B 8x8,   tf32:   {b[t][g], b[t+4][g]}
//
// so a C tile, rounded and packed, is again half an A tile: FragC to FragA needs no exchange.
type (
	// FragA is a lane's part of the left operand.
	FragA [4]U32
	// FragB is a lane's part of the right operand.
	FragB [2]U32
	// FragC is a lane's part of the accumulator.
	FragC [4]F32
)

// ZeroFragC starts an accumulator.
func (f *Func) ZeroFragC() FragC {
	var c FragC
	for i := range c {
		c[i] = f.ConstF(0).Var("")
	}
	return c
}

// Format is the number format of a tensor-core product's operands.
type Format string

// The operand formats; products are always accumulated in f32.
const (
	FormatBF16 Format = "bf16"
	FormatF16  Format = "f16"
	FormatTF32 Format = "tf32"
)

// Depth is the number of terms that one instruction sums per output.
func (m Format) Depth() int {
	if m == FormatTF32 {
		return 8
	}
	return 16
}

// Mma adds a x b to the registers of c.
func (f *Func) Mma(m Format, c FragC, a FragA, b FragB) {
	shape := "m16n8k16"
	if m == FormatTF32 {
		shape = "m16n8k8"
	}
	cv := vec{c[0], c[1], c[2], c[3]}
	f.emit("mma.sync.aligned."+shape+".row.col.f32."+string(m)+"."+string(m)+".f32",
		cv, vec{a[0], a[1], a[2], a[3]}, vec{b[0], b[1]}, cv)
}

// LdMatrix loads four 8x8 tiles of 16-bit numbers; lane 8i+j gives the address of row j of tile i
// (16 bytes, aligned). With trans each tile arrives transposed.
func (x U32) LdMatrix(off int, trans bool) [4]U32 {
	var out [4]U32
	for i := range out {
		out[i] = x.f.new32()
	}
	op := "ldmatrix.sync.aligned.m8n8.x4.shared.b16"
	if trans {
		op = "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16"
	}
	x.f.emit(op, vec{out[0], out[1], out[2], out[3]}, addr{x, off})
	return out
}
