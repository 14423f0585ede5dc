package tensor

import "math"

// minifloat describes a float type of at most 8 bits.
type minifloat struct {
	mant, bias int
	max        float64
	nan, inf   uint8 // bit patterns of positive ones; 0 where the type has none
	unsignedZ  bool  // the FNUZ types: no negative zero, its pattern is the only NaN
}

func minifloatOf(d DType) (minifloat, bool) {
	switch d {
	case F8E4M3FN:
		return minifloat{mant: 3, bias: 7, max: 448, nan: 0x7f}, true
	case F8E4M3FNUZ:
		return minifloat{mant: 3, bias: 8, max: 240, nan: 0x80, unsignedZ: true}, true
	case F8E5M2:
		return minifloat{mant: 2, bias: 15, max: 57344, nan: 0x7e, inf: 0x7c}, true
	case F8E5M2FNUZ:
		return minifloat{mant: 2, bias: 16, max: 57344, nan: 0x80, unsignedZ: true}, true
	case F4E2M1:
		return minifloat{mant: 1, bias: 1, max: 6}, true
	}
	return minifloat{}, false
}

// DecodeFloat8 is the value of an element of one of the 8- and 4-bit float types;
// ok is false for another type.
func DecodeFloat8(d DType, b uint8) (v float64, ok bool) {
	if d == F8E8M0 {
		if b == 0xff {
			return math.NaN(), true
		}
		return math.Ldexp(1, int(b)-127), true
	}
	m, ok := minifloatOf(d)
	if !ok {
		return 0, false
	}
	signBit := uint8(0x80)
	if d == F4E2M1 {
		signBit = 8
		b &= 15
	}
	mag := b &^ signBit
	switch {
	case m.unsignedZ && b == m.nan, !m.unsignedZ && m.nan != 0 && mag >= m.nan, d == F8E5M2 && mag > m.inf:
		return math.NaN(), true
	case m.inf != 0 && mag == m.inf:
		v = math.Inf(1)
	default:
		e, f := int(mag>>m.mant), int(mag&(1<<m.mant-1))
		if e == 0 {
			v = math.Ldexp(float64(f), 1-m.bias-m.mant)
		} else {
			v = math.Ldexp(float64(f+1<<m.mant), e-m.bias-m.mant)
		}
	}
	if b&signBit != 0 {
		v = -v
	}
	return v, true
}

// EncodeFloat8 rounds v to nearest, ties to even, in one of the signed 8- and 4-bit
// float types. What is too large becomes the largest number when saturate is set or
// the type is F4E2M1, else infinite or, in types without infinity, NaN. ok is false
// for another type.
func EncodeFloat8(d DType, v float64, saturate bool) (b uint8, ok bool) {
	m, ok := minifloatOf(d)
	if !ok {
		return 0, false
	}
	sign := uint8(0)
	if math.Signbit(v) {
		sign = 0x80
		if d == F4E2M1 {
			sign = 8
		}
	}
	switch {
	case v != v && d == F4E2M1:
		return sign ^ 8, true // no NaN in the type; the zero that ml_dtypes gives
	case v != v && m.unsignedZ:
		return m.nan, true
	case v != v:
		return sign | m.nan, true
	}
	r := m.round(math.Abs(v))
	if r > m.max {
		switch {
		case saturate || d == F4E2M1:
			r = m.max
		case m.inf != 0:
			return sign | m.inf, true
		case m.unsignedZ:
			return m.nan, true
		default:
			return sign | m.nan, true
		}
	}
	mag := m.bits(r)
	if mag == 0 && m.unsignedZ {
		return 0, true
	}
	return sign | mag, true
}

// round is the nearest multiple of the spacing of numbers around a >= 0; it does not
// stop at the largest.
func (m minifloat) round(a float64) float64 {
	if a == 0 || math.IsInf(a, 1) {
		return a
	}
	e := max(math.Ilogb(a), 1-m.bias) - m.mant
	return math.Ldexp(math.RoundToEven(math.Ldexp(a, -e)), e)
}

// bits is the pattern of a number that the type holds.
func (m minifloat) bits(r float64) uint8 {
	if r == 0 {
		return 0
	}
	e := max(math.Ilogb(r), 1-m.bias)
	f := int(math.Ldexp(r, m.mant-e))
	return uint8(f + (e+m.bias-1)<<m.mant) // the leading one of a normal number adds to the exponent
}

// EncodeE8M0 is the power of two for v in F8E8M0. Mode is "up", "down" or "nearest";
// NaN and infinities become NaN, and so does what rounds past the largest power unless
// saturate is set. The sign is ignored. ok is false for another mode.
func EncodeE8M0(v float32, mode string, saturate bool) (b uint8, ok bool) {
	u := math.Float32bits(v) &^ (1 << 31)
	e, frac := uint8(u>>23), u&(1<<23-1)
	if e == 0xff {
		return e, true
	}
	var up bool
	switch mode {
	case "up":
		up = frac != 0
	case "down":
	case "nearest":
		// Ties go up between normal numbers and down below the least of them.
		up = frac > 1<<22 || frac == 1<<22 && e > 0
	default:
		return 0, false
	}
	if up && !(saturate && e == 0xfe) {
		e++
	}
	return e, true
}
