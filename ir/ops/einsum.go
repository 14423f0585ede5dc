package ops

import (
	"fmt"
	"slices"
	"strings"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// EinsumAttrs hold the equation: "bij,bjk->bik", dots for broadcast dimensions.
type EinsumAttrs struct {
	Equation string `attr:"equation"`
}

func einsumOps() []*ir.Op {
	return []*ir.Op{typed(&ir.Op{
		Name: "Einsum", Since: 28, Doc: "Sum of products over the indices of an equation that its result does not name.",
		Attrs: func() any { return &EinsumAttrs{} },
		MinIn: 1, MaxIn: -1, MinOut: 1, MaxOut: 1,
		Infer: inferEinsum,
		Eval:  halfViaF32(evalEinsum),
		Cost:  costEinsum,
	}, numberTypes)}
}

// einsumTerms are the indices of each operand and of the result. Letters stand for
// themselves; the dimensions under an ellipsis are ' ' for the last and the runes below
// it for those before, since they align at the end.
type einsumTerms struct {
	ins [][]rune
	out []rune
}

// maxEllipsis bounds the dimensions under an ellipsis.
const maxEllipsis = 32

func parseEinsum(eq string, ranks []int) (t einsumTerms, err error) {
	fail := func(format string, args ...any) (einsumTerms, error) {
		return einsumTerms{}, fmt.Errorf("%w: equation %q: %s", ir.ErrAttr, eq, fmt.Sprintf(format, args...))
	}
	eq = strings.ReplaceAll(eq, " ", "")
	left, right, explicit := strings.Cut(eq, "->")
	terms := strings.Split(left, ",")
	if len(terms) != len(ranks) {
		return fail("%d terms for %d inputs", len(terms), len(ranks))
	}
	widest := 0
	seen := map[rune]int{}
	for i, term := range terms {
		letters := strings.ReplaceAll(term, "...", "")
		dots := 0
		if letters != term {
			dots = ranks[i] - len(letters)
		}
		if dots < 0 || dots > maxEllipsis || len(letters)+dots != ranks[i] {
			return fail("term %q does not name the %d dimensions of input %d", term, ranks[i], i)
		}
		idx, err := einsumIndices(term, dots)
		if err != nil {
			return fail("%v", err)
		}
		widest = max(widest, dots)
		for _, r := range letters {
			seen[r]++
		}
		t.ins = append(t.ins, idx)
	}
	if explicit {
		if t.out, err = einsumIndices(right, widest); err != nil {
			return fail("%v", err)
		}
		for i, r := range t.out {
			if slices.Contains(t.out[:i], r) || r >= 'A' && seen[r] == 0 {
				return fail("index %q of the result", r)
			}
		}
		return t, nil
	}
	// Without an arrow: the ellipsis, then the letters that stand once, sorted.
	t.out, _ = einsumIndices("...", widest)
	var once []rune
	for r, n := range seen {
		if n == 1 {
			once = append(once, r)
		}
	}
	slices.Sort(once)
	t.out = append(t.out, once...)
	return t, nil
}

func einsumIndices(term string, dots int) ([]rune, error) {
	out := []rune{}
	head, tail, ok := strings.Cut(term, "...")
	for _, r := range head {
		out = append(out, r)
	}
	if ok {
		for i := range dots {
			out = append(out, ' '-rune(dots-1-i)) // below all letters
		}
		for _, r := range tail {
			out = append(out, r)
		}
	}
	for _, r := range head + tail {
		if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
			return nil, fmt.Errorf("unexpected %q", r)
		}
	}
	return out, nil
}

func inferEinsum(c *ir.InferCtx) error {
	dt := c.In(0).DType
	ranks := make([]int, c.NumIn())
	for i := range ranks {
		t := c.In(i)
		if t.DType != dt && t.DType != tensor.Invalid {
			return fmt.Errorf("%w: %s and %s", ir.ErrType, dt, t.DType)
		}
		if !t.Ranked {
			c.SetOut(0, ir.Unranked(dt))
			return nil
		}
		ranks[i] = len(t.Shape)
	}
	terms, err := parseEinsum(c.Attrs.(*EinsumAttrs).Equation, ranks)
	if err != nil {
		return err
	}
	size := map[rune]ir.Dim{}
	for i, idx := range terms.ins {
		for d, r := range idx {
			dim := c.In(i).Shape[d]
			have, ok := size[r]
			if !ok {
				size[r] = dim
				continue
			}
			s, err := BroadcastDims([]ir.Dim{have}, []ir.Dim{dim})
			if err != nil {
				return fmt.Errorf("%w (index %q of %q)", err, r, c.Attrs.(*EinsumAttrs).Equation)
			}
			if r >= 'A' && !s[0].IsKnown() && s[0].Name == "" && have.Name != "" {
				s[0] = have // a letter's sizes agree: one of two names will do
			}
			size[r] = s[0]
		}
	}
	out := make([]ir.Dim, len(terms.out))
	for i, r := range terms.out {
		d, ok := size[r]
		if !ok {
			d = ir.Known(1)
		}
		out[i] = d
	}
	c.SetOut(0, ir.MakeType(dt, out...))
	return nil
}

// einsumLoops is the equation as loops: sizes of the result's indices followed by
// those summed over, and the strides of every operand along them.
type einsumLoops struct {
	out, sum []int
	strides  [][]int
}

func (t einsumTerms) loops(shapes [][]int) (l einsumLoops, err error) {
	size := map[rune]int{}
	order := slices.Clone(t.out)
	for i, idx := range t.ins {
		for d, r := range idx {
			n := shapes[i][d]
			if have, ok := size[r]; ok && have != n && have != 1 && n != 1 {
				return l, fmt.Errorf("%w: index %q is %d and %d", ir.ErrShape, r, have, n)
			} else if !ok || have == 1 {
				size[r] = n
			}
			if !slices.Contains(order, r) {
				order = append(order, r)
			}
		}
	}
	for i, r := range order {
		n, ok := size[r]
		if !ok {
			n = 1
		}
		if i < len(t.out) {
			l.out = append(l.out, n)
		} else {
			l.sum = append(l.sum, n)
		}
	}
	for i, idx := range t.ins {
		st := make([]int, len(order))
		for d, s := range tensor.Strides(shapes[i]) {
			if shapes[i][d] != 1 {
				st[slices.Index(order, idx[d])] += s // twice: the diagonal
			}
		}
		l.strides = append(l.strides, st)
	}
	return l, nil
}

func evalEinsum(c *ir.EvalCtx) error {
	ranks, shapes := make([]int, len(c.Ins)), make([][]int, len(c.Ins))
	dt := c.In(0).DType()
	for i, t := range c.Ins {
		if t == nil {
			return fmt.Errorf("%w: input %d is missing", ir.ErrInput, i)
		}
		if t.DType() != dt {
			return fmt.Errorf("%w: %s and %s", ir.ErrType, dt, t.DType())
		}
		ranks[i], shapes[i] = t.Rank(), t.Shape()
	}
	terms, err := parseEinsum(c.Attrs.(*EinsumAttrs).Equation, ranks)
	if err != nil {
		return err
	}
	l, err := terms.loops(shapes)
	if err != nil {
		return err
	}
	if _, ok := tensor.CheckedElems(slices.Concat(l.out, l.sum)); !ok {
		return fmt.Errorf("%w: %v by %v products", ir.ErrLimit, l.out, l.sum)
	}
	out, err := c.Out(0, dt, l.out...)
	if err != nil {
		return err
	}
	if dt.IsFloat() {
		ops, err := readAll(c.Ins, floatsOf)
		if err != nil {
			return err
		}
		return storeFloats(out, sumProducts(l, ops, out.Len()), true)
	}
	ops, err := readAll(c.Ins, intsOf)
	if err != nil {
		return err
	}
	return storeInts(out, sumProducts(l, ops, out.Len()))
}

func readAll[T any](ts []*tensor.Tensor, read func(*tensor.Tensor) ([]T, error)) ([][]T, error) {
	out := make([][]T, len(ts))
	for i, t := range ts {
		var err error
		if out[i], err = read(t); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// sumProducts runs the loops; sums are in rising order of the indices.
func sumProducts[T float64 | int64](l einsumLoops, ops [][]T, n int) []T {
	z := make([]T, n)
	r := len(l.out)
	inner := make([][]int, len(ops))
	outer := make([][]int, len(ops))
	for i, s := range l.strides {
		outer[i], inner[i] = s[:r], s[r:]
	}
	eachIndex(l.out, outer, func(i int, base []int) {
		var acc T
		eachIndex(l.sum, inner, func(_ int, offs []int) {
			p := T(1)
			for k, v := range ops {
				p *= v[base[k]+offs[k]]
			}
			acc += p
		})
		z[i] = acc
	})
	return z
}

func costEinsum(c *ir.CostCtx) ir.Cost {
	cost := costBytes(c)
	ranks, shapes := make([]int, len(c.Ins)), make([][]int, len(c.Ins))
	for i, t := range c.Ins {
		s, ok := t.Static()
		if !ok {
			return cost
		}
		ranks[i], shapes[i] = len(s), s
	}
	terms, err := parseEinsum(c.Attrs.(*EinsumAttrs).Equation, ranks)
	if err != nil {
		return cost
	}
	l, err := terms.loops(shapes)
	if err != nil {
		return cost
	}
	cost.FLOPs = int64(len(c.Ins)) * int64(tensor.NumElems(l.out)) * int64(tensor.NumElems(l.sum))
	return cost
}
