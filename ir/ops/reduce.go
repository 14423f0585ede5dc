package ops

import (
	"math"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// ReduceAttrs: reduced dimensions stay as 1 with KeepDims; with NoopWithEmptyAxes no
// axes mean no dimension, not all of them.
type ReduceAttrs struct {
	KeepDims          bool `attr:"keepdims"`
	NoopWithEmptyAxes bool `attr:"noop_with_empty_axes"`
}

// reduction folds the elements of one output. Floats fold in float64 whatever their
// type, in row-major order of the input, and round once.
type reduction struct {
	f0, i0  float64 // the folds' first values; beyond 1, i0 stands for an end of the type's range
	f       func(acc, x float64) float64
	i       func(acc, x int64) int64 // nil: integers fold as floats
	finishF func(acc float64, n int) float64
	finishI func(acc int64, n int) int64
	content func(a, b content) content
}

func reduceOps() []*ir.Op {
	wide := floatTypes | wideInts
	extremes := wide | 1<<tensor.I8 | 1<<tensor.U8 | boolType
	add := func(a, x float64) float64 { return a + x }
	addInt := func(a, x int64) int64 { return a + x }
	return []*ir.Op{
		reduceOp("ReduceSum", 13, "Sum along axes.", wide, reduction{f: add, i: addInt, content: addContent}),
		reduceOp("ReduceMean", 18, "Mean along axes.", wide, reduction{
			f: add, i: addInt,
			finishF: func(a float64, n int) float64 { return a / float64(n) },
			finishI: func(a int64, n int) int64 { return a / int64(max(n, 1)) },
		}),
		reduceOp("ReduceProd", 18, "Product along axes.", wide, reduction{
			f0: 1, i0: 1, content: mulContent,
			f: func(a, x float64) float64 { return a * x }, i: func(a, x int64) int64 { return a * x },
		}),
		reduceOp("ReduceMax", 20, "Largest along axes.", extremes, reduction{
			f0: math.Inf(-1), i0: math.MinInt64, content: maxContent,
			f: func(a, x float64) float64 { return max(a, x) }, i: func(a, x int64) int64 { return max(a, x) },
		}),
		reduceOp("ReduceMin", 20, "Smallest along axes.", extremes, reduction{
			f0: math.Inf(1), i0: math.MaxInt64, content: minContent,
			f: func(a, x float64) float64 { return min(a, x) }, i: func(a, x int64) int64 { return min(a, x) },
		}),
		reduceOp("ReduceL1", 18, "Sum of absolute values along axes.", wide, reduction{
			f: func(a, x float64) float64 { return a + math.Abs(x) }, i: func(a, x int64) int64 { return a + absInt(x) },
		}),
		reduceOp("ReduceL2", 18, "Square root of the sum of squares along axes.", wide, reduction{
			f:       func(a, x float64) float64 { return a + x*x },
			finishF: func(a float64, _ int) float64 { return math.Sqrt(a) },
		}),
		reduceOp("ReduceSumSquare", 18, "Sum of squares along axes.", wide, reduction{
			f: func(a, x float64) float64 { return a + x*x }, i: func(a, x int64) int64 { return a + x*x },
		}),
		reduceOp("ReduceLogSum", 28, "Logarithm of the sum along axes.", wide, reduction{
			f: add, finishF: func(a float64, _ int) float64 { return math.Log(a) },
		}),
		logSumExpOp(),
	}
}

func reduceOp(name string, since int, doc string, types typeSet, r reduction) *ir.Op {
	return typed(&ir.Op{
		Name: name, Since: since, Doc: doc,
		Attrs: func() any { return &ReduceAttrs{KeepDims: true} },
		MinIn: 1, MaxIn: 2, MinOut: 1, MaxOut: 1,
		Infer: func(c *ir.InferCtx) error { return inferReduce(c, r.content) },
		Eval:  halfViaF32(func(c *ir.EvalCtx) error { return evalReduce(c, r) }),
		Cost:  costReduce,
	}, types, i64Type)
}

// costReduce is one operation for each element that enters.
func costReduce(c *ir.CostCtx) ir.Cost {
	cost := costBytes(c)
	if s, ok := c.Ins[0].Static(); ok {
		cost.FLOPs = int64(tensor.NumElems(s))
	}
	return cost
}

// reducedAxes settles which axes are reduced; ok is false when that is not known yet.
func reducedAxes(a *ReduceAttrs, axes []int64, rank int) ([]int, error) {
	if len(axes) == 0 {
		if a.NoopWithEmptyAxes {
			return nil, nil
		}
		return allAxes(rank), nil
	}
	return normAxes(axes, rank)
}

func inferReduce(c *ir.InferCtx, fold func(a, b content) content) error {
	x, a := c.In(0), c.Attrs.(*ReduceAttrs)
	var axes []int64
	if c.Has(1) {
		v, ok := knownInts(c, 1)
		if !ok {
			rank := -1
			if a.KeepDims {
				rank = x.Rank()
			} else if n := vectorLen(c.In(1)); n > 0 && x.Ranked && n <= len(x.Shape) {
				rank = len(x.Shape) - n
			}
			c.SetOut(0, rankedUnknown(x.DType, rank))
			return nil
		}
		axes = v
	}
	if !x.Ranked {
		c.SetOut(0, ir.Unranked(x.DType))
		if len(axes) == 0 && !a.NoopWithEmptyAxes && !a.KeepDims {
			c.SetOut(0, ir.MakeType(x.DType))
		}
		return nil
	}
	at, err := reducedAxes(a, axes, len(x.Shape))
	if err != nil {
		return err
	}
	out := make([]ir.Dim, 0, len(x.Shape))
	for i, d := range x.Shape {
		switch {
		case !slices.Contains(at, i):
			out = append(out, d)
		case a.KeepDims:
			out = append(out, ir.Known(1))
		}
	}
	c.SetOut(0, ir.MakeType(x.DType, out...))
	if v, ok := contents(c, 0); ok && fold != nil && len(x.Shape) == 1 && len(at) == 1 && len(v) > 0 {
		acc := v[0]
		for _, e := range v[1:] {
			acc = fold(acc, e)
		}
		setContents(c, 0, []content{acc})
	}
	return nil
}

// reduceLayout is where the elements of an input go: the output's shape, the strides
// that take an input position to its output element, and how many meet there.
func reduceLayout(shape []int, axes []int, keep bool) (out, strides []int, count int) {
	full := slices.Clone(shape)
	count = 1
	for _, a := range axes {
		full[a] = 1
		count *= shape[a]
	}
	strides = tensor.Strides(full)
	for i := range full {
		if slices.Contains(axes, i) {
			strides[i] = 0
			if !keep {
				continue
			}
		}
		out = append(out, full[i])
	}
	return out, strides, count
}

// reduceSetup reads axes and makes output 0.
func reduceSetup(c *ir.EvalCtx) (out *tensor.Tensor, strides []int, count int, err error) {
	x, a := c.In(0), c.Attrs.(*ReduceAttrs)
	var axes []int64
	if c.Has(1) {
		if axes, err = evalInts(c, 1); err != nil {
			return nil, nil, 0, err
		}
	}
	at, err := reducedAxes(a, axes, x.Rank())
	if err != nil {
		return nil, nil, 0, err
	}
	shape, strides, count := reduceLayout(x.Shape(), at, a.KeepDims)
	out, err = c.Out(0, x.DType(), shape...)
	return out, strides, count, err
}

func evalReduce(c *ir.EvalCtx, r reduction) error {
	x := c.In(0)
	out, strides, count, err := reduceSetup(c)
	if err != nil {
		return err
	}
	if !x.DType().IsFloat() && r.i != nil {
		return reduceInts(out, x, strides, count, r)
	}
	v, err := floatsOf(x)
	if err != nil {
		return err
	}
	acc := make([]float64, out.Len())
	for i := range acc {
		acc[i] = r.f0
	}
	eachIndex(x.Shape(), [][]int{strides}, func(i int, o []int) { acc[o[0]] = r.f(acc[o[0]], v[i]) })
	if r.finishF != nil {
		for i := range acc {
			acc[i] = r.finishF(acc[i], count)
		}
	}
	return storeFloats(out, acc, true)
}

func reduceInts(out, x *tensor.Tensor, strides []int, count int, r reduction) error {
	v, err := intsOf(x)
	if err != nil {
		return err
	}
	// Unsigned 64-bit numbers keep their order as signed ones with the top bit flipped.
	ordered := x.DType() == tensor.U64 && math.Abs(r.i0) > 1
	first := orderStart(x.DType(), r.i0)
	if ordered {
		flipTop(v)
		first = int64(math.MinInt64)
		if r.i0 > 0 {
			first = math.MaxInt64
		}
	}
	acc := slices.Repeat([]int64{first}, out.Len())
	eachIndex(x.Shape(), [][]int{strides}, func(i int, o []int) { acc[o[0]] = r.i(acc[o[0]], v[i]) })
	if ordered {
		flipTop(acc)
	}
	if r.finishI != nil {
		for i := range acc {
			acc[i] = r.finishI(acc[i], count)
		}
	}
	return storeInts(out, acc)
}

func flipTop(v []int64) {
	for i := range v {
		v[i] ^= math.MinInt64
	}
}

// orderStart is the first value of a fold: for the extremes, the least or greatest
// number of the type, which is what reducing nothing gives.
func orderStart(dt tensor.DType, i0 float64) int64 {
	if math.Abs(i0) <= 1 {
		return int64(i0)
	}
	lo, hi := intRange(dt)
	if i0 > 0 {
		return hi
	}
	return lo
}

// intRange is the least and greatest value of an integer type (uint64 stops at the
// greatest int64) or bool.
func intRange(dt tensor.DType) (lo, hi int64) {
	switch {
	case dt == tensor.Bool:
		return 0, 1
	case dt == tensor.U64 || dt == tensor.I64:
		if dt == tensor.U64 {
			return 0, math.MaxInt64
		}
		return math.MinInt64, math.MaxInt64
	case dt.IsSigned():
		return -1 << (dt.Bits() - 1), 1<<(dt.Bits()-1) - 1
	}
	return 0, 1<<dt.Bits() - 1
}

func logSumExpOp() *ir.Op {
	return typed(&ir.Op{
		Name: "ReduceLogSumExp", Since: 28, Doc: "Logarithm of the sum of exponentials along axes, without overflow.",
		Attrs: func() any { return &ReduceAttrs{KeepDims: true} },
		MinIn: 1, MaxIn: 2, MinOut: 1, MaxOut: 1,
		Infer: func(c *ir.InferCtx) error { return inferReduce(c, nil) },
		Eval:  halfViaF32(evalLogSumExp),
		Cost:  costReduce,
	}, floatTypes|wideInts, i64Type)
}

func evalLogSumExp(c *ir.EvalCtx) error {
	x := c.In(0)
	out, strides, _, err := reduceSetup(c)
	if err != nil {
		return err
	}
	v, err := floatsOf(x)
	if err != nil {
		return err
	}
	top := slices.Repeat([]float64{math.Inf(-1)}, out.Len())
	eachIndex(x.Shape(), [][]int{strides}, func(i int, o []int) { top[o[0]] = max(top[o[0]], v[i]) })
	sum := make([]float64, out.Len())
	eachIndex(x.Shape(), [][]int{strides}, func(i int, o []int) {
		if !math.IsInf(top[o[0]], 0) {
			sum[o[0]] += math.Exp(v[i] - top[o[0]])
		}
	})
	for i, t := range top {
		if math.IsInf(t, 0) {
			sum[i] = t // nothing, or infinity, was summed
			continue
		}
		sum[i] = t + math.Log(sum[i])
	}
	return storeFloats(out, sum, true)
}
