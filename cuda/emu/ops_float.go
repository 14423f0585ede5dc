package emu

import (
	"math"

	"github.com/seed-c851cfd2/moec/cuda/emu/internal/fp"
	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

type floatOp uint8

const (
	fAdd floatOp = iota
	fSub
	fMul
	fDiv
	fFma
)

// roundMode is the rounding mode among the modifiers, to nearest when none.
func roundMode(in *syntax.Instr) fp.Mode {
	switch {
	case in.Has("rz"):
		return fp.RZ
	case in.Has("rm"):
		return fp.RM
	case in.Has("rp"):
		return fp.RP
	}
	return fp.RN
}

// exactOdd is the operation in float64 rounded to odd, from which one more
// rounding to a narrower format is the correct one.
func exactOdd(op floatOp, a, b, c float64) float64 {
	switch op {
	case fAdd:
		return fp.AddOdd(a, b)
	case fSub:
		return fp.AddOdd(a, -b)
	case fMul:
		return a * b // exact: both operands have at most 24 bits
	case fDiv:
		return fp.DivOdd(a, b)
	}
	return fp.FMAOdd(a, b, c)
}

// scalar is the operation on the bits of one value of type t.
func floatScalar(in *syntax.Instr, op floatOp, t syntax.Type) fn3 {
	mode := roundMode(in)
	ftz, sat, relu := in.Has("ftz"), in.Has("sat"), in.Has("relu")
	switch t {
	case syntax.F64:
		return func(a, b, c uint64) uint64 {
			x, y, z := math.Float64frombits(a), math.Float64frombits(b), math.Float64frombits(c)
			return math.Float64bits(float64Op(op, x, y, z, mode))
		}
	case syntax.F16, syntax.BF16:
		f := fp.Half
		if t == syntax.BF16 {
			f = fp.BFloat
		}
		return func(a, b, c uint64) uint64 {
			x, y, z := f.Decode16(uint16(a)), f.Decode16(uint16(b)), f.Decode16(uint16(c))
			if ftz {
				x, y, z = flushBelow(x, f), flushBelow(y, f), flushBelow(z, f)
			}
			r := f.Round(exactOdd(op, x, y, z), fp.RN)
			if ftz {
				r = flushBelow(r, f)
			}
			return uint64(f.Encode16(clampFloat(r, sat, relu)))
		}
	}
	return func(a, b, c uint64) uint64 {
		x, y, z := f32(uint32(a)), f32(uint32(b)), f32(uint32(c))
		if ftz {
			x, y, z = fp.Flush32(x), fp.Flush32(y), fp.Flush32(z)
		}
		var r float32
		if mode == fp.RN {
			switch op {
			case fAdd:
				r = x + y
			case fSub:
				r = x - y
			case fMul:
				r = x * y
			case fDiv:
				r = float32(float64(x) / float64(y)) // 53 >= 2*24+2 bits: one rounding in effect
			case fFma:
				r = fp.FMA32(x, y, z)
			}
		} else {
			r = directedZero(fp.To32(exactOdd(op, float64(x), float64(y), float64(z)), mode), op, x, y, z, mode)
		}
		if ftz {
			r = fp.Flush32(r)
		}
		if sat || relu {
			r = float32(clampFloat(float64(r), sat, relu))
		}
		return uint64(nan(r))
	}
}

// directedZero gives the sign of an exact zero sum, which is minus when
// rounding down unless both terms are plus zero.
func directedZero(r float32, op floatOp, x, y, z float32, mode fp.Mode) float32 {
	if r != 0 || mode != fp.RM || op == fMul || op == fDiv {
		return r
	}
	plus := func(v float32) bool { return v == 0 && !math.Signbit(float64(v)) }
	switch op {
	case fAdd:
		if plus(x) && plus(y) {
			return 0
		}
	case fSub:
		if plus(x) && plus(-y) {
			return 0
		}
	case fFma:
		if p := x * y; plus(p) && plus(z) || p == 0 && z != 0 || float64(x)*float64(y)+float64(z) != 0 {
			return r
		}
	}
	return float32(math.Copysign(0, -1))
}

func flushBelow(x float64, f fp.Format) float64 {
	if x != 0 && math.Abs(x) < math.Ldexp(1, f.Emin) {
		return math.Copysign(0, x)
	}
	return x
}

// clampFloat applies .sat (to [0, 1], NaN to 0) or .relu (NaN stays).
func clampFloat(x float64, sat, relu bool) float64 {
	switch {
	case sat && !(x > 0):
		return 0
	case sat && x > 1:
		return 1
	case relu && x <= 0:
		return 0
	}
	return x
}

// pairwise applies f to both halves of packed operands.
func pairwise(f fn3) fn3 {
	return func(a, b, c uint64) uint64 {
		return f(a&0xffff, b&0xffff, c&0xffff) | f(a>>16&0xffff, b>>16&0xffff, c>>16&0xffff)<<16
	}
}

// element is the type of one half of a packed type.
func element(t syntax.Type) (syntax.Type, bool) {
	switch t {
	case syntax.F16x2:
		return syntax.F16, true
	case syntax.BF16x2:
		return syntax.BF16, true
	}
	return t, false
}

func (c *compiler) floatFn(in *syntax.Instr, op floatOp, t syntax.Type) fn3 {
	e, packed := element(t)
	if t == syntax.F32x2 || t == syntax.TF32 || t >= syntax.E4M3 {
		c.fail("type %s is not supported here", t)
	}
	f := floatScalar(in, op, e)
	c.out.flops = 1
	if packed {
		c.out.flops = 2
		f = pairwise(f)
	}
	if op == fFma {
		c.out.flops *= 2
	}
	return f
}

func (c *compiler) floatBinary(in *syntax.Instr, t syntax.Type, op floatOp) {
	f := c.floatFn(in, op, t)
	var hot loop2
	if t == syntax.F32 && roundMode(in) == fp.RN && !in.Has("ftz") && !in.Has("sat") {
		hot = map[floatOp]loop2{fAdd: faddLoop, fSub: fsubLoop, fMul: fmulLoop}[op]
	}
	c.out.run = lift2(c.dst(0, t), c.src(1, t), c.src(2, t), func(a, b uint64) uint64 { return f(a, b, 0) }, hot, nil)
}

func (c *compiler) opFma(in *syntax.Instr) {
	t := c.typ(0)
	if !t.Float() {
		c.fail("fma of an integer type")
	}
	f := c.floatFn(in, fFma, t)
	var hot loop3
	if t == syntax.F32 && roundMode(in) == fp.RN && !in.Has("ftz") && !in.Has("sat") {
		hot = fmaLoop
	}
	c.out.run = lift3(c.dst(0, t), c.src(1, t), c.src(2, t), c.src(3, t), f, hot)
}

// signOp is neg and abs: they change the sign bit alone.
func (c *compiler) signOp(in *syntax.Instr, t syntax.Type, d, a slot, f func(v, sign uint64) uint64) {
	var sign uint64
	switch t {
	case syntax.F64:
		sign = 1 << 63
	case syntax.F32:
		sign = 1 << 31
	case syntax.F16, syntax.BF16:
		sign = 1 << 15
	case syntax.F16x2, syntax.BF16x2:
		sign = 1<<31 | 1<<15
	default:
		c.fail("type %s is not supported here", t)
	}
	ftz := in.Has("ftz") && t == syntax.F32
	c.out.run = lift1(d, a, func(a uint64) uint64 {
		if ftz {
			a = uint64(u32(fp.Flush32(f32(uint32(a)))))
		}
		return f(a, sign)
	}, nil)
}

// decodeFloat and encodeFloat convert between bits and values of scalar types.
func decodeFloat(v uint64, t syntax.Type) float64 {
	switch t {
	case syntax.F64:
		return math.Float64frombits(v)
	case syntax.F16:
		return float64(fp.FromF16(uint16(v)))
	case syntax.BF16:
		return float64(fp.FromBF16(uint16(v)))
	}
	return float64(f32(uint32(v)))
}

func encodeFloat(x float64, t syntax.Type) uint64 {
	switch t {
	case syntax.F64:
		return math.Float64bits(x)
	case syntax.F16:
		return uint64(fp.ToF16(float32(x)))
	case syntax.BF16:
		return uint64(fp.ToBF16(float32(x)))
	}
	return uint64(nan(float32(x)))
}

func (c *compiler) floatMinMax(in *syntax.Instr, t syntax.Type, isMax bool) {
	e, packed := element(t)
	ftz, keepNaN, xorsign, abs := in.Has("ftz"), in.Has("NaN"), in.Has("xorsign"), in.Has("abs")
	relu := in.Has("relu")
	one := func(a, b uint64) uint64 {
		x, y := decodeFloat(a, e), decodeFloat(b, e)
		if ftz && e == syntax.F32 {
			x, y = float64(fp.Flush32(float32(x))), float64(fp.Flush32(float32(y)))
		}
		sign := math.Signbit(x) != math.Signbit(y)
		if abs {
			x, y = math.Abs(x), math.Abs(y)
		}
		var r float64
		switch {
		case x != x && y != y, keepNaN && (x != x || y != y):
			return nanOf(e)
		case x != x:
			r = y
		case y != y:
			r = x
		case isMax:
			r = math.Max(x, y) // +0 above -0
		default:
			r = math.Min(x, y)
		}
		if xorsign {
			r = math.Copysign(r, 1)
			if sign {
				r = -r
			}
		}
		if relu && r < 0 {
			r = 0
		}
		return encodeFloat(r, e)
	}
	f := one
	if packed {
		f = func(a, b uint64) uint64 { return one(a&0xffff, b&0xffff) | one(a>>16, b>>16)<<16 }
	}
	if len(in.Args) == 4 {
		c.out.run = lift3(c.dst(0, t), c.src(1, t), c.src(2, t), c.src(3, t), func(a, b, e uint64) uint64 { return f(f(a, b), e) }, nil)
		return
	}
	var hot loop2
	if t == syntax.F32 && !ftz && !keepNaN && !xorsign {
		hot = fmaxLoop
		if !isMax {
			hot = fminLoop
		}
	}
	c.out.run = lift2(c.dst(0, t), c.src(1, t), c.src(2, t), f, hot, nil)
}

// fmaxLoop returns the other operand where one is NaN, and +0 above -0.
func fmaxLoop(d, a, b *lanes32) {
	for i := range d {
		x, y := f32(a[i]), f32(b[i])
		switch {
		case x > y:
			d[i] = a[i]
		case y > x:
			d[i] = b[i]
		case x == y:
			d[i] = a[i] & b[i] // equal: differ in the sign of zero at most
		case x != x && y != y:
			d[i] = 0x7fffffff
		case x != x:
			d[i] = b[i]
		default:
			d[i] = a[i]
		}
	}
}

func fminLoop(d, a, b *lanes32) {
	for i := range d {
		x, y := f32(a[i]), f32(b[i])
		switch {
		case x < y:
			d[i] = a[i]
		case y < x:
			d[i] = b[i]
		case x == y:
			d[i] = a[i] | b[i]
		case x != x && y != y:
			d[i] = 0x7fffffff
		case x != x:
			d[i] = b[i]
		default:
			d[i] = a[i]
		}
	}
}

func nanOf(t syntax.Type) uint64 {
	switch t {
	case syntax.F64:
		return 0x7fffffffffffffff
	case syntax.F32:
		return 0x7fffffff
	}
	return 0x7fff
}

func (c *compiler) opCopysign(in *syntax.Instr) {
	t := c.typ(0)
	sign := uint64(1) << (8*t.Size() - 1)
	c.out.run = lift2(c.dst(0, t), c.src(1, t), c.src(2, t), func(a, b uint64) uint64 { return a&sign | b&^sign }, nil, nil)
}

func (c *compiler) opTestp(in *syntax.Instr) {
	t := c.typ(0)
	var f func(x float64) bool
	tiny := math.Ldexp(1, -126)
	if t == syntax.F64 {
		tiny = math.Ldexp(1, -1022)
	}
	number := func(x float64) bool { return x == x }
	finite := func(x float64) bool { return x == x && !math.IsInf(x, 0) }
	switch c.mod(1) {
	case "finite":
		f = finite
	case "infinite":
		f = func(x float64) bool { return math.IsInf(x, 0) }
	case "number":
		f = number
	case "notanumber":
		f = func(x float64) bool { return x != x }
	case "normal":
		f = func(x float64) bool { return finite(x) && math.Abs(x) >= tiny }
	case "subnormal":
		f = func(x float64) bool { return x != 0 && math.Abs(x) < tiny }
	default:
		c.fail("unknown test")
	}
	d, a := c.dst(0, syntax.Pred), c.src(1, t)
	c.out.run = liftPred(d, a, a, func(v, _ uint64) bool { return f(decodeFloat(v, t)) }, nil)
}
