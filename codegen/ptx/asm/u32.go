package asm

import (
	"fmt"
	"math/bits"
)

// U32 is a 32-bit integer: a register or a constant. Arithmetic wraps; comparisons are unsigned unless
// their name ends in S.
type U32 struct {
	f   *Func
	r   *reg
	imm bool
	k   uint32
}

// Const is the constant n.
func (f *Func) Const(n int) U32 { return U32{f: f, imm: true, k: uint32(n)} }

func (f *Func) new32() U32 { return U32{f: f, r: f.newReg(class32)} }

func (x U32) String() string {
	if x.imm {
		return fmt.Sprint(int32(x.k))
	}
	return x.r.String()
}

// As names the register behind the value; a constant or an already named register keeps what it has.
func (x U32) As(name string) U32 {
	if !x.imm && x.r.name == "" {
		x.r.name = x.f.unique(name)
	}
	return x
}

// Imm reports a constant and its value.
func (x U32) Imm() (v int, ok bool) { return int(int32(x.k)), x.imm }

// Var returns a fresh register that starts as x and may be changed with Set.
func (x U32) Var(name string) U32 {
	out := x.f.new32()
	x.f.emit("mov.b32", out, x)
	if name == "" {
		return out
	}
	return out.As(name)
}

// Set assigns y to the register x.
func (x U32) Set(y U32) { x.f.emit("mov.b32", x, y) }

// reg returns the value in a register, for the instructions that take no constant.
func (x U32) reg() U32 {
	if !x.imm {
		return x
	}
	out := x.f.new32()
	x.f.emit("mov.b32", out, x)
	return out
}

func (x U32) bin(op string, y U32) U32 {
	out := x.f.new32()
	x.f.emit(op, out, x.reg(), y)
	return out
}

// Add is x + y.
func (x U32) Add(y U32) U32 {
	switch {
	case x.imm && y.imm:
		return x.f.Const(int(x.k + y.k))
	case x.imm && x.k == 0:
		return y
	case y.imm && y.k == 0:
		return x
	case x.imm:
		return y.bin("add.u32", x)
	}
	return x.bin("add.u32", y)
}

// AddI is x + n.
func (x U32) AddI(n int) U32 { return x.Add(x.f.Const(n)) }

// Sub is x - y.
func (x U32) Sub(y U32) U32 {
	if y.imm {
		return x.AddI(-int(int32(y.k)))
	}
	return x.bin("sub.u32", y)
}

// Mul is the low half of x * y.
func (x U32) Mul(y U32) U32 {
	switch {
	case x.imm && y.imm:
		return x.f.Const(int(x.k * y.k))
	case x.imm:
		return y.Mul(x)
	case y.imm && y.k == 0:
		return x.f.Const(0)
	case y.imm && y.k == 1:
		return x
	case y.imm && bits.OnesCount32(y.k) == 1:
		return x.ShlI(bits.TrailingZeros32(y.k))
	}
	return x.bin("mul.lo.u32", y)
}

// MulI is x * n.
func (x U32) MulI(n int) U32 { return x.Mul(x.f.Const(n)) }

// Mad is x*y + z.
func (x U32) Mad(y, z U32) U32 {
	if y.imm && (bits.OnesCount32(y.k) <= 1) || x.imm || z.imm && z.k == 0 {
		return x.Mul(y).Add(z)
	}
	out := x.f.new32()
	x.f.emit("mad.lo.u32", out, x, y, z)
	return out
}

// MadI is x*n + z.
func (x U32) MadI(n int, z U32) U32 { return x.Mad(x.f.Const(n), z) }

// Div is x / y, unsigned, rounded down.
func (x U32) Div(y U32) U32 {
	switch {
	case x.imm && y.imm && y.k != 0:
		return x.f.Const(int(x.k / y.k))
	case y.imm && y.k == 1:
		return x
	case y.imm && bits.OnesCount32(y.k) == 1:
		return x.ShrI(bits.TrailingZeros32(y.k))
	}
	return x.bin("div.u32", y)
}

// DivI is x / n.
func (x U32) DivI(n int) U32 { return x.Div(x.f.Const(n)) }

// CeilDivI is x / n rounded up.
func (x U32) CeilDivI(n int) U32 { return x.AddI(n - 1).DivI(n) }

// Rem is x mod y, unsigned.
func (x U32) Rem(y U32) U32 {
	switch {
	case x.imm && y.imm && y.k != 0:
		return x.f.Const(int(x.k % y.k))
	case y.imm && bits.OnesCount32(y.k) == 1:
		return x.AndI(int(y.k) - 1)
	}
	return x.bin("rem.u32", y)
}

// RemI is x mod n.
func (x U32) RemI(n int) U32 { return x.Rem(x.f.Const(n)) }

// DivRem splits x by y.
func (x U32) DivRem(y U32) (q, r U32) {
	if y.imm && bits.OnesCount32(y.k) == 1 {
		return x.Div(y), x.Rem(y)
	}
	q = x.Div(y)
	return q, x.Sub(q.Mul(y))
}

// And is x & y.
func (x U32) And(y U32) U32 {
	switch {
	case x.imm && y.imm:
		return x.f.Const(int(x.k & y.k))
	case x.imm:
		return y.And(x)
	case y.imm && y.k == 0:
		return y
	}
	return x.bin("and.b32", y)
}

// AndI is x & n.
func (x U32) AndI(n int) U32 { return x.And(x.f.Const(n)) }

// Or is x | y.
func (x U32) Or(y U32) U32 {
	switch {
	case x.imm && y.imm:
		return x.f.Const(int(x.k | y.k))
	case x.imm:
		return y.Or(x)
	case y.imm && y.k == 0:
		return x
	}
	return x.bin("or.b32", y)
}

// Xor is x ^ y.
func (x U32) Xor(y U32) U32 {
	switch {
	case x.imm && y.imm:
		return x.f.Const(int(x.k ^ y.k))
	case x.imm:
		return y.Xor(x)
	case y.imm && y.k == 0:
		return x
	}
	return x.bin("xor.b32", y)
}

// XorI is x ^ n.
func (x U32) XorI(n int) U32 { return x.Xor(x.f.Const(n)) }

// Not flips all bits.
func (x U32) Not() U32 {
	out := x.f.new32()
	x.f.emit("not.b32", out, x.reg())
	return out
}

// ShlI is x << n.
func (x U32) ShlI(n int) U32 {
	if x.imm {
		return x.f.Const(int(x.k << n))
	}
	if n == 0 {
		return x
	}
	return x.bin("shl.b32", x.f.Const(n))
}

// ShrI is x >> n, filling with zeros.
func (x U32) ShrI(n int) U32 {
	if x.imm {
		return x.f.Const(int(x.k >> n))
	}
	if n == 0 {
		return x
	}
	return x.bin("shr.u32", x.f.Const(n))
}

// Shl is x << y.
func (x U32) Shl(y U32) U32 { return x.bin("shl.b32", y) }

// Shr is x >> y, filling with zeros.
func (x U32) Shr(y U32) U32 { return x.bin("shr.u32", y) }

// ShrS is x >> n, filling with the sign.
func (x U32) ShrSI(n int) U32 { return x.bin("shr.s32", x.f.Const(n)) }

// Min is the smaller, unsigned.
func (x U32) Min(y U32) U32 {
	if x.imm && y.imm {
		return x.f.Const(int(min(x.k, y.k)))
	}
	return x.bin("min.u32", y)
}

// Max is the larger, unsigned.
func (x U32) Max(y U32) U32 {
	if x.imm && y.imm {
		return x.f.Const(int(max(x.k, y.k)))
	}
	return x.bin("max.u32", y)
}

// MaxS is the larger, signed; MinS the smaller.
func (x U32) MaxS(y U32) U32 { return x.bin("max.s32", y) }

// MinS is the smaller, signed.
func (x U32) MinS(y U32) U32 { return x.bin("min.s32", y) }

// Popc counts set bits.
func (x U32) Popc() U32 {
	out := x.f.new32()
	x.f.emit("popc.b32", out, x.reg())
	return out
}

func (x U32) cmp(op string, y U32, fold func(a, b uint32) bool) Pred {
	if x.imm && y.imm {
		return x.f.Bool(fold(x.k, y.k))
	}
	out := x.f.newPred()
	x.f.emit("setp."+op, out, x.reg(), y)
	return out
}

// Lt is x < y, unsigned.
func (x U32) Lt(y U32) Pred {
	return x.cmp("lt.u32", y, func(a, b uint32) bool { return a < b })
}

// LtI is x < n, unsigned.
func (x U32) LtI(n int) Pred { return x.Lt(x.f.Const(n)) }

// Ge is x >= y, unsigned.
func (x U32) Ge(y U32) Pred { return x.Lt(y).Not() }

// GeI is x >= n, unsigned.
func (x U32) GeI(n int) Pred { return x.LtI(n).Not() }

// Gt is x > y, unsigned.
func (x U32) Gt(y U32) Pred { return y.Lt(x) }

// Le is x <= y, unsigned.
func (x U32) Le(y U32) Pred { return y.Lt(x).Not() }

// Eq is x == y.
func (x U32) Eq(y U32) Pred {
	return x.cmp("eq.u32", y, func(a, b uint32) bool { return a == b })
}

// EqI is x == n.
func (x U32) EqI(n int) Pred { return x.Eq(x.f.Const(n)) }

// NeI is x != n.
func (x U32) NeI(n int) Pred { return x.EqI(n).Not() }

// LtS is x < y, signed.
func (x U32) LtS(y U32) Pred {
	return x.cmp("lt.s32", y, func(a, b uint32) bool { return int32(a) < int32(b) })
}

// LtSI is x < n, signed.
func (x U32) LtSI(n int) Pred { return x.LtS(x.f.Const(n)) }

// GeSI is x >= n, signed.
func (x U32) GeSI(n int) Pred { return x.LtSI(n).Not() }

// Wide zero-extends to 64 bits.
func (x U32) Wide() U64 {
	if x.imm {
		return x.f.Const64(int64(x.k))
	}
	out := x.f.new64()
	x.f.emit("cvt.u64.u32", out, x)
	return out
}

// WideS sign-extends to 64 bits.
func (x U32) WideS() U64 {
	if x.imm {
		return x.f.Const64(int64(int32(x.k)))
	}
	out := x.f.new64()
	x.f.emit("cvt.s64.s32", out, x)
	return out
}

// MulWide is the full 64-bit product, unsigned.
func (x U32) MulWide(y U32) U64 {
	if x.imm && y.imm || x.imm && x.k == 0 || y.imm && y.k == 0 {
		return x.f.Const64(int64(x.k) * int64(y.k))
	}
	out := x.f.new64()
	x.f.emit("mul.wide.u32", out, x.reg(), y)
	return out
}

// F32 converts an unsigned integer.
func (x U32) F32() F32 {
	out := x.f.newF32()
	x.f.emit("cvt.rn.f32.u32", out, x.reg())
	return out
}

// F32S converts a signed integer.
func (x U32) F32S() F32 {
	out := x.f.newF32()
	x.f.emit("cvt.rn.f32.s32", out, x.reg())
	return out
}

// AsF32 reads the bits as a float.
func (x U32) AsF32() F32 {
	out := x.f.newF32()
	x.f.emit("mov.b32", out, x)
	return out
}

// Low16 is the low half.
func (x U32) Low16() U16 {
	out := x.f.new16()
	x.f.emit("cvt.u16.u32", out, x.reg())
	return out
}

// Halves splits into the low and high 16 bits.
func (x U32) Halves() (lo, hi U16) {
	lo, hi = x.f.new16(), x.f.new16()
	x.f.emit("mov.b32", vec{lo, hi}, x.reg())
	return lo, hi
}
