package ffn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
)

// pkmShape: tokens, heads, keys and widths of each half, outputs, and KNN.
type pkmShape struct{ t, heads, n1, n2, d1, d2, dv, knn int }

func randomPKM(t testing.TB, k *gemm.Kernels, p layout.Precision, rng *rand.Rand, s pkmShape, dense bool) *PKM {
	l := &PKM{Kernels: k, KNN: s.knn, T: s.t, Dv: s.dv, Act: []act.Kind{act.Relu, act.Identity, act.Gelu}[rng.IntN(3)]}
	for range s.heads {
		l.Keys0 = append(l.Keys0, pack(t, layout.F32, rng, s.d1, s.n1))
		l.Keys1 = append(l.Keys1, pack(t, layout.F32, rng, s.d2, s.n2))
	}
	d := s.d1 + s.d2
	if rng.IntN(2) == 0 {
		l.Query = pack(t, layout.F32, rng, 5, s.heads*d)
		d = 5
		if rng.IntN(2) == 0 {
			l.QueryBias = floats(rng, l.Query.N)
		}
	}
	if rng.IntN(2) == 0 {
		l.KeyBias0, l.KeyBias1 = floats(rng, s.heads*s.n1), floats(rng, s.heads*s.n2)
	}
	if dense {
		l.Dense = pack(t, p, rng, s.n1*s.n2, s.dv)
		l.Weighting = Weighting(rng.IntN(2))
	} else {
		l.Values = floats(rng, s.n1*s.n2*s.dv)
		l.Weighting = Weighting(rng.IntN(3))
	}
	if rng.IntN(2) == 0 {
		l.Bias = floats(rng, s.dv)
	}
	if rng.IntN(2) == 0 {
		l.Residual = gemm.Rows{Data: floats(rng, s.t*s.dv), Stride: s.dv}
	}
	l.X = gemm.Rows{Data: floats(rng, s.t*d), Stride: d}
	return l
}

// pkmRef is one row in float64. sure is false if a selection hangs on rounding.
func pkmRef(l *PKM, x []float32) (y []interval, sure bool) {
	n1, n2 := l.Keys0[0].N, l.Keys1[0].N
	d1, d2 := l.Keys0[0].K, l.Keys1[0].K
	in := make([]interval, len(x))
	for i, v := range x {
		in[i].v = float64(v)
	}
	q := in
	if l.Query != nil {
		q = product(l.Kernels, in, l.Query, l.QueryBias)
	}
	sure = true
	var index []int
	var score []interval
	var perHead int
	total := make([]interval, n1*n2)
	for h := range l.Keys0 {
		at := 0
		if l.Query != nil {
			at = h * (d1 + d2)
		}
		var b0, b1 []float32
		if l.KeyBias0 != nil {
			b0, b1 = l.KeyBias0[h*n1:(h+1)*n1], l.KeyBias1[h*n2:(h+1)*n2]
		}
		s1 := product(l.Kernels, q[at:at+d1], l.Keys0[h], b0)
		s2 := product(l.Kernels, q[at+d1:at+d1+d2], l.Keys1[h], b1)
		sums := make([]interval, n1*n2)
		order := make([]int, n1*n2)
		for i, a := range s1 {
			for j, b := range s2 {
				v := i*n2 + j
				order[v] = v
				sums[v] = interval{a.v + b.v, a.e + b.e + 1e-6}
				total[v].v += sums[v].v
				total[v].e += sums[v].e
			}
		}
		slices.SortStableFunc(order, func(a, b int) int {
			switch {
			case sums[a].v > sums[b].v:
				return -1
			case sums[a].v < sums[b].v:
				return 1
			}
			return 0
		})
		n := len(order)
		if l.KNN > 0 {
			n = min(n, l.KNN)
		}
		if n < len(order) {
			a, b := sums[order[n-1]], sums[order[n]]
			sure = sure && a.v-b.v > a.e+b.e
		}
		perHead = n
		for _, v := range order[:n] {
			index, score = append(index, v), append(score, sums[v])
		}
	}
	if l.Dense != nil {
		index, score = index[:0], total
		for v := range total {
			index = append(index, v)
		}
		perHead = len(total)
	}
	weigh := func(s []interval) {
		x, e := make([]float64, len(s)), 0.0
		for i, a := range s {
			x[i] = a.v
			e = max(e, a.e)
		}
		for i, p := range softmaxRef(x) {
			s[i] = interval{p, p*(2*e+2e-6) + 1e-9}
		}
	}
	switch l.Weighting {
	case WeightSoftmax:
		weigh(score)
	case WeightSoftmaxHead:
		for i := 0; i < len(score); i += perHead {
			weigh(score[i : i+perHead])
		}
	default:
		for i, a := range score {
			score[i] = interval{l.Act.Exact(a.v), 1.13*a.e + 1e-6*max(1, math.Abs(a.v))}
		}
	}
	if l.Dense != nil {
		return product(l.Kernels, score, l.Dense, nil), sure
	}
	y = make([]interval, l.Dv)
	for i, v := range index {
		for j := range y {
			w := float64(l.Values[v*l.Dv+j])
			y[j].v += score[i].v * w
			y[j].e += (score[i].e + math.Abs(score[i].v)*1e-5) * math.Abs(w)
		}
	}
	return y, sure
}

func TestPKM(t *testing.T) {
	rs := threads(t)
	checked, unsure := 0, 0
	for level, k := range variants() {
		rng := rand.New(rand.NewPCG(51, 52))
		for _, p := range precisions {
			for _, s := range []pkmShape{{0, 1, 2, 2, 2, 2, 3, 2}, {1, 1, 1, 1, 1, 1, 1, 1}, {1, 2, 20, 17, 4, 3, 37, 9}, {3, 4, 12, 30, 5, 5, 16, 16}, {5, 2, 9, 9, 3, 3, 70, 40}, {70, 1, 24, 8, 4, 6, 20, 12}, {2, 3, 5, 5, 2, 2, 9, 0}, {4, 1, 40, 40, 3, 3, 33, 5}} {
				for _, dense := range []bool{false, true} {
					l := randomPKM(t, k, p, rng, s, dense)
					name := fmt.Sprintf("%s %v %+v dense=%v weighting %d", level, p, s, dense, l.Weighting)
					var first []float32
					for _, r := range rs {
						y := poison(s.t * s.dv)
						l.Y = gemm.Rows{Data: y, Stride: s.dv}
						if err := l.Run(r, poison(l.Scratch(r.Workers()))); err != nil {
							t.Fatalf("%s: %v", name, err)
						}
						if first == nil {
							first = y
						}
						sameBits(t, fmt.Sprintf("%s with %d threads", name, r.Workers()), y, first)
					}
					for i := range s.t {
						want, sure := pkmRef(l, l.X.Data[i*l.X.Stride:(i+1)*l.X.Stride])
						checked++
						if !sure && !dense {
							unsure++
							continue
						}
						within(t, fmt.Sprintf("%s row %d", name, i), first[i*s.dv:(i+1)*s.dv], want, func(j int) float64 {
							b := 0.0
							if l.Bias != nil {
								b = float64(l.Bias[j])
							}
							if l.Residual.Data != nil {
								b += float64(l.Residual.Data[i*s.dv+j])
							}
							return b
						})
					}
				}
			}
		}
	}
	if unsure > checked/20 {
		t.Errorf("%d of %d tokens could not be checked", unsure, checked)
	}
}

// The pruned search selects what a search of all pairs selects, with many equal
// scores among them.
func TestPKMSearch(t *testing.T) {
	for level, k := range variants() {
		rng := rand.New(rand.NewPCG(8, 8))
		for range 400 {
			n1, n2 := 1+rng.IntN(20), 1+rng.IntN(20)
			l := &PKM{Kernels: k, KNN: 1 + rng.IntN(25), T: 1}
			l.Keys0, l.Keys1 = []*layout.Matrix{{N: n1}}, []*layout.Matrix{{N: n2}}
			l.plan(1)
			s1, s2 := make([]float32, n1), make([]float32, n2)
			for i := range s1 {
				s1[i] = float32(rng.IntN(5))
			}
			for i := range s2 {
				s2[i] = float32(rng.IntN(5))
			}
			a := arena{make([]float32, l.searchLen())}
			s := l.newSearch(&a)
			value, score := make([]int32, l.slots), make([]float32, l.slots)
			s.best(k.Features(), s1, s2, value, score)
			sums := make([]float32, 0, n1*n2)
			for _, u := range s1 {
				for _, v := range s2 {
					sums = append(sums, u+v)
				}
			}
			for i, v := range value {
				if score[i] != sums[v] {
					t.Fatalf("%s: value %d has score %v, want %v", level, v, score[i], sums[v])
				}
			}
			want := topKRef(sums, l.slots)
			slices.Sort(value)
			got := make([]float32, 0, len(value))
			expect := make([]float32, 0, len(value))
			for i := range value {
				got, expect = append(got, sums[value[i]]), append(expect, sums[want[i]])
			}
			slices.Sort(got)
			slices.Sort(expect)
			if !slices.Equal(got, expect) || len(slices.Compact(slices.Clone(value))) != len(value) {
				t.Fatalf("%s: n1=%d n2=%d knn=%d: selected %v, want %v", level, n1, n2, l.KNN, value, want)
			}
		}
	}
}

func TestPKMAllocatesNothing(t *testing.T) {
	for _, r := range threads(t)[:2] {
		for level, k := range variants() {
			for _, n := range []int{1, 60} {
				for _, dense := range []bool{false, true} {
					l := randomPKM(t, k, layout.F32, rand.New(rand.NewPCG(1, 1)), pkmShape{n, 2, 12, 12, 3, 3, 16, 5}, dense)
					l.Y = gemm.Rows{Data: make([]float32, n*16), Stride: 16}
					scratch := make([]float32, l.Scratch(r.Workers()))
					if a := testing.AllocsPerRun(3, func() { _ = l.Run(r, scratch) }); a != 0 {
						t.Errorf("%s T=%d dense=%v: %v allocations", level, n, dense, a)
					}
				}
			}
		}
	}
}
