package ptx

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// TestScatter compares with the definition: repeated and negative indices, an axis in the middle, updates that cover
// less than the data, all reductions.
func TestScatter(t *testing.T) {
	for _, reduce := range []string{"none", "add", "mul", "min", "max"} {
		for _, dt := range []tensor.DType{tensor.F64, tensor.F32, tensor.I64} {
			for _, c := range [][2][3]int{{{2, 5, 3}, {2, 4, 3}}, {{1, 1, 1}, {1, 1, 1}}, {{3, 40, 2}, {2, 9, 1}}, {{2, 3, 4}, {2, 0, 4}}, {{0, 2, 2}, {0, 2, 2}}} {
				shape, count := c[0], c[1]
				dims, S, C := map[string]int64{}, make([]Expr, 3), make([]Expr, 3)
				for i := range 3 {
					S[i], C[i] = Sym(fmt.Sprint("s", i)), Sym(fmt.Sprint("c", i))
					dims[fmt.Sprint("s", i)], dims[fmt.Sprint("c", i)] = int64(shape[i]), int64(count[i])
				}
				k, err := Scatter{Shape: S, Count: C, Axis: 1, DType: dt, Index: tensor.I64, Reduce: reduce}.Kernel()
				op := single(t, k, err, map[string]Expr{"data": Elems(S), "y": Elems(S), "index": Elems(C), "updates": Elems(C)})
				r := seeded(t)
				n, m := shape[0]*shape[1]*shape[2], count[0]*count[1]*count[2]
				data, updates, index := gauss64(t, n), gauss64(t, m), make([]int64, m)
				for i := range data {
					data[i] = math.Round(data[i] * 4)
				}
				for i := range updates {
					updates[i], index[i] = math.Round(updates[i]*4), int64(r.IntN(2*shape[1])-shape[1])
				}
				pack := func(v []float64) []byte {
					if dt == tensor.F64 {
						return packF64(v)
					}
					var out []byte
					for _, x := range v {
						if dt == tensor.I64 {
							out = append(out, packI64([]int64{int64(x)})...)
						} else {
							out = append(out, packAs(dt, []float32{float32(x)})...)
						}
					}
					return out
				}
				got := run(t, op, dims, map[string][]byte{"data": pack(data), "updates": pack(updates), "index": packI64(index)})["y"]
				want := slices.Clone(data)
				for i := range m {
					a, b, e := i/(count[1]*count[2]), i/count[2]%count[1], i%count[2]
					to := index[(a*count[1]+b)*count[2]+e]
					if to < 0 {
						to += int64(shape[1])
					}
					at := (a*shape[1]+int(to))*shape[2] + e
					switch u := updates[i]; reduce {
					case "none":
						want[at] = u
					case "add":
						want[at] += u
					case "mul":
						want[at] *= u
					case "min":
						want[at] = min(want[at], u)
					case "max":
						want[at] = max(want[at], u)
					}
				}
				for i, w := range want {
					if dt != tensor.F32 && math.Abs(w) > 1<<52 || dt == tensor.F32 && math.Abs(w) > 1<<23 {
						want = want[:i] // products past what is exact
						break
					}
				}
				if n := len(pack(want)); string(got[:n]) != string(pack(want)) {
					t.Fatalf("%s of %s, %v: wrong", reduce, dt, c)
				}
			}
		}
	}
}

// TestScatterND compares with the definition: tuples of one and two indices, repeated and negative ones, all reductions.
func TestScatterND(t *testing.T) {
	for _, reduce := range []string{"none", "add", "mul", "min", "max"} {
		for _, c := range []struct {
			axes         []int
			inner, count int
		}{{[]int{5}, 3, 4}, {[]int{4, 3}, 1, 9}, {[]int{2, 70}, 2, 33}, {[]int{1}, 1, 0}, {[]int{3, 2, 2}, 5, 7}} {
			dims, A, slices := map[string]int64{"i": int64(c.inner), "c": int64(c.count)}, make([]Expr, len(c.axes)), 1
			for i, a := range c.axes {
				A[i] = Sym(fmt.Sprint("a", i))
				dims[fmt.Sprint("a", i)], slices = int64(a), slices*a
			}
			all, some := Elems(A).Mul(Sym("i")), Sym("c").Mul(Sym("i"))
			k, err := ScatterND{Axes: A, Inner: Sym("i"), Count: Sym("c"), DType: tensor.F64, Reduce: reduce}.Kernel()
			op := single(t, k, err, map[string]Expr{"data": all, "y": all, "index": Sym("c").MulN(len(A)), "updates": some})
			r := seeded(t)
			data, updates, index := gauss64(t, slices*c.inner), gauss64(t, c.count*c.inner), make([]int64, c.count*len(A))
			for i := range index {
				a := c.axes[i%len(A)]
				index[i] = int64(r.IntN(2*a) - a)
			}
			got := unpackF64(run(t, op, dims, map[string][]byte{"data": packF64(data), "updates": packF64(updates), "index": packI64(index)})["y"])
			for i := range c.count {
				slice := 0
				for d, a := range c.axes {
					slice = slice*a + (int(index[i*len(A)+d])+a)%a
				}
				for j := range c.inner {
					u, to := updates[i*c.inner+j], &data[slice*c.inner+j]
					switch reduce {
					case "none":
						*to = u
					case "add":
						*to += u
					case "mul":
						*to *= u
					case "min":
						*to = min(*to, u)
					case "max":
						*to = max(*to, u)
					}
				}
			}
			near64(t, fmt.Sprint(reduce, c), got, data, 0)
		}
	}
}
