package emu

import (
	"math"
	"math/bits"

	"github.com/seed-c851cfd2/moec/cuda/emu/internal/fp"
	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

// The loops of the hottest instructions over full warps.

func addLoop(d, a, b *lanes32) {
	for i := range d {
		d[i] = a[i] + b[i]
	}
}

func subLoop(d, a, b *lanes32) {
	for i := range d {
		d[i] = a[i] - b[i]
	}
}

func mulLoop(d, a, b *lanes32) {
	for i := range d {
		d[i] = a[i] * b[i]
	}
}

func madLoop(d, a, b, c *lanes32) {
	for i := range d {
		d[i] = a[i]*b[i] + c[i]
	}
}

func andLoop(d, a, b *lanes32) {
	for i := range d {
		d[i] = a[i] & b[i]
	}
}

func orLoop(d, a, b *lanes32) {
	for i := range d {
		d[i] = a[i] | b[i]
	}
}

func xorLoop(d, a, b *lanes32) {
	for i := range d {
		d[i] = a[i] ^ b[i]
	}
}

func shlLoop(d, a, b *lanes32) {
	for i := range d {
		d[i] = a[i] << b[i]
	}
}

func shrLoop(d, a, b *lanes32) {
	for i := range d {
		d[i] = a[i] >> b[i]
	}
}

func sarLoop(d, a, b *lanes32) {
	for i := range d {
		d[i] = uint32(int32(a[i]) >> b[i])
	}
}

func movLoop(d, a *lanes32) { *d = *a }

func addWide(d, a, b *lanes64) {
	for i := range d {
		d[i] = a[i] + b[i]
	}
}

func subWide(d, a, b *lanes64) {
	for i := range d {
		d[i] = a[i] - b[i]
	}
}

func mulWide64(d, a, b *lanes64) {
	for i := range d {
		d[i] = a[i] * b[i]
	}
}

func f32(u uint32) float32 { return math.Float32frombits(u) }
func u32(f float32) uint32 { return math.Float32bits(f) }

func faddLoop(d, a, b *lanes32) {
	for i := range d {
		d[i] = nan(f32(a[i]) + f32(b[i]))
	}
}

func fsubLoop(d, a, b *lanes32) {
	for i := range d {
		d[i] = nan(f32(a[i]) - f32(b[i]))
	}
}

func fmulLoop(d, a, b *lanes32) {
	for i := range d {
		d[i] = nan(f32(a[i]) * f32(b[i]))
	}
}

func fmaLoop(d, a, b, c *lanes32) {
	for i := range d {
		// fp.FMA32's quick path, in place.
		s := float64(f32(a[i]))*float64(f32(b[i])) + float64(f32(c[i]))
		u := math.Float64bits(s)
		if u&0x1fffffff != 0x10000000 && (u<<1>>53 > 1023-126 || s == 0) {
			d[i] = nan(float32(s))
		} else {
			d[i] = nan(fp.FMA32(f32(a[i]), f32(b[i]), f32(c[i])))
		}
	}
}

// nan gives the bits of a result, with the one NaN pattern that the hardware
// writes.
func nan(f float32) uint32 {
	if f != f {
		return 0x7fffffff
	}
	return math.Float32bits(f)
}

// mulWide is mul.wide for 16- and 32-bit operands.
func mulWide(d, a, b slot, t syntax.Type) exec {
	f := func(a, b uint64) uint64 { return wide(a, b, t) }
	if d.class != class64 || a.class != class32 || b.class != class32 {
		return lift2(d, a, b, f, nil, nil)
	}
	signed := t.Signed()
	return func(w *warp, m uint32) {
		D, A, B := &w.r64[d.idx], &w.r32[a.idx], &w.r32[b.idx]
		switch {
		case m == fullMask && signed:
			for i := range D {
				D[i] = uint64(int64(int32(A[i])) * int64(int32(B[i])))
			}
		case m == fullMask:
			for i := range D {
				D[i] = uint64(A[i]) * uint64(B[i])
			}
		default:
			for ; m != 0; m &= m - 1 {
				i := bits.TrailingZeros32(m) & 31
				D[i] = f(uint64(A[i]), uint64(B[i]))
			}
		}
	}
}
