package cpu

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// gatherTask copies slices of inner bytes, picked by indices along an axis of n.
type gatherTask struct {
	outer, n, inner int
	per             int // slices of a task
	i64             []int64
	i32             []int32
	x, out          []byte
}

func (t *gatherTask) indices() int { return max(len(t.i64), len(t.i32)) }

// index is the k-th index, counted from the front.
func (t *gatherTask) index(k int) int {
	var i int
	if t.i64 != nil {
		i = int(t.i64[k])
	} else {
		i = int(t.i32[k])
	}
	if i < 0 {
		i += t.n
	}
	return i
}

func (t *gatherTask) Do(i, _ int) {
	count := t.indices()
	for s := i * t.per; s < min((i+1)*t.per, t.outer*count); s++ {
		from := (s/count*t.n + t.index(s%count)) * t.inner
		copy(t.out[s*t.inner:(s+1)*t.inner], t.x[from:from+t.inner])
	}
}

// bindGather is Gather of elements that move as a whole.
func bindGather(b *Binding) (Bound, error) {
	size := sizeOf(b.Ins[0].DType)
	if size == 0 {
		return bindRef(b)
	}
	x, axis := shapeOf(b.Ins[0]), int(b.Step.Attrs.(*ops.AxisAttrs).Axis)
	if axis < 0 {
		axis += len(x)
	}
	t := &gatherTask{outer: tensor.NumElems(x[:axis]), n: x[axis], inner: size * tensor.NumElems(x[axis+1:])}
	t.per = max(1, 4*elementsPerTask/max(1, t.inner))
	return Bound{Run: func(c *Call) error {
		t.x, t.out, t.i64, t.i32 = c.Ins[0].Bytes(), c.Outs[0].Bytes(), nil, nil
		if c.Ins[1].DType() == tensor.I32 {
			t.i32 = elems[int32](c.Ins[1])
		} else {
			t.i64 = elems[int64](c.Ins[1])
		}
		count := t.indices()
		for k := range count {
			if i := t.index(k); i < 0 || i >= t.n {
				if i < 0 {
					i -= t.n
				}
				return fmt.Errorf("%w: index %d of a dimension of size %d", ir.ErrInput, i, t.n)
			}
		}
		if len(t.out) == 0 {
			return nil
		}
		return b.Device.pool.Run((t.outer*count+t.per-1)/t.per, t)
	}}, nil
}
