package ptx

import (
	"fmt"
	"math"
	"testing"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

func TestGather(t *testing.T) {
	for _, c := range []struct{ outer, axis, inner, count int }{{1, 50, 64, 9}, {3, 4, 7, 6}, {2, 5, 4, 0}, {1, 1, 1, 1}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			n := Sym("n")
			k, err := Gather{Outer: N(c.outer), Axis: N(c.axis), Inner: N(c.inner), Count: n, DType: tensor.F32, Index: tensor.I64}.Kernel()
			op := single(t, k, err, map[string]Expr{"x": N(c.outer * c.axis * c.inner), "index": n, "y": n.MulN(c.outer * c.inner)})
			r := seeded(t)
			x, idx := gauss(r, c.outer*c.axis*c.inner), make([]int64, c.count)
			for i := range idx {
				idx[i] = int64(r.IntN(2*c.axis) - c.axis)
			}
			got := unpack(tensor.F32, run(t, op, map[string]int64{"n": int64(c.count)}, map[string][]byte{"x": packAs(tensor.F32, x), "index": packI64(idx)})["y"])
			for o := range c.outer {
				for i, p := range idx {
					if p < 0 {
						p += int64(c.axis)
					}
					for j := range c.inner {
						if g, w := got[(o*c.count+i)*c.inner+j], x[(o*c.axis+int(p))*c.inner+j]; g != w {
							t.Fatalf("[%d %d %d] = %g, want %g", o, i, j, g, w)
						}
					}
				}
			}
		})
	}
}

// TestGatherElements picks along each axis, by indices that cover less than the data and count from both ends.
func TestGatherElements(t *testing.T) {
	for axis := range 3 {
		for _, c := range [][2][3]int{{{2, 5, 3}, {2, 4, 3}}, {{4, 5, 6}, {3, 2, 5}}, {{1, 1, 1}, {1, 1, 1}}, {{3, 2, 2}, {0, 2, 2}}} {
			shape, count := c[0], c[1]
			count[axis] += 2 * min(count[0], 1) // more picks than elements
			dims, S, C := map[string]int64{}, make([]Expr, 3), make([]Expr, 3)
			for i := range 3 {
				S[i], C[i] = Sym(fmt.Sprint("s", i)), Sym(fmt.Sprint("c", i))
				dims[fmt.Sprint("s", i)], dims[fmt.Sprint("c", i)] = int64(shape[i]), int64(count[i])
			}
			k, err := GatherElements{Shape: S, Count: C, Axis: axis, DType: tensor.I64, Index: tensor.I64}.Kernel()
			op := single(t, k, err, map[string]Expr{"x": Elems(S), "index": Elems(C), "y": Elems(C)})
			r := seeded(t)
			x, idx := make([]int64, shape[0]*shape[1]*shape[2]), make([]int64, count[0]*count[1]*count[2])
			for i := range x {
				x[i] = int64(i) - 9
			}
			for i := range idx {
				idx[i] = int64(r.IntN(2*shape[axis]) - shape[axis])
			}
			got := unpackI64(run(t, op, dims, map[string][]byte{"x": packI64(x), "index": packI64(idx)})["y"])
			for i := range got {
				at := [3]int{i / (count[1] * count[2]), i / count[2] % count[1], i % count[2]}
				if at[axis] = int(idx[i]); at[axis] < 0 {
					at[axis] += shape[axis]
				}
				if w := x[(at[0]*shape[1]+at[1])*shape[2]+at[2]]; got[i] != w {
					t.Fatalf("axis %d of %v: [%d] = %d, want %d", axis, c, i, got[i], w)
				}
			}
		}
	}
}

func TestPad(t *testing.T) {
	const h, w = 4, 5
	for mode, pick := range map[string]func(i, n int) int{
		"constant": func(i, n int) int {
			if i < 0 || i >= n {
				return -1
			}
			return i
		},
		"edge": func(i, n int) int { return min(max(i, 0), n-1) },
		"reflect": func(i, n int) int {
			if i < 0 {
				i = -i
			}
			if i >= n {
				i = 2*(n-1) - i
			}
			return i
		},
	} {
		t.Run(mode, func(t *testing.T) {
			shape := []Expr{Sym("h").AddN(5), N(w + 3)}
			k, err := Pad{Shape: shape, Size: []Expr{Sym("h"), N(w)}, Before: []Expr{N(2), N(1)}, DType: tensor.F32, Mode: mode, Value: 7}.Kernel()
			op := single(t, k, err, map[string]Expr{"x": Sym("h").MulN(w), "y": Elems(shape)})
			x := gauss(seeded(t), h*w)
			got := unpack(tensor.F32, run(t, op, map[string]int64{"h": h}, map[string][]byte{"x": packAs(tensor.F32, x)})["y"])
			for i := range h + 5 {
				for j := range w + 3 {
					a, b := pick(i-2, h), pick(j-1, w)
					want := float32(7)
					if a >= 0 && b >= 0 {
						want = x[a*w+b]
					}
					if g := got[i*(w+3)+j]; g != want {
						t.Fatalf("[%d %d] = %g, want %g", i, j, g, want)
					}
				}
			}
		})
	}
}

func window(in, size, stride, dil, pad, padEnd int) (Window, int) {
	out := (in+pad+padEnd-(size-1)*dil-1)/stride + 1
	return Window{Size: size, Stride: stride, Dilation: dil, Pad: pad, In: N(in), Out: N(out)}, out
}

func TestConv(t *testing.T) {
	for _, c := range []struct {
		batch, inC, outC, groups, h, w, kh, kw, stride, dil, pad int
		math                                                     Math
		dt                                                       tensor.DType
		tol                                                      float64
	}{
		{2, 3, 8, 1, 9, 11, 3, 3, 2, 1, 1, Exact, tensor.F32, 1e-6},
		{1, 4, 6, 2, 7, 6, 3, 2, 1, 2, 1, Exact, tensor.F32, 1e-6},
		{2, 8, 5, 1, 6, 5, 1, 1, 1, 1, 0, Exact, tensor.F32, 1e-6},
		{1, 3, 16, 1, 16, 16, 8, 8, 8, 1, 0, Exact, tensor.F32, 1e-6},
		{1, 5, 9, 1, 8, 8, 3, 3, 1, 1, 1, TF32x3, tensor.F32, 3e-6},
		{1, 6, 9, 1, 8, 8, 3, 3, 1, 1, 1, Tensor16, tensor.BF16, 5e-3},
		{2, 6, 6, 6, 8, 9, 3, 3, 1, 1, 1, Exact, tensor.F32, 1e-6}, // depthwise
		{1, 4, 8, 4, 8, 9, 7, 7, 2, 1, 3, Exact, tensor.BF16, 5e-3},
	} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			hw, oh := window(c.h, c.kh, c.stride, c.dil, c.pad, c.pad)
			ww, ow := window(c.w, c.kw, c.stride, c.dil, c.pad, c.pad)
			var p Program
			acc, bias := p.In(tensor.F32), p.In(tensor.F32)
			p.Out(p.Do("relu", p.Do("add", acc, bias)), c.dt)
			b := Sym("b")
			var k *Kernel
			var err error
			if c.groups > 1 && c.groups == c.inC {
				k, err = Depthwise{
					Batch: b, C: c.inC, Mult: c.outC / c.inC, H: hw, W: ww, DType: c.dt, Epilogue: p,
					Extra: []Matrix{{Row: N(1), Col: N(0)}},
				}.Kernel()
			} else {
				perGroup := c.outC / c.groups
				k, err = Conv{
					Batch: b, InC: c.inC, OutC: c.outC, Groups: c.groups, H: hw, W: ww, DType: c.dt, Math: c.math, Epilogue: p,
					Extra: []Matrix{{Row: N(1), Col: N(0), Batch: []Expr{N(0), N(perGroup)}}},
				}.Kernel()
			}
			icg, ocg := c.inC/c.groups, c.outC/c.groups
			nw := c.outC * icg * c.kh * c.kw
			op := single(t, k, err, map[string]Expr{"a": N(nw), "b": b.MulN(c.inC * c.h * c.w), "extra1": N(c.outC), "c": b.MulN(c.outC * oh * ow)})
			r := seeded(t)
			x, wt, bs := rounded(c.dt, gauss(r, c.batch*c.inC*c.h*c.w)), rounded(c.dt, gauss(r, nw)), gauss(r, c.outC)
			want := make([]float64, c.batch*c.outC*oh*ow)
			for n := range c.batch {
				for o := range c.outC {
					for y := range oh {
						for z := range ow {
							s := float64(bs[o])
							for i := range icg {
								for ky := range c.kh {
									for kx := range c.kw {
										iy, ix := y*c.stride-c.pad+ky*c.dil, z*c.stride-c.pad+kx*c.dil
										if iy < 0 || ix < 0 || iy >= c.h || ix >= c.w {
											continue
										}
										s += float64(x[((n*c.inC+o/ocg*icg+i)*c.h+iy)*c.w+ix]) * float64(wt[((o*icg+i)*c.kh+ky)*c.kw+kx])
									}
								}
							}
							want[((n*c.outC+o)*oh+y)*ow+z] = math.Max(s, 0)
						}
					}
				}
			}
			out := run(t, op, map[string]int64{"b": int64(c.batch)}, map[string][]byte{"a": packAs(c.dt, wt), "b": packAs(c.dt, x), "extra1": packAs(tensor.F32, bs)})
			near(t, "c", unpack(c.dt, out["c"]), want, c.tol)
		})
	}
}

func TestPool(t *testing.T) {
	for _, c := range []struct {
		max, countPad bool
		stride, pad   int
	}{{true, false, 2, 1}, {false, false, 2, 1}, {false, true, 1, 1}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			const planes, h, w, size = 6, 7, 8, 3
			hw, oh := window(h, size, c.stride, 1, c.pad, c.pad)
			ww, ow := window(w, size, c.stride, 1, c.pad, c.pad)
			k, err := Pool{Planes: Sym("p"), H: hw, W: ww, DType: tensor.F32, Max: c.max, CountPad: c.countPad}.Kernel()
			op := single(t, k, err, map[string]Expr{"x": Sym("p").MulN(h * w), "y": Sym("p").MulN(oh * ow)})
			x := gauss(seeded(t), planes*h*w)
			want := make([]float64, planes*oh*ow)
			for p := range planes {
				for y := range oh {
					for z := range ow {
						m, s, n := math.Inf(-1), 0.0, 0.0
						for ky := range size {
							for kx := range size {
								iy, ix := y*c.stride-c.pad+ky, z*c.stride-c.pad+kx
								if iy < 0 || ix < 0 || iy >= h || ix >= w {
									continue
								}
								v := float64(x[(p*h+iy)*w+ix])
								m, s, n = math.Max(m, v), s+v, n+1
							}
						}
						if c.countPad {
							n = size * size
						}
						v := s / n
						if c.max {
							v = m
						}
						want[(p*oh+y)*ow+z] = v
					}
				}
			}
			near(t, "y", unpack(tensor.F32, run(t, op, map[string]int64{"p": planes}, map[string][]byte{"x": packAs(tensor.F32, x)})["y"]), want, 1e-6)
		})
	}
}
