package asm

import "fmt"

// Memory accesses. An address is a U64 (global) or a U32 (shared) plus a constant byte offset.

func (f *Func) ld(space, typ string, out fmt.Stringer, base fmt.Stringer, off int) {
	f.emit("ld."+space+"."+typ, out, addr{base, off})
}

func (f *Func) st(space, typ string, base fmt.Stringer, off int, v fmt.Stringer) {
	f.emit("st."+space+"."+typ, addr{base, off}, v)
}

// LdU32 loads a word from global memory.
func (x U64) LdU32(off int) U32 {
	out := x.f.new32()
	x.f.ld("global", "u32", out, x, off)
	return out
}

// LdU64 loads 8 bytes from global memory.
func (x U64) LdU64(off int) U64 {
	out := x.f.new64()
	x.f.ld("global", "u64", out, x, off)
	return out
}

// LdU8 loads one byte from global memory, zero-extended.
func (x U64) LdU8(off int) U32 {
	out := x.f.new32()
	x.f.ld("global", "u8", out, x, off)
	return out
}

// LdS8 loads one byte from global memory, sign-extended.
func (x U64) LdS8(off int) U32 {
	out := x.f.new32()
	x.f.ld("global", "s8", out, x, off)
	return out
}

// LdU16 loads two bytes from global memory.
func (x U64) LdU16(off int) U16 {
	out := x.f.new16()
	x.f.ld("global", "u16", out, x, off)
	return out
}

// LdF32 loads a float from global memory.
func (x U64) LdF32(off int) F32 {
	out := x.f.newF32()
	x.f.ld("global", "f32", out, x, off)
	return out
}

// LdF32x4 loads four consecutive floats from a 16-byte aligned address.
func (x U64) LdF32x4(off int) [4]F32 {
	var out [4]F32
	for i := range out {
		out[i] = x.f.newF32()
	}
	x.f.ld("global", "v4.f32", vec{out[0], out[1], out[2], out[3]}, x, off)
	return out
}

// LdU32x2 loads two consecutive words from an 8-byte aligned address.
func (x U64) LdU32x2(off int) [2]U32 {
	out := [2]U32{x.f.new32(), x.f.new32()}
	x.f.ld("global", "v2.u32", vec{out[0], out[1]}, x, off)
	return out
}

// LdU32x4 loads four consecutive words from a 16-byte aligned address.
func (x U64) LdU32x4(off int) [4]U32 {
	var out [4]U32
	for i := range out {
		out[i] = x.f.new32()
	}
	x.f.ld("global", "v4.u32", vec{out[0], out[1], out[2], out[3]}, x, off)
	return out
}

// StU32 stores a word to global memory.
func (x U64) StU32(off int, v U32) { x.f.st("global", "u32", x, off, v) }

// StU64 stores 8 bytes to global memory.
func (x U64) StU64(off int, v U64) { x.f.st("global", "u64", x, off, v) }

// StU8 stores the low byte of v to global memory.
func (x U64) StU8(off int, v U32) { x.f.st("global", "u8", x, off, v.reg()) }

// StU16 stores two bytes to global memory.
func (x U64) StU16(off int, v U16) { x.f.st("global", "u16", x, off, v) }

// StF32 stores a float to global memory.
func (x U64) StF32(off int, v F32) { x.f.st("global", "f32", x, off, v) }

// StF32x4 stores four consecutive floats to a 16-byte aligned address.
func (x U64) StF32x4(off int, v [4]F32) {
	x.f.st("global", "v4.f32", x, off, vec{v[0].reg(), v[1].reg(), v[2].reg(), v[3].reg()})
}

// StF32x2 stores two consecutive floats to an 8-byte aligned address.
func (x U64) StF32x2(off int, v [2]F32) {
	x.f.st("global", "v2.f32", x, off, vec{v[0].reg(), v[1].reg()})
}

// StU32x2 stores two consecutive words to an 8-byte aligned address.
func (x U64) StU32x2(off int, v [2]U32) {
	x.f.st("global", "v2.u32", x, off, vec{v[0].reg(), v[1].reg()})
}

// StU32x4 stores four consecutive words to a 16-byte aligned address.
func (x U64) StU32x4(off int, v [4]U32) {
	x.f.st("global", "v4.u32", x, off, vec{v[0].reg(), v[1].reg(), v[2].reg(), v[3].reg()})
}

// AtomicAdd adds v to a word of global memory and returns the old value. It has acquire and release
// semantics at device scope: what the thread (and, through an earlier barrier, its block) wrote before is
// visible to whoever sees the sum, and the other way round.
func (x U64) AtomicAdd(off int, v U32) U32 {
	out := x.f.new32()
	x.f.emit("atom.acq_rel.gpu.global.add.u32", out, addr{x, off}, v)
	return out
}

// LdsU32 loads a word from shared memory.
func (x U32) LdsU32(off int) U32 {
	out := x.f.new32()
	x.f.ld("shared", "u32", out, x, off)
	return out
}

// LdsU16 loads two bytes from shared memory.
func (x U32) LdsU16(off int) U16 {
	out := x.f.new16()
	x.f.ld("shared", "u16", out, x, off)
	return out
}

// LdsF32 loads a float from shared memory.
func (x U32) LdsF32(off int) F32 {
	out := x.f.newF32()
	x.f.ld("shared", "f32", out, x, off)
	return out
}

// LdsF32x4 loads four consecutive floats from a 16-byte aligned shared address.
func (x U32) LdsF32x4(off int) [4]F32 {
	var out [4]F32
	for i := range out {
		out[i] = x.f.newF32()
	}
	x.f.ld("shared", "v4.f32", vec{out[0], out[1], out[2], out[3]}, x, off)
	return out
}

// LdsU32x4 loads four consecutive words from a 16-byte aligned shared address.
func (x U32) LdsU32x4(off int) [4]U32 {
	var out [4]U32
	for i := range out {
		out[i] = x.f.new32()
	}
	x.f.ld("shared", "v4.u32", vec{out[0], out[1], out[2], out[3]}, x, off)
	return out
}

// StsU32 stores a word to shared memory.
func (x U32) StsU32(off int, v U32) { x.f.st("shared", "u32", x, off, v) }

// StsU16 stores two bytes to shared memory.
func (x U32) StsU16(off int, v U16) { x.f.st("shared", "u16", x, off, v) }

// StsF32 stores a float to shared memory.
func (x U32) StsF32(off int, v F32) { x.f.st("shared", "f32", x, off, v) }

// StsF32x4 stores four consecutive floats to a 16-byte aligned shared address.
func (x U32) StsF32x4(off int, v [4]F32) {
	x.f.st("shared", "v4.f32", x, off, vec{v[0].reg(), v[1].reg(), v[2].reg(), v[3].reg()})
}

// AtomicAddS adds v to a word of shared memory and returns the old value.
func (x U32) AtomicAddS(off int, v U32) U32 {
	out := x.f.new32()
	x.f.emit("atom.shared.add.u32", out, addr{x, off}, v)
	return out
}

// CpAsync copies bytes (4, 8 or 16) from global to shared memory behind the thread's back; of these only
// live bytes are read and the rest of the destination is filled with zeros. A nil live copies them all.
// Both addresses must be multiples of bytes.
func (f *Func) CpAsync(dst U32, dstOff int, src U64, srcOff, bytes int, live *U32) {
	cache := "ca"
	if bytes == 16 {
		cache = "cg" // whole sectors: keep them out of L1
	}
	args := []fmt.Stringer{addr{dst, dstOff}, addr{src, srcOff}, text(fmt.Sprint(bytes))}
	if live != nil {
		args = append(args, *live)
	}
	f.emit("cp.async."+cache+".shared.global", args...)
}

// CpCommit closes the group of copies issued since the last one.
func (f *Func) CpCommit() { f.emit("cp.async.commit_group") }

// CpWait waits until at most pending groups of this thread are still under way. Other threads' copies
// become visible only through a Barrier after their own wait.
func (f *Func) CpWait(pending int) { f.emit("cp.async.wait_group", text(fmt.Sprint(pending))) }

// LdU16To loads two bytes, zero-extended, into the register dst.
func (x U64) LdU16To(dst U32, off int) { x.f.ld("global", "u16", dst, x, off) }

// LdF32To loads a float into the register dst.
func (x U64) LdF32To(dst F32, off int) { x.f.ld("global", "f32", dst, x, off) }

// LdU32To loads a word into the register dst.
func (x U64) LdU32To(dst U32, off int) { x.f.ld("global", "u32", dst, x, off) }

// StsLow16 stores the low half of v to shared memory.
func (x U32) StsLow16(off int, v U32) { x.f.st("shared", "u16", x, off, v) }
