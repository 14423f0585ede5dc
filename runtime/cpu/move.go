package cpu

import (
	"slices"

	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime/cpu/rows"
)

// bindMove is an op that copies elements to where shapes alone say. Elements have 1, 2,
// 4 or 8 bytes.
func bindMove(b *Binding) (Bound, error) {
	switch sizeOf(b.Ins[0].DType) {
	case 1:
		return bindMoveOf[uint8](b)
	case 2:
		return bindMoveOf[uint16](b)
	case 4:
		return bindMoveOf[float32](b) // copies keep every bit
	case 8:
		return bindMoveOf[uint64](b)
	}
	return bindRef(b)
}

func bindMoveOf[T any](b *Binding) (Bound, error) {
	x := shapeOf(b.Ins[0])
	switch op := b.Step.Op.String(); op {
	case "Transpose":
		order, err := b.Step.Attrs.(*ops.TransposeAttrs).Order(len(x))
		if err != nil {
			return Bound{}, err
		}
		from := tensor.Strides(x)
		strides := make([]int, len(order))
		for i, p := range order {
			strides[i] = from[p]
		}
		return bindStrided[T](b, strides, 0)
	case "Expand":
		return bindStrided[T](b, broadcastStrides(x, shapeOf(b.Outs[0])), 0)
	case "Tile":
		if b.Consts[1] == nil || len(integers(b.Consts[1])) != len(x) {
			return bindRef(b)
		}
		var shape, strides []int // each dimension as its repeats, which stand still, and its elements
		for d, s := range tensor.Strides(x) {
			shape, strides = append(shape, int(integers(b.Consts[1])[d]), x[d]), append(strides, 0, s)
		}
		return bindStridedAs[T](b, shape, strides, 0)
	case "Slice":
		var at [4][]int64
		for i := range at {
			if i+1 >= len(b.Ins) || b.Ins[i+1].DType == tensor.Invalid {
				continue
			}
			if b.Consts[i+1] == nil {
				return bindRef(b) // only the run will know
			}
			at[i] = integers(b.Consts[i+1])
		}
		shape, strides, off, err := ops.SliceStrides(x, at[0], at[1], at[2], at[3])
		if err != nil {
			return Bound{}, err
		}
		if !slices.Equal(shape, shapeOf(b.Outs[0])) {
			return bindRef(b)
		}
		return bindStrided[T](b, strides, off)
	case "Concat":
		return bindConcat[T](b, b.Step.Attrs.(*ops.ConcatAttrs).Axis)
	case "Split":
		return bindSplit[T](b, b.Step.Attrs.(*ops.SplitAttrs).Axis)
	}
	return bindRef(b)
}

func integers(t *tensor.Tensor) []int64 {
	if t.DType() == tensor.I32 {
		v := make([]int64, t.Len())
		for i, x := range tensor.Data[int32](t) {
			v[i] = int64(x)
		}
		return v
	}
	return append([]int64{}, tensor.Data[int64](t)...)
}

// stridedTask fills out, row-major, from elements of x at strides: rows of the last
// dimension, or planes of two where the elements of x are contiguous along another.
type stridedTask[T any] struct {
	rows           *rows.Kernels
	outer, strides []int // above a row or plane
	n, step        int   // a row
	m, pitch       int   // a plane: m positions along x, pitch apart in out; m 0: rows
	cuts           int   // pieces of a plane along x, so that one image is work for several threads
	count, per     int   // rows or pieces of planes, and of a task
	off            int
	outerOut       []int // strides in out of planes' outer dimensions
	x, out         []T
}

// bindStrided copies to output 0 the elements of input 0 at offset off and strides.
func bindStrided[T any](b *Binding, strides []int, off int) (Bound, error) {
	return bindStridedAs[T](b, shapeOf(b.Outs[0]), strides, off)
}

// bindStridedAs is bindStrided with output 0 seen in another shape.
func bindStridedAs[T any](b *Binding, shape, strides []int, off int) (Bound, error) {
	total := tensor.NumElems(shape)
	dims, strides := collapse(shape, strides)
	last := len(dims) - 1
	t := &stridedTask[T]{rows: b.Device.rows, outer: dims[:last], strides: strides[:last], n: dims[last], step: strides[last], off: off}
	along := slices.Index(strides, 1)
	if along >= 0 && along < last && dims[along] >= 8 && t.n >= 2 && t.step > 0 && sizeOf(b.Ins[0].DType) == 4 {
		out := tensor.Strides(dims)
		t.m, t.pitch = dims[along], out[along]
		t.outer, t.strides = slices.Delete(slices.Clone(dims[:last]), along, along+1), slices.Delete(slices.Clone(strides[:last]), along, along+1)
		t.outerOut = slices.Delete(slices.Clone(out[:last]), along, along+1)
	}
	t.cuts = 1
	if t.m > 0 {
		t.cuts = max(1, t.m*t.n/elementsPerTask)
	}
	t.count = tensor.NumElems(t.outer) * t.cuts
	if total == 0 {
		t.count = 0
	}
	t.per = max(1, elementsPerTask/max(1, t.n*max(t.m/t.cuts, 1)))
	return Bound{Run: func(c *Call) error {
		t.x, t.out = elems[T](c.Ins[0]), elems[T](c.Outs[0])
		return b.Device.pool.Run((t.count+t.per-1)/t.per, t)
	}}, nil
}

// collapse drops dimensions of one element and joins those that lie as one; one
// dimension at least is left.
func collapse(shape, strides []int) (dims, steps []int) {
	for i, d := range shape {
		switch last := len(dims) - 1; {
		case d == 1:
		case last >= 0 && steps[last] == d*strides[i]:
			dims[last], steps[last] = dims[last]*d, strides[i]
		default:
			dims, steps = append(dims, d), append(steps, strides[i])
		}
	}
	if len(dims) == 0 {
		return []int{1}, []int{1}
	}
	return dims, steps
}

func (t *stridedTask[T]) Do(i, _ int) {
	for r := i * t.per; r < min((i+1)*t.per, t.count); r++ {
		from, to, rest := t.off, r*t.n, r
		var p0, p1 int // of a plane
		if t.m > 0 {
			cut := r % t.cuts
			to, rest = 0, r/t.cuts
			p0, p1 = cut*t.m/t.cuts, (cut+1)*t.m/t.cuts
		}
		for d := len(t.outer) - 1; d >= 0; d-- {
			at := rest % t.outer[d]
			rest /= t.outer[d]
			from += at * t.strides[d]
			if t.m > 0 {
				to += at * t.outerOut[d]
			}
		}
		if t.m > 0 {
			if x, ok := any(t.x[from+p0:]).([]float32); ok {
				t.rows.Transpose(any(t.out[to+p0*t.pitch:]).([]float32), t.pitch, x, t.step, t.n, p1-p0)
			}
			continue
		}
		out := t.out[to : to+t.n]
		switch t.step {
		case 1:
			copy(out, t.x[from:from+t.n])
		default:
			for j := range out {
				out[j] = t.x[from]
				from += t.step
			}
		}
	}
}

// chunksTask copies chunks between one tensor and several: joined holds count rows, each
// of the parts' chunks one after the other.
type chunksTask[T any] struct {
	sizes  []int // of a part's chunk
	starts []int // of a part in a row
	row    int
	count  int
	per    int // rows of a task
	join   bool
	joined []T
	parts  [][]T
}

func (t *chunksTask[T]) Do(i, _ int) {
	for r := i * t.per; r < min((i+1)*t.per, t.count); r++ {
		for p, n := range t.sizes {
			if n == 0 || t.parts[p] == nil {
				continue
			}
			whole, part := t.joined[r*t.row+t.starts[p]:][:n], t.parts[p][r*n:][:n]
			if t.join {
				copy(whole, part)
			} else {
				copy(part, whole)
			}
		}
	}
}

func newChunks[T any](whole []int, axis int64, parts [][]int, join bool) *chunksTask[T] {
	if axis < 0 {
		axis += int64(len(whole))
	}
	t := &chunksTask[T]{join: join, count: tensor.NumElems(whole[:axis]), parts: make([][]T, len(parts))}
	for _, p := range parts {
		n := 0
		if p != nil {
			n = tensor.NumElems(p[axis:])
		}
		t.starts, t.sizes = append(t.starts, t.row), append(t.sizes, n)
		t.row += n
	}
	t.per = max(1, elementsPerTask/max(1, t.row))
	return t
}

func (t *chunksTask[T]) tasks() int { return (t.count + t.per - 1) / t.per }

func bindConcat[T any](b *Binding, axis int64) (Bound, error) {
	parts := make([][]int, len(b.Ins))
	for i, in := range b.Ins {
		parts[i] = shapeOf(in)
	}
	t := newChunks[T](shapeOf(b.Outs[0]), axis, parts, true)
	return Bound{Run: func(c *Call) error {
		t.joined = elems[T](c.Outs[0])
		for i, in := range c.Ins {
			t.parts[i] = elems[T](in)
		}
		return b.Device.pool.Run(t.tasks(), t)
	}}, nil
}

func bindSplit[T any](b *Binding, axis int64) (Bound, error) {
	parts := make([][]int, len(b.Outs))
	for i, out := range b.Outs {
		if b.Step.Out[i] < 0 {
			return bindRef(b) // the size of a part that nobody reads is not in the types
		}
		parts[i] = shapeOf(out)
	}
	t := newChunks[T](shapeOf(b.Ins[0]), axis, parts, false)
	return Bound{Run: func(c *Call) error {
		t.joined = elems[T](c.Ins[0])
		for i, out := range c.Outs {
			t.parts[i] = elems[T](out)
		}
		return b.Device.pool.Run(t.tasks(), t)
	}}, nil
}
