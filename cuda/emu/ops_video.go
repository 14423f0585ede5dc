package emu

import (
	"strings"

	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

// The video instructions work on bytes, halves or whole words. The scalar
// ones (vadd and its kin) select one part of each operand; the SIMD ones
// (vadd2, vadd4 and so on) take two halves or four bytes at once.

// part is the part of a register that a selector names: its first byte and size.
type part struct{ at, size int }

// selector reads ".b2" or ".h1", a whole register when there is none.
func (c *compiler) selector(sel string) part {
	if sel == "" {
		return part{0, 4}
	}
	n := map[byte]int{'b': 1, 'h': 2}[sel[0]]
	if len(sel) != 2 || n == 0 || int(sel[1]-'0')*n >= 4 {
		c.fail("selector .%s is not supported", sel)
	}
	return part{int(sel[1]-'0') * n, n}
}

func (p part) get(v uint64, signed bool) int64 {
	v >>= 8 * p.at
	if signed {
		return sext(v, p.size)
	}
	return int64(zext(v, p.size))
}

// clampPart saturates a value to a part's range, or cuts it off.
func (p part) clamp(v int64, signed, sat bool) int64 {
	if sat {
		lo, hi := int64(0), int64(1)<<(8*p.size)-1
		if signed {
			lo, hi = -1<<(8*p.size-1), 1<<(8*p.size-1)-1
		}
		return max(min(v, hi), lo)
	}
	if signed {
		return sext(uint64(v), p.size)
	}
	return int64(zext(uint64(v), p.size))
}

// videoSource is operand i without its selector.
func (c *compiler) videoSource(i int) (slot, part) {
	o := c.arg(i)
	p := c.selector(o.Sel)
	o.Sel = ""
	return c.read(c.value(o, syntax.B32)), p
}

// videoFn is what an instruction computes of two extended operands.
func (c *compiler) videoFn(op string, in *syntax.Instr) func(a, b int64) int64 {
	switch op {
	case "vadd":
		return func(a, b int64) int64 { return a + b }
	case "vsub":
		return func(a, b int64) int64 { return a - b }
	case "vabsdiff":
		return func(a, b int64) int64 { return max(a-b, b-a) }
	case "vmin":
		return func(a, b int64) int64 { return min(a, b) }
	case "vmax":
		return func(a, b int64) int64 { return max(a, b) }
	case "vavrg":
		return func(a, b int64) int64 {
			if a+b >= 0 {
				return (a + b + 1) >> 1
			}
			return (a + b) >> 1
		}
	case "vshl", "vshr":
		wrap := in.Has("wrap")
		return func(a, b int64) int64 {
			n := uint32(b)
			if wrap {
				n &= 31
			}
			n = min(n, 32)
			if op == "vshl" {
				return a << n
			}
			return a >> n
		}
	case "vset":
		for name, f := range map[string]func(a, b int64) bool{
			"eq": func(a, b int64) bool { return a == b }, "ne": func(a, b int64) bool { return a != b },
			"lt": func(a, b int64) bool { return a < b }, "le": func(a, b int64) bool { return a <= b },
			"gt": func(a, b int64) bool { return a > b }, "ge": func(a, b int64) bool { return a >= b },
		} {
			if in.Has(name) {
				return func(a, b int64) int64 { return int64(bit(f(a, b))) }
			}
		}
	}
	c.fail("unknown video instruction")
	return nil
}

// videoTypes are the types of d, a and b; vset has only the last two.
func (c *compiler) videoTypes(in *syntax.Instr) (d, a, b bool) {
	var signed []bool
	for _, m := range in.Mods[1:] {
		if t := syntax.ParseType(m); t == syntax.S32 || t == syntax.U32 {
			signed = append(signed, t.Signed())
		}
	}
	switch len(signed) {
	case 2:
		return false, signed[0], signed[1]
	case 3:
		return signed[0], signed[1], signed[2]
	}
	c.fail("malformed types")
	return
}

// opVideo decodes the scalar instructions and, by the digit at their end, the SIMD ones.
func (c *compiler) opVideo(in *syntax.Instr) {
	op := in.Mods[0]
	if base := strings.TrimRight(op, "24"); base != op {
		c.videoSIMD(in, base, int(op[len(op)-1]-'0'))
		return
	}
	sd, sa, sb := c.videoTypes(in)
	f := c.videoFn(op, in)
	dst := c.arg(0)
	dp := c.selector(dst.Sel)
	merge := dst.Sel != ""
	dst.Sel = ""
	a, pa := c.videoSource(1)
	b, pb := c.videoSource(2)
	e := a
	if len(in.Args) == 4 {
		e, _ = c.videoSource(3)
	} else if merge {
		c.fail("the operand to merge into is missing")
	}
	second := ""
	if len(in.Args) == 4 && !merge {
		for _, m := range in.Mods[len(in.Mods)-1:] {
			if m == "add" || m == "min" || m == "max" {
				second = m
			}
		}
		if second == "" {
			c.fail("unknown secondary operation")
		}
	}
	sat := in.Has("sat")
	d := c.dstOperand(dst, syntax.B32)
	c.out.run = lift3(d, a, b, e, func(x, y, z uint64) uint64 {
		v := dp.clamp(f(pa.get(x, sa), pb.get(y, sb)), sd, sat)
		if merge {
			m := zext(^uint64(0), dp.size) << (8 * dp.at)
			return z&^m&0xffffffff | uint64(v)<<(8*dp.at)&m
		}
		w := part{0, 4}.get(z, sd)
		switch second {
		case "add":
			v += w
		case "min":
			v = min(v, w)
		case "max":
			v = max(v, w)
		}
		return uint64(uint32(v))
	}, nil)
}

// videoSIMD works on n parts of each operand; with .add it sums the results
// onto the last operand.
func (c *compiler) videoSIMD(in *syntax.Instr, op string, n int) {
	for _, o := range in.Args {
		if o.Sel != "" {
			c.fail("selectors of SIMD video instructions are not supported")
		}
	}
	sd, sa, sb := c.videoTypes(in)
	f := c.videoFn(op, in)
	sat, add := in.Has("sat"), in.Has("add")
	d, a, b := c.dst(0, syntax.B32), c.src(1, syntax.B32), c.src(2, syntax.B32)
	e := a
	if add {
		e = c.src(3, syntax.B32)
	}
	c.out.run = lift3(d, a, b, e, func(x, y, z uint64) uint64 {
		var r, sum uint64
		for i := range n {
			p := part{4 / n * i, 4 / n}
			v := f(p.get(x, sa), p.get(y, sb))
			sum += uint64(v)
			r |= zext(uint64(p.clamp(v, sd, sat)), p.size) << (8 * p.at)
		}
		if add {
			return uint64(uint32(z + sum))
		}
		return r
	}, nil)
}

// opVmad is vmad: the product of two parts plus a word, scaled down.
func (c *compiler) opVmad(in *syntax.Instr) {
	sd, sa, sb := c.videoTypes(in)
	sat, po := in.Has("sat"), int64(bit(in.Has("po")))
	shift := 0
	switch {
	case in.Has("shr7"):
		shift = 7
	case in.Has("shr15"):
		shift = 15
	}
	a, pa := c.videoSource(1)
	b, pb := c.videoSource(2)
	e := c.src(3, syntax.B32)
	signed := sa || sb || sd
	c.out.run = lift3(c.dst(0, syntax.B32), a, b, e, func(x, y, z uint64) uint64 {
		v := pa.get(x, sa)*pb.get(y, sb) + part{0, 4}.get(z, signed) + po
		return uint64(uint32(part{0, 4}.clamp(v>>shift, sd, sat)))
	}, nil)
}
