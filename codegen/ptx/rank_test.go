package ptx

import (
	"math"
	"slices"
	"testing"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// TestRank compares with a stable sort: several types, both orders, ties, NaN, K from 0 to all, axes inside.
func TestRank(t *testing.T) {
	for _, dt := range []tensor.DType{tensor.F64, tensor.F32, tensor.I64} {
		for _, c := range [][4]int{{2, 0, 3, 0}, {1, 1, 1, 1}, {3, 7, 1, 7}, {2, 40, 5, 3}, {0, 4, 2, 1}, {1, 300, 1, 20}} {
			for _, smallest := range []bool{false, true} {
				outer, d, inner, k := c[0], c[1], c[2], c[3]
				O, D, I, K := Sym("o"), Sym("d"), Sym("i"), Sym("k")
				kern, err := Rank{Outer: O, D: D, Inner: I, K: K, DType: dt, Smallest: smallest}.Kernel()
				few := O.Mul(K).Mul(I)
				op := single(t, kern, err, map[string]Expr{"x": O.Mul(D).Mul(I), "values": few, "indices": few})
				x := gauss64(t, outer*d*inner)
				for i := range x {
					if x[i] = math.Round(x[i] * 3); i%11 == 5 && dt != tensor.I64 {
						x[i] = math.NaN()
					}
				}
				var in []byte
				switch dt {
				case tensor.F64:
					in = packF64(x)
				case tensor.I64:
					for _, v := range x {
						in = append(in, packI64([]int64{int64(v)})...)
					}
				default:
					for _, v := range x {
						in = append(in, packAs(dt, []float32{float32(v)})...)
					}
				}
				dims := map[string]int64{"o": int64(outer), "d": int64(d), "i": int64(inner), "k": int64(k)}
				out := run(t, op, dims, map[string][]byte{"x": in})
				indices, values := unpackI64(out["indices"]), []float64(nil)
				switch dt {
				case tensor.F64:
					values = unpackF64(out["values"])
				case tensor.I64:
					for _, v := range unpackI64(out["values"]) {
						values = append(values, float64(v))
					}
				default:
					for _, v := range unpack(dt, out["values"]) {
						values = append(values, float64(v))
					}
				}
				for o := range outer {
					for i := range inner {
						order := make([]int, d)
						for j := range order {
							order[j] = j
						}
						at := func(j int) float64 { return x[(o*d+j)*inner+i] }
						key := func(j int) float64 {
							if v := at(j); v == v {
								return v
							}
							return math.Inf(1)
						}
						slices.SortStableFunc(order, func(p, q int) int {
							if !smallest {
								p, q = q, p
							}
							switch a, b := key(p), key(q); {
							case a < b:
								return -1
							case a > b:
								return 1
							}
							return 0
						})
						for j, p := range order[:k] {
							place := (o*k+j)*inner + i
							if v := values[place]; indices[place] != int64(p) || v != at(p) && v == v {
								t.Fatalf("%s %v smallest %t: place %d is %g at %d, want %g at %d", dt, c, smallest, place, v, indices[place], at(p), p)
							}
						}
					}
				}
			}
		}
	}
}
