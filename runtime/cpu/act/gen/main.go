// Command gen writes the assembly of package act for AVX-512, AVX2 and NEON.
//
// Coefficients are least-squares fits on Chebyshev nodes made for this package:
// exp on |r| <= ln2/2 (3.6e-9 relative), tanh(x)/x on |x| <= 0.6 (2.8e-9), and
// Phi(x)-1/2 = x*P(x^2)/Q(x^2) on |x| <= 5.3 (4.1e-9 absolute).
package main

import (
	"fmt"
	"log"
	"math"

	"github.com/seed-c851cfd2/moec/runtime/cpu/asmgen"
)

func main() {
	const generator = "go generate ./runtime/cpu/act"
	f := asmgen.New("amd64", generator)
	for _, wide := range []bool{true, false} {
		v := &vec{f: f, wide: wide, tables: map[uint32]string{}}
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
		v.binary("add", "VADDPS")
		v.binary("mul", "VMULPS")
		v.axpy()
		if !wide {
			for _, c := range v.order {
				f.Table(v.tables[c], []uint32{c, c, c, c, c, c, c, c})
			}
		}
	}
	if err := f.WriteFile("act_amd64.s"); err != nil {
		log.Fatal(err)
	}
	if err := neonFile(generator).WriteFile("act_arm64.s"); err != nil {
		log.Fatal(err)
	}
}

// vec emits code for one vector width. Register 0 is x and becomes the result; 1
// to 9 are temporaries, 11 to 14 bounds and 15 the gate.
type vec struct {
	f      *asmgen.File
	fn     *asmgen.Func
	wide   bool
	tables map[uint32]string // AVX2: constants as vectors in memory, by their bits
	order  []uint32
}

// r names vector register i at this width.
func (v *vec) r(i int) string {
	if v.wide {
		return asmgen.Z(i)
	}
	return asmgen.Y(i)
}

// op emits an instruction on registers, in Go's order (destination last).
func (v *vec) op(name string, regs ...int) {
	s := name
	for i, x := range regs {
		if i > 0 {
			s += ","
		}
		s += " " + v.r(x)
	}
	v.fn.I("%s", s)
}

// opc is op with a constant as the first operand.
func (v *vec) opc(name string, c float32, regs ...int) {
	if v.wide {
		name += ".BCST"
	}
	s := name + " " + v.constant(c)
	for _, x := range regs {
		s += ", " + v.r(x)
	}
	v.fn.I("%s", s)
}

func (v *vec) constant(c float32) string {
	if v.wide {
		return v.f.Bcast(c)
	}
	b := math.Float32bits(c)
	name, ok := v.tables[b]
	if !ok {
		name = fmt.Sprintf("vec%d", len(v.tables))
		v.tables[b] = name
		v.order = append(v.order, b)
	}
	return name + "<>+0(SB)"
}

// load puts a constant in a register.
func (v *vec) load(c float32, reg int) {
	if v.wide {
		v.fn.I("VBROADCASTSS %s, %s", v.f.Bcast(c), v.r(reg))
	} else {
		v.fn.I("VMOVUPS %s, %s", v.constant(c), v.r(reg))
	}
}

// horner evaluates c[0] + c[1]*t + ... into acc.
func (v *vec) horner(acc, t int, c []float32) {
	v.load(c[len(c)-1], acc)
	for i := len(c) - 2; i >= 0; i-- {
		v.opc("VFMADD213PS", c[i], t, acc)
	}
}

// clampLow sets dst to the greater of x and c, NaN where x is.
func (v *vec) clampLow(c float32, x, dst int) {
	v.load(c, 14)
	v.op("VMAXPS", x, 14, dst)
}

// clampHigh sets dst to the lesser of x and c, NaN where x is.
func (v *vec) clampHigh(c float32, x, dst int) {
	v.load(c, 14)
	v.op("VMINPS", x, 14, dst)
}

// suffix is that of function names: Z or Y.
func (v *vec) suffix() string { return v.r(0)[:1] }

// apply emits the loop of a function of x, times the gate.
func (v *vec) apply(name string, body func()) {
	args := 20
	if !v.wide {
		args = 32
	}
	v.fn = v.f.Func(name+v.suffix(), args, "")
	v.loop(func(load func(int), store func(int)) {
		load(0)
		body()
		v.op("VMULPS", 15, 0, 0)
		store(0)
	}, func() {
		v.fn.I("VBROADCASTSS gate+16(FP), %s", v.r(15))
	}, "mask+24(FP)")
}

// binary emits x = x op y.
func (v *vec) binary(name, op string) {
	args := 24
	if !v.wide {
		args = 32
	}
	v.fn = v.f.Func(name+v.suffix(), args, "")
	v.loop(func(load func(int), store func(int)) {
		load(0)
		load(1)
		v.op(op, 1, 0, 0)
		store(0)
	}, func() {
		v.fn.I("MOVQ y+16(FP), DI")
	}, "mask+24(FP)")
}

// axpy emits x += a*y.
func (v *vec) axpy() {
	args := 28
	if !v.wide {
		args = 40
	}
	v.fn = v.f.Func("axpy"+v.suffix(), args, "")
	v.loop(func(load func(int), store func(int)) {
		load(0)
		load(1)
		v.op("VFMADD231PS", 1, 15, 0)
		store(0)
	}, func() {
		v.fn.I("MOVQ y+16(FP), DI")
		v.fn.I("VBROADCASTSS a+24(FP), %s", v.r(15))
	}, "mask+32(FP)")
}

// loop walks n floats at SI (and, for load(1), at DI).
func (v *vec) loop(body func(load, store func(int)), setup func(), mask string) {
	fn := v.fn
	lanes := 8
	if v.wide {
		lanes = 16
	}
	fn.I("MOVQ x+0(FP), SI")
	fn.I("MOVQ n+8(FP), CX")
	setup()
	ptr := []string{"(SI)", "(DI)"}
	fn.EachVector(lanes, func() {
		body(func(i int) { fn.I("VMOVUPS %s, %s", ptr[i], v.r(i)) },
			func(i int) { fn.I("VMOVUPS %s, %s", v.r(i), ptr[i]) })
		fn.I("ADDQ $%d, SI", 4*lanes)
		fn.I("ADDQ $%d, DI", 4*lanes)
	}, func() {
		if v.wide {
			fn.TailMask(1, "AX")
			body(func(i int) { fn.I("VMOVUPS.Z %s, K1, %s", ptr[i], v.r(i)) },
				func(i int) { fn.I("VMOVUPS %s, K1, %s", v.r(i), ptr[i]) })
		} else {
			fn.TailMaskY(10, mask, "DX")
			body(func(i int) { fn.I("VMASKMOVPS %s, Y10, %s", ptr[i], v.r(i)) },
				func(i int) { fn.I("VMASKMOVPS %s, Y10, %s", v.r(i), ptr[i]) })
		}
	})
	fn.I("VZEROUPPER")
	fn.I("RET")
}
