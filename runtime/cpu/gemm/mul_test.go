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

// A dense layer against float64, and the same bits from 1, 2 and 8 threads.
func TestMul(t *testing.T) {
	var pools []*pool.Pool
	for _, n := range []int{1, 2, 8} {
		p := pool.New(n)
		defer p.Close()
		pools = append(pools, p)
	}
	for level, kern := range variants() {
		rng := rand.New(rand.NewPCG(11, 12))
		for _, p := range precisions {
			for _, s := range [][3]int{{0, 5, 5}, {5, 0, 5}, {5, 5, 0}, {1, 70, 33}, {8, 64, 300}, {23, 40, 17}, {50, 33, 65}, {210, 20, 270}} {
				m, k, n := s[0], s[1], s[2]
				b, err := layout.Pack(p, layout.Transposed(floats(rng, k*n), k, n))
				if err != nil {
					t.Fatal(err)
				}
				x := Rows{Data: floats(rng, m*k), Stride: k}
				bias, res := floats(rng, n), Rows{Data: floats(rng, m*n), Stride: n}
				kind := act.Kind(rng.IntN(int(act.Tanh) + 1))
				if rng.IntN(2) == 0 {
					bias = nil
				}
				if rng.IntN(2) == 0 {
					res = Rows{}
				}
				name := fmt.Sprintf("%s %v m=%d k=%d n=%d %v bias=%v residual=%v", level, p, m, k, n, kind, bias != nil, res.Data != nil)
				var first []float32
				for _, r := range pools {
					c := poison(make([]float32, m*n))
					mul := &Mul{Kernels: kern, A: x, M: m, B: b, C: Rows{Data: c, Stride: n}, Bias: bias, Act: kind, Residual: res}
					if err := mul.Run(r, poison(make([]float32, mul.Scratch(r.Workers())))); err != nil {
						t.Fatal(err)
					}
					if first == nil {
						first = c
						checkMul(t, kern, mul, name)
						continue
					}
					for i, v := range c {
						if math.Float32bits(v) != math.Float32bits(first[i]) {
							t.Fatalf("%s: element %d is %v with %d threads, %v with one", name, i, v, r.Workers(), first[i])
						}
					}
				}
				if t.Failed() {
					return
				}
			}
		}
	}
}

func checkMul(t *testing.T, kern *Kernels, mul *Mul, name string) {
	t.Helper()
	b := mul.B
	for i := range mul.M {
		a := mul.A.Data[mul.A.At(i):][:b.K]
		rowMax := 0.0
		for _, v := range a {
			rowMax = max(rowMax, math.Abs(float64(v)))
		}
		for j := range b.N {
			sum, mag, colAbs := 0.0, 0.0, 0.0
			if mul.Bias != nil {
				sum = float64(mul.Bias[j])
				mag = math.Abs(sum)
			}
			for l, v := range a {
				w := float64(b.At(l, j))
				sum += float64(v) * w
				mag += math.Abs(float64(v) * w)
				colAbs += math.Abs(w)
			}
			want := mul.Act.Exact(sum)
			// No activation is steeper than 1.13 (gelu); the second term is its own error.
			tol := 1.13*bound(kern, b.Precision, b.K, mag, rowMax, colAbs) + 1e-6*max(1, math.Abs(sum))
			if mul.Residual.Data != nil {
				r := float64(mul.Residual.Data[mul.Residual.At(i)+j])
				want += r
				tol += 1e-7 * (math.Abs(r) + math.Abs(want))
			}
			got := float64(mul.C.Data[mul.C.At(i)+j])
			if d := math.Abs(got - want); !(d <= tol) {
				t.Errorf("%s: C[%d,%d] = %v, want %v within %.3g", name, i, j, got, want, tol)
				return
			}
		}
	}
}

func TestMulAllocatesNothing(t *testing.T) {
	r := pool.New(2)
	defer r.Close()
	for level, kern := range variants() {
		for _, p := range precisions {
			const m, k, n = 50, 64, 96
			rng := rand.New(rand.NewPCG(1, 1))
			b, err := layout.Pack(p, layout.RowMajor(floats(rng, k*n), k, n))
			if err != nil {
				t.Fatal(err)
			}
			mul := &Mul{Kernels: kern, A: Rows{Data: floats(rng, m*k), Stride: k}, M: m, B: b, C: Rows{Data: make([]float32, m*n), Stride: n}, Act: act.Gelu}
			scratch := make([]float32, mul.Scratch(2))
			for range 20 { // each worker makes its tile state in the first run in which it has work
				_ = mul.Run(r, scratch)
			}
			if a := testing.AllocsPerRun(5, func() { _ = mul.Run(r, scratch) }); a != 0 {
				t.Errorf("%s %v: %v allocations", level, p, a)
			}
		}
	}
}

// The tasks cover all rows, are about equal, no larger than the limit and one unit, and
// end in a part of a tile no more often than they must.
func TestTaskRows(t *testing.T) {
	for level, kern := range variants() {
		one, many := maxRows, 4 // the units
		if kern.Tiled(layout.BF16) {
			one, many = 32, 16
		}
		t.Run(level, func(t *testing.T) { checkTaskRows(t, kern, one, many) })
	}
}

func checkTaskRows(t *testing.T, kern *Kernels, one, many int) {
	for m := range 700 {
		for workers := 1; workers <= 5; workers++ {
			for _, limit := range []int{12, 24, 96, 192} {
				rows := kern.TaskRows(layout.BF16, m, limit, workers)
				if m == 0 {
					if rows != 0 {
						t.Fatalf("no rows in tasks of %d", rows)
					}
					continue
				}
				if rows < 1 || rows > m || rows > limit+one {
					t.Fatalf("m=%d limit=%d workers=%d: tasks of %d rows", m, limit, workers, rows)
				}
				if tasks := (m + rows - 1) / rows; tasks > 1 && workers == 1 && rows%one != 0 {
					t.Fatalf("m=%d limit=%d: %d tasks of %d rows, no whole tiles", m, limit, tasks, rows)
				}
				// The worker with the most rows has no more than its share and two units
				// per task of its own.
				tasks := (m + rows - 1) / rows
				most := (tasks + workers - 1) / workers * rows
				if share := (m + workers - 1) / workers; workers > 1 && most > share+many*((tasks+workers-1)/workers)+many {
					t.Fatalf("m=%d limit=%d workers=%d: tasks of %d rows give one worker up to %d of %d", m, limit, workers, rows, most, share)
				}
			}
		}
	}
}
