package syntax

import "math"

func f64bits(v float64) uint64 { return math.Float64bits(v) }

func negate(o Operand, neg bool) Operand {
	if !neg {
		return o
	}
	switch o.Kind {
	case KF32:
		o.Imm ^= 1 << 31
	case KF64:
		o.Imm ^= 1 << 63
	default:
		o.Imm = -o.Imm
	}
	return o
}

// numberAs gives the bits of a literal as an element of type t. A float
// literal for a float type is rounded to nearest; an integer literal for a
// bit or integer type is truncated.
func numberAs(o Operand, t Type) uint64 {
	switch o.Kind {
	case KF32:
		if t == F64 {
			return math.Float64bits(float64(math.Float32frombits(uint32(o.Imm))))
		}
		return o.Imm
	case KF64:
		if t.Size() == 4 {
			return uint64(math.Float32bits(float32(math.Float64frombits(o.Imm))))
		}
		return o.Imm
	}
	switch t {
	case F32:
		return uint64(math.Float32bits(float32(int64(o.Imm))))
	case F64:
		return math.Float64bits(float64(int64(o.Imm)))
	}
	return o.Imm
}

// ImmediateAs gives the bits of an immediate operand read as type t.
func (o Operand) ImmediateAs(t Type) uint64 { return numberAs(o, t) }
