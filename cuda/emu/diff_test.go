package emu_test

import (
	"encoding/binary"
	"fmt"
	"math/big"
	"math/bits"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/cuda/emu"
)

// rule is an instruction as the differential test knows it: its text, the
// widths of its operands (1 for a predicate), and what it computes.
type rule struct {
	op   string
	dst  int
	args []int
	eval func(a []uint64) uint64
	tail string   // trailing immediate operands
	sel  []string // part of each argument, such as ".b1"
	hint *format
	// payload marks results whose NaN bits are left open: double precision
	// keeps an operand's payload.
	payload bool
}

func rules() []rule {
	var out []rule
	add := func(r rule) { out = append(out, r) }
	for _, w := range []int{16, 32, 64} {
		for _, signed := range []bool{false, true} {
			t := fmt.Sprintf("u%d", w)
			if signed {
				t = fmt.Sprintf("s%d", w)
			}
			in := func(v uint64) *big.Int { return asInt(v, w, signed) }
			two := func(op string, f func(x, y *big.Int) *big.Int) {
				add(rule{op: op + "." + t, dst: w, args: []int{w, w}, eval: func(a []uint64) uint64 { return wrap(f(in(a[0]), in(a[1])), w) }})
			}
			n := func() *big.Int { return new(big.Int) }
			two("add", func(x, y *big.Int) *big.Int { return n().Add(x, y) })
			two("sub", func(x, y *big.Int) *big.Int { return n().Sub(x, y) })
			two("mul.lo", func(x, y *big.Int) *big.Int { return n().Mul(x, y) })
			two("mul.hi", func(x, y *big.Int) *big.Int { return n().Rsh(n().Mul(x, y), uint(w)) })
			two("min", func(x, y *big.Int) *big.Int {
				if x.Cmp(y) < 0 {
					return x
				}
				return y
			})
			two("max", func(x, y *big.Int) *big.Int {
				if x.Cmp(y) > 0 {
					return x
				}
				return y
			})
			two("div", func(x, y *big.Int) *big.Int {
				if y.Sign() == 0 {
					return big.NewInt(-1)
				}
				return n().Quo(x, y)
			})
			two("rem", func(x, y *big.Int) *big.Int {
				if y.Sign() == 0 {
					return x
				}
				return n().Rem(x, y)
			})
			add(rule{op: "mad.lo." + t, dst: w, args: []int{w, w, w}, eval: func(a []uint64) uint64 {
				return wrap(n().Add(n().Mul(in(a[0]), in(a[1])), in(a[2])), w)
			}})
			if w <= 32 {
				add(rule{op: "mul.wide." + t, dst: 2 * w, args: []int{w, w}, eval: func(a []uint64) uint64 { return wrap(n().Mul(in(a[0]), in(a[1])), 2*w) }})
				add(rule{op: "mad.wide." + t, dst: 2 * w, args: []int{w, w, 2 * w}, eval: func(a []uint64) uint64 {
					return wrap(n().Add(n().Mul(in(a[0]), in(a[1])), asInt(a[2], 2*w, signed)), 2*w)
				}})
			}
			if signed {
				add(rule{op: "neg." + t, dst: w, args: []int{w}, eval: func(a []uint64) uint64 { return wrap(n().Neg(in(a[0])), w) }})
				add(rule{op: "abs." + t, dst: w, args: []int{w}, eval: func(a []uint64) uint64 { return wrap(n().Abs(in(a[0])), w) }})
			}
			add(rule{op: "sad." + t, dst: w, args: []int{w, w, w}, eval: func(a []uint64) uint64 {
				return wrap(n().Add(n().Abs(n().Sub(in(a[0]), in(a[1]))), in(a[2])), w)
			}})
			add(rule{op: "shr." + t, dst: w, args: []int{w, 32}, eval: func(a []uint64) uint64 { return wrap(n().Rsh(in(a[0]), uint(uint32(a[1]))%4096), w) }, tail: "shift"})
			for _, c := range []string{"eq", "ne", "lt", "le", "gt", "ge"} {
				add(rule{op: "setp." + c + "." + t, dst: 1, args: []int{w, w}, eval: func(a []uint64) uint64 {
					k := in(a[0]).Cmp(in(a[1]))
					ok := map[string]bool{"eq": k == 0, "ne": k != 0, "lt": k < 0, "le": k <= 0, "gt": k > 0, "ge": k >= 0}[c]
					return b2u(ok)
				}})
			}
			for _, to := range []int{16, 32, 64} {
				for _, ts := range []string{"u", "s"} {
					add(rule{op: fmt.Sprintf("cvt.%s%d.%s", ts, to, t), dst: to, args: []int{w}, eval: func(a []uint64) uint64 { return wrap(in(a[0]), to) }})
				}
			}
			if w >= 32 {
				add(rule{op: "bfe." + t, dst: w, args: []int{w, 32, 32}, eval: func(a []uint64) uint64 { return refBfe(a, w, signed) }, tail: "field"})
			}
		}
		logic := func(op string, f func(x, y uint64) uint64) {
			add(rule{op: fmt.Sprintf("%s.b%d", op, w), dst: w, args: []int{w, w}, eval: func(a []uint64) uint64 { return f(a[0], a[1]) & mask(w) }})
		}
		logic("and", func(x, y uint64) uint64 { return x & y })
		logic("or", func(x, y uint64) uint64 { return x | y })
		logic("xor", func(x, y uint64) uint64 { return x ^ y })
		add(rule{op: fmt.Sprintf("not.b%d", w), dst: w, args: []int{w}, eval: func(a []uint64) uint64 { return ^a[0] & mask(w) }})
		add(rule{op: fmt.Sprintf("shl.b%d", w), dst: w, args: []int{w, 32}, eval: func(a []uint64) uint64 {
			return wrap(new(big.Int).Lsh(asInt(a[0], w, false), uint(uint32(a[1]))%4096), w)
		}, tail: "shift"})
		add(rule{op: fmt.Sprintf("selp.b%d", w), dst: w, args: []int{w, w, 1}, eval: func(a []uint64) uint64 {
			if a[2] != 0 {
				return a[0]
			}
			return a[1]
		}})
	}
	for _, w := range []int{32, 64} {
		add(rule{op: fmt.Sprintf("popc.b%d", w), dst: 32, args: []int{w}, eval: func(a []uint64) uint64 { return uint64(strings.Count(fmt.Sprintf("%b", a[0]), "1")) }})
		add(rule{op: fmt.Sprintf("clz.b%d", w), dst: 32, args: []int{w}, eval: func(a []uint64) uint64 { return uint64(w - bits.Len64(a[0])) }})
		add(rule{op: fmt.Sprintf("brev.b%d", w), dst: w, args: []int{w}, eval: func(a []uint64) uint64 {
			var r uint64
			for i := range w {
				r |= a[0] >> i & 1 << (w - 1 - i)
			}
			return r
		}})
		add(rule{op: fmt.Sprintf("bfi.b%d", w), dst: w, args: []int{w, w, 32, 32}, eval: func(a []uint64) uint64 {
			p, n := a[2]&255, a[3]&255
			r := a[1]
			for i := uint64(0); i < n && p+i < uint64(w); i++ {
				r &^= 1 << (p + i)
				r |= a[0] >> i & 1 << (p + i)
			}
			return r
		}, tail: "field"})
	}
	add(rule{op: "prmt.b32", dst: 32, args: []int{32, 32, 32}, eval: refPrmt})
	for _, lut := range []int{0x96, 0xe8, 0xca, 0x1b, 0x80} {
		add(rule{op: "lop3.b32", dst: 32, args: []int{32, 32, 32}, tail: fmt.Sprint(lut), eval: func(a []uint64) uint64 {
			var r uint64
			for i := range 32 {
				k := a[0]>>i&1<<2 | a[1]>>i&1<<1 | a[2]>>i&1
				r |= uint64(lut) >> k & 1 << i
			}
			return r
		}})
	}
	for _, dir := range []string{"l", "r"} {
		for _, how := range []string{"wrap", "clamp"} {
			add(rule{op: "shf." + dir + "." + how + ".b32", dst: 32, args: []int{32, 32, 32}, tail: "shift", eval: func(a []uint64) uint64 {
				n := a[2]
				if how == "wrap" {
					n %= 32
				} else if n > 32 {
					n = 32
				}
				v := new(big.Int).SetUint64(a[1]<<32 | a[0])
				if dir == "l" {
					return wrap(v.Rsh(v.Lsh(v, uint(n)), 32), 32)
				}
				return wrap(v.Rsh(v, uint(n)), 32)
			}})
		}
	}
	for _, s := range []string{"u32.u32", "s32.s32", "u32.s32", "s32.u32"} {
		add(rule{op: "dp4a." + s, dst: 32, args: []int{32, 32, 32}, eval: func(a []uint64) uint64 {
			sum := new(big.Int).SetUint64(a[2])
			for i := range 4 {
				x := asInt(a[0]>>(8*i)&255, 8, s[0] == 's')
				y := asInt(a[1]>>(8*i)&255, 8, s[4] == 's')
				sum.Add(sum, new(big.Int).Mul(x, y))
			}
			return wrap(sum, 32)
		}})
	}
	out = append(out, floatRules()...)
	out = append(out, eightRules()...)
	return append(out, videoRules()...)
}

func floatRules() []rule {
	var out []rule
	formats := []struct {
		name  string
		f     format
		modes []string
	}{
		{"f32", fmtF32, []string{"rn", "rz", "rm", "rp"}},
		{"f64", fmtF64, []string{"rn", "rz", "rm", "rp"}},
		{"f16", fmtF16, []string{"rn"}},
		{"bf16", fmtBF16, []string{"rn"}},
	}
	for _, x := range formats {
		f, w := x.f, x.f.bits
		for _, mode := range x.modes {
			for _, op := range []string{"add", "sub", "mul", "div"} {
				if op == "div" && w == 16 {
					continue
				}
				out = append(out, rule{op: op + "." + mode + "." + x.name, dst: w, args: []int{w, w}, hint: &f, payload: w == 64, eval: func(a []uint64) uint64 { return refArith(op, mode, f, a[0], a[1], 0) }})
			}
			out = append(out, rule{op: "fma." + mode + "." + x.name, dst: w, args: []int{w, w, w}, hint: &f, payload: w == 64, eval: func(a []uint64) uint64 { return refArith("fma", mode, f, a[0], a[1], a[2]) }})
		}
		for _, c := range []string{"eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"} {
			out = append(out, rule{op: "setp." + c + "." + x.name, dst: 1, args: []int{w, w}, hint: &f, eval: func(a []uint64) uint64 { return b2u(refCompare(c, f, a[0], a[1])) }})
		}
		out = append(out,
			rule{op: "neg." + x.name, dst: w, args: []int{w}, hint: &f, eval: func(a []uint64) uint64 { return a[0] ^ f.sign() }},
			rule{op: "abs." + x.name, dst: w, args: []int{w}, hint: &f, eval: func(a []uint64) uint64 { return a[0] &^ f.sign() }},
			rule{op: "max." + x.name, dst: w, args: []int{w, w}, hint: &f, eval: func(a []uint64) uint64 { return refMinMax(f, a[0], a[1], true) }},
			rule{op: "min." + x.name, dst: w, args: []int{w, w}, hint: &f, eval: func(a []uint64) uint64 { return refMinMax(f, a[0], a[1], false) }})
		for _, y := range formats {
			if y.f == x.f || y.f.bits == 16 && w == 16 {
				continue
			}
			from := y.f
			if w > from.bits {
				out = append(out, rule{op: "cvt." + x.name + "." + y.name, dst: w, args: []int{from.bits}, hint: &from, eval: func(a []uint64) uint64 {
					if x.name == "f32" && y.name == "bf16" {
						return a[0] << 16 // a bfloat16 is a float32's upper half, NaNs included
					}
					return refConvert(f, from, "rn", a[0])
				}})
				continue
			}
			for _, mode := range x.modes {
				out = append(out, rule{op: "cvt." + mode + "." + x.name + "." + y.name, dst: w, args: []int{from.bits}, hint: &from, eval: func(a []uint64) uint64 { return refConvert(f, from, mode, a[0]) }})
			}
		}
		if x.name == "bf16" {
			continue
		}
		for _, iw := range []int{16, 32, 64} {
			for _, signed := range []bool{false, true} {
				t := fmt.Sprintf("%s%d", map[bool]string{false: "u", true: "s"}[signed], iw)
				for _, mode := range []string{"rni", "rzi", "rmi", "rpi"} {
					out = append(out, rule{op: "cvt." + mode + "." + t + "." + x.name, dst: iw, args: []int{w}, hint: &f, eval: func(a []uint64) uint64 { return refToInt(f, mode, iw, signed, a[0]) }})
				}
				for _, mode := range x.modes {
					out = append(out, rule{op: "cvt." + mode + "." + x.name + "." + t, dst: w, args: []int{iw}, eval: func(a []uint64) uint64 { return refFromInt(f, mode, iw, signed, a[0]) }})
				}
			}
		}
	}
	return out
}

func refMinMax(f format, a, b uint64, isMax bool) uint64 {
	switch {
	case f.isNaN(a) && f.isNaN(b):
		return f.nan()
	case f.isNaN(a):
		return b
	case f.isNaN(b):
		return a
	}
	order := func(v uint64) int64 { // monotone in the value, -0 below +0
		if f.neg(v) {
			return -int64(v&^f.sign()) - 1
		}
		return int64(v)
	}
	if (order(a) > order(b)) == isMax {
		return a
	}
	return b
}

func refBfe(a []uint64, w int, signed bool) uint64 {
	p, n := int(a[1]&255), int(a[2]&255)
	var sbit uint64
	if signed && n > 0 {
		sbit = a[0] >> min(p+n-1, w-1) & 1
	}
	var r uint64
	for i := range w {
		b := sbit
		if i < n && p+i < w {
			b = a[0] >> (p + i) & 1
		}
		r |= b << i
	}
	return r
}

func refPrmt(a []uint64) uint64 {
	src := binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, uint32(a[0])), uint32(a[1]))
	var r uint64
	for i := range 4 {
		sel := a[2] >> (4 * i) & 15
		b := uint64(src[sel&7])
		if sel&8 != 0 {
			b = b >> 7 * 255
		}
		r |= b << (8 * i)
	}
	return r
}

func b2u(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}

func mask(w int) uint64 { return ^uint64(0) >> (64 - w) }

// interesting draws bits of a width: corner values of the format they will be
// read as, small integers, or anything.
func interesting(rng *rand.Rand, w int, f *format) uint64 {
	if w == 1 {
		return rng.Uint64() & 1
	}
	if f != nil && rng.IntN(4) > 0 {
		pick := []uint64{0, f.sign(), f.inf(), f.inf() | f.sign(), f.nan(), 1, f.inf() - 1, 1 << f.mant, 1<<f.mant - 1}
		switch rng.IntN(3) {
		case 0:
			return pick[rng.IntN(len(pick))]
		default: // exponents near one another, so that sums round
			e := uint64(f.bias + rng.IntN(2*f.mant) - f.mant)
			return rng.Uint64()&(1<<f.mant-1) | e<<f.mant&f.inf() | rng.Uint64()&f.sign()
		}
	}
	switch rng.IntN(4) {
	case 0:
		return uint64(rng.IntN(70)) & mask(w)
	case 1:
		return uint64(-int64(rng.IntN(70))) & mask(w)
	case 2:
		return uint64(1) << rng.IntN(w) & mask(w)
	}
	return rng.Uint64() & mask(w)
}

// program is a random straight-line program and what each lane must store.
type program struct {
	text  string
	input [][32]uint64 // values the lanes load, in order
	width []int
	want  [][32]uint64 // values they store
	op    []string
	open  []bool // NaN payload left open
}

var regPrefix = map[int]string{1: "%p", 16: "%h", 32: "%r", 64: "%d"}

func randomProgram(seed uint64, length int) *program {
	rng := rand.New(rand.NewPCG(seed, 7))
	all := rules()
	p := &program{}
	var body strings.Builder
	next := map[int]int{}
	fresh := func(w int) string {
		next[w]++
		return fmt.Sprintf("%s%d", regPrefix[w], next[w])
	}
	type reg struct {
		name string
		val  [32]uint64
	}
	have := map[int][]reg{}
	load := func(w int, f *format, tail string) reg {
		r := reg{name: fresh(w)}
		for i := range r.val {
			r.val[i] = interesting(rng, w, f)
			if tail == "shift" || tail == "field" {
				r.val[i] = uint64(rng.IntN(80))
			}
		}
		at := 256 * len(p.input)
		p.input = append(p.input, r.val)
		if w == 1 {
			t := fresh(32)
			fmt.Fprintf(&body, "ld.global.u32 %s, [%%in+%d]; setp.ne.u32 %s, %s, 0;\n", t, at, r.name, t)
		} else {
			fmt.Fprintf(&body, "ld.global.b%d %s, [%%in+%d];\n", w, r.name, at)
		}
		have[w] = append(have[w], r)
		return r
	}
	for range length {
		ru := all[rng.IntN(len(all))]
		var args []reg
		for k, w := range ru.args {
			tail := ""
			if k > 0 && w == 32 && (ru.tail == "shift" && k == len(ru.args)-1 || ru.tail == "field" && k >= len(ru.args)-2) {
				tail = ru.tail
			}
			if pool := have[w]; tail == "" && len(pool) > 0 && rng.IntN(3) == 0 {
				args = append(args, pool[rng.IntN(len(pool))])
			} else {
				args = append(args, load(w, ru.hint, tail))
			}
		}
		d := reg{name: fresh(ru.dst)}
		names := make([]string, len(args))
		for i := range d.val {
			vals := make([]uint64, len(args))
			for k, a := range args {
				vals[k] = a.val[i]
				names[k] = a.name
				if k < len(ru.sel) {
					names[k] += ru.sel[k]
				}
			}
			d.val[i] = ru.eval(vals)
		}
		tail := ru.tail
		if tail == "shift" || tail == "field" {
			tail = ""
		} else if tail != "" {
			tail = ", " + tail
		}
		// Under a guard, the other lanes keep what the register held before.
		line := fmt.Sprintf("%s %s, %s%s;", ru.op, d.name, strings.Join(names, ", "), tail)
		if pool := have[1]; ru.dst != 1 && len(pool) > 0 && rng.IntN(4) == 0 {
			g := pool[rng.IntN(len(pool))]
			fmt.Fprintf(&body, "mov.b%d %s, 5;\n", ru.dst, d.name)
			line = "@!" + g.name + " " + line
			for i := range d.val {
				if g.val[i] != 0 {
					d.val[i] = 5
				}
			}
		}
		body.WriteString(line + "\n")
		if !ru.payload {
			have[ru.dst] = append(have[ru.dst], d)
		}
		p.open = append(p.open, ru.payload)
		at := 256 * len(p.want)
		if ru.dst == 1 {
			t := fresh(32)
			fmt.Fprintf(&body, "selp.u32 %s, 1, 0, %s; st.global.u32 [%%out+%d], %s;\n", t, d.name, at, t)
		} else {
			fmt.Fprintf(&body, "st.global.b%d [%%out+%d], %s;\n", ru.dst, at, d.name)
		}
		p.want, p.width, p.op = append(p.want, d.val), append(p.width, ru.dst), append(p.op, line)
	}
	p.text = fmt.Sprintf(`.version 7.8
.target sm_90
.address_size 64
.visible .entry k(.param .u64 out, .param .u64 in)
{
.reg .pred %%p<%d>; .reg .b16 %%h<%d>; .reg .b32 %%r<%d>; .reg .b64 %%d<%d>; .reg .b64 %%in, %%out, %%t; .reg .b32 %%lane;
ld.param.u64 %%out, [out]; ld.param.u64 %%in, [in];
mov.u32 %%lane, %%laneid; mul.wide.u32 %%t, %%lane, 8; add.u64 %%in, %%in, %%t; add.u64 %%out, %%out, %%t;
%sret;
}
`, next[1]+1, next[16]+1, next[32]+1, next[64]+1, body.String())
	return p
}

func (p *program) check(t *testing.T) {
	t.Helper()
	mod, err := emu.Parse(p.text)
	if err != nil {
		t.Fatalf("%v\n%s", err, p.text)
	}
	dev := emu.NewDevice(emu.Options{Checks: emu.AllChecks})
	in, _ := dev.Alloc(256*len(p.input) + 8)
	out, _ := dev.Alloc(256 * len(p.want))
	var raw []byte
	for _, v := range p.input {
		for _, x := range v {
			raw = binary.LittleEndian.AppendUint64(raw, x)
		}
	}
	if err := dev.CopyIn(in, raw); err != nil {
		t.Fatal(err)
	}
	if err := dev.Memset(out, []byte{0}, 256*len(p.want)); err != nil {
		t.Fatal(err)
	}
	if _, err := dev.Launch(t.Context(), mod, "k", emu.Launch{Block: [3]int{32}, Args: []any{out, in}}); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 256*len(p.want))
	if err := dev.CopyOut(got, out); err != nil {
		t.Fatal(err)
	}
	for i, want := range p.want {
		for lane, x := range want {
			if g := binary.LittleEndian.Uint64(got[256*i+8*lane:]); g != x && !(p.open[i] && fmtF64.isNaN(g) && fmtF64.isNaN(x)) {
				t.Errorf("%s, lane %d: %#x, expected %#x", p.op[i], lane, g, x)
				break
			}
		}
	}
}

// TestDifferential holds random programs against the plain evaluation.
func TestDifferential(t *testing.T) {
	n := uint64(90)
	if testing.Short() {
		n = 10
	}
	for seed := range n {
		randomProgram(seed, 40).check(t)
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func FuzzDifferential(f *testing.F) {
	f.Add(uint64(1), 20)
	f.Fuzz(func(t *testing.T, seed uint64, length int) {
		randomProgram(seed, max(min(length, 200), 1)).check(t)
	})
}
