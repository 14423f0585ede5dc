package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
)

// The activations that fused ops can apply in their epilogue beyond those of the
// feedforward family. The empty one is the identity.
const (
	ActNone      Activation = ""
	ActReLU2     Activation = "relu2"      // max(x,0)^2
	ActReLU6     Activation = "relu6"      // min(max(x,0),6)
	ActQuickGELU Activation = "quick-gelu" // x sigmoid(1.702 x)
	ActSigmoid   Activation = "sigmoid"
	ActTanh      Activation = "tanh"
	ActHardSwish Activation = "hardswish" // x min(max(x/6 + 1/2, 0), 1)
)

// fn gives the function behind an epilogue's activation; ok is false for a name that
// is none.
func (a Activation) fn() (f func(float64) float64, ok bool) {
	switch a {
	case ActNone, ActIdentity:
		f = func(x float64) float64 { return x }
	case ActReLU:
		f = relu
	case ActReLU2:
		f = func(x float64) float64 { return relu(x) * relu(x) }
	case ActReLU6:
		f = func(x float64) float64 { return clamp(x, 6) }
	case ActGELU:
		f = func(x float64) float64 { return x / 2 * math.Erfc(-x/math.Sqrt2) }
	case ActGELUTanh:
		f = func(x float64) float64 { return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x))) }
	case ActQuickGELU:
		f = func(x float64) float64 { return x / (1 + math.Exp(-1.702*x)) }
	case ActSiLU:
		f = func(x float64) float64 { return x / (1 + math.Exp(-x)) }
	case ActSigmoid:
		f = func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	case ActTanh:
		f = math.Tanh
	case ActHardSwish:
		f = func(x float64) float64 { return x * clamp(x/6+0.5, 1) }
	}
	return f, f != nil
}

// relu keeps NaN, as ONNX's Relu does.
func relu(x float64) float64 {
	if x < 0 {
		return 0
	}
	return x
}

func clamp(x, hi float64) float64 {
	if x > hi {
		return hi
	}
	return relu(x)
}

func checkActivation(name Activation) error {
	if _, ok := name.fn(); !ok {
		return fmt.Errorf("%w: no activation is called %q", ir.ErrAttr, name)
	}
	return nil
}

// activation emits the standard ops of an activation.
func (e *expander) activation(name Activation, x *ir.Value) *ir.Value {
	dt := x.Type.DType
	on := func(vs ...*ir.Value) []*ir.Value { return vs }
	switch name {
	case ActReLU:
		return e.op("Relu", on(x))
	case ActReLU2:
		r := e.op("Relu", on(x))
		return e.op("Mul", on(r, r))
	case ActReLU6:
		return e.op("Clip", on(x, e.scalar(dt, 0), e.scalar(dt, 6)))
	case ActGELU:
		return e.op("Gelu", on(x))
	case ActGELUTanh:
		return e.op("Gelu", on(x), "approximate", "tanh")
	case ActQuickGELU:
		return e.op("Mul", on(x, e.op("Sigmoid", on(e.op("Mul", on(x, e.scalar(dt, 1.702)))))))
	case ActSiLU:
		return e.op("Mul", on(x, e.op("Sigmoid", on(x))))
	case ActSigmoid:
		return e.op("Sigmoid", on(x))
	case ActTanh:
		return e.op("Tanh", on(x))
	case ActHardSwish:
		return e.op("HardSwish", on(x))
	}
	return x
}
