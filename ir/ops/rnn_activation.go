package ops

import (
	"fmt"
	"math"
	"strings"

	"github.com/seed-c851cfd2/moec/ir"
)

// activation is an activation function of a recurrent op with its parameters bound.
type activation func(float64) float64

// bind resolves per direction n activation functions, named in defaults unless given.
func (a *RecurrentAttrs) bind(dirs int, defaults ...string) ([][]activation, error) {
	names := a.Activations
	if len(names) == 0 {
		for range dirs {
			names = append(names, defaults...)
		}
	}
	need := dirs * len(defaults)
	if len(names) < need { // the schema's default for RNN names two for one direction
		return nil, fmt.Errorf("%w: %d activations, want %d", ir.ErrAttr, len(names), need)
	}
	names = names[:need]
	alpha, beta := a.ActivationAlpha, a.ActivationBeta
	take := func(s *[]float32, def float64) float64 {
		if len(*s) == 0 {
			return def
		}
		v := (*s)[0]
		*s = (*s)[1:]
		return float64(v)
	}
	out := make([][]activation, dirs)
	for i, name := range names {
		f, err := bindActivation(name, func(def float64) float64 { return take(&alpha, def) }, func(def float64) float64 { return take(&beta, def) })
		if err != nil {
			return nil, err
		}
		d := i / len(defaults)
		out[d] = append(out[d], f)
	}
	return out, nil
}

func bindActivation(name string, alpha, beta func(def float64) float64) (activation, error) {
	switch strings.ToLower(name) {
	case "relu":
		return func(x float64) float64 { return math.Max(x, 0) }, nil
	case "tanh":
		return math.Tanh, nil
	case "sigmoid":
		return logistic, nil
	case "softsign":
		return func(x float64) float64 { return x / (1 + math.Abs(x)) }, nil
	case "softplus":
		return func(x float64) float64 { return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }, nil
	case "leakyrelu":
		a := alpha(0.01)
		return func(x float64) float64 {
			if x < 0 {
				return a * x
			}
			return x
		}, nil
	case "thresholdedrelu":
		a := alpha(1)
		return func(x float64) float64 {
			if x > a {
				return x
			}
			return 0
		}, nil
	case "elu":
		a := alpha(1)
		return func(x float64) float64 {
			if x < 0 {
				return a * math.Expm1(x)
			}
			return x
		}, nil
	case "affine":
		a, b := alpha(1), beta(0)
		return func(x float64) float64 { return a*x + b }, nil
	case "scaledtanh":
		a, b := alpha(1), beta(1)
		return func(x float64) float64 { return a * math.Tanh(b*x) }, nil
	case "hardsigmoid":
		a, b := alpha(0.2), beta(0.5)
		return func(x float64) float64 { return math.Max(0, math.Min(1, a*x+b)) }, nil
	}
	return nil, fmt.Errorf("%w: activation %q", ir.ErrAttr, name)
}

func logistic(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
