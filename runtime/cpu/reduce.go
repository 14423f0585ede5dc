package cpu

import (
	"math"
	"slices"

	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// reduceTask folds x [outer, n, inner] over n. Elements fold in float64 in the order of
// the input and round once, as Eval does.
type reduceTask struct {
	fold            func(acc []float64, x []float32)
	start           float64
	finish          func(acc float64, n int) float64
	outer, n, inner int
	width           int // elements of inner that one piece folds side by side
	pieces, per     int // pieces, and of a task
	x, out          []float32
	acc             []float64 // width of each worker
}

// reduceWidth accumulators take 4 KB of L1.
const reduceWidth = 512

func (t *reduceTask) Do(i, worker int) {
	buf := t.acc[worker*t.width : (worker+1)*t.width]
	across := (t.inner + t.width - 1) / t.width
	for p := i * t.per; p < min((i+1)*t.per, t.pieces); p++ {
		o, j := p/across, p%across*t.width
		acc := buf[:min(t.width, t.inner-j)]
		for k := range acc {
			acc[k] = t.start
		}
		for r := range t.n {
			t.fold(acc, t.x[(o*t.n+r)*t.inner+j:][:len(acc)])
		}
		for k, v := range acc {
			if t.finish != nil {
				v = t.finish(v, t.n)
			}
			t.out[o*t.inner+j+k] = float32(v)
		}
	}
}

// rowReduceTask folds rows whose reduced dimension is the last: one accumulator per row.
type rowReduceTask struct{ reduceTask }

func (t *rowReduceTask) Do(i, worker int) {
	acc := t.acc[worker : worker+1]
	for o := i * t.per; o < min((i+1)*t.per, t.outer); o++ {
		acc[0] = t.start
		x := t.x[o*t.n : (o+1)*t.n]
		for k := range x {
			t.fold(acc, x[k:k+1])
		}
		if t.finish != nil {
			acc[0] = t.finish(acc[0], t.n)
		}
		t.out[o] = float32(acc[0])
	}
}

// newReduce is the fold of an op, nil for one that has none here.
func newReduce(op string) *reduceTask {
	sum := func(acc []float64, x []float32) {
		acc = acc[:len(x)]
		for i, v := range x {
			acc[i] += float64(v)
		}
	}
	squares := func(acc []float64, x []float32) {
		acc = acc[:len(x)]
		for i, v := range x {
			acc[i] += float64(v) * float64(v)
		}
	}
	switch op {
	case "ReduceSum":
		return &reduceTask{fold: sum}
	case "ReduceMean":
		return &reduceTask{fold: sum, finish: func(acc float64, n int) float64 { return acc / float64(n) }}
	case "ReduceSumSquare":
		return &reduceTask{fold: squares}
	case "ReduceL2":
		return &reduceTask{fold: squares, finish: func(acc float64, _ int) float64 { return math.Sqrt(acc) }}
	case "ReduceL1":
		return &reduceTask{fold: func(acc []float64, x []float32) {
			for i, v := range x {
				acc[i] += math.Abs(float64(v))
			}
		}}
	case "ReduceMax":
		return &reduceTask{start: math.Inf(-1), fold: func(acc []float64, x []float32) {
			for i, v := range x {
				acc[i] = max(acc[i], float64(v))
			}
		}}
	case "ReduceMin":
		return &reduceTask{start: math.Inf(1), fold: func(acc []float64, x []float32) {
			for i, v := range x {
				acc[i] = min(acc[i], float64(v))
			}
		}}
	}
	return nil
}

// reducedAxes are the axes of a reduction, ascending; ok is false when only a run knows them.
func reducedAxes(b *Binding) (axes []int, ok bool) {
	rank := len(shapeOf(b.Ins[0]))
	a := b.Step.Attrs.(*ops.ReduceAttrs)
	var given []int64
	if len(b.Ins) > 1 && b.Ins[1].DType != tensor.Invalid {
		if b.Consts[1] == nil {
			return nil, false
		}
		given = integers(b.Consts[1])
	}
	if len(given) == 0 {
		for i := range rank {
			axes = append(axes, i)
		}
		return axes, !a.NoopWithEmptyAxes
	}
	for _, v := range given {
		if v < 0 {
			v += int64(rank)
		}
		axes = append(axes, int(v))
	}
	slices.Sort(axes)
	return axes, true
}

// bindReduce is a reduction of f32 over axes that lie together.
func bindReduce(b *Binding) (Bound, error) {
	axes, ok := reducedAxes(b)
	t := newReduce(b.Step.Op.String())
	if !ok || t == nil || b.Ins[0].DType != tensor.F32 || len(axes) == 0 {
		return bindRef(b)
	}
	shape := shapeOf(b.Ins[0])
	first, last := axes[0], axes[len(axes)-1]
	if last >= len(shape) {
		return bindRef(b)
	}
	for i := first; i <= last; i++ {
		if !slices.Contains(axes, i) && shape[i] != 1 {
			return bindRef(b)
		}
	}
	t.outer, t.n, t.inner = tensor.NumElems(shape[:first]), tensor.NumElems(shape[first:last+1]), tensor.NumElems(shape[last+1:])
	t.width = min(reduceWidth, max(t.inner, 1))
	t.acc = make([]float64, b.Device.pool.Workers()*t.width)
	if t.inner == 1 {
		row := &rowReduceTask{*t}
		row.per = max(1, elementsPerTask/max(1, t.n))
		return Bound{Run: func(c *Call) error {
			row.x, row.out = elems[float32](c.Ins[0]), elems[float32](c.Outs[0])
			return b.Device.pool.Run((row.outer+row.per-1)/row.per, row)
		}}, nil
	}
	t.pieces = t.outer * ((t.inner + t.width - 1) / t.width)
	t.per = max(1, elementsPerTask/max(1, t.n*t.width))
	return Bound{Run: func(c *Call) error {
		t.x, t.out = elems[float32](c.Ins[0]), elems[float32](c.Outs[0])
		return b.Device.pool.Run((t.pieces+t.per-1)/t.per, t)
	}}, nil
}
