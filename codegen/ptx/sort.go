package ptx

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// TopK writes the K largest (or smallest) elements of each row of D, in order, and their positions; the lower
// position comes first among equals, NaN ranks above every number, as NumPy and ONNX have it. One block per row, one
// round per element taken: meant for K far below D; see Rank for the rest. Buffers: x, values, indices (i64).
type TopK struct {
	Rows, D  Expr
	K        int
	DType    dtype
	Smallest bool
}

// Kernel writes the kernel.
func (s TopK) Kernel() (*Kernel, error) {
	if k, err := kindOf(s.DType); err != nil || k != floatKind || s.K < 1 {
		return nil, fmt.Errorf("ptx: the %d largest of %s", s.K, s.DType)
	}
	b := newKernel("topk", rowThreads)
	b.doc("the %d largest (smallest: %t) of %v, in order", s.K, s.Smallest, s.D)
	all := s.Rows.Mul(s.D)
	b.k.Cost = Cost{FLOPs: all.MulN(4 * s.K), Bytes: all.MulN(s.DType.Size()).Add(s.Rows.MulN(s.K * (8 + s.DType.Size())))}
	b.k.Limits = Limits{Registers: 128}
	x := b.buffer("x", s.DType, Read)
	values, indices := b.buffer("values", s.DType, Write), b.buffer("indices", tensor.I64, Write)
	r := newTeamRows(b, s.Rows, s.D, true, rowThreads)
	es := s.DType.Size()
	in := r.read(func(col asm.U32) []asm.F32 {
		return loadFloats(x.AtMul(r.row, r.dim, es).At(col, es), s.DType, r.width)
	})
	warps := rowThreads / asm.WarpSize
	best := b.Shared("best", 8, warps*8)
	lastKey, lastAt := b.Const(-1).Var("last_key"), b.Const(-1).Var("last_at")
	first := b.Bool(true).U32().Var("first")
	b.For("round", b.Const(0), b.Const(s.K), 1, func(round asm.U32) {
		b.Comment("the best of what comes after the last one taken")
		top, at := b.Const(0).Var("top"), b.Const(-1).Var("at")
		in.each(func(col asm.U32, v []asm.F32) {
			for i, e := range v {
				c := col.AddI(i)
				if s.Smallest {
					e = e.Neg()
				}
				key := rankKey(e)
				if !s.Smallest {
					key = e.IsNaN().SelU32(b.Const(-1), key)
				}
				after := key.Lt(lastKey).Or(key.Eq(lastKey).And(lastAt.Lt(c))).Or(first.NeI(0))
				better := key.Gt(top).Or(key.Eq(top).And(c.Lt(at)))
				take := after.And(better)
				top.Set(take.SelU32(key, top))
				at.Set(take.SelU32(c, at))
			}
		})
		most := top.ReduxMax()
		where := top.Eq(most).SelU32(at, b.Const(-1)).ReduxMin()
		b.If(b.Lane().EqI(0), func() {
			cell := best.Add(b.Warp().MulI(8))
			cell.StsU32(0, most)
			cell.StsU32(4, where)
		})
		b.Barrier()
		most, where = best.LdsU32(0), best.LdsU32(4)
		for w := 1; w < warps; w++ {
			k, p := best.LdsU32(8*w), best.LdsU32(8*w+4)
			better := k.Gt(most).Or(k.Eq(most).And(p.Lt(where)))
			most, where = better.SelU32(k, most), better.SelU32(p, where)
		}
		lastKey.Set(most)
		lastAt.Set(where)
		first.Set(b.Const(0))
		b.If(b.Tid().EqI(0), func() {
			to := r.row.MadI(s.K, round)
			v := rankValue(most)
			if s.Smallest {
				v = v.Neg()
			}
			storeF(b.Func, values.At(to, es), s.DType, 0, v)
			indices.At(to, 8).StU64(0, where.Wide())
		})
		b.Barrier()
	})
	return b.done(), nil
}

// CumSum adds up along the middle of [Outer, D, Inner], one thread per line. Buffers: x, y.
type CumSum struct {
	Outer, D, Inner    Expr
	DType              dtype // a float, or i64 or i32
	Exclusive, Reverse bool
}

// Kernel writes the kernel.
func (s CumSum) Kernel() (*Kernel, error) {
	kind, err := kindOf(s.DType)
	if err != nil || kind == boolKind {
		return nil, fmt.Errorf("ptx: running sum of %s", s.DType)
	}
	b := newKernel("cumsum", rowThreads)
	b.doc("running sum along %v", s.D)
	lines := s.Outer.Mul(s.Inner)
	b.k.Grid = [3]Expr{lines.CeilDiv(rowThreads), N(1), N(1)}
	b.k.Cost = Cost{FLOPs: lines.Mul(s.D), Bytes: lines.Mul(s.D).MulN(2 * s.DType.Size())}
	b.k.Limits = Limits{Registers: 40}
	x, y := b.buffer("x", s.DType, Read), b.buffer("y", s.DType, Write)
	n, d, inner := b.dim(lines), b.dim(s.D), b.dim(s.Inner)
	line := b.BlockX().MadI(rowThreads, b.Tid()).As("line")
	b.ExitIf(line.Ge(n))
	outer, within := line.DivRem(inner)
	es := s.DType.Size()
	start := outer.MulWide(d.Mul(inner)).Add(within.Wide())
	sum := b.number(kind, 0).variable("sum")
	b.For("i", b.Const(0), d, 1, func(i asm.U32) {
		at := i
		if s.Reverse {
			at = d.AddI(-1).Sub(i)
		}
		off := start.Add(at.MulWide(inner)).MulI(es)
		v := load(x.Add(off), s.DType, 0)
		if s.Exclusive {
			store(b.Func, y.Add(off), s.DType, 0, sum)
		}
		sum.set(b.do("add", sum, v))
		if !s.Exclusive {
			store(b.Func, y.Add(off), s.DType, 0, sum)
		}
	})
	return b.done(), nil
}
