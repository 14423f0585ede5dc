package gemm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
)

// variants are the kernel sets that this machine can run, by level name.
func variants() map[string]*Kernels {
	all := map[string]*Kernels{}
	for _, name := range isa.Levels() {
		f, _ := isa.Detect().Cap(name)
		if f.String() == name {
			all[name] = New(f).ShareFrom(0) // small shapes too
		}
	}
	return all
}

var precisions = []layout.Precision{layout.F32, layout.BF16, layout.I8}

// floats are n random numbers in -1..1.
func floats(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = rng.Float32()*2 - 1
	}
	return x
}

// poison fills with NaN, so that an element that is not written, or read too
// early, shows.
func poison(x []float32) []float32 {
	for i := range x {
		x[i] = float32(math.NaN())
	}
	return x
}

// bound is the greatest error of a sum of k products, whose magnitudes add up to
// mag, against exact arithmetic on the packed weights.
func bound(k *Kernels, p layout.Precision, n int, mag, rowMax, colAbs float64) float64 {
	e := float64(n+4) * 0x1p-24 * mag // a chain of n roundings, each 2^-24 relative
	switch {
	case p == layout.I8:
		// Half a step of 255 over a range of at most 2*rowMax, on every element of
		// the row; and the scales' own roundings.
		e += (2*rowMax/255/2*1.001)*colAbs + 8*0x1p-24*mag
	case p == layout.BF16 && k.feat.BF16:
		e += 0x1p-8 * mag // rows of A are rounded to 8 bits
	}
	return e + 1e-30
}

// One block against float64 loops, for every variant and precision, over sizes
// around the tile's edges, with strides, row lists, cuts of k and of n.
func TestBlock(t *testing.T) {
	ms := []int{0, 1, 2, 3, 5, 6, 7, 9, 11, 12, 13, 16, 17, 25, 31, 32, 33, 65}
	ks := []int{0, 1, 2, 3, 4, 5, 7, 8, 17, 31, 32, 33, 63, 64, 65, 96, 130}
	ns := []int{0, 1, 8, 15, 16, 17, 31, 32, 33, 48, 49, 64, 100, 160, 161}
	trials := 150
	if testing.Short() {
		trials = 30
	}
	for level, kern := range variants() {
		rng := rand.New(rand.NewPCG(7, 7))
		for _, p := range precisions {
			for trial := range trials {
				m, k, n := ms[rng.IntN(len(ms))], ks[rng.IntN(len(ks))], ns[rng.IntN(len(ns))]
				if trial%50 == 0 { // both loops of a block
					m, k, n = 13+rng.IntN(20), 1025+rng.IntN(20), 300+rng.IntN(40)
				}
				checkBlock(t, kern, p, rng, m, k, n, fmt.Sprintf("%s %v m=%d k=%d n=%d trial %d", level, p, m, k, n, trial))
				if t.Failed() {
					return
				}
			}
		}
	}
}

// beside makes a k x n matrix of panels that were packed one by one.
func beside(t *testing.T, p layout.Precision, rng *rand.Rand, k, n int) *layout.Matrix {
	t.Helper()
	width := 16
	if n%32 == 0 && rng.IntN(2) == 0 {
		width = 32
	}
	x := tensor.Of(floats(rng, k*n), n/width, k, width)
	stored, err := layout.PackStack(p, x, false)
	if err != nil {
		t.Fatal(err)
	}
	b, err := layout.Beside(p, stored.Bytes(), n/width, k, width)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func checkBlock(t *testing.T, kern *Kernels, p layout.Precision, rng *rand.Rand, m, k, n int, name string) {
	t.Helper()
	b, err := layout.Pack(p, layout.RowMajor(floats(rng, k*n), k, n))
	if err != nil {
		t.Fatal(err)
	}
	if kern.Tiled(p) && n > 0 && k > 0 && n%16 == 0 && rng.IntN(2) == 0 {
		b = beside(t, p, rng, k, n)
	}
	blk := Block{M: m, B: b, N1: n, K1: k, Add: rng.IntN(3) == 0, Act: []act.Kind{act.Identity, act.Relu, act.Gelu, act.Silu, act.Tanh}[rng.IntN(5)]}
	if rng.IntN(3) == 0 {
		blk.Gates = floats(rng, m)
	}
	if rng.IntN(2) == 0 {
		blk.Bias = floats(rng, n)
	}
	if n > layout.NR && rng.IntN(2) == 0 {
		blk.N0 = layout.NR * rng.IntN(n/layout.NR)
		if rng.IntN(2) == 0 {
			blk.N1 = blk.N0 + layout.NR*(1+rng.IntN((n-blk.N0)/layout.NR))
		}
	}
	if k > 8 && p != layout.I8 && rng.IntN(2) == 0 {
		blk.K0 = 4 * rng.IntN(k/4)
		if rng.IntN(2) == 0 {
			blk.K1 = min(k, blk.K0+4*rng.IntN(3))
		}
	}
	kk, cols := blk.K1-blk.K0, blk.N1-blk.N0
	// Rows of A and C: strided, or by a list (of C each row once).
	x := Rows{Stride: kk + rng.IntN(3)}
	rows := m
	if rng.IntN(2) == 0 && m > 0 {
		rows = m + 3
		for range m {
			x.Index = append(x.Index, int32(rng.IntN(rows)))
		}
	}
	x.Data = floats(rng, max(0, (rows-1)*x.Stride+kk))
	c := Rows{Stride: cols + rng.IntN(3)}
	into := p != layout.F32 && kern.Native(layout.BF16) && m > 0 && rng.IntN(2) == 0
	if into {
		// Columns from 2 on of rows that hold NaN.
		words := (cols+1)/2 + 3
		blk.IntoCol, blk.Into = 2, Operand{words: words, data: words32(poison(make([]float32, m*words)))}
	}
	if rng.IntN(2) == 0 && m > 0 && !into {
		for _, r := range rng.Perm(m) {
			c.Index = append(c.Index, int32(r))
		}
	}
	c.Data = poison(make([]float32, m*c.Stride))
	blk.C = c
	var old []float32
	if blk.Add {
		copy(c.Data, floats(rng, len(c.Data)))
		old = append(old, c.Data...)
	}
	blk.A = kern.Prepare(p, x, m, kk, nil, make([]float32, kern.OperandLen(p, m, kk)))
	kern.Run(&blk)
	written := map[int]bool{}
	for i := range m {
		a := x.Data[x.At(i):]
		rowMax := 0.0
		for _, v := range a[:kk] {
			rowMax = max(rowMax, math.Abs(float64(v)))
		}
		for j := range cols {
			at := c.At(i) + j
			written[at] = true
			want, mag, colAbs := 0.0, 0.0, 0.0
			switch {
			case blk.Add:
				want = float64(old[at])
			case blk.Bias != nil:
				want = float64(blk.Bias[blk.N0+j])
			}
			mag = math.Abs(want)
			for l := range kk {
				w := float64(b.At(blk.K0+l, blk.N0+j))
				want += float64(a[l]) * w
				mag += math.Abs(float64(a[l]) * w)
				colAbs += math.Abs(w)
			}
			// No activation is steeper than 1.13 (gelu); the second term is its own error.
			tol := 1.13*bound(kern, p, kk, mag, rowMax, colAbs) + 1e-6*max(1, math.Abs(want))
			if into && p == layout.BF16 && blk.Act == act.Gelu {
				tol += 2e-4 * max(1, math.Abs(want)) // the short form of rounded results
			}
			want = blk.Act.Exact(want) * float64(blk.gate(i))
			got := float64(c.Data[at])
			if into {
				h := blk.Into.data[i*blk.Into.words+(2+j)/2] >> (j % 2 * 16)
				got, tol = float64(math.Float32frombits(h<<16)), tol+0x1p-8*math.Abs(want)
			}
			if d := math.Abs(got - want); !(d <= tol) {
				t.Errorf("%s: C[%d,%d] = %v, want %v within %.3g", name, i, j, got, want, tol)
				return
			}
		}
		if into {
			for j := range 2 * blk.Into.words {
				h := blk.Into.data[i*blk.Into.words+j/2] >> (j % 2 * 16) & 0xffff
				switch padding := cols%2 == 1 && j == 2+cols; {
				case padding && h != 0:
					t.Errorf("%s: %v %v row %d is padded with %x", name, blk.Act, cols, i, h)
					return
				case (j < 2 || j >= 2+cols) && !padding && h != math.Float32bits(float32(math.NaN()))>>(j%2*16)&0xffff:
					t.Errorf("%s: element %d beside row %d was written: %x", name, j, i, h)
					return
				}
			}
		}
	}
	if into {
		return
	}
	for i, v := range c.Data {
		if !written[i] && (old == nil && v == v || old != nil && v != old[i]) {
			t.Errorf("%s: element %d outside of the rows was written", name, i)
			return
		}
	}
}

// A row's bits do not depend on the rows beside it, nor on how many there are.
func TestBlockRowsAreIndependent(t *testing.T) {
	for level, kern := range variants() {
		for _, p := range precisions {
			rng := rand.New(rand.NewPCG(3, 4))
			const m, k, n = 27, 1100, 177
			b, err := layout.Pack(p, layout.RowMajor(floats(rng, k*n), k, n))
			if err != nil {
				t.Fatal(err)
			}
			x := Rows{Data: floats(rng, m*k), Stride: k}
			run := func(x Rows, m int) []float32 {
				c := make([]float32, m*n)
				kern.Run(&Block{
					A: kern.Prepare(p, x, m, k, nil, make([]float32, kern.OperandLen(p, m, k))),
					M: m, B: b, N1: n, K1: k, C: Rows{Data: c, Stride: n},
				})
				return c
			}
			all := run(x, m)
			for _, size := range []int{1, 2, 3, 5, 6, 8, 11, 12, 14} {
				for at := 0; at+size <= m; at += size {
					part := run(x.From(at), size)
					for i, v := range part {
						if math.Float32bits(v) != math.Float32bits(all[at*n+i]) {
							t.Fatalf("%s %v: rows %d+%d, element %d: %v alone, %v together", level, p, at, size, i, v, all[at*n+i])
						}
					}
				}
			}
		}
	}
}

// What is not finite in A comes out as NaN or infinity in its own row only.
func TestBlockNotFinite(t *testing.T) {
	for level, kern := range variants() {
		for _, p := range precisions {
			for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
				rng := rand.New(rand.NewPCG(5, 6))
				const m, k, n = 14, 9, 40
				b, err := layout.Pack(p, layout.RowMajor(floats(rng, k*n), k, n))
				if err != nil {
					t.Fatal(err)
				}
				x := Rows{Data: floats(rng, m*k), Stride: k}
				x.Data[3*k+4] = float32(bad)
				c := make([]float32, m*n)
				kern.Run(&Block{
					A: kern.Prepare(p, x, m, k, nil, make([]float32, kern.OperandLen(p, m, k))),
					M: m, B: b, N1: n, K1: k, C: Rows{Data: c, Stride: n},
				})
				for i, v := range c {
					if f := float64(v); (math.IsNaN(f) || math.IsInf(f, 0)) != (i/n == 3) {
						t.Fatalf("%s %v: %v in row 3 gives %v at row %d", level, p, bad, v, i/n)
					}
				}
			}
		}
	}
}

// The activations in the tile kernels give the bits of package act.
func TestFusedActivationBits(t *testing.T) {
	for level, kern := range variants() {
		for _, p := range []layout.Precision{layout.BF16, layout.I8} {
			if kern.variant(p) != amx {
				continue
			}
			rng := rand.New(rand.NewPCG(9, 9))
			const m, k, n = 37, 96, 96
			b, err := layout.Pack(p, layout.RowMajor(floats(rng, k*n), k, n))
			if err != nil {
				t.Fatal(err)
			}
			x := Rows{Data: floats(rng, m*k), Stride: k}
			for i := range x.Data {
				x.Data[i] *= 4
			}
			a := kern.Prepare(p, x, m, k, nil, make([]float32, kern.OperandLen(p, m, k)))
			for _, kind := range []act.Kind{act.Gelu, act.Silu} {
				plain, fused := make([]float32, m*n), make([]float32, m*n)
				kern.Run(&Block{A: a, M: m, B: b, N1: n, K1: k, C: Rows{Data: plain, Stride: n}})
				kern.act.Apply(kind, plain, 1)
				kern.Run(&Block{A: a, M: m, B: b, N1: n, K1: k, C: Rows{Data: fused, Stride: n}, Act: kind})
				for i, v := range fused {
					if math.Float32bits(v) != math.Float32bits(plain[i]) {
						t.Fatalf("%s %v %v: element %d is %v, package act gives %v", level, p, kind, i, v, plain[i])
					}
				}
			}
		}
	}
}
