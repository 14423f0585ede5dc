package cpu

import (
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// bindPad is Pad with pads that are known before the run, elements of 1, 2, 4 or 8 bytes.
func bindPad(b *Binding) (Bound, error) {
	switch sizeOf(b.Ins[0].DType) {
	case 1:
		return bindPadOf[uint8](b)
	case 2:
		return bindPadOf[uint16](b)
	case 4:
		return bindPadOf[uint32](b)
	case 8:
		return bindPadOf[uint64](b)
	}
	return bindRef(b)
}

// padTask fills rows of the last dimension: from[d][i] is the position along dimension d
// of the input that position i of the output shows, -1 for the padding value.
type padTask[T any] struct {
	shape, strides []int // of the output, but for the last; of the input
	from           [][]int
	last           []padRun
	n, count, per  int // elements of a row; rows, and of a task
	x, out         []T
	fill           T
}

// padRun is a stretch of a row: the padding value, or n elements from an input position
// on, up, or down as reflection takes them.
type padRun struct{ at, n, from, step int }

func bindPadOf[T any](b *Binding) (Bound, error) {
	if b.Consts[1] == nil || len(b.Ins) > 3 && b.Ins[3].DType != tensor.Invalid && b.Consts[3] == nil {
		return bindRef(b) // only the run will know
	}
	if b.has(2) && (b.Ins[2].DType != b.Ins[0].DType || tensor.NumElems(shapeOf(b.Ins[2])) != 1) {
		return bindRef(b) // which says what is wrong
	}
	var axes []int64
	if len(b.Ins) > 3 && b.Consts[3] != nil {
		axes = integers(b.Consts[3])
		if axes == nil {
			axes = []int64{}
		}
	}
	x, out := shapeOf(b.Ins[0]), shapeOf(b.Outs[0])
	from, err := ops.PadSources(b.Step.Attrs.(*ops.PadAttrs).Mode, integers(b.Consts[1]), axes, x)
	if err != nil || len(x) == 0 || tensor.NumElems(out) == 0 {
		return bindRef(b) // which reports the error
	}
	last := len(out) - 1
	t := &padTask[T]{shape: out[:last], strides: tensor.Strides(x), from: from, last: padRuns(from[last]), n: out[last], count: tensor.NumElems(out[:last])}
	t.per = max(1, elementsPerTask/t.n)
	return Bound{Run: func(c *Call) error {
		t.x, t.out = elems[T](c.Ins[0]), elems[T](c.Outs[0])
		var zero T
		t.fill = zero
		if len(c.Ins) > 2 && c.Ins[2] != nil {
			t.fill = elems[T](c.Ins[2])[0]
		}
		return b.Device.pool.Run((t.count+t.per-1)/t.per, t)
	}}, nil
}

// padRuns joins the positions of a row into stretches.
func padRuns(from []int) []padRun {
	var runs []padRun
	for i, p := range from {
		if len(runs) > 0 {
			switch r := &runs[len(runs)-1]; {
			case p < 0 && r.from < 0:
				r.n++
				continue
			case p < 0 || r.from < 0:
			case r.n == 1 && (p-r.from == 1 || p-r.from == -1 || p == r.from):
				r.step = p - r.from
				r.n++
				continue
			case r.n > 1 && p == r.from+r.n*r.step:
				r.n++
				continue
			}
		}
		runs = append(runs, padRun{at: i, n: 1, from: p, step: 1})
	}
	return runs
}

// Do fills rows; it is for the pool.
func (t *padTask[T]) Do(i, _ int) {
	for r := i * t.per; r < min((i+1)*t.per, t.count); r++ {
		row, at, rest := t.out[r*t.n:(r+1)*t.n], 0, r
		for d := len(t.shape) - 1; d >= 0 && at >= 0; d-- {
			p := t.from[d][rest%t.shape[d]]
			rest /= t.shape[d]
			if at += p * t.strides[d]; p < 0 {
				at = -1
			}
		}
		if at < 0 {
			fill(row, t.fill)
			continue
		}
		for _, s := range t.last {
			switch dst := row[s.at : s.at+s.n]; {
			case s.from < 0:
				fill(dst, t.fill)
			case s.step == 1:
				copy(dst, t.x[at+s.from:])
			default:
				for j := range dst {
					dst[j] = t.x[at+s.from+j*s.step]
				}
			}
		}
	}
}
