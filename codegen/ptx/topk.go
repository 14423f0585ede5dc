package ptx

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// rankKey orders floats as unsigned integers: -0 equals 0, NaN is 1 and below everything; 0 is left for
// elements already taken.
func rankKey(x asm.F32) asm.U32 {
	f := x.Bits().Func()
	bits := x.Add(f.ConstF(0)).Bits()
	key := bits.LtSI(0).SelU32(bits.Not(), bits.Or(f.Const(-1<<31)))
	return x.IsNaN().SelU32(f.Const(1), key)
}

// rankValue is the float that rankKey made the key of.
func rankValue(key asm.U32) asm.F32 {
	f := key.Func()
	bits := key.LtSI(0).SelU32(key.XorI(-1<<31), key.Not())
	return key.EqI(1).SelU32(f.Const(int(math.Float32bits(float32(math.NaN())))), bits).AsF32()
}

// best takes the n largest of the keys that the warp's lanes hold, one per round, the lower id among equals;
// take gets the round, the id and the key in every lane. Ids are distinct and not -1. Taken keys become 0.
func (b *builder) best(keys, ids []asm.U32, n int, take func(k, id, key asm.U32)) {
	b.For("round", b.Const(0), b.Const(n), 1, func(k asm.U32) {
		top, who := keys[0], ids[0]
		for j := 1; j < len(keys); j++ {
			better := keys[j].Gt(top).Or(keys[j].Eq(top).And(ids[j].Lt(who)))
			top, who = better.SelU32(keys[j], top), better.SelU32(ids[j], who)
		}
		most := top.ReduxMax()
		winner := top.Eq(most).SelU32(who, b.Const(-1)).ReduxMin()
		for j := range keys {
			keys[j].Set(winner.Eq(ids[j]).SelU32(b.Const(0), keys[j]))
		}
		take(k, winner, most)
	})
}

// TopKMask zeroes, in each row of h, the units whose value is below the row's K-th largest; all equal to it
// stay. The value is the unit itself, or its magnitude, times its entry of norm where there is one. The
// threshold is exact: four rounds of an 8-bit radix selection on order-preserving keys. Where fewer than K
// units are numbers, everything stays. Buffers: h (in place), [norm].
type TopKMask struct {
	Rows      Expr
	F, K      int
	DType     dtype
	Norm      bool // f32 factors per unit
	Magnitude bool
}

// Kernel writes the kernel: a block per row.
func (s TopKMask) Kernel() (*Kernel, error) {
	if k, err := kindOf(s.DType); err != nil || k != floatKind || s.K < 1 || s.F < 1 {
		return nil, fmt.Errorf("ptx: top-%d of %d units of %s", s.K, s.F, s.DType)
	}
	b := newKernel("topk_mask", rowThreads)
	b.doc("keep the %d largest of %d units per row", s.K, s.F)
	b.k.Cost = Cost{FLOPs: s.Rows.MulN(8 * s.F), Bytes: s.Rows.MulN(2 * s.F * s.DType.Size())}
	b.k.Limits = Limits{Registers: 128}
	h := b.buffer("h", s.DType, ReadWrite)
	var norm asm.U64
	if s.Norm {
		norm = b.buffer("norm", tensor.F32, Read)
	}
	r := newTeamRows(b, s.Rows, N(s.F), true, rowThreads)
	es := s.DType.Size()
	at := func(col asm.U32) asm.U64 { return h.AtMul(r.row, r.dim, es).At(col, es) }
	in := r.read(func(col asm.U32) []asm.F32 { return loadFloats(at(col), s.DType, r.width) })
	key := func(col asm.U32, v asm.F32) asm.U32 {
		if s.Magnitude {
			v = v.Abs()
		}
		if s.Norm {
			v = v.Mul(norm.At(col, 4).LdF32(0))
		}
		return rankKey(v)
	}
	const bins = 256
	hist := b.Shared("histogram", 4, bins*4)
	found := b.Shared("found", 4, 8)
	prefix, left := b.Const(0).Var("prefix"), b.Const(min(s.K, s.F)).Var("left")
	for shift := 24; shift >= 0; shift -= 8 {
		b.Comment("bits %d to %d of the K-th key", shift, shift+7)
		hist.Add(b.Tid().MulI(4)).StsU32(0, b.Const(0))
		b.Barrier()
		in.each(func(col asm.U32, v []asm.F32) {
			for i, x := range v {
				k := key(col.AddI(i), x)
				candidate := b.Bool(true)
				if shift < 24 {
					candidate = k.ShrI(shift + 8).Eq(prefix)
				}
				b.If(candidate, func() { hist.Add(k.ShrI(shift).AndI(bins-1).MulI(4)).AtomicAddS(0, b.Const(1)) })
			}
		})
		b.Barrier()
		b.If(b.Warp().EqI(0), func() {
			// lane 0 has the top 8 bins
			first := b.Const(bins / asm.WarpSize * (asm.WarpSize - 1)).Sub(b.Lane().MulI(bins / asm.WarpSize))
			var n [bins / asm.WarpSize]asm.U32
			sum := b.Const(0)
			for i := range n {
				n[i] = hist.Add(first.MulI(4)).LdsU32(i * 4)
				sum = sum.Add(n[i])
			}
			incl := sum
			for d := 1; d < asm.WarpSize; d *= 2 {
				up, ok := incl.ShflUp(d)
				incl = ok.SelU32(incl.Add(up), incl)
			}
			above := incl.Sub(sum).Var("above")
			b.If(above.Lt(left).And(left.Le(incl)), func() {
				for i := len(n) - 1; i >= 0; i-- {
					here := above.Lt(left).And(left.Le(above.Add(n[i])))
					b.If(here, func() {
						found.StsU32(0, first.AddI(i))
						found.StsU32(4, left.Sub(above))
					})
					above.Set(above.Add(n[i]))
				}
			})
		})
		b.Barrier()
		prefix.Set(prefix.ShlI(8).Or(found.LdsU32(0)))
		left.Set(found.LdsU32(4))
	}
	b.Comment("zero what is below")
	all := prefix.EqI(1) // the K-th is NaN
	in.each(func(col asm.U32, v []asm.F32) {
		out := make([]asm.F32, len(v))
		for i, x := range v {
			out[i] = all.Or(key(col.AddI(i), x).Ge(prefix)).SelF32(x, b.ConstF(0))
		}
		storeFloats(b.Func, at(col), s.DType, out)
	})
	return b.done(), nil
}
