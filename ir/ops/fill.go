package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// FillAttrs hold the one element that ConstantOfShape repeats; absent, float32 zero.
type FillAttrs struct {
	Value *tensor.Tensor `attr:"value"`
}

func (a *FillAttrs) element() (*tensor.Tensor, error) {
	if a.Value == nil {
		return tensor.Scalar(float32(0)), nil
	}
	if a.Value.Len() != 1 {
		return nil, fmt.Errorf("%w: value is %s, want one element", ir.ErrAttr, a.Value)
	}
	return a.Value, nil
}

type eyeAttrs struct {
	DType tensor.DType `attr:"dtype"`
	K     int64        `attr:"k"`
}

type rangeAttrs struct {
	StashType int64 `attr:"stash_type"`
}

func fillOps() []*ir.Op {
	return []*ir.Op{
		typed(&ir.Op{
			Name: "ConstantOfShape", Since: 25, Doc: "One value repeated to the shape in the input.",
			Attrs: func() any { return &FillAttrs{} },
			MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
			Infer: inferFill,
			Eval: func(c *ir.EvalCtx) error {
				v, err := c.Attrs.(*FillAttrs).element()
				if err != nil {
					return err
				}
				shape, err := evalSizes(c, 0)
				if err != nil {
					return err
				}
				out, err := c.Out(0, v.DType(), shape...)
				if err != nil {
					return err
				}
				if n := out.Len(); n > 0 {
					filler(out, v)(0, n)
				}
				return nil
			},
		}, i64Type),
		typed(&ir.Op{
			Name: "Range", Since: 27, Doc: "Numbers from start towards limit, which is left out, delta apart.",
			Attrs: func() any { return &rangeAttrs{1} },
			MinIn: 3, MaxIn: 3, MinOut: 1, MaxOut: 1,
			Infer: inferRange,
			Eval:  evalRange,
		}, floatTypes|1<<tensor.I16|indexTypes),
		typed(&ir.Op{
			Name: "EyeLike", Since: 22, Doc: "A matrix of the input's shape with ones on the k-th diagonal.",
			Attrs: func() any { return &eyeAttrs{} },
			MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error {
				t := c.In(0)
				if t.Ranked && len(t.Shape) != 2 {
					return fmt.Errorf("%w: %s is not a matrix", ir.ErrShape, t)
				}
				if dt := c.Attrs.(*eyeAttrs).DType; dt != tensor.Invalid {
					t.DType = dt
				}
				c.SetOut(0, t)
				return nil
			},
			Eval: evalEye,
		}, numberTypes|boolType),
	}
}

func inferFill(c *ir.InferCtx) error {
	v, err := c.Attrs.(*FillAttrs).element()
	if err != nil {
		return err
	}
	want, ok := contents(c, 0)
	if !ok {
		c.SetOut(0, rankedUnknown(v.DType(), vectorLen(c.In(0))))
		return nil
	}
	s := make([]ir.Dim, len(want))
	for i, w := range want {
		if w.exact && w.dim.Size < 0 {
			return fmt.Errorf("%w: negative size %d", ir.ErrShape, w.dim.Size)
		}
		s[i] = w.dim
	}
	c.SetOut(0, ir.MakeType(v.DType(), s...))
	if e, ok := constContents(v); ok && len(e) == 1 && len(s) <= 1 {
		if n := prodDims(s); n.IsKnown() && n.Size <= maxContents {
			repeatContent(c, e[0], int(n.Size))
		}
	}
	return nil
}

func inferRange(c *ir.InferCtx) error {
	dt, err := inferSameTypes(c, 0, 1, 2)
	if err != nil {
		return err
	}
	n := ir.Unknown()
	var v [3]content
	known := true
	for i := range v {
		e, ok := contents(c, i)
		if !ok || len(e) != 1 {
			known = false
			break
		}
		v[i] = e[0]
	}
	start, limit, delta := v[0], v[1], v[2]
	switch {
	case !known:
	case start.exact && limit.exact && delta.exact:
		if delta.dim.Size == 0 {
			return fmt.Errorf("%w: delta is 0", ir.ErrInput)
		}
		count := rangeCount(float64(start.dim.Size), float64(limit.dim.Size), float64(delta.dim.Size))
		n = ir.Known(int64(count))
		if count <= maxContents && dt.IsInt() {
			e := make([]content, int(count))
			for i := range e {
				e[i] = exactly(start.dim.Size + int64(i)*delta.dim.Size)
			}
			setContents(c, 0, e)
		}
	case delta.exact && delta.dim.Size == 1 && start.exact && start.dim.Size == 0:
		n = limit.dim
	case delta.exact && delta.dim.Size == 1 && start.dim.Name != "" && endsWithin(start.dim, limit.dim):
		n = ir.SubDim(limit.dim, start.dim)
	}
	c.SetOut(0, ir.MakeType(dt, n))
	return nil
}

// rangeCount is how many steps fit; NaN becomes none.
func rangeCount(start, limit, delta float64) float64 {
	n := math.Ceil((limit - start) / delta)
	if !(n > 0) {
		return 0
	}
	return n
}

func evalRange(c *ir.EvalCtx) error {
	if err := sameTypes(c, 0, 1, 2); err != nil {
		return err
	}
	dt := c.In(0).DType()
	var f [3]float64
	var n [3]int64
	for i := range f {
		t := c.In(i)
		if t.Len() != 1 {
			return fmt.Errorf("%w: input %d is %s, not a scalar", ir.ErrShape, i, t)
		}
		v, err := floatsOf(t)
		if err != nil {
			return err
		}
		f[i] = v[0]
		if dt.IsInt() {
			n[i], _ = evalInt(c, i)
		}
	}
	if f[2] == 0 {
		return fmt.Errorf("%w: delta is 0", ir.ErrInput)
	}
	count := rangeCount(f[0], f[1], f[2])
	if count > 1<<40 {
		return fmt.Errorf("%w: a range of %g elements", ir.ErrLimit, count)
	}
	out, err := c.Out(0, dt, int(count))
	if err != nil {
		return err
	}
	if dt.IsInt() {
		v := make([]int64, int(count))
		for i := range v {
			v[i] = n[0] + int64(i)*n[2]
		}
		return storeInts(out, v)
	}
	v := make([]float64, int(count))
	for i := range v {
		v[i] = f[0] + float64(i)*f[2]
	}
	return storeFloats(out, v, true)
}

func evalEye(c *ir.EvalCtx) error {
	x, a := c.In(0), c.Attrs.(*eyeAttrs)
	if x.Rank() != 2 {
		return fmt.Errorf("%w: %s is not a matrix", ir.ErrShape, x)
	}
	dt := a.DType
	if dt == tensor.Invalid {
		dt = x.DType()
	}
	out, err := c.Out(0, dt, x.Shape()...)
	if err != nil {
		return err
	}
	rows, cols := int64(x.Shape()[0]), int64(x.Shape()[1])
	v := make([]float64, out.Len())
	for i := range rows {
		// Compared without sums that could overflow: k may be any int64.
		if a.K >= -i && a.K < cols-i {
			v[i*cols+i+a.K] = 1
		}
	}
	if dt == tensor.String || complexTypes.has(dt) {
		return badType(dt)
	}
	return storeFloats(out, v, true)
}
