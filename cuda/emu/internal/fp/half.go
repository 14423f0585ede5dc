package fp

import "math"

// nan16 is the NaN that the hardware writes.
const nan16 = 0x7fff

// FromBF16 widens a bfloat16.
func FromBF16(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// ToBF16 rounds to bfloat16, to nearest even.
func ToBF16(f float32) uint16 {
	if f != f {
		return nan16
	}
	u := math.Float32bits(f)
	return uint16((u + 0x7fff + (u>>16)&1) >> 16)
}

// FromF16 widens a half.
func FromF16(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	e, m := uint32(h>>10)&31, uint32(h&1023)
	switch e {
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | m<<13)
	case 0:
		f := float32(m) * (1.0 / (1 << 24))
		return math.Float32frombits(sign | math.Float32bits(f))
	}
	return math.Float32frombits(sign | (e+112)<<23 | m<<13)
}

// ToF16 rounds to half, to nearest even.
func ToF16(f float32) uint16 {
	u := math.Float32bits(f)
	sign := uint16(u>>16) & 0x8000
	a := u & 0x7fffffff
	switch {
	case a > 0x7f800000:
		return nan16
	case a >= 0x477ff000: // 65520 and up round to infinity
		return sign | 0x7c00
	case a < 0x38800000: // below 2^-14: a subnormal multiple of 2^-24
		return sign | uint16(math.RoundToEven(float64(math.Float32frombits(a))*(1<<24)))
	}
	a -= 112 << 23
	return sign | uint16((a+0xfff+(a>>13)&1)>>13)
}

// Encode16 gives the bits of x, already rounded to the format (Half or BFloat).
func (f Format) Encode16(x float64) uint16 {
	if f == BFloat {
		return ToBF16(float32(x))
	}
	return ToF16(float32(x))
}

// Decode16 widens 16 bits of the format.
func (f Format) Decode16(h uint16) float64 {
	if f == BFloat {
		return float64(FromBF16(h))
	}
	return float64(FromF16(h))
}

// TF32 rounds a float32 to TF32 as the tensor cores read it: the low 13 bits
// are ignored.
func TF32(f float32) float32 {
	return math.Float32frombits(math.Float32bits(f) &^ 0x1fff)
}
