package ptx

import (
	"github.com/seed-c851cfd2/moec/codegen/ptx/asm"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Kernels for element types that nothing hot has (f64, integers) are written over values of any kind: one thread per
// result, which it accumulates alone and in order.

// number is the constant x of a kind.
func (b *builder) number(k kind, x float64) value {
	switch k {
	case intKind:
		return value{kind: k, i: b.Const64(int64(x))}
	case boolKind:
		return value{kind: k, p: b.Bool(x != 0)}
	case doubleKind:
		return value{kind: k, d: b.ConstD(x)}
	}
	return value{f: b.ConstF(float32(x))}
}

// do applies a function of the Programs' table, which must have it for these kinds.
func (b *builder) do(fn Fn, args ...value) value {
	ks := make([]kind, len(args))
	for i, a := range args {
		ks[i] = a.kind
	}
	d, ok := lookup(fn, ks)
	if !ok {
		panic("ptx: no function " + string(fn))
	}
	return d.emit(b.Func, args, nil)
}

// variable is a fresh register that starts as v; there are none of bool.
func (v value) variable(name string) value {
	switch v.kind {
	case intKind:
		v.i = v.i.Var(name)
	case doubleKind:
		v.d = v.d.Var(name)
	case floatKind:
		v.f = v.f.Var(name)
	default:
		panic("ptx: a bool cannot vary")
	}
	return v
}

// set assigns to a variable of the same kind.
func (v value) set(w value) {
	switch v.kind {
	case intKind:
		v.i.Set(w.i)
	case doubleKind:
		v.d.Set(w.d)
	default:
		v.f.Set(w.f)
	}
}

// choose is a where p holds and c elsewhere.
func (b *builder) choose(p asm.Pred, a, c value) value {
	return b.do("where", value{kind: boolKind, p: p}, a, c)
}

// stored is the type in which kernels that only move or compare elements read dt: bool is a byte like another.
func stored(dt dtype) dtype {
	if dt == tensor.Bool {
		return tensor.U8
	}
	return dt
}
