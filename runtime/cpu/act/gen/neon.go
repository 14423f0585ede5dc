package main

import (
	"math"

	"github.com/seed-c851cfd2/moec/runtime/cpu/asmgen"
)

// neon emits code for arm64's vectors. Register 0 is x and becomes the result; 1 to 9 are
// temporaries, 10 is the gate or the factor, and constants are held from 31 down, so that
// what reads them must be known before the loop: a function is emitted twice, and the
// first time only collects them.
//
// FMAX and FMIN give NaN where either operand is, so that bounds keep NaN.
type neon struct {
	f     *asmgen.File
	fn    *asmgen.Func
	order []uint32 // bits of the constants held
}

// hold is the register of a constant.
func (v *neon) hold(c float32) int {
	b := math.Float32bits(c)
	for i, have := range v.order {
		if have == b {
			return 31 - i
		}
	}
	if len(v.order) == 20 {
		panic("too many constants")
	}
	v.order = append(v.order, b)
	return 31 - (len(v.order) - 1)
}

func (v *neon) op(o asmgen.NEON, dst, n, m int) { v.fn.I("%s", o.RRR(dst, n, m)) }
func (v *neon) un(o asmgen.NEON, dst, n int)    { v.fn.I("%s", o.RR(dst, n)) }
func (v *neon) move(from, to int)               { v.fn.I("VMOV V%d.B16, V%d.B16", from, to) }

// horner evaluates c[0] + c[1]*t + ... and returns the register of the result, x or y.
func (v *neon) horner(x, y, t int, c []float32) int {
	acc := v.hold(c[len(c)-1])
	for i := len(c) - 2; i >= 0; i-- {
		v.move(v.hold(c[i]), x)
		v.op(asmgen.FMLA, x, acc, t)
		acc, x, y = x, y, x
	}
	return acc
}

// exp sets register 1 to e^(register 1), which must be in -87.3..88; it uses 2, 3 and 6.
func (v *neon) exp() {
	v.op(asmgen.FMUL, 2, 1, v.hold(math.Log2E))
	v.un(asmgen.FRINTN, 2, 2)
	v.op(asmgen.FMLS, 1, 2, v.hold(asmgen.Ln2Hi))
	v.op(asmgen.FMLS, 1, 2, v.hold(asmgen.Ln2Lo))
	p := v.horner(3, 6, 1, asmgen.ExpP)
	v.un(asmgen.FCVTNS, 2, 2)
	v.fn.I("VSHL $23, V2.S4, V2.S4")
	v.fn.I("VADD V2.S4, V%d.S4, V1.S4", p) // adds n to the exponent of a number in 0.7..1.42
}

func (v *neon) expX() {
	v.op(asmgen.FMAX, 1, 0, v.hold(-87.3))
	v.op(asmgen.FMIN, 1, 1, v.hold(88))
	v.exp()
	v.move(1, 0)
}

func (v *neon) relu() { v.op(asmgen.FMAX, 0, 0, v.hold(0)) }

func (v *neon) relu6() {
	v.relu()
	v.op(asmgen.FMIN, 0, 0, v.hold(6))
}

// hardSwish is x times a straight line held to 0..1.
func (v *neon) hardSwish() {
	v.move(v.hold(0.5), 1)
	v.op(asmgen.FMLA, 1, 0, v.hold(1.0/6))
	v.op(asmgen.FMAX, 1, 1, v.hold(0))
	v.op(asmgen.FMIN, 1, 1, v.hold(1))
	v.op(asmgen.FMUL, 0, 0, 1)
}

// sigmoid sets register 1 to 1/(1+e^(-register 1)).
func (v *neon) sigmoid() {
	v.op(asmgen.FMIN, 1, 1, v.hold(87))
	v.op(asmgen.FMAX, 1, 1, v.hold(-87))
	v.un(asmgen.FNEG, 1, 1)
	v.exp()
	v.op(asmgen.FADD, 1, 1, v.hold(1))
	v.op(asmgen.FDIV, 1, v.hold(1), 1)
}

func (v *neon) sigmoidX() {
	v.move(0, 1)
	v.sigmoid()
	v.move(1, 0)
}

// silu bounds the factor x from below, since sigmoid does not reach zero there.
func (v *neon) silu() {
	v.move(0, 1)
	v.sigmoid()
	v.op(asmgen.FMAX, 0, 0, v.hold(-87))
	v.op(asmgen.FMUL, 0, 0, 1)
}

// quickGelu is x*sigmoid(1.702*x); see silu.
func (v *neon) quickGelu() {
	v.op(asmgen.FMUL, 1, 0, v.hold(1.702))
	v.sigmoid()
	v.op(asmgen.FMAX, 0, 0, v.hold(-87))
	v.op(asmgen.FMUL, 0, 0, 1)
}

func (v *neon) relu2() {
	v.relu()
	v.op(asmgen.FMUL, 0, 0, 0)
}

// geluTanh is x*sigmoid(2*sqrt(2/pi)*(x+0.044715*x^3)).
func (v *neon) geluTanh() {
	c := 2 * math.Sqrt(2/math.Pi)
	v.op(asmgen.FMUL, 1, 0, 0)
	v.move(v.hold(float32(c)), 2)
	v.op(asmgen.FMLA, 2, 1, v.hold(float32(c*0.044715)))
	v.op(asmgen.FMUL, 1, 2, 0)
	v.sigmoid()
	v.op(asmgen.FMAX, 0, 0, v.hold(-10))
	v.op(asmgen.FMUL, 0, 0, 1)
}

// gelu is x*(1/2 + x*P(x^2)/Q(x^2)); see vec.gelu.
func (v *neon) gelu() {
	const end = asmgen.GeluEnd
	v.op(asmgen.FMAX, 0, 0, v.hold(-end))
	v.op(asmgen.FMIN, 4, 0, v.hold(end))
	v.op(asmgen.FMUL, 5, 4, 4)
	q := v.horner(1, 2, 5, asmgen.GeluQ)
	p := v.horner(3, 6, 5, asmgen.GeluP)
	v.op(asmgen.FDIV, q, p, q)
	v.move(v.hold(0.5), 7)
	v.op(asmgen.FMLA, 7, q, 4)
	v.op(asmgen.FMUL, 0, 0, 7)
}

// tanh is odd: a polynomial below 0.6, above it 1 - 2/(e^2a+1).
func (v *neon) tanh() {
	v.un(asmgen.FABS, 5, 0)
	v.op(asmgen.FMUL, 7, 5, 5)
	p := v.horner(8, 9, 7, tanhP)
	v.op(asmgen.FMUL, p, p, 7)
	v.move(5, 4)
	v.op(asmgen.FMLA, 4, p, 5) // the small ones
	v.op(asmgen.FMIN, 1, 5, v.hold(10))
	v.op(asmgen.FADD, 1, 1, 1)
	v.exp()
	v.op(asmgen.FADD, 1, 1, v.hold(1))
	v.op(asmgen.FDIV, 1, v.hold(2), 1)
	v.op(asmgen.FSUB, 1, v.hold(1), 1)
	v.op(asmgen.FCMGT, 7, v.hold(0.6), 5)
	v.fn.I("VBIT V7.B16, V4.B16, V1.B16")
	// The sign is that of x.
	v.fn.I("VBIT V%d.B16, V0.B16, V1.B16", v.hold(float32(math.Copysign(0, -1))))
	v.move(1, 0)
}

// apply emits the loop of a function of x, times the gate.
func (v *neon) apply(name string, body func()) {
	v.loop(name, 20, "gate+16(FP)", 1, func() {
		body()
		v.op(asmgen.FMUL, 0, 0, 10)
	})
}

// binary emits x = x op y.
func (v *neon) binary(name string, o asmgen.NEON) {
	v.loop(name, 24, "", 2, func() { v.op(o, 0, 0, 1) })
}

// axpy emits x += a*y.
func (v *neon) axpy() {
	v.loop("axpy", 28, "a+24(FP)", 2, func() { v.op(asmgen.FMLA, 0, 1, 10) })
}

// loop walks n floats of x (and of y, if there are two), four at a time and then one.
func (v *neon) loop(name string, args int, factor string, operands int, body func()) {
	v.order = nil
	v.fn = asmgen.NewARM64("").Func(name, args, "")
	body()
	v.fn = v.f.Func(name+"V", args, "")
	fn := v.fn
	fn.I("MOVD x+0(FP), R0")
	fn.I("MOVD n+8(FP), R1")
	if operands == 2 {
		fn.I("MOVD y+16(FP), R2")
	}
	if factor != "" {
		fn.I("FMOVS %s, F10", factor)
		fn.I("VDUP V10.S[0], V10.S4")
	}
	if len(v.order) > 0 {
		fn.I("MOVD $%s, R3", v.f.Table(name, v.order))
		for i := range v.order {
			fn.I("VLD1R.P 4(R3), [V%d.S4]", 31-i)
		}
	}
	loop, tail, one, done := fn.Label("loop"), fn.Label("tail"), fn.Label("one"), fn.Label("done")
	fn.I("SUBS $4, R1")
	fn.I("BLT %s", tail)
	fn.Mark(loop)
	fn.I("FMOVQ (R0), F0")
	if operands == 2 {
		fn.I("FMOVQ.P 16(R2), F1")
	}
	body()
	fn.I("FMOVQ.P F0, 16(R0)")
	fn.I("SUBS $4, R1")
	fn.I("BGE %s", loop)
	fn.Mark(tail)
	fn.I("ADDS $4, R1")
	fn.I("BEQ %s", done)
	fn.Mark(one)
	fn.I("FMOVS (R0), F0")
	if operands == 2 {
		fn.I("FMOVS.P 4(R2), F1")
	}
	body()
	fn.I("FMOVS.P F0, 4(R0)")
	fn.I("SUBS $1, R1")
	fn.I("BNE %s", one)
	fn.Mark(done)
	fn.I("RET")
}

// neonFile is the assembly for arm64.
func neonFile(generator string) *asmgen.File {
	v := &neon{f: asmgen.NewARM64(generator)}
	v.apply("identity", func() {})
	v.apply("relu", v.relu)
	v.apply("gelu", v.gelu)
	v.apply("geluTanh", v.geluTanh)
	v.apply("silu", v.silu)
	v.apply("sigmoid", v.sigmoidX)
	v.apply("tanh", v.tanh)
	v.apply("relu6", v.relu6)
	v.apply("hardSwish", v.hardSwish)
	v.apply("quickGelu", v.quickGelu)
	v.apply("relu2", v.relu2)
	v.apply("exp", v.expX)
	v.binary("add", asmgen.FADD)
	v.binary("mul", asmgen.FMUL)
	v.axpy()
	return v.f
}
