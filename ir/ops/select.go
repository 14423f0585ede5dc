package ops

import (
	"fmt"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// CompressAttrs: slices along Axis are kept or dropped; absent, elements of the
// flattened input.
type CompressAttrs struct {
	Axis *int64 `attr:"axis"`
}

// selectOps are the ops whose output size depends on the values.
func selectOps() []*ir.Op {
	return []*ir.Op{
		typed(&ir.Op{
			Name: "NonZero", Since: 13, Doc: "The positions of the elements that are not zero, a column each.",
			MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error {
				rank := ir.Unknown()
				if x := c.In(0); x.Ranked {
					rank = ir.Known(int64(len(x.Shape)))
				}
				c.SetOut(0, ir.MakeType(tensor.I64, rank, ir.Unknown()))
				return nil
			},
			Eval: evalNonZero,
		}, anyType),
		typed(&ir.Op{
			Name: "Compress", Since: 28, Doc: "The slices along an axis, or the elements, whose condition is true.",
			Attrs: func() any { return &CompressAttrs{} },
			MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
			Infer: inferCompress,
			Eval:  evalCompress,
		}, anyType, boolType),
	}
}

func evalNonZero(c *ir.EvalCtx) error {
	x := c.In(0)
	var hits []int
	zero := make([]byte, 16)
	for i := range x.Len() {
		if !isZero(x, i, zero) {
			hits = append(hits, i)
		}
	}
	out, err := c.Out(0, tensor.I64, x.Rank(), len(hits))
	if err != nil {
		return err
	}
	z, strides := tensor.Data[int64](out), tensor.Strides(x.Shape())
	for j, p := range hits {
		for d, s := range strides {
			z[d*len(hits)+j] = int64(p / s)
			p %= s
		}
	}
	return nil
}

// isZero tells whether element i is zero: every type's zero is all zero bits, and for
// floats, that of negative sign as well.
func isZero(x *tensor.Tensor, i int, zero []byte) bool {
	switch x.DType() {
	case tensor.String:
		return x.Strings()[i] == ""
	case tensor.F32:
		return tensor.Data[float32](x)[i] == 0
	case tensor.F64:
		return tensor.Data[float64](x)[i] == 0
	case tensor.F16, tensor.BF16:
		return words[uint16](x, tensor.U16)[i]&0x7fff == 0
	case tensor.C64:
		return tensor.Data[complex64](x)[i] == 0
	case tensor.C128:
		return tensor.Data[complex128](x)[i] == 0
	}
	n := x.DType().Size()
	return string(x.Bytes()[i*n:(i+1)*n]) == string(zero[:n])
}

func inferCompress(c *ir.InferCtx) error {
	x, a := c.In(0), c.Attrs.(*CompressAttrs)
	switch {
	case a.Axis == nil:
		c.SetOut(0, ir.MakeType(x.DType, ir.Unknown()))
	case !x.Ranked:
		c.SetOut(0, ir.Unranked(x.DType))
	default:
		axis, err := normAxis(*a.Axis, len(x.Shape))
		if err != nil {
			return err
		}
		s := slices.Clone(x.Shape)
		s[axis] = ir.Unknown()
		c.SetOut(0, ir.MakeType(x.DType, s...))
	}
	return nil
}

func evalCompress(c *ir.EvalCtx) error {
	x, a := c.In(0), c.Attrs.(*CompressAttrs)
	shape, axis := []int{x.Len()}, 0
	if a.Axis != nil {
		var err error
		if axis, err = normAxis(*a.Axis, x.Rank()); err != nil {
			return err
		}
		shape = slices.Clone(x.Shape())
	}
	outer, n, inner := splitAt(shape, axis)
	var kept []int
	for i, keep := range tensor.Data[bool](c.In(1)) {
		if !keep {
			continue
		}
		if i >= n {
			return fmt.Errorf("%w: condition %d is true, the axis has size %d", ir.ErrShape, i, n)
		}
		kept = append(kept, i)
	}
	shape[axis] = len(kept)
	out, err := c.Out(0, x.DType(), shape...)
	if err != nil {
		return err
	}
	if out.Len() == 0 {
		return nil
	}
	move := mover(out, x)
	for o := range outer {
		for j, i := range kept {
			move((o*len(kept)+j)*inner, (o*n+i)*inner, inner)
		}
	}
	return nil
}
