package ptx

import (
	"fmt"
	"math"
	"testing"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// normEval is the formula over rows of d numbers, in float64.
func normEval(n RowNorm, d int, v []float64, gamma, beta []float32) []float64 {
	out := make([]float64, len(v))
	for r := 0; r < len(v); r += d {
		mean, sq := 0.0, 0.0
		for _, x := range v[r : r+d] {
			mean += x / float64(d)
		}
		if n.RMS {
			mean = 0
		}
		for _, x := range v[r : r+d] {
			sq += (x - mean) * (x - mean) / float64(d)
		}
		for j, x := range v[r : r+d] {
			out[r+j] = (x - mean) / math.Sqrt(sq+float64(n.Eps)) * float64(gamma[j])
			if n.Beta {
				out[r+j] += float64(beta[j])
			}
		}
	}
	return out
}

// residualNorm is an output projection with what follows it in a transformer: c = a b + bias + residual, y = norm(c).
func residualNorm(m Expr, n, k int, dt tensor.DType, math Math, norm RowNorm, tile Tile) Gemm {
	var p Program
	acc, bias, res := p.In(tensor.F32), p.In(dt), p.In(dt)
	p.Out(p.Do("add", p.Do("add", acc, bias), res), dt)
	return Gemm{
		M: m, N: N(n), K: N(k), Weight: true, Math: math, Tile: tile, Epilogue: p, Norm: &norm,
		A: Matrix{DType: dt, Row: N(k), Col: N(1)}, B: Matrix{DType: dt, Row: N(n), Col: N(1)}, C: Matrix{DType: dt, Row: N(n), Col: N(1)},
		Extra: []Matrix{{DType: dt, Row: N(0), Col: N(1)}, {DType: dt, Row: N(n), Col: N(1)}},
	}
}

// op wraps the kernel with its counters as state.
func (g Gemm) normOp(t testing.TB) *Op {
	t.Helper()
	p, err := g.Pack()
	if err != nil {
		t.Fatal(err)
	}
	kern, err := g.Kernel()
	mn := g.M.Mul(g.N)
	op := single(t, kern, err, map[string]Expr{
		"a": g.M.Mul(g.K), "b": N(p.Elems), "extra1": g.N, "extra2": mn, "gamma": g.N, "beta": g.N, "c": mn, "y": mn,
		"arrivals": g.M.CeilDiv(g.Tile.M),
	})
	for i := range op.Buffers {
		if op.Buffers[i].Name == "arrivals" {
			op.Buffers[i].Role = State
		}
	}
	return op
}

// normNumbers are inputs of such an op, and what c is to be.
func normNumbers(t testing.TB, g Gemm, m int) (in map[string][]byte, c []float64, gamma, beta []float32) {
	dt := g.A.DType
	nn, _ := g.N.Const()
	kk, _ := g.K.Const()
	n, k := int(nn), int(kk)
	r := seeded(t)
	a, b := rounded(dt, gauss(r, m*k)), rounded(dt, gauss(r, k*n))
	bias, res := rounded(dt, gauss(r, n)), rounded(dt, gauss(r, m*n))
	for i := range res {
		res[i] += 30 // a mean far from zero
	}
	res = rounded(dt, res)
	gamma, beta = gauss(r, n), gauss(r, n)
	c = make([]float64, m*n)
	for i := range m {
		for j := range n {
			s := float64(bias[j]) + float64(res[i*n+j])
			for l := range k {
				s += float64(a[i*k+l]) * float64(b[l*n+j])
			}
			c[i*n+j] = s
		}
	}
	p, err := g.Pack()
	if err != nil {
		t.Fatal(err)
	}
	w, err := p.Bytes(b)
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{
		"a": packAs(dt, a), "b": w, "extra1": packAs(dt, bias), "extra2": packAs(dt, res),
		"gamma": packAs(g.Norm.Scale, gamma), "beta": packAs(g.Norm.Scale, beta),
	}, c, gamma, beta
}

// TestGemmNorm: rows normalised by the product that finishes them; in one block per row and in several, rows that fit
// into registers and rows that do not.
func TestGemmNorm(t *testing.T) {
	small := Tile{16, 64, 16, 1, 2, 3}
	for _, c := range []struct {
		m, n, k int
		dt      tensor.DType
		math    Math
		norm    RowNorm
		tile    Tile
		tol     float64
	}{
		{0, 64, 20, tensor.F32, Exact, RowNorm{Beta: true}, small, 1e-6},
		{1, 1, 5, tensor.F32, Exact, RowNorm{Beta: true, Eps: 1e-5}, small, 1e-6},
		{17, 64, 20, tensor.F32, Exact, RowNorm{Beta: true, Eps: 1e-5}, small, 1e-5},
		{33, 130, 20, tensor.F32, Exact, RowNorm{Beta: true, Eps: 1e-5}, small, 1e-5},
		{19, 37, 12, tensor.F32, TF32x3, RowNorm{RMS: true, Eps: 1e-6}, Tile{16, 64, 16, 1, 4, 3}, 1e-5},
		{65, 260, 8, tensor.F32, TF32x3, RowNorm{RMS: true, Eps: 1e-6}, Tile{64, 64, 16, 2, 2, 3}, 1e-5},
		{70, 128, 8, tensor.F32, TF32x3, RowNorm{Beta: true, Eps: 1e-5}, Tile{64, 128, 16, 2, 4, 3}, 1e-5},
		{33, 512, 8, tensor.F32, TF32x3, RowNorm{Eps: 1e-5}, Tile{32, 64, 16, 2, 2, 3}, 1e-5},
		{3, 1030, 8, tensor.F32, Exact, RowNorm{Beta: true, Eps: 1e-5}, small, 1e-5},
		{3, 2052, 8, tensor.F32, Exact, RowNorm{RMS: true, Eps: 1e-5}, small, 1e-5},
		{33, 130, 24, tensor.BF16, Tensor16, RowNorm{Beta: true, Eps: 1e-5}, Tile{32, 64, 32, 2, 2, 3}, 2e-1},
		{65, 256, 24, tensor.F16, Tensor16, RowNorm{RMS: true, Eps: 1e-5}, Tile{64, 128, 32, 2, 4, 3}, 4e-2},
	} {
		c.norm.Scale = c.dt
		if c.n > 1024 {
			c.norm.Scale = tensor.F32
		}
		t.Run(fmt.Sprintf("%dx%dx%d_%v_rms%t", c.m, c.n, c.k, c.math, c.norm.RMS), func(t *testing.T) {
			g := residualNorm(Sym("m"), c.n, c.k, c.dt, c.math, c.norm, c.tile)
			in, want, gamma, beta := normNumbers(t, g, c.m)
			gamma, beta = rounded(c.norm.Scale, gamma), rounded(c.norm.Scale, beta)
			op := g.normOp(t)
			if !c.norm.Beta {
				delete(in, "beta")
			}
			out := run(t, op, map[string]int64{"m": int64(c.m)}, in)
			tol := 1e-6
			if c.dt != tensor.F32 {
				tol = 4e-3
			}
			got := unpack(c.dt, out["c"])
			near(t, "c", got, want, tol)
			// The norm is of c as stored: rounding before it is the format's, not the norm's.
			stored := make([]float64, len(got))
			for i, x := range got {
				stored[i] = float64(x)
			}
			tol = 2e-5
			if c.dt != tensor.F32 {
				tol = 4e-3
			}
			near(t, "y", unpack(c.dt, out["y"]), normEval(c.norm, c.n, stored, gamma, beta), tol)
			near(t, "y", unpack(c.dt, out["y"]), normEval(c.norm, c.n, want, gamma, beta), c.tol*3)
		})
	}
}

// TestGemmParts: several products of one matrix, each with its own output and bias.
func TestGemmParts(t *testing.T) {
	for _, c := range []struct {
		m, n, k, parts int
		dt             tensor.DType
		math           Math
		tile           Tile
		tol            float64
	}{
		{0, 8, 8, 2, tensor.F32, Exact, Tile{16, 64, 16, 1, 2, 3}, 1e-6},
		{1, 1, 1, 2, tensor.F32, Exact, Tile{16, 64, 16, 1, 2, 3}, 1e-6},
		{17, 130, 37, 3, tensor.F32, Exact, Tile{16, 64, 16, 1, 2, 3}, 1e-6},
		{65, 64, 40, 5, tensor.F32, TF32x3, Tile{64, 64, 16, 2, 2, 3}, 3e-6},
		{33, 70, 43, 4, tensor.BF16, Tensor16, Tile{32, 64, 32, 2, 2, 3}, 5e-3},
		{129, 136, 48, 2, tensor.F16, Tensor16, Tile{128, 128, 32, 2, 4, 3}, 1e-3},
	} {
		t.Run(fmt.Sprintf("%dx%dx%dx%d_%v", c.parts, c.m, c.n, c.k, c.math), func(t *testing.T) {
			var p Program
			acc, bias := p.In(tensor.F32), p.In(c.dt)
			p.Out(p.Do("relu", p.Do("add", acc, bias)), c.dt)
			g := Gemm{
				M: Sym("m"), N: N(c.n), K: N(c.k), Weight: true, Math: c.math, Tile: c.tile, Epilogue: p, Parts: c.parts,
				A: Matrix{DType: c.dt, Row: N(c.k), Col: N(1)}, B: Matrix{DType: c.dt, Row: N(c.n), Col: N(1)}, C: Matrix{DType: c.dt, Row: N(c.n), Col: N(1)},
				Extra: []Matrix{{DType: c.dt, Row: N(0), Col: N(1)}},
			}
			pack, err := g.Pack()
			if err != nil {
				t.Fatal(err)
			}
			elems := map[string]Expr{"a": g.M.Mul(g.K), "b": N(pack.Elems), "extra1": N(c.parts * c.n)}
			r := seeded(t)
			a, b, bs := rounded(c.dt, gauss(r, c.m*c.k)), rounded(c.dt, gauss(r, c.parts*c.k*c.n)), rounded(c.dt, gauss(r, c.parts*c.n))
			w, err := pack.Bytes(b)
			if err != nil {
				t.Fatal(err)
			}
			for i := range c.parts {
				elems[fmt.Sprintf("c%d", i+1)] = g.M.Mul(g.N)
			}
			kern, err := g.Kernel()
			out := run(t, single(t, kern, err, elems), map[string]int64{"m": int64(c.m)}, map[string][]byte{"a": packAs(c.dt, a), "b": w, "extra1": packAs(c.dt, bs)})
			for z := range c.parts {
				want := make([]float64, c.m*c.n)
				for i := range c.m {
					for j := range c.n {
						s := float64(bs[z*c.n+j])
						for l := range c.k {
							s += float64(a[i*c.k+l]) * float64(b[(z*c.k+l)*c.n+j])
						}
						want[i*c.n+j] = math.Max(s, 0)
					}
				}
				near(t, fmt.Sprint("c", z+1), unpack(c.dt, out[fmt.Sprintf("c%d", z+1)]), want, c.tol)
			}
		})
	}
}
