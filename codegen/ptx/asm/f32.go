package asm

import (
	"fmt"
	"math"
)

// F32 is a 32-bit float: a register or a constant. Add, Sub, Mul and Fma round to nearest and are never
// contracted, so a kernel's numbers do not depend on the compiler that finishes it.
type F32 struct {
	f   *Func
	r   *reg
	imm bool
	k   float32
}

// ConstF is the constant v.
func (f *Func) ConstF(v float32) F32 { return F32{f: f, imm: true, k: v} }

func (f *Func) newF32() F32 { return F32{f: f, r: f.newReg(classF32)} }

func (x F32) String() string {
	if x.imm {
		return fmt.Sprintf("0f%08X", math.Float32bits(x.k))
	}
	return x.r.String()
}

// As names the register behind the value.
func (x F32) As(name string) F32 {
	if !x.imm && x.r.name == "" {
		x.r.name = x.f.unique(name)
	}
	return x
}

// Var returns a fresh register that starts as x and may be changed with Set and FmaTo.
func (x F32) Var(name string) F32 {
	out := x.f.newF32()
	x.f.emit("mov.f32", out, x)
	if name != "" {
		out = out.As(name)
	}
	return out
}

// Set assigns y to the register x.
func (x F32) Set(y F32) { x.f.emit("mov.f32", x, y) }

// FmaTo adds a*b to the register x with one rounding.
func (x F32) FmaTo(a, b F32) { x.f.emit("fma.rn.f32", x, a, b, x) }

// AddTo adds y to the register x.
func (x F32) AddTo(y F32) { x.f.emit("add.rn.f32", x, x, y) }

// MaxTo raises the register x to y.
func (x F32) MaxTo(y F32) { x.f.emit("max.f32", x, x, y) }

// MulTo multiplies the register x by y.
func (x F32) MulTo(y F32) { x.f.emit("mul.rn.f32", x, x, y) }

func (x F32) reg() F32 {
	if !x.imm {
		return x
	}
	return x.Var("")
}

func (x F32) un(op string) F32 {
	out := x.f.newF32()
	x.f.emit(op, out, x.reg())
	return out
}

func (x F32) bin(op string, y F32) F32 {
	out := x.f.newF32()
	x.f.emit(op, out, x.reg(), y)
	return out
}

// Add is x + y.
func (x F32) Add(y F32) F32 { return x.bin("add.rn.f32", y) }

// AddC is x + c.
func (x F32) AddC(c float32) F32 { return x.Add(x.f.ConstF(c)) }

// Sub is x - y.
func (x F32) Sub(y F32) F32 { return x.bin("sub.rn.f32", y) }

// Mul is x * y.
func (x F32) Mul(y F32) F32 { return x.bin("mul.rn.f32", y) }

// MulC is x * c.
func (x F32) MulC(c float32) F32 {
	if c == 1 {
		return x
	}
	return x.Mul(x.f.ConstF(c))
}

// Fma is x*y + z with one rounding.
func (x F32) Fma(y, z F32) F32 {
	out := x.f.newF32()
	x.f.emit("fma.rn.f32", out, x.reg(), y, z)
	return out
}

// FmaC is x*y + c.
func (x F32) FmaC(y F32, c float32) F32 { return x.Fma(y, x.f.ConstF(c)) }

// Div is x / y, correctly rounded.
func (x F32) Div(y F32) F32 { return x.bin("div.rn.f32", y) }

// DivFast is x / y within 2 units in the last place, at a third of Div's instructions.
func (x F32) DivFast(y F32) F32 { return x.bin("div.full.f32", y) }

// Max is the larger; a NaN operand is ignored.
func (x F32) Max(y F32) F32 { return x.bin("max.f32", y) }

// Min is the smaller; a NaN operand is ignored.
func (x F32) Min(y F32) F32 { return x.bin("min.f32", y) }

// MaxNaN is the larger; a NaN operand wins.
func (x F32) MaxNaN(y F32) F32 { return x.bin("max.NaN.f32", y) }

// MinNaN is the smaller; a NaN operand wins.
func (x F32) MinNaN(y F32) F32 { return x.bin("min.NaN.f32", y) }

// Neg is -x.
func (x F32) Neg() F32 { return x.un("neg.f32") }

// Abs is |x|.
func (x F32) Abs() F32 { return x.un("abs.f32") }

// Sqrt is the square root, correctly rounded.
func (x F32) Sqrt() F32 { return x.un("sqrt.rn.f32") }

// Ex2 is 2^x, approximately (2 units in the last place).
func (x F32) Ex2() F32 { return x.un("ex2.approx.f32") }

// Lg2 is log2 x, approximately (absolute error 2^-22 near 1).
func (x F32) Lg2() F32 { return x.un("lg2.approx.f32") }

// Floor rounds down to an integer.
func (x F32) Floor() F32 { return x.un("cvt.rmi.f32.f32") }

// Ceil rounds up to an integer.
func (x F32) Ceil() F32 { return x.un("cvt.rpi.f32.f32") }

// Trunc rounds toward zero to an integer.
func (x F32) Trunc() F32 { return x.un("cvt.rzi.f32.f32") }

// Round rounds to the nearest integer, ties to even.
func (x F32) Round() F32 { return x.un("cvt.rni.f32.f32") }

// S32 converts to a signed integer, rounding toward zero.
func (x F32) S32() U32 {
	out := x.f.new32()
	x.f.emit("cvt.rzi.s32.f32", out, x.reg())
	return out
}

// S64 converts to a signed 64-bit integer, rounding toward zero.
func (x F32) S64() U64 {
	out := x.f.new64()
	x.f.emit("cvt.rzi.s64.f32", out, x.reg())
	return out
}

// Bits reads the float's bits.
func (x F32) Bits() U32 {
	if x.imm {
		return x.f.Const(int(math.Float32bits(x.k)))
	}
	out := x.f.new32()
	x.f.emit("mov.b32", out, x)
	return out
}

// F16 rounds to an IEEE half.
func (x F32) F16() U16 {
	out := x.f.new16()
	x.f.emit("cvt.rn.f16.f32", out, x.reg())
	return out
}

// BF16 rounds to a bfloat16.
func (x F32) BF16() U16 {
	out := x.f.new16()
	x.f.emit("cvt.rn.bf16.f32", out, x.reg())
	return out
}

// PackBF16 rounds two numbers to bfloat16 and joins them, lo in the low bits.
func PackBF16(lo, hi F32) U32 {
	out := lo.f.new32()
	lo.f.emit("cvt.rn.bf16x2.f32", out, hi.reg(), lo.reg())
	return out
}

// PackF16 rounds two numbers to IEEE halves and joins them, lo in the low bits.
func PackF16(lo, hi F32) U32 {
	out := lo.f.new32()
	lo.f.emit("cvt.rn.f16x2.f32", out, hi.reg(), lo.reg())
	return out
}

func (x F32) cmp(op string, y F32) Pred {
	out := x.f.newPred()
	x.f.emit("setp."+op+".f32", out, x.reg(), y)
	return out
}

// Lt is x < y; false where either is NaN, like Le, Gt, Ge and Eq.
func (x F32) Lt(y F32) Pred { return x.cmp("lt", y) }

// Le is x <= y.
func (x F32) Le(y F32) Pred { return x.cmp("le", y) }

// Gt is x > y.
func (x F32) Gt(y F32) Pred { return x.cmp("gt", y) }

// Ge is x >= y.
func (x F32) Ge(y F32) Pred { return x.cmp("ge", y) }

// Eq is x == y.
func (x F32) Eq(y F32) Pred { return x.cmp("eq", y) }

// LtC is x < c.
func (x F32) LtC(c float32) Pred { return x.Lt(x.f.ConstF(c)) }

// GtC is x > c.
func (x F32) GtC(c float32) Pred { return x.Gt(x.f.ConstF(c)) }

// IsNaN holds where x is not a number.
func (x F32) IsNaN() Pred { return x.cmp("nan", x) }
