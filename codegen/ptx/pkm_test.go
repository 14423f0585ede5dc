package ptx

import (
	"fmt"
	"math"
	"sort"
	"testing"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

func TestPKM(t *testing.T) {
	for _, c := range []struct {
		h, n1, n2, d1, d2, dv, knn int
		query, b2                  bool
		weighting                  Fn
		softmax, perHead           bool
	}{
		{1, 9, 7, 8, 8, 12, 16, false, false, "relu", false, false}, // dense path
		{4, 9, 9, 8, 6, 20, 0, true, true, "relu", false, false},    // dense path, projected
		{2, 6, 7, 8, 8, 12, 32, false, false, "", true, false},      // dense path, softmax
		{1, 40, 33, 8, 8, 12, 8, false, true, "relu", false, false},
		{4, 20, 24, 4, 8, 20, 16, true, false, "gelu", false, false},
		{2, 50, 40, 8, 8, 12, 32, true, false, "", true, false},
		{3, 64, 64, 8, 8, 36, 40, false, false, "", false, true},
		{2, 130, 10, 8, 8, 8, 12, false, false, "relu", false, false},
		{2, 5, 6, 8, 8, 8, 0, false, false, "", false, true}, // per head: no dense path, everything is kept
	} {
		for _, densify := range []bool{false, true} {
			for _, dt := range []tensor.DType{tensor.F32, tensor.BF16} {
				t.Run(fmt.Sprintf("%+v_%t_%v", c, densify, dt), func(t *testing.T) {
					const tokens = 5
					d := c.d1 + c.d2
					if c.query {
						d = 10
					}
					s := PKM{
						Tokens: Sym("T"), H: c.h, N1: c.n1, N2: c.n2, D1: c.d1, D2: c.d2, X2: c.d1, D: d, Dv: c.dv, KNN: c.knn, DType: dt,
						Weighting: c.weighting, Softmax: c.softmax, SoftmaxHead: c.perHead, Bias: true, B2: c.b2, Densify: densify,
					}
					if c.query {
						s.D1, s.D2, s.X2 = d, d, 0
					}
					tol := 1e-5
					if dt != tensor.F32 {
						s.Math, tol = Tensor16, 3e-2
					}
					op, err := s.Op()
					if err != nil {
						t.Fatal(err)
					}
					r := seeded(t)
					table := func(n, length, from int) PKMKeys {
						k := PKMKeys{H: c.h, N: n, Len: length, From: from, QueryLen: c.d1 + c.d2, Keys: gauss(r, c.h*n*length), KeyBias: gauss(r, c.h*n), D: d}
						return k
					}
					t1, t2 := table(c.n1, c.d1, 0), table(c.n2, c.d2, c.d1)
					if c.query {
						q, qb := gauss(r, c.h*(c.d1+c.d2)*d), gauss(r, c.h*(c.d1+c.d2))
						for i := range q {
							q[i] /= 3
						}
						t1.Query, t2.Query, t1.QueryBias, t2.QueryBias = q, q, qb, qb
					}
					x := rounded(dt, gauss(r, tokens*d))
					values, b2 := rounded(dt, gauss(r, c.n1*c.n2*c.dv)), rounded(dt, gauss(r, c.dv))
					in := map[string][]byte{"x": packAs(dt, x), "b2": packAs(dt, b2)}
					// The reference scores come from the rounded folded weights, so that 16-bit runs choose alike.
					var folded, bias [2][]float32
					for i, k := range []PKMKeys{t1, t2} {
						folded[i], bias[i] = k.Fold(s.Dense())
						folded[i] = rounded(dt, folded[i])
						b, _ := op.Buffer(fmt.Sprint("keys", i+1))
						p, err := b.Pack.Bytes(folded[i])
						if err != nil {
							t.Fatal(err)
						}
						in[b.Name], in[fmt.Sprint("key_bias", i+1)] = p, packAs(tensor.F32, bias[i])
					}
					if b, _ := op.Buffer("values"); b.Pack != nil {
						if in["values"], err = b.Pack.Bytes(values); err != nil {
							t.Fatal(err)
						}
					} else {
						in["values"] = packAs(dt, values)
					}
					scores := func(i, token, n, from, depth int) []float64 {
						cols := len(bias[i])
						out := make([]float64, cols)
						for col := range out {
							out[col] = float64(bias[i][col])
							for k := range depth {
								out[col] += float64(x[token*d+from+k]) * float64(folded[i][k*cols+col])
							}
						}
						return out
					}
					want := make([]float64, tokens*c.dv)
					for token := range tokens {
						a, b := scores(0, token, c.n1, 0, s.D1), scores(1, token, c.n2, s.X2, s.D2)
						type pick struct {
							at int
							s  float64
						}
						var all []pick
						heads := s.heads()
						k1, k2, slots := s.knn()
						for h := range heads {
							var cand []pick
							top := func(v []float64, k int) map[int]bool {
								o := make([]int, len(v))
								for i := range o {
									o[i] = i
								}
								sort.SliceStable(o, func(i, j int) bool { return v[o[i]] > v[o[j]] })
								m := map[int]bool{}
								for _, i := range o[:k] {
									m[i] = true
								}
								return m
							}
							va, vb := a[h*c.n1:(h+1)*c.n1], b[h*c.n2:(h+1)*c.n2]
							ka, kb := top(va, k1), top(vb, k2)
							for i := range va {
								for j := range vb {
									if s.Dense() || ka[i] && kb[j] {
										cand = append(cand, pick{i*c.n2 + j, va[i] + vb[j]})
									}
								}
							}
							sort.SliceStable(cand, func(i, j int) bool { return cand[i].s > cand[j].s })
							if !s.Dense() {
								cand = cand[:slots]
							}
							if c.perHead {
								z := 0.0
								for _, p := range cand {
									z += math.Exp(p.s)
								}
								for i := range cand {
									cand[i].s = math.Exp(cand[i].s) / z
								}
							}
							all = append(all, cand...)
						}
						z := 0.0
						for _, p := range all {
							z += math.Exp(p.s)
						}
						for e := range c.dv {
							if c.b2 {
								want[token*c.dv+e] = float64(b2[e])
							}
							for _, p := range all {
								w := activation(c.weighting, p.s)
								if c.softmax {
									w = math.Exp(p.s) / z
								}
								want[token*c.dv+e] += w * float64(values[p.at*c.dv+e])
							}
						}
					}
					near(t, "y", unpack(dt, run(t, op, map[string]int64{"T": tokens}, in)["y"]), want, tol)
				})
			}
		}
	}
}

// TestPKMFold checks that folding the projection into the keys changes nothing but roundings.
func TestPKMFold(t *testing.T) {
	r := seeded(t)
	k := PKMKeys{H: 2, N: 3, Len: 4, From: 2, QueryLen: 6, Keys: gauss(r, 24), KeyBias: gauss(r, 6), Query: gauss(r, 12*5), QueryBias: gauss(r, 12), D: 5}
	x := gauss(r, 5)
	for _, add := range []bool{false, true} {
		w, b := k.Fold(add)
		want := make([]float64, len(b))
		for h := range 2 {
			for n := range 3 {
				s := float64(k.KeyBias[h*3+n])
				for i := range 4 {
					q := float64(k.QueryBias[h*6+2+i])
					for d := range 5 {
						q += float64(k.Query[(h*6+2+i)*5+d]) * float64(x[d])
					}
					s += q * float64(k.Keys[(h*3+n)*4+i])
				}
				if add {
					want[n] += s
				} else {
					want[h*3+n] = s
				}
			}
		}
		got := make([]float32, len(b))
		for c := range got {
			got[c] = b[c]
			for d := range 5 {
				got[c] += x[d] * w[d*len(b)+c]
			}
		}
		near(t, "scores", got, want, 1e-6)
	}
}
