package emu

import (
	"math"
	"math/big"

	"github.com/seed-c851cfd2/moec/cuda/emu/internal/fp"
	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

// opUnaryFloat is rcp, sqrt, rsqrt, sin, cos, lg2, ex2 and tanh. Approximate
// forms are computed in float64 and rounded, which lies inside the hardware's
// error bound.
func (c *compiler) opUnaryFloat(in *syntax.Instr) {
	t := c.typ(0)
	e, packed := element(t)
	mode := roundMode(in)
	ftz := in.Has("ftz")
	c.out.flops = 1
	f := func(x float64) float64 { return unaryFloat(in.Mods[0], x) }
	if mode != fp.RN && e == syntax.F32 {
		switch in.Mods[0] {
		case "rcp":
			f = func(x float64) float64 { return float64(fp.To32(fp.DivOdd(1, x), mode)) }
		case "sqrt":
			f = func(x float64) float64 { return float64(fp.To32(fp.SqrtOdd(x), mode)) }
		}
	}
	if mode != fp.RN && e == syntax.F64 {
		switch in.Mods[0] {
		case "rcp":
			f = func(x float64) float64 { return float64Op(fDiv, 1, x, 0, mode) }
		case "sqrt":
			f = func(x float64) float64 { return directedSqrt(x, mode) }
		}
	}
	one := func(a uint64) uint64 {
		x := decodeFloat(a, e)
		if ftz && e == syntax.F32 {
			x = float64(fp.Flush32(float32(x)))
		}
		r := f(x)
		if r != r {
			return nanOf(e)
		}
		bits := encodeFloat(r, e)
		if ftz && e == syntax.F32 {
			bits = uint64(u32(fp.Flush32(f32(uint32(bits)))))
		}
		if e == syntax.F64 && ftz && in.Has("approx") {
			bits &^= 0xffffffff // rcp.approx.ftz.f64 gives the upper word alone
		}
		return bits
	}
	if packed {
		single := one
		one = func(a uint64) uint64 { return single(a&0xffff) | single(a>>16)<<16 }
	}
	c.out.run = lift1(c.dst(0, t), c.src(1, t), one, nil)
}

func unaryFloat(op string, x float64) float64 {
	switch op {
	case "rcp":
		return 1 / x
	case "sqrt":
		return math.Sqrt(x)
	case "rsqrt":
		return 1 / math.Sqrt(x)
	case "sin":
		return math.Sin(x)
	case "cos":
		return math.Cos(x)
	case "lg2":
		return math.Log2(x)
	case "ex2":
		return math.Exp2(x)
	}
	return math.Tanh(x)
}

// float64Op is a double-precision operation in any rounding mode.
func float64Op(op floatOp, x, y, z float64, mode fp.Mode) float64 {
	var r float64
	switch op {
	case fAdd:
		r = x + y
	case fSub:
		r, y = x-y, -y
	case fMul:
		r = x * y
	case fDiv:
		r = x / y
	case fFma:
		r = math.FMA(x, y, z)
	}
	if mode == fp.RN || r != r || math.IsInf(x, 0) || math.IsInf(y, 0) || math.IsInf(z, 0) || op == fDiv && y == 0 {
		return r
	}
	// The exact value as a rational decides which neighbour to take.
	exact := new(big.Rat)
	switch op {
	case fAdd, fSub:
		exact.Add(rat(x), rat(y))
	case fMul:
		exact.Mul(rat(x), rat(y))
	case fDiv:
		exact.Quo(rat(x), rat(y))
	case fFma:
		exact.Add(exact.Mul(rat(x), rat(y)), rat(z))
	}
	if exact.Sign() == 0 {
		// A sum that cancels is -0 when rounding down; terms of one sign keep it.
		n1, n2 := math.Signbit(x), math.Signbit(y)
		if op == fFma {
			n1, n2 = n1 != n2, math.Signbit(z)
		}
		if mode == fp.RM && op != fMul && op != fDiv && n1 != n2 {
			return math.Copysign(0, -1)
		}
		return r
	}
	if math.IsInf(r, 0) {
		r = math.Copysign(math.MaxFloat64, r)
		if mode == fp.RP && r > 0 || mode == fp.RM && r < 0 {
			return math.Inf(int(math.Copysign(1, r)))
		}
		return r
	}
	return neighbour(r, rat(r).Cmp(exact), exact.Sign(), mode)
}

// neighbour moves a nearest-rounded r to the directed rounding of an exact
// value, given how r compares with it and its sign.
func neighbour(r float64, cmp, sign int, mode fp.Mode) float64 {
	down := mode == fp.RM || mode == fp.RZ && sign > 0
	switch {
	case cmp > 0 && down:
		return math.Nextafter(r, math.Inf(-1))
	case cmp < 0 && !down:
		return math.Nextafter(r, math.Inf(1))
	}
	return r
}

func directedSqrt(x float64, mode fp.Mode) float64 {
	r := math.Sqrt(x)
	if !(x > 0) || math.IsInf(x, 0) {
		return r
	}
	sq := new(big.Rat).Mul(rat(r), rat(r))
	return neighbour(r, sq.Cmp(rat(x)), 1, mode)
}

func rat(x float64) *big.Rat {
	r := new(big.Rat)
	r.SetFloat64(x)
	return r
}
