package ops

import (
	"fmt"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
)

// TensorScatterAttrs: updates go in along Axis, stopping at the end ("linear") or
// going round ("circular").
type TensorScatterAttrs struct {
	Axis int64  `attr:"axis"`
	Mode string `attr:"mode"`
}

func tensorScatterOps() []*ir.Op {
	return []*ir.Op{typed(&ir.Op{
		Name: "TensorScatter", Since: 24, Doc: "A cache with an update written into each batch entry from its own index on.",
		Attrs: func() any { return &TensorScatterAttrs{Axis: -2, Mode: "linear"} },
		MinIn: 2, MaxIn: 3, MinOut: 1, MaxOut: 1,
		Infer: func(c *ir.InferCtx) error {
			if _, err := inferSameTypes(c, 0, 1); err != nil {
				return err
			}
			a := c.Attrs.(*TensorScatterAttrs)
			if x := c.In(0); x.Ranked {
				if _, err := a.axis(len(x.Shape)); err != nil {
					return err
				}
			}
			return inferSame(c)
		},
		Eval: evalTensorScatter,
	}, anyType, anyType, i64Type)}
}

func (a *TensorScatterAttrs) axis(rank int) (int, error) {
	if a.Mode != "linear" && a.Mode != "circular" {
		return 0, fmt.Errorf("%w: mode %q, want linear or circular", ir.ErrAttr, a.Mode)
	}
	axis, err := normAxis(a.Axis, rank)
	if err == nil && axis == 0 {
		err = fmt.Errorf("%w: the batch axis cannot be written along", ir.ErrAttr)
	}
	return axis, err
}

func evalTensorScatter(c *ir.EvalCtx) error {
	x, u, a := c.In(0), c.In(1), c.Attrs.(*TensorScatterAttrs)
	axis, err := a.axis(x.Rank())
	if err != nil {
		return err
	}
	if err := sameTypes(c, 0, 1); err != nil {
		return err
	}
	outer, size, inner := splitAt(x.Shape(), axis)
	if u.Rank() != x.Rank() {
		return fmt.Errorf("%w: update %s of cache %s", ir.ErrShape, u, x)
	}
	n := u.Shape()[axis]
	want := slices.Clone(x.Shape())
	want[axis] = n
	if !slices.Equal(want, u.Shape()) || n > size {
		return fmt.Errorf("%w: update %s of cache %s", ir.ErrShape, u, x)
	}
	batch := x.Shape()[0]
	starts := make([]int64, batch)
	if c.Has(2) {
		if starts, err = evalInts(c, 2); err != nil {
			return err
		}
		if len(starts) != batch {
			return fmt.Errorf("%w: %d write indices for a batch of %d", ir.ErrShape, len(starts), batch)
		}
	}
	for _, s := range starts {
		if s < 0 || a.Mode == "linear" && s > int64(size-n) {
			return fmt.Errorf("%w: %d elements written at %d of %d", ir.ErrInput, n, s, size)
		}
	}
	out, err := c.Out(0, x.DType(), x.Shape()...)
	if err != nil {
		return err
	}
	copyElems(out, x)
	if u.Len() == 0 {
		return nil
	}
	move := mover(out, u)
	for o := range outer {
		start := starts[o/(outer/batch)]
		for j := range n {
			at := int((start%int64(size) + int64(j)) % int64(size))
			move((o*size+at)*inner, (o*n+j)*inner, inner)
		}
	}
	return nil
}
