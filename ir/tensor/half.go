package tensor

import (
	"math"

	"github.com/x448/float16"
)

// Float16 is an IEEE 754 binary16 number as its bits.
type Float16 uint16

// BFloat16 is the upper half of an IEEE 754 binary32 number.
type BFloat16 uint16

// Float32 widens exactly.
func (h Float16) Float32() float32 { return float16.Frombits(uint16(h)).Float32() }

// Float32 widens exactly.
func (b BFloat16) Float32() float32 { return math.Float32frombits(uint32(b) << 16) }

// ToFloat16 rounds to nearest, ties to even; too large becomes infinite.
func ToFloat16(f float32) Float16 { return Float16(float16.Fromfloat32(f).Bits()) }

// ToBFloat16 rounds to nearest, ties to even; NaN stays NaN (made quiet).
func ToBFloat16(f float32) BFloat16 {
	u := math.Float32bits(f)
	if f != f {
		return BFloat16(u>>16 | 0x40)
	}
	return BFloat16((u + 0x7fff + u>>16&1) >> 16)
}

// Narrow32 rounds to a float32 that rounds on to half precision as the float64 itself
// would: what is lost leaves its trace in the last bit (rounding to odd).
func Narrow32(v float64) float32 {
	f := float32(v)
	if w := float64(f); w != v && !math.IsInf(w, 0) && v == v {
		u := math.Float32bits(f)
		if (math.Abs(w) > math.Abs(v)) && u&1 == 0 {
			u-- // f lies beyond v and is even: the odd neighbour towards zero
		} else {
			u |= 1
		}
		f = math.Float32frombits(u)
	}
	return f
}
