package ptx

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Program is a chain of elementwise functions, computed in registers: the body of an elementwise kernel and
// the epilogue of a product. Values are numbered: first the inputs, then one per instruction. Floats of any
// storage format are computed in f32, f64 in itself, integers in 64 bits.
type Program struct {
	Inputs  []tensor.DType
	Body    []Instr
	Outputs []Result
}

// Instr applies Fn to earlier values. C holds the constants that the function takes, see the table of
// functions.
type Instr struct {
	Fn   Fn
	Args []int
	C    []float64
}

// Result stores a value in a format.
type Result struct {
	Value int
	DType tensor.DType
}

// In adds an input and returns its value's number; all inputs come before the first instruction.
func (p *Program) In(dt tensor.DType) int {
	if len(p.Body) > 0 {
		panic("ptx: program input after an instruction")
	}
	p.Inputs = append(p.Inputs, dt)
	return len(p.Inputs) - 1
}

// Do adds an instruction and returns its value's number.
func (p *Program) Do(fn Fn, args ...int) int { return p.DoC(fn, nil, args...) }

// DoC adds an instruction with constants.
func (p *Program) DoC(fn Fn, c []float64, args ...int) int {
	p.Body = append(p.Body, Instr{fn, args, c})
	return len(p.Inputs) + len(p.Body) - 1
}

// Out stores a value as the next output.
func (p *Program) Out(v int, dt tensor.DType) { p.Outputs = append(p.Outputs, Result{v, dt}) }

// kind is the register class of a value.
type kind uint8

const (
	floatKind kind = iota
	intKind
	boolKind
	doubleKind
)

func (k kind) String() string { return [...]string{"float", "int", "bool", "double"}[k] }

func kindOf(dt tensor.DType) (kind, error) {
	switch dt {
	case tensor.F32, tensor.F16, tensor.BF16:
		return floatKind, nil
	case tensor.I64, tensor.I32, tensor.U8, tensor.I8:
		return intKind, nil
	case tensor.Bool:
		return boolKind, nil
	case tensor.F64:
		return doubleKind, nil
	}
	return 0, fmt.Errorf("ptx: no kernel computes with %s", dt)
}

// value is one element in a register.
type value struct {
	kind kind
	f    asm.F32
	i    asm.U64
	p    asm.Pred
	d    asm.F64
}

// check types every value and finds unknown functions and wrong arguments.
func (p *Program) check() ([]kind, error) {
	var kinds []kind
	for _, dt := range p.Inputs {
		k, err := kindOf(dt)
		if err != nil {
			return nil, err
		}
		kinds = append(kinds, k)
	}
	for n, in := range p.Body {
		var ks []kind
		for _, a := range in.Args {
			if a < 0 || a >= len(p.Inputs)+n {
				return nil, fmt.Errorf("ptx: program: %s uses value %d before it exists", in.Fn, a)
			}
			ks = append(ks, kinds[a])
		}
		d, ok := lookup(in.Fn, ks)
		if !ok {
			return nil, fmt.Errorf("ptx: program: no function %q of %v", in.Fn, ks)
		}
		if len(in.Args) != d.args || len(in.C) != d.consts {
			return nil, fmt.Errorf("ptx: program: %s takes %d values and %d constants", in.Fn, d.args, d.consts)
		}
		out, ok := d.result(ks)
		if !ok {
			return nil, fmt.Errorf("ptx: program: %s does not take %v", in.Fn, ks)
		}
		kinds = append(kinds, out)
	}
	for _, o := range p.Outputs {
		if o.Value < 0 || o.Value >= len(kinds) {
			return nil, fmt.Errorf("ptx: program: output of value %d, which does not exist", o.Value)
		}
		if _, err := kindOf(o.DType); err != nil {
			return nil, err
		}
	}
	return kinds, nil
}

// Coord is the function that gives an element's coordinate along the dimension named by its constant; only
// elementwise kernels have coordinates.
const Coord Fn = "coord"

// usesCoord reports whether the program asks for coordinates.
func (p *Program) usesCoord() bool {
	for _, in := range p.Body {
		if in.Fn == Coord {
			return true
		}
	}
	return false
}

// emit computes the outputs from inputs held in registers; the program has been checked. coords are the
// element's coordinates, for programs that use them.
func (p *Program) emit(f *asm.Func, inputs []value, coords ...asm.U32) []value {
	vals := append([]value{}, inputs...)
	for _, in := range p.Body {
		if in.Fn == Coord {
			vals = append(vals, value{kind: intKind, i: coords[int(in.C[0])].Wide()})
			continue
		}
		args, ks := make([]value, len(in.Args)), make([]kind, len(in.Args))
		for i, a := range in.Args {
			args[i], ks[i] = vals[a], vals[a].kind
		}
		d, _ := lookup(in.Fn, ks)
		vals = append(vals, d.emit(f, args, in.C))
	}
	out := make([]value, len(p.Outputs))
	for i, o := range p.Outputs {
		out[i] = vals[o.Value]
	}
	return out
}

// load reads one element of the given format at base + i elements.
func load(base asm.U64, dt tensor.DType, off int) value {
	switch dt {
	case tensor.F32:
		return value{f: base.LdF32(off)}
	case tensor.F16:
		return value{f: base.LdU16(off).F16()}
	case tensor.BF16:
		return value{f: base.LdU16(off).BF16()}
	case tensor.I64:
		return value{kind: intKind, i: base.LdU64(off)}
	case tensor.I32:
		return value{kind: intKind, i: base.LdU32(off).WideS()}
	case tensor.U8:
		return value{kind: intKind, i: base.LdU8(off).Wide()}
	case tensor.I8:
		return value{kind: intKind, i: base.LdS8(off).WideS()}
	case tensor.Bool:
		return value{kind: boolKind, p: base.LdU8(off).NeI(0)}
	case tensor.F64:
		return value{kind: doubleKind, d: base.LdF64(off)}
	}
	panic("ptx: load of " + dt.String())
}

// loadF reads one float element, widened to f32.
func loadF(base asm.U64, dt tensor.DType, off int) asm.F32 { return load(base, dt, off).f }

// load4 reads four consecutive elements from an address aligned to four of them.
func load4(base asm.U64, dt tensor.DType) [4]value {
	var out [4]value
	switch dt {
	case tensor.F32:
		for i, v := range base.LdF32x4(0) {
			out[i].f = v
		}
	case tensor.F16, tensor.BF16:
		for i, w := range base.LdU32x2(0) {
			out[2*i].f, out[2*i+1].f = widenPair(w, dt)
		}
	default:
		for i := range out {
			out[i] = load(base, dt, i*dt.Size())
		}
	}
	return out
}

// widenPair splits a word of two 16-bit floats.
func widenPair(w asm.U32, dt tensor.DType) (lo, hi asm.F32) {
	if dt == tensor.BF16 {
		return w.ShlI(16).AsF32(), w.And(w.Func().Const(0xffff0000 - 1<<32)).AsF32()
	}
	l, h := w.Halves()
	return l.F16(), h.F16()
}

// store converts v and writes it at base+off bytes.
func store(f *asm.Func, base asm.U64, dt tensor.DType, off int, v value) {
	switch dt {
	case tensor.F32:
		base.StF32(off, asFloat(f, v))
	case tensor.F16:
		base.StU16(off, asFloat(f, v).F16())
	case tensor.BF16:
		base.StU16(off, asFloat(f, v).BF16())
	case tensor.I64:
		base.StU64(off, asInt(f, v))
	case tensor.I32:
		base.StU32(off, asInt(f, v).Low())
	case tensor.U8, tensor.I8:
		base.StU8(off, asInt(f, v).Low())
	case tensor.Bool:
		base.StU8(off, asBool(f, v).U32())
	case tensor.F64:
		base.StF64(off, asDouble(f, v))
	default:
		panic("ptx: store of " + dt.String())
	}
}

// storeF writes one float.
func storeF(f *asm.Func, base asm.U64, dt tensor.DType, off int, v asm.F32) {
	store(f, base, dt, off, value{f: v})
}

// packPair rounds two floats into a word of a 16-bit format.
func packPair(dt tensor.DType, lo, hi asm.F32) asm.U32 {
	if dt == tensor.BF16 {
		return asm.PackBF16(lo, hi)
	}
	return asm.PackF16(lo, hi)
}

// storeN writes 2 or 4 consecutive elements to an address aligned to all of them.
func storeN(f *asm.Func, base asm.U64, dt tensor.DType, v []value) {
	switch {
	case dt == tensor.F32 && len(v) == 4:
		base.StF32x4(0, [4]asm.F32{asFloat(f, v[0]), asFloat(f, v[1]), asFloat(f, v[2]), asFloat(f, v[3])})
	case dt == tensor.F32 && len(v) == 2:
		base.StF32x2(0, [2]asm.F32{asFloat(f, v[0]), asFloat(f, v[1])})
	case (dt == tensor.F16 || dt == tensor.BF16) && len(v) == 4:
		base.StU32x2(0, [2]asm.U32{
			packPair(dt, asFloat(f, v[0]), asFloat(f, v[1])),
			packPair(dt, asFloat(f, v[2]), asFloat(f, v[3])),
		})
	case (dt == tensor.F16 || dt == tensor.BF16) && len(v) == 2:
		base.StU32(0, packPair(dt, asFloat(f, v[0]), asFloat(f, v[1])))
	default:
		for i := range v {
			store(f, base, dt, i*dt.Size(), v[i])
		}
	}
}

func asFloat(f *asm.Func, v value) asm.F32 {
	switch v.kind {
	case intKind:
		return v.i.F32()
	case boolKind:
		return v.p.SelF32(f.ConstF(1), f.ConstF(0))
	case doubleKind:
		return v.d.F32()
	}
	return v.f
}

func asDouble(f *asm.Func, v value) asm.F64 {
	switch v.kind {
	case intKind:
		return v.i.F64()
	case boolKind:
		return v.p.SelF64(f.ConstD(1), f.ConstD(0))
	case floatKind:
		return v.f.F64()
	}
	return v.d
}

func asInt(f *asm.Func, v value) asm.U64 {
	switch v.kind {
	case floatKind:
		return v.f.S64()
	case boolKind:
		return v.p.SelU64(f.Const64(1), f.Const64(0))
	case doubleKind:
		return v.d.S64()
	}
	return v.i
}

func asBool(f *asm.Func, v value) asm.Pred {
	switch v.kind {
	case floatKind:
		return v.f.Eq(f.ConstF(0)).Not()
	case intKind:
		return v.i.Eq(f.Const64(0)).Not()
	case doubleKind:
		return v.d.Eq(f.ConstD(0)).Not()
	}
	return v.p
}
