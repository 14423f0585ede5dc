package ptx

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Gather picks slices along an axis: y[o, i, :] = x[o, index[i], :] with x [Outer, Axis, Inner], Count
// indices (i64 or i32; negative ones count from the end). An embedding is Outer = 1. An index outside the
// axis cannot be reported from inside a launch; it reads the nearest slice. Buffers: x, index, y.
type Gather struct {
	Outer, Axis, Inner, Count Expr
	DType, Index              dtype
}

// Kernel writes the kernel.
func (s Gather) Kernel() (*Kernel, error) {
	if s.Index != tensor.I64 && s.Index != tensor.I32 {
		return nil, fmt.Errorf("ptx: gather by %s indices", s.Index)
	}
	if _, err := kindOf(s.DType); err != nil {
		return nil, err
	}
	b := newKernel("gather", elementwiseThreads)
	b.doc("gather %v of %v slices of %v", s.Count, s.Axis, s.Inner)
	width := 1
	if s.Inner.DivisibleBy(4) {
		width = 4
	}
	total := s.Outer.Mul(s.Count).Mul(s.Inner)
	b.k.Grid = [3]Expr{total.CeilDiv(elementwiseThreads * width), N(1), N(1)}
	b.k.Cost = Cost{Bytes: total.MulN(2 * s.DType.Size()).Add(s.Count.MulN(s.Index.Size()))}
	b.k.Limits = Limits{Registers: 40}
	x, index, y := b.buffer("x", s.DType, Read), b.buffer("index", s.Index, Read), b.buffer("y", s.DType, Write)
	axis, inner, count, n := b.dim(s.Axis), b.dim(s.Inner), b.dim(s.Count), b.dim(total)
	at := b.BlockX().MadI(elementwiseThreads, b.Tid()).MulI(width).As("at")
	b.ExitIf(at.Ge(n))
	slice, j := at.DivRem(inner)
	o, i := slice.DivRem(count)
	pick := load(index.At(i, s.Index.Size()), s.Index, 0).i
	pick = pick.Lt(b.Const64(0)).SelU64(pick.Add(axis.Wide()), pick)
	pick = pick.Max(b.Const64(0)).Min(axis.Wide().AddI(-1))
	es := s.DType.Size()
	from := x.AtMul(o, axis.Mul(inner), es).AtMul(pick.Low(), inner, es).At(j, es)
	to := y.At(at, es)
	if width == 4 {
		v := load4(from, s.DType)
		storeN(b.Func, to, s.DType, v[:])
	} else {
		store(b.Func, to, s.DType, 0, load(from, s.DType, 0))
	}
	return b.done(), nil
}

// GatherElements picks single elements: y and index are of shape Count, x of shape Shape, which is no smaller but along
// Axis, and y[.., i, ..] = x[.., index[.., i, ..], ..]. Negative indices count from the end, those outside read the
// nearest element. Buffers: x, index, y.
type GatherElements struct {
	Shape, Count []Expr
	Axis         int
	DType, Index dtype
}

// Kernel writes the kernel: one element per thread.
func (s GatherElements) Kernel() (*Kernel, error) {
	if _, err := kindOf(s.DType); err != nil {
		return nil, err
	}
	if s.Index != tensor.I64 && s.Index != tensor.I32 || len(s.Count) != len(s.Shape) || s.Axis < 0 || s.Axis >= len(s.Shape) {
		return nil, fmt.Errorf("ptx: gather of elements along axis %d of %d by %s indices of rank %d", s.Axis, len(s.Shape), s.Index, len(s.Count))
	}
	total, es := Elems(s.Count), s.DType.Size()
	b, at := plainKernel("gather_elements", total)
	b.doc("gather %v elements of %v along axis %d", s.Count, s.Shape, s.Axis)
	b.k.Cost = Cost{Bytes: total.MulN(2*es + s.Index.Size())}
	x, index, y := b.buffer("x", s.DType, Read), b.buffer("index", s.Index, Read), b.buffer("y", s.DType, Write)
	strides, count := b.viewDims([]View{Contiguous(s.Shape)})[0], b.dims(s.Count)
	axis, n := b.dim(s.Shape[s.Axis]), b.dim(total)
	b.ExitIf(at.Ge(n))
	coords := b.split(at, count)
	pick := load(index.At(at, s.Index.Size()), s.Index, 0).i
	pick = pick.Lt(b.Const64(0)).SelU64(pick.Add(axis.Wide()), pick)
	coords[s.Axis] = pick.Max(b.Const64(0)).Min(axis.Wide().AddI(-1)).Low()
	store(b.Func, y.At(at, es), s.DType, 0, load(x.At(strides.at(coords), es), s.DType, 0))
	return b.done(), nil
}

// GatherND picks slices by tuples of indices: y[i, :] = x[index[i, 0], index[i, 1], ..., :] with x [Axes..., Inner]
// and index i64 [Count, len(Axes)]; negative indices count from the end, those outside read the nearest slice.
// Buffers: x, index, y.
type GatherND struct {
	Axes         []Expr
	Inner, Count Expr
	DType        dtype
}

// Kernel writes the kernel: one element per thread.
func (s GatherND) Kernel() (*Kernel, error) {
	if _, err := kindOf(s.DType); err != nil {
		return nil, err
	}
	b := newKernel("gather_nd", elementwiseThreads)
	b.doc("gather %v slices of %v by %d indices each", s.Count, s.Inner, len(s.Axes))
	total := s.Count.Mul(s.Inner)
	b.k.Grid = [3]Expr{total.CeilDiv(elementwiseThreads), N(1), N(1)}
	b.k.Cost = Cost{Bytes: total.MulN(2 * s.DType.Size()).Add(s.Count.MulN(8 * len(s.Axes)))}
	b.k.Limits = Limits{Registers: 40}
	x, index, y := b.buffer("x", s.DType, Read), b.buffer("index", tensor.I64, Read), b.buffer("y", s.DType, Write)
	axes, inner, n := b.dims(s.Axes), b.dim(s.Inner), b.dim(total)
	at := b.BlockX().MadI(elementwiseThreads, b.Tid()).As("at")
	b.ExitIf(at.Ge(n))
	slice, j := at.DivRem(inner)
	tuple := index.AtMul(slice, b.Const(len(s.Axes)), 8)
	from := b.Const(0)
	for i, axis := range axes {
		pick := load(tuple, tensor.I64, 8*i).i
		pick = pick.Lt(b.Const64(0)).SelU64(pick.Add(axis.Wide()), pick)
		pick = pick.Max(b.Const64(0)).Min(axis.Wide().AddI(-1))
		from = from.Mad(axis, pick.Low())
	}
	es := s.DType.Size()
	store(b.Func, y.At(at, es), s.DType, 0, load(x.AtMul(from, inner, es).At(j, es), s.DType, 0))
	return b.done(), nil
}

// Pad copies x into the middle of y and fills the rest: with a constant, the nearest element ("edge") or a
// mirror image without the edge ("reflect"). Shape is that of y, Before the padding in front of each
// dimension, Size the shape of x. Buffers: x, y.
type Pad struct {
	Shape, Size, Before []Expr
	DType               dtype
	Mode                string // "constant", "edge", "reflect"
	Value               float64
}

// Kernel writes the kernel.
func (s Pad) Kernel() (*Kernel, error) {
	k, err := kindOf(s.DType)
	if err != nil {
		return nil, err
	}
	if s.Mode != "constant" && s.Mode != "edge" && s.Mode != "reflect" {
		return nil, fmt.Errorf("ptx: pad mode %q", s.Mode)
	}
	b := newKernel("pad", elementwiseThreads)
	b.doc("pad %v to %v (%s)", s.Size, s.Shape, s.Mode)
	total := Elems(s.Shape)
	b.k.Grid = [3]Expr{total.CeilDiv(elementwiseThreads), N(1), N(1)}
	b.k.Cost = Cost{Bytes: total.Add(Elems(s.Size)).MulN(s.DType.Size())}
	b.k.Limits = Limits{Registers: 64}
	x, y := b.buffer("x", s.DType, Read), b.buffer("y", s.DType, Write)
	shape, size, before := b.dims(s.Shape), b.dims(s.Size), b.dims(s.Before)
	n := b.dim(total)
	strides := b.viewDims([]View{Contiguous(s.Size)})[0]
	at := b.BlockX().MadI(elementwiseThreads, b.Tid()).As("at")
	b.ExitIf(at.Ge(n))
	coords := b.split(at, shape)
	inside := b.Bool(true)
	for d := range coords {
		c := coords[d].Sub(before[d])
		last := size[d].AddI(-1)
		switch s.Mode {
		case "constant":
			inside = inside.And(c.Lt(size[d])) // a negative coordinate is a huge unsigned one
		case "edge":
			c = c.MaxS(b.Const(0)).MinS(last)
		case "reflect":
			c = c.MaxS(b.Const(0).Var("").Sub(c))
			back := last.Add(last).Sub(c)
			c = c.MinS(back)
		}
		coords[d] = c
	}
	es := s.DType.Size()
	to := y.At(at, es)
	b.IfElse(inside,
		func() { store(b.Func, to, s.DType, 0, load(x.At(strides.at(coords), es), s.DType, 0)) },
		func() {
			fill := value{kind: k}
			switch k {
			case floatKind:
				fill.f = b.ConstF(float32(s.Value))
			case intKind:
				fill.i = b.Const64(int64(s.Value))
			case doubleKind:
				fill.d = b.ConstD(s.Value)
			default:
				fill.p = b.Bool(s.Value != 0)
			}
			store(b.Func, to, s.DType, 0, fill)
		})
	return b.done(), nil
}
