package main

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/runtime/cpu/asmgen"
)

// epilogue is what a tile kernel does to a sum before it is stored: an activation (""
// bounds it below), and rounding to bf16 as an operand of the next product.
type epilogue struct {
	act   string
	half  bool
	gated bool // results are multiplied by a gate per row
	piped bool // of windows: goes from block to block of rows
	res   bool // a residual is added first
}

func (e epilogue) suffix() string {
	s := e.act
	if e.half {
		s += "H"
	}
	if e.gated {
		s += "G"
	}
	if e.piped {
		s += "W"
	}
	if e.res {
		s += "R"
	}
	return s
}

// plain reports whether sums leave as they are, or bounded below.
func (k *tileKernel) plain() bool { return k.act == "" && !k.half && !k.int8 && !k.piped }

// geluShort is x*(1/2 + t*P(t^2)) with t and the negative side of x held to +-3.56, where
// t*P is +-1/2. Its error is at most 2e-4*max(1, |x|) (a minimax fit by linear
// programming, evaluated at 4e6 points of -12..12), a tenth of what rounding to bf16 adds,
// in 10 operations instead of 24: beside the tile unit, which takes one of the two vector
// ports, these bind.
var geluShort = []float32{0.3977054953575134, -0.06404230743646622, 0.008392107672989368, -0.0007046982063911855, 3.3172222174471244e-05, -6.570966206709272e-07}

const geluShortEnd = 3.56

// held names the constants that a kernel keeps in registers, from Z16 on.
func (k *tileKernel) held() []float32 {
	switch k.act {
	case "gelu":
		if k.half {
			return append([]float32{-geluShortEnd, geluShortEnd, 0.5}, geluShort...)
		}
		return append(append([]float32{-asmgen.GeluEnd, asmgen.GeluEnd, 0.5}, asmgen.GeluQ...), asmgen.GeluP...)
	case "relu6":
		return []float32{6}
	case "hardswish":
		return []float32{1. / 6, 0.5, 1}
	case "silu":
		return append([]float32{87, -87, math.Log2E, asmgen.Ln2Hi, asmgen.Ln2Lo}, asmgen.ExpP[1:]...)
	}
	return nil
}

// constants loads what the epilogue keeps in registers: the lower bound in Z15, and the
// constants of the activation.
func (k *tileKernel) constants(f *asmgen.File, fn *asmgen.Func) {
	fn.I("VBROADCASTSS amxTile_lo(DI), Z15")
	for i, c := range k.held() {
		fn.I("VBROADCASTSS %s, Z%d", f.Bcast(c), 16+i)
	}
}

// reg is the register of a held constant.
func (k *tileKernel) reg(c float32) int {
	for i, h := range k.held() {
		if h == c {
			return 16 + i
		}
	}
	panic(fmt.Sprintf("%s holds no %v", k.name(), c))
}

// activate applies the activation to Z0, with Z1 to Z6 as temporaries: in the operations
// and the order of package act, but for a Gelu that is rounded to bf16 at once.
func (k *tileKernel) activate(fn *asmgen.Func) {
	op := func(name string, regs ...int) {
		s := name
		for i, r := range regs {
			if i > 0 {
				s += ","
			}
			s += fmt.Sprintf(" Z%d", r)
		}
		fn.I("%s", s)
	}
	// horner sets dst to the polynomial in x.
	horner := func(dst, x int, c []float32) {
		op("VMOVAPS", k.reg(c[len(c)-1]), dst)
		for i := len(c) - 2; i >= 0; i-- {
			op("VFMADD213PS", k.reg(c[i]), x, dst)
		}
	}
	// recip sets Z1 to 1/Z1: 14 bits and a Newton step.
	recip := func() {
		op("VRCP14PS", 1, 2)
		op("VMOVAPS", k.reg(1), 3)
		op("VFNMADD231PS", 2, 1, 3)
		op("VFMADD213PS", 2, 2, 3)
	}
	switch {
	case k.act == "gelu" && k.half:
		op("VMAXPS", 0, k.reg(-geluShortEnd), 0)
		op("VMINPS", 0, k.reg(geluShortEnd), 4)
		op("VMULPS", 4, 4, 5)
		horner(6, 5, geluShort)
		op("VFMADD213PS", k.reg(0.5), 4, 6)
		op("VMULPS", 6, 0, 0)
	case k.act == "gelu":
		op("VMAXPS", 0, k.reg(-asmgen.GeluEnd), 0)
		op("VMINPS", 0, k.reg(asmgen.GeluEnd), 4)
		op("VMULPS", 4, 4, 5)
		horner(1, 5, asmgen.GeluQ)
		horner(6, 5, asmgen.GeluP)
		recip()
		op("VMULPS", 4, 6, 6)
		op("VFMADD213PS", k.reg(0.5), 6, 3)
		op("VMULPS", 3, 0, 0)
	case k.act == "silu":
		op("VMINPS", 0, k.reg(87), 1)
		op("VMAXPS", 1, k.reg(-87), 1)
		op("VPXORD", 2, 2, 2)
		op("VSUBPS", 1, 2, 1)
		op("VMULPS", k.reg(math.Log2E), 1, 2)
		fn.I("VRNDSCALEPS $0, Z2, Z2")
		op("VFNMADD231PS", k.reg(asmgen.Ln2Hi), 2, 1)
		op("VFNMADD231PS", k.reg(asmgen.Ln2Lo), 2, 1)
		horner(3, 1, asmgen.ExpP)
		op("VSCALEFPS", 2, 3, 1)
		op("VADDPS", k.reg(1), 1, 1)
		recip()
		op("VMAXPS", 0, k.reg(-87), 0)
		op("VMULPS", 3, 0, 0)
	case k.act == "hardswish":
		op("VMOVAPS", k.reg(0.5), 1)
		op("VFMADD231PS", k.reg(1./6), 0, 1)
		op("VXORPS", 2, 2, 2)
		op("VMAXPS", 2, 1, 1)
		op("VMINPS", k.reg(1), 1, 1)
		op("VMULPS", 1, 0, 0)
	default:
		op("VMAXPS", 0, 15, 0) // a NaN stays one
		if k.act == "relu6" {
			op("VMINPS", 0, k.reg(6), 0)
		}
	}
}

// dequantise turns the integers in Z0 into floats with the operations of finishInt8:
// zero point times the column's sum, scale of the column, then scale of the row and C or
// the bias, at R15, in one.
func (k *tileKernel) dequantise(c int, z, load string) {
	fn := k.fn
	at := fmt.Sprintf("%d(R14)(%s*1)", 64*c, amxPrev)
	fn.I("MOVQ amxTile_corr(DI), R14")
	fn.I("VMOVUPS%s %s%s, Z1", z, at, load)
	fn.I("VPDPWSSD.BCST amxTile_za(DI)(%s*4), Z1, Z0", amxRow)
	fn.I("VCVTDQ2PS Z0, Z0")
	fn.I("MOVQ amxTile_scale(DI), R14")
	fn.I("VMOVUPS%s %s%s, Z1", z, at, load)
	fn.I("VMULPS Z1, Z0, Z0")
	fn.I("VMOVUPS%s %d(R15)(%s*1)%s, Z1", z, 64*c, amxPrev, load)
	fn.I("VBROADCASTSS amxTile_sa(DI)(%s*4), Z2", amxRow)
	fn.I("VFMADD213PS Z1, Z2, Z0")
}
