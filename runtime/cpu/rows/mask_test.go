package rows

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestScaleMaxAndSelectMax(t *testing.T) {
	nan := float32(math.NaN())
	each(t, func(t *testing.T, k *Kernels, n int, rng *rand.Rand) {
		for _, kind := range []string{"plain", "add", "keep"} {
			x, okX := guarded(t, rng, n)
			add, okAdd := guarded(t, rng, n)
			keep := make([]bool, n)
			for i := range keep {
				keep[i] = rng.IntN(3) > 0
			}
			if n > 5 {
				x[n-1], x[2] = nan, 1e30
			}
			want := make([]float32, n)
			top := float32(-0.5)
			for i, v := range x {
				want[i] = v * 0.3
				if kind == "add" {
					want[i] = float32(v*0.3) + add[i]
				}
				if kind == "keep" && !keep[i] {
					want[i] = -7
				}
				if want[i] > top {
					top = want[i]
				}
			}
			var got float32
			switch kind {
			case "plain":
				got = k.ScaleMax(x, 0.3, nil, -0.5)
			case "add":
				got = k.ScaleMax(x, 0.3, add, -0.5)
			default:
				got = k.SelectMax(x, keep, 0.3, -7, -0.5)
			}
			if got != top {
				t.Fatalf("%s, n=%d: maximum %v, want %v", kind, n, got, top)
			}
			for i := range x {
				if math.Float32bits(x[i]) != math.Float32bits(want[i]) && !(x[i] != x[i] && want[i] != want[i]) {
					t.Fatalf("%s, n=%d: element %d is %v, want %v", kind, n, i, x[i], want[i])
				}
			}
			okX()
			okAdd()
		}
	})
}

func TestTranspose(t *testing.T) {
	each(t, func(t *testing.T, k *Kernels, n int, rng *rand.Rand) {
		for _, rows := range []int{0, 1, 7, 8, 17, 32} {
			cols := min(n, 70)
			ss, ds := cols+3, rows+2
			src, okS := guarded(t, rng, rows*ss)
			dst, okD := guarded(t, rng, cols*ds)
			was := append([]float32(nil), dst...)
			k.Transpose(dst, ds, src, ss, rows, cols)
			for j := range cols {
				for i := range ds {
					want := was[j*ds+i]
					if i < rows {
						want = src[i*ss+j]
					}
					if dst[j*ds+i] != want {
						t.Fatalf("%d x %d: element (%d,%d) is %v, want %v", rows, cols, j, i, dst[j*ds+i], want)
					}
				}
			}
			okS()
			okD()
		}
	})
}
