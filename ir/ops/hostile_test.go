package ops

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// TestHostileInputs calls every op with random types, ranks, sizes, contents and
// attributes. Infer and Eval may refuse but not panic, and what Infer says of an output,
// with or without the inputs' values, must hold for what Eval gives.
func TestHostileInputs(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 60
	}
	for _, op := range NewTable().All() {
		if op.Infer == nil || op.Eval == nil {
			continue
		}
		t.Run(strings.ReplaceAll(op.String(), "::", "."), func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			for range rounds {
				if err := hostileRound(op, r); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

var hostileDTypes = []tensor.DType{
	tensor.F32, tensor.F32, tensor.F32, tensor.I64, tensor.I64, tensor.F64, tensor.F16, tensor.BF16, tensor.Bool,
	tensor.I8, tensor.U8, tensor.I32, tensor.U32, tensor.U64, tensor.String, tensor.C64, tensor.C128,
	tensor.F8E4M3FN, tensor.F8E8M0, tensor.F4E2M1, tensor.I4, tensor.U2,
}

var hostileStrings = []string{
	"", "add", "mul", "max", "none", "DCR", "CRD", "LEFT", "RIGHT", "constant", "reflect", "edge", "wrap", "linear", "circular",
	"ij,jk->ik", "...i,i...", "ii->i", "tanh", "up", "nearest", "UPPER", "(", "a*", "SAME_UPPER", "VALID", "NOTSET", "relu", "bidirectional",
}

func hostileRound(op *ir.Op, r *rand.Rand) (err error) {
	n := op.MinIn + r.IntN(3)
	if op.MaxIn >= 0 {
		n = min(n, op.MaxIn+r.IntN(20)/19)
	}
	if r.IntN(30) == 0 {
		n = r.IntN(max(n, 1))
	}
	ins := make([]*tensor.Tensor, n)
	first := hostileDTypes[r.IntN(len(hostileDTypes))]
	base := hostileTensor(first, r)
	friendly := r.IntN(2) == 0 // shapes that have a chance to fit
	for i := range ins {
		if i > 0 && r.IntN(8) == 0 {
			continue
		}
		dt := first
		switch {
		case i > 0 && r.IntN(3) == 0:
			dt = tensor.I64
		case r.IntN(3) == 0:
			dt = hostileDTypes[r.IntN(len(hostileDTypes))]
		}
		ins[i] = hostileTensor(dt, r)
		if friendly && dt == first && r.IntN(3) > 0 {
			ins[i] = base
		}
	}
	var attrs any
	if op.Attrs != nil {
		attrs = op.Attrs()
		hostileAttrs(attrs, r)
	}
	outs := max(op.MinOut, 1)
	if op.MaxOut < 0 {
		outs = r.IntN(4)
	} else if op.MaxOut > outs {
		outs += r.IntN(op.MaxOut - outs + 1)
	}
	what := func() string { return fmt.Sprintf("%s %v attributes %+v", op, ins, attrs) }
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: panic: %v\n%s", what(), p, debug.Stack())
		}
	}()

	blind, blindErr := hostileInfer(op, attrs, ins, outs, false)
	seeing, seeingErr := hostileInfer(op, attrs, ins, outs, true)
	c := &ir.EvalCtx{
		Context: context.Background(), Attrs: attrs, Ins: ins, Outs: make([]*tensor.Tensor, outs),
		Want: slices.Repeat([]bool{true}, outs), MaxElems: 1 << 16,
		Sub: func(int, []*tensor.Tensor) ([]*tensor.Tensor, error) { return nil, ir.ErrGraph },
	}
	if err := op.Eval(c); err != nil {
		return nil
	}
	// Infer is the gate: it may be stricter than Eval about types. Subgraphs are absent.
	gate := func(err error) bool { return errors.Is(err, ir.ErrType) || errors.Is(err, ir.ErrGraph) }
	if gate(blindErr) || gate(seeingErr) {
		return nil
	}
	if blindErr != nil || seeingErr != nil {
		return fmt.Errorf("%s: evaluates, but Infer says %v, and with values %v", what(), blindErr, seeingErr)
	}
	for i, o := range c.Outs {
		if o == nil {
			continue
		}
		for _, ty := range []ir.Type{blind[i], seeing[i]} {
			if !holds(ty, o) {
				return fmt.Errorf("%s: output %d is %s, inferred as %s", what(), i, o, ty)
			}
		}
	}
	return nil
}

// holds reports whether a tensor is of a type.
func holds(ty ir.Type, o *tensor.Tensor) bool {
	if ty.DType != tensor.Invalid && ty.DType != o.DType() {
		return false
	}
	if !ty.Ranked {
		return true
	}
	return len(ty.Shape) == o.Rank() && !slices.ContainsFunc(allAxes(o.Rank()), func(d int) bool {
		return !dimsMayEqual(ty.Shape[d], ir.Known(int64(o.Shape()[d])))
	})
}

func hostileInfer(op *ir.Op, attrs any, ins []*tensor.Tensor, outs int, values bool) ([]ir.Type, error) {
	c := &ir.InferCtx{
		Attrs: attrs, Ins: make([]ir.Type, len(ins)), Consts: make([]*tensor.Tensor, len(ins)),
		Syms: make([][]ir.Dim, len(ins)), Outs: make([]ir.Type, outs),
		Sub: func(int, []ir.Type) ([]ir.Type, error) { return nil, ir.ErrGraph },
	}
	for i, t := range ins {
		if t == nil {
			continue
		}
		c.Ins[i] = ir.TypeOf(t)
		if values {
			c.Consts[i] = t
		}
	}
	err := op.Infer(c)
	return c.Outs, err
}

func hostileTensor(dt tensor.DType, r *rand.Rand) *tensor.Tensor {
	shape := make([]int, r.IntN(5))
	for i := range shape {
		shape[i] = []int{0, 1, 1, 2, 2, 3, 4}[r.IntN(7)]
	}
	if r.IntN(4) == 0 {
		shape = []int{r.IntN(5)}
	}
	t := tensor.New(dt, shape...)
	for i := range t.Strings() {
		t.Strings()[i] = hostileStrings[r.IntN(len(hostileStrings))]
	}
	switch dt {
	case tensor.String:
	case tensor.I64:
		for i := range tensor.Data[int64](t) {
			tensor.Data[int64](t)[i] = hostileInt(r)
		}
	case tensor.F32:
		for i := range tensor.Data[float32](t) {
			tensor.Data[float32](t)[i] = []float32{-1, 0, 0.5, 1, 2, 3, float32(math.NaN()), float32(math.Inf(1))}[r.IntN(8)]
		}
	case tensor.Bool:
		for i := range tensor.Data[bool](t) {
			tensor.Data[bool](t)[i] = r.IntN(2) == 0
		}
	case tensor.I4, tensor.U2, tensor.F4E2M1:
		for i := range t.Bytes() {
			t.Bytes()[i] = byte(r.IntN(2))
		}
	default:
		for i := range t.Bytes() {
			t.Bytes()[i] = byte(r.IntN(256))
		}
	}
	return t
}

func hostileInt(r *rand.Rand) int64 {
	if r.IntN(12) == 0 {
		return []int64{math.MaxInt64, math.MinInt64, 1 << 40, -1 << 31, 1 << 31}[r.IntN(5)]
	}
	return int64(r.IntN(7)) - 2
}

// hostileAttrs changes some fields of an attribute struct.
func hostileAttrs(attrs any, r *rand.Rand) {
	v := reflect.ValueOf(attrs).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Tag.Get("attr")
		if name == "" || r.IntN(3) > 0 {
			continue
		}
		ints := make([]int64, r.IntN(5))
		for j := range ints {
			ints[j] = hostileInt(r)
		}
		for _, x := range []any{
			hostileInt(r), float32(r.IntN(5)) - 1, hostileStrings[r.IntN(len(hostileStrings))], ints,
			[]float32{1, 2},
			[]string{"a"},
			hostileTensor(tensor.F32, r), r.IntN(2) == 0,
			hostileDTypes[r.IntN(len(hostileDTypes))],
		} {
			if ir.SetAttr(attrs, name, x) == nil {
				break
			}
		}
	}
}
