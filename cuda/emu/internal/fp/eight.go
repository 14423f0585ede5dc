package fp

import "math"

// Eight is an 8-bit format of OCP: E4M3 has no infinities and one NaN pattern
// per sign, E5M2 is the upper half of a float16.
type Eight struct {
	Format
	max float64
}

// The 8-bit formats.
var (
	E4M3 = Eight{Format{3, -6, 9}, 448}
	E5M2 = Eight{Format{2, -14, 16}, 57344}
)

// Encode rounds to the format, to nearest even; what is too large becomes the
// largest number (satfinite), a NaN the pattern 0x7f.
func (f Eight) Encode(x float64) uint8 {
	if x != x {
		return 0x7f
	}
	var sign uint8
	if math.Signbit(x) {
		sign, x = 0x80, -x
	}
	x = math.Min(f.Round(x, RN), f.max)
	e := f.Emin
	if x >= math.Ldexp(1, f.Emin) {
		_, e = math.Frexp(x)
		e--
	}
	m := uint8(math.Ldexp(x, f.Mant-e)) // with the leading bit of normal numbers
	return sign | (uint8(e-f.Emin)<<f.Mant + m)
}

// Decode widens 8 bits of the format.
func (f Eight) Decode(b uint8) float64 {
	e, m := int(b&0x7f>>f.Mant), float64(b&(1<<f.Mant-1))
	var x float64
	switch {
	case f == E4M3 && b&0x7f == 0x7f, f == E5M2 && b&0x7f > 0x7c:
		return math.NaN()
	case f == E5M2 && b&0x7f == 0x7c:
		x = math.Inf(1)
	case e == 0:
		x = math.Ldexp(m, f.Emin-f.Mant)
	default:
		x = math.Ldexp(m+float64(int(1)<<f.Mant), e-1+f.Emin-f.Mant)
	}
	if b&0x80 != 0 {
		return -x
	}
	return x
}
