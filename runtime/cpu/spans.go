package cpu

import (
	"unsafe"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// elementsPerTask is the length of a task of an elementwise kernel: 64 KB of f32
// operands, which stays in L1 and L2.
const elementsPerTask = 8 << 10

// spans cuts a broadcast output into runs of the innermost dimensions in which each
// operand is either contiguous or one element.
type spans struct {
	run, total int
	outer      []int   // dimensions above the run
	strides    [][]int // of each operand over them
	one        []bool  // the operand is one element throughout a run
}

// newSpans lays operands of given shapes over an output shape.
func newSpans(out []int, ins ...[]int) spans {
	s := spans{run: 1, total: tensor.NumElems(out), one: make([]bool, len(ins))}
	all := make([][]int, len(ins))
	for i, in := range ins {
		all[i] = broadcastStrides(in, out)
	}
	// A run grows inwards out while all operands go on as they began.
	d := len(out)
grow:
	for ; d > 0; d-- {
		n := out[d-1]
		if n == 1 {
			continue
		}
		for i := range all {
			st := all[i][d-1]
			if st != 0 && (s.one[i] || st != s.run) || st == 0 && s.run > 1 && !s.one[i] {
				break grow
			}
		}
		for i := range all {
			s.one[i] = all[i][d-1] == 0
		}
		s.run *= n
	}
	if s.run <= 1 {
		clear(s.one) // single elements are contiguous
	}
	s.outer = out[:d]
	for i := range all {
		s.strides = append(s.strides, all[i][:d])
	}
	return s
}

func (s *spans) tasks() int { return (s.total + elementsPerTask - 1) / elementsPerTask }

// at is where operand i of run r begins.
func (s *spans) at(i, r int) int {
	off := 0
	for d := len(s.outer) - 1; d >= 0; d-- {
		off += r % s.outer[d] * s.strides[i][d]
		r /= s.outer[d]
	}
	return off
}

// operand is n elements of operand i from element off of run r on; a single element is
// repeated in wide.
func operand[T any](s *spans, i, r, off, n int, data, wide []T) []T {
	at := s.at(i, r)
	if !s.one[i] {
		return data[at+off : at+off+n]
	}
	wide = wide[:n]
	v := data[at]
	for j := range wide {
		wide[j] = v
	}
	return wide
}

// binaryTask applies f to two broadcast operands.
type binaryTask[T, R any] struct {
	spans
	f    func(out []R, x, y []T)
	x, y []T
	out  []R
	wide [][]T // per worker and operand: a run's single element, repeated
}

func (t *binaryTask[T, R]) Do(i, worker int) {
	for pos, end := i*elementsPerTask, min((i+1)*elementsPerTask, t.total); pos < end; {
		r, off := pos/t.run, pos%t.run
		n := min(t.run-off, end-pos)
		x := operand(&t.spans, 0, r, off, n, t.x, t.wide[2*worker])
		y := operand(&t.spans, 1, r, off, n, t.y, t.wide[2*worker+1])
		t.f(t.out[pos:pos+n], x, y)
		pos += n
	}
}

// bindZip binds f over operands of element type T into outputs of R.
func bindZip[T, R any](b *Binding, f func(out []R, x, y []T)) (Bound, error) {
	t := &binaryTask[T, R]{spans: newSpans(shapeOf(b.Outs[0]), shapeOf(b.Ins[0]), shapeOf(b.Ins[1])), f: f}
	for i := range 2 * b.Device.pool.Workers() {
		var w []T
		if t.one[i%2] {
			w = make([]T, min(t.run, elementsPerTask))
		}
		t.wide = append(t.wide, w)
	}
	return Bound{Run: func(c *Call) error {
		t.x, t.y, t.out = elems[T](c.Ins[0]), elems[T](c.Ins[1]), elems[R](c.Outs[0])
		return b.Device.pool.Run(t.tasks(), t)
	}}, nil
}

// unaryTask applies f to ranges.
type unaryTask[T, R any] struct {
	f   func(out []R, x []T)
	x   []T
	out []R
}

func (t *unaryTask[T, R]) Do(i, _ int) {
	lo, hi := i*elementsPerTask, min((i+1)*elementsPerTask, len(t.x))
	t.f(t.out[lo:hi], t.x[lo:hi])
}

// bindMap binds f over elements of type T into outputs of R.
func bindMap[T, R any](b *Binding, f func(out []R, x []T)) (Bound, error) {
	t := &unaryTask[T, R]{f: f}
	return Bound{Run: func(c *Call) error {
		t.x, t.out = elems[T](c.Ins[0]), elems[R](c.Outs[0])
		return b.Device.pool.Run((len(t.x)+elementsPerTask-1)/elementsPerTask, t)
	}}, nil
}

// elems views a tensor's memory as elements of a type of the same size.
func elems[T any](t *tensor.Tensor) []T {
	b := t.Bytes()
	if len(b) == 0 {
		return nil
	}
	var v T
	return unsafe.Slice((*T)(unsafe.Pointer(&b[0])), len(b)/int(unsafe.Sizeof(v)))
}

func broadcastStrides(shape, out []int) []int {
	s := make([]int, len(out))
	n := 1
	for i := len(shape) - 1; i >= 0; i-- {
		if shape[i] != 1 {
			s[i+len(out)-len(shape)] = n
		}
		n *= shape[i]
	}
	return s
}
