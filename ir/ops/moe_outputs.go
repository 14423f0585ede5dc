package ops

import (
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// write fills the outputs that the routing settles: all but y.
func (r *routing) write(c *ir.EvalCtx) error {
	x := c.In(MoEInX)
	dt := x.DType()
	put := func(i int, vals func() []float64, dims ...int) error {
		if !wanted(c, i) {
			return nil
		}
		t, err := c.Out(i, dt, dims...)
		if err != nil {
			return err
		}
		storeRow(t, 0, vals())
		return nil
	}
	of := func(s []float64) func() []float64 { return func() []float64 { return s } }
	scalar := func(f func() float64) func() []float64 { return func() []float64 { return []float64{f()} } }
	perExpert, perSlot := leadingShape(x, 1, r.experts), leadingShape(x, 1, r.slots)
	for _, o := range []struct {
		out  int
		vals func() []float64
		dims []int
	}{
		{MoEOutGates, of(r.gate), perSlot},
		{MoEOutLogits, of(r.clean), perExpert},
		{MoEOutScores, of(r.score), perExpert},
		{MoEOutEntropy, scalar(r.entropy), nil},
		{MoEOutSwitch, scalar(r.switchBalance), nil},
		{MoEOutImportance, scalar(func() float64 { return r.variation(r.importance()) }), nil},
		{MoEOutLoad, scalar(func() float64 { return r.variation(r.load()) }), nil},
		{MoEOutLoadVector, r.load, []int{r.experts}},
	} {
		if err := put(o.out, o.vals, o.dims...); err != nil {
			return err
		}
	}
	for _, o := range []struct {
		out  int
		vals []int
		dims []int
	}{{MoEOutIndices, r.index, perSlot}, {MoEOutCount, r.count, leadingShape(x, 1)}} {
		if !wanted(c, o.out) {
			continue
		}
		t, err := c.Out(o.out, tensor.I64, o.dims...)
		if err != nil {
			return err
		}
		for i, v := range o.vals {
			tensor.Data[int64](t)[i] = int64(v)
		}
	}
	return nil
}

// entropy is sum m exp(m), where m is the log of the mean over tokens of the softmax of
// the logits: minus the entropy of the mean.
func (r *routing) entropy() float64 {
	width := r.experts
	if r.a.EntropyOver == EntropySlots {
		width = r.slots
	}
	lp := make([]float64, r.n*width)
	for t := range r.n {
		row := lp[t*width : (t+1)*width]
		copy(row, r.row(r.clean, t))
		if r.a.EntropyOver == EntropySlots {
			for k := range row {
				row[k] = r.clean[t*r.experts+r.index[t*r.slots+k]]
			}
		}
		z := logSumExp(row)
		for k := range row {
			row[k] -= z
		}
	}
	if r.n == 0 {
		return 0
	}
	sum, col := 0.0, make([]float64, r.n)
	for k := range width {
		for t := range col {
			col[t] = lp[t*width+k]
		}
		m := logSumExp(col) - math.Log(float64(r.n))
		if !math.IsInf(m, -1) { // the limit of m exp(m) is 0
			sum += m * math.Exp(m)
		}
	}
	return sum
}

// switchBalance is the mean over experts of mean probability times share of selections.
func (r *routing) switchBalance() float64 {
	if r.n == 0 {
		return 0
	}
	p, f, total := make([]float64, r.experts), make([]float64, r.experts), 0.0
	row := make([]float64, r.experts)
	for t := range r.n {
		copy(row, r.row(r.clean, t))
		normalise(row)
		for e := range p {
			p[e] += row[e]
		}
		r.selected(t, func(_, e int, _ float64) { f[e]++; total++ })
	}
	sum := 0.0
	for e := range p {
		sum += p[e] * f[e]
	}
	return sum / (float64(r.n) * math.Max(total, 1) * float64(r.experts))
}

// importance is the sum of each expert's gates.
func (r *routing) importance() []float64 {
	sum := make([]float64, r.experts)
	for t := range r.n {
		r.selected(t, func(_, e int, g float64) { sum[e] += g })
	}
	return sum
}

// load is the number of tokens of each expert; with noise its expectation over the noise
// of that one expert, which is smooth in the logits.
func (r *routing) load() []float64 {
	sum := make([]float64, r.experts)
	if r.sd == nil || r.a.Selection != SelectTopK || r.slots >= r.experts {
		for t := range r.n {
			r.selected(t, func(_, e int, _ float64) { sum[e]++ })
		}
		return sum
	}
	order, values := make([]int, r.experts), make([]float64, r.experts)
	for t := range r.n {
		copy(values, r.row(r.logits, t))
		if r.a.LoadOver == LoadProbs {
			normalise(values)
		}
		r.sortExperts(order, t)
		out, in := values[order[r.slots-1]], values[order[r.slots]] // to beat from outside, from inside
		for e := range sum {
			i, thr := t*r.experts+e, out
			if r.logits[i] > in {
				thr = in
			}
			sum[e] += normalCDF((r.clean[i] - thr) / r.sd[i])
		}
	}
	return sum
}

func normalCDF(z float64) float64 { return 0.5 * (1 + math.Erf(z/math.Sqrt2)) }

// variation is the squared coefficient of variation, var/(mean^2 + CVEps); 0 for one expert.
func (r *routing) variation(v []float64) float64 {
	if len(v) < 2 || r.n == 0 {
		return 0
	}
	n, mean, variance := float64(len(v)), 0.0, 0.0
	for _, x := range v {
		mean += x / n
	}
	for _, x := range v {
		variance += (x - mean) * (x - mean)
	}
	if r.a.CVUnbiased {
		n--
	}
	return variance / n / (mean*mean + decimal(r.a.CVEps))
}
