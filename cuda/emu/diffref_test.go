package emu_test

import (
	"math"
	"math/big"
)

// A second implementation of PTX arithmetic for the differential test: plain,
// slow, on arbitrary-precision numbers, sharing nothing with the emulator.

type format struct{ bits, mant, bias int }

var (
	fmtF16  = format{16, 10, 15}
	fmtBF16 = format{16, 7, 127}
	fmtF32  = format{32, 23, 127}
	fmtF64  = format{64, 52, 1023}
)

func (f format) sign() uint64         { return 1 << (f.bits - 1) }
func (f format) inf() uint64          { return uint64(1)<<(f.bits-1) - 1<<f.mant }
func (f format) nan() uint64          { return 1<<(f.bits-1) - 1 }
func (f format) isNaN(v uint64) bool  { return v&^f.sign() > f.inf() }
func (f format) isInf(v uint64) bool  { return v&^f.sign() == f.inf() }
func (f format) isZero(v uint64) bool { return v&^f.sign() == 0 }
func (f format) neg(v uint64) bool    { return v&f.sign() != 0 }

// value is the exact number that finite bits stand for.
func (f format) value(v uint64) *big.Rat {
	e := int(v &^ f.sign() >> f.mant)
	m := int64(v & (1<<f.mant - 1))
	if e == 0 {
		e = 1
	} else {
		m |= 1 << f.mant
	}
	r := new(big.Rat).SetInt64(m)
	scale(r, e-f.bias-f.mant)
	if f.neg(v) {
		r.Neg(r)
	}
	return r
}

func scale(r *big.Rat, e int) {
	p := new(big.Int).Lsh(big.NewInt(1), uint(max(e, -e)))
	if e >= 0 {
		r.Mul(r, new(big.Rat).SetInt(p))
	} else {
		r.Mul(r, new(big.Rat).SetFrac(big.NewInt(1), p))
	}
}

// round finds the bits of the number nearest to x in a direction, by bisection
// over the formats' ordered bit patterns.
func (f format) round(x *big.Rat, mode string) uint64 {
	neg := x.Sign() < 0
	a := new(big.Rat).Abs(x)
	lo, hi := uint64(0), f.inf() // value(lo) <= a < value(hi), the latter perhaps infinite
	for hi-lo > 1 {
		mid := (lo + hi) / 2
		if f.value(mid).Cmp(a) <= 0 {
			lo = mid
		} else {
			hi = mid
		}
	}
	r := lo
	if f.value(lo).Cmp(a) != 0 {
		up := false
		switch mode {
		case "rn":
			// The neighbour above the largest number is one step further.
			above := f.value(lo)
			if hi == f.inf() {
				step := new(big.Rat).Sub(f.value(lo), f.value(lo-1))
				above = new(big.Rat).Add(above, step)
			} else {
				above = f.value(hi)
			}
			mid := new(big.Rat).Add(f.value(lo), above)
			mid.Quo(mid, big.NewRat(2, 1))
			c := a.Cmp(mid)
			up = c > 0 || c == 0 && lo&1 == 1
		case "rp":
			up = !neg
		case "rm":
			up = neg
		}
		if up {
			r = hi
		}
	}
	if neg {
		r |= f.sign()
	}
	return r
}

// refArith is add, sub, mul, div or fma of floats.
func refArith(op, mode string, f format, a, b, c uint64) uint64 {
	if op == "sub" {
		op, b = "add", b^f.sign()
	}
	if f.isNaN(a) || f.isNaN(b) || op == "fma" && f.isNaN(c) {
		return f.nan()
	}
	sign := func(neg bool) uint64 {
		if neg {
			return f.sign()
		}
		return 0
	}
	zeroSum := func(x, y bool) uint64 { // signs of two zero or cancelling terms
		if x == y {
			return sign(x)
		}
		return sign(mode == "rm")
	}
	prodNeg := f.neg(a) != f.neg(b)
	switch op {
	case "add":
		switch {
		case f.isInf(a) && f.isInf(b) && f.neg(a) != f.neg(b):
			return f.nan()
		case f.isInf(a):
			return a
		case f.isInf(b):
			return b
		}
		x := new(big.Rat).Add(f.value(a), f.value(b))
		if x.Sign() == 0 {
			return zeroSum(f.neg(a), f.neg(b))
		}
		return f.round(x, mode)
	case "mul":
		switch {
		case f.isInf(a) && f.isZero(b), f.isZero(a) && f.isInf(b):
			return f.nan()
		case f.isInf(a) || f.isInf(b):
			return f.inf() | sign(prodNeg)
		}
		x := new(big.Rat).Mul(f.value(a), f.value(b))
		if x.Sign() == 0 {
			return sign(prodNeg)
		}
		return f.round(x, mode)
	case "div":
		switch {
		case f.isInf(a) && f.isInf(b), f.isZero(a) && f.isZero(b):
			return f.nan()
		case f.isInf(a) || f.isZero(b):
			return f.inf() | sign(prodNeg)
		case f.isInf(b) || f.isZero(a):
			return sign(prodNeg)
		}
		return f.round(new(big.Rat).Quo(f.value(a), f.value(b)), mode)
	}
	switch {
	case f.isInf(a) && f.isZero(b), f.isZero(a) && f.isInf(b):
		return f.nan()
	case f.isInf(a) || f.isInf(b):
		if f.isInf(c) && f.neg(c) != prodNeg {
			return f.nan()
		}
		return f.inf() | sign(prodNeg)
	case f.isInf(c):
		return c
	}
	p := new(big.Rat).Mul(f.value(a), f.value(b))
	x := new(big.Rat).Add(p, f.value(c))
	if x.Sign() == 0 {
		if p.Sign() == 0 && f.isZero(c) || p.Sign() != 0 {
			return zeroSum(prodNeg, f.neg(c))
		}
		return sign(f.neg(c))
	}
	return f.round(x, mode)
}

// refConvert is cvt between floats.
func refConvert(to, from format, mode string, v uint64) uint64 {
	switch {
	case from.isNaN(v):
		return to.nan()
	case from.isInf(v):
		if from.neg(v) {
			return to.inf() | to.sign()
		}
		return to.inf()
	case from.isZero(v):
		if from.neg(v) {
			return to.sign()
		}
		return 0
	}
	return to.round(from.value(v), mode)
}

// refToInt is cvt from a float to an integer of so many bits.
func refToInt(f format, mode string, bits int, signed bool, v uint64) uint64 {
	lo, hi := big.NewInt(0), new(big.Int).Lsh(big.NewInt(1), uint(bits))
	if signed {
		hi.Rsh(hi, 1)
		lo.Neg(hi)
	}
	hi.Sub(hi, big.NewInt(1))
	pick := func(n *big.Int) uint64 {
		if n.Cmp(lo) < 0 {
			n = lo
		}
		if n.Cmp(hi) > 0 {
			n = hi
		}
		m := new(big.Int).Lsh(big.NewInt(1), uint(bits))
		return new(big.Int).Mod(new(big.Int).Add(n, m), m).Uint64()
	}
	switch {
	case f.isNaN(v):
		if bits == 64 {
			return 1 << 63
		}
		return 0
	case f.isInf(v):
		if f.neg(v) {
			return pick(new(big.Int).Neg(new(big.Int).Lsh(big.NewInt(1), 200)))
		}
		return pick(new(big.Int).Lsh(big.NewInt(1), 200))
	}
	x := f.value(v)
	floor := new(big.Int).Div(x.Num(), x.Denom()) // Euclidean: the floor for a positive divisor
	frac := new(big.Rat).Sub(x, new(big.Rat).SetInt(floor))
	up := false
	half := big.NewRat(1, 2)
	switch mode {
	case "rni":
		c := frac.Cmp(half)
		up = c > 0 || c == 0 && floor.Bit(0) == 1
	case "rzi":
		up = frac.Sign() != 0 && x.Sign() < 0
	case "rpi":
		up = frac.Sign() != 0
	}
	if up {
		floor.Add(floor, big.NewInt(1))
	}
	return pick(floor)
}

// refFromInt is cvt from an integer to a float.
func refFromInt(f format, mode string, bits int, signed bool, v uint64) uint64 {
	n := new(big.Int).SetUint64(v)
	if signed && v>>(bits-1)&1 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(bits)))
	}
	if n.Sign() == 0 {
		return 0
	}
	return f.round(new(big.Rat).SetInt(n), mode)
}

// refCompare is a float comparison.
func refCompare(op string, f format, a, b uint64) bool {
	nan := f.isNaN(a) || f.isNaN(b)
	switch op {
	case "num":
		return !nan
	case "nan":
		return nan
	}
	if nan {
		return len(op) == 3
	}
	x, y := toFloat(f, a), toFloat(f, b)
	switch op[:2] {
	case "eq":
		return x == y
	case "ne":
		return x != y
	case "lt":
		return x < y
	case "le":
		return x <= y
	case "gt":
		return x > y
	}
	return x >= y
}

func toFloat(f format, v uint64) float64 {
	if f.isInf(v) {
		if f.neg(v) {
			return math.Inf(-1)
		}
		return math.Inf(1)
	}
	x, _ := f.value(v).Float64()
	return x
}

// big integers of a register's bits.
func asInt(v uint64, bits int, signed bool) *big.Int {
	n := new(big.Int).SetUint64(v)
	if signed && v>>(bits-1)&1 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(bits)))
	}
	return n
}

func wrap(n *big.Int, bits int) uint64 {
	m := new(big.Int).Lsh(big.NewInt(1), uint(bits))
	return new(big.Int).Mod(n, m).Uint64()
}
