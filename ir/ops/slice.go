package ops

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

func sliceOps() []*ir.Op {
	return []*ir.Op{typed(&ir.Op{
		Name: "Slice", Since: 13, Doc: "Elements from starts to ends by steps along axes; negative positions count from the back.",
		MinIn: 3, MaxIn: 5, MinOut: 1, MaxOut: 1,
		Infer: inferSlice,
		Eval:  evalSlice,
	}, anyType, indexTypes)}
}

// sliceRange clamps one axis' start, end and step to a dimension, as NumPy does, and
// returns the first position and the number of elements.
func sliceRange(start, end, step int64, dim int) (first, count int, err error) {
	d := int64(dim)
	if step == 0 {
		return 0, 0, fmt.Errorf("%w: a step of 0", ir.ErrShape)
	}
	if start < 0 {
		start = max(start+d, -1)
	}
	if end < 0 {
		end = max(end+d, -1)
	}
	if step > 0 {
		start, end = min(max(start, 0), d), min(max(end, 0), d)
		if end <= start {
			return 0, 0, nil
		}
		return int(start), int((end-start-1)/step) + 1, nil
	}
	start, end = min(max(start, -1), d-1), min(end, d-1)
	if start <= end {
		return 0, 0, nil
	}
	// Division before negation: -step overflows for the least int64.
	return int(start), int((end-start+1)/step) + 1, nil
}

func evalSlice(c *ir.EvalCtx) error {
	x := c.In(0)
	starts, err := evalInts(c, 1)
	if err != nil {
		return err
	}
	ends, err := evalInts(c, 2)
	if err != nil {
		return err
	}
	var axes, steps []int64
	if c.Has(3) {
		if axes, err = evalInts(c, 3); err != nil {
			return err
		}
	}
	if c.Has(4) {
		if steps, err = evalInts(c, 4); err != nil {
			return err
		}
	}
	shape, strides, offset, err := SliceStrides(x.Shape(), starts, ends, axes, steps)
	if err != nil {
		return err
	}
	out, err := c.Out(0, x.DType(), shape...)
	if err != nil {
		return err
	}
	copyStrided(out, x, offset, strides)
	return nil
}

// SliceStrides says where the elements of a Slice of a row-major x lie: its shape, and
// the strides and the offset of its elements in x. axes nil are the first ones, steps nil
// are ones.
func SliceStrides(x []int, starts, ends, axes, steps []int64) (shape, strides []int, offset int, err error) {
	if axes == nil {
		axes = make([]int64, len(starts))
		for i := range axes {
			axes[i] = int64(i)
		}
	}
	if steps == nil {
		steps = slices.Repeat([]int64{1}, len(starts))
	}
	if len(ends) != len(starts) || len(axes) != len(starts) || len(steps) != len(starts) {
		return nil, nil, 0, fmt.Errorf("%w: %d starts, %d ends, %d axes, %d steps", ir.ErrShape, len(starts), len(ends), len(axes), len(steps))
	}
	at, err := normAxes(axes, len(x))
	if err != nil {
		return nil, nil, 0, err
	}
	shape, strides = slices.Clone(x), tensor.Strides(x)
	for i, a := range at {
		first, n, err := sliceRange(starts[i], ends[i], steps[i], x[a])
		if err != nil {
			return nil, nil, 0, err
		}
		offset += first * strides[a]
		shape[a] = n
		if n > 1 {
			strides[a] *= int(steps[i])
		}
	}
	return shape, strides, offset, nil
}

func inferSlice(c *ir.InferCtx) error {
	x := c.In(0)
	if !x.Ranked {
		c.SetOut(0, ir.Unranked(x.DType))
		return nil
	}
	starts, ok1 := contents(c, 1)
	ends, ok2 := contents(c, 2)
	n := vectorLen(c.In(1))
	if ok1 {
		n = len(starts)
	} else if n >= 0 {
		starts = slices.Repeat([]content{unknownContent}, n)
	}
	if !ok2 && n >= 0 {
		ends = slices.Repeat([]content{unknownContent}, n)
	}
	axes := make([]int64, max(n, 0))
	for i := range axes {
		axes[i] = int64(i)
	}
	known := n >= 0
	if c.Has(3) {
		v, ok := knownInts(c, 3)
		axes, known = v, known && ok
	}
	steps := slices.Repeat([]content{exactly(1)}, max(n, 0))
	if c.Has(4) {
		if v, ok := contents(c, 4); ok {
			steps = v
		} else {
			steps = slices.Repeat([]content{unknownContent}, max(n, 0))
		}
	}
	if !known {
		c.SetOut(0, rankedUnknown(x.DType, len(x.Shape)))
		return nil
	}
	if len(ends) != n || len(axes) != n || len(steps) != n {
		return fmt.Errorf("%w: %d starts, %d ends, %d axes, %d steps", ir.ErrShape, n, len(ends), len(axes), len(steps))
	}
	at, err := normAxes(axes, len(x.Shape))
	if err != nil {
		return err
	}
	out := slices.Clone(x.Shape)
	for i, a := range at {
		if out[a], err = sliceDim(x.Shape[a], starts[i], ends[i], steps[i]); err != nil {
			return err
		}
	}
	c.SetOut(0, ir.MakeType(x.DType, out...))
	elems, ok := contents(c, 0)
	if !ok || len(x.Shape) != 1 || len(at) != 1 || !starts[0].exact || !ends[0].exact || !steps[0].exact {
		return nil
	}
	first, count, err := sliceRange(starts[0].dim.Size, ends[0].dim.Size, steps[0].dim.Size, len(elems))
	if err != nil {
		return err
	}
	picked := make([]content, count)
	for i := range picked {
		picked[i] = elems[first+i*int(steps[0].dim.Size)]
	}
	setContents(c, 0, picked)
	return nil
}

// sliceDim is the size of a sliced dimension as far as it can be known.
func sliceDim(d ir.Dim, start, end, step content) (ir.Dim, error) {
	if step.exact && step.dim.Size == 0 {
		return d, fmt.Errorf("%w: a step of 0", ir.ErrShape)
	}
	if !step.exact {
		return ir.Unknown(), nil
	}
	if d.IsKnown() && start.exact && end.exact {
		_, n, err := sliceRange(start.dim.Size, end.dim.Size, step.dim.Size, int(d.Size))
		return ir.Known(int64(n)), err
	}
	const far = 1 << 31 // exporters write "to the end" as a number at least as large, less one
	if step.dim.Size == -1 && start.exact && start.dim.Size == -1 && end.exact && end.dim.Size <= -far+1 {
		return d, nil // reversed
	}
	if step.dim.Size != 1 || !start.exact && start.dim.Name == "" {
		return ir.Unknown(), nil
	}
	toEnd := end.exact && end.dim.Size >= far-1 || end.dim.Same(d)
	switch {
	case start.exact && start.dim.Size == 0 && toEnd:
		return d, nil
	case start.exact && start.dim.Size == 0 && end.dim.Name != "" && endsWithin(end.dim, d):
		return end.dim, nil
	case start.exact && start.dim.Size == 0 && d.IsKnown() && d.Size > 1:
		return cappedDim(end.dim, d.Size), nil
	}
	return ir.Unknown(), nil // clamping to the dim decides
}

// cappedDim names the lesser of a dim and a number: "seq<=512". A table of positions cut
// to the sequence's length has it, and BroadcastDims knows that it fits the sequence.
func cappedDim(d ir.Dim, limit int64) ir.Dim {
	if d.Name == "" || strings.ContainsAny(d.Name, "+*()<-") {
		return ir.Unknown()
	}
	return ir.Sym(fmt.Sprintf("%s<=%d", d.Name, limit))
}

// endsWithin reports that an end, a named dim, is certain not to lie beyond d.
func endsWithin(end, d ir.Dim) bool {
	if end.Same(d) {
		return true
	}
	rest := ir.SubDim(d, end) // known or named only when d is end plus something
	return rest.IsKnown() || rest.Name != "" && !strings.Contains(rest.Name, "-")
}
