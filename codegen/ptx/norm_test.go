package ptx

import (
	"fmt"
	"math"
	"testing"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

func TestNorm(t *testing.T) {
	for _, c := range []struct {
		rows, d  int
		static   bool
		dt       tensor.DType
		rms      bool
		beta     bool
		residual bool
		sum      bool
		tol      float64
	}{
		{rows: 0, d: 64, static: true, dt: tensor.F32, tol: 1e-6},
		{rows: 1, d: 1, static: true, dt: tensor.F32, beta: true, tol: 1e-6},
		{rows: 9, d: 37, static: true, dt: tensor.F32, beta: true, residual: true, sum: true, tol: 1e-6},
		{rows: 5, d: 384, static: true, dt: tensor.F32, beta: true, residual: true, tol: 1e-6},
		{rows: 5, d: 412, static: true, dt: tensor.F32, rms: true, sum: true, tol: 1e-6},
		{rows: 3, d: 1500, static: true, dt: tensor.F32, beta: true, tol: 1e-6},
		{rows: 3, d: 300, dt: tensor.F32, beta: true, residual: true, tol: 1e-6},
		{rows: 4, d: 130, static: true, dt: tensor.BF16, beta: true, residual: true, sum: true, tol: 4e-3},
		{rows: 4, d: 128, static: true, dt: tensor.F16, rms: true, tol: 1e-3},
	} {
		t.Run(fmt.Sprintf("%dx%d_%v_rms%t", c.rows, c.d, c.dt, c.rms), func(t *testing.T) {
			dims := map[string]int64{"T": int64(c.rows), "d": int64(c.d)}
			d := Sym("d")
			if c.static {
				d = N(c.d)
			}
			k, err := Norm{Rows: Sym("T"), D: d, DType: c.dt, Scale: tensor.F32, RMS: c.rms, Beta: c.beta, Residual: c.residual, Sum: c.sum, Eps: 1e-5}.Kernel()
			all := Sym("T").Mul(d)
			op := single(t, k, err, map[string]Expr{"x": all, "residual": all, "y": all, "sum": all, "gamma": d, "beta": d})
			r := seeded(t)
			x, res := rounded(c.dt, gauss(r, c.rows*c.d)), rounded(c.dt, gauss(r, c.rows*c.d))
			gamma, beta := gauss(r, c.d), gauss(r, c.d)
			out := run(t, op, dims, map[string][]byte{"x": packAs(c.dt, x), "residual": packAs(c.dt, res), "gamma": packAs(tensor.F32, gamma), "beta": packAs(tensor.F32, beta)})
			want, sums := make([]float64, len(x)), make([]float64, len(x))
			for i := range c.rows {
				mean, sq := 0.0, 0.0
				for j := range c.d {
					v := float64(x[i*c.d+j])
					if c.residual {
						v += float64(res[i*c.d+j])
					}
					sums[i*c.d+j] = v
					mean += v / float64(c.d)
				}
				if c.rms {
					mean = 0
				}
				for j := range c.d {
					sq += (sums[i*c.d+j] - mean) * (sums[i*c.d+j] - mean) / float64(c.d)
				}
				for j := range c.d {
					want[i*c.d+j] = (sums[i*c.d+j] - mean) / math.Sqrt(sq+1e-5) * float64(gamma[j])
					if c.beta {
						want[i*c.d+j] += float64(beta[j])
					}
				}
			}
			near(t, "y", unpack(c.dt, out["y"]), want, c.tol)
			if c.sum {
				near(t, "sum", unpack(c.dt, out["sum"]), sums, c.tol)
			}
		})
	}
}

func TestSoftmax(t *testing.T) {
	for _, c := range []struct {
		outer, d, inner int
		static, log     bool
		dt              tensor.DType
	}{
		{0, 5, 1, true, false, tensor.F32},
		{3, 1, 1, true, false, tensor.F32},
		{17, 33, 1, true, false, tensor.F32},
		{5, 64, 1, false, false, tensor.F32},
		{5, 1100, 1, true, true, tensor.F32},
		{2, 7, 5, true, true, tensor.F32},
		{4, 96, 1, true, false, tensor.BF16},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			dims := map[string]int64{"o": int64(c.outer), "d": int64(c.d)}
			d := Sym("d")
			if c.static {
				d = N(c.d)
			}
			k, err := Softmax{Outer: Sym("o"), D: d, Inner: N(c.inner), DType: c.dt, Log: c.log}.Kernel()
			all := Sym("o").Mul(d).MulN(c.inner)
			op := single(t, k, err, map[string]Expr{"x": all, "y": all})
			x := rounded(c.dt, gauss(seeded(t), c.outer*c.d*c.inner))
			for i := range x {
				x[i] = x[i]*8 + 100 // needs the shift by the maximum
			}
			if len(x) > 2 && c.d > 2 {
				x[0] = float32(math.Inf(-1)) // a masked position
			}
			x = rounded(c.dt, x)
			want := make([]float64, len(x))
			for o := range c.outer {
				for i := range c.inner {
					at := func(j int) int { return (o*c.d+j)*c.inner + i }
					m, s := math.Inf(-1), 0.0
					for j := range c.d {
						m = math.Max(m, float64(x[at(j)]))
					}
					for j := range c.d {
						s += math.Exp(float64(x[at(j)]) - m)
					}
					for j := range c.d {
						want[at(j)] = math.Exp(float64(x[at(j)])-m) / s
						if c.log {
							want[at(j)] = float64(x[at(j)]) - m - math.Log(s)
						}
					}
				}
			}
			tol := 1e-6
			if c.dt != tensor.F32 {
				tol = 4e-3
			}
			near(t, "y", unpack(c.dt, run(t, op, dims, map[string][]byte{"x": packAs(c.dt, x)})["y"]), want, tol)
		})
	}
}

func TestReduce(t *testing.T) {
	// x is [3, s, 5, 7]; reduce over the last two, over dims 1 and 3, over dim 1 alone, over all
	s := Sym("s")
	shape := []Expr{N(3), s, N(5), N(7)}
	st := Contiguous(shape).Strides
	fold := map[string]func(v []float64) float64{
		"sum": func(v []float64) float64 { return sumOf(v) }, "mean": func(v []float64) float64 { return sumOf(v) / float64(len(v)) },
		"max": func(v []float64) float64 { return bestOf(v, 1) }, "min": func(v []float64) float64 { return -bestOf(v, -1) },
		"l1": func(v []float64) (a float64) {
			for _, x := range v {
				a += math.Abs(x)
			}
			return
		},
		"l2": func(v []float64) (a float64) {
			for _, x := range v {
				a += x * x
			}
			return math.Sqrt(a)
		},
	}
	for _, axes := range [][2][]int{{{0, 1}, {2, 3}}, {{0, 2}, {1, 3}}, {{0, 2, 3}, {1}}, {{}, {0, 1, 2, 3}}} {
		for _, kind := range []string{"sum", "mean", "max", "min", "l1", "l2", "argmax", "argmin"} {
			t.Run(fmt.Sprint(kind, axes[1]), func(t *testing.T) {
				spec := Reduce{Kind: kind, DType: tensor.F32}
				outs := N(1)
				for _, a := range axes[0] {
					spec.Outer = append(spec.Outer, shape[a])
					spec.In.Strides = append(spec.In.Strides, st[a])
					outs = outs.Mul(shape[a])
				}
				for _, a := range axes[1] {
					spec.Inner = append(spec.Inner, shape[a])
					spec.In.Strides = append(spec.In.Strides, st[a])
				}
				k, err := spec.Kernel()
				op := single(t, k, err, map[string]Expr{"x": Elems(shape), "y": outs})
				const S = 11
				x := gauss(seeded(t), 3*S*5*7)
				for i := range x {
					x[i] = float32(math.Round(float64(x[i]) * 4)) // equal elements, for the ties
				}
				out := run(t, op, map[string]int64{"s": S}, map[string][]byte{"x": packAs(tensor.F32, x)})["y"]
				size, stride := []int{3, S, 5, 7}, []int{S * 35, 35, 7, 1}
				var groups [][]float64
				var walk func(ax []int, off int, visit func(int))
				walk = func(ax []int, off int, visit func(int)) {
					if len(ax) == 0 {
						visit(off)
						return
					}
					for i := range size[ax[0]] {
						walk(ax[1:], off+i*stride[ax[0]], visit)
					}
				}
				walk(axes[0], 0, func(o int) {
					var g []float64
					walk(axes[1], o, func(i int) { g = append(g, float64(x[i])) })
					groups = append(groups, g)
				})
				for i, g := range groups {
					if kind == "argmax" || kind == "argmin" {
						sign := 1.0
						if kind == "argmin" {
							sign = -1
						}
						want := 0
						for j := range g {
							if sign*g[j] > sign*g[want] {
								want = j
							}
						}
						if got := unpackI64(out)[i]; got != int64(want) {
							t.Fatalf("output %d: got %d, want %d", i, got, want)
						}
						continue
					}
					near(t, "y", unpack(tensor.F32, out)[i:i+1], []float64{fold[kind](g)}, 1e-5)
				}
			})
		}
	}
}

func sumOf(v []float64) (s float64) {
	for _, x := range v {
		s += x
	}
	return s
}

func bestOf(v []float64, sign float64) float64 {
	b := math.Inf(-1)
	for _, x := range v {
		b = math.Max(b, sign*x)
	}
	return b
}
