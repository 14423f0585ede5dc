package ptx

import (
	"math"

	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
)

// Scalar functions in f32. Errors quoted are the largest seen against float64 over a dense sweep of the
// arguments, with the coefficients below; they are Chebyshev fits of our own.

const log2e = math.Log2E

// horner evaluates c[0] + c[1] x + c[2] x^2 + ...
func horner(f *asm.Func, x asm.F32, c ...float32) asm.F32 {
	r := f.ConstF(c[len(c)-1])
	for i := len(c) - 2; i >= 0; i-- {
		r = r.FmaC(x, c[i])
	}
	return r
}

// expF is e^x within 2 units in the last place. The argument is split so that the product with log2 e
// loses nothing for large |x|.
func expF(x asm.F32, f *asm.Func) asm.F32 {
	whole := x.MulC(log2e).Round()
	// Past these the power of two would leave the range that ex2 represents.
	whole = whole.Max(f.ConstF(-150)).Min(f.ConstF(129))
	const ln2Hi, ln2Lo = 0.693359375, -2.12194440e-4 // ln2Hi has 9 bits: whole*ln2Hi is exact
	r := whole.Fma(f.ConstF(-ln2Hi), x)
	r = whole.Fma(f.ConstF(-ln2Lo), r)
	return r.MulC(log2e).Ex2().Mul(whole.Ex2())
}

// expFast is e^x with a relative error of about |x| 2^-23, in two instructions; for softmax, whose arguments
// are at most 0 and whose large ones vanish.
func expFast(x asm.F32) asm.F32 { return x.MulC(log2e).Ex2() }

// sigmoidF is 1/(1+e^-x).
func sigmoidF(x asm.F32, f *asm.Func) asm.F32 {
	return f.ConstF(1).Div(expF(x.Neg(), f).AddC(1))
}

// tanhF is within 1.2e-7 relative: a polynomial near 0, where 1-2/(e^2x+1) cancels.
func tanhF(x asm.F32, f *asm.Func) asm.F32 {
	z := x.Mul(x)
	small := horner(f, z, 1, -0.3333328366279602, 0.13331705331802368, -0.05376992002129555,
		0.02075747586786747, -0.005856427829712629).Mul(x)
	ax := x.Abs()
	large := f.ConstF(1).Sub(f.ConstF(2).Div(expF(ax.Add(ax), f).AddC(1)))
	large = x.LtC(0).SelF32(large.Neg(), large)
	return ax.LtC(0.6).SelF32(small, large)
}

// erfF is within 1.7e-7 relative: x times a polynomial below 1, 1 - 2^polynomial above.
func erfF(x asm.F32, f *asm.Func) asm.F32 {
	z := x.Mul(x)
	small := horner(f, z, 1.1283791065216064, -0.3761262595653534, 0.11283597350120544, -0.02685432881116867,
		0.005189312156289816, -0.0008018855005502701, 7.882497448008507e-05).Mul(x)
	ax := x.Abs()
	a4 := ax.Min(f.ConstF(4)) // erf(4) rounds to 1
	large := horner(f, a4, -0.001092074904590845, -1.6243678331375122, -0.9220167398452759, -0.1490577757358551,
		0.032636627554893494, -0.004958351608365774, 0.0004581596003845334, -1.9201392206014134e-05).Ex2()
	large = f.ConstF(1).Sub(large)
	large = x.LtC(0).SelF32(large.Neg(), large)
	out := ax.LtC(1).SelF32(small, large)
	return x.IsNaN().SelF32(x, out)
}

// sinCosF is sin x (or cos x) within 1e-7 for |x| up to about 10^4: reduction by multiples of pi/2 in three
// parts, then a polynomial of the quadrant.
func sinCosF(x asm.F32, f *asm.Func, cos bool) asm.F32 {
	q := x.MulC(2 / math.Pi).Round()
	r := q.Fma(f.ConstF(-1.5703125), x)
	r = q.Fma(f.ConstF(-0.0004837512969970703), r)
	r = q.Fma(f.ConstF(-7.549790126404332e-08), r)
	z := r.Mul(r)
	s := horner(f, z, 1, -0.16666650772094727, 0.008332036435604095, -0.0001950396253960207).Mul(r)
	c := horner(f, z, 1, -0.5, 0.04166661575436592, -0.0013886619126424193, 2.4379880414926447e-05)
	quadrant := q.S32()
	if cos {
		quadrant = quadrant.AddI(1)
	}
	v := quadrant.AndI(1).NeI(0).SelF32(c, s)
	return quadrant.AndI(2).NeI(0).SelF32(v.Neg(), v)
}

// logF is ln x; the absolute error near 1 is 2e-7.
func logF(x asm.F32) asm.F32 { return x.Lg2().MulC(math.Ln2) }

// softplusF is ln(1+e^x), written so that neither end overflows or cancels.
func softplusF(x asm.F32, f *asm.Func) asm.F32 {
	e := expF(x.Abs().Neg(), f)
	// ln(1+e) for e in [0,1]: where e is small, ln(1+e) = e - e^2/2 keeps the digits that 1+e drops.
	tail := e.LtC(1e-3).SelF32(e.Sub(e.Mul(e).MulC(0.5)), logF(e.AddC(1)))
	return x.Max(f.ConstF(0)).Add(tail)
}

// powF is x^y: a negative x needs an integer y, whose parity gives the sign.
func powF(x, y asm.F32, f *asm.Func) asm.F32 {
	mag := x.Abs().Lg2().Mul(y).Ex2()
	half := y.MulC(0.5)
	odd := half.Trunc().Eq(half).Not().And(y.Trunc().Eq(y))
	isInt := y.Trunc().Eq(y)
	neg := x.LtC(0)
	out := neg.And(odd).SelF32(mag.Neg(), mag)
	nan := float32(math.NaN())
	out = neg.And(isInt.Not()).SelF32(f.ConstF(nan), out)
	return y.Eq(f.ConstF(0)).SelF32(f.ConstF(1), out)
}
