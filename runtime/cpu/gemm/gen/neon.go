package main

import (
	"bytes"
	"fmt"

	"github.com/seed-c851cfd2/moec/runtime/cpu/asmgen"
)

// neonKind is a precision on arm64. Kernels multiply mr rows of A by 16 columns of B:
// half a panel. The sums of row i are in V(4i) to V(4i+3); a register of A holds four
// steps of a row, of which instructions take one as an element; B comes two registers
// at a time, renamed by the CPU as often as it needs.
type neonKind struct {
	name  string
	rows  int // at most
	a     int // first register of A, rows of them
	b     int // first register of B, two of them (four for int8 without SDOT)
	steps func(k *neonKernel, lane, n int)
	wide  bool // A is f32 and B bf16: two elements of A to a step of B
	int8  bool
}

var neonKinds = []neonKind{
	{name: "f32V", rows: 6, a: 24, b: 30, steps: (*neonKernel).stepsF32},
	{name: "wideV", rows: 6, a: 24, b: 30, steps: (*neonKernel).stepsWide, wide: true},
	{name: "i8V", rows: 4, a: 16, b: 20, steps: (*neonKernel).stepsI8, int8: true},
	{name: "i8D", rows: 6, a: 24, b: 30, steps: (*neonKernel).stepsDot, int8: true},
}

// General registers; R4 to R9 are the rows of A, R10 to R15 those of C.
const (
	neonTile  = "R0"
	neonOff   = "R1" // bytes into rows of C
	neonB     = "R2"
	neonTemp  = "R3"
	neonK     = "R16" // elements or words of A left
	neonBK    = "R17" // bytes of B from step to step
	neonBias  = "R19"
	neonScale = "R20"
	neonCorr  = "R21"
)

// neonKernel is one kernel under construction.
type neonKernel struct {
	neonKind
	*asmgen.Func
	mr int
}

func (k *neonKernel) ra(i int) string  { return fmt.Sprintf("R%d", 4+i) }
func (k *neonKernel) rc(i int) string  { return fmt.Sprintf("R%d", 10+i) }
func (k *neonKernel) va(i int) int     { return k.a + i }
func (k *neonKernel) acc(i, v int) int { return 4*i + v }

// neonKernels emits the kernels of every kind and number of rows.
func neonKernels(f *asmgen.File) {
	for _, kd := range neonKinds {
		for mr := 1; mr <= kd.rows; mr++ {
			name := fmt.Sprintf("%s%d", kd.name, mr)
			k := &neonKernel{kd, f.Func(name, 8, name+" multiplies rows by half a panel (16 columns)."), mr}
			k.emit()
		}
	}
}

func (k *neonKernel) emit() {
	k.I("MOVD t+0(FP), %s", neonTile)
	k.pointers()
	if k.int8 {
		k.startI8()
	} else {
		k.startFloat()
	}
	k.I("MOVD tile_b(%s), %s", neonTile, neonB)
	k.I("MOVD tile_boff(%s), %s", neonTile, neonTemp)
	k.I("ADD %s, %s", neonTemp, neonB)
	k.I("MOVD tile_bk(%s), %s", neonTile, neonBK)
	k.I("MOVD tile_k(%s), %s", neonTile, neonK)
	k.walk()
	if k.int8 {
		k.finishI8()
	}
	// lo is minus infinity or, for Relu, zero; a NaN in C stays one.
	k.spread("lo", 0, k.b)
	for i := range k.mr {
		for v := range 4 {
			k.I("%s", asmgen.FMAX.RRR(k.acc(i, v), k.acc(i, v), k.b))
		}
		for v := 0; v < 4; v += 2 {
			k.I("FSTPQ (F%d, F%d), %d(%s)", k.acc(i, v), k.acc(i, v+1), 16*v, k.rc(i))
		}
	}
	k.I("RET")
}

// pointers loads the addresses of what columns have: where only some of the sixteen are
// in the matrix, all is in the edge of the tile.
func (k *neonKernel) pointers() {
	k.I("MOVD tile_off(%s), %s", neonTile, neonOff)
	for i := range k.mr {
		k.I("MOVD tile_a+%d(%s), %s", 8*i, neonTile, k.ra(i))
		k.I("MOVD tile_c+%d(%s), %s", 8*i, neonTile, k.rc(i))
		k.I("ADD %s, %s", neonOff, k.rc(i))
	}
	columns := []struct{ field, reg string }{{"bias", neonBias}}
	if k.int8 {
		columns = append(columns, struct{ field, reg string }{"scale", neonScale}, struct{ field, reg string }{"corr", neonCorr})
	}
	for _, c := range columns {
		k.I("MOVD tile_%s(%s), %s", c.field, neonTile, c.reg)
	}
	whole, none := k.Label("whole"), k.Label("none")
	// No bias stays nil.
	k.I("CBZ %s, %s", neonBias, none)
	k.I("ADD %s, %s", neonOff, neonBias)
	k.Mark(none)
	for _, c := range columns[1:] {
		k.I("ADD %s, %s", neonOff, c.reg)
	}
	k.I("MOVWU tile_mask(%s), %s", neonTile, neonTemp)
	k.I("MOVD $0xffff, %s", neonK)
	k.I("CMP %s, %s", neonK, neonTemp)
	k.I("BEQ %s", whole)
	for i := range k.mr {
		k.I("ADD $(tile_edge+edge_c+%d), %s, %s", 64*i, neonTile, k.rc(i))
	}
	k.I("CMP $0, %s", neonBias)
	k.I("ADD $(tile_edge+edge_bias), %s, %s", neonTile, neonTemp)
	k.I("CSEL EQ, %s, %s, %s", neonBias, neonTemp, neonBias)
	for _, c := range columns[1:] {
		k.I("ADD $(tile_edge+edge_%s), %s, %s", c.field, neonTile, c.reg)
	}
	k.Mark(whole)
}

// load reads sixteen columns at ptr to four registers.
func (k *neonKernel) load(ptr string, reg int) {
	k.I("FLDPQ (%s), (F%d, F%d)", ptr, reg, reg+1)
	k.I("FLDPQ 32(%s), (F%d, F%d)", ptr, reg+2, reg+3)
}

// spread puts word i of a field of the tile into all lanes.
func (k *neonKernel) spread(field string, i, reg int) {
	k.I("ADD $(tile_%s+%d), %s, %s", field, 4*i, neonTile, neonTemp)
	k.I("VLD1R (%s), [V%d.S4]", neonTemp, reg)
}

func (k *neonKernel) move(from, to int) { k.I("VMOV V%d.B16, V%d.B16", from, to) }

// either emits code for the three starts of a sum: from C, the bias, or zero.
func (k *neonKernel) either(fromC, fromBias, fromZero func()) {
	noC, noBias, begin := k.Label("noc"), k.Label("nobias"), k.Label("begin")
	k.I("MOVWU tile_flags(%s), %s", neonTile, neonTemp)
	k.I("TBZ $0, %s, %s", neonTemp, noC)
	fromC()
	k.I("B %s", begin)
	k.Mark(noC)
	k.I("CBZ %s, %s", neonBias, noBias)
	fromBias()
	k.I("B %s", begin)
	k.Mark(noBias)
	fromZero()
	k.Mark(begin)
}

func (k *neonKernel) startFloat() {
	k.either(func() {
		for i := range k.mr {
			k.load(k.rc(i), k.acc(i, 0))
		}
	}, func() {
		k.load(neonBias, 0)
		for i := 1; i < k.mr; i++ {
			for v := range 4 {
				k.move(v, k.acc(i, v))
			}
		}
	}, func() {
		for r := range 4 * k.mr {
			k.I("VEOR V%d.B16, V%d.B16, V%d.B16", r, r, r)
		}
	})
}

// walk goes through A, four of its elements (words for int8) at a time.
func (k *neonKernel) walk() {
	loop, tail, done := k.Label("loop"), k.Label("tail"), k.Label("done")
	k.I("SUBS $4, %s", neonK)
	k.I("BLT %s", tail)
	k.Mark(loop)
	k.loadA("VLD1.P 16(%s), [V%d.B16]")
	k.steps(k, 0, 4)
	k.I("SUBS $4, %s", neonK)
	k.I("BGE %s", loop)
	k.Mark(tail)
	k.I("ADDS $4, %s", neonK)
	k.I("BEQ %s", done)
	one := k.Label("one")
	if k.wide {
		k.I("SUBS $2, %s", neonK)
		k.I("BLT %s", one)
		k.loadA("FMOVD.P 8(%s), F%d")
		k.steps(k, 0, 2)
		k.I("CBZ %s, %s", neonK, done)
	}
	k.Mark(one)
	k.loadA("FMOVS.P 4(%s), F%d")
	k.steps(k, 0, 1)
	if !k.wide {
		k.I("SUBS $1, %s", neonK)
		k.I("BNE %s", one)
	}
	k.Mark(done)
}

// loadA reads some elements of each row; unsigned bytes q become signed ones, q-128.
func (k *neonKernel) loadA(load string) {
	sign := k.b + 1
	if k.int8 {
		k.I("%s", asmgen.MOVI128.R(sign))
	}
	for i := range k.mr {
		k.I(load, k.ra(i), k.va(i))
		if k.int8 {
			k.I("VEOR V%d.B16, V%d.B16, V%d.B16", sign, k.va(i), k.va(i))
		}
	}
}

// byElement emits n steps of an instruction that multiplies by an element of A.
func (k *neonKernel) byElement(op asmgen.NEON, lane, n int) {
	for u := lane; u < lane+n; u++ {
		for v := 0; v < 4; v += 2 {
			k.I("FLDPQ %d(%s), (F%d, F%d)", 16*v, neonB, k.b, k.b+1)
			for e := range 2 {
				for i := range k.mr {
					k.I("%s", op.Elem(k.acc(i, v+e), k.b+e, k.va(i), u))
				}
			}
		}
		k.I("ADD %s, %s", neonBK, neonB)
	}
}

func (k *neonKernel) stepsF32(lane, n int) { k.byElement(asmgen.FMLAE, lane, n) }

func (k *neonKernel) stepsDot(lane, n int) { k.byElement(asmgen.SDOT, lane, n) }

// stepsWide multiplies n elements; the even ones of B are the low halves of its words,
// the odd ones the high halves. No register is left for a mask.
func (k *neonKernel) stepsWide(lane, n int) {
	raw, even := k.b, k.b+1
	fmas := func(v, b, u int) {
		for i := range k.mr {
			k.I("%s", asmgen.FMLAE.Elem(k.acc(i, v), b, k.va(i), u))
		}
	}
	for u := lane; u < lane+n; u += 2 {
		for v := range 4 {
			k.I("FMOVQ %d(%s), F%d", 16*v, neonB, raw)
			k.I("VSHL $16, V%d.S4, V%d.S4", raw, even)
			fmas(v, even, u)
			if u+1 < lane+n {
				k.I("%s", asmgen.BICLow.R(raw))
				k.I("%s", asmgen.BICNext.R(raw))
				fmas(v, raw, u+1)
			}
		}
		k.I("ADD %s, %s", neonBK, neonB)
	}
}

// stepsI8 multiplies bytes to halves: |q-128| <= 128 and |b| <= 127, so that the sum of
// two products fits 16 bits.
func (k *neonKernel) stepsI8(lane, n int) {
	word, low, high := k.b+4, k.b+5, k.b+7
	for u := lane; u < lane+n; u++ {
		k.load(neonB, k.b)
		k.I("ADD %s, %s", neonBK, neonB)
		for i := range k.mr {
			k.I("VDUP V%d.S[%d], V%d.S4", k.va(i), u, word)
			for v := range 4 {
				l, h := low+v%2, high+v%2
				k.I("%s", asmgen.SMULL.RRR(l, word, k.b+v))
				k.I("%s", asmgen.SMULL2.RRR(h, word, k.b+v))
				k.I("%s", asmgen.ADDP.RRR(l, l, h))
				k.I("%s", asmgen.SADALP.RR(k.acc(i, v), l))
			}
		}
	}
}

// startI8 starts the sums of (q-128)*b from (128-zp) times the sum of the column, which
// is two digits of a word, lo + 128*hi.
func (k *neonKernel) startI8() {
	for i := range k.mr {
		k.I("MOVH tile_za+%d(%s), %s", 4*i, neonTile, neonTemp)
		k.I("ADD $128, %s", neonTemp)
		k.I("VDUP %s, V%d.S4", neonTemp, k.va(i))
	}
	x, y := k.b, k.b+1
	for v := range 4 {
		k.I("FMOVQ %d(%s), F%d", 16*v, neonCorr, x)
		k.I("VSHL $16, V%d.S4, V%d.S4", x, y)
		k.I("%s", asmgen.SSHR16.RR(y, y))
		k.I("%s", asmgen.SSHR16.RR(x, x))
		k.I("VSHL $7, V%d.S4, V%d.S4", x, x)
		k.I("VADD V%d.S4, V%d.S4, V%d.S4", x, y, x)
		for i := range k.mr {
			k.I("%s", asmgen.MUL.RRR(k.acc(i, v), x, k.va(i)))
		}
	}
}

// finishI8 scales the sums, by column and then by row, onto C, the bias or zero.
func (k *neonKernel) finishI8() {
	x, y := k.b, k.b+1
	for i := range k.mr {
		k.spread("sa", i, k.va(i))
	}
	for v := range 4 {
		k.I("FMOVQ %d(%s), F%d", 16*v, neonScale, x)
		for i := range k.mr {
			k.I("%s", asmgen.SCVTF.RR(k.acc(i, v), k.acc(i, v)))
			k.I("%s", asmgen.FMUL.RRR(k.acc(i, v), k.acc(i, v), x))
		}
	}
	onto := func(from func(i int) string) {
		for v := range 4 {
			for i := range k.mr {
				k.I("FMOVQ %d(%s), F%d", 16*v, from(i), y)
				k.I("%s", asmgen.FMLA.RRR(y, k.acc(i, v), k.va(i)))
				k.move(y, k.acc(i, v))
			}
		}
	}
	k.either(func() { onto(k.rc) }, func() { onto(func(int) string { return neonBias }) }, func() {
		for v := range 4 {
			for i := range k.mr {
				k.I("%s", asmgen.FMUL.RRR(k.acc(i, v), k.acc(i, v), k.va(i)))
			}
		}
	})
}

// neonDispatch is the Go file that declares the kernels and picks one.
func neonDispatch() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "// Code generated by %q. DO NOT EDIT.\n\npackage gemm\n", generator)
	for _, kd := range neonKinds {
		fmt.Fprintf(&b, "\n// %s dispatches to the kernel of a number of rows.\nfunc %s(t *tile, rows int) {\n\tswitch rows {\n", kd.name, kd.name)
		for mr := 1; mr <= kd.rows; mr++ {
			if mr < kd.rows {
				fmt.Fprintf(&b, "\tcase %d:\n", mr)
			} else {
				b.WriteString("\tdefault:\n")
			}
			fmt.Fprintf(&b, "\t\t%s%d(t)\n", kd.name, mr)
		}
		b.WriteString("\t}\n}\n")
		for mr := 1; mr <= kd.rows; mr++ {
			fmt.Fprintf(&b, "\n//go:noescape\nfunc %s%d(t *tile)\n", kd.name, mr)
		}
	}
	return b.Bytes()
}
