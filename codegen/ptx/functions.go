package ptx

import (
	"math"

	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
)

// Fn names an elementwise function.
type Fn string

// function describes one: how many values and constants it takes, what it makes of their kinds, and its
// instructions.
type function struct {
	args, consts int
	result       func([]kind) (kind, bool)
	emit         func(f *asm.Func, a []value, c []float64) value
}

// functions is the table of what a Program can do. Constants are named in the trailing comments.
var functions = map[Fn]function{
	Coord:   {0, 1, always(intKind), nil}, // dimension; written by Program.emit
	"const": {0, 1, always(floatKind), func(f *asm.Func, _ []value, c []float64) value { return value{f: f.ConstF(float32(c[0]))} }},
	"constint": {0, 1, always(intKind), func(f *asm.Func, _ []value, c []float64) value {
		return value{kind: intKind, i: f.Const64(int64(c[0]))}
	}},
	"constdouble": {0, 1, always(doubleKind), func(f *asm.Func, _ []value, c []float64) value {
		return value{kind: doubleKind, d: f.ConstD(c[0])}
	}},
	"double":     {1, 0, always(doubleKind), func(f *asm.Func, a []value, _ []float64) value { return value{kind: doubleKind, d: asDouble(f, a[0])} }},
	"f16":        unaryFn(func(f *asm.Func, x asm.F32) asm.F32 { return x.F16().F16() }),   // rounded to it
	"bf16":       unaryFn(func(f *asm.Func, x asm.F32) asm.F32 { return x.BF16().BF16() }), // rounded to it
	"float":      {1, 0, always(floatKind), func(f *asm.Func, a []value, _ []float64) value { return value{f: asFloat(f, a[0])} }},
	"int":        {1, 0, always(intKind), func(f *asm.Func, a []value, _ []float64) value { return value{kind: intKind, i: asInt(f, a[0])} }},
	"bool":       {1, 0, always(boolKind), func(f *asm.Func, a []value, _ []float64) value { return value{kind: boolKind, p: asBool(f, a[0])} }},
	"add":        arith(asm.F32.Add, asm.U64.Add),
	"sub":        arith(asm.F32.Sub, asm.U64.Sub),
	"mul":        arith(asm.F32.Mul, asm.U64.Mul),
	"div":        arith(asm.F32.Div, asm.U64.Div),
	"min":        arith(asm.F32.MinNaN, asm.U64.Min),
	"max":        arith(asm.F32.MaxNaN, asm.U64.Max),
	"fmod":       arith(fmodF, asm.U64.Rem), // the sign of the dividend
	"mod":        arith(modF, modI),         // the sign of the divisor
	"pow":        binaryFn(func(f *asm.Func, x, y asm.F32) asm.F32 { return powF(x, y, f) }),
	"powc":       {1, 1, floats, func(f *asm.Func, a []value, c []float64) value { return value{f: powConst(f, a[0].f, c[0])} }}, // exponent
	"prelu":      binaryFn(func(f *asm.Func, x, s asm.F32) asm.F32 { return x.LtC(0).SelF32(x.Mul(s), x) }),
	"neg":        {1, 0, numbers, func(f *asm.Func, a []value, _ []float64) value { return negate(a[0]) }},
	"abs":        {1, 0, numbers, func(f *asm.Func, a []value, _ []float64) value { return absolute(a[0]) }},
	"exp":        unaryFn(func(f *asm.Func, x asm.F32) asm.F32 { return expF(x, f) }),
	"log":        unaryFn(func(f *asm.Func, x asm.F32) asm.F32 { return logF(x) }),
	"sqrt":       unaryFn(func(f *asm.Func, x asm.F32) asm.F32 { return x.Sqrt() }),
	"reciprocal": unaryFn(func(f *asm.Func, x asm.F32) asm.F32 { return f.ConstF(1).Div(x) }),
	"rsqrt":      unaryFn(func(f *asm.Func, x asm.F32) asm.F32 { return f.ConstF(1).Div(x.Sqrt()) }),
	"square":     unaryFn(func(f *asm.Func, x asm.F32) asm.F32 { return x.Mul(x) }),
	"tanh":       unaryFn(func(f *asm.Func, x asm.F32) asm.F32 { return tanhF(x, f) }),
	"erf":        unaryFn(func(f *asm.Func, x asm.F32) asm.F32 { return erfF(x, f) }),
	"sin":        unaryFn(func(f *asm.Func, x asm.F32) asm.F32 { return sinCosF(x, f, false) }),
	"cos":        unaryFn(func(f *asm.Func, x asm.F32) asm.F32 { return sinCosF(x, f, true) }),
	"floor":      unaryFn(func(f *asm.Func, x asm.F32) asm.F32 { return x.Floor() }),
	"ceil":       unaryFn(func(f *asm.Func, x asm.F32) asm.F32 { return x.Ceil() }),
	"round":      unaryFn(func(f *asm.Func, x asm.F32) asm.F32 { return x.Round() }), // ties to even
	"sign":       {1, 0, numbers, func(f *asm.Func, a []value, _ []float64) value { return signOf(f, a[0]) }},
	"relu":       unaryFn(func(f *asm.Func, x asm.F32) asm.F32 { return x.MaxNaN(f.ConstF(0)) }),
	"sigmoid":    unaryFn(func(f *asm.Func, x asm.F32) asm.F32 { return sigmoidF(x, f) }),
	"softplus":   unaryFn(func(f *asm.Func, x asm.F32) asm.F32 { return softplusF(x, f) }),
	"softsign":   unaryFn(func(f *asm.Func, x asm.F32) asm.F32 { return x.Div(x.Abs().AddC(1)) }),
	"gelu":       unaryFn(func(f *asm.Func, x asm.F32) asm.F32 { return geluF(x, f) }),
	"gelutanh":   unaryFn(func(f *asm.Func, x asm.F32) asm.F32 { return geluTanhF(x, f) }),
	"silu":       unaryFn(func(f *asm.Func, x asm.F32) asm.F32 { return x.Mul(sigmoidF(x, f)) }),
	"mish":       unaryFn(func(f *asm.Func, x asm.F32) asm.F32 { return x.Mul(tanhF(softplusF(x, f), f)) }),
	"hardswish": unaryFn(func(f *asm.Func, x asm.F32) asm.F32 {
		return x.Mul(clampF(f, x.Fma(f.ConstF(1.0/6), f.ConstF(0.5)), 0, 1))
	}),
	"leakyrelu": {1, 1, floats, func(f *asm.Func, a []value, c []float64) value { // slope
		x := a[0].f
		return value{f: x.LtC(0).SelF32(x.MulC(float32(c[0])), x)}
	}},
	"elu": {1, 1, floats, func(f *asm.Func, a []value, c []float64) value { // alpha
		x := a[0].f
		return value{f: x.LtC(0).SelF32(expF(x, f).AddC(-1).MulC(float32(c[0])), x)}
	}},
	"hardsigmoid": {1, 2, floats, func(f *asm.Func, a []value, c []float64) value { // alpha, beta
		return value{f: clampF(f, a[0].f.Fma(f.ConstF(float32(c[0])), f.ConstF(float32(c[1]))), 0, 1)}
	}},
	"clip": {1, 2, floats, func(f *asm.Func, a []value, c []float64) value { // low, high
		return value{f: clampF(f, a[0].f, float32(c[0]), float32(c[1]))}
	}},
	"affine": {1, 2, floats, func(f *asm.Func, a []value, c []float64) value { // x*scale + shift
		return value{f: a[0].f.Fma(f.ConstF(float32(c[0])), f.ConstF(float32(c[1])))}
	}},
	"eq": compare(asm.F32.Eq, asm.U64.Eq, func(a, b asm.Pred) asm.Pred { return a.Xor(b).Not() }),
	"lt": compare(asm.F32.Lt, asm.U64.Lt, nil),
	"le": compare(asm.F32.Le, func(a, b asm.U64) asm.Pred { return b.Lt(a).Not() }, nil),
	"gt": compare(asm.F32.Gt, func(a, b asm.U64) asm.Pred { return b.Lt(a) }, nil),
	"ge": compare(asm.F32.Ge, func(a, b asm.U64) asm.Pred { return a.Lt(b).Not() }, nil),
	"isnan": {1, 0, func(k []kind) (kind, bool) { return boolKind, k[0] == floatKind }, func(f *asm.Func, a []value, _ []float64) value {
		return value{kind: boolKind, p: a[0].f.IsNaN()}
	}},
	"and": logic(asm.Pred.And),
	"or":  logic(asm.Pred.Or),
	"xor": logic(asm.Pred.Xor),
	"not": {1, 0, func(k []kind) (kind, bool) { return boolKind, k[0] == boolKind }, func(f *asm.Func, a []value, _ []float64) value {
		return value{kind: boolKind, p: a[0].p.Not()}
	}},
	"where": {3, 0, func(k []kind) (kind, bool) { return k[1], k[0] == boolKind && k[1] == k[2] }, func(f *asm.Func, a []value, _ []float64) value {
		switch p := a[0].p; a[1].kind {
		case floatKind:
			return value{f: p.SelF32(a[1].f, a[2].f)}
		case intKind:
			return value{kind: intKind, i: p.SelU64(a[1].i, a[2].i)}
		default:
			return value{kind: boolKind, p: p.And(a[1].p).Or(p.Not().And(a[2].p))}
		}
	}},
}

// HasFunction reports whether a Program can use fn.
func HasFunction(fn Fn) bool { _, ok := functions[fn]; return ok }

func always(k kind) func([]kind) (kind, bool) {
	return func([]kind) (kind, bool) { return k, true }
}

func floats(k []kind) (kind, bool) {
	for _, x := range k {
		if x != floatKind {
			return 0, false
		}
	}
	return floatKind, true
}

// numbers accepts floats or integers, all alike.
func numbers(k []kind) (kind, bool) {
	for _, x := range k {
		if x != k[0] || x == boolKind {
			return 0, false
		}
	}
	return k[0], true
}

func unaryFn(g func(*asm.Func, asm.F32) asm.F32) function {
	return function{1, 0, floats, func(f *asm.Func, a []value, _ []float64) value { return value{f: g(f, a[0].f)} }}
}

func binaryFn(g func(f *asm.Func, x, y asm.F32) asm.F32) function {
	return function{2, 0, floats, func(f *asm.Func, a []value, _ []float64) value { return value{f: g(f, a[0].f, a[1].f)} }}
}

func arith(g func(x, y asm.F32) asm.F32, h func(x, y asm.U64) asm.U64) function {
	return function{2, 0, numbers, func(f *asm.Func, a []value, _ []float64) value {
		if a[0].kind == intKind {
			return value{kind: intKind, i: h(a[0].i, a[1].i)}
		}
		return value{f: g(a[0].f, a[1].f)}
	}}
}

func compare(g func(x, y asm.F32) asm.Pred, h func(x, y asm.U64) asm.Pred, l func(x, y asm.Pred) asm.Pred) function {
	result := func(k []kind) (kind, bool) { return boolKind, k[0] == k[1] && (k[0] != boolKind || l != nil) }
	return function{2, 0, result, func(f *asm.Func, a []value, _ []float64) value {
		switch a[0].kind {
		case floatKind:
			return value{kind: boolKind, p: g(a[0].f, a[1].f)}
		case intKind:
			return value{kind: boolKind, p: h(a[0].i, a[1].i)}
		}
		return value{kind: boolKind, p: l(a[0].p, a[1].p)}
	}}
}

func logic(g func(x, y asm.Pred) asm.Pred) function {
	result := func(k []kind) (kind, bool) { return boolKind, k[0] == boolKind && k[1] == boolKind }
	return function{2, 0, result, func(f *asm.Func, a []value, _ []float64) value {
		return value{kind: boolKind, p: g(a[0].p, a[1].p)}
	}}
}

func negate(v value) value {
	if v.kind == intKind {
		return value{kind: intKind, i: v.i.Neg()}
	}
	return value{f: v.f.Neg()}
}

func absolute(v value) value {
	if v.kind == intKind {
		return value{kind: intKind, i: v.i.Max(v.i.Neg())}
	}
	return value{f: v.f.Abs()}
}

func signOf(f *asm.Func, v value) value {
	if v.kind == intKind {
		one := f.Const64(1)
		return value{kind: intKind, i: v.i.Min(one).Max(one.Neg())}
	}
	x := v.f
	s := x.LtC(0).SelF32(f.ConstF(-1), x) // 0 and NaN stay
	return value{f: x.GtC(0).SelF32(f.ConstF(1), s)}
}

func clampF(f *asm.Func, x asm.F32, lo, hi float32) asm.F32 {
	if !math.IsInf(float64(lo), -1) {
		x = x.MaxNaN(f.ConstF(lo))
	}
	if !math.IsInf(float64(hi), 1) {
		x = x.MinNaN(f.ConstF(hi))
	}
	return x
}

// powConst spells small integer and half exponents as products and roots, which are exact where the
// general form is not.
func powConst(f *asm.Func, x asm.F32, e float64) asm.F32 {
	switch e {
	case 0:
		return f.ConstF(1)
	case 0.5:
		return x.Sqrt()
	case -0.5:
		return f.ConstF(1).Div(x.Sqrt())
	}
	n := math.Abs(e)
	if n != math.Trunc(n) || n > 8 {
		return powF(x, f.ConstF(float32(e)), f)
	}
	out := x
	for range int(n) - 1 {
		out = out.Mul(x)
	}
	if e < 0 {
		return f.ConstF(1).Div(out)
	}
	return out
}

// fmodF is x - y*trunc(x/y).
func fmodF(x, y asm.F32) asm.F32 { return x.Div(y).Trunc().Neg().Fma(y, x) }

// modF is x - y*floor(x/y).
func modF(x, y asm.F32) asm.F32 { return x.Div(y).Floor().Neg().Fma(y, x) }

// modI is the remainder with the divisor's sign: one more divisor where the signs differ.
func modI(x, y asm.U64) asm.U64 {
	r := x.Rem(y)
	f := r.Func()
	zero := f.Const64(0)
	differ := r.Xor(y).Lt(zero).And(r.Eq(zero).Not())
	return differ.SelU64(r.Add(y), r)
}

// geluF is x/2 (1 + erf(x/sqrt 2)).
func geluF(x asm.F32, f *asm.Func) asm.F32 {
	return x.MulC(0.5).Mul(erfF(x.MulC(math.Sqrt2/2), f).AddC(1))
}

// geluTanhF is x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
func geluTanhF(x asm.F32, f *asm.Func) asm.F32 {
	u := x.Mul(x).FmaC(f.ConstF(0.044715), 1).Mul(x).MulC(0.7978845608028654)
	return x.MulC(0.5).Mul(tanhF(u, f).AddC(1))
}
