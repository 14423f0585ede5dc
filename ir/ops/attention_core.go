package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// heads is a [batch, heads, seq, size] view of memory laid out in either of the two
// ways attention ops take: heads before positions, or packed into the last axis.
type heads[T realElem] struct {
	v                       []T
	batch, num, seq, size   int
	byBatch, byHead, byStep int // strides in elements
}

// at is the vector of one head at one position.
func (h heads[T]) at(b, n, s int) []T {
	o := b*h.byBatch + n*h.byHead + s*h.byStep
	return h.v[o : o+h.size]
}

// splitHeads views v of shape [B,H,S,D], or [B,S,num*D] when it has rank 3.
func splitHeads[T realElem](name string, v []T, shape []int, num int) (heads[T], error) {
	switch len(shape) {
	case 4:
		b, n, s, d := shape[0], shape[1], shape[2], shape[3]
		return heads[T]{v, b, n, s, d, n * s * d, s * d, d}, nil
	case 3:
		if num < 1 || shape[2]%num != 0 {
			return heads[T]{}, fmt.Errorf("%w: %s of shape %v cannot be split into %d heads", ir.ErrShape, name, shape, num)
		}
		b, s, d := shape[0], shape[1], shape[2]/num
		return heads[T]{v, b, num, s, d, s * num * d, d, num * d}, nil
	}
	return heads[T]{}, fmt.Errorf("%w: %s of shape %v, want rank 3 or 4", ir.ErrShape, name, shape)
}

// headsFirst copies h to [B,H,S,D] memory with room for total positions, the first of
// h's at position from. dst has batch*num*total*size elements.
func headsFirst[T realElem](dst []T, h heads[T], from, total int) {
	for b := range h.batch {
		for n := range h.num {
			for s := range h.seq {
				copy(dst[((b*h.num+n)*total+from+s)*h.size:][:h.size], h.at(b, n, s))
			}
		}
	}
}

// contiguousHeads views [B,H,S,D] memory.
func contiguousHeads[T realElem](v []T, b, n, s, d int) heads[T] {
	return heads[T]{v, b, n, s, d, n * s * d, s * d, d}
}

// appendHeads is past followed by now along the positions, as [B,H,S,D] memory. An
// absent past (nil shape) gives now alone.
func appendHeads[T realElem](name string, past *tensor.Tensor, now heads[T]) (heads[T], error) {
	if past == nil {
		v := make([]T, now.batch*now.num*now.seq*now.size)
		headsFirst(v, now, 0, now.seq)
		return contiguousHeads(v, now.batch, now.num, now.seq, now.size), nil
	}
	if past.Rank() != 4 {
		return heads[T]{}, fmt.Errorf("%w: %s is %s, want rank 4", ir.ErrShape, name, past)
	}
	before := past.Shape()[2]
	if err := wantShape(name, past, now.batch, now.num, before, now.size); err != nil {
		return heads[T]{}, err
	}
	pv, err := reals[T](past)
	if err != nil {
		return heads[T]{}, err
	}
	total := before + now.seq
	v := make([]T, now.batch*now.num*total*now.size)
	headsFirst(v, contiguousHeads(pv, now.batch, now.num, before, now.size), 0, total)
	headsFirst(v, now, before, total)
	return contiguousHeads(v, now.batch, now.num, total, now.size), nil
}

// putHeads writes h as output i of shape [B,H,S,D], if somebody wants it.
func putHeads[T realElem](c *ir.EvalCtx, i int, dt tensor.DType, h heads[T]) error {
	if i >= len(c.Outs) || i < len(c.Want) && !c.Want[i] {
		return nil
	}
	out, err := outReals[T](c, i, dt, h.batch, h.num, h.seq, h.size)
	if err != nil {
		return err
	}
	headsFirst(out.V, h, 0, h.seq)
	out.Store()
	return nil
}

// scoreStage names what a tap on the scores sees.
type scoreStage int

const (
	scoreRaw    scoreStage = iota // scaled Q·K
	scoreCapped                   // after the soft cap
	scoreBiased                   // after bias and masks
	scoreProb                     // after the softmax
)

// attend is scaled dot-product attention: for every query row, softmax over the keys of
// scale*q·k, capped and biased, weighs the values. Query head h reads key head
// h/(q.num/k.num).
type attend[T realElem] struct {
	q, k, v heads[T]
	scale   float64
	softcap float64 // 0: none
	// bias adds to the scores of one query row, -Inf to forbid a key.
	bias func(b, h, i int, row []float64)
	// sink, when not nil, gives a head's extra logit that takes probability and has no value.
	sink func(h int) float64
	// tap sees the rows of scores at the stage asked for.
	stage scoreStage
	tap   func(b, h, i int, row []float64)
	// round, when not nil, rounds scores and probabilities to the 16-bit type they are
	// kept in.
	round func(float64) float64
	// roundExp, when not nil, is the 16-bit precision the softmax itself is done in.
	roundExp func(float64) float64
}

// prescale multiplies queries and keys by the root of the scale, each rounded to the
// 16-bit type: the operator asks for it, so that products do not overflow.
func (a *attend[T]) prescale() {
	root := a.round(math.Sqrt(a.scale))
	for _, h := range []*heads[T]{&a.q, &a.k} {
		h.v = mapTo(h.v, func(x T) T { return T(a.round(float64(x) * root)) })
	}
	a.scale = 1
}

// rounded rounds a row in place where the type asks for it.
func (a *attend[T]) rounded(row []float64) {
	if a.round == nil {
		return
	}
	for i, x := range row {
		row[i] = a.round(x)
	}
}

// check refuses operands whose sizes do not fit together.
func (a *attend[T]) check() error {
	switch {
	case a.q.batch != a.k.batch || a.k.batch != a.v.batch:
		return fmt.Errorf("%w: batch sizes %d, %d and %d", ir.ErrShape, a.q.batch, a.k.batch, a.v.batch)
	case a.k.num != a.v.num || a.k.num < 1 || a.q.num%a.k.num != 0:
		return fmt.Errorf("%w: %d query heads over %d key and %d value heads", ir.ErrShape, a.q.num, a.k.num, a.v.num)
	case a.k.seq != a.v.seq:
		return fmt.Errorf("%w: %d keys and %d values", ir.ErrShape, a.k.seq, a.v.seq)
	case a.q.size != a.k.size:
		return fmt.Errorf("%w: queries of size %d, keys of size %d", ir.ErrShape, a.q.size, a.k.size)
	}
	return nil
}

// run calls put with every output row. A row whose keys are all forbidden is zero.
func (a attend[T]) run(out heads[T]) {
	if a.round != nil {
		a.prescale()
	}
	n := a.k.seq
	row, bias := make([]float64, n), make([]float64, n)
	acc := make([]float64, a.v.size)
	group := a.q.num / a.k.num
	tap := func(s scoreStage, b, h, i int) {
		if a.tap != nil && a.stage == s {
			a.tap(b, h, i, row)
		}
	}
	for b := range a.q.batch {
		for h := range a.q.num {
			for i := range a.q.seq {
				q := a.q.at(b, h, i)
				for j := range row {
					row[j] = dot(q, a.k.at(b, h/group, j)) * a.scale
				}
				a.rounded(row)
				tap(scoreRaw, b, h, i)
				if a.softcap > 0 {
					for j, s := range row {
						row[j] = a.softcap * math.Tanh(s/a.softcap)
					}
				}
				tap(scoreCapped, b, h, i)
				clear(bias)
				a.bias(b, h, i, bias)
				masked := true
				for j, m := range bias {
					row[j] += m
					masked = masked && math.IsInf(m, -1)
				}
				a.rounded(row)
				tap(scoreBiased, b, h, i)
				switch {
				case masked:
					clear(row)
				case a.sink != nil:
					softmaxSink(row, a.sink(h))
				case a.roundExp != nil:
					softmaxRounded(row, a.roundExp)
				default:
					softmaxRow(row)
				}
				a.rounded(row)
				tap(scoreProb, b, h, i)
				clear(acc)
				for j, p := range row {
					if p == 0 {
						continue
					}
					for e, x := range a.v.at(b, h/group, j) {
						acc[e] += p * float64(x)
					}
				}
				for e, s := range acc {
					out.at(b, h, i)[e] = T(s)
				}
			}
		}
	}
}

// softmaxRounded is softmaxRow with every intermediate rounded.
func softmaxRounded(row []float64, round func(float64) float64) {
	m, sum := maxOf(row), 0.0
	for i, x := range row {
		row[i] = round(math.Exp(round(x - m)))
		sum += row[i]
	}
	sum = round(sum)
	for i, x := range row {
		row[i] = x / sum
	}
}

// softmaxSink is softmaxRow with one more logit in the denominator.
func softmaxSink(row []float64, sink float64) {
	m := math.Max(maxOf(row), sink)
	sum := math.Exp(sink - m)
	for i, x := range row {
		row[i] = math.Exp(x - m)
		sum += row[i]
	}
	for i := range row {
		row[i] /= sum
	}
}

func dot[T realElem](a, b []T) float64 {
	var s float64
	for i, x := range a {
		s += float64(x) * float64(b[i])
	}
	return s
}

// maskView reads an additive or boolean mask that broadcasts to [B,H,Sq,keys]; its last
// axis may be short, what is missing is forbidden.
type maskView struct {
	v      []float64
	isBool bool
	stride [4]int
	keys   int
}

func newMaskView(t *tensor.Tensor, b, h, q, keys int) (*maskView, error) {
	if t == nil {
		return nil, nil
	}
	if t.Rank() < 1 || t.Rank() > 4 {
		return nil, fmt.Errorf("%w: mask %s, want rank 1 to 4", ir.ErrShape, t)
	}
	v, err := t.Float64s()
	if err != nil {
		return nil, fmt.Errorf("%w: mask: %w", ir.ErrType, err)
	}
	m := &maskView{v: v, isBool: t.DType() == tensor.Bool}
	want := []int{b, h, q, keys}
	strides := tensor.Strides(t.Shape())
	for i, d := range t.Shape() {
		at := 4 - t.Rank() + i
		switch {
		case at == 3 && d > keys || at < 3 && d != 1 && d != want[at]:
			return nil, fmt.Errorf("%w: mask %s for [%d,%d,%d,%d]", ir.ErrShape, t, b, h, q, keys)
		case at == 3:
			m.keys, m.stride[3] = d, strides[i]
		case d != 1:
			m.stride[at] = strides[i]
		}
	}
	return m, nil
}

// add adds the mask's row to bias.
func (m *maskView) add(b, h, i int, bias []float64) {
	if m == nil {
		return
	}
	at := b*m.stride[0] + h*m.stride[1] + i*m.stride[2]
	for j := range bias {
		switch {
		case j >= m.keys:
			bias[j] = math.Inf(-1)
		case !m.isBool:
			bias[j] += m.v[at+j*m.stride[3]]
		case m.v[at+j*m.stride[3]] == 0:
			bias[j] = math.Inf(-1)
		}
	}
}

// forbid sets bias[j] to -Inf for the keys that allowed refuses.
func forbid(bias []float64, allowed func(j int) bool) {
	for j := range bias {
		if !allowed(j) {
			bias[j] = math.Inf(-1)
		}
	}
}

// attentionCost counts the two products.
func attentionCost(batch, qHeads, qSeq, keys, size, vSize int64) int64 {
	return 2 * batch * qHeads * qSeq * keys * (size + vSize)
}
