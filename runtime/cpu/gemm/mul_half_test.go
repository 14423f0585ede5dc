package gemm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
	"github.com/seed-c851cfd2/moec/runtime/cpu/pool"
)

// Rows in bf16 give what the same rows give in f32, and results in bf16 are those in f32
// rounded, bit by bit.
func TestMulOfHalves(t *testing.T) {
	for level, kern := range variants() {
		rng := rand.New(rand.NewPCG(21, 22))
		for _, p := range precisions {
			for _, s := range [][3]int{{1, 70, 34}, {8, 64, 300}, {23, 40, 18}, {50, 34, 66}, {210, 20, 270}, {35, 130, 48}} {
				for threads := 1; threads <= 2; threads++ {
					name := fmt.Sprintf("%s %v %v on %d threads", level, p, s, threads)
					checkHalves(t, kern, p, rng, s[0], s[1], s[2], threads, name)
				}
			}
		}
	}
}

func checkHalves(t *testing.T, kern *Kernels, p layout.Precision, rng *rand.Rand, m, k, n, threads int, name string) {
	t.Helper()
	b, err := layout.Pack(p, layout.RowMajor(floats(rng, k*n), k, n))
	if err != nil {
		t.Fatal(err)
	}
	r := pool.New(threads)
	defer r.Close()
	words, x := make([]float32, m*k/2), make([]float32, m*k)
	kern.RoundBF16(words, 0, floats(rng, m*k), 0, 1, m*k)
	kern.WidenBF16(x, halves(words))
	kind := []act.Kind{act.Identity, act.Relu, act.Tanh}[rng.IntN(3)]
	run := func(mul *Mul) {
		mul.Kernels, mul.M, mul.B, mul.Act = kern, m, b, kind
		if err := mul.Run(r, poison(make([]float32, mul.Scratch(threads)))); err != nil {
			t.Fatal(err)
		}
	}
	bias := floats(rng, n)
	want, wantHalf := poison(make([]float32, m*n)), make([]float32, m*n/2)
	run(&Mul{A: Rows{Data: x, Stride: k}, C: Rows{Data: want, Stride: n}, Bias: bias})
	kern.RoundBF16(wantHalf, 0, want, 0, 1, m*n)
	got, gotHalf := poison(make([]float32, m*n)), poison(make([]float32, m*n/2))
	run(&Mul{HalfA: words, C: Rows{Data: got, Stride: n}, Bias: bias})
	run(&Mul{HalfA: words, HalfC: gotHalf, Bias: bias})
	for i, v := range got {
		if math.Float32bits(v) != math.Float32bits(want[i]) {
			t.Fatalf("%s: element %d is %v, want %v", name, i, v, want[i])
		}
	}
	for i, v := range gotHalf {
		if math.Float32bits(v) != math.Float32bits(wantHalf[i]) {
			t.Fatalf("%s: word %d is %#x, want %#x", name, i, math.Float32bits(v), math.Float32bits(wantHalf[i]))
		}
	}
}

// Rows that are bf16 pair as rows that are rounded to it.
func TestPairHalves(t *testing.T) {
	for level, kern := range variants() {
		rng := rand.New(rand.NewPCG(23, 24))
		for range 40 {
			rows, n := 1+rng.IntN(9), 2*(1+rng.IntN(30))
			x := floats(rng, rows*n)
			words := make([]float32, rows*n/2)
			kern.RoundBF16(words, 0, x, 0, 1, rows*n)
			stride := n + rng.IntN(3)
			want, got := poison(make([]float32, (rows+1)/2*stride)), poison(make([]float32, (rows+1)/2*stride))
			kern.PairBF16(want, stride, x, n, rows, n)
			kern.PairHalves(got, stride, words, n/2, rows, n)
			for i := range want {
				if math.Float32bits(want[i]) != math.Float32bits(got[i]) {
					t.Fatalf("%s %dx%d: word %d is %#x, want %#x", level, rows, n, i, math.Float32bits(got[i]), math.Float32bits(want[i]))
				}
			}
		}
	}
}
