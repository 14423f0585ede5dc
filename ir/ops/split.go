package ops

import (
	"fmt"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
)

// SplitAttrs: the input is cut along Axis, into NumOutputs parts when no sizes are given.
type SplitAttrs struct {
	Axis       int64  `attr:"axis"`
	NumOutputs *int64 `attr:"num_outputs"`
}

func splitOps() []*ir.Op {
	return []*ir.Op{typed(&ir.Op{
		Name: "Split", Since: 18, Doc: "The input cut along an axis into parts of given sizes, or of equal ones.",
		Attrs: func() any { return &SplitAttrs{} },
		MinIn: 1, MaxIn: 2, MinOut: 1, MaxOut: -1,
		Infer: inferSplit,
		Eval:  evalSplit,
	}, anyType, i64Type)}
}

// equalParts are n sizes of which the last may be smaller.
func equalParts(total, n int) []int64 {
	size := (total + n - 1) / n
	out := make([]int64, n)
	for i := range out {
		out[i] = int64(max(0, min(size, total-i*size)))
	}
	return out
}

func (a *SplitAttrs) checkCount(outs int) error {
	if a.NumOutputs != nil && *a.NumOutputs != int64(outs) {
		return fmt.Errorf("%w: num_outputs is %d, the node has %d", ir.ErrAttr, *a.NumOutputs, outs)
	}
	return nil
}

func inferSplit(c *ir.InferCtx) error {
	x, a := c.In(0), c.Attrs.(*SplitAttrs)
	if !c.Has(1) {
		if err := a.checkCount(len(c.Outs)); err != nil {
			return err
		}
	}
	if !x.Ranked {
		for i := range c.Outs {
			c.SetOut(i, ir.Unranked(x.DType))
		}
		return nil
	}
	axis, err := normAxis(a.Axis, len(x.Shape))
	if err != nil {
		return err
	}
	var sizes []content
	if c.Has(1) {
		if v, ok := contents(c, 1); ok {
			if len(v) != len(c.Outs) {
				return fmt.Errorf("%w: %d sizes for %d parts", ir.ErrShape, len(v), len(c.Outs))
			}
			sizes = v
		}
	} else if d := x.Shape[axis]; d.IsKnown() && len(c.Outs) > 0 {
		for _, n := range equalParts(int(d.Size), len(c.Outs)) {
			sizes = append(sizes, exactly(n))
		}
	}
	if total, ok := sumExact(sizes); ok && sizes != nil && !dimsMayEqual(ir.Known(total), x.Shape[axis]) {
		return fmt.Errorf("%w: parts sum to %d, axis %d of %s does not", ir.ErrShape, total, axis, x)
	}
	elems, haveElems := contents(c, 0)
	at := int64(0)
	for i := range c.Outs {
		s := slices.Clone(x.Shape)
		s[axis] = ir.DivDim(x.Shape[axis], ir.Known(int64(len(c.Outs))))
		if c.Has(1) {
			s[axis] = ir.Unknown()
		}
		if sizes != nil {
			s[axis] = sizes[i].dim
			if sizes[i].exact && sizes[i].dim.Size < 0 {
				return fmt.Errorf("%w: part %d has size %d", ir.ErrShape, i, sizes[i].dim.Size)
			}
			if haveElems && len(x.Shape) == 1 && sizes[i].exact && at >= 0 && at+sizes[i].dim.Size <= int64(len(elems)) {
				setContents(c, i, elems[at:at+sizes[i].dim.Size])
				at += sizes[i].dim.Size
			} else {
				at = -1
			}
		}
		c.SetOut(i, ir.MakeType(x.DType, s...))
	}
	return nil
}

// sumExact adds contents that are all exact.
func sumExact(v []content) (int64, bool) {
	total := int64(0)
	for _, x := range v {
		if !x.exact {
			return 0, false
		}
		total += x.dim.Size
	}
	return total, true
}

func evalSplit(c *ir.EvalCtx) error {
	x, a := c.In(0), c.Attrs.(*SplitAttrs)
	axis, err := normAxis(a.Axis, x.Rank())
	if err != nil {
		return err
	}
	outer, n, inner := splitAt(x.Shape(), axis)
	var sizes []int64
	if c.Has(1) {
		if sizes, err = evalInts(c, 1); err != nil {
			return err
		}
		if len(sizes) != len(c.Outs) {
			return fmt.Errorf("%w: %d sizes for %d parts", ir.ErrShape, len(sizes), len(c.Outs))
		}
	} else {
		if err := a.checkCount(len(c.Outs)); err != nil {
			return err
		}
		if len(c.Outs) == 0 {
			return nil
		}
		sizes = equalParts(n, len(c.Outs))
	}
	left := int64(n)
	for _, s := range sizes {
		if s < 0 || s > left {
			return fmt.Errorf("%w: parts %v of an axis of size %d", ir.ErrShape, sizes, n)
		}
		left -= s
	}
	if left != 0 {
		return fmt.Errorf("%w: parts %v of an axis of size %d", ir.ErrShape, sizes, n)
	}
	at := 0
	for i, s := range sizes {
		shape := slices.Clone(x.Shape())
		shape[axis] = int(s)
		out, err := c.Out(i, x.DType(), shape...)
		if err != nil {
			return err
		}
		if run := int(s) * inner; run > 0 {
			move := mover(out, x)
			for o := range outer {
				move(o*run, o*n*inner+at, run)
			}
			at += run
		}
	}
	return nil
}
