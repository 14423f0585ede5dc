package ptx

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// plainKernel starts a kernel of one thread per result, of which index is the number.
func plainKernel(name string, results Expr) (b *builder, index asm.U32) {
	b = newKernel(name, elementwiseThreads)
	b.k.Grid = [3]Expr{results.CeilDiv(elementwiseThreads), N(1), N(1)}
	b.k.Limits = Limits{Registers: 128}
	return b, b.BlockX().MadI(elementwiseThreads, b.Tid()).As("index")
}

// plain is Reduce for f64 and integers: the elements of a result are folded by one thread in order.
func (s Reduce) plain(k kind) (*Kernel, error) {
	if k == boolKind || k == intKind && (s.Kind == "l2" || s.Kind == "logsum" || s.Kind == "logsumexp") {
		return nil, fmt.Errorf("ptx: %s of %s", s.Kind, s.DType)
	}
	outs, ins := Elems(s.Outer), Elems(s.Inner)
	out := s.DType
	arg := s.Kind == "argmax" || s.Kind == "argmin"
	if arg {
		out = tensor.I64
	}
	b, index := plainKernel("reduce_"+s.Kind, outs)
	b.doc("%s of %s over %v of [%v | %v]", s.Kind, s.DType, s.Inner, s.Outer, s.Inner)
	b.k.Cost = Cost{FLOPs: outs.Mul(ins), Bytes: outs.Mul(ins).MulN(s.DType.Size()).Add(outs.MulN(out.Size()))}
	x, y := b.buffer("x", s.DType, Read), b.buffer("y", out, Write)
	outer := b.viewDims([]View{{Strides: s.In.Strides[:len(s.Outer)], Offset: s.In.Offset}})[0]
	inner := b.viewDims([]View{{Strides: s.In.Strides[len(s.Outer):]}})[0]
	sizesO, sizesI := b.dims(s.Outer), b.dims(s.Inner)
	nOut, nIn := b.dim(outs), b.dim(ins)
	b.ExitIf(index.Ge(nOut))
	es := s.DType.Size()
	base := x
	if len(s.Outer) > 0 {
		base = x.At(outer.at(b.split(index, sizesO)), es)
	}
	each := func(name string, visit func(i asm.U32, v value)) {
		b.For(name, b.Const(0), nIn, 1, func(i asm.U32) {
			visit(i, load(base.At(inner.at(b.split(i, sizesI)), es), s.DType, 0))
		})
	}
	if arg {
		best, at := b.number(k, 0).variable("best"), b.Const(0).Var("best_at")
		better := map[string]Fn{"argmax": "gt", "argmin": "lt"}[s.Kind]
		if s.Last {
			better = map[string]Fn{"argmax": "ge", "argmin": "le"}[s.Kind]
		}
		each("i", func(i asm.U32, v value) {
			take := b.do(better, v, best).p.Or(i.EqI(0))
			best.set(b.choose(take, v, best))
			at.Set(take.SelU32(i, at))
		})
		y.At(index, 8).StU64(0, at.Wide())
		return b.done(), nil
	}
	store(b.Func, y.At(index, es), out, 0, b.fold(s.Kind, k, nIn, each))
	return b.done(), nil
}

// fold folds the elements that each visits; n is their number.
func (b *builder) fold(what string, k kind, n asm.U32, each func(string, func(asm.U32, value))) value {
	start, fn, term := b.number(k, 0), Fn("add"), func(v value) value { return v }
	switch what {
	case "sum", "mean", "logsum":
	case "prod":
		start, fn = b.number(k, 1), "mul"
	case "max":
		start, fn = b.number(k, math.Inf(-1)), "max"
		start.i = b.Const64(math.MinInt64)
	case "min":
		start, fn = b.number(k, math.Inf(1)), "min"
		start.i = b.Const64(math.MaxInt64)
	case "l1":
		term = func(v value) value { return b.do("abs", v) }
	case "l2", "sumsquare":
		term = func(v value) value { return b.do("mul", v, v) }
	case "logsumexp":
		return b.logSumExp(k, each)
	}
	acc := start.variable("acc")
	each("i", func(_ asm.U32, v value) { acc.set(b.do(fn, acc, term(v))) })
	switch what {
	case "mean":
		count := value{kind: intKind, i: n.Wide()}
		if k == intKind {
			return b.do("div", acc, b.do("max", count, b.number(intKind, 1)))
		}
		return b.do("div", acc, convert(b.Func, count, k))
	case "l2":
		return b.do("sqrt", acc)
	case "logsum":
		return b.do("log", acc)
	}
	return acc
}

// logSumExp is the logarithm of the sum of exponentials, without overflow; infinity where the largest is infinite.
func (b *builder) logSumExp(k kind, each func(string, func(asm.U32, value))) value {
	top, total := b.lines(k, each)
	v := b.do("add", top, b.do("log", total))
	infinite := b.do("eq", b.do("abs", top), b.number(k, math.Inf(1)))
	return b.choose(infinite.p, top, v)
}

// lines is the largest element, and the sum of the exponentials of the elements less it.
func (b *builder) lines(k kind, each func(string, func(asm.U32, value))) (top, total value) {
	top = b.number(k, math.Inf(-1)).variable("top")
	each("i", func(_ asm.U32, v value) { top.set(b.do("max", top, v)) })
	total = b.number(k, 0).variable("total")
	each("j", func(_ asm.U32, v value) { total.set(b.do("add", total, b.do("exp", b.do("sub", v, top)))) })
	return top, total
}

// plain is Softmax for f64, one thread per line.
func (s Softmax) plain() (*Kernel, error) {
	const k = doubleKind
	count := s.Outer.Mul(s.Inner)
	b, line := plainKernel("softmax", count)
	b.doc("softmax (log %t) of %s over [%v, %v, %v], axis 1", s.Log, s.DType, s.Outer, s.D, s.Inner)
	all := count.Mul(s.D)
	b.k.Cost = Cost{FLOPs: all.MulN(8), Bytes: all.MulN(2 * s.DType.Size())}
	x, y := b.buffer("x", s.DType, Read), b.buffer("y", s.DType, Write)
	n, d, inner := b.dim(count), b.dim(s.D), b.dim(s.Inner)
	b.ExitIf(line.Ge(n))
	outer, within := line.DivRem(inner)
	es := s.DType.Size()
	at := func(p asm.U64, i asm.U32) asm.U64 {
		return p.AtMul(outer, d.Mul(inner), es).At(within, es).AtMul(i, inner, es)
	}
	each := func(name string, visit func(asm.U32, value)) {
		b.For(name, b.Const(0), d, 1, func(i asm.U32) { visit(i, load(at(x, i), s.DType, 0)) })
	}
	top, total := b.lines(k, each)
	shift := top
	if s.Log {
		shift = b.do("add", top, b.do("log", total))
	}
	each("k", func(i asm.U32, v value) {
		v = b.do("sub", v, shift)
		if !s.Log {
			v = b.do("div", b.do("exp", v), total)
		}
		store(b.Func, at(y, i), s.DType, 0, v)
	})
	return b.done(), nil
}

// plain is Norm for f64, one thread per row.
func (s Norm) plain() (*Kernel, error) {
	const k = doubleKind
	b, row := plainKernel("norm", s.Rows)
	b.doc("norm (RMS %t) of %s over %v rows of %v", s.RMS, s.DType, s.Rows, s.D)
	all := s.Rows.Mul(s.D)
	b.k.Cost = Cost{FLOPs: all.MulN(8), Bytes: all.MulN(4 * s.DType.Size())}
	x := b.buffer("x", s.DType, Read)
	var res, beta, sum asm.U64
	if s.Residual {
		res = b.buffer("residual", s.DType, Read)
	}
	gamma := b.buffer("gamma", s.Scale, Read)
	if s.Beta {
		beta = b.buffer("beta", s.Scale, Read)
	}
	y := b.buffer("y", s.DType, Write)
	if s.Sum {
		sum = b.buffer("sum", s.DType, Write)
	}
	n, d := b.dim(s.Rows), b.dim(s.D)
	b.ExitIf(row.Ge(n))
	es := s.DType.Size()
	at := func(p asm.U64, i asm.U32) asm.U64 { return p.AtMul(row, d, es).At(i, es) }
	each := func(name string, visit func(i asm.U32, v value)) {
		b.For(name, b.Const(0), d, 1, func(i asm.U32) {
			v := load(at(x, i), s.DType, 0)
			if s.Residual {
				v = b.do("add", v, load(at(res, i), s.DType, 0))
			}
			visit(i, v)
		})
	}
	count := convert(b.Func, value{kind: intKind, i: d.Wide()}, k)
	mean := b.number(k, 0)
	if !s.RMS {
		total := b.number(k, 0).variable("total")
		each("i", func(_ asm.U32, v value) { total.set(b.do("add", total, v)) })
		mean = b.do("div", total, count)
	}
	squares := b.number(k, 0).variable("squares")
	each("j", func(_ asm.U32, v value) {
		v = b.do("sub", v, mean)
		squares.set(b.do("add", squares, b.do("mul", v, v)))
	})
	root := b.do("sqrt", b.do("add", b.do("div", squares, count), b.number(k, float64(s.Eps))))
	each("k", func(i asm.U32, v value) {
		if s.Sum {
			store(b.Func, at(sum, i), s.DType, 0, v)
		}
		v = b.do("div", b.do("sub", v, mean), root)
		v = b.do("mul", v, load(gamma.At(i, es), s.Scale, 0))
		if s.Beta {
			v = b.do("add", v, load(beta.At(i, es), s.Scale, 0))
		}
		store(b.Func, at(y, i), s.DType, 0, v)
	})
	return b.done(), nil
}
