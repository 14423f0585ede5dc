package ptx

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Reduce folds the dimensions Inner of a tensor walked by In (strides over Outer, then Inner) into one
// number per point of Outer, which is written row-major. Kind is one of the names below. Buffers: x, y.
// ArgMax and ArgMin write the i64 position among the elements of Inner, the first of equals unless Last.
type Reduce struct {
	Kind         string
	Outer, Inner []Expr
	In           View
	DType        dtype // of x, and of y except for argmax and argmin
	Last         bool
}

// reduction describes a kind: the start value, what is done to each element, how two combine, and what is
// done to the result given the count.
type reduction struct {
	start   float32
	each    func(f *asm.Func, x asm.F32) asm.F32
	combine func(x, y asm.F32) asm.F32
	finish  func(f *asm.Func, x, count asm.F32) asm.F32
}

const lowest = -3.4028234663852886e38

var reductions = map[string]reduction{
	"sum":       {0, nil, asm.F32.Add, nil},
	"mean":      {0, nil, asm.F32.Add, func(_ *asm.Func, x, n asm.F32) asm.F32 { return x.Div(n) }},
	"max":       {float32(math.Inf(-1)), nil, asm.F32.MaxNaN, nil},
	"min":       {float32(math.Inf(1)), nil, asm.F32.MinNaN, nil},
	"prod":      {1, nil, asm.F32.Mul, nil},
	"l1":        {0, func(_ *asm.Func, x asm.F32) asm.F32 { return x.Abs() }, asm.F32.Add, nil},
	"l2":        {0, square, asm.F32.Add, func(_ *asm.Func, x, _ asm.F32) asm.F32 { return x.Sqrt() }},
	"sumsquare": {0, square, asm.F32.Add, nil},
	"logsum":    {0, nil, asm.F32.Add, func(_ *asm.Func, x, _ asm.F32) asm.F32 { return logF(x) }},
	"logsumexp": {},
	"argmax":    {},
	"argmin":    {},
}

func square(_ *asm.Func, x asm.F32) asm.F32 { return x.Mul(x) }

// Kernel writes the kernel: one warp per output when neighbours along Inner are neighbours in memory, else one
// thread per output, whose neighbours then are.
func (s Reduce) Kernel() (*Kernel, error) {
	red, ok := reductions[s.Kind]
	if !ok {
		return nil, fmt.Errorf("ptx: unknown reduction %q", s.Kind)
	}
	k, err := kindOf(s.DType)
	if err != nil {
		return nil, err
	}
	if len(s.In.Strides) != len(s.Outer)+len(s.Inner) {
		return nil, fmt.Errorf("ptx: reduce: %d strides for %d+%d dimensions", len(s.In.Strides), len(s.Outer), len(s.Inner))
	}
	if k != floatKind {
		return s.plain(k)
	}
	outer, outView, _ := collapse(s.Outer, []View{{Strides: s.In.Strides[:len(s.Outer)]}}, nil)
	inner, inView, _ := collapse(s.Inner, []View{{Strides: s.In.Strides[len(s.Outer):]}}, nil)
	arg := s.Kind == "argmax" || s.Kind == "argmin"
	byWarp := inView[0].Strides[len(inner)-1].Is(1) || len(s.Outer) == 0

	b := newKernel("reduce_"+s.Kind, rowThreads)
	b.doc("%s over %v of [%v | %v]", s.Kind, inner, outer, inner)
	outs, ins := Elems(outer), Elems(inner)
	out := s.DType
	if arg {
		out = tensor.I64
	}
	b.k.Cost = Cost{FLOPs: outs.Mul(ins), Bytes: outs.Mul(ins).MulN(s.DType.Size()).Add(outs.MulN(out.Size()))}
	b.k.Limits = Limits{Registers: 64}
	x, y := b.buffer("x", s.DType, Read), b.buffer("y", out, Write)
	os, is := b.viewDims(outView), b.viewDims(inView)
	offset := b.dim(s.In.Offset)
	sizesO, sizesI := b.dims(outer), b.dims(inner)
	nOut, nIn := b.dim(outs), b.dim(ins)

	perBlock, team := rowThreads, 1
	index := b.BlockX().MadI(rowThreads, b.Tid())
	start := b.Const(0)
	if byWarp {
		perBlock, team = rowThreads/asm.WarpSize, asm.WarpSize
		index = b.BlockX().MadI(perBlock, b.Warp())
		start = b.Lane()
	}
	index = index.As("output")
	b.k.Grid = [3]Expr{outs.CeilDiv(perBlock), N(1), N(1)}
	b.ExitIf(index.Ge(nOut))
	base := x.At(os[0].at(b.split(index, sizesO)).Add(offset), s.DType.Size())
	element := func(i asm.U32) asm.F32 {
		return loadF(base.At(is[0].at(b.split(i, sizesI)), s.DType.Size()), s.DType, 0)
	}
	if arg {
		b.argReduce(s, team, start, nIn, element, func(best asm.U32) { y.At(index, 8).StU64(0, best.Wide()) })
		return b.done(), nil
	}
	fold := func(red reduction) asm.F32 {
		acc := b.ConstF(red.start).Var("acc")
		b.For("i", start, nIn, team, func(i asm.U32) {
			v := element(i)
			if red.each != nil {
				v = red.each(b.Func, v)
			}
			acc.Set(red.combine(acc, v))
		})
		v := acc
		for n := team / 2; n > 0; n /= 2 {
			v = red.combine(v, v.ShflXor(n))
		}
		return v
	}
	var v asm.F32
	if s.Kind == "logsumexp" {
		top := fold(reductions["max"])
		v = fold(reduction{0, func(f *asm.Func, x asm.F32) asm.F32 { return expF(x.Sub(top), f) }, asm.F32.Add, nil})
		infinite := top.Abs().Eq(b.ConstF(float32(math.Inf(1))))
		v = infinite.SelF32(top, top.Add(logF(v)))
	} else {
		v = fold(red)
	}
	if red.finish != nil {
		v = red.finish(b.Func, v, nIn.F32())
	}
	write := b.Bool(true)
	if byWarp {
		write = b.Lane().EqI(0)
	}
	b.If(write, func() { storeF(b.Func, y.At(index, out.Size()), out, 0, v) })
	return b.done(), nil
}

// argReduce finds the position of the best element; the better of two is the larger (smaller) value, then the
// lower (higher, with Last) position.
func (b *builder) argReduce(s Reduce, team int, start, n asm.U32, element func(asm.U32) asm.F32, write func(asm.U32)) {
	bestV, bestI := b.ConstF(0).Var("best"), b.Const(-1).Var("best_at") // -1: none yet
	consider := func(v asm.F32, i asm.U32) {
		better := v.Gt(bestV)
		if s.Kind == "argmin" {
			better = v.Lt(bestV)
		}
		first := i.Lt(bestI)
		if s.Last {
			first = bestI.Lt(i)
		}
		take := better.Or(v.Eq(bestV).And(first)).Or(bestI.EqI(-1)).And(i.NeI(-1))
		bestV.Set(take.SelF32(v, bestV))
		bestI.Set(take.SelU32(i, bestI))
	}
	b.For("i", start, n, team, func(i asm.U32) { consider(element(i), i) })
	for k := team / 2; k > 0; k /= 2 {
		consider(bestV.ShflXor(k), bestI.ShflXor(k))
	}
	p := b.Bool(true)
	if team > 1 {
		p = b.Lane().EqI(0)
	}
	b.If(p, func() { write(bestI) })
}

// dims reads several run-time sizes.
func (b *builder) dims(es []Expr) []asm.U32 {
	out := make([]asm.U32, len(es))
	for i, e := range es {
		out[i] = b.dim(e)
	}
	return out
}

// split turns a row-major index into coordinates.
func (b *builder) split(index asm.U32, sizes []asm.U32) []asm.U32 {
	out := make([]asm.U32, len(sizes))
	for d := len(sizes) - 1; d > 0; d-- {
		index, out[d] = index.DivRem(sizes[d])
	}
	if len(sizes) > 0 {
		out[0] = index
	}
	return out
}
