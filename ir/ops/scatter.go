package ops

import (
	"fmt"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// ScatterAttrs: how updates meet what is there: Reduction is "none", "add", "mul",
// "min" or "max". Axis is ScatterElements' alone.
type ScatterAttrs struct {
	Axis      int64  `attr:"axis"`
	Reduction string `attr:"reduction"`
}

// ScatterNDAttrs is ScatterAttrs without an axis.
type ScatterNDAttrs struct {
	Reduction string `attr:"reduction"`
}

func scatterOps() []*ir.Op {
	return []*ir.Op{
		typed(&ir.Op{
			Name: "ScatterElements", Since: 18, Doc: "The data with each update put, or folded in, at an index along an axis.",
			Attrs: func() any { return &ScatterAttrs{Reduction: "none"} },
			MinIn: 3, MaxIn: 3, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error {
				if err := inferScatter(c, c.Attrs.(*ScatterAttrs).Reduction); err != nil {
					return err
				}
				if x := c.In(0); x.Ranked {
					if _, err := normAxis(c.Attrs.(*ScatterAttrs).Axis, len(x.Shape)); err != nil {
						return err
					}
				}
				return sameShape(c.In(1), c.In(2))
			},
			Eval: halfViaF32(evalScatterElements),
		}, anyType, indexTypes, anyType),
		typed(&ir.Op{
			Name: "ScatterND", Since: 18, Doc: "The data with slices put, or folded in, at the index tuples in the last dimension of indices.",
			Attrs: func() any { return &ScatterNDAttrs{Reduction: "none"} },
			MinIn: 3, MaxIn: 3, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error { return inferScatter(c, c.Attrs.(*ScatterNDAttrs).Reduction) },
			Eval:  halfViaF32(evalScatterND),
		}, anyType, i64Type, anyType),
	}
}

func inferScatter(c *ir.InferCtx, reduction string) error {
	dt, err := inferSameTypes(c, 0, 2)
	if err != nil {
		return err
	}
	if err := checkReduction(reduction, dt); err != nil {
		return err
	}
	c.SetOut(0, c.In(0))
	return nil
}

func checkReduction(reduction string, dt tensor.DType) error {
	switch reduction {
	case "none":
		return nil
	case "add", "mul", "min", "max":
		if dt != tensor.Invalid && !(numberTypes | boolType).has(dt) {
			return fmt.Errorf("%w: %s of %s", ir.ErrType, reduction, dt)
		}
		return nil
	}
	return fmt.Errorf("%w: reduction %q, want none, add, mul, min or max", ir.ErrAttr, reduction)
}

// scatterer copies data to output 0 and returns a function that puts n elements of
// updates, from si, at di of the output, folding them in as the reduction says.
func scatterer(c *ir.EvalCtx, reduction string) (out *tensor.Tensor, put func(di, si, n int), err error) {
	x, u := c.In(0), c.In(2)
	if err := sameTypes(c, 0, 2); err != nil {
		return nil, nil, err
	}
	if err := checkReduction(reduction, x.DType()); err != nil {
		return nil, nil, err
	}
	if out, err = c.Out(0, x.DType(), x.Shape()...); err != nil {
		return nil, nil, err
	}
	copyElems(out, x)
	if reduction == "none" {
		return out, mover(out, u), nil
	}
	put, err = folder(out, u, reduction)
	return out, put, err
}

// folder folds elements of src into dst.
func folder(dst, src *tensor.Tensor, reduction string) (func(di, si, n int), error) {
	switch dt := dst.DType(); dt {
	case tensor.F32:
		return folderAs[float32](dst, src, reduction), nil
	case tensor.F64:
		return folderAs[float64](dst, src, reduction), nil
	case tensor.I8:
		return folderAs[int8](dst, src, reduction), nil
	case tensor.I16:
		return folderAs[int16](dst, src, reduction), nil
	case tensor.I32:
		return folderAs[int32](dst, src, reduction), nil
	case tensor.I64:
		return folderAs[int64](dst, src, reduction), nil
	case tensor.U8:
		return folderAs[uint8](dst, src, reduction), nil
	case tensor.U16:
		return folderAs[uint16](dst, src, reduction), nil
	case tensor.U32:
		return folderAs[uint32](dst, src, reduction), nil
	case tensor.U64:
		return folderAs[uint64](dst, src, reduction), nil
	case tensor.Bool:
		z, v := tensor.Data[bool](dst), tensor.Data[bool](src)
		any := reduction == "add" || reduction == "max"
		return func(di, si, n int) {
			for i := range n {
				if any {
					z[di+i] = z[di+i] || v[si+i]
				} else {
					z[di+i] = z[di+i] && v[si+i]
				}
			}
		}, nil
	default:
		return nil, badType(dt)
	}
}

func folderAs[T numberElem](dst, src *tensor.Tensor, reduction string) func(di, si, n int) {
	z, v := tensor.Data[T](dst), tensor.Data[T](src)
	f := func(a, b T) T { return a + b }
	switch reduction {
	case "mul":
		f = func(a, b T) T { return a * b }
	case "min":
		f = func(a, b T) T { return min(a, b) }
	case "max":
		f = func(a, b T) T { return max(a, b) }
	}
	return func(di, si, n int) {
		for i := range n {
			z[di+i] = f(z[di+i], v[si+i])
		}
	}
}

func evalScatterElements(c *ir.EvalCtx) error {
	x, idx, u, a := c.In(0), c.In(1), c.In(2), c.Attrs.(*ScatterAttrs)
	axis, err := normAxis(a.Axis, x.Rank())
	if err != nil {
		return err
	}
	if !slices.Equal(idx.Shape(), u.Shape()) {
		return fmt.Errorf("%w: indices %s for updates %s", ir.ErrShape, idx, u)
	}
	if err := withinOthers(idx.Shape(), x.Shape(), axis); err != nil {
		return err
	}
	at, err := evalInts(c, 1)
	if err != nil {
		return err
	}
	n := x.Shape()[axis]
	for i, v := range at {
		j, err := normIndex(v, n)
		if err != nil {
			return err
		}
		at[i] = int64(j)
	}
	_, put, err := scatterer(c, a.Reduction)
	if err != nil || len(at) == 0 {
		return err
	}
	strides := tensor.Strides(x.Shape())
	along := strides[axis]
	strides[axis] = 0
	eachIndex(idx.Shape(), [][]int{strides}, func(i int, o []int) { put(o[0]+int(at[i])*along, i, 1) })
	return nil
}

func evalScatterND(c *ir.EvalCtx) error {
	x, idx, u := c.In(0), c.In(1), c.In(2)
	at, err := evalInts(c, 1)
	if err != nil {
		return err
	}
	last := idx.Rank() - 1
	if last < 0 || idx.Shape()[last] > x.Rank() {
		return fmt.Errorf("%w: %s indexed by %s", ir.ErrShape, x, idx)
	}
	tuple := idx.Shape()[last]
	if want := slices.Concat(idx.Shape()[:last], x.Shape()[tuple:]); !slices.Equal(want, u.Shape()) {
		return fmt.Errorf("%w: updates %s, want shape %v", ir.ErrShape, u, want)
	}
	offs, run, err := tupleOffsets(at, tuple, x.Shape(), idx.Shape()[:last])
	if err != nil {
		return err
	}
	_, put, err := scatterer(c, c.Attrs.(*ScatterNDAttrs).Reduction)
	if err != nil || run == 0 {
		return err
	}
	for i, o := range offs {
		put(o, i*run, run)
	}
	return nil
}
