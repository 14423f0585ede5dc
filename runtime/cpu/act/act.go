// Package act applies activation functions to rows of f32, in place.
//
// The assembly approximates: the functions of a Kernels value are within the
// bounds below of the exact values, over all finite inputs, and pass NaN through.
//
//	Sigmoid                            2e-7 absolute
//	Tanh                               3e-7 relative
//	Silu, QuickGelu, Gelu*, HardSwish  5e-7 * max(1, |x|) absolute
//	Relu2                              6e-8 relative
package act

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/runtime/cpu/isa"
)

// Kind is an activation function.
type Kind uint8

// The activation functions.
const (
	Identity Kind = iota
	Relu
	Gelu     // x*Phi(x), exact form with erf
	GeluTanh // the tanh approximation of Gelu
	Silu     // x*sigmoid(x)
	Sigmoid
	Tanh
	Relu6     // x held to 0..6
	HardSwish // x times x/6+1/2 held to 0..1
	QuickGelu // x*sigmoid(1.702*x)
	Relu2     // the square of Relu
)

var names = [...]string{"identity", "relu", "gelu", "gelu_tanh", "silu", "sigmoid", "tanh", "relu6", "hardswish", "quick_gelu", "relu2"}

// String names k in lower case.
func (k Kind) String() string {
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("Kind(%d)", uint8(k))
}

// Parse returns the kind that String prints as name.
func Parse(name string) (Kind, error) {
	for i, n := range names {
		if n == name {
			return Kind(i), nil
		}
	}
	return 0, fmt.Errorf("act: unknown activation %q; known: %v", name, names)
}

// Exact is k of x in float64: the meaning that the kernels approximate.
func (k Kind) Exact(x float64) float64 {
	switch k {
	case Relu:
		if x < 0 {
			return 0
		}
		return x
	case Gelu:
		return 0.5 * x * math.Erfc(-x/math.Sqrt2)
	case GeluTanh:
		return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	case Silu:
		return x / (1 + math.Exp(-x))
	case Sigmoid:
		return 1 / (1 + math.Exp(-x))
	case Tanh:
		return math.Tanh(x)
	case Relu6:
		if x > 6 {
			return 6
		}
		return Relu.Exact(x)
	case HardSwish:
		t := x/6 + 0.5
		if t > 1 {
			t = 1
		}
		return x * Relu.Exact(t)
	case QuickGelu:
		return x / (1 + math.Exp(-1.702*x))
	case Relu2:
		r := Relu.Exact(x)
		return r * r
	}
	return x
}

// Kernels is a set of activation kernels for the features of a CPU; immutable.
type Kernels struct{ feat isa.Features }

// New picks the kernels that f allows.
func New(f isa.Features) *Kernels { return &Kernels{f} }

// Apply sets every x to gate*k(x). An element's result depends on its own value
// only, not on where in x it is.
func (ks *Kernels) Apply(k Kind, x []float32, gate float32) {
	if len(x) == 0 || (k == Identity && gate == 1) {
		return
	}
	if ks.vector(k, x, gate) {
		return
	}
	for i, v := range x {
		x[i] = float32(k.Exact(float64(v))) * gate
	}
}

// Exp sets every x to e^x within 3e-7 relative, saturating at 1.2e-38 and 1.7e38.
func (ks *Kernels) Exp(x []float32) {
	if len(x) == 0 || ks.expVector(x) {
		return
	}
	for i, v := range x {
		x[i] = float32(math.Exp(float64(min(88, max(-87.3, v)))))
	}
}

// Axpy adds a*y to x, element by element, rounding once where the CPU can.
func (ks *Kernels) Axpy(x []float32, a float32, y []float32) {
	y = y[:len(x)]
	if len(x) == 0 || ks.axpyVector(x, a, y) {
		return
	}
	for i, v := range y {
		x[i] += a * v
	}
}

// Add adds y to x, element by element.
func (ks *Kernels) Add(x, y []float32) {
	y = y[:len(x)]
	if len(x) == 0 || ks.addVector(x, y) {
		return
	}
	for i, v := range y {
		x[i] += v
	}
}

// Mul multiplies x by y, element by element.
func (ks *Kernels) Mul(x, y []float32) {
	y = y[:len(x)]
	if len(x) == 0 || ks.mulVector(x, y) {
		return
	}
	for i, v := range y {
		x[i] *= v
	}
}
