package ops

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// number are the Go types that arithmetic is written over. Half-precision types are
// not among them: halfViaF32 takes those through float32.
type number interface{ float | integer }

type float interface{ float32 | float64 }

type integer interface {
	int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64
}

// typeSet is a set of element types, one bit per type.
type typeSet uint32

const (
	halfTypes     typeSet = 1<<tensor.F16 | 1<<tensor.BF16
	floatTypes    typeSet = 1<<tensor.F32 | 1<<tensor.F64 | halfTypes
	signedTypes   typeSet = 1<<tensor.I8 | 1<<tensor.I16 | 1<<tensor.I32 | 1<<tensor.I64
	unsignedTypes typeSet = 1<<tensor.U8 | 1<<tensor.U16 | 1<<tensor.U32 | 1<<tensor.U64
	intTypes      typeSet = signedTypes | unsignedTypes
	numberTypes   typeSet = floatTypes | intTypes
	float8Types   typeSet = 1<<tensor.F8E4M3FN | 1<<tensor.F8E4M3FNUZ | 1<<tensor.F8E5M2 | 1<<tensor.F8E5M2FNUZ
	narrowInts    typeSet = 1<<tensor.I4 | 1<<tensor.U4 | 1<<tensor.I2 | 1<<tensor.U2
	boolType      typeSet = 1 << tensor.Bool
	stringType    typeSet = 1 << tensor.String
	indexTypes    typeSet = 1<<tensor.I32 | 1<<tensor.I64
	wideInts      typeSet = 1<<tensor.I32 | 1<<tensor.I64 | 1<<tensor.U32 | 1<<tensor.U64
	i64Type       typeSet = 1 << tensor.I64
	complexTypes  typeSet = 1<<tensor.C64 | 1<<tensor.C128
	anyType       typeSet = 1<<32 - 1 - 1<<tensor.Invalid
)

func (s typeSet) has(dt tensor.DType) bool { return dt < 32 && s>>dt&1 == 1 }

// typed restricts the element types of an op's inputs: sets[i] holds those of input
// i, the last set those of all further inputs. It wraps Infer and Eval with the
// check, so that neither sees a type, or a missing required input, it cannot handle.
func typed(op *ir.Op, sets ...typeSet) *ir.Op {
	check := func(i int, dt tensor.DType) error {
		if !sets[min(i, len(sets)-1)].has(dt) {
			return fmt.Errorf("%w: input %d of %s cannot be %s", ir.ErrType, i, op.Name, dt)
		}
		return nil
	}
	infer, eval := op.Infer, op.Eval
	op.Infer = func(c *ir.InferCtx) error {
		if err := checkCount(op, c.NumIn()); err != nil {
			return err
		}
		for i, t := range c.Ins {
			if t.DType == tensor.Invalid {
				continue
			}
			if err := check(i, t.DType); err != nil {
				return err
			}
		}
		return infer(c)
	}
	op.Eval = func(c *ir.EvalCtx) error {
		if err := checkCount(op, len(c.Ins)); err != nil {
			return err
		}
		for i, t := range c.Ins {
			if t == nil {
				if i < op.MinIn {
					return fmt.Errorf("%w: %s needs input %d", ir.ErrInput, op.Name, i)
				}
				continue
			}
			if err := check(i, t.DType()); err != nil {
				return err
			}
		}
		return eval(c)
	}
	return op
}

func checkCount(op *ir.Op, n int) error {
	if n < op.MinIn || op.MaxIn >= 0 && n > op.MaxIn {
		return fmt.Errorf("%w: %s got %d inputs, takes %d to %d", ir.ErrInput, op.Name, n, op.MinIn, op.MaxIn)
	}
	return nil
}

// halfViaF32 lets an Eval written for float32 serve float16 and bfloat16: those
// inputs are widened, and float32 outputs rounded once to the half type. With no half
// input it is eval itself. It fits ops whose float outputs have the inputs' type.
func halfViaF32(eval func(*ir.EvalCtx) error) func(*ir.EvalCtx) error {
	return func(c *ir.EvalCtx) error {
		half := tensor.Invalid
		for _, t := range c.Ins {
			if t != nil && halfTypes.has(t.DType()) {
				half = t.DType()
				break
			}
		}
		if half == tensor.Invalid {
			return eval(c)
		}
		wide := *c
		wide.Alloc = nil
		wide.Ins = make([]*tensor.Tensor, len(c.Ins))
		wide.Outs = make([]*tensor.Tensor, len(c.Outs))
		for i, t := range c.Ins {
			if t != nil && (halfTypes.has(t.DType()) || t.DType() == tensor.F32) {
				if t.DType() != half {
					return fmt.Errorf("%w: %s and %s", ir.ErrType, half, t.DType())
				}
				t = widenHalf(t)
			}
			wide.Ins[i] = t
		}
		if err := eval(&wide); err != nil {
			return err
		}
		for i, t := range wide.Outs {
			if t == nil {
				continue
			}
			if t.DType() != tensor.F32 {
				c.Set(i, t)
				continue
			}
			out, err := c.Out(i, half, t.Shape()...)
			if err != nil {
				return err
			}
			roundHalf(out, tensor.Data[float32](t))
		}
		return nil
	}
}

// widenHalf is a float16 or bfloat16 tensor as float32.
func widenHalf(t *tensor.Tensor) *tensor.Tensor {
	out := tensor.New(tensor.F32, t.Shape()...)
	z := tensor.Data[float32](out)
	if t.DType() == tensor.F16 {
		for i, h := range tensor.Data[tensor.Float16](t) {
			z[i] = h.Float32()
		}
		return out
	}
	for i, h := range tensor.Data[tensor.BFloat16](t) {
		z[i] = h.Float32()
	}
	return out
}

// roundHalf writes x to a float16 or bfloat16 tensor.
func roundHalf(out *tensor.Tensor, x []float32) {
	if out.DType() == tensor.F16 {
		z := tensor.Data[tensor.Float16](out)
		for i, v := range x {
			z[i] = tensor.ToFloat16(v)
		}
		return
	}
	z := tensor.Data[tensor.BFloat16](out)
	for i, v := range x {
		z[i] = tensor.ToBFloat16(v)
	}
}

// badType is the error of an Eval that meets a type its typeSet should have kept out.
func badType(dt tensor.DType) error {
	return fmt.Errorf("%w: %s", ir.ErrType, dt)
}

// sameTypes reports inputs of different element types among those listed.
func sameTypes(c *ir.EvalCtx, inputs ...int) error {
	dt := tensor.Invalid
	for _, i := range inputs {
		t := c.In(i)
		switch {
		case t == nil:
		case dt == tensor.Invalid:
			dt = t.DType()
		case dt != t.DType():
			return fmt.Errorf("%w: %s and %s", ir.ErrType, dt, t.DType())
		}
	}
	return nil
}

// inferSameTypes is sameTypes at inference; it returns the common type.
func inferSameTypes(c *ir.InferCtx, inputs ...int) (tensor.DType, error) {
	dt := tensor.Invalid
	for _, i := range inputs {
		t := c.In(i).DType
		switch {
		case t == tensor.Invalid:
		case dt == tensor.Invalid:
			dt = t
		case dt != t:
			return dt, fmt.Errorf("%w: %s and %s", ir.ErrType, dt, t)
		}
	}
	return dt, nil
}
