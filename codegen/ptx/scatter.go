package ptx

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Scatter puts updates at indices along an axis, or folds them in: y = data, then for all coordinates of index, in
// order along Axis, y[.., index[c], ..] = fold(y[.., index[c], ..], updates[c]). Negative indices count from the end;
// those outside hit nothing. Each element of y looks for its updates itself, so that the order of additions does not
// depend on that of the threads, at the price of a look at every index of its line. Buffers: data, index, updates, y.
type Scatter struct {
	Shape  []Expr // of data and y
	Count  []Expr // shape of index and updates
	Axis   int
	DType  dtype
	Index  dtype  // i64 or i32
	Reduce string // "none", "add", "mul", "min", "max"
}

// Kernel writes the kernel.
func (s Scatter) Kernel() (*Kernel, error) {
	_, err := kindOf(stored(s.DType))
	if err != nil {
		return nil, err
	}
	if s.Index != tensor.I64 && s.Index != tensor.I32 || len(s.Count) != len(s.Shape) || s.Axis < 0 || s.Axis >= len(s.Shape) {
		return nil, fmt.Errorf("ptx: scatter along axis %d of %d by %s indices of rank %d", s.Axis, len(s.Shape), s.Index, len(s.Count))
	}
	fn := Fn(s.Reduce)
	if s.Reduce != "none" && (s.DType == tensor.Bool || fn != "add" && fn != "mul" && fn != "min" && fn != "max") {
		return nil, fmt.Errorf("ptx: scatter with %q of %s", s.Reduce, s.DType)
	}
	total, updates := Elems(s.Shape), Elems(s.Count)
	b, at := plainKernel("scatter", total)
	b.doc("scatter (%s) of %v into %v along axis %d", s.Reduce, s.Count, s.Shape, s.Axis)
	dt := stored(s.DType)
	b.k.Cost = Cost{FLOPs: updates, Bytes: total.MulN(2 * dt.Size()).Add(updates.MulN(dt.Size() + s.Index.Size()))}
	data, index := b.buffer("data", s.DType, Read), b.buffer("index", s.Index, Read)
	from, y := b.buffer("updates", s.DType, Read), b.buffer("y", s.DType, Write)
	shape, count := b.dims(s.Shape), b.dims(s.Count)
	strides := b.viewDims([]View{Contiguous(s.Count)})[0]
	n := b.dim(total)
	b.ExitIf(at.Ge(n))
	coords := b.split(at, shape)
	es := dt.Size()
	acc := load(data.At(at, es), dt, 0).variable("acc")
	covered := b.Bool(true)
	for i, c := range coords {
		if i != s.Axis {
			covered = covered.And(c.Lt(count[i]))
		}
	}
	own, axis := coords[s.Axis], shape[s.Axis]
	b.If(covered, func() {
		b.For("i", b.Const(0), count[s.Axis], 1, func(i asm.U32) {
			coords[s.Axis] = i
			off := strides.at(coords)
			pick := load(index.At(off, s.Index.Size()), s.Index, 0).i
			pick = pick.Lt(b.Const64(0)).SelU64(pick.Add(axis.Wide()), pick)
			b.If(pick.Eq(own.Wide()), func() {
				v := load(from.At(off, es), dt, 0)
				if s.Reduce != "none" {
					v = b.do(fn, acc, v)
				}
				acc.set(v)
			})
		})
	})
	store(b.Func, y.At(at, es), dt, 0, acc)
	return b.done(), nil
}
