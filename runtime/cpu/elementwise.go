package cpu

import (
	"cmp"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/runtime/cpu/act"
)

// float64Ops are the functions that round a float64 function's result, as Eval does.
func float64Ops(op string) func(float64) float64 {
	switch op {
	case "Exp":
		return math.Exp
	case "Log":
		return math.Log
	case "Erf":
		return math.Erf
	case "Sin":
		return math.Sin
	case "Cos":
		return math.Cos
	case "Floor":
		return math.Floor
	case "Ceil":
		return math.Ceil
	case "Round":
		return math.RoundToEven
	case "Sqrt":
		return math.Sqrt
	case "Abs":
		return math.Abs
	}
	return nil
}

// unaryOps are the elementwise functions of one f32 input; the activations of package
// act run as vectors.
func unaryOps(b *Binding) func(out, x []float32) {
	ks := b.Device.gemm.Act()
	vector := func(k act.Kind) func(out, x []float32) {
		return func(out, x []float32) {
			copy(out, x)
			ks.Apply(k, out, 1)
		}
	}
	op := b.Step.Op.String()
	switch op {
	case "Relu":
		return vector(act.Relu)
	case "Sigmoid":
		return vector(act.Sigmoid)
	case "Tanh":
		return vector(act.Tanh)
	case "Gelu":
		if a, ok := b.Step.Attrs.(*ops.GeluAttrs); ok && a.Approximate == "tanh" {
			return vector(act.GeluTanh)
		}
		return vector(act.Gelu)
	case "HardSwish":
		return vector(act.HardSwish)
	case "Swish":
		switch floatAttr(b, "alpha") {
		case 1:
			return vector(act.Silu)
		case 1.702:
			return vector(act.QuickGelu)
		}
		return nil
	case "HardSigmoid":
		alpha, beta := floatAttr(b, "alpha"), floatAttr(b, "beta")
		return func(out, x []float32) {
			for i, v := range x {
				out[i] = min(max(alpha*v+beta, 0), 1)
			}
		}
	case "LeakyRelu":
		alpha := floatAttr(b, "alpha")
		return func(out, x []float32) {
			for i, v := range x {
				if v < 0 {
					v *= alpha
				}
				out[i] = v
			}
		}
	case "Neg":
		return func(out, x []float32) {
			for i, v := range x {
				out[i] = -v
			}
		}
	case "Reciprocal":
		return func(out, x []float32) {
			for i, v := range x {
				out[i] = 1 / v
			}
		}
	}
	f := float64Ops(op)
	if f == nil {
		return nil
	}
	return func(out, x []float32) {
		for i, v := range x {
			out[i] = float32(f(float64(v)))
		}
	}
}

// floatAttr is an attribute of b's step, 0 when it has none of that name.
func floatAttr(b *Binding, name string) float32 {
	for _, a := range ir.AttrsOf(b.Step.Attrs) {
		if v, ok := a.Value.(float32); ok && a.Name == name {
			return v
		}
	}
	return 0
}

func bindUnary(b *Binding) (Bound, error) {
	if b.Ins[0].DType == tensor.Bool && b.Step.Op.String() == "Not" {
		return bindMap(b, func(out, x []bool) {
			for i, v := range x {
				out[i] = !v
			}
		})
	}
	op := b.Step.Op.String()
	switch b.Ins[0].DType {
	case tensor.F32:
		if f := unaryOps(b); f != nil {
			return bindMap(b, f)
		}
	case tensor.I64:
		if f := wholeOps[int64](op); f != nil {
			return bindMap(b, f)
		}
	case tensor.I32:
		if f := wholeOps[int32](op); f != nil {
			return bindMap(b, f)
		}
	}
	return bindRef(b)
}

// wholeOps are the elementwise functions of one whole number: distances of positions take them.
func wholeOps[T int64 | int32](op string) func(out, x []T) {
	switch op {
	case "Neg":
		return func(out, x []T) {
			for i, v := range x {
				out[i] = -v
			}
		}
	case "Abs":
		return func(out, x []T) {
			for i, v := range x {
				out[i] = max(v, -v)
			}
		}
	case "Sign":
		return func(out, x []T) {
			for i, v := range x {
				out[i] = T(cmp.Compare(v, 0))
			}
		}
	}
	return nil
}

// number are the element types that arithmetic kernels know.
type number interface{ float32 | int64 | int32 }

func addOf[T number](out, x, y []T) {
	y = y[:len(out)]
	for i, v := range x[:len(out)] {
		out[i] = v + y[i]
	}
}

func subOf[T number](out, x, y []T) {
	y = y[:len(out)]
	for i, v := range x[:len(out)] {
		out[i] = v - y[i]
	}
}

func mulOf[T number](out, x, y []T) {
	y = y[:len(out)]
	for i, v := range x[:len(out)] {
		out[i] = v * y[i]
	}
}

// minOf gives NaN where either is.
func minOf[T number](out, x, y []T) {
	y = y[:len(out)]
	for i, v := range x[:len(out)] {
		out[i] = min(v, y[i])
	}
}

func maxOf[T number](out, x, y []T) {
	y = y[:len(out)]
	for i, v := range x[:len(out)] {
		out[i] = max(v, y[i])
	}
}

func equalOf[T comparable](out []bool, x, y []T) {
	y = y[:len(out)]
	for i, v := range x[:len(out)] {
		out[i] = v == y[i]
	}
}

func lessOf[T number](out []bool, x, y []T) {
	y = y[:len(out)]
	for i, v := range x[:len(out)] {
		out[i] = v < y[i]
	}
}

func lessOrEqualOf[T number](out []bool, x, y []T) {
	y = y[:len(out)]
	for i, v := range x[:len(out)] {
		out[i] = v <= y[i]
	}
}

// arithmetic and comparisons of one type; nil where there is none.
func arithmetic[T number](op string) func(out, x, y []T) {
	switch op {
	case "Add":
		return addOf[T]
	case "Sub":
		return subOf[T]
	case "Mul":
		return mulOf[T]
	case "Min":
		return minOf[T]
	case "Max":
		return maxOf[T]
	}
	return nil
}

func comparison[T number](op string) func(out []bool, x, y []T) {
	swapped := func(f func(out []bool, x, y []T)) func(out []bool, x, y []T) {
		return func(out []bool, x, y []T) { f(out, y, x) }
	}
	switch op {
	case "Equal":
		return equalOf[T]
	case "Less":
		return lessOf[T]
	case "LessOrEqual":
		return lessOrEqualOf[T]
	case "Greater":
		return swapped(lessOf[T])
	case "GreaterOrEqual":
		return swapped(lessOrEqualOf[T])
	}
	return nil
}

func logic(op string) func(out, x, y []bool) {
	switch op {
	case "And":
		return func(out, x, y []bool) {
			y = y[:len(out)]
			for i, v := range x[:len(out)] {
				out[i] = v && y[i]
			}
		}
	case "Or":
		return func(out, x, y []bool) {
			y = y[:len(out)]
			for i, v := range x[:len(out)] {
				out[i] = v || y[i]
			}
		}
	case "Xor":
		return func(out, x, y []bool) {
			y = y[:len(out)]
			for i, v := range x[:len(out)] {
				out[i] = v != y[i]
			}
		}
	case "Equal":
		return equalOf[bool]
	}
	return nil
}

// floatOps are the f32 ops with vector kernels or of floats alone.
func floatOps(b *Binding) func(out, x, y []float32) {
	switch b.Step.Op.String() {
	case "Add":
		return b.Device.rows.Add
	case "Mul":
		ks := b.Device.gemm.Act()
		return func(out, x, y []float32) {
			copy(out, x)
			ks.Mul(out, y)
		}
	case "Sub", "Min", "Max":
		return arithmetic[float32](b.Step.Op.String())
	case "Div":
		return func(out, x, y []float32) {
			y = y[:len(out)]
			for i, v := range x[:len(out)] {
				out[i] = v / y[i]
			}
		}
	case "Pow":
		return func(out, x, y []float32) {
			y = y[:len(out)]
			for i, v := range x[:len(out)] {
				out[i] = float32(math.Pow(float64(v), float64(y[i])))
			}
		}
	}
	return nil
}

// bindNumbers binds an integer op.
func bindNumbers[T number](b *Binding) (Bound, error) {
	op := b.Step.Op.String()
	if f := arithmetic[T](op); f != nil {
		return bindZip(b, f)
	}
	return bindRef(b)
}

// bindBinary is an op on two broadcast operands of one type.
func bindBinary(b *Binding) (Bound, error) {
	op, dt := b.Step.Op.String(), b.Ins[0].DType
	if b.Ins[1].DType != dt {
		return bindRef(b)
	}
	if b.Outs[0].DType == tensor.Bool && dt != tensor.Bool {
		switch dt {
		case tensor.F32:
			return bindRelation(b, comparison[float32](op))
		case tensor.I64:
			return bindRelation(b, comparison[int64](op))
		case tensor.I32:
			return bindRelation(b, comparison[int32](op))
		}
		return bindRef(b)
	}
	switch dt {
	case tensor.F32:
		if f := floatOps(b); f != nil {
			return bindZip(b, f)
		}
	case tensor.I64:
		return bindNumbers[int64](b)
	case tensor.I32:
		return bindNumbers[int32](b)
	case tensor.Bool:
		if f := logic(op); f != nil {
			return bindZip(b, f)
		}
	}
	return bindRef(b)
}

func bindRelation[T number](b *Binding, f func(out []bool, x, y []T)) (Bound, error) {
	if f == nil {
		return bindRef(b)
	}
	return bindZip(b, f)
}
