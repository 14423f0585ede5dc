package ptx

import (
	"math"

	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
)

// doubles are the functions that a Program has for f64 values; those missing here have no such form.
var doubles = map[Fn]function{
	"float":      fromDouble(floatKind),
	"double":     fromDouble(doubleKind),
	"int":        fromDouble(intKind),
	"bool":       fromDouble(boolKind),
	"add":        binaryD(asm.F64.Add),
	"sub":        binaryD(asm.F64.Sub),
	"mul":        binaryD(asm.F64.Mul),
	"div":        binaryD(asm.F64.Div),
	"min":        binaryD(asm.F64.MinNaN),
	"max":        binaryD(asm.F64.MaxNaN),
	"pow":        binaryD(powD),
	"powc":       unaryD(1, func(x asm.F64, c []float64) asm.F64 { return powConstD(x, c[0]) }),
	"prelu":      binaryD(func(x, s asm.F64) asm.F64 { return x.LtC(0).SelF64(x.Mul(s), x) }),
	"neg":        plainD(asm.F64.Neg),
	"abs":        plainD(asm.F64.Abs),
	"exp":        plainD(expD),
	"log":        plainD(logD),
	"sqrt":       plainD(asm.F64.Sqrt),
	"reciprocal": plainD(func(x asm.F64) asm.F64 { return x.Func().ConstD(1).Div(x) }),
	"rsqrt":      plainD(func(x asm.F64) asm.F64 { return x.Func().ConstD(1).Div(x.Sqrt()) }),
	"square":     plainD(func(x asm.F64) asm.F64 { return x.Mul(x) }),
	"tanh":       plainD(tanhD),
	"erf":        plainD(erfD),
	"sin":        plainD(func(x asm.F64) asm.F64 { return sinCosD(x, false) }),
	"cos":        plainD(func(x asm.F64) asm.F64 { return sinCosD(x, true) }),
	"floor":      plainD(asm.F64.Floor),
	"ceil":       plainD(asm.F64.Ceil),
	"round":      plainD(asm.F64.Round),
	"sign": plainD(func(x asm.F64) asm.F64 {
		s := x.LtC(0).SelF64(x.Func().ConstD(-1), x) // 0 and NaN stay
		return x.GtC(0).SelF64(x.Func().ConstD(1), s)
	}),
	"relu":     plainD(func(x asm.F64) asm.F64 { return clampD(x, 0, math.Inf(1)) }),
	"sigmoid":  plainD(sigmoidD),
	"softplus": plainD(softplusD),
	"softsign": plainD(func(x asm.F64) asm.F64 { return x.Div(x.Abs().AddC(1)) }),
	"gelu":     plainD(geluD),
	"gelutanh": plainD(geluTanhD),
	"silu":     plainD(func(x asm.F64) asm.F64 { return x.Mul(sigmoidD(x)) }),
	"mish":     plainD(func(x asm.F64) asm.F64 { return x.Mul(tanhD(softplusD(x))) }),
	"hardswish": plainD(func(x asm.F64) asm.F64 {
		return x.Mul(clampD(x.FmaC(x.Func().ConstD(1.0/6), 0.5), 0, 1))
	}),
	"leakyrelu":   unaryD(1, func(x asm.F64, c []float64) asm.F64 { return x.LtC(0).SelF64(x.MulC(c[0]), x) }),
	"elu":         unaryD(1, func(x asm.F64, c []float64) asm.F64 { return x.LtC(0).SelF64(expD(x).AddC(-1).MulC(c[0]), x) }),
	"hardsigmoid": unaryD(2, func(x asm.F64, c []float64) asm.F64 { return clampD(x.FmaC(x.Func().ConstD(c[0]), c[1]), 0, 1) }),
	"clip":        unaryD(2, func(x asm.F64, c []float64) asm.F64 { return clampD(x, c[0], c[1]) }),
	"affine":      unaryD(2, func(x asm.F64, c []float64) asm.F64 { return x.FmaC(x.Func().ConstD(c[0]), c[1]) }),
	"eq":          compareD(asm.F64.Eq),
	"lt":          compareD(asm.F64.Lt),
	"le":          compareD(asm.F64.Le),
	"gt":          compareD(asm.F64.Gt),
	"ge":          compareD(asm.F64.Ge),
	"isnan": {1, 0, always(boolKind), func(_ *asm.Func, a []value, _ []float64) value {
		return value{kind: boolKind, p: a[0].d.IsNaN()}
	}},
	"where": {3, 0, func(k []kind) (kind, bool) {
		return doubleKind, k[0] == boolKind && k[1] == doubleKind && k[2] == doubleKind
	}, func(_ *asm.Func, a []value, _ []float64) value {
		return value{kind: doubleKind, d: a[0].p.SelF64(a[1].d, a[2].d)}
	}},
}

// lookup finds a function for arguments of the given kinds.
func lookup(fn Fn, ks []kind) (function, bool) {
	for _, k := range ks {
		if k == doubleKind {
			d, ok := doubles[fn]
			return d, ok
		}
	}
	d, ok := functions[fn]
	return d, ok
}

// HasFunction64 reports whether a Program can use fn on f64 values.
func HasFunction64(fn Fn) bool { _, ok := doubles[fn]; return ok }

func allDouble(k []kind) (kind, bool) {
	for _, x := range k {
		if x != doubleKind {
			return 0, false
		}
	}
	return doubleKind, true
}

func unaryD(consts int, g func(x asm.F64, c []float64) asm.F64) function {
	return function{1, consts, allDouble, func(_ *asm.Func, a []value, c []float64) value {
		return value{kind: doubleKind, d: g(a[0].d, c)}
	}}
}

func plainD(g func(x asm.F64) asm.F64) function {
	return unaryD(0, func(x asm.F64, _ []float64) asm.F64 { return g(x) })
}

func binaryD(g func(x, y asm.F64) asm.F64) function {
	return function{2, 0, allDouble, func(_ *asm.Func, a []value, _ []float64) value {
		return value{kind: doubleKind, d: g(a[0].d, a[1].d)}
	}}
}

func compareD(g func(x, y asm.F64) asm.Pred) function {
	result := func(k []kind) (kind, bool) { _, ok := allDouble(k); return boolKind, ok }
	return function{2, 0, result, func(_ *asm.Func, a []value, _ []float64) value {
		return value{kind: boolKind, p: g(a[0].d, a[1].d)}
	}}
}

// fromDouble converts.
func fromDouble(to kind) function {
	return function{1, 0, always(to), func(f *asm.Func, a []value, _ []float64) value { return convert(f, a[0], to) }}
}

// convert makes a value one of another kind.
func convert(f *asm.Func, v value, to kind) value {
	switch to {
	case intKind:
		return value{kind: intKind, i: asInt(f, v)}
	case boolKind:
		return value{kind: boolKind, p: asBool(f, v)}
	case doubleKind:
		return value{kind: doubleKind, d: asDouble(f, v)}
	}
	return value{f: asFloat(f, v)}
}

func clampD(x asm.F64, lo, hi float64) asm.F64 {
	if !math.IsInf(lo, -1) {
		x = x.MaxNaN(x.Func().ConstD(lo))
	}
	if !math.IsInf(hi, 1) {
		x = x.MinNaN(x.Func().ConstD(hi))
	}
	return x
}

// powConstD spells small integer and half exponents as products and roots, like powConst.
func powConstD(x asm.F64, e float64) asm.F64 {
	one := x.Func().ConstD(1)
	switch e {
	case 0:
		return one
	case 0.5:
		return x.Sqrt()
	case -0.5:
		return one.Div(x.Sqrt())
	}
	n := math.Abs(e)
	if n != math.Trunc(n) || n > 8 {
		return powD(x, x.Func().ConstD(e))
	}
	out := x
	for range int(n) - 1 {
		out = out.Mul(x)
	}
	if e < 0 {
		return one.Div(out)
	}
	return out
}
