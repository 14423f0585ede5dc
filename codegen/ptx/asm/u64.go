package asm

import (
	"fmt"
	"math"
)

// U64 is a 64-bit integer or a byte address in global memory: a register or a constant.
type U64 struct {
	f   *Func
	r   *reg
	imm bool
	k   uint64
}

// Const64 is the constant n.
func (f *Func) Const64(n int64) U64 { return U64{f: f, imm: true, k: uint64(n)} }

func (f *Func) new64() U64 { return U64{f: f, r: f.newReg(class64)} }

func (x U64) String() string {
	if x.imm {
		if int64(x.k) == math.MinInt64 {
			return "0x8000000000000000"
		}
		return fmt.Sprint(int64(x.k))
	}
	return x.r.String()
}

// As names the register behind the value.
func (x U64) As(name string) U64 {
	if !x.imm && x.r.name == "" {
		x.r.name = x.f.unique(name)
	}
	return x
}

// Var returns a fresh register that starts as x and may be changed with Set.
func (x U64) Var(name string) U64 {
	out := x.f.new64()
	x.f.emit("mov.b64", out, x)
	if name == "" {
		return out
	}
	return out.As(name)
}

// Set assigns y to the register x.
func (x U64) Set(y U64) { x.f.emit("mov.b64", x, y) }

func (x U64) reg() U64 {
	if !x.imm {
		return x
	}
	out := x.f.new64()
	x.f.emit("mov.b64", out, x)
	return out
}

func (x U64) bin(op string, y U64) U64 {
	out := x.f.new64()
	x.f.emit(op, out, x.reg(), y)
	return out
}

// Add is x + y.
func (x U64) Add(y U64) U64 {
	switch {
	case x.imm && y.imm:
		return x.f.Const64(int64(x.k + y.k))
	case y.imm && y.k == 0:
		return x
	case x.imm && x.k == 0:
		return y
	case x.imm:
		return y.bin("add.s64", x)
	}
	return x.bin("add.s64", y)
}

// AddI is x + n.
func (x U64) AddI(n int) U64 { return x.Add(x.f.Const64(int64(n))) }

// Sub is x - y.
func (x U64) Sub(y U64) U64 { return x.bin("sub.s64", y) }

// At is the address x + i*scale bytes.
func (x U64) At(i U32, scale int) U64 {
	if i.imm {
		return x.Add(x.f.Const64(int64(i.k) * int64(scale)))
	}
	out := x.f.new64()
	x.f.emit("mad.wide.u32", out, i, x.f.Const(scale), x.reg())
	return out
}

// AtS is the address x + i*scale bytes with a signed i.
func (x U64) AtS(i U32, scale int) U64 {
	if i.imm {
		return x.Add(x.f.Const64(int64(int32(i.k)) * int64(scale)))
	}
	out := x.f.new64()
	x.f.emit("mad.wide.s32", out, i, x.f.Const(scale), x.reg())
	return out
}

// AtMul is the address x + i*j*scale bytes, for products that need more than 32 bits.
func (x U64) AtMul(i, j U32, scale int) U64 {
	if i.imm {
		i, j = j, i
	}
	if step := int64(j.k) * int64(scale); j.imm && step < 1<<31 {
		if step == 0 {
			return x
		}
		return x.At(i, int(step)) // the product with a constant is 64 bits wide as it is
	}
	p := i.MulWide(j)
	if p.imm {
		return x.Add(x.f.Const64(int64(p.k) * int64(scale)))
	}
	return x.Add(p.MulI(scale))
}

// Mul is the low half of x * y.
func (x U64) Mul(y U64) U64 { return x.bin("mul.lo.s64", y) }

// MulI is x * n.
func (x U64) MulI(n int) U64 {
	switch {
	case x.imm:
		return x.f.Const64(int64(x.k) * int64(n))
	case n == 1:
		return x
	case n > 0 && n&(n-1) == 0:
		s := 0
		for 1<<s < n {
			s++
		}
		out := x.f.new64()
		x.f.emit("shl.b64", out, x, x.f.Const(s))
		return out
	}
	return x.Mul(x.f.Const64(int64(n)))
}

// Div is x / y, signed, rounded toward zero; the result for y = 0 is undefined.
func (x U64) Div(y U64) U64 { return x.bin("div.s64", y) }

// Rem is the remainder of Div; it has the sign of x.
func (x U64) Rem(y U64) U64 { return x.bin("rem.s64", y) }

// And is x & y.
func (x U64) And(y U64) U64 { return x.bin("and.b64", y) }

// Or is x | y.
func (x U64) Or(y U64) U64 { return x.bin("or.b64", y) }

// Xor is x ^ y.
func (x U64) Xor(y U64) U64 { return x.bin("xor.b64", y) }

// Min is the smaller, signed.
func (x U64) Min(y U64) U64 { return x.bin("min.s64", y) }

// Max is the larger, signed.
func (x U64) Max(y U64) U64 { return x.bin("max.s64", y) }

// Neg is -x.
func (x U64) Neg() U64 { return x.f.Const64(0).Sub(x) }

// Lt is x < y, signed.
func (x U64) Lt(y U64) Pred {
	if x.imm && y.imm {
		return x.f.Bool(int64(x.k) < int64(y.k))
	}
	out := x.f.newPred()
	x.f.emit("setp.lt.s64", out, x.reg(), y)
	return out
}

// LtU is x < y, unsigned.
func (x U64) LtU(y U64) Pred {
	out := x.f.newPred()
	x.f.emit("setp.lt.u64", out, x.reg(), y)
	return out
}

// Eq is x == y.
func (x U64) Eq(y U64) Pred {
	if x.imm && y.imm {
		return x.f.Bool(x.k == y.k)
	}
	out := x.f.newPred()
	x.f.emit("setp.eq.s64", out, x.reg(), y)
	return out
}

// Low is the low 32 bits.
func (x U64) Low() U32 {
	if x.imm {
		return x.f.Const(int(uint32(x.k)))
	}
	out := x.f.new32()
	x.f.emit("cvt.u32.u64", out, x)
	return out
}

// F32 converts a signed integer.
func (x U64) F32() F32 {
	out := x.f.newF32()
	x.f.emit("cvt.rn.f32.s64", out, x.reg())
	return out
}

// U16 is a 16-bit register, the storage of one f16 or bf16 number.
type U16 struct {
	f *Func
	r *reg
}

func (f *Func) new16() U16 { return U16{f: f, r: f.newReg(class16)} }

func (x U16) String() string { return x.r.String() }

// F16 reads the bits as an IEEE half and widens it.
func (x U16) F16() F32 {
	out := x.f.newF32()
	x.f.emit("cvt.f32.f16", out, x)
	return out
}

// BF16 reads the bits as a bfloat16 and widens it.
func (x U16) BF16() F32 {
	wide := x.f.new32()
	x.f.emit("cvt.u32.u16", wide, x)
	return wide.ShlI(16).AsF32()
}

// ShlI is x << n.
func (x U64) ShlI(n int) U64 {
	out := x.f.new64()
	x.f.emit("shl.b64", out, x.reg(), x.f.Const(n))
	return out
}

// ShrI is x >> n, without sign.
func (x U64) ShrI(n int) U64 {
	out := x.f.new64()
	x.f.emit("shr.u64", out, x.reg(), x.f.Const(n))
	return out
}
