package gemm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
)

// TestBlockOfWindows: rows made of stretches, picked in runs and singly, residuals, and
// rows that nobody wants, against float64 loops over the same bf16 numbers.
func TestBlockOfWindows(t *testing.T) {
	for level, kern := range variants() {
		if !kern.Native(layout.BF16) {
			continue
		}
		rng := rand.New(rand.NewPCG(3, 4))
		for trial := range 300 {
			checkWindows(t, kern, rng, fmt.Sprintf("%s trial %d", level, trial))
			if t.Failed() {
				return
			}
		}
	}
}

func checkWindows(t *testing.T, kern *Kernels, rng *rand.Rand, name string) {
	t.Helper()
	m, n := 1+rng.IntN(70), 1+rng.IntN(100)
	if rng.IntN(8) == 0 {
		m += 32 * rng.IntN(20)
	}
	spans, run := []int(nil), 1+rng.IntN(150)
	count := 1
	if rng.IntN(3) > 0 {
		count, run = 2+rng.IntN(4), 32*(1+rng.IntN(3))
		at := 0
		for range count {
			spans = append(spans, at)
			at += rng.IntN(200)
		}
	}
	depth := count * run
	step := 1 + rng.IntN(100)
	// Rows of A: all in order, runs of sixteen, or any.
	var index []int32
	row := func(i int) int { return i }
	switch rng.IntN(3) {
	case 0:
		for i := range m {
			if i%16 == 0 {
				index = append(index, int32(rng.IntN(100)))
			} else {
				index = append(index, index[i-1]+1)
			}
		}
	case 1:
		for range m {
			index = append(index, int32(rng.IntN(100)))
		}
	}
	if index != nil {
		row = func(i int) int { return int(index[i]) }
	}
	last := 0
	for i := range m {
		last = max(last, row(i))
	}
	reach := (run + 1) / 2
	if spans != nil {
		reach += spans[count-1]
	}
	data := make([]float32, last*step+reach)
	kern.RoundBF16(data, 0, floats(rng, 2*len(data)), 0, 1, 2*len(data))
	x := func(i, k int) float64 {
		at := row(i) * step
		if spans != nil {
			at += spans[k/run]
		}
		at = 2*at + k%run
		return float64(math.Float32frombits(words32(data)[at/2] >> (16 * (at % 2)) << 16))
	}
	b, err := layout.Pack(layout.BF16, layout.RowMajor(floats(rng, depth*n), depth, n))
	if err != nil {
		t.Fatal(err)
	}
	blk := Block{
		A: Windows(data, step, spans, run), M: m, B: b, N1: n, K1: depth,
		Act: []act.Kind{act.Identity, act.Relu, act.Gelu, act.Silu, act.Relu6, act.HardSwish}[rng.IntN(6)], Spare: make([]float32, n),
	}
	if index != nil {
		blk.A = blk.A.Pick(index)
	}
	if n > layout.NR && rng.IntN(2) == 0 {
		blk.N0 = layout.NR * rng.IntN((n+layout.NR-1)/layout.NR)
	}
	cols := n - blk.N0
	blk.C = Rows{Data: poison(make([]float32, (m+1)*(cols+4))), Stride: cols + rng.IntN(3)}
	if rng.IntN(2) == 0 { // results in bf16
		blk.IntoCol = 2 * rng.IntN(3)
		words := (blk.IntoCol + cols + 3) / 2
		blk.Into = Windows(make([]float32, m*words), words, nil, 0)
	}
	if rng.IntN(2) == 0 {
		for i := range m {
			to := int32(i)
			if rng.IntN(5) == 0 {
				to = -1
			}
			blk.C.Index = append(blk.C.Index, to)
		}
	}
	if rng.IntN(2) == 0 {
		blk.Bias = floats(rng, n)
	}
	if rng.IntN(2) == 0 {
		blk.Residual = Rows{Data: floats(rng, (m+1)*(cols+3)), Stride: cols + 1, Index: blk.C.Index}
		if rng.IntN(2) == 0 {
			step := (cols + 3) / 2
			half := make([]float32, (m+1)*step)
			kern.RoundBF16(half, 0, floats(rng, 2*len(half)), 0, 1, 2*len(half))
			blk.Residual, blk.HalfResidual = Rows{}, Windows(half, step, nil, 0)
		}
	}
	residual := func(i, j int) float64 {
		switch h := blk.HalfResidual; {
		case h.data != nil:
			if blk.C.Index != nil {
				i = int(blk.C.Index[i])
			}
			return float64(math.Float32frombits(h.data[i*h.words+j/2] >> (16 * (j % 2)) << 16))
		case blk.Residual.Data != nil:
			return float64(blk.Residual.Data[blk.Residual.At(i)+j])
		}
		return 0
	}
	want := make([]float64, len(blk.C.Data))
	for i := range want {
		want[i] = math.NaN()
	}
	largest := 1.0
	for i := range m {
		to := blk.C.At(i)
		if to < 0 {
			continue
		}
		for j := range cols {
			sum := 0.0
			if blk.Bias != nil {
				sum = float64(blk.Bias[blk.N0+j])
			}
			for k := range depth {
				sum += x(i, k) * float64(b.At(k, blk.N0+j))
			}
			sum += residual(i, j)
			want[to+j] = blk.Act.Exact(sum)
			largest = math.Max(largest, math.Abs(sum))
		}
	}
	kern.Run(&blk)
	if blk.Into.data != nil { // C holds no promised contents
		for i := range m {
			to := i
			if blk.C.Index != nil {
				to = int(blk.C.Index[i])
			}
			for j := 0; to >= 0 && j < cols; j++ {
				at := blk.IntoCol + j
				g := float64(math.Float32frombits(blk.Into.data[to*blk.Into.words+at/2] >> (16 * (at % 2)) << 16))
				if w := want[blk.C.At(i)+j]; !(math.Abs(g-w) <= math.Abs(w)/256+2e-4*max(1, largest)) {
					t.Fatalf("%s: %d x %d x %d in bf16: row %d, column %d is %v, want %v", name, m, depth, n, i, j, g, w)
				}
			}
		}
		return
	}
	for i, w := range want {
		g := float64(blk.C.Data[i])
		if math.IsNaN(w) != math.IsNaN(g) || math.Abs(g-w) > 2e-6*largest*math.Sqrt(float64(depth)) {
			t.Fatalf("%s: %d x %d x %d, run %d, step %d: element %d is %v, want %v", name, m, depth, n, run, step, i, g, w)
		}
	}
}
