package ptx

import (
	"math"

	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
)

// Scalar functions in f64. GPUs have no approximate instructions in f64 that would do, so that each is an argument
// reduction and a series long enough for 53 bits: accurate to a few units in the last place, and slow. Models in f64 are
// for checking.

// Constants split so that a small integer times the first part is exact; Go's constants carry the digits of the second.
const (
	ln2Hi = 0x0.b17217f7p0
	ln2Lo = math.Ln2 - ln2Hi

	halfPi1 = 0x1.921fb544p0
	halfPi2 = 0x0.0000000042d18469p0
	halfPi3 = math.Pi/2 - halfPi1 - halfPi2
)

// seriesD evaluates c[0] + c[1] x + c[2] x^2 + ...
func seriesD(x asm.F64, c ...float64) asm.F64 {
	r := x.Func().ConstD(c[len(c)-1])
	for i := len(c) - 2; i >= 0; i-- {
		r = r.FmaC(x, c[i])
	}
	return r
}

// inverseFactorials are 1/(from!), 1/((from+step)!), ..., n of them; sign alternates when alternate is set.
func inverseFactorials(from, step, n int, alternate bool) []float64 {
	out := make([]float64, n)
	for i := range out {
		f := 1.0
		for k := 2; k <= from+i*step; k++ {
			f *= float64(k)
		}
		out[i] = 1 / f
		if alternate && i%2 == 1 {
			out[i] = -out[i]
		}
	}
	return out
}

// inverseOdds are 1, 1/3, 1/5, ..., n of them: the series of atanh(s)/s in s^2.
func inverseOdds(n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = 1 / float64(2*i+1)
	}
	return out
}

// orNaN is v, or x where x is no number: for functions whose reduction loses it.
func orNaN(x, v asm.F64) asm.F64 { return x.IsNaN().SelF64(x, v) }

// expD is e^x: e^r of |r| <= ln2/2 by its series, times 2^k in two factors, which reaches the subnormal numbers.
func expD(x asm.F64) asm.F64 {
	f := x.Func()
	inside := x.Max(f.ConstD(-746)).Min(f.ConstD(710)) // past both ends the result is 0 and +Inf
	k := inside.MulC(math.Log2E).Round()
	r := k.Fma(f.ConstD(-ln2Lo), k.Fma(f.ConstD(-ln2Hi), inside))
	p := seriesD(r, inverseFactorials(0, 1, 15, false)...)
	whole := k.S64()
	half := whole.Div(f.Const64(2))
	power := func(n asm.U64) asm.F64 { return n.AddI(1023).ShlI(52).AsF64() }
	return orNaN(x, p.Mul(power(half)).Mul(power(whole.Sub(half))))
}

// logD is ln x: with x = m 2^e and m in [sqrt(1/2), sqrt 2), e ln2 + 2 atanh((m-1)/(m+1)).
func logD(x asm.F64) asm.F64 {
	f := x.Func()
	subnormal := x.LtC(0x1p-1022)
	bits := subnormal.SelF64(x.MulC(0x1p54), x).Bits()
	e := bits.ShrI(52).Sub(subnormal.SelU64(f.Const64(1023+54), f.Const64(1023)))
	m := bits.And(f.Const64(1<<52 - 1)).Or(f.Const64(1023 << 52)).AsF64()
	high := m.GtC(math.Sqrt2)
	m = high.SelF64(m.MulC(0.5), m)
	e = high.SelU64(e.AddI(1), e)
	s := m.AddC(-1).Div(m.AddC(1))
	r := seriesD(s.Mul(s), inverseOdds(12)...).Mul(s.Add(s))
	n := e.F64()
	v := n.Fma(f.ConstD(ln2Hi), n.Fma(f.ConstD(ln2Lo), r))
	v = x.GtC(math.MaxFloat64).SelF64(x, v)
	v = x.Eq(f.ConstD(0)).SelF64(f.ConstD(math.Inf(-1)), v)
	v = x.LtC(0).SelF64(f.ConstD(math.NaN()), v)
	return orNaN(x, v)
}

// sigmoidD is 1/(1+e^-x).
func sigmoidD(x asm.F64) asm.F64 {
	return x.Func().ConstD(1).Div(expD(x.Neg()).AddC(1))
}

// tanhD is sinh/cosh by their series near 0, where 1-2/(e^2x+1) cancels.
func tanhD(x asm.F64) asm.F64 {
	f := x.Func()
	z := x.Mul(x)
	small := seriesD(z, inverseFactorials(1, 2, 9, false)...).Mul(x).Div(seriesD(z, inverseFactorials(0, 2, 9, false)...))
	ax := x.Abs()
	large := f.ConstD(1).Sub(f.ConstD(2).Div(expD(ax.Add(ax)).AddC(1)))
	large = x.LtC(0).SelF64(large.Neg(), large)
	return orNaN(x, ax.LtC(0.6).SelF64(small, large))
}

// softplusD is ln(1+e^x) = max(x, 0) + ln(1+e), e = e^-|x|, with ln(1+e) = 2 atanh(e/(2+e)), |e/(2+e)| <= 1/3.
func softplusD(x asm.F64) asm.F64 {
	e := expD(x.Abs().Neg())
	s := e.Div(e.AddC(2))
	tail := seriesD(s.Mul(s), inverseOdds(18)...).Mul(s.Add(s))
	return orNaN(x, x.Max(x.Func().ConstD(0)).Add(tail))
}

// erfD is 2/sqrt(pi) x e^-x² (1 + 2x²/3 (1 + 2x²/5 (1 + ...))), all of whose terms are positive: nothing cancels.
// erf(6) rounds to 1, for which 100 terms are enough; their roundings add up to 3e-15 there. The rounding of x² is put
// right, for e^-x² would amplify it.
func erfD(x asm.F64) asm.F64 {
	f := x.Func()
	const terms = 100
	in := x.Max(f.ConstD(-6)).Min(f.ConstD(6))
	h := in.Mul(in)
	low := in.Fma(in, h.Neg())
	e := expD(h.Neg())
	e = e.Sub(e.Mul(low))
	z := h.Add(h)
	sum := f.ConstD(1).Var("sum")
	f.For("term", f.Const(0), f.Const(terms), 1, func(i asm.U32) {
		odd := f.Const(terms).Sub(i).MulI(2).AddI(1)
		sum.Set(sum.Mul(z).Div(odd.Wide().F64()).AddC(1))
	})
	v := in.Mul(e).Mul(sum).MulC(2 / math.SqrtPi)
	return orNaN(x, v.Max(f.ConstD(-1)).Min(f.ConstD(1)))
}

// sinCosD is sin x or cos x, for |x| up to about 10^6: reduction by multiples of pi/2 in three parts.
func sinCosD(x asm.F64, cos bool) asm.F64 {
	f := x.Func()
	q := x.MulC(2 / math.Pi).Round()
	r := q.Fma(f.ConstD(-halfPi1), x)
	r = q.Fma(f.ConstD(-halfPi2), r)
	r = q.Fma(f.ConstD(-halfPi3), r)
	z := r.Mul(r)
	s := seriesD(z, inverseFactorials(1, 2, 10, true)...).Mul(r)
	c := seriesD(z, inverseFactorials(0, 2, 10, true)...)
	quadrant := q.S64()
	if cos {
		quadrant = quadrant.AddI(1)
	}
	bit := func(n int64) asm.Pred { return quadrant.And(f.Const64(n)).Eq(f.Const64(0)).Not() }
	v := bit(1).SelF64(c, s)
	return bit(2).SelF64(v.Neg(), v)
}

// powD is x^y: a negative x needs an integer y, whose parity gives the sign.
func powD(x, y asm.F64) asm.F64 {
	f := x.Func()
	mag := expD(logD(x.Abs()).Mul(y))
	half := y.MulC(0.5)
	whole := y.Round().Eq(y)
	odd := whole.And(half.Round().Eq(half).Not())
	neg := x.LtC(0)
	v := neg.And(odd).SelF64(mag.Neg(), mag)
	v = neg.And(whole.Not()).SelF64(f.ConstD(math.NaN()), v)
	return y.Eq(f.ConstD(0)).SelF64(f.ConstD(1), v)
}

// geluD is x/2 (1 + erf(x/sqrt 2)).
func geluD(x asm.F64) asm.F64 { return x.MulC(0.5).Mul(erfD(x.MulC(math.Sqrt2 / 2)).AddC(1)) }

// geluTanhD is x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))).
func geluTanhD(x asm.F64) asm.F64 {
	u := x.Mul(x).FmaC(x.Func().ConstD(0.044715), 1).Mul(x).MulC(math.Sqrt2 / math.SqrtPi)
	return x.MulC(0.5).Mul(tanhD(u).AddC(1))
}
