package tests

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/eval"
	"github.com/seed-c851cfd2/moec/ir/onnx"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// TestOpsSurviveBadOperands takes the conformance cases apart: every case is run a few
// times with one input or attribute spoilt. Inference and evaluation must answer with an
// error or a value, never panic, never run away; and a value must be of the type that
// inference promised.
func TestOpsSurviveBadOperands(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	cases := readCases(t, nodeTests)
	table := ops.NewTable()
	rng := rand.New(rand.NewPCG(3, 4))
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		if strings.HasSuffix(name, "_expanded") {
			continue // functions of ops that have their own cases
		}
		for i := range 6 {
			g, err := onnx.Decode(context.Background(), cases[name]["model.onnx"], onnx.Options{Ops: table})
			if err != nil {
				break
			}
			ins, err := cases[name].values("input")
			if err != nil || len(ins) != len(g.Inputs) {
				break
			}
			what := spoil(rng, g, ins)
			start := time.Now()
			if err := survive(g, ins); err != nil {
				t.Errorf("%s, try %d, %s: %v", name, i, what, err)
			}
			if d := time.Since(start); d > 5*time.Second {
				t.Errorf("%s, try %d, %s: took %v", name, i, what, d)
			}
		}
	}
}

// survive infers and runs a graph; errors are fine, panics and broken promises are not.
func survive(g *ir.Graph, ins []*tensor.Tensor) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	for i, v := range g.Inputs {
		if v.Type = (ir.Type{}); ins[i] != nil {
			v.Type = ir.TypeOf(ins[i])
		}
	}
	inferred := ir.Infer(g)
	types := map[*ir.Value]ir.Type{}
	for _, v := range g.Values() {
		types[v] = v.Type
	}
	var broken error
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second) // a Loop may rightly never end
	defer cancel()
	_, _ = eval.Run(ctx, g, ins, eval.Options{MaxElems: 1 << 20, Observe: func(v *ir.Value, x *tensor.Tensor) {
		if t := types[v]; x != nil && inferred == nil && !fits(x, t) {
			broken = fmt.Errorf("%q is %s, inferred as %s", v.Name, x, t)
		}
	}})
	return broken
}

// fits reports whether a tensor is of a type.
func fits(x *tensor.Tensor, t ir.Type) bool {
	if t.DType != tensor.Invalid && t.DType != x.DType() || t.Ranked && len(t.Shape) != x.Rank() {
		return false
	}
	for i, d := range t.Shape {
		if d.IsKnown() && int(d.Size) != x.Shape()[i] {
			return false
		}
	}
	return true
}

// spoil changes one thing about a graph's inputs or its first node and says what.
func spoil(rng *rand.Rand, g *ir.Graph, ins []*tensor.Tensor) string {
	var attrs []ir.Attr
	if len(g.Nodes) > 0 {
		attrs = ir.AttrsOf(g.Nodes[0].Attrs)
	}
	if len(ins) == 0 || len(attrs) > 0 && rng.IntN(2) == 0 {
		if len(attrs) == 0 {
			return "nothing"
		}
		a := attrs[rng.IntN(len(attrs))]
		v := spoilAttr(rng, a.Value)
		if err := ir.SetAttr(g.Nodes[0].Attrs, a.Name, v); err != nil {
			return "nothing"
		}
		return fmt.Sprintf("attribute %s = %v", a.Name, v)
	}
	i := rng.IntN(len(ins))
	x := ins[i]
	if x == nil {
		return "nothing"
	}
	switch rng.IntN(5) {
	case 0: // another element type
		dts := []tensor.DType{tensor.F32, tensor.F64, tensor.F16, tensor.BF16, tensor.Bool, tensor.I8, tensor.I32, tensor.I64, tensor.U8, tensor.U64, tensor.String, tensor.C64, tensor.F8E4M3FN, tensor.I4}
		ins[i] = tensor.New(dts[rng.IntN(len(dts))], x.Shape()...)
	case 1: // another length of one axis
		shape := slices.Clone(x.Shape())
		if len(shape) > 0 {
			shape[rng.IntN(len(shape))] = rng.IntN(6)
		}
		ins[i] = refill(rng, x, shape)
	case 2: // an axis less
		shape := x.Shape()
		ins[i] = refill(rng, x, shape[:max(len(shape)-1, 0)])
	case 3: // an axis more
		ins[i] = refill(rng, x, append([]int{1 + rng.IntN(2)}, x.Shape()...))
	default: // an element that is out of every range
		ins[i] = x.Clone()
		extremes(rng, ins[i])
	}
	return fmt.Sprintf("input %d is %s, was %s", i, ins[i], x)
}

// refill makes a tensor of another shape from x's elements, repeated.
func refill(rng *rand.Rand, x *tensor.Tensor, shape []int) *tensor.Tensor {
	out := tensor.New(x.DType(), shape...)
	for i := range out.Strings() {
		if n := len(x.Strings()); n > 0 {
			out.Strings()[i] = x.Strings()[rng.IntN(n)]
		}
	}
	if src, dst := x.Bytes(), out.Bytes(); len(src) > 0 {
		for n := 0; n < len(dst); {
			n += copy(dst[n:], src)
		}
	}
	return out
}

func extremes(rng *rand.Rand, x *tensor.Tensor) {
	if x.Len() == 0 {
		return
	}
	at := rng.IntN(x.Len())
	switch x.DType() {
	case tensor.F32:
		tensor.Data[float32](x)[at] = []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), -1e30, 1e30, 0}[rng.IntN(6)]
	case tensor.F64:
		tensor.Data[float64](x)[at] = []float64{math.NaN(), math.Inf(1), -1e300, 1e300}[rng.IntN(4)]
	case tensor.I64:
		tensor.Data[int64](x)[at] = []int64{math.MinInt64, -3, -1, 0, 1, 7, 1 << 31, 1 << 40, math.MaxInt64}[rng.IntN(9)]
	case tensor.I32:
		tensor.Data[int32](x)[at] = []int32{math.MinInt32, -3, -1, 0, 7, math.MaxInt32}[rng.IntN(6)]
	case tensor.U8, tensor.Bool, tensor.I8:
		x.Bytes()[at] = byte(rng.IntN(2))
	}
}

func spoilAttr(rng *rand.Rand, v any) any {
	ints := []int64{math.MinInt64, -7, -2, -1, 0, 1, 2, 5, 1 << 20, 1 << 31, 1 << 40, math.MaxInt64}
	one := func() int64 { return ints[rng.IntN(len(ints))] }
	switch x := v.(type) {
	case int64:
		return one()
	case bool:
		return !x
	case float32:
		return []float32{float32(math.NaN()), float32(math.Inf(1)), -1, 0, 1e-30, 1e30}[rng.IntN(6)]
	case string:
		return []string{"", "nonsense", "SAME_UPPER", "linear", "sum"}[rng.IntN(5)]
	case []int64:
		switch y := slices.Clone(x); {
		case rng.IntN(3) == 0:
			return append(y, one())
		case len(y) > 0 && rng.IntN(3) == 0:
			return y[1:]
		case len(y) > 0:
			y[rng.IntN(len(y))] = one()
			return y
		}
		return []int64{one()}
	case []float32:
		return []float32{}
	case []string:
		return append(slices.Clone(x), "nonsense")
	case tensor.DType:
		return []tensor.DType{tensor.F16, tensor.I64, tensor.String, tensor.C64, tensor.F8E5M2, tensor.U4, tensor.Bool}[rng.IntN(7)]
	case *tensor.Tensor:
		return tensor.New(tensor.I8, 2)
	}
	return v
}
