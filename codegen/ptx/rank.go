package ptx

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Rank is TopK along the middle of x [Outer, D, Inner], for any element type and any K: each thread counts the elements
// that come before its own, which is the place where it puts it. D comparisons per element, no synchronisation.
// Buffers: x, values, indices (i64), both [Outer, K, Inner].
type Rank struct {
	Outer, D, Inner, K Expr
	DType              dtype
	Smallest           bool
}

// Kernel writes the kernel.
func (s Rank) Kernel() (*Kernel, error) {
	k, err := kindOf(s.DType)
	if err != nil || k == boolKind {
		return nil, fmt.Errorf("ptx: the largest of %s", s.DType)
	}
	total := s.Outer.Mul(s.D).Mul(s.Inner)
	b, index := plainKernel("rank", total)
	b.doc("places of the %v first of %v elements of %s (smallest: %t)", s.K, s.D, s.DType, s.Smallest)
	b.k.Cost = Cost{FLOPs: total.Mul(s.D), Bytes: total.MulN(s.DType.Size()).Add(s.Outer.Mul(s.K).Mul(s.Inner).MulN(s.DType.Size() + 8))}
	x := b.buffer("x", s.DType, Read)
	values, indices := b.buffer("values", s.DType, Write), b.buffer("indices", tensor.I64, Write)
	n, d, inner, most := b.dim(total), b.dim(s.D), b.dim(s.Inner), b.dim(s.K)
	b.ExitIf(index.Ge(n))
	line, within := index.DivRem(inner)
	outer, at := line.DivRem(d)
	es := s.DType.Size()
	base := x.AtMul(outer, d.Mul(inner), es).At(within, es)
	own := load(x.At(index, es), s.DType, 0)
	isNaN := func(v value) asm.Pred {
		if k == intKind {
			return b.Bool(false)
		}
		return b.do("isnan", v).p
	}
	ownNaN := isNaN(own)
	place := b.Const(0).Var("place")
	b.For("i", b.Const(0), d, 1, func(i asm.U32) {
		v := load(base.AtMul(i, inner, es), s.DType, 0)
		nan := isNaN(v)
		// NaN lies above every number and equals itself.
		above := b.do("gt", v, own).p.Or(nan.And(ownNaN.Not()))
		if s.Smallest {
			above = b.do("lt", v, own).p.Or(ownNaN.And(nan.Not()))
		}
		equal := b.do("eq", v, own).p.Or(nan.And(ownNaN))
		place.Set(place.Add(above.Or(equal.And(i.Lt(at))).U32()))
	})
	b.If(place.Lt(most), func() {
		to := outer.Mul(most).Add(place).Mad(inner, within)
		store(b.Func, values.At(to, es), s.DType, 0, own)
		indices.At(to, 8).StU64(0, at.Wide())
	})
	return b.done(), nil
}
