package ops

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

type bitShiftAttrs struct {
	Direction string `attr:"direction"`
}

type bitCastAttrs struct {
	To tensor.DType `attr:"to"`
}

func bitwiseOps() []*ir.Op {
	both := func(name, doc string, i func(a, b int64) int64, u func(a, b uint64) uint64) *ir.Op {
		return binaryOp(name, 18, doc, intTypes, binaryFormula{i: i, u: u}, nil)
	}
	return []*ir.Op{
		both("BitwiseAnd", "Bits set in both.",
			func(a, b int64) int64 { return a & b }, func(a, b uint64) uint64 { return a & b }),
		both("BitwiseOr", "Bits set in either.",
			func(a, b int64) int64 { return a | b }, func(a, b uint64) uint64 { return a | b }),
		both("BitwiseXor", "Bits set in exactly one.",
			func(a, b int64) int64 { return a ^ b }, func(a, b uint64) uint64 { return a ^ b }),
		unaryOp("BitwiseNot", 18, "All bits flipped.", intTypes, unaryFormula{
			i: func(v int64) int64 { return ^v }, u: func(v uint64) uint64 { return ^v },
		}),
		bitShiftOp(), bitCastOp(),
	}
}

func bitShiftOp() *ir.Op {
	return typed(&ir.Op{
		Name: "BitShift", Since: 28, Doc: "Bits of input 0 moved LEFT or RIGHT by input 1; right shifts of signed numbers keep the sign.",
		Attrs: func() any { return &bitShiftAttrs{} },
		MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
		Infer: func(c *ir.InferCtx) error {
			if err := checkDirection(c.Attrs.(*bitShiftAttrs)); err != nil {
				return err
			}
			return inferBroadcast(c)
		},
		Eval: func(c *ir.EvalCtx) error {
			a := c.Attrs.(*bitShiftAttrs)
			if err := checkDirection(a); err != nil {
				return err
			}
			// A negative distance, seen unsigned, is beyond the width and shifts all bits out.
			k := binaryFormula{
				i: func(v, n int64) int64 { return v >> uint64(n) },
				u: func(v, n uint64) uint64 { return v >> n },
			}
			if a.Direction == "LEFT" {
				k.i = func(v, n int64) int64 { return v << uint64(n) }
				k.u = func(v, n uint64) uint64 { return v << n }
			}
			return evalBinary(c, k)
		},
	}, intTypes)
}

func checkDirection(a *bitShiftAttrs) error {
	if a.Direction != "LEFT" && a.Direction != "RIGHT" {
		return fmt.Errorf("%w: direction %q, want LEFT or RIGHT", ir.ErrAttr, a.Direction)
	}
	return nil
}

func bitCastOp() *ir.Op {
	check := func(from, to tensor.DType) error {
		if to == tensor.Invalid || to == tensor.String || from != tensor.Invalid && from.Bits() != to.Bits() {
			return fmt.Errorf("%w: %s has not the bit width of %s", ir.ErrType, to, from)
		}
		return nil
	}
	return typed(&ir.Op{
		Name: "BitCast", Since: 26, Doc: "The same bits read as another element type of the same width.",
		Attrs: func() any { return &bitCastAttrs{} },
		MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
		Infer: func(c *ir.InferCtx) error {
			t, to := c.In(0), c.Attrs.(*bitCastAttrs).To
			if err := check(t.DType, to); err != nil {
				return err
			}
			t.DType = to
			c.SetOut(0, t)
			return nil
		},
		Eval: func(c *ir.EvalCtx) error {
			x, to := c.In(0), c.Attrs.(*bitCastAttrs).To
			if err := check(x.DType(), to); err != nil {
				return err
			}
			out, err := c.Out(0, to, x.Shape()...)
			if err != nil {
				return err
			}
			copy(out.Bytes(), x.Bytes())
			if to.Bits() < 8 { // held one to a byte: the unused bits follow the new type's sign
				v := make([]int64, out.Len())
				for i, b := range x.Bytes() {
					v[i] = int64(b)
				}
				if to == tensor.F4E2M1 {
					for i, b := range x.Bytes() {
						out.Bytes()[i] = b & 15
					}
					return nil
				}
				return storeInts(out, v)
			}
			return nil
		},
	}, anyType&^stringType)
}
