package cpu

import (
	"encoding/binary"
	"unsafe"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// whereTask picks elements of x or y.
type whereTask[T any] struct {
	spans
	cond      []bool
	x, y, out []T
}

func (t *whereTask[T]) Do(i, _ int) {
	step := func(k int) int {
		if t.one[k] {
			return 0
		}
		return 1
	}
	sc, sx, sy := step(0), step(1), step(2)
	for pos, end := i*elementsPerTask, min((i+1)*elementsPerTask, t.total); pos < end; {
		r, off := pos/t.run, pos%t.run
		n := min(t.run-off, end-pos)
		c, x, y := t.at(0, r)+off*sc, t.at(1, r)+off*sx, t.at(2, r)+off*sy
		for j := 0; j < n; {
			k, same := n, t.cond[c] // up to k, the conditions are the same
			if sc > 0 {
				k, same = j+alike(t.cond[c+j:c+n]), t.cond[c+j]
			}
			out := t.out[pos+j : pos+k]
			switch {
			case same && sx > 0:
				copy(out, t.x[x+j:])
			case same:
				fill(out, t.x[x])
			case sy > 0:
				copy(out, t.y[y+j:])
			default:
				fill(out, t.y[y])
			}
			j = k
		}
		pos += n
	}
}

// alike is how many elements of b, one at least, are the same from the first on: masks come in
// stretches. It looks at eight at a time, and where they begin to differ may stop up to seven short.
func alike(b []bool) int {
	n := 1
	if len(b) >= 16 {
		words := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(b))), len(b))
		first := binary.LittleEndian.Uint64(words)
		if first == 0 || first == 0x0101010101010101 {
			for n = 8; n+8 <= len(b) && binary.LittleEndian.Uint64(words[n:]) == first; n += 8 {
			}
		}
	}
	if n == 1 {
		for n < min(len(b), 16) && b[n] == b[0] {
			n++
		}
	}
	return n
}

func fill[T any](dst []T, v T) {
	for i := range dst {
		dst[i] = v
	}
}

// bindWhere is Where on elements of 1, 2, 4 or 8 bytes.
func bindWhere(b *Binding) (Bound, error) {
	switch sizeOf(b.Outs[0].DType) {
	case 1:
		return bindWhereOf[uint8](b)
	case 2:
		return bindWhereOf[uint16](b)
	case 4:
		return bindWhereOf[uint32](b)
	case 8:
		return bindWhereOf[uint64](b)
	}
	return bindRef(b)
}

func bindWhereOf[T any](b *Binding) (Bound, error) {
	t := &whereTask[T]{spans: newSpans(shapeOf(b.Outs[0]), shapeOf(b.Ins[0]), shapeOf(b.Ins[1]), shapeOf(b.Ins[2]))}
	return Bound{Run: func(c *Call) error {
		t.cond, t.x, t.y, t.out = elems[bool](c.Ins[0]), elems[T](c.Ins[1]), elems[T](c.Ins[2]), elems[T](c.Outs[0])
		return b.Device.pool.Run(t.tasks(), t)
	}}, nil
}

// sizeOf is the bytes of an element that kernels may move as a whole, 0 for others.
func sizeOf(dt tensor.DType) int {
	switch dt {
	case tensor.F32, tensor.F64, tensor.F16, tensor.BF16, tensor.I64, tensor.I32, tensor.I16, tensor.I8, tensor.U8, tensor.Bool:
		return dt.Size()
	}
	return 0
}

// bindCast converts between the types that models cast masks, ids and lengths by.
func bindCast(b *Binding) (Bound, error) {
	from, to := b.Ins[0].DType, b.Outs[0].DType
	switch {
	case from == to && sizeOf(to) > 0:
		return bindCopy(b)
	case from == tensor.Bool && to == tensor.F32:
		return bindMap(b, fromBool[float32])
	case from == tensor.Bool && to == tensor.I64:
		return bindMap(b, fromBool[int64])
	case from == tensor.Bool && to == tensor.I32:
		return bindMap(b, fromBool[int32])
	case from == tensor.I64 && to == tensor.Bool:
		return bindMap(b, toBool[int64])
	case from == tensor.I32 && to == tensor.Bool:
		return bindMap(b, toBool[int32])
	case from == tensor.I64 && to == tensor.F32:
		return bindMap(b, toFloat[int64])
	case from == tensor.I32 && to == tensor.F32:
		return bindMap(b, toFloat[int32])
	case from == tensor.I32 && to == tensor.I64:
		return bindMap(b, func(out []int64, x []int32) {
			for i, v := range x {
				out[i] = int64(v)
			}
		})
	}
	return bindRef(b)
}

func fromBool[R number](out []R, x []bool) {
	for i, v := range x {
		out[i] = 0
		if v {
			out[i] = 1
		}
	}
}

func toBool[T number](out []bool, x []T) {
	for i, v := range x {
		out[i] = v != 0
	}
}

// toFloat goes by way of float64, as Cast is defined.
func toFloat[T int64 | int32](out []float32, x []T) {
	for i, v := range x {
		out[i] = float32(float64(v))
	}
}

// bindClip is Clip of f32 and whole numbers; the greatest wins where the bounds cross.
func bindClip(b *Binding) (Bound, error) {
	for _, bound := range b.Ins[1:] {
		if bound.DType != tensor.Invalid && tensor.NumElems(shapeOf(bound)) != 1 {
			return bindRef(b) // which says what is wrong
		}
	}
	switch b.Ins[0].DType {
	case tensor.F32:
		return bindClipOf[float32](b)
	case tensor.I64:
		return bindClipOf[int64](b)
	case tensor.I32:
		return bindClipOf[int32](b)
	}
	return bindRef(b)
}

func bindClipOf[T number](b *Binding) (Bound, error) {
	t := &clipTask[T]{}
	t.f = t.clip
	return Bound{Run: func(c *Call) error {
		t.hasLo, t.hasHi = len(c.Ins) > 1 && c.Ins[1] != nil, len(c.Ins) > 2 && c.Ins[2] != nil
		if t.hasLo {
			t.lo = elems[T](c.Ins[1])[0]
		}
		if t.hasHi {
			t.hi = elems[T](c.Ins[2])[0]
		}
		t.x, t.out = elems[T](c.Ins[0]), elems[T](c.Outs[0])
		return b.Device.pool.Run((len(t.x)+elementsPerTask-1)/elementsPerTask, t)
	}}, nil
}

type clipTask[T number] struct {
	unaryTask[T, T]
	lo, hi       T
	hasLo, hasHi bool
}

func (t *clipTask[T]) clip(out, x []T) {
	for i, v := range x {
		if t.hasLo && v < t.lo {
			v = t.lo
		}
		if t.hasHi && v > t.hi {
			v = t.hi
		}
		out[i] = v
	}
}
