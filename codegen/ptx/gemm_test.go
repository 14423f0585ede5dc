package ptx

import (
	"fmt"
	"math"
	"testing"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// gemmCase is one product with its epilogue out = relu(acc + bias) + residual.
type gemmCase struct {
	batch, m, n, k   int
	math             Math
	dt               tensor.DType
	transA, transB   bool
	weight, epilogue bool
	tile             Tile
	static           bool // sizes known at compile time
	tol              float64
}

func (c gemmCase) String() string {
	return fmt.Sprintf("%v_%v_b%d_%dx%dx%d_tA%t_tB%t_w%t_e%t_s%t_%d", c.math, c.dt, c.batch, c.m, c.n, c.k, c.transA, c.transB, c.weight, c.epilogue, c.static, c.tile.M)
}

func (c gemmCase) run(t *testing.T) {
	dims := map[string]int64{}
	size := func(name string, n int) Expr {
		if c.static {
			return N(n)
		}
		dims[name] = int64(n)
		return Sym(name)
	}
	m, batch := size("m", c.m), size("batch", c.batch)
	n, k := size("n", c.n), size("k", c.k)
	if c.weight {
		n, k = N(c.n), N(c.k)
	}
	g := Gemm{Batch: []Expr{batch}, M: m, N: n, K: k, Weight: c.weight, Math: c.math, Tile: c.tile}
	g.A = Matrix{DType: c.dt, Batch: []Expr{m.Mul(k)}}
	g.A.Row, g.A.Col = k, N(1)
	if c.transA {
		g.A.Row, g.A.Col = N(1), m
	}
	g.B = Matrix{DType: c.dt, Batch: []Expr{k.Mul(n)}}
	g.B.Row, g.B.Col = n, N(1)
	if c.transB {
		g.B.Row, g.B.Col = N(1), k
	}
	g.C = Matrix{DType: c.dt, Row: n, Col: N(1), Batch: []Expr{m.Mul(n)}}
	elems := map[string]Expr{"a": batch.Mul(m).Mul(k), "b": batch.Mul(k).Mul(n), "c": batch.Mul(m).Mul(n)}
	if c.epilogue {
		var p Program
		acc, bias, res := p.In(tensor.F32), p.In(tensor.F32), p.In(c.dt)
		p.Out(p.Do("add", p.Do("relu", p.Do("add", acc, bias)), res), c.dt)
		g.Epilogue = p
		g.Extra = []Matrix{
			{DType: tensor.F32, Row: N(0), Col: N(1), Batch: []Expr{N(0)}},
			{DType: c.dt, Row: n, Col: N(1), Batch: []Expr{m.Mul(n)}},
		}
		elems["extra1"], elems["extra2"] = n, elems["c"]
	}
	r := seeded(t)
	a, b := rounded(c.dt, gauss(r, c.batch*c.m*c.k)), rounded(c.dt, gauss(r, c.batch*c.k*c.n))
	bias, res := gauss(r, c.n), rounded(c.dt, gauss(r, c.batch*c.m*c.n))
	in := map[string][]byte{"a": packAs(c.dt, a), "b": packAs(c.dt, b), "extra1": packAs(tensor.F32, bias), "extra2": packAs(c.dt, res)}
	if c.weight {
		p, err := g.Pack()
		if err != nil {
			t.Fatal(err)
		}
		w, err := p.Bytes(b[:c.k*c.n])
		if err != nil {
			t.Fatal(err)
		}
		in["b"], elems["b"] = w, N(p.Elems)
	}
	want := make([]float64, c.batch*c.m*c.n)
	for z := range c.batch {
		for i := range c.m {
			for j := range c.n {
				s := 0.0
				for l := range c.k {
					ai, bi := i*c.k+l, l*c.n+j
					if c.transA {
						ai = l*c.m + i
					}
					if c.transB {
						bi = j*c.k + l
					}
					if !c.weight {
						bi += z * c.k * c.n
					}
					s += float64(a[z*c.m*c.k+ai]) * float64(b[bi])
				}
				at := (z*c.m+i)*c.n + j
				if c.epilogue {
					s = math.Max(s+float64(bias[j]), 0) + float64(res[at])
				}
				want[at] = s
			}
		}
	}
	kern, err := g.Kernel()
	op := single(t, kern, err, elems)
	near(t, "c", unpack(c.dt, run(t, op, dims, in)["c"]), want, c.tol)
}

func TestGemm(t *testing.T) {
	const exact, fine = 1e-6, 2e-6
	var cases []gemmCase
	add := func(c gemmCase) { cases = append(cases, c) }
	// f32, every layout, sizes 0, 1, odd, aligned, just past a tile, known and not
	for _, tr := range [][2]bool{{false, false}, {false, true}, {true, false}, {true, true}} {
		add(gemmCase{batch: 2, m: 33, n: 37, k: 19, transA: tr[0], transB: tr[1], epilogue: true, tile: Tile{64, 64, 16, 2, 2, 3}, tol: exact})
		add(gemmCase{batch: 1, m: 65, n: 68, k: 36, transA: tr[0], transB: tr[1], static: true, tile: Tile{64, 64, 16, 2, 2, 3}, tol: exact})
	}
	for _, m := range []int{0, 1, 16, 17} {
		add(gemmCase{batch: 1, m: m, n: 70, k: 40, weight: true, epilogue: true, tile: Tile{16, 64, 16, 1, 2, 4}, tol: exact})
	}
	add(gemmCase{batch: 1, m: 129, n: 132, k: 48, tile: Tile{128, 128, 16, 4, 2, 3}, static: true, tol: exact})
	add(gemmCase{batch: 1, m: 5, n: 37, k: 37, weight: true, transB: true, tol: exact})
	add(gemmCase{batch: 3, m: 4, n: 3, k: 0, tol: exact})
	// tensor cores
	for _, mm := range []Math{TF32x3, TF32} {
		tol := 3e-6
		if mm == TF32 {
			tol = 2e-3
		}
		add(gemmCase{batch: 2, m: 67, n: 70, k: 40, math: mm, epilogue: true, tile: Tile{64, 64, 16, 2, 2, 3}, tol: tol})
		add(gemmCase{batch: 1, m: 17, n: 65, k: 33, math: mm, weight: true, tile: Tile{128, 128, 16, 2, 4, 3}, tol: tol})
		add(gemmCase{batch: 1, m: 3, n: 65, k: 33, math: mm, transA: true, transB: true, tile: Tile{16, 64, 16, 1, 4, 4}, tol: tol})
	}
	for _, dt := range []tensor.DType{tensor.F16, tensor.BF16} {
		tol := 1e-3
		if dt == tensor.BF16 {
			tol = 5e-3
		}
		for _, tr := range [][2]bool{{false, false}, {false, true}, {true, false}, {true, true}} {
			add(gemmCase{batch: 2, m: 67, n: 70, k: 43, dt: dt, math: Tensor16, transA: tr[0], transB: tr[1], epilogue: true, tile: Tile{64, 64, 32, 2, 2, 3}, tol: tol})
			add(gemmCase{batch: 1, m: 40, n: 72, k: 48, dt: dt, math: Tensor16, transA: tr[0], transB: tr[1], static: true, tile: Tile{64, 64, 32, 2, 2, 3}, tol: tol})
		}
		for _, m := range []int{0, 1, 129} {
			add(gemmCase{batch: 1, m: m, n: 150, k: 43, dt: dt, math: Tensor16, weight: true, epilogue: true, tile: Tile{128, 128, 32, 2, 4, 3}, tol: tol})
		}
		add(gemmCase{batch: 1, m: 9, n: 150, k: 64, dt: dt, math: Tensor16, weight: true, tile: Tile{16, 64, 32, 1, 4, 4}, tol: tol})
	}
	for _, c := range cases {
		if c.dt == tensor.Invalid {
			c.dt = tensor.F32
		}
		t.Run(c.String(), c.run)
	}
}
