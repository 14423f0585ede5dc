package asm

import (
	"fmt"
	"math"
)

// F64 is a 64-bit float: a register or a constant. Its arithmetic rounds to nearest and is never contracted. It has
// what exact kernels need and no more: GPUs compute in f64 slowly, and nothing hot does.
type F64 struct {
	f   *Func
	r   *reg
	imm bool
	k   float64
}

// ConstD is the constant v.
func (f *Func) ConstD(v float64) F64 { return F64{f: f, imm: true, k: v} }

func (f *Func) newF64() F64 { return F64{f: f, r: f.newReg(classF64)} }

func (x F64) String() string {
	if x.imm {
		return fmt.Sprintf("0d%016X", math.Float64bits(x.k))
	}
	return x.r.String()
}

// As names the register behind the value.
func (x F64) As(name string) F64 {
	if !x.imm && x.r.name == "" {
		x.r.name = x.f.unique(name)
	}
	return x
}

// Var returns a fresh register that starts as x and may be changed with Set and FmaTo.
func (x F64) Var(name string) F64 {
	out := x.f.newF64()
	x.f.emit("mov.f64", out, x)
	if name != "" {
		out = out.As(name)
	}
	return out
}

// Set assigns y to the register x.
func (x F64) Set(y F64) { x.f.emit("mov.f64", x, y) }

// FmaTo adds a*b to the register x with one rounding.
func (x F64) FmaTo(a, b F64) { x.f.emit("fma.rn.f64", x, a, b, x) }

func (x F64) reg() F64 {
	if !x.imm {
		return x
	}
	return x.Var("")
}

func (x F64) un(op string) F64 {
	out := x.f.newF64()
	x.f.emit(op, out, x.reg())
	return out
}

func (x F64) bin(op string, y F64) F64 {
	out := x.f.newF64()
	x.f.emit(op, out, x.reg(), y)
	return out
}

// Add is x + y.
func (x F64) Add(y F64) F64 { return x.bin("add.rn.f64", y) }

// AddC is x + c.
func (x F64) AddC(c float64) F64 { return x.Add(x.f.ConstD(c)) }

// Sub is x - y.
func (x F64) Sub(y F64) F64 { return x.bin("sub.rn.f64", y) }

// Mul is x * y.
func (x F64) Mul(y F64) F64 { return x.bin("mul.rn.f64", y) }

// MulC is x * c.
func (x F64) MulC(c float64) F64 { return x.Mul(x.f.ConstD(c)) }

// Fma is x*y + z with one rounding.
func (x F64) Fma(y, z F64) F64 {
	out := x.f.newF64()
	x.f.emit("fma.rn.f64", out, x.reg(), y, z)
	return out
}

// FmaC is x*y + c with one rounding.
func (x F64) FmaC(y F64, c float64) F64 { return x.Fma(y, x.f.ConstD(c)) }

// Div is x / y, correctly rounded.
func (x F64) Div(y F64) F64 { return x.bin("div.rn.f64", y) }

// Max is the larger; a NaN operand is ignored.
func (x F64) Max(y F64) F64 { return x.bin("max.f64", y) }

// Min is the smaller; a NaN operand is ignored.
func (x F64) Min(y F64) F64 { return x.bin("min.f64", y) }

// MaxNaN is the larger; a NaN operand wins.
func (x F64) MaxNaN(y F64) F64 { return x.nanWins(y, x.Max(y)) }

// MinNaN is the smaller; a NaN operand wins.
func (x F64) MinNaN(y F64) F64 { return x.nanWins(y, x.Min(y)) }

func (x F64) nanWins(y, v F64) F64 {
	v = y.reg().IsNaN().SelF64(y, v)
	return x.reg().IsNaN().SelF64(x, v)
}

// Neg is -x.
func (x F64) Neg() F64 { return x.un("neg.f64") }

// Abs is |x|.
func (x F64) Abs() F64 { return x.un("abs.f64") }

// Sqrt is the square root, correctly rounded.
func (x F64) Sqrt() F64 { return x.un("sqrt.rn.f64") }

// Floor rounds down to an integer.
func (x F64) Floor() F64 { return x.un("cvt.rmi.f64.f64") }

// Ceil rounds up to an integer.
func (x F64) Ceil() F64 { return x.un("cvt.rpi.f64.f64") }

// Round rounds to the nearest integer, ties to even.
func (x F64) Round() F64 { return x.un("cvt.rni.f64.f64") }

// S64 converts to a signed 64-bit integer, rounding toward zero.
func (x F64) S64() U64 {
	out := x.f.new64()
	x.f.emit("cvt.rzi.s64.f64", out, x.reg())
	return out
}

// F32 rounds to an f32.
func (x F64) F32() F32 {
	out := x.f.newF32()
	x.f.emit("cvt.rn.f32.f64", out, x.reg())
	return out
}

// Bits reads the float's bits.
func (x F64) Bits() U64 {
	out := x.f.new64()
	x.f.emit("mov.b64", out, x.reg())
	return out
}

// F64 widens an f32.
func (x F32) F64() F64 {
	out := x.f.newF64()
	x.f.emit("cvt.f64.f32", out, x.reg())
	return out
}

// F64 converts a signed integer, to nearest.
func (x U64) F64() F64 {
	out := x.f.newF64()
	x.f.emit("cvt.rn.f64.s64", out, x.reg())
	return out
}

// AsF64 reads the bits as a float.
func (x U64) AsF64() F64 {
	out := x.f.newF64()
	x.f.emit("mov.b64", out, x.reg())
	return out
}

func (x F64) cmp(op string, y F64) Pred {
	out := x.f.newPred()
	x.f.emit("setp."+op+".f64", out, x.reg(), y)
	return out
}

// Lt is x < y; false where either is NaN, like Le, Gt, Ge and Eq.
func (x F64) Lt(y F64) Pred { return x.cmp("lt", y) }

// Le is x <= y.
func (x F64) Le(y F64) Pred { return x.cmp("le", y) }

// Gt is x > y.
func (x F64) Gt(y F64) Pred { return x.cmp("gt", y) }

// Ge is x >= y.
func (x F64) Ge(y F64) Pred { return x.cmp("ge", y) }

// Eq is x == y.
func (x F64) Eq(y F64) Pred { return x.cmp("eq", y) }

// LtC is x < c.
func (x F64) LtC(c float64) Pred { return x.Lt(x.f.ConstD(c)) }

// GtC is x > c.
func (x F64) GtC(c float64) Pred { return x.Gt(x.f.ConstD(c)) }

// IsNaN holds where x is not a number.
func (x F64) IsNaN() Pred {
	x = x.reg()
	return x.cmp("nan", x)
}

// SelF64 is a where p holds and b elsewhere.
func (p Pred) SelF64(a, b F64) F64 {
	if p.known {
		if p.val {
			return a
		}
		return b
	}
	if p.neg {
		return p.Not().SelF64(b, a)
	}
	out := p.f.newF64()
	p.f.emit("selp.f64", out, a, b, p)
	return out
}

// LdF64 reads a float from global memory at x+off bytes.
func (x U64) LdF64(off int) F64 {
	out := x.f.newF64()
	x.f.ld("global", "f64", out, x, off)
	return out
}

// StF64 writes a float to global memory at x+off bytes.
func (x U64) StF64(off int, v F64) { x.f.st("global", "f64", x, off, v) }

// Func is the kernel that the value belongs to.
func (x F64) Func() *Func { return x.f }
