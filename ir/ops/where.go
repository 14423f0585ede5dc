package ops

import (
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

func whereOps() []*ir.Op {
	return []*ir.Op{typed(&ir.Op{
		Name: "Where", Since: 16, Doc: "Elements of input 1 where the bool input 0 is true, else of input 2, all broadcast.",
		MinIn: 3, MaxIn: 3, MinOut: 1, MaxOut: 1,
		Infer: inferWhere,
		Eval:  evalWhere,
	}, boolType, anyType)}
}

func inferWhere(c *ir.InferCtx) error {
	dt, err := inferSameTypes(c, 1, 2)
	if err != nil {
		return err
	}
	if err := inferBroadcastTo(c, dt); err != nil {
		return err
	}
	cond, ok1 := contents(c, 0)
	x, ok2 := contents(c, 1)
	y, ok3 := contents(c, 2)
	if !ok1 || !ok2 || !ok3 || c.In(0).Rank() > 1 || c.In(1).Rank() > 1 || c.In(2).Rank() > 1 {
		return nil
	}
	n := max(len(cond), len(x), len(y))
	if min(len(cond), len(x), len(y)) == 0 {
		n = 0
	}
	out := make([]content, n)
	for i := range out {
		p, a, b := at(cond, i), at(x, i), at(y, i)
		switch {
		case p.exact && p.dim.Size != 0, a.exact == b.exact && a.dim.Same(b.dim):
			out[i] = a
		case p.exact:
			out[i] = b
		default:
			out[i] = unknownContent
		}
	}
	setContents(c, 0, out)
	return nil
}

// at is element i of a broadcast vector.
func at(v []content, i int) content { return v[min(i, len(v)-1)] }

func evalWhere(c *ir.EvalCtx) error {
	cond, x, y := c.In(0), c.In(1), c.In(2)
	if err := sameTypes(c, 1, 2); err != nil {
		return err
	}
	shape, err := BroadcastShapes(cond.Shape(), x.Shape(), y.Shape())
	if err != nil {
		return err
	}
	out, err := c.Out(0, x.DType(), shape...)
	if err != nil {
		return err
	}
	p := tensor.Data[bool](cond)
	fromX, fromY := mover(out, x), mover(out, y)
	eachIndex(shape, [][]int{broadcastStrides(cond.Shape(), shape), broadcastStrides(x.Shape(), shape), broadcastStrides(y.Shape(), shape)},
		func(i int, o []int) {
			if p[o[0]] {
				fromX(i, o[1], 1)
			} else {
				fromY(i, o[2], 1)
			}
		})
	return nil
}
