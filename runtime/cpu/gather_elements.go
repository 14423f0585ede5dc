package cpu

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// pickTask fills rows of the last dimension with elements of x, each at its own position but
// for that along an axis, which its index says.
type pickTask[T any, I int64 | int32] struct {
	outer, strides []int // above a row; strides in x, 0 along the axis
	n, step        int   // of a row; its stride in x, 0 where it lies along the axis
	size, along    int   // of the axis, and its stride in x
	count, per     int   // rows, and of a task
	x, out         []T
	index          []I
	bad            []int // of each worker: one more than the place of an index out of range
}

// Do fills rows; it is for the pool.
func (t *pickTask[T, I]) Do(i, worker int) {
	for r := i * t.per; r < min((i+1)*t.per, t.count); r++ {
		base, rest := 0, r
		for d := len(t.outer) - 1; d >= 0; d-- {
			base += rest % t.outer[d] * t.strides[d]
			rest /= t.outer[d]
		}
		out, index := t.out[r*t.n:(r+1)*t.n], t.index[r*t.n:(r+1)*t.n]
		for j, k := range index {
			at := int(k)
			if at < 0 {
				at += t.size
			}
			if uint(at) >= uint(t.size) {
				t.bad[worker] = r*t.n + j + 1
				return
			}
			out[j] = t.x[base+at*t.along+j*t.step]
		}
	}
}

// bindGatherElements is GatherElements of elements of 1, 2, 4 or 8 bytes.
func bindGatherElements(b *Binding) (Bound, error) {
	wide := b.Ins[1].DType == tensor.I64
	switch size := sizeOf(b.Ins[0].DType); {
	case size == 1 && wide:
		return bindPick[uint8, int64](b)
	case size == 1:
		return bindPick[uint8, int32](b)
	case size == 2 && wide:
		return bindPick[uint16, int64](b)
	case size == 2:
		return bindPick[uint16, int32](b)
	case size == 4 && wide:
		return bindPick[uint32, int64](b)
	case size == 4:
		return bindPick[uint32, int32](b)
	case size == 8 && wide:
		return bindPick[uint64, int64](b)
	case size == 8:
		return bindPick[uint64, int32](b)
	}
	return bindRef(b)
}

func bindPick[T any, I int64 | int32](b *Binding) (Bound, error) {
	x, shape, axis := shapeOf(b.Ins[0]), shapeOf(b.Ins[1]), int(b.Step.Attrs.(*ops.AxisAttrs).Axis)
	if axis < 0 {
		axis += len(x)
	}
	if len(x) != len(shape) || axis < 0 || axis >= len(x) || !equalShape(shape, shapeOf(b.Outs[0])) || tensor.NumElems(shape) == 0 {
		return bindRef(b)
	}
	for d, n := range shape {
		if d != axis && n > x[d] {
			return bindRef(b) // which reports the error
		}
	}
	strides, last := tensor.Strides(x), len(x)-1
	t := &pickTask[T, I]{size: x[axis], along: strides[axis], n: shape[last], bad: make([]int, b.Device.pool.Workers())}
	strides[axis] = 0
	t.outer, t.strides, t.step = shape[:last], strides[:last], strides[last]
	t.count = tensor.NumElems(t.outer)
	t.per = max(1, elementsPerTask/t.n)
	return Bound{Run: func(c *Call) error {
		t.x, t.out, t.index = elems[T](c.Ins[0]), elems[T](c.Outs[0]), elems[I](c.Ins[1])
		clear(t.bad)
		if err := b.Device.pool.Run((t.count+t.per-1)/t.per, t); err != nil {
			return err
		}
		for _, at := range t.bad {
			if at > 0 {
				return fmt.Errorf("%w: index %d of a dimension of size %d", ir.ErrInput, t.index[at-1], t.size)
			}
		}
		return nil
	}}, nil
}
