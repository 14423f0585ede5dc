package main

import (
	"math"

	"github.com/seed-c851cfd2/moec/runtime/cpu/asmgen"
)

// tanhP approximates tanh(x)/x - 1 over x^2; main.go says how it was fitted.
var tanhP = []float32{-0.33333301544189453, 0.13332012295722961, -0.05379083380103111, 0.02081829123198986, -0.005919910501688719}

// exp sets reg 1 to e^(reg 1), which must be in -87.3..88; it uses 2 and 3.
func (v *vec) exp() {
	v.opc("VMULPS", math.Log2E, 1, 2)
	if v.wide {
		v.fn.I("VRNDSCALEPS $0, Z2, Z2")
	} else {
		v.fn.I("VROUNDPS $0, Y2, Y2")
	}
	v.opc("VFNMADD231PS", asmgen.Ln2Hi, 2, 1)
	v.opc("VFNMADD231PS", asmgen.Ln2Lo, 2, 1)
	v.horner(3, 1, asmgen.ExpP)
	if v.wide {
		v.fn.I("VSCALEFPS Z2, Z3, Z1")
		return
	}
	v.fn.I("VCVTPS2DQ Y2, Y2")
	v.fn.I("VPSLLD $23, Y2, Y2")
	v.fn.I("VPADDD Y2, Y3, Y1") // adds n to the exponent of a number in 0.7..1.42
}

// expX bounds x to -87.3..88: e^x saturates at 1.2e-38 and 1.7e38.
func (v *vec) expX() {
	v.clampLow(-87.3, 0, 1)
	v.clampHigh(88, 1, 1)
	v.exp()
	v.fn.I("VMOVAPS %s, %s", v.r(1), v.r(0))
}

// recip sets reg 1 to 1/(reg 1), for magnitudes in 2^-120..2^120; it uses 2 and 3.
func (v *vec) recip() {
	if v.wide {
		// One Newton step on 14 bits: y += y*(1 - d*y).
		v.fn.I("VRCP14PS Z1, Z2")
		v.load(1, 3)
		v.fn.I("VFNMADD231PS Z2, Z1, Z3")
		v.fn.I("VFMADD213PS Z2, Z2, Z3")
		v.fn.I("VMOVAPS Z3, Z1")
		return
	}
	v.load(1, 2)
	v.fn.I("VDIVPS Y1, Y2, Y1")
}

// relu keeps NaN, and -0 as it is.
func (v *vec) relu() { v.clampLow(0, 0, 0) }

// relu6 is relu held to 6.
func (v *vec) relu6() {
	v.relu()
	v.clampHigh(6, 0, 0)
}

// hardSwish is x times a straight line held to 0..1.
func (v *vec) hardSwish() {
	v.load(1.0/6, 1)
	v.load(0.5, 2)
	v.op("VFMADD213PS", 2, 0, 1)
	v.clampLow(0, 1, 1)
	v.clampHigh(1, 1, 1)
	v.op("VMULPS", 1, 0, 0)
}

// sigmoid sets reg 1 to 1/(1+e^(-reg 1)).
func (v *vec) sigmoid() {
	v.clampHigh(87, 1, 1)
	v.clampLow(-87, 1, 1)
	v.fn.I("VXORPS %s, %s, %s", v.r(2), v.r(2), v.r(2))
	v.op("VSUBPS", 1, 2, 1)
	v.exp()
	v.opc("VADDPS", 1, 1, 1)
	v.recip()
}

func (v *vec) sigmoidX() {
	v.fn.I("VMOVAPS %s, %s", v.r(0), v.r(1))
	v.sigmoid()
	v.fn.I("VMOVAPS %s, %s", v.r(1), v.r(0))
}

// silu bounds the factor x from below, since sigmoid does not reach zero there.
func (v *vec) silu() {
	v.fn.I("VMOVAPS %s, %s", v.r(0), v.r(1))
	v.sigmoid()
	v.clampLow(-87, 0, 0)
	v.op("VMULPS", 1, 0, 0)
}

// quickGelu is x*sigmoid(1.702*x); see silu.
func (v *vec) quickGelu() {
	v.opc("VMULPS", 1.702, 0, 1)
	v.sigmoid()
	v.clampLow(-87, 0, 0)
	v.op("VMULPS", 1, 0, 0)
}

func (v *vec) relu2() {
	v.relu()
	v.op("VMULPS", 0, 0, 0)
}

// geluTanh is x*sigmoid(2*sqrt(2/pi)*(x+0.044715*x^3)).
func (v *vec) geluTanh() {
	c := 2 * math.Sqrt(2/math.Pi)
	v.op("VMULPS", 0, 0, 1)
	v.load(float32(c), 2)
	v.load(float32(c*0.044715), 3)
	v.op("VFMADD213PS", 2, 3, 1)
	v.op("VMULPS", 0, 1, 1)
	v.sigmoid()
	v.clampLow(-10, 0, 0)
	v.op("VMULPS", 1, 0, 0)
}

// gelu is x*(1/2 + x*P(x^2)/Q(x^2)), with x of the quotient and the negative side
// of the factor held to +-GeluEnd.
func (v *vec) gelu() {
	const end = asmgen.GeluEnd
	v.clampLow(-end, 0, 0)
	v.clampHigh(end, 0, 4)
	v.op("VMULPS", 4, 4, 5)
	v.horner(1, 5, asmgen.GeluQ)
	v.horner(6, 5, asmgen.GeluP)
	v.recip()
	v.op("VMULPS", 4, 6, 6)
	v.load(0.5, 5)
	v.op("VFMADD213PS", 5, 6, 1)
	v.op("VMULPS", 1, 0, 0)
}

// tanh is odd: a polynomial below 0.6, above it 1 - 2/(e^2a+1).
func (v *vec) tanh() {
	v.load(float32(math.Copysign(0, -1)), 4)
	and, andn, or := "VANDPS", "VANDNPS", "VORPS"
	v.op(and, 0, 4, 9)  // sign
	v.op(andn, 0, 4, 5) // magnitude
	v.op("VMULPS", 5, 5, 7)
	v.horner(6, 7, tanhP)
	v.op("VMULPS", 7, 6, 6)
	v.op("VFMADD213PS", 5, 5, 6)
	v.clampHigh(10, 5, 1)
	v.op("VADDPS", 1, 1, 1)
	v.exp()
	v.opc("VADDPS", 1, 1, 1)
	v.recip()
	v.load(1, 7)
	v.opc("VFNMADD132PS", 2, 7, 1)
	v.load(0.6, 7)
	if v.wide {
		v.fn.I("VCMPPS $1, Z7, Z5, K2")
		v.fn.I("VMOVAPS Z6, K2, Z1")
	} else {
		v.fn.I("VCMPPS $1, Y7, Y5, Y7")
		v.fn.I("VBLENDVPS Y7, Y6, Y1, Y1")
	}
	v.op(or, 9, 1, 0)
}
