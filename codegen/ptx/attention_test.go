package ptx

import (
	"fmt"
	"math"
	"testing"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

func TestAttention(t *testing.T) {
	type c struct {
		batch, heads, kvHeads, q, k, dh, dv int
		causal                              bool
		mask                                string // "", "row" (padding), "full", "bool"
		bhsd                                bool
		project                             int // length of the rows that queries are projected from; 0: given
		math                                Math
		dt                                  tensor.DType
		tol                                 float64
	}
	var cases []c
	for _, m := range []struct {
		math Math
		dt   tensor.DType
		tol  float64
	}{{Exact, tensor.F32, 2e-6}, {TF32x3, tensor.F32, 5e-6}, {Tensor16, tensor.BF16, 1e-2}, {Tensor16, tensor.F16, 2e-3}} {
		cases = append(cases,
			c{1, 2, 2, 5, 5, 16, 16, false, "", false, 0, m.math, m.dt, m.tol},
			c{2, 3, 3, 70, 70, 32, 32, true, "", false, 0, m.math, m.dt, m.tol},
			c{2, 2, 1, 66, 33, 41, 24, false, "row", false, 0, m.math, m.dt, m.tol},
			c{1, 4, 2, 3, 130, 64, 64, false, "full", true, 0, m.math, m.dt, m.tol},
			c{2, 2, 2, 9, 9, 8, 8, false, "bool", true, 0, m.math, m.dt, m.tol},
			c{1, 1, 1, 0, 4, 8, 8, false, "", false, 0, m.math, m.dt, m.tol},
			c{2, 2, 1, 5, 0, 16, 24, false, "", false, 0, m.math, m.dt, m.tol},
			c{1, 1, 1, 65, 64, 64, 128, true, "", true, 0, m.math, m.dt, m.tol},
			c{1, 1, 1, 40, 70, 128, 128, true, "", false, 0, m.math, m.dt, m.tol},
			c{2, 2, 2, 70, 9, 16, 16, false, "", false, 32, m.math, m.dt, m.tol},
			c{1, 3, 1, 3, 66, 41, 24, false, "row", false, 37, m.math, m.dt, m.tol},
			c{2, 1, 1, 33, 33, 64, 64, true, "", false, 1, m.math, m.dt, m.tol},
			c{1, 2, 2, 65, 5, 8, 8, false, "", false, 100, m.math, m.dt, m.tol},
			c{1, 1, 1, 0, 4, 8, 8, false, "", false, 8, m.math, m.dt, m.tol},
			c{1, 2, 2, 17, 40, 128, 128, false, "", false, 72, m.math, m.dt, m.tol},
		)
	}
	for _, tc := range cases {
		t.Run(fmt.Sprintf("%+v", tc), func(t *testing.T) {
			sq, sk, b := Sym("sq"), Sym("sk"), Sym("b")
			lay := func(heads, d int, rows Expr) Heads {
				if tc.bhsd {
					return Heads{Batch: rows.MulN(heads * d), Head: rows.MulN(d), Row: N(d)}
				}
				return Heads{Batch: rows.MulN(heads * d), Head: N(d), Row: N(heads * d)}
			}
			s := Attention{
				Batch: b, Heads: tc.heads, KVHeads: tc.kvHeads, Queries: sq, Keys: sk, HeadDim: tc.dh, VHeadDim: tc.dv,
				DType: tc.dt, Math: tc.math, Scale: 0.3, Causal: tc.causal,
				Q: lay(tc.heads, tc.dh, sq), K: lay(tc.kvHeads, tc.dh, sk), V: lay(tc.kvHeads, tc.dv, sk), Y: lay(tc.heads, tc.dv, sq),
			}
			r := seeded(t)
			masks := make([]float64, tc.batch*tc.heads*tc.q*tc.k)
			at := func(z, h, i, j int) int { return ((z*tc.heads+h)*tc.q+i)*tc.k + j }
			elems := map[string]Expr{
				"q": b.Mul(sq).MulN(tc.heads * tc.dh), "k": b.Mul(sk).MulN(tc.kvHeads * tc.dh),
				"v": b.Mul(sk).MulN(tc.kvHeads * tc.dv), "y": b.Mul(sq).MulN(tc.heads * tc.dv),
			}
			in := map[string][]byte{}
			switch tc.mask {
			case "row": // the most negative number hides a key, as exporters write it
				s.Mask = &AttentionMask{DType: tensor.F32, Batch: sk, Head: N(0), Row: N(0), Col: N(1)}
				elems["mask"] = b.Mul(sk)
				m := make([]float32, tc.batch*tc.k)
				for z := range tc.batch {
					for j := range tc.k {
						if j > tc.k/2+z {
							m[z*tc.k+j] = -math.MaxFloat32
						}
						for h := range tc.heads {
							for i := range tc.q {
								masks[at(z, h, i, j)] = float64(m[z*tc.k+j])
							}
						}
					}
				}
				in["mask"] = packAs(tensor.F32, m)
			case "full":
				s.Mask = &AttentionMask{DType: tensor.F32, Batch: N(0), Head: sq.Mul(sk), Row: sk, Col: N(1)}
				elems["mask"] = sq.Mul(sk).MulN(tc.heads)
				m := gauss(r, tc.heads*tc.q*tc.k)
				m[3] = float32(math.Inf(-1))
				for z := range tc.batch {
					for i, v := range m {
						masks[z*len(m)+i] = float64(v)
					}
				}
				in["mask"] = packAs(tensor.F32, m)
			case "bool":
				s.Mask = &AttentionMask{DType: tensor.Bool, Batch: N(0), Head: N(0), Row: sk, Col: N(1), Fill: float32(math.Inf(-1))}
				elems["mask"] = sq.Mul(sk)
				m := make([]byte, tc.q*tc.k)
				for i := range tc.q {
					for j := range tc.k {
						if i != 4 && r.IntN(3) > 0 { // query 4 sees nothing
							m[i*tc.k+j] = 1
						}
						if m[i*tc.k+j] == 0 {
							for z := range tc.batch {
								for h := range tc.heads {
									masks[at(z, h, i, j)] = math.Inf(-1)
								}
							}
						}
					}
				}
				in["mask"] = m
			}
			var wq, bias []float32
			x := rounded(tc.dt, gauss(r, tc.batch*tc.q*tc.project))
			if tc.project > 0 {
				delete(elems, "q")
				n := tc.heads * tc.dh
				s.Project = &QueryProjection{D: tc.project, Bias: tc.heads > 1}
				s.Q = Heads{Batch: sq.MulN(tc.project), Head: N(0), Row: N(tc.project)}
				wq, bias = gauss(r, tc.project*n), rounded(tc.dt, gauss(r, n))
				for i := range wq {
					wq[i] /= float32(math.Sqrt(float64(tc.project)))
				}
				wq = rounded(tc.dt, wq)
				p := s.PackQuery()
				w, err := p.Bytes(wq)
				if err != nil {
					t.Fatal(err)
				}
				elems["x"], elems["wq"], elems["bias"] = b.Mul(sq).MulN(tc.project), N(p.Elems), N(n)
				in["x"], in["wq"], in["bias"] = packAs(tc.dt, x), w, packAs(tc.dt, bias)
				if !s.Project.Bias {
					bias = make([]float32, n)
				}
			}
			kern, err := s.Kernel()
			op := single(t, kern, err, elems)
			q, k, v := rounded(tc.dt, gauss(r, tc.batch*tc.q*tc.heads*tc.dh)), rounded(tc.dt, gauss(r, tc.batch*tc.k*tc.kvHeads*tc.dh)), rounded(tc.dt, gauss(r, tc.batch*tc.k*tc.kvHeads*tc.dv))
			in["q"], in["k"], in["v"] = packAs(tc.dt, q), packAs(tc.dt, k), packAs(tc.dt, v)
			if n := tc.heads * tc.dh; tc.project > 0 { // what the kernel makes of x, rounded as it keeps it
				for row := range tc.batch * tc.q {
					for j := range n {
						sum := float64(bias[j])
						for l := range tc.project {
							sum += float64(x[row*tc.project+l]) * float64(wq[l*n+j])
						}
						q[row*n+j] = float32(sum)
					}
				}
				q = rounded(tc.dt, q)
			}
			dims := map[string]int64{"b": int64(tc.batch), "sq": int64(tc.q), "sk": int64(tc.k)}
			index := func(heads, d, rows, z, h, i, e int) int {
				if tc.bhsd {
					return ((z*heads+h)*rows+i)*d + e
				}
				return ((z*rows+i)*heads+h)*d + e
			}
			want := make([]float64, tc.batch*tc.q*tc.heads*tc.dv)
			for z := range tc.batch {
				for h := range tc.heads {
					kh := h / (tc.heads / tc.kvHeads)
					for i := range tc.q {
						w, top := make([]float64, tc.k), math.Inf(-1)
						for j := range w {
							for e := range tc.dh {
								w[j] += .3 * float64(q[index(tc.heads, tc.dh, tc.q, z, h, i, e)]) * float64(k[index(tc.kvHeads, tc.dh, tc.k, z, kh, j, e)])
							}
							w[j] += masks[at(z, h, i, j)]
							if tc.causal && j > i {
								w[j] = math.Inf(-1)
							}
							top = math.Max(top, w[j])
						}
						sum := 0.0
						for j := range w {
							w[j] = math.Exp(w[j] - top)
							sum += w[j]
						}
						for e := range tc.dv {
							o := 0.0
							for j := range w {
								o += w[j] / sum * float64(v[index(tc.kvHeads, tc.dv, tc.k, z, kh, j, e)])
							}
							want[index(tc.heads, tc.dv, tc.q, z, h, i, e)] = o
						}
					}
				}
			}
			near(t, "y", unpack(tc.dt, run(t, op, dims, in)["y"]), want, tc.tol)
		})
	}
}
