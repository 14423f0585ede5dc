package emu_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/cuda/emu"
	"github.com/seed-c851cfd2/moec/cuda/emu/internal/fp"
)

// warpRun gives a warp's lanes n 64-bit inputs each, runs the body over
// registers %i0.. and returns the 64-bit outputs %o0.. of every lane.
func warpRun(t *testing.T, bits int, in [32][]uint64, outs int, body string) [32][]uint64 {
	t.Helper()
	n := len(in[0])
	var b strings.Builder
	fmt.Fprintf(&b, ".version 7.8\n.target sm_90\n.address_size 64\n.visible .entry k(.param .u64 out, .param .u64 in)\n{\n")
	fmt.Fprintf(&b, ".reg .b%d %%i<%d>, %%o<%d>; .reg .b64 %%a, %%b, %%t; .reg .b32 %%lane, %%s, %%r<8>; .reg .pred %%p<4>; .shared .align 16 .b8 buf[1024];\n", bits, n+1, outs+1)
	fmt.Fprintf(&b, "ld.param.u64 %%a, [in]; ld.param.u64 %%b, [out]; mov.u32 %%lane, %%laneid; mov.u32 %%s, buf;\nmul.wide.u32 %%t, %%lane, %d; add.u64 %%a, %%a, %%t; mul.wide.u32 %%t, %%lane, %d; add.u64 %%b, %%b, %%t;\n", 8*n, 8*outs)
	for i := range n {
		fmt.Fprintf(&b, "ld.global.b%d %%i%d, [%%a+%d];\n", bits, i, 8*i)
	}
	b.WriteString(body)
	for i := range outs {
		fmt.Fprintf(&b, "\nst.global.b%d [%%b+%d], %%o%d;", bits, 8*i, i)
	}
	b.WriteString("\nret;\n}\n")
	mod, err := emu.Parse(b.String())
	if err != nil {
		t.Fatal(err)
	}
	dev := emu.NewDevice(emu.Options{Checks: emu.AllChecks})
	var raw []byte
	for _, lane := range in {
		for _, v := range lane {
			raw = binary.LittleEndian.AppendUint64(raw, v)
		}
	}
	pi, _ := dev.Alloc(len(raw) + 8)
	po, _ := dev.Alloc(32 * 8 * outs)
	if err := dev.CopyIn(pi, raw); err != nil {
		t.Fatal(err)
	}
	if err := dev.Memset(po, []byte{0}, 32*8*outs); err != nil {
		t.Fatal(err)
	}
	if _, err := dev.Launch(t.Context(), mod, "k", emu.Launch{Block: [3]int{32}, Args: []any{po, pi}}); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 32*8*outs)
	if err := dev.CopyOut(got, po); err != nil {
		t.Fatal(err)
	}
	var res [32][]uint64
	for l := range res {
		for i := range outs {
			res[l] = append(res[l], binary.LittleEndian.Uint64(got[8*(l*outs+i):]))
		}
	}
	return res
}

// TestMma multiplies small integers, exact in every type, whose fragments are
// placed by the formulas of the PTX manual written out here again.
func TestMma(t *testing.T) {
	type pos func(g, t, i int) (int, int) // row and column of element i
	rowPair := func(g, t, i int) (int, int) { return g + 8*(i/2), 2*t + i%2 }
	for _, c := range []struct {
		op          string
		m, n, k     int
		a, b, c     pos
		na, nb, nc  int // elements per lane
		per, accPer int // elements per register
		enc         func(x int) uint64
		acc         func(x int) uint64
		bits        int
	}{
		{"m16n8k8.row.col.f32.f16.f16.f32", 16, 8, 8, rowPair, func(g, t, i int) (int, int) { return 2*t + i, g }, rowPair, 4, 2, 4, 2, 1, f16Bits, f32Bits, 32},
		{"m16n8k8.row.col.f16.f16.f16.f16", 16, 8, 8, rowPair, func(g, t, i int) (int, int) { return 2*t + i, g }, rowPair, 4, 2, 4, 2, 2, f16Bits, f16Bits, 32},
		{"m16n8k8.row.col.f32.bf16.bf16.f32", 16, 8, 8, rowPair, func(g, t, i int) (int, int) { return 2*t + i, g }, rowPair, 4, 2, 4, 2, 1, bf16Bits, f32Bits, 32},
		{
			"m16n8k16.row.col.f16.f16.f16.f16", 16, 8, 16, func(g, t, i int) (int, int) { return g + 8*(i/2%2), 2*t + i%2 + 8*(i/4) },
			func(g, t, i int) (int, int) { return 2*t + i%2 + 8*(i/2), g }, rowPair, 8, 4, 4, 2, 2, f16Bits, f16Bits, 32,
		},
		{"m16n8k4.row.col.f32.tf32.tf32.f32", 16, 8, 4, func(g, t, i int) (int, int) { return g + 8*i, t }, func(g, t, _ int) (int, int) { return t, g }, rowPair, 2, 1, 4, 1, 1, f32Bits, f32Bits, 32},
		{"m16n8k8.row.col.f32.tf32.tf32.f32", 16, 8, 8, func(g, t, i int) (int, int) { return g + 8*(i%2), t + 4*(i/2) }, func(g, t, i int) (int, int) { return t + 4*i, g }, rowPair, 4, 2, 4, 1, 1, f32Bits, f32Bits, 32},
		{"m16n8k16.row.col.s32.s8.s8.s32", 16, 8, 16, func(g, t, i int) (int, int) { return g + 8*(i/4), 4*t + i%4 }, func(g, t, i int) (int, int) { return 4*t + i, g }, rowPair, 8, 4, 4, 4, 1, s8Bits, s32Bits, 32},
		{
			"m16n8k32.row.col.s32.s8.s8.s32", 16, 8, 32, func(g, t, i int) (int, int) { return g + 8*(i/4%2), 4*t + i%4 + 16*(i/8) },
			func(g, t, i int) (int, int) { return 4*t + i%4 + 16*(i/4), g }, rowPair, 16, 8, 4, 4, 1, s8Bits, s32Bits, 32,
		},
		{"m8n8k16.row.col.s32.s8.s8.s32", 8, 8, 16, func(g, t, i int) (int, int) { return g, 4*t + i }, func(g, t, i int) (int, int) { return 4*t + i, g }, func(g, t, i int) (int, int) { return g, 2*t + i }, 4, 4, 2, 4, 1, s8Bits, s32Bits, 32},
		{"m8n8k32.row.col.s32.s4.s4.s32", 8, 8, 32, func(g, t, i int) (int, int) { return g, 8*t + i }, func(g, t, i int) (int, int) { return 8*t + i, g }, func(g, t, i int) (int, int) { return g, 2*t + i }, 8, 8, 2, 8, 1, s4Bits, s32Bits, 32},
		{
			"m16n8k64.row.col.s32.s4.s4.s32", 16, 8, 64, func(g, t, i int) (int, int) { return g + 8*(i/8%2), 8*t + i%8 + 32*(i/16) },
			func(g, t, i int) (int, int) { return 8*t + i%8 + 32*(i/8), g }, rowPair, 32, 16, 4, 8, 1, s4Bits, s32Bits, 32,
		},
		{
			"m16n8k32.row.col.f32.e4m3.e4m3.f32", 16, 8, 32, func(g, t, i int) (int, int) { return g + 8*(i/4%2), 4*t + i%4 + 16*(i/8) },
			func(g, t, i int) (int, int) { return 4*t + i%4 + 16*(i/4), g }, rowPair, 16, 8, 4, 4, 1, e4m3Bits, f32Bits, 32,
		},
		{
			"m16n8k32.row.col.f32.e5m2.e4m3.f32", 16, 8, 32, func(g, t, i int) (int, int) { return g + 8*(i/4%2), 4*t + i%4 + 16*(i/8) },
			func(g, t, i int) (int, int) { return 4*t + i%4 + 16*(i/4), g }, rowPair, 16, 8, 4, 4, 1, nil, f32Bits, 32,
		},
		{"m16n8k8.row.col.f64.f64.f64.f64", 16, 8, 8, func(g, t, i int) (int, int) { return g + 8*(i%2), t + 4*(i/2) }, func(g, t, i int) (int, int) { return t + 4*i, g }, rowPair, 4, 2, 4, 1, 1, f64Bits, f64Bits, 64},
		{"m8n8k4.row.col.f64.f64.f64.f64", 8, 8, 4, func(g, t, _ int) (int, int) { return g, t }, func(g, t, _ int) (int, int) { return t, g }, func(g, t, i int) (int, int) { return g, 2*t + i }, 1, 1, 2, 1, 1, f64Bits, f64Bits, 64},
	} {
		t.Run(c.op, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, 2))
			fill := func(r, k int) [][]int {
				m := make([][]int, r)
				for i := range m {
					for range k {
						m[i] = append(m[i], rng.IntN(15)-7)
					}
				}
				return m
			}
			A, B, C := fill(c.m, c.k), fill(c.k, c.n), fill(c.m, c.n)
			var in [32][]uint64
			packed := func(m [][]int, at pos, lane, n, per int, enc func(int) uint64) (out []uint64) {
				for i := range n {
					r, k := at(lane/4, lane%4, i)
					v := enc(m[r][k])
					if i%per == 0 {
						out = append(out, v)
					} else {
						out[len(out)-1] |= v << (c.bits / per * (i % per))
					}
				}
				return out
			}
			names := func(prefix string, first, n int) string {
				var s []string
				for i := range n {
					s = append(s, fmt.Sprintf("%%%s%d", prefix, first+i))
				}
				return "{" + strings.Join(s, ", ") + "}"
			}
			encA, encB := c.enc, c.enc
			if c.enc == nil { // e5m2 times e4m3: A's numbers must fit two bits of mantissa
				encA, encB = e5m2Bits, e4m3Bits
				for i := range A {
					for k := range A[i] {
						A[i][k] &^= 1
						if v := A[i][k]; v == 5 || v == -5 {
							A[i][k]++
						}
					}
				}
			}
			for l := range in {
				in[l] = append(in[l], packed(A, c.a, l, c.na, c.per, encA)...)
				in[l] = append(in[l], packed(B, c.b, l, c.nb, c.per, encB)...)
				in[l] = append(in[l], packed(C, c.c, l, c.nc, c.accPer, c.acc)...)
			}
			ra, rb, rc := c.na/c.per, c.nb/c.per, c.nc/c.accPer
			out := warpRun(t, c.bits, in, rc, fmt.Sprintf("mma.sync.aligned.%s %s, %s, %s, %s;", c.op, names("o", 0, rc), names("i", 0, ra), names("i", ra, rb), names("i", ra+rb, rc)))
			for i := range C {
				for j := range C[i] {
					for k := range c.k {
						C[i][j] += A[i][k] * B[k][j]
					}
				}
			}
			for l := range out {
				for i, v := range packed(C, c.c, l, c.nc, c.accPer, c.acc) {
					if out[l][i] != v {
						t.Fatalf("lane %d register %d is %#x, expected %#x", l, i, out[l][i], v)
					}
				}
			}
		})
	}
}

func s4Bits(x int) uint64   { return uint64(x & 15) }
func e4m3Bits(x int) uint64 { return refEight(4, 3, float64(x)) }

// e5m2Bits keeps two bits behind the leading one.
func e5m2Bits(x int) uint64 { return refEight(5, 2, float64(x)) }

func f16Bits(x int) uint64  { return uint64(fp.ToF16(float32(x))) }
func bf16Bits(x int) uint64 { return uint64(fp.ToBF16(float32(x))) }
func f32Bits(x int) uint64  { return uint64(math.Float32bits(float32(x))) }
func f64Bits(x int) uint64  { return math.Float64bits(float64(x)) }
func s8Bits(x int) uint64   { return uint64(uint8(int8(x))) }
func s32Bits(x int) uint64  { return uint64(uint32(int32(x))) }

// TestBitMma counts the bits in which rows and columns differ, or agree in being set.
func TestBitMma(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var in [32][]uint64 // lane l holds bits 32(l%4).. of row and of column l/4
	for l := range in {
		in[l] = []uint64{uint64(rng.Uint32()), uint64(rng.Uint32()), uint64(l), uint64(1000 * l)}
	}
	for op, f := range map[string]func(a, b uint64) uint64{
		"xor": func(a, b uint64) uint64 { return a ^ b }, "and": func(a, b uint64) uint64 { return a & b },
	} {
		out := warpRun(t, 32, in, 2, "mma.sync.aligned.m8n8k128.row.col.s32.b1.b1.s32."+op+".popc {%o0, %o1}, {%i0}, {%i1}, {%i2, %i3};")
		for l := range out {
			for i := range 2 {
				want := in[l][2+i]
				for k := range 4 {
					want += uint64(bits.OnesCount32(uint32(f(in[l/4*4+k][0], in[4*(l%4*2+i)+k][1]))))
				}
				if out[l][i] != want {
					t.Fatalf("%s: lane %d register %d is %d, expected %d", op, l, i, out[l][i], want)
				}
			}
		}
	}
}

// TestMatrixMoves transposes 8x8 matrices by movmatrix and through stmatrix
// and ldmatrix.
func TestMatrixMoves(t *testing.T) {
	var in [32][]uint64 // element (r, c) is 8r+c
	for l := range in {
		e := uint64(2 * l)
		in[l] = []uint64{e | (e+1)<<16, (e + 100) | (e+101)<<16}
	}
	addr := "and.b32 %r0, %lane, 15; shl.b32 %r0, %r0, 4; add.u32 %r0, %r0, %s;\n"
	for name, c := range map[string]struct {
		body  string
		trans bool
	}{
		"movmatrix":     {"movmatrix.sync.aligned.m8n8.trans.b16 %o0, %i0; movmatrix.sync.aligned.m8n8.trans.b16 %o1, %i1;", true},
		"st and ld":     {addr + "stmatrix.sync.aligned.m8n8.x2.shared.b16 [%r0], {%i0, %i1}; bar.warp.sync -1; ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%o0, %o1}, [%r0];", false},
		"st.trans, ld":  {addr + "stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%r0], {%i0, %i1}; bar.warp.sync -1; ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%o0, %o1}, [%r0];", true},
		"st, ld.trans":  {addr + "stmatrix.sync.aligned.m8n8.x2.shared.b16 [%r0], {%i0, %i1}; bar.warp.sync -1; ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%o0, %o1}, [%r0];", true},
		"plain st, ldm": {"shl.b32 %r1, %lane, 2; add.u32 %r1, %r1, %s; st.shared.b32 [%r1], %i0; st.shared.b32 [%r1+128], %i1; bar.warp.sync -1;\n" + addr + "ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%o0, %o1}, [%r0];", true},
	} {
		out := warpRun(t, 32, in, 2, c.body)
		for l := range out {
			for j := range 2 {
				r, k := l/4, 2*(l%4)
				lo, hi := 8*r+k, 8*r+k+1
				if c.trans {
					lo, hi = 8*k+r, 8*(k+1)+r
				}
				if want := uint64(lo+100*j) | uint64(hi+100*j)<<16; out[l][j] != want {
					t.Fatalf("%s: lane %d matrix %d holds %#x, expected %#x", name, l, j, out[l][j], want)
				}
			}
		}
	}
}

// TestWarpExchange checks shuffles, votes, matches and reductions lane by lane.
func TestWarpExchange(t *testing.T) {
	var in [32][]uint64
	v := func(l int) int { return l * l % 7 }
	sum := 0
	for l := range in {
		in[l] = []uint64{uint64(v(l))}
		sum += v(l)
	}
	for _, c := range []struct {
		body string
		want func(l int) int
	}{
		{"shfl.sync.up.b32 %o0, %i0, 3, 0, -1;", func(l int) int { return v(pick(l < 3, l, l-3)) }},
		{"shfl.sync.down.b32 %o0, %i0, 5, 31, -1;", func(l int) int { return v(pick(l+5 > 31, l, l+5)) }},
		{"shfl.sync.bfly.b32 %o0, %i0, 9, 31, -1;", func(l int) int { return v(l ^ 9) }},
		{"shfl.sync.idx.b32 %o0, %i0, 2, 0x181f, -1;", func(l int) int { return v(l&^7 | 2) }}, // groups of eight
		{"shfl.sync.down.b32 %o0|%p0, %i0, 1, 0x1c1f, -1; selp.b32 %o0, 1, 0, %p0;", func(l int) int { return pick(l%4 < 3, 1, 0) }},
		{"setp.gt.s32 %p0, %i0, 3; vote.sync.ballot.b32 %o0, %p0, -1;", func(int) int {
			m := 0
			for l := range 32 {
				m |= pick(v(l) > 3, 1, 0) << l
			}
			return m
		}},
		{"setp.ge.s32 %p0, %i0, 0; vote.sync.all.pred %p1, %p0, -1; selp.b32 %o0, 1, 0, %p1;", func(int) int { return 1 }},
		{"setp.gt.s32 %p0, %i0, 6; vote.sync.any.pred %p1, %p0, -1; selp.b32 %o0, 1, 0, %p1;", func(int) int { return 0 }},
		{"setp.gt.s32 %p0, %i0, 3; vote.sync.uni.pred %p1, !%p0, -1; selp.b32 %o0, 1, 0, %p1;", func(int) int { return 0 }},
		{"match.any.sync.b32 %o0, %i0, -1;", func(l int) int {
			m := 0
			for k := range 32 {
				m |= pick(v(k) == v(l), 1, 0) << k
			}
			return m
		}},
		{"setp.eq.s32 %p1, %i0, 4; lop3.or.b32 %r0|%p0, %i0, 1, 0, 0xc0, %p1; selp.b32 %o0, %r0, 7, %p0;", func(l int) int {
			return pick(v(l)&1 != 0 || v(l) == 4, v(l)&1, 7)
		}},
		{"redux.sync.add.s32 %o0, %i0, -1;", func(int) int { return sum }},
		{"redux.sync.max.u32 %o0, %i0, -1;", func(int) int { return 4 }},
		{"and.b32 %r0, %lane, 1; setp.ne.s32 %p0, %r0, 0; mov.b32 %o0, 0; @%p0 activemask.b32 %o0;", func(l int) int { return pick(l%2 == 1, ^0x55555555, 0) }},
	} {
		out := warpRun(t, 32, in, 1, c.body)
		for l := range out {
			if want := uint64(uint32(c.want(l))); out[l][0] != want {
				t.Errorf("%s lane %d: %#x, expected %#x", c.body, l, out[l][0], want)
				break
			}
		}
	}
}

func pick(c bool, a, b int) int {
	if c {
		return a
	}
	return b
}
