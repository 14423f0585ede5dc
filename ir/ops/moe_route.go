package ops

import (
	"fmt"
	"math"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// routing is what the router of a MoE decides for n tokens.
type routing struct {
	a                    *MoEAttrs
	n, experts, slots    int
	clean, logits, score []float64 // [n, experts]; logits are clean ones plus noise
	rank                 []float64 // [n, experts] what is ranked: logits, or the log of the sinkhorn matrix
	sd                   []float64 // [n, experts] of the noise; nil without noise
	drop                 []bool    // [n, experts] expert dropout; nil without
	index                []int     // [n, slots]
	gate                 []float64 // [n, slots]
	count                []int     // [n]
}

// route computes the routing. seq is the length of a sequence: the second last axis of x.
func route(c *ir.EvalCtx, n, seq, experts int) (*routing, error) {
	a := c.Attrs.(*MoEAttrs)
	r := &routing{a: a, n: n, experts: experts, slots: a.Slots(experts), drop: maskOf(c.In(MoEInExpertDrop))}
	if err := r.setLogits(c); err != nil {
		return nil, err
	}
	r.setScores(seq)
	r.index, r.gate, r.count = make([]int, n*r.slots), make([]float64, n*r.slots), make([]int, n)
	var replay []int64
	if t := c.In(MoEInSelect); t != nil {
		replay = tensor.Data[int64](t)
	}
	order := make([]int, experts)
	for t := range n {
		idx := r.index[t*r.slots : (t+1)*r.slots]
		if replay != nil {
			for k := range idx {
				e := replay[t*r.slots+k]
				if e < 0 || e >= int64(experts) {
					return nil, fmt.Errorf("%w: select holds expert %d, there are %d", ir.ErrInput, e, experts)
				}
				idx[k] = int(e)
			}
		} else {
			r.sortExperts(order, t)
			copy(idx, order)
		}
		r.setGates(t, replay != nil)
	}
	return r, nil
}

// setLogits computes clean and noisy logits.
func (r *routing) setLogits(c *ir.EvalCtx) error {
	v, err := vecsOf(c, MoEInX, MoEInSel, MoEInSelBias, MoEInLogits, MoEInNoiseW, MoEInNoise)
	if err != nil {
		return err
	}
	d := c.In(MoEInX).Shape()[c.In(MoEInX).Rank()-1]
	given, noisy := c.Has(MoEInLogits), r.a.Gate == GateNoisyTopK && c.Has(MoEInNoise)
	r.clean = make([]float64, r.n*r.experts)
	r.logits = r.clean
	if noisy {
		r.logits, r.sd = make([]float64, len(r.clean)), make([]float64, len(r.clean))
	}
	x, eps := make([]float64, d), decimal(r.a.NoiseEps)
	for t := range r.n {
		v[0].load(x, t*d)
		for e := range r.experts {
			i := t*r.experts + e
			if given {
				r.clean[i] = v[3].or0(i)
			} else {
				r.clean[i] = v[1].dot(x, e*d)
			}
			r.clean[i] += v[2].or0(e)
			if noisy {
				r.sd[i] = softPlus(v[4].dot(x, e*d)) + eps
				r.logits[i] = r.clean[i] + v[5].or0(i)*r.sd[i]
			}
		}
	}
	return nil
}

// setScores computes scores and ranks.
func (r *routing) setScores(seq int) {
	r.score, r.rank = slices.Clone(r.logits), r.logits
	switch r.a.Gate {
	case GateSigmoid:
		for i, l := range r.logits {
			r.score[i] = sigmoidOf(l)
		}
	case GateSoftmaxBefore, GateSwitch:
		for t := range r.n {
			normalise(r.row(r.score, t))
		}
	case GateSinkhorn, GateSinkhornTrue:
		if !r.a.Training {
			return
		}
		r.rank = make([]float64, len(r.logits))
		for t := 0; t < r.n; t += seq {
			lo, hi := t*r.experts, (t+seq)*r.experts
			sinkhorn(r.rank[lo:hi], r.logits[lo:hi], r.experts, int(r.a.SinkhornIters), r.a.Gate == GateSinkhornTrue)
		}
		for i, l := range r.rank {
			r.score[i] = math.Exp(l)
		}
	}
}

func (r *routing) row(s []float64, t int) []float64 { return s[t*r.experts : (t+1)*r.experts] }

func (r *routing) dropped(t, e int) bool { return r.drop != nil && r.drop[t*r.experts+e] }

// sortExperts orders the experts of token t: dropped ones last, else by rank.
func (r *routing) sortExperts(order []int, t int) {
	for e := range order {
		order[e] = e
	}
	rank := r.row(r.rank, t)
	slices.SortFunc(order, func(i, j int) int {
		if di, dj := r.dropped(t, i), r.dropped(t, j); di != dj {
			if dj {
				return -1
			}
			return 1
		}
		if ranksBefore(rank[i], i, rank[j], j) {
			return -1
		}
		return 1
	})
}

// setGates settles how many slots of token t are selected and what they weigh. Slots that
// are not selected weigh 0, and so do dropped experts, which take no part in a sum over
// the selected ones.
func (r *routing) setGates(t int, replayed bool) {
	idx, g := r.index[t*r.slots:(t+1)*r.slots], r.gate[t*r.slots:(t+1)*r.slots]
	score, l := r.row(r.score, t), r.row(r.logits, t)
	r.count[t] = r.slots
	if r.a.Selection == SelectThreshold && !replayed {
		thr := decimal(r.a.Threshold)
		k := 0
		for k < r.slots && (int64(k) < r.a.MinK || score[idx[k]] >= thr) {
			k++
		}
		r.count[t] = k
	}
	on := make([]bool, r.slots)
	var chosen []float64
	for k, e := range idx {
		if on[k] = k < r.count[t] && !r.dropped(t, e); on[k] {
			chosen = append(chosen, l[e])
		}
	}
	norm := 0.0 // log of the sum that the softmax over the selected divides by
	switch r.a.Gate {
	case GateSoftmaxAfter:
		norm = logSumExp(chosen)
	case GateNoisyTopK:
		// p/(sum p + eps) with p = exp(l - z), z over all experts
		z := logSumExp(l)
		sum := decimal(r.a.GateEps)
		for _, c := range chosen {
			sum += math.Exp(c - z)
		}
		norm = z + math.Log(sum)
	}
	used := 0
	for k, e := range idx {
		if !on[k] {
			g[k] = 0
			continue
		}
		used++
		switch r.a.Gate {
		case GateSigmoid, GateSinkhorn, GateSinkhornTrue:
			g[k] = sigmoidOf(l[e])
		case GateSoftmaxBefore, GateSwitch:
			g[k] = score[e]
		case GateSoftmaxAfter, GateNoisyTopK:
			g[k] = math.Exp(l[e] - norm)
		case GateNone:
			g[k] = 1
		}
	}
	r.count[t] = used
}

// selected calls f for every expert that is selected for token t: slot, expert, gate.
func (r *routing) selected(t int, f func(k, e int, gate float64)) {
	left := r.count[t]
	for k := range r.slots {
		if left == 0 {
			return
		}
		e := r.index[t*r.slots+k]
		if r.dropped(t, e) {
			continue
		}
		left--
		f(k, e, r.gate[t*r.slots+k])
	}
}

// sinkhorn writes the logarithm of the sinkhorn matrix of x, [T, E] with T = len(x)/E.
// As S-BASE's authors coded it the dual variables are subtracted while iterating and added
// at the end; truly, they are added throughout, and the matrix tends to rows that sum to E
// and columns that sum to T.
func sinkhorn(out, x []float64, experts, iters int, truly bool) {
	tokens := len(x) / experts
	row, col := make([]float64, tokens), make([]float64, experts)
	sign, rowSum, colSum := -1.0, math.Log(float64(tokens)), math.Log(float64(experts))
	if truly {
		sign, rowSum, colSum = 1, colSum, rowSum
	}
	s := make([]float64, max(tokens, experts))
	for range iters {
		for t := range row {
			for e := range col {
				s[e] = x[t*experts+e] + sign*col[e]
			}
			row[t] = rowSum - logSumExp(s[:experts])
		}
		for e := range col {
			for t := range row {
				s[t] = x[t*experts+e] + sign*row[t]
			}
			col[e] = colSum - logSumExp(s[:tokens])
		}
	}
	for t := range row {
		for e := range col {
			out[t*experts+e] = row[t] + col[e] + x[t*experts+e]
		}
	}
}
