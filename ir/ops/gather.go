package ops

import (
	"fmt"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// AxisAttrs name the axis that Gather, GatherElements and ScatterElements work along.
type AxisAttrs struct {
	Axis int64 `attr:"axis"`
}

// GatherNDAttrs: the first BatchDims dimensions of data and indices go together.
type GatherNDAttrs struct {
	BatchDims int64 `attr:"batch_dims"`
}

func gatherOps() []*ir.Op {
	return []*ir.Op{
		typed(&ir.Op{
			Name: "Gather", Since: 13, Doc: "Slices of the data along an axis, picked by indices; negative ones count from the back.",
			Attrs: func() any { return &AxisAttrs{} },
			MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
			Infer: inferGather,
			Eval:  evalGather,
			// What is not picked is not read.
			Cost: func(c *ir.CostCtx) ir.Cost {
				return ir.Cost{Bytes: movedBytes(c.Ins[1:], c.Outs) + movedBytes(nil, c.Outs)}
			},
		}, anyType, indexTypes),
		typed(&ir.Op{
			Name: "GatherElements", Since: 13, Doc: "Each element picked by an index along an axis at its own position.",
			Attrs: func() any { return &AxisAttrs{} },
			MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error {
				x, idx := c.In(0), c.In(1)
				if x.Ranked {
					if _, err := normAxis(c.Attrs.(*AxisAttrs).Axis, len(x.Shape)); err != nil {
						return err
					}
					if idx.Ranked && len(idx.Shape) != len(x.Shape) {
						return fmt.Errorf("%w: indices %s for data %s", ir.ErrShape, idx, x)
					}
				}
				idx.DType = x.DType
				c.SetOut(0, idx)
				return nil
			},
			Eval: evalGatherElements,
		}, anyType, indexTypes),
		typed(&ir.Op{
			Name: "GatherND", Since: 13, Doc: "Slices of the data, each picked by the index tuple in the last dimension of indices.",
			Attrs: func() any { return &GatherNDAttrs{} },
			MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
			Infer: inferGatherND,
			Eval:  evalGatherND,
		}, anyType, i64Type),
	}
}

func inferGather(c *ir.InferCtx) error {
	x, idx := c.In(0), c.In(1)
	if !x.Ranked {
		c.SetOut(0, ir.Unranked(x.DType))
		return nil
	}
	axis, err := normAxis(c.Attrs.(*AxisAttrs).Axis, len(x.Shape))
	if err != nil {
		return err
	}
	if !idx.Ranked {
		c.SetOut(0, ir.Unranked(x.DType))
		return nil
	}
	c.SetOut(0, ir.MakeType(x.DType, slices.Concat(x.Shape[:axis], idx.Shape, x.Shape[axis+1:])...))
	elems, ok := contents(c, 0)
	at, known := knownInts(c, 1)
	if !ok || !known || len(x.Shape) != 1 || len(idx.Shape) > 1 {
		return nil
	}
	out := make([]content, len(at))
	for i, a := range at {
		j, err := normIndex(a, len(elems))
		if err != nil {
			return err
		}
		out[i] = elems[j]
	}
	setContents(c, 0, out)
	return nil
}

// normIndex maps an index in [-n, n) to [0, n).
func normIndex(i int64, n int) (int, error) {
	if i < -int64(n) || i >= int64(n) {
		return 0, fmt.Errorf("%w: index %d of a dimension of size %d", ir.ErrInput, i, n)
	}
	if i < 0 {
		i += int64(n)
	}
	return int(i), nil
}

func evalGather(c *ir.EvalCtx) error {
	x, idx := c.In(0), c.In(1)
	axis, err := normAxis(c.Attrs.(*AxisAttrs).Axis, x.Rank())
	if err != nil {
		return err
	}
	at, err := evalInts(c, 1)
	if err != nil {
		return err
	}
	outer, n, inner := splitAt(x.Shape(), axis)
	for i, a := range at {
		j, err := normIndex(a, n)
		if err != nil {
			return err
		}
		at[i] = int64(j)
	}
	out, err := c.Out(0, x.DType(), slices.Concat(x.Shape()[:axis], idx.Shape(), x.Shape()[axis+1:])...)
	if err != nil {
		return err
	}
	if out.Len() == 0 {
		return nil
	}
	move := mover(out, x)
	for o := range outer {
		for i, a := range at {
			move((o*len(at)+i)*inner, (o*n+int(a))*inner, inner)
		}
	}
	return nil
}

// withinOthers reports indices whose dimensions, the axis aside, exceed those of data.
func withinOthers(idx, data []int, axis int) error {
	if len(idx) != len(data) {
		return fmt.Errorf("%w: indices of shape %v for data of shape %v", ir.ErrShape, idx, data)
	}
	for d := range idx {
		if d != axis && idx[d] > data[d] {
			return fmt.Errorf("%w: indices of shape %v for data of shape %v", ir.ErrShape, idx, data)
		}
	}
	return nil
}

func evalGatherElements(c *ir.EvalCtx) error {
	x, idx := c.In(0), c.In(1)
	axis, err := normAxis(c.Attrs.(*AxisAttrs).Axis, x.Rank())
	if err != nil {
		return err
	}
	if err := withinOthers(idx.Shape(), x.Shape(), axis); err != nil {
		return err
	}
	at, err := evalInts(c, 1)
	if err != nil {
		return err
	}
	out, err := c.Out(0, x.DType(), idx.Shape()...)
	if err != nil {
		return err
	}
	if out.Len() == 0 {
		return nil
	}
	strides := tensor.Strides(x.Shape())
	along, n := strides[axis], x.Shape()[axis]
	strides[axis] = 0
	move := mover(out, x)
	eachIndex(idx.Shape(), [][]int{strides}, func(i int, o []int) {
		j, bad := normIndex(at[i], n)
		if bad != nil {
			err = bad
			return
		}
		move(i, o[0]+j*along, 1)
	})
	return err
}

func inferGatherND(c *ir.InferCtx) error {
	x, idx := c.In(0), c.In(1)
	c.SetOut(0, ir.Unranked(x.DType))
	if !x.Ranked || !idx.Ranked {
		return nil
	}
	if len(idx.Shape) == 0 || len(x.Shape) == 0 {
		return fmt.Errorf("%w: %s indexed by %s", ir.ErrShape, x, idx)
	}
	b := int(c.Attrs.(*GatherNDAttrs).BatchDims)
	tuple := idx.Shape[len(idx.Shape)-1]
	if b < 0 || b >= len(idx.Shape) || b >= len(x.Shape) || tuple.IsKnown() && tuple.Size+int64(b) > int64(len(x.Shape)) {
		return fmt.Errorf("%w: %s indexed by %s with %d batch dimensions", ir.ErrShape, x, idx, b)
	}
	if !tuple.IsKnown() {
		return nil
	}
	c.SetOut(0, ir.MakeType(x.DType, slices.Concat(idx.Shape[:len(idx.Shape)-1], x.Shape[b+int(tuple.Size):])...))
	return nil
}

func evalGatherND(c *ir.EvalCtx) error {
	x, idx := c.In(0), c.In(1)
	at, err := evalInts(c, 1)
	if err != nil {
		return err
	}
	b := c.Attrs.(*GatherNDAttrs).BatchDims
	if idx.Rank() == 0 || b < 0 || b >= int64(idx.Rank()) || b >= int64(x.Rank()) || !slices.Equal(x.Shape()[:b], idx.Shape()[:b]) {
		return fmt.Errorf("%w: %s indexed by %s with %d batch dimensions", ir.ErrShape, x, idx, b)
	}
	last := idx.Rank() - 1
	tuple := idx.Shape()[last]
	offs, run, err := tupleOffsets(at, tuple, x.Shape()[b:], idx.Shape()[:last])
	if err != nil {
		return err
	}
	out, err := c.Out(0, x.DType(), slices.Concat(idx.Shape()[:last], x.Shape()[int(b)+tuple:])...)
	if err != nil {
		return err
	}
	if out.Len() == 0 {
		return nil
	}
	move := mover(out, x)
	batch := tensor.NumElems(x.Shape()[b:])
	perBatch := tensor.NumElems(idx.Shape()[b:last])
	for i, o := range offs {
		move(i*run, i/perBatch*batch+o, run)
	}
	return nil
}

// tupleOffsets turns index tuples into data of the given shape to element offsets, and
// gives the number of elements each one addresses.
func tupleOffsets(at []int64, tuple int, shape, prefix []int) (offs []int, run int, err error) {
	if tuple > len(shape) {
		return nil, 0, fmt.Errorf("%w: index tuples of %d for shape %v", ir.ErrShape, tuple, shape)
	}
	strides := tensor.Strides(shape)
	offs = make([]int, tensor.NumElems(prefix))
	for i := range offs {
		for d := range tuple {
			j, err := normIndex(at[i*tuple+d], shape[d])
			if err != nil {
				return nil, 0, err
			}
			offs[i] += j * strides[d]
		}
	}
	return offs, tensor.NumElems(shape[tuple:]), nil
}
