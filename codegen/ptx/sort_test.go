package ptx

import (
	"fmt"
	"math"
	"sort"
	"testing"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

func TestTopK(t *testing.T) {
	for _, c := range []struct {
		rows, d, k       int
		static, smallest bool
	}{{3, 7, 7, true, false}, {2, 1000, 5, true, false}, {2, 300, 4, false, true}, {0, 4, 1, true, false}, {1, 1, 1, true, true}, {1, 9000, 3, true, false}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			d := Sym("d")
			if c.static {
				d = N(c.d)
			}
			k, err := TopK{Rows: Sym("n"), D: d, K: c.k, DType: tensor.F32, Smallest: c.smallest}.Kernel()
			op := single(t, k, err, map[string]Expr{"x": Sym("n").Mul(d), "values": Sym("n").MulN(c.k), "indices": Sym("n").MulN(c.k)})
			x := gauss(seeded(t), c.rows*c.d)
			for i := range x {
				x[i] = float32(math.Round(float64(x[i]) * 8)) // ties
				if i%13 == 4 {
					x[i] = float32(math.NaN())
				}
			}
			out := run(t, op, map[string]int64{"n": int64(c.rows), "d": int64(c.d)}, map[string][]byte{"x": packAs(tensor.F32, x)})
			values, indices := unpack(tensor.F32, out["values"]), unpackI64(out["indices"])
			for r := range c.rows {
				order := make([]int, c.d)
				for i := range order {
					order[i] = i
				}
				row := x[r*c.d : (r+1)*c.d]
				key := func(i int) float32 { // NaN lies above every number
					if v := row[order[i]]; v == v {
						return v
					}
					return float32(math.Inf(1))
				}
				sort.SliceStable(order, func(i, j int) bool {
					if c.smallest {
						return key(i) < key(j)
					}
					return key(i) > key(j)
				})
				for i := range c.k {
					if v, w := values[r*c.k+i], row[order[i]]; indices[r*c.k+i] != int64(order[i]) || v != w && w == w {
						t.Fatalf("row %d, place %d: %g at %d, want %g at %d", r, i, values[r*c.k+i], indices[r*c.k+i], row[order[i]], order[i])
					}
				}
			}
		})
	}
}

func TestCumSum(t *testing.T) {
	for _, c := range []struct{ exclusive, reverse bool }{{false, false}, {true, false}, {false, true}, {true, true}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			const outer, d, inner = 3, 9, 5
			k, err := CumSum{Outer: N(outer), D: Sym("d"), Inner: N(inner), DType: tensor.I64, Exclusive: c.exclusive, Reverse: c.reverse}.Kernel()
			all := Sym("d").MulN(outer * inner)
			op := single(t, k, err, map[string]Expr{"x": all, "y": all})
			x := make([]int64, outer*d*inner)
			r := seeded(t)
			for i := range x {
				x[i] = int64(r.IntN(9)) - 4
			}
			got := unpackI64(run(t, op, map[string]int64{"d": d}, map[string][]byte{"x": packI64(x)})["y"])
			for o := range outer {
				for in := range inner {
					sum := int64(0)
					for i := range d {
						at := i
						if c.reverse {
							at = d - 1 - i
						}
						p := (o*d+at)*inner + in
						want := sum
						sum += x[p]
						if !c.exclusive {
							want = sum
						}
						if got[p] != want {
							t.Fatalf("[%d %d %d] = %d, want %d", o, at, in, got[p], want)
						}
					}
				}
			}
		})
	}
}

// TestCoord builds a causal mask from coordinates.
func TestCoord(t *testing.T) {
	for _, n := range []int{1, 4, 7} {
		var p Program
		x := p.In(tensor.F32)
		i, j := p.DoC(Coord, []float64{0}), p.DoC(Coord, []float64{1})
		zero := p.DoC("const", []float64{0})
		p.Out(p.Do("where", p.Do("le", j, i), x, zero), tensor.F32)
		shape := []Expr{N(n), N(n)}
		k, err := Elementwise{Shape: shape, Inputs: []View{Contiguous(shape)}, Outputs: []View{Contiguous(shape)}, Prog: p}.Kernel()
		op := single(t, k, err, map[string]Expr{"in0": N(n * n), "out0": N(n * n)})
		v := gauss(seeded(t), n*n)
		got := unpack(tensor.F32, run(t, op, nil, map[string][]byte{"in0": packAs(tensor.F32, v)})["out0"])
		for r := range n {
			for c := range n {
				w := v[r*n+c]
				if c > r {
					w = 0
				}
				if got[r*n+c] != w {
					t.Fatalf("n=%d [%d %d] = %g, want %g", n, r, c, got[r*n+c], w)
				}
			}
		}
	}
}
