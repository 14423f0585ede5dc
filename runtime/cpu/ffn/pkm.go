package ffn

import (
	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
	"github.com/seed-c851cfd2/moec/runtime/cpu/gemm"
	"github.com/seed-c851cfd2/moec/runtime/cpu/pool"
)

// Weighting turns the scores of a PKM's values into their weights.
type Weighting uint8

// The weightings.
const (
	WeightAct         Weighting = iota // PKM.Act of each score
	WeightSoftmax                      // softmax over the selected of all heads
	WeightSoftmaxHead                  // softmax over the selected of each head
)

// PKM is a product-key memory. Per head h the query q is X, or X*Query + QueryBias;
// its first part meets Keys0[h], the rest Keys1[h], which gives scores s1 and s2.
//
// On the sparse path (Values set) the KNN best sums s1[i]+s2[j] are selected per
// head, the lower value i*n2+j first among equals, and
//
//	Y = Bias + Residual + sum of weight * Values[i*n2+j]
//
// reads only the selected values. On the dense path (Dense set) the scores of the
// heads are added up and all values take part.
type PKM struct {
	Kernels              *gemm.Kernels
	Query                *layout.Matrix // D x heads*(d1+d2), or nil
	QueryBias            []float32
	Keys0, Keys1         []*layout.Matrix // of each head: d1 x n1 and d2 x n2, f32
	KeyBias0, KeyBias1   []float32        // heads*n1 and heads*n2, or nil
	KNN                  int              // per head; 0 for all
	Weighting            Weighting
	Act                  act.Kind
	Values               []float32      // n1*n2 rows of Dv
	Dense                *layout.Matrix // n1*n2 x Dv
	Dv                   int
	Bias                 []float32 // Dv, or nil
	T                    int
	X                    gemm.Rows // T rows of D
	Y                    gemm.Rows // T rows of Dv; must not overlap X
	Residual             gemm.Rows // T rows of Dv, or Data nil; may be Y or X
	phase, rows, size    int
	scratch              []float32
	per                  int
	picked               []int32   // few tokens: selected values
	weights              []float32 // and their weights, slots apart
	counts               []int32
	heads, n1, n2, slots int
}

// pkmRows is the number of tokens of a task.
const pkmRows = 48

// plan sets the sizes and reports whether tasks own columns of the output.
func (l *PKM) plan(workers int) (few bool) {
	l.heads, l.n1, l.n2 = len(l.Keys0), l.Keys0[0].N, l.Keys1[0].N
	l.slots = l.n1 * l.n2
	if l.KNN > 0 {
		l.slots = min(l.KNN, min(l.KNN, l.n1)*min(l.KNN, l.n2))
	}
	few = workers > 1 && l.T < 2*workers
	limit := pkmRows
	if l.Dense != nil {
		limit = tileRows
		if l.Dense.Precision == layout.I8 {
			limit = max(12, min(tileRows, hiddenFloats/max(1, l.n1*l.n2)))
		}
	}
	l.rows = l.T
	if !few {
		l.rows = min(limit, share(l.T, workers))
	}
	q := 0
	if l.Query != nil {
		q = pad(l.rows*l.Query.N) + pad(l.Kernels.OperandLen(l.Query.Precision, l.rows, l.Query.K))
	}
	l.per = q + pad(l.rows*l.n1) + pad(l.rows*l.n2)
	if l.Dense != nil {
		units := l.chunk() * l.n2
		l.per += pad(l.n2) + pad(l.rows*units) + pad(l.Kernels.OperandLen(l.Dense.Precision, l.rows, units))
	} else {
		n := l.rows * l.heads * l.slots
		l.per += 2*pad(n) + pad(l.rows) + l.searchLen()
	}
	return few
}

// chunk is the number of first keys whose values are multiplied at a time: about
// hiddenChunk values, and an even number so that bf16 steps are whole.
func (l *PKM) chunk() int {
	if l.Dense.Precision == layout.I8 {
		return l.n1
	}
	return min(l.n1, max(2, hiddenChunk/max(1, l.n2)&^1))
}

// Scratch is the number of floats that Run takes with a number of workers.
func (l *PKM) Scratch(workers int) int {
	if l.T == 0 || len(l.Keys0) == 0 {
		return 0
	}
	if l.plan(workers) {
		return l.per
	}
	return workers * l.per
}

// Run computes Y. It fails only if a task panics.
func (l *PKM) Run(r pool.Runner, scratch []float32) error {
	if l.T == 0 || len(l.Keys0) == 0 || l.Dv == 0 {
		return nil
	}
	l.scratch = scratch
	if !l.plan(r.Workers()) || l.Dense != nil {
		l.phase = phaseTokens
		return r.Run(tasks(l.T, l.rows), l)
	}
	a := arena{l.scratch}
	l.picked, l.weights, l.counts = l.choose(&a, 0, l.T)
	l.phase, l.size = phaseOutput, shareColumns(l.Dv, r.Workers())
	return r.Run(tasks(l.Dv, l.size), l)
}

// Do computes one task; it is for the pool.
func (l *PKM) Do(i, worker int) {
	if l.phase == phaseOutput {
		l.output(0, l.T, i*l.size, min((i+1)*l.size, l.Dv), l.picked, l.weights, l.counts)
		return
	}
	a := arena{l.scratch[worker*l.per : (worker+1)*l.per]}
	m0, m1 := i*l.rows, min((i+1)*l.rows, l.T)
	if l.Dense != nil {
		l.dense(&a, m0, m1)
		return
	}
	picked, weights, counts := l.choose(&a, m0, m1)
	l.output(m0, m1, 0, l.Dv, picked, weights, counts)
}

// query is the queries of tokens m0 to m1: rows of all heads, and the distance
// from one head to the next (0 if they share X).
func (l *PKM) query(a *arena, m0, m1 int) (q gemm.Rows, head int) {
	x := l.X.From(m0)
	if l.Query == nil {
		return x, 0
	}
	k, m, w := l.Kernels, m1-m0, l.Query
	q = gemm.Rows{Data: a.floats(m * w.N), Stride: w.N}
	k.Run(&gemm.Block{
		A: k.Prepare(w.Precision, x, m, w.K, nil, a.floats(k.OperandLen(w.Precision, m, w.K))),
		M: m, B: w, N1: w.N, K1: w.K, C: q, Bias: l.QueryBias,
	})
	return q, l.Keys0[0].K + l.Keys1[0].K
}

// scores computes (or adds to) m rows of s for one half of head h.
func (l *PKM) scores(q gemm.Rows, at int, keys *layout.Matrix, bias []float32, h, m int, s []float32, add bool) {
	k := l.Kernels
	b := gemm.Block{
		A: k.Prepare(layout.F32, columns(q, at), m, keys.K, nil, nil),
		M: m, B: keys, N1: keys.N, K1: keys.K, C: gemm.Rows{Data: s, Stride: keys.N}, Add: add,
	}
	if bias != nil {
		bias = bias[h*keys.N : (h+1)*keys.N]
		if !add {
			b.Bias = bias
		}
	}
	k.Run(&b)
	for i := 0; i < m && add && bias != nil; i++ {
		k.Act().Add(s[i*keys.N:(i+1)*keys.N], bias)
	}
}

// output adds the weighted values to columns n0 to n1 of tokens m0 to m1.
func (l *PKM) output(m0, m1, n0, n1 int, picked []int32, weights []float32, counts []int32) {
	start(l.Kernels, l.Y, m0, m1, n0, n1, l.Bias, l.Residual)
	for i := m0; i < m1; i++ {
		at := l.Y.At(i)
		from, n := (i-m0)*l.heads*l.slots, int(counts[i-m0])
		weighted(l.Kernels, l.Y.Data[at+n0:at+n1], l.Values[min(n0, len(l.Values)):], l.Dv, picked[from:from+n], weights[from:from+n])
	}
}

// dense carries tokens m0 to m1 through the dense path.
func (l *PKM) dense(a *arena, m0, m1 int) {
	k, m := l.Kernels, m1-m0
	q, head := l.query(a, m0, m1)
	s1, s2 := a.floats(m*l.n1), a.floats(m*l.n2)
	for h := range l.heads {
		l.scores(q, h*head, l.Keys0[h], l.KeyBias0, h, m, s1, h > 0)
		l.scores(q, h*head+l.Keys0[h].K, l.Keys1[h], l.KeyBias1, h, m, s2, h > 0)
	}
	if l.Weighting != WeightAct {
		// The softmax of sums is the product of the softmaxes.
		for i := range m {
			softmax(k.Act(), s1[i*l.n1:(i+1)*l.n1])
			softmax(k.Act(), s2[i*l.n2:(i+1)*l.n2])
		}
	}
	ones := a.floats(l.n2)
	for j := range ones {
		ones[j] = 1
	}
	start(k, l.Y, m0, m1, 0, l.Dv, l.Bias, l.Residual)
	chunk := l.chunk()
	h, conv := a.floats(m*chunk*l.n2), a.floats(k.OperandLen(l.Dense.Precision, m, chunk*l.n2))
	for i0 := 0; i0 < l.n1; i0 += chunk {
		units := min(chunk, l.n1-i0) * l.n2
		for t := range m {
			row := h[t*units : (t+1)*units]
			for i := range units / l.n2 {
				part, s := row[i*l.n2:(i+1)*l.n2], s1[t*l.n1+i0+i]
				copy(part, s2[t*l.n2:(t+1)*l.n2])
				if l.Weighting != WeightAct {
					k.Act().Apply(act.Identity, part, s)
				} else {
					k.Act().Axpy(part, s, ones)
				}
			}
			if l.Weighting == WeightAct {
				k.Act().Apply(l.Act, row, 1)
			}
		}
		rows := gemm.Rows{Data: h, Stride: units}
		k.Run(&gemm.Block{
			A: k.Prepare(l.Dense.Precision, rows, m, units, nil, conv), M: m, B: l.Dense, N1: l.Dv,
			K0: i0 * l.n2, K1: i0*l.n2 + units, C: l.Y.From(m0), Add: true,
		})
	}
}
