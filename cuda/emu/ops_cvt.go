package emu

import (
	"math"
	"math/bits"

	"github.com/seed-c851cfd2/moec/cuda/emu/internal/fp"
	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

func (c *compiler) opCvt(in *syntax.Instr) {
	if in.Has("pack") {
		c.cvtPack(in)
		return
	}
	dt, st := c.typ(1), c.typ(0)
	if eightOf(dt) != nil || eightOf(st) != nil {
		c.cvtEight(in, dt, st)
		return
	}
	if e, packed := element(dt); packed {
		c.cvtPacked(in, e)
		return
	}
	if dt == syntax.F32x2 || st == syntax.F32x2 || dt == syntax.B128 {
		c.fail("conversion between %s and %s is not supported", st, dt)
	}
	d, a := c.cvtDst(dt), c.cvtSrc(1, st)
	if !dt.Float() && !st.Float() && !in.Has("sat") {
		c.bitRule(d, []slot{a}, bitsOfConvert(st))
	}
	f := c.convert(in, dt, st)
	// A narrower signed result is sign-extended to the destination register.
	if dt.Signed() && d.class == class64 && dt.Size() < 8 {
		g := f
		f = func(a uint64) uint64 { return uint64(sext(g(a), dt.Size())) }
	} else if dt.Signed() && d.class == class32 && dt.Size() < 4 && d.bits > uint8(8*dt.Size()) {
		g := f
		f = func(a uint64) uint64 { return zext(uint64(sext(g(a), dt.Size())), int(d.bits)/8) }
	}
	var hot loop1
	if dt == syntax.F32 && st == syntax.BF16 {
		hot = func(d, a *lanes32) {
			for i := range d {
				d[i] = a[i] << 16
			}
		}
	}
	c.out.run = lift1(d, a, f, hot)
	if d.class == class64 && a.class == class32 && dt.Size() == 8 && !dt.Float() && !st.Float() {
		c.out.run = widen(d, a, st)
	}
}

// widen converts a 32-bit file integer to a 64-bit register.
func widen(d, a slot, st syntax.Type) exec {
	n := st.Size()
	signed := st.Signed()
	return func(w *warp, m uint32) {
		D, A := &w.r64[d.idx], &w.r32[a.idx]
		for ; m != 0; m &= m - 1 {
			i := bits.TrailingZeros32(m) & 31
			v := zext(uint64(A[i]), n)
			if signed {
				v = uint64(sext(v, n))
			}
			D[i] = v
		}
	}
}

// cvtDst allows a destination register wider than the type.
func (c *compiler) cvtDst(t syntax.Type) slot {
	o := c.arg(0)
	if o.Kind == syntax.KReg && c.fr.regs[o.Reg].class == class32 && t.Size() == 8 {
		c.fail("the destination is narrower than the type")
	}
	return c.dst(0, t)
}

// cvtSrc allows a source register wider than the type.
func (c *compiler) cvtSrc(i int, t syntax.Type) slot {
	s := c.value(c.arg(i), t)
	if s.class == classPred || t.Size() == 8 && s.class == class32 {
		c.fail("operand %d does not fit the type", i)
	}
	return c.read(s)
}

// convert is the scalar conversion from st to dt.
func (c *compiler) convert(in *syntax.Instr, dt, st syntax.Type) fn1 {
	switch {
	case dt.Float() && st.Float():
		return c.floatToFloat(in, dt, st)
	case dt.Float():
		return c.intToFloat(in, dt, st)
	case st.Float():
		return c.floatToInt(in, dt, st)
	}
	n, m := st.Size(), dt.Size()
	sat := in.Has("sat")
	return func(a uint64) uint64 {
		v := zext(a, n)
		if st.Signed() {
			v = uint64(sext(a, n))
		}
		if sat {
			v = saturateInt(v, st.Signed(), dt)
		}
		return zext(v, m)
	}
}

// saturateInt clamps a 64-bit integer to the range of an integer type.
func saturateInt(v uint64, signed bool, dt syntax.Type) uint64 {
	n := 8 * dt.Size()
	if dt.Signed() {
		hi := int64(1)<<(n-1) - 1
		if !signed && v > uint64(hi) {
			return uint64(hi)
		}
		return uint64(max(min(int64(v), hi), -hi-1))
	}
	if signed && int64(v) < 0 {
		return 0
	}
	if n < 64 {
		return min(v, 1<<n-1)
	}
	return v
}

// intRound is the rounding of a float to an integral value: .rni and so on.
func intRound(in *syntax.Instr) (func(float64) float64, bool) {
	switch {
	case in.Has("rni"):
		return math.RoundToEven, true
	case in.Has("rzi"):
		return math.Trunc, true
	case in.Has("rmi"):
		return math.Floor, true
	case in.Has("rpi"):
		return math.Ceil, true
	}
	return math.Trunc, false
}

func (c *compiler) floatToFloat(in *syntax.Instr, dt, st syntax.Type) fn1 {
	mode := roundMode(in)
	if in.Has("rna") {
		mode = fp.RNA
	}
	round, integral := intRound(in)
	sat, relu, ftz := in.Has("sat"), in.Has("relu"), in.Has("ftz")
	format := fp.Single
	switch dt {
	case syntax.F16:
		format = fp.Half
	case syntax.BF16:
		format = fp.BFloat
	case syntax.TF32:
		format = fp.TFloat32
	}
	narrow := dt != syntax.F64 && dt != st
	quick := !integral && !sat && !relu && !ftz && mode == fp.RN
	switch {
	case quick && st == syntax.F32 && dt == syntax.BF16:
		return func(a uint64) uint64 { return uint64(fp.ToBF16(f32(uint32(a)))) }
	case quick && st == syntax.BF16 && dt == syntax.F32: // the hardware shifts, NaN or not
		return func(a uint64) uint64 { return uint64(uint32(a) << 16) }
	case quick && st == syntax.F32 && dt == syntax.F16:
		return func(a uint64) uint64 { return uint64(fp.ToF16(f32(uint32(a)))) }
	}
	return func(a uint64) uint64 {
		x := decodeFloat(a, st)
		if ftz && st == syntax.F32 {
			x = float64(fp.Flush32(float32(x)))
		}
		if x != x {
			if sat {
				return 0
			}
			return nanOf(dt)
		}
		if integral {
			x = round(x)
		}
		if narrow && !integral {
			x = format.Round(x, mode)
		}
		x = clampFloat(x, sat, relu)
		if ftz && dt == syntax.F32 {
			x = float64(fp.Flush32(float32(x)))
		}
		return encodeFloat(x, dt)
	}
}

func (c *compiler) intToFloat(in *syntax.Instr, dt, st syntax.Type) fn1 {
	mode := roundMode(in)
	n := st.Size()
	sat := in.Has("sat")
	return func(a uint64) uint64 {
		neg := false
		v := zext(a, n)
		if st.Signed() && sext(a, n) < 0 {
			neg, v = true, uint64(-sext(a, n))
		}
		x := roundInt(v, neg, dt, mode)
		return encodeFloat(clampFloat(x, sat, false), dt)
	}
}

// roundInt converts a magnitude and sign to a float type with one rounding.
func roundInt(v uint64, neg bool, dt syntax.Type, mode fp.Mode) float64 {
	keep := map[syntax.Type]int{syntax.F64: 53, syntax.F32: 24, syntax.F16: 11, syntax.BF16: 8}[dt]
	if neg { // directed modes see the sign
		switch mode {
		case fp.RM:
			mode = fp.RP
		case fp.RP:
			mode = fp.RM
		}
	}
	drop := bits.Len64(v) - keep
	x := float64(v)
	if drop > 0 {
		q, rest, half := v>>drop, v&(1<<drop-1), uint64(1)<<(drop-1)
		if mode == fp.RP && rest != 0 || mode == fp.RN && (rest > half || rest == half && q&1 == 1) {
			q++
		}
		x = math.Ldexp(float64(q), drop)
	}
	if dt == syntax.F16 && x > 65504 {
		if mode == fp.RZ || mode == fp.RM {
			x = 65504
		} else {
			x = math.Inf(1)
		}
	}
	if neg {
		return -x
	}
	return x
}

func (c *compiler) floatToInt(in *syntax.Instr, dt, st syntax.Type) fn1 {
	round, _ := intRound(in)
	ftz := in.Has("ftz")
	n := 8 * dt.Size()
	return func(a uint64) uint64 {
		x := decodeFloat(a, st)
		if ftz && st == syntax.F32 {
			x = float64(fp.Flush32(float32(x)))
		}
		if x != x {
			// NaN gives 0, and for 64-bit results the sign bit alone.
			if n == 64 {
				return 1 << 63
			}
			return 0
		}
		x = round(x)
		if dt.Signed() {
			hi := math.Ldexp(1, n-1)
			switch {
			case x >= hi:
				return 1<<(n-1) - 1
			case x < -hi:
				return 1 << (n - 1)
			}
			return zext(uint64(int64(x)), dt.Size())
		}
		hi := math.Ldexp(1, n)
		switch {
		case x >= hi:
			return zext(^uint64(0), dt.Size())
		case x < 0:
			return 0
		}
		return uint64(x)
	}
}

// cvtPacked is cvt.f16x2.f32 d, a, b and its bf16 twin: a goes to the upper half.
func (c *compiler) cvtPacked(in *syntax.Instr, e syntax.Type) {
	if c.typ(0) != syntax.F32 || len(in.Args) != 3 {
		c.fail("only packed conversions from two f32 operands are supported")
	}
	f := c.floatToFloat(in, e, syntax.F32)
	d, a, b := c.dst(0, syntax.B32), c.src(1, syntax.F32), c.src(2, syntax.F32)
	c.out.run = lift2(d, a, b, func(a, b uint64) uint64 { return f(a)<<16 | f(b)&0xffff }, nil, nil)
}

// cvtPack is cvt.pack.sat: two integers into the low parts of d, above the
// low bits of a third operand shifted up.
func (c *compiler) cvtPack(in *syntax.Instr) {
	var types []syntax.Type
	for _, m := range in.Mods[1:] {
		if t := syntax.ParseType(m); t != syntax.None {
			types = append(types, t)
		}
	}
	if len(types) < 2 {
		c.fail("cvt.pack needs two types")
	}
	dt, st := types[0], types[1]
	w8 := 8 * dt.Size()
	d, a, b := c.dst(0, syntax.B32), c.src(1, st), c.src(2, st)
	f := func(a, b, e uint64) uint64 {
		x := zext(saturateInt(uint64(sext(a, 4)), true, dt), dt.Size())
		y := zext(saturateInt(uint64(sext(b, 4)), true, dt), dt.Size())
		return uint64(uint32(y | x<<w8 | e<<(2*w8)))
	}
	if len(in.Args) == 4 {
		c.out.run = lift3(d, a, b, c.src(3, syntax.B32), f, nil)
		return
	}
	c.out.run = lift2(d, a, b, func(a, b uint64) uint64 { return f(a, b, 0) }, nil, nil)
}
