package ops

import (
	"fmt"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

type triluAttrs struct {
	Upper bool `attr:"upper"`
}

type blockAttrs struct {
	Mode      string `attr:"mode"`
	BlockSize int64  `attr:"blocksize"`
}

type reverseSequenceAttrs struct {
	BatchAxis int64 `attr:"batch_axis"`
	TimeAxis  int64 `attr:"time_axis"`
}

// rearrangeOps put elements elsewhere, or blank them, by position alone.
func rearrangeOps() []*ir.Op {
	return []*ir.Op{
		typed(&ir.Op{
			Name: "Trilu", Since: 14, Doc: "The upper (or lower) triangle of matrices, from the k-th diagonal; zero elsewhere.",
			Attrs: func() any { return &triluAttrs{true} },
			MinIn: 1, MaxIn: 2, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error {
				if x := c.In(0); x.Ranked && len(x.Shape) < 2 {
					return fmt.Errorf("%w: %s is not a matrix", ir.ErrShape, x)
				}
				return inferSame(c)
			},
			Eval: evalTrilu,
		}, anyType, i64Type),
		typed(&ir.Op{
			Name: "DepthToSpace", Since: 28, Doc: "Blocks of channels laid out as squares of pixels.",
			Attrs: func() any { return &blockAttrs{Mode: "DCR"} },
			MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error { return inferBlocks(c, true) },
			Eval:  evalDepthToSpace,
		}, anyType),
		typed(&ir.Op{
			Name: "SpaceToDepth", Since: 28, Doc: "Squares of pixels laid out as blocks of channels.",
			Attrs: func() any { return &blockAttrs{Mode: "DCR"} },
			MinIn: 1, MaxIn: 1, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error { return inferBlocks(c, false) },
			Eval:  evalSpaceToDepth,
		}, anyType),
		typed(&ir.Op{
			Name: "ReverseSequence", Since: 28, Doc: "The first elements of each batch entry, as many as its length, in reverse along the time axis.",
			Attrs: func() any { return &reverseSequenceAttrs{BatchAxis: 1} },
			MinIn: 2, MaxIn: 2, MinOut: 1, MaxOut: 1,
			Infer: func(c *ir.InferCtx) error {
				a := c.Attrs.(*reverseSequenceAttrs)
				if x := c.In(0); x.Ranked {
					if _, err := normAxes([]int64{a.BatchAxis, a.TimeAxis}, len(x.Shape)); err != nil {
						return err
					}
				}
				return inferSame(c)
			},
			Eval: evalReverseSequence,
		}, anyType, i64Type),
	}
}

func evalTrilu(c *ir.EvalCtx) error {
	x, upper := c.In(0), c.Attrs.(*triluAttrs).Upper
	if x.Rank() < 2 {
		return fmt.Errorf("%w: %s is not a matrix", ir.ErrShape, x)
	}
	k := int64(0)
	if c.Has(1) {
		var err error
		if k, err = evalInt(c, 1); err != nil {
			return err
		}
	}
	out, err := c.Out(0, x.DType(), x.Shape()...)
	if err != nil || out.Len() == 0 {
		return err
	}
	rows, cols := int64(x.Shape()[x.Rank()-2]), int64(x.Shape()[x.Rank()-1])
	move, put := mover(out, x), mover(out, tensor.New(x.DType()))
	k = min(max(k, -rows-cols), rows+cols)
	for i := range x.Len() {
		r, col := int64(i)/cols%rows, int64(i)%cols
		if keep := col-r >= k; keep == upper || col-r == k {
			move(i, i, 1)
		} else {
			put(i, 0, 1)
		}
	}
	return nil
}

func (a *blockAttrs) check() error {
	if a.BlockSize < 1 || a.BlockSize > 1<<20 {
		return fmt.Errorf("%w: blocksize %d", ir.ErrAttr, a.BlockSize)
	}
	if a.Mode != "DCR" && a.Mode != "CRD" {
		return fmt.Errorf("%w: mode %q, want DCR or CRD", ir.ErrAttr, a.Mode)
	}
	return nil
}

func inferBlocks(c *ir.InferCtx, toSpace bool) error {
	x, a := c.In(0), c.Attrs.(*blockAttrs)
	if err := a.check(); err != nil {
		return err
	}
	if !x.Ranked {
		c.SetOut(0, rankedUnknown(x.DType, 4))
		return nil
	}
	if len(x.Shape) != 4 {
		return fmt.Errorf("%w: %s, want [N,C,H,W]", ir.ErrShape, x)
	}
	b := ir.Known(a.BlockSize)
	wide, square := ir.MulDim, ir.MulDim(b, b)
	s := []ir.Dim{x.Shape[0], ir.DivDim(x.Shape[1], square), wide(x.Shape[2], b), wide(x.Shape[3], b)}
	if !toSpace {
		s = []ir.Dim{x.Shape[0], ir.MulDim(x.Shape[1], square), ir.DivDim(x.Shape[2], b), ir.DivDim(x.Shape[3], b)}
	}
	for i, d := range x.Shape {
		if d.IsKnown() && !s[i].IsKnown() {
			return fmt.Errorf("%w: blocks of %d do not divide %s", ir.ErrShape, a.BlockSize, x)
		}
	}
	c.SetOut(0, ir.MakeType(x.DType, s...))
	return nil
}

// permuted fills out, seen as view, with x's elements under strides.
func permuted(c *ir.EvalCtx, x *tensor.Tensor, shape, view, strides []int) error {
	out, err := c.Out(0, x.DType(), shape...)
	if err != nil || out.Len() == 0 {
		return err
	}
	copyStrided(out.Reshape(view...), x, 0, strides)
	return nil
}

func evalDepthToSpace(c *ir.EvalCtx) error {
	x, a := c.In(0), c.Attrs.(*blockAttrs)
	if err := a.check(); err != nil {
		return err
	}
	s, b := x.Shape(), int(a.BlockSize)
	if len(s) != 4 || s[1]%(b*b) != 0 {
		return fmt.Errorf("%w: %s, want [N,C,H,W] with C a multiple of %d", ir.ErrShape, x, b*b)
	}
	n, ch, h, w := s[0], s[1]/(b*b), s[2], s[3]
	// Channel index: (row in block, column in block, channel), or the channel first.
	sr, sc, sch := b*ch*h*w, ch*h*w, h*w
	if a.Mode == "CRD" {
		sr, sc, sch = b*h*w, h*w, b*b*h*w
	}
	return permuted(c, x, []int{n, ch, h * b, w * b}, []int{n, ch, h, b, w, b}, []int{s[1] * h * w, sch, w, sr, 1, sc})
}

func evalSpaceToDepth(c *ir.EvalCtx) error {
	x, a := c.In(0), c.Attrs.(*blockAttrs)
	if err := a.check(); err != nil {
		return err
	}
	s, b := x.Shape(), int(a.BlockSize)
	if len(s) != 4 || s[2]%b != 0 || s[3]%b != 0 {
		return fmt.Errorf("%w: %s, want [N,C,H,W] with H and W multiples of %d", ir.ErrShape, x, b)
	}
	n, ch, h, w := s[0], s[1], s[2]/b, s[3]/b
	full := s[2] * s[3]
	view, strides := []int{n, b, b, ch, h, w}, []int{ch * full, s[3], 1, full, b * s[3], b}
	if a.Mode == "CRD" {
		view, strides = []int{n, ch, b, b, h, w}, []int{ch * full, full, s[3], 1, b * s[3], b}
	}
	return permuted(c, x, []int{n, ch * b * b, h, w}, view, strides)
}

func evalReverseSequence(c *ir.EvalCtx) error {
	x, a := c.In(0), c.Attrs.(*reverseSequenceAttrs)
	at, err := normAxes([]int64{a.BatchAxis, a.TimeAxis}, x.Rank())
	if err != nil {
		return err
	}
	lens, err := evalInts(c, 1)
	if err != nil {
		return err
	}
	s, batch, time := x.Shape(), at[0], at[1]
	if len(lens) != s[batch] {
		return fmt.Errorf("%w: %d lengths for %d sequences", ir.ErrShape, len(lens), s[batch])
	}
	for _, n := range lens {
		if n < 0 || n > int64(s[time]) {
			return fmt.Errorf("%w: length %d of sequences of %d", ir.ErrInput, n, s[time])
		}
	}
	out, err := c.Out(0, x.DType(), slices.Clone(s)...)
	if err != nil || out.Len() == 0 {
		return err
	}
	move, strides := mover(out, x), tensor.Strides(s)
	for i := range x.Len() {
		n := int(lens[i/strides[batch]%s[batch]])
		t := i / strides[time] % s[time]
		from := i
		if t < n {
			from += (n - 1 - 2*t) * strides[time]
		}
		move(i, from, 1)
	}
	return nil
}
