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

// ScatterND puts or folds slices at tuples of indices: y = data of shape [Axes..., Inner], then for i in order
// y[index[i, 0], index[i, 1], ..., :] = fold(that, updates[i, :]), with index i64 [Count, len(Axes)]. Negative indices count
// from the end; tuples with one outside hit nothing. Each element looks for its updates itself, as in Scatter.
// Buffers: data, index, updates, y.
type ScatterND struct {
	Axes         []Expr
	Inner, Count Expr
	DType        dtype
	Reduce       string // as in Scatter
}

// Kernel writes the kernel.
func (s ScatterND) Kernel() (*Kernel, error) {
	dt := stored(s.DType)
	if _, err := kindOf(dt); err != nil {
		return nil, err
	}
	fn := Fn(s.Reduce)
	if len(s.Axes) == 0 || s.Reduce != "none" && (s.DType == tensor.Bool || fn != "add" && fn != "mul" && fn != "min" && fn != "max") {
		return nil, fmt.Errorf("ptx: scatter along %d axes with %q of %s", len(s.Axes), s.Reduce, s.DType)
	}
	total, updates := Elems(s.Axes).Mul(s.Inner), s.Count.Mul(s.Inner)
	b, at := plainKernel("scatter_nd", total)
	b.doc("scatter (%s) of %v slices of %v by %d indices each", s.Reduce, s.Count, s.Inner, len(s.Axes))
	b.k.Cost = Cost{FLOPs: updates, Bytes: total.MulN(2 * dt.Size()).Add(updates.MulN(dt.Size())).Add(s.Count.MulN(8 * len(s.Axes)))}
	data, index := b.buffer("data", s.DType, Read), b.buffer("index", tensor.I64, Read)
	from, y := b.buffer("updates", s.DType, Read), b.buffer("y", s.DType, Write)
	axes, inner, count, n := b.dims(s.Axes), b.dim(s.Inner), b.dim(s.Count), b.dim(total)
	b.ExitIf(at.Ge(n))
	slice, within := at.DivRem(inner)
	coords, es := b.split(slice, axes), dt.Size()
	acc := load(data.At(at, es), dt, 0).variable("acc")
	b.For("i", b.Const(0), count, 1, func(i asm.U32) {
		tuple := index.AtMul(i, b.Const(len(axes)), 8)
		hit := b.Bool(true)
		for d, axis := range axes {
			pick := load(tuple, tensor.I64, 8*d).i
			pick = pick.Lt(b.Const64(0)).SelU64(pick.Add(axis.Wide()), pick)
			hit = hit.And(pick.Eq(coords[d].Wide()))
		}
		b.If(hit, func() {
			v := load(from.AtMul(i, inner, es).At(within, es), dt, 0)
			if s.Reduce != "none" {
				v = b.do(fn, acc, v)
			}
			acc.set(v)
		})
	})
	store(b.Func, y.At(at, es), dt, 0, acc)
	return b.done(), nil
}
