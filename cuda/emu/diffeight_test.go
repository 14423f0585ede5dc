package emu_test

import (
	"fmt"
	"math"
)

// refEight rounds to an 8-bit float of e exponent and m mantissa bits by
// looking for the nearest of its numbers; ties go to the even pattern, what is
// too large to the largest number.
func refEight(e, m int, x float64) uint64 {
	if x != x {
		return 0x7f
	}
	var sign uint64
	if math.Signbit(x) {
		sign, x = 0x80, -x
	}
	if !math.IsInf(x, 0) {
		x = math.Min(x, 1<<20) // beyond every number, and near enough to tell the last two apart
	}
	best, dist := uint64(0), math.Inf(1)
	for code := range uint64(128) {
		v := eightValue(e, m, code)
		if v != v || math.IsInf(v, 0) {
			continue
		}
		if math.IsInf(x, 1) {
			best = code // the last is the largest
			continue
		}
		if d := math.Abs(x - v); d < dist || d == dist && code&1 == 0 {
			best, dist = code, d
		}
	}
	return sign | best
}

// eightValue is the number that a pattern stands for.
func eightValue(e, m int, code uint64) float64 {
	exp, mant := int(code>>m)&(1<<e-1), float64(code&(1<<m-1))/float64(int(1)<<m)
	bias := 1<<(e-1) - 1
	var v float64
	switch {
	case e == 4 && code&0x7f == 0x7f, e == 5 && exp == 31 && mant != 0:
		return math.NaN()
	case e == 5 && exp == 31:
		v = math.Inf(1)
	case exp == 0:
		v = math.Ldexp(mant, 1-bias)
	default:
		v = math.Ldexp(1+mant, exp-bias)
	}
	if code&0x80 != 0 {
		return -v
	}
	return v
}

func eightRules() []rule {
	var out []rule
	f32, f16 := fmtF32, fmtF16
	value := func(v uint64) float64 { return float64(math.Float32frombits(uint32(v))) }
	half := func(v uint64) float64 { return value(refConvert(fmtF32, fmtF16, "rn", v&0xffff)) }
	relu := func(x float64) float64 {
		if x < 0 {
			return 0
		}
		return x
	}
	for _, t := range []struct {
		name string
		e, m int
	}{{"e4m3x2", 4, 3}, {"e5m2x2", 5, 2}} {
		enc := func(x float64) uint64 { return refEight(t.e, t.m, x) }
		out = append(out,
			rule{op: "cvt.rn.satfinite." + t.name + ".f32", dst: 16, args: []int{32, 32}, hint: &f32, eval: func(a []uint64) uint64 { return enc(value(a[0]))<<8 | enc(value(a[1])) }},
			rule{op: "cvt.rn.satfinite." + t.name + ".f16x2", dst: 16, args: []int{32}, hint: &f16, eval: func(a []uint64) uint64 { return enc(half(a[0]>>16))<<8 | enc(half(a[0])) }},
			rule{op: "cvt.rn.f16x2." + t.name, dst: 32, args: []int{16}, eval: func(a []uint64) uint64 {
				one := func(b uint64) uint64 {
					return refConvert(fmtF16, fmtF64, "rn", math.Float64bits(eightValue(t.e, t.m, b&255)))
				}
				return one(a[0]>>8)<<16 | one(a[0])
			}},
			rule{op: "cvt.rn.satfinite.relu." + t.name + ".f32", dst: 16, args: []int{32, 32}, hint: &f32, eval: func(a []uint64) uint64 {
				pos := func(v uint64) uint64 { // a minus zero may stay or become plus zero
					if r := enc(relu(value(v))); r != 0x80 {
						return r
					}
					return 0
				}
				return pos(a[0])<<8 | pos(a[1])
			}})
	}
	for _, t := range []string{"u16x2", "s16x2"} {
		ext := func(v uint64) int64 {
			if t[0] == 's' {
				return int64(int16(v))
			}
			return int64(uint16(v))
		}
		for op, f := range map[string]func(x, y int64) int64{
			"add": func(x, y int64) int64 { return x + y }, "min": func(x, y int64) int64 { return min(x, y) }, "max": func(x, y int64) int64 { return max(x, y) },
		} {
			out = append(out, rule{op: op + "." + t, dst: 32, args: []int{32, 32}, eval: func(a []uint64) uint64 {
				return uint64(uint16(f(ext(a[0]), ext(a[1])))) | uint64(uint16(f(ext(a[0]>>16), ext(a[1]>>16))))<<16
			}})
		}
	}
	return out
}

// videoRules are the scalar and SIMD video instructions.
func videoRules() []rule {
	var out []rule
	ops := []struct {
		name string
		f    func(a, b int64) int64
	}{
		{"vadd", func(a, b int64) int64 { return a + b }},
		{"vsub", func(a, b int64) int64 { return a - b }},
		{"vabsdiff", func(a, b int64) int64 { return max(a-b, b-a) }},
		{"vmin", func(a, b int64) int64 { return min(a, b) }},
		{"vmax", func(a, b int64) int64 { return max(a, b) }},
	}
	part := func(v uint64, at, n int, signed bool) int64 {
		v = v >> at & (1<<n - 1)
		if signed && v>>(n-1) != 0 {
			return int64(v) - 1<<n
		}
		return int64(v)
	}
	clamp := func(v int64, n int, signed bool) int64 {
		lo, hi := int64(0), int64(1)<<n-1
		if signed {
			lo, hi = -1<<(n-1), 1<<(n-1)-1
		}
		return max(lo, min(hi, v))
	}
	types := map[string]bool{"u32": false, "s32": true}
	for _, o := range ops {
		for td, sd := range types {
			for ta, sa := range types {
				for tb, sb := range types {
					if sd != sa && sa == sb || sd == sa && sa != sb { // four of the eight combinations will do
						continue
					}
					for _, sel := range []struct {
						a, b             string
						atA, nA, atB, nB int
					}{{"", "", 0, 32, 0, 32}, {".b2", ".h1", 16, 8, 16, 16}, {".h0", ".b3", 0, 16, 24, 8}} {
						for _, sat := range []bool{false, true} {
							op := fmt.Sprintf("%s.%s.%s.%s", o.name, td, ta, tb)
							if sat {
								op += ".sat"
							}
							value := func(a []uint64) int64 {
								v := o.f(part(a[0], sel.atA, sel.nA, sa), part(a[1], sel.atB, sel.nB, sb))
								if sat {
									v = clamp(v, 32, sd)
								}
								return part(uint64(v), 0, 32, sd)
							}
							out = append(out,
								rule{op: op, dst: 32, args: []int{32, 32}, sel: []string{sel.a, sel.b}, eval: func(a []uint64) uint64 { return uint64(uint32(value(a))) }},
								rule{op: op + ".add", dst: 32, args: []int{32, 32, 32}, sel: []string{sel.a, sel.b}, eval: func(a []uint64) uint64 { return uint64(uint32(value(a) + int64(a[2]))) }},
								rule{op: op + ".min", dst: 32, args: []int{32, 32, 32}, sel: []string{sel.a, sel.b}, eval: func(a []uint64) uint64 {
									return uint64(uint32(min(value(a), part(a[2], 0, 32, sd))))
								}})
						}
					}
					for _, lanes := range []int{2, 4} {
						n := 32 / lanes
						for _, sat := range []bool{false, true} {
							op := fmt.Sprintf("%s%d.%s.%s.%s", o.name, lanes, td, ta, tb)
							if sat {
								op += ".sat"
							}
							out = append(out, rule{op: op, dst: 32, args: []int{32, 32, 32}, eval: func(a []uint64) uint64 {
								var r uint64
								for i := range lanes {
									v := o.f(part(a[0], n*i, n, sa), part(a[1], n*i, n, sb))
									if sat {
										v = clamp(v, n, sd)
									}
									r |= uint64(v) & (1<<n - 1) << (n * i)
								}
								return r
							}})
						}
						out = append(out, rule{op: fmt.Sprintf("%s%d.%s.%s.%s.add", o.name, lanes, td, ta, tb), dst: 32, args: []int{32, 32, 32}, eval: func(a []uint64) uint64 {
							sum := int64(a[2])
							for i := range lanes {
								sum += o.f(part(a[0], n*i, n, sa), part(a[1], n*i, n, sb))
							}
							return uint64(uint32(sum))
						}})
					}
				}
			}
		}
	}
	return out
}
