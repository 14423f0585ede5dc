package ffn

import (
	"slices"

	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
)

// search is the scratch of one token and head.
type search struct {
	keys       []uint32  // of the longest list
	best1      []int32   // best of the first half, best first
	best2      []int32   // of the second
	value      []int32   // candidates
	sum        []float32 // and their scores
	equal      []int32   // positions of candidates at the threshold
	cap1, cap2 int
}

// candidates is the greatest number of pairs that can be among the best: with
// both halves sorted, pair (i, j) has i*j at least as good, counted from one.
func (l *PKM) candidates() int {
	k1, k2 := l.caps()
	n := 0
	for i := 1; i <= k1; i++ {
		n += min(k2, l.slots/i)
	}
	return n
}

// caps are the numbers of keys of each half that can take part.
func (l *PKM) caps() (k1, k2 int) {
	if l.KNN == 0 {
		return l.n1, l.n2
	}
	return min(l.KNN, l.n1), min(l.KNN, l.n2)
}

// searchLen is the scratch of a search.
func (l *PKM) searchLen() int {
	c := l.candidates()
	return padKeys(max(c, l.n1, l.n2)) + pad(l.n1) + pad(l.n2) + 3*pad(c)
}

func (l *PKM) newSearch(a *arena) search {
	c := l.candidates()
	k1, k2 := l.caps()
	return search{
		keys: a.words(padKeys(max(c, l.n1, l.n2))), best1: a.ints(l.n1), best2: a.ints(l.n2),
		value: a.ints(c), sum: a.floats(c), equal: a.ints(c), cap1: k1, cap2: k2,
	}
}

// choose selects values for tokens m0 to m1 and weighs them: those of token i are
// counts[i-m0] from (i-m0)*heads*slots on, without those that weigh nothing.
func (l *PKM) choose(a *arena, m0, m1 int) (picked []int32, weights []float32, counts []int32) {
	k, m := l.Kernels, m1-m0
	each := l.heads * l.slots
	picked, weights, counts = a.ints(m*each), a.floats(m*each), a.ints(m)
	q, head := l.query(a, m0, m1)
	s1, s2 := a.floats(m*l.n1), a.floats(m*l.n2)
	s := l.newSearch(a)
	for h := range l.heads {
		l.scores(q, h*head, l.Keys0[h], l.KeyBias0, h, m, s1, false)
		l.scores(q, h*head+l.Keys0[h].K, l.Keys1[h], l.KeyBias1, h, m, s2, false)
		for i := range m {
			at := i*each + h*l.slots
			s.best(k.Features(), s1[i*l.n1:(i+1)*l.n1], s2[i*l.n2:(i+1)*l.n2], picked[at:at+l.slots], weights[at:at+l.slots])
		}
	}
	for i := range m {
		p, w := picked[i*each:(i+1)*each], weights[i*each:(i+1)*each]
		switch l.Weighting {
		case WeightSoftmax:
			softmax(k.Act(), w)
		case WeightSoftmaxHead:
			for h := range l.heads {
				softmax(k.Act(), w[h*l.slots:(h+1)*l.slots])
			}
		default:
			k.Act().Apply(l.Act, w, 1)
		}
		n := 0
		for j, v := range w {
			if v != 0 {
				p[n], w[n] = p[j], v
				n++
			}
		}
		counts[i] = int32(n)
	}
	return picked, weights, counts
}

// sortBest selects the n best of scores, best first.
func sortBest(f isa.Features, dst []int32, scores []float32, n int, keys []uint32) []int32 {
	dst = dst[:selectTopK(f, dst, scores, n, keys)]
	slices.SortFunc(dst, func(a, b int32) int {
		ka, kb := key(scores[a]), key(scores[b])
		switch {
		case ka > kb:
			return -1
		case ka < kb:
			return 1
		}
		return int(a - b)
	})
	return dst
}

// best writes the len(value) best sums of s1 and s2 and the values that they stand
// for, i*len(s2)+j.
func (s *search) best(f isa.Features, s1, s2 []float32, value []int32, score []float32) {
	b1 := sortBest(f, s.best1, s1, s.cap1, s.keys)
	b2 := sortBest(f, s.best2, s2, s.cap2, s.keys)
	n := 0
	for i, u := range b1 {
		for _, v := range b2[:min(len(b2), len(value)/(i+1))] {
			s.value[n], s.sum[n] = u*int32(len(s2))+v, s1[u]+s2[v]
			n++
		}
	}
	if n == len(value) {
		copy(value, s.value[:n])
		copy(score, s.sum[:n])
		return
	}
	fillKeys(f, s.keys, s.sum[:n])
	t := threshold(f, s.keys, n, len(value))
	c, equal := 0, 0
	for i, k := range s.keys[:n] {
		switch {
		case k > t:
			value[c], score[c] = s.value[i], s.sum[i]
			c++
		case k == t:
			s.equal[equal] = int32(i)
			equal++
		}
	}
	if left := len(value) - c; equal > left {
		slices.SortFunc(s.equal[:equal], func(a, b int32) int { return int(s.value[a] - s.value[b]) })
	}
	for _, i := range s.equal[:len(value)-c] {
		value[c], score[c] = s.value[i], s.sum[i]
		c++
	}
}
