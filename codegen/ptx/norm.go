package ptx

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Norm is LayerNorm or RMSNorm over rows of D elements, with what surrounds it in a transformer folded in:
// y = (v - mean) / sqrt(var + Eps) * gamma + beta, where v = x, or x + residual, which can be stored too.
// Buffers: x, [residual], gamma, [beta], y, [sum].
type Norm struct {
	Rows, D  Expr
	DType    dtype // of x, residual, y and sum
	Scale    dtype // of gamma and beta
	RMS      bool  // no mean: y = v / sqrt(mean(v^2) + Eps) * gamma
	Beta     bool
	Residual bool
	Sum      bool // store v
	Eps      float32
}

// Kernel writes the kernel.
func (s Norm) Kernel() (*Kernel, error) {
	if s.DType == tensor.F64 && s.Scale == tensor.F64 {
		return s.plain()
	}
	for _, dt := range []dtype{s.DType, s.Scale} {
		if k, err := kindOf(dt); err != nil || k != floatKind {
			return nil, fmt.Errorf("ptx: norm of %s", dt)
		}
	}
	name := "layernorm"
	if s.RMS {
		name = "rmsnorm"
	}
	b := newKernel(name, rowThreads)
	b.doc("%s over %v rows of %v", name, s.Rows, s.D)
	all := s.Rows.Mul(s.D)
	passes := 2
	x := b.buffer("x", s.DType, Read)
	var res, beta, sum asm.U64
	if s.Residual {
		res = b.buffer("residual", s.DType, Read)
		passes++
	}
	gamma := b.buffer("gamma", s.Scale, Read)
	if s.Beta {
		beta = b.buffer("beta", s.Scale, Read)
	}
	y := b.buffer("y", s.DType, Write)
	if s.Sum {
		sum = b.buffer("sum", s.DType, Write)
		passes++
	}
	b.k.Cost = Cost{FLOPs: all.MulN(8), Bytes: all.MulN(passes * s.DType.Size())}
	b.k.Limits = Limits{Registers: 128}
	r := newRows(b, s.Rows, s.D, true)
	es := s.DType.Size()
	at := func(p asm.U64, col asm.U32) asm.U64 { return p.AtMul(r.row, r.dim, es).At(col, es) }
	in := r.read(func(col asm.U32) []asm.F32 {
		v := loadFloats(at(x, col), s.DType, r.width)
		if s.Residual {
			for i, w := range loadFloats(at(res, col), s.DType, r.width) {
				v[i] = v[i].Add(w)
			}
		}
		return v
	})
	n := r.dim.F32()
	mean := b.ConstF(0)
	if !s.RMS {
		b.Comment("mean")
		acc := b.ConstF(0).Var("total")
		in.each(func(_ asm.U32, v []asm.F32) {
			for _, e := range v {
				acc.AddTo(e)
			}
		})
		mean = r.sum(acc).Div(n).As("mean")
	}
	b.Comment("mean square around the mean")
	acc := b.ConstF(0).Var("squares")
	in.each(func(_ asm.U32, v []asm.F32) {
		for _, e := range v {
			d := e
			if !s.RMS {
				d = e.Sub(mean)
			}
			acc.FmaTo(d, d)
		}
	})
	scale := b.ConstF(1).Div(r.sum(acc).Div(n).AddC(s.Eps).Sqrt()).As("scale")
	b.Comment("scale, shift, store")
	in.each(func(col asm.U32, v []asm.F32) {
		g := loadFloats(gamma.At(col, s.Scale.Size()), s.Scale, r.width)
		var bt []asm.F32
		if s.Beta {
			bt = loadFloats(beta.At(col, s.Scale.Size()), s.Scale, r.width)
		}
		out := make([]asm.F32, len(v))
		for i, e := range v {
			if !s.RMS {
				e = e.Sub(mean)
			}
			out[i] = e.Mul(scale)
			if s.Beta {
				out[i] = out[i].Fma(g[i], bt[i])
			} else {
				out[i] = out[i].Mul(g[i])
			}
		}
		storeFloats(b.Func, at(y, col), s.DType, out)
		if s.Sum {
			storeFloats(b.Func, at(sum, col), s.DType, v)
		}
	})
	return b.done(), nil
}

// Softmax normalises rows of D elements: exp(x - max) / sum, or the logarithm of it. A row whose elements
// are Inner apart (softmax over an axis that is not the last) is Inner > 1. Buffers: x, y.
type Softmax struct {
	Outer, D, Inner Expr
	DType           dtype
	Log             bool
}

// Kernel writes the kernel.
func (s Softmax) Kernel() (*Kernel, error) {
	if s.DType == tensor.F64 {
		return s.plain()
	}
	if k, err := kindOf(s.DType); err != nil || k != floatKind {
		return nil, fmt.Errorf("ptx: softmax of %s", s.DType)
	}
	b := newKernel("softmax", rowThreads)
	b.doc("softmax (log %t) over [%v, %v, %v], axis 1", s.Log, s.Outer, s.D, s.Inner)
	all := s.Outer.Mul(s.D).Mul(s.Inner)
	b.k.Cost = Cost{FLOPs: all.MulN(8), Bytes: all.MulN(2 * s.DType.Size())}
	b.k.Limits = Limits{Registers: 128}
	x, y := b.buffer("x", s.DType, Read), b.buffer("y", s.DType, Write)
	inner := b.dim(s.Inner)
	r := newRows(b, s.Outer.Mul(s.Inner), s.D, s.Inner.Is(1))
	es := s.DType.Size()
	outer, within := r.row, b.Const(0)
	if !s.Inner.Is(1) {
		outer, within = r.row.DivRem(inner)
	}
	at := func(p asm.U64, col asm.U32) asm.U64 {
		p = p.AtMul(outer, r.dim.Mul(inner), es).At(within, es)
		return p.AtMul(col, inner, es)
	}
	in := r.read(func(col asm.U32) []asm.F32 { return loadFloats(at(x, col), s.DType, r.width) })
	b.Comment("largest element")
	top := b.ConstF(lowest).Var("top")
	in.each(func(_ asm.U32, v []asm.F32) {
		for _, e := range v {
			top.MaxTo(e)
		}
	})
	most := r.max(top)
	b.Comment("sum of exponentials")
	acc := b.ConstF(0).Var("total")
	in.each(func(_ asm.U32, v []asm.F32) {
		for _, e := range v {
			acc.AddTo(expF(e.Sub(most), b.Func))
		}
	})
	total := r.sum(acc)
	shift, scale := most, b.ConstF(0)
	if s.Log {
		shift = most.Add(logF(total))
	} else {
		scale = b.ConstF(1).Div(total)
	}
	in.each(func(col asm.U32, v []asm.F32) {
		out := make([]asm.F32, len(v))
		for i, e := range v {
			out[i] = e.Sub(shift)
			if !s.Log {
				out[i] = expF(out[i], b.Func).Mul(scale)
			}
		}
		storeFloats(b.Func, at(y, col), s.DType, out)
	})
	return b.done(), nil
}
