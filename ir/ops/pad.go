package ops

import (
	"fmt"
	"math"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// PadAttrs: Mode is "constant", "reflect", "edge" or "wrap".
type PadAttrs struct {
	Mode string `attr:"mode"`
}

func padOps() []*ir.Op {
	return []*ir.Op{typed(&ir.Op{
		Name: "Pad", Since: 25, Doc: "The input with elements put before and behind it along axes; negative counts cut.",
		Attrs: func() any { return &PadAttrs{"constant"} },
		MinIn: 2, MaxIn: 4, MinOut: 1, MaxOut: 1,
		Infer: inferPad,
		Eval:  evalPad,
	}, anyType, i64Type, anyType, indexTypes)}
}

func checkPadMode(a *PadAttrs) error {
	if !slices.Contains([]string{"constant", "reflect", "edge", "wrap"}, a.Mode) {
		return fmt.Errorf("%w: mode %q, want constant, reflect, edge or wrap", ir.ErrAttr, a.Mode)
	}
	return nil
}

// padAxes are the axes that pads speak of.
func padAxes(axes []int64, given bool, pads, rank int) ([]int, error) {
	at := allAxes(rank)
	if given {
		var err error
		if at, err = normAxes(axes, rank); err != nil {
			return nil, err
		}
	}
	if pads != 2*len(at) {
		return nil, fmt.Errorf("%w: %d pads for %d axes", ir.ErrShape, pads, len(at))
	}
	return at, nil
}

func inferPad(c *ir.InferCtx) error {
	if err := checkPadMode(c.Attrs.(*PadAttrs)); err != nil {
		return err
	}
	if _, err := inferSameTypes(c, 0, 2); err != nil {
		return err
	}
	x := c.In(0)
	pads, ok := contents(c, 1)
	axes, ok2 := []int64(nil), true
	if c.Has(3) {
		axes, ok2 = knownInts(c, 3)
	}
	if !x.Ranked || !ok || !ok2 {
		c.SetOut(0, rankedUnknown(x.DType, x.Rank()))
		return nil
	}
	at, err := padAxes(axes, c.Has(3), len(pads), len(x.Shape))
	if err != nil {
		return err
	}
	s := slices.Clone(x.Shape)
	for i, d := range at {
		sum := addContent(addContent(content{dim: s[d], exact: s[d].IsKnown()}, pads[i]), pads[i+len(at)])
		if sum.exact && sum.dim.Size < 0 {
			return fmt.Errorf("%w: axis %d of %s is cut below nothing", ir.ErrShape, d, x)
		}
		s[d] = sum.dim
	}
	c.SetOut(0, ir.MakeType(x.DType, s...))
	return nil
}

func evalPad(c *ir.EvalCtx) error {
	x, mode := c.In(0), c.Attrs.(*PadAttrs).Mode
	if err := checkPadMode(c.Attrs.(*PadAttrs)); err != nil {
		return err
	}
	pads, err := evalInts(c, 1)
	if err != nil {
		return err
	}
	var axes []int64
	if c.Has(3) {
		if axes, err = evalInts(c, 3); err != nil {
			return err
		}
	}
	begin, shape, err := padShape(pads, axes, c.Has(3), x.Shape())
	if err != nil {
		return fmt.Errorf("%w (of %s)", err, x)
	}
	fill, err := padValue(c)
	if err != nil {
		return err
	}
	out, err := c.Out(0, x.DType(), shape...)
	if err != nil || out.Len() == 0 {
		return err
	}
	from, err := padLines(mode, begin, x.Shape(), shape)
	if err != nil {
		return fmt.Errorf("%w of %s", err, x)
	}
	var move func(di, si, n int)
	if x.Len() > 0 {
		move = mover(out, x)
	}
	put := mover(out, fill)
	strides := tensor.Strides(x.Shape())
	idx := make([]int, len(shape))
	for i := range out.Len() {
		off, inside := 0, true
		for d, p := range idx {
			if from[d][p] < 0 {
				inside = false
				break
			}
			off += from[d][p] * strides[d]
		}
		if inside {
			move(i, off, 1)
		} else {
			put(i, 0, 1)
		}
		for d := len(idx) - 1; d >= 0; d-- {
			if idx[d]++; idx[d] < shape[d] {
				break
			}
			idx[d] = 0
		}
	}
	return nil
}

// padValue is the one element that constant mode pads with.
func padValue(c *ir.EvalCtx) (*tensor.Tensor, error) {
	if v := c.In(2); v != nil {
		if err := sameTypes(c, 0, 2); err != nil {
			return nil, err
		}
		if v.Len() != 1 {
			return nil, fmt.Errorf("%w: constant_value is %s, want one element", ir.ErrShape, v)
		}
		return v, nil
	}
	return tensor.New(c.In(0).DType()), nil
}

// PadSources maps the positions of Pad's output to those of its input, per axis: element i of
// axis d of the output shows position from[d][i] of x, or the padding value where that is -1.
// axes nil means all of them.
func PadSources(mode string, pads, axes []int64, x []int) (from [][]int, err error) {
	if err := checkPadMode(&PadAttrs{mode}); err != nil {
		return nil, err
	}
	begin, shape, err := padShape(pads, axes, axes != nil, x)
	if err != nil {
		return nil, err
	}
	return padLines(mode, begin, x, shape)
}

// padShape gives where the input begins in the output, and the output's shape.
func padShape(pads, axes []int64, given bool, x []int) (begin, shape []int, err error) {
	at, err := padAxes(axes, given, len(pads), len(x))
	if err != nil {
		return nil, nil, err
	}
	begin, shape = make([]int, len(x)), slices.Clone(x)
	for i, d := range at {
		lo, hi := pads[i], pads[i+len(at)]
		const far = min(1<<40, math.MaxInt/4)
		if lo < -far || lo > far || hi < -far || hi > far || int64(shape[d])+lo+hi < 0 {
			return nil, nil, fmt.Errorf("%w: pads %v", ir.ErrShape, pads)
		}
		begin[d] = int(lo)
		shape[d] += int(lo + hi)
	}
	return begin, shape, nil
}

// padLines maps positions of the output to those of the input, axis by axis, -1 for padding.
func padLines(mode string, begin, x, shape []int) (from [][]int, err error) {
	from = make([][]int, len(x))
	for d := range from {
		if from[d], err = padLine(mode, begin[d], x[d], shape[d]); err != nil {
			return nil, fmt.Errorf("%w (axis %d)", err, d)
		}
	}
	return from, nil
}

// padLine maps output positions along an axis to input positions, -1 for padding.
func padLine(mode string, begin, n, size int) ([]int, error) {
	out := make([]int, size)
	if n == 0 && mode != "constant" && size > 0 {
		return nil, fmt.Errorf("%w: mode %s has nothing to show of an empty axis", ir.ErrShape, mode)
	}
	for i := range out {
		p := i - begin
		switch {
		case p >= 0 && p < n:
		case mode == "constant":
			p = -1
		case mode == "edge":
			p = min(max(p, 0), n-1)
		case mode == "wrap":
			p = ((p % n) + n) % n
		case n == 1:
			p = 0
		default: // reflect: there and back takes 2(n-1) steps
			period := 2 * (n - 1)
			if p = ((p % period) + period) % period; p >= n {
				p = period - p
			}
		}
		out[i] = p
	}
	return out, nil
}
