package cuda

import (
	"slices"

	"github.com/seed-c851cfd2/moec/codegen/plan/expr"
	"github.com/seed-c851cfd2/moec/codegen/ptx"
)

// variants makes the choice of a node for every range of a size, the number of tokens say, that the planner's cuts
// give. What serves the last, open range is correct for all sizes and becomes the choice's own launches; the others
// become its variants. A known size, or no cut, gives one choice.
func (l *Lowering) variants(size ptx.Expr, cuts []int, build func(ptx.Planner) (*Choice, error)) (*Choice, error) {
	pl := l.planner
	pl.Tokens = l.dims.estimate(size)
	if _, known := size.Const(); known || len(cuts) == 0 {
		return build(pl)
	}
	last := cuts[len(cuts)-1] + 1
	pl.From, pl.Tokens = last, max(last, pl.Tokens)
	out, err := build(pl)
	if err != nil {
		return nil, err
	}
	pl.From = 1
	for _, cut := range cuts {
		pl.To, pl.Tokens = cut, cut
		c, err := build(pl)
		if err != nil {
			return nil, err
		}
		v := Variant{When: expr.AtMost(size, cut), Launches: c.Launches, Temps: c.Temps, Reorders: c.order != out.order}
		if n := len(out.Variants); n > 0 && sameKernels(out.Variants[n-1].Launches, v.Launches) {
			out.Variants[n-1] = v
		} else {
			out.Variants = append(out.Variants, v)
		}
		pl.From = cut + 1
	}
	if n := len(out.Variants); n > 0 && sameKernels(out.Variants[n-1].Launches, out.Launches) {
		out.Variants = out.Variants[:n-1]
	}
	return out, nil
}

func sameKernels(a, b []Launch) bool {
	return slices.EqualFunc(a, b, func(a, b Launch) bool { return a.Kernel.Name == b.Kernel.Name })
}
