// Package fp holds the floating-point arithmetic that PTX has and Go lacks:
// the 16-bit formats, TF32, the directed rounding modes and a correctly
// rounded float32 fused multiply-add.
package fp

import "math"

// Mode is a rounding mode.
type Mode uint8

// Rounding modes, with PTX's names.
const (
	RN  Mode = iota // nearest, ties to even
	RZ              // towards zero
	RM              // towards minus infinity
	RP              // towards plus infinity
	RNA             // nearest, ties away from zero
)

// Format is a binary floating-point format.
type Format struct {
	Mant int // stored mantissa bits
	Emin int // exponent of the smallest normal number
	Emax int // exponent of the largest number
}

// The formats below float64.
var (
	Half     = Format{10, -14, 15}
	BFloat   = Format{7, -126, 127}
	TFloat32 = Format{10, -126, 127}
	Single   = Format{23, -126, 127}
)

// Round rounds x to the format. When x itself is a rounded result, it must
// have been rounded to odd (AddOdd, FMAOdd) for the two roundings to equal one.
func (f Format) Round(x float64, mode Mode) float64 {
	if x == 0 || x != x || math.IsInf(x, 0) {
		return x
	}
	_, e := math.Frexp(x) // |x| = m * 2^e with m in [0.5, 1)
	if e-1 < f.Emin {
		e = f.Emin + 1
	}
	shift := f.Mant - (e - 1)
	// Two steps keep the scale factors inside float64's range.
	scaled := math.Ldexp(x, shift)
	var r float64
	switch mode {
	case RN:
		r = math.RoundToEven(scaled)
	case RZ:
		r = math.Trunc(scaled)
	case RM:
		r = math.Floor(scaled)
	case RP:
		r = math.Ceil(scaled)
	case RNA:
		r = math.Round(scaled)
	}
	r = math.Ldexp(r, -shift)
	if r == 0 {
		return math.Copysign(0, x)
	}
	limit := math.Ldexp(2-math.Ldexp(1, -f.Mant), f.Emax)
	if math.Abs(r) > limit {
		switch {
		case mode == RZ, mode == RM && r > 0, mode == RP && r < 0:
			return math.Copysign(limit, r)
		}
		return math.Inf(int(math.Copysign(1, r)))
	}
	return r
}

// odd makes the last mantissa bit of a nearest-rounded sum odd when the exact
// result, sum + err, is not representable.
func odd(sum, err float64) float64 {
	if err == 0 || math.IsInf(sum, 0) || sum != sum {
		return sum
	}
	b := math.Float64bits(sum)
	if b&1 != 0 {
		return sum
	}
	if (err > 0) == (sum > 0) || sum == 0 {
		return math.Float64frombits(b + 1)
	}
	return math.Float64frombits(b - 1)
}

// AddOdd is a + b rounded to odd.
func AddOdd(a, b float64) float64 {
	s := a + b
	bb := s - a
	return odd(s, (a-(s-bb))+(b-bb))
}

// FMAOdd is a*b + c rounded to odd, for a and b whose product is exact in
// float64 (float32 and narrower operands).
func FMAOdd(a, b, c float64) float64 { return AddOdd(float64(a*b), c) }

// FMA32 is the correctly rounded float32 a*b + c.
func FMA32(a, b, c float32) float32 {
	p := float64(a) * float64(b) // exact
	s := p + float64(c)
	// Rounding twice differs from rounding once only when s lies exactly
	// between two float32 values, or where float32 is subnormal.
	u := math.Float64bits(s)
	if u&0x1fffffff != 0x10000000 && (u<<1>>53 > 1023-126 || s == 0) {
		return float32(s)
	}
	return float32(FMAOdd(float64(a), float64(b), float64(c)))
}

// DivOdd is a/b rounded to odd.
func DivOdd(a, b float64) float64 {
	q := a / b
	if q == 0 || math.IsInf(q, 0) || q != q {
		return q
	}
	r := -math.FMA(q, b, -a) // the exact remainder
	if (r > 0) == (b > 0) {
		return odd(q, math.Abs(r))
	}
	return odd(q, -math.Abs(r))
}

// SqrtOdd is the square root of a rounded to odd.
func SqrtOdd(a float64) float64 {
	q := math.Sqrt(a)
	if q == 0 || math.IsInf(q, 0) || q != q {
		return q
	}
	return odd(q, -math.FMA(q, q, -a))
}

// Flush32 replaces a subnormal by a zero of its sign (the .ftz modifier).
func Flush32(x float32) float32 {
	u := math.Float32bits(x)
	if u&0x7f800000 == 0 {
		return math.Float32frombits(u & 0x80000000)
	}
	return x
}

// To32 rounds to float32 with a mode.
func To32(x float64, mode Mode) float32 {
	if mode == RN {
		return float32(x)
	}
	return float32(Single.Round(x, mode))
}
