package cuda

import (
	"math"

	"github.com/seed-c851cfd2/moec/codegen/ptx"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// emitter adds the instructions of an elementwise node to a program, given the numbers of its inputs.
type emitter func(p *ptx.Program, args []int) int

// plainFns are the ops that are one function of a program.
var plainFns = map[string]ptx.Fn{
	"Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "PRelu": "prelu",
	"Neg": "neg", "Abs": "abs", "Exp": "exp", "Log": "log", "Sqrt": "sqrt", "Reciprocal": "reciprocal",
	"Tanh": "tanh", "Erf": "erf", "Sin": "sin", "Cos": "cos", "Floor": "floor", "Ceil": "ceil", "Round": "round", "Sign": "sign",
	"Relu": "relu", "Sigmoid": "sigmoid", "Softplus": "softplus", "Softsign": "softsign", "Mish": "mish", "HardSwish": "hardswish",
	"Equal": "eq", "Less": "lt", "LessOrEqual": "le", "Greater": "gt", "GreaterOrEqual": "ge", "IsNaN": "isnan",
	"And": "and", "Or": "or", "Xor": "xor", "Not": "not", "Where": "where",
}

// floatOnly are the functions without an integer form.
var floatOnly = map[string]bool{
	"PRelu": true, "Exp": true, "Log": true, "Sqrt": true, "Reciprocal": true, "Tanh": true, "Erf": true, "Sin": true, "Cos": true,
	"Floor": true, "Ceil": true, "Round": true, "Relu": true, "Sigmoid": true, "Softplus": true, "Softsign": true, "Mish": true,
	"HardSwish": true, "IsNaN": true,
}

// elementwise gives the instructions of a node, nil when it is not elementwise or has no such instructions.
func elementwise(n *ir.Node) emitter {
	for _, v := range n.Inputs {
		if v == nil && !n.Is("Clip") || v != nil && !computes(v.Type.DType) && !(n.Is("Cast") && converts(v.Type.DType)) {
			return nil
		}
	}
	if len(n.Outputs) != 1 || !computes(n.Outputs[0].Type.DType) && !(n.Is("Cast") && narrow(n.Outputs[0].Type.DType)) {
		return nil
	}
	isFloat := n.Inputs[0].Type.DType == tensor.F32 || n.Inputs[0].Type.DType == tensor.F64
	for _, v := range n.Inputs {
		if v != nil && v.Type.DType == tensor.F64 && !inF64(n) {
			return nil
		}
	}
	if fn, ok := plainFns[n.Op.Name]; ok && n.Op.Domain == ir.DomainONNX {
		if floatOnly[n.Op.Name] && !isFloat {
			return nil
		}
		return func(p *ptx.Program, a []int) int { return p.Do(fn, a...) }
	}
	if !n.Is("Max", "Min", "Sum", "Cast", "CastLike", "Pow", "Clip", "Mod", "Gelu", "LeakyRelu", "Elu", "Celu", "Selu", "ThresholdedRelu", "Shrink", "HardSigmoid", "Swish", "IsInf") {
		return nil
	}
	one := func(fn ptx.Fn, c ...float64) emitter {
		if !isFloat {
			return nil
		}
		return func(p *ptx.Program, a []int) int { return p.DoC(fn, c, a[0]) }
	}
	switch n.Op.Name {
	case "Max", "Min", "Sum":
		fn := map[string]ptx.Fn{"Max": "max", "Min": "min", "Sum": "add"}[n.Op.Name]
		return func(p *ptx.Program, a []int) int {
			out := a[0]
			for _, x := range a[1:] {
				out = p.Do(fn, out, x)
			}
			return out
		}
	case "Cast", "CastLike":
		switch to := n.Outputs[0].Type.DType; to {
		case tensor.F32:
			return func(p *ptx.Program, a []int) int { return p.Do("float", a[0]) }
		case tensor.F64:
			return func(p *ptx.Program, a []int) int { return p.Do("double", a[0]) }
		case tensor.F16, tensor.BF16:
			return func(p *ptx.Program, a []int) int { return p.Do(ptx.Fn(to.String()), p.Do("float", a[0])) }
		case tensor.Bool:
			return func(p *ptx.Program, a []int) int { return p.Do("bool", a[0]) }
		case tensor.I64, tensor.I32:
			return func(p *ptx.Program, a []int) int { return p.Do("int", a[0]) }
		}
	case "Pow":
		if e, ok := scalarOf(n.Inputs[1]); ok {
			return one("powc", e)
		}
		if isFloat && n.Inputs[1].Type.DType == n.Inputs[0].Type.DType {
			return func(p *ptx.Program, a []int) int { return p.Do("pow", a...) }
		}
	case "Clip":
		lo, hi := math.Inf(-1), math.Inf(1)
		for i, to := range []*float64{&lo, &hi} {
			if i+1 < len(n.Inputs) && n.Inputs[i+1] != nil {
				v, ok := scalarOf(n.Inputs[i+1])
				if !ok {
					return nil
				}
				*to = v
			}
		}
		return one("clip", lo, hi)
	case "Mod":
		if isFloat {
			return nil // quotients past the digits of f32, and infinities, need more than one division
		}
		fn := ptx.Fn("mod")
		if n.Attrs.(*ops.ModAttrs).FMod {
			fn = "fmod"
		}
		return func(p *ptx.Program, a []int) int { return p.Do(fn, a...) }
	case "Gelu":
		if n.Attrs.(*ops.GeluAttrs).Approximate == "tanh" {
			return one("gelutanh")
		}
		return one("gelu")
	case "LeakyRelu":
		return one("leakyrelu", floatAttr(n, "alpha"))
	case "Elu":
		return one("elu", floatAttr(n, "alpha"))
	case "HardSigmoid":
		return one("hardsigmoid", floatAttr(n, "alpha"), floatAttr(n, "beta"))
	}
	return composed(n, isFloat)
}

// composed are activations that are made of several functions.
func composed(n *ir.Node, isFloat bool) emitter {
	if !isFloat {
		return nil
	}
	number := ptx.Fn("const")
	if n.Inputs[0].Type.DType == tensor.F64 {
		number = "constdouble"
	}
	alpha := floatAttr(n, "alpha")
	scaled := func(p *ptx.Program, x int, by float64) int { return p.Do("mul", x, p.DoC(number, []float64{by})) }
	switch n.Op.Name {
	case "Swish":
		return func(p *ptx.Program, a []int) int { return p.Do("mul", a[0], p.Do("sigmoid", scaled(p, a[0], alpha))) }
	case "Celu": // alpha elu(x/alpha)
		return func(p *ptx.Program, a []int) int {
			return scaled(p, p.DoC("elu", []float64{1}, scaled(p, a[0], 1/alpha)), alpha)
		}
	case "Selu":
		return func(p *ptx.Program, a []int) int {
			return scaled(p, p.DoC("elu", []float64{alpha}, a[0]), floatAttr(n, "gamma"))
		}
	case "ThresholdedRelu":
		return func(p *ptx.Program, a []int) int {
			return p.Do("where", p.Do("gt", a[0], p.DoC(number, []float64{alpha})), a[0], p.DoC(number, []float64{0}))
		}
	case "Shrink":
		l, b := floatAttr(n, "lambd"), floatAttr(n, "bias")
		return func(p *ptx.Program, a []int) int {
			bias, none := p.DoC(number, []float64{b}), p.DoC(number, []float64{0})
			up := p.Do("where", p.Do("gt", a[0], p.DoC(number, []float64{l})), p.Do("sub", a[0], bias), none)
			return p.Do("where", p.Do("lt", a[0], p.DoC(number, []float64{-l})), p.Do("add", a[0], bias), up)
		}
	case "IsInf":
		return func(p *ptx.Program, a []int) int {
			is := func(sign int, want bool) int {
				if !want {
					return p.Do("bool", p.DoC("constint", []float64{0}))
				}
				return p.Do("eq", a[0], p.DoC(number, []float64{math.Inf(sign)}))
			}
			return p.Do("or", is(1, attr[bool](n, "detect_positive")), is(-1, attr[bool](n, "detect_negative")))
		}
	}
	return nil
}

// inF64 reports ops whose functions have an f64 form.
func inF64(n *ir.Node) bool {
	fn, ok := plainFns[n.Op.Name]
	return !ok || n.Op.Domain != ir.DomainONNX || ptx.HasFunction64(fn)
}

// computes reports the element types that programs compute with.
func computes(dt tensor.DType) bool {
	switch dt {
	case tensor.F32, tensor.F64, tensor.I64, tensor.I32, tensor.Bool:
		return true
	}
	return false
}

// converts reports the types besides that a Cast may start from.
func converts(dt tensor.DType) bool { return narrow(dt) || dt == tensor.U8 || dt == tensor.I8 }

// scalarOf is the value of a constant of one element.
func scalarOf(v *ir.Value) (float64, bool) {
	if !v.IsConst() || v.Const.Len() != 1 {
		return 0, false
	}
	f, err := v.Const.Float64s()
	if err != nil {
		return 0, false
	}
	return f[0], true
}

func floatAttr(n *ir.Node, name string) float64 {
	for _, a := range ir.AttrsOf(n.Attrs) {
		if x, ok := a.Value.(float32); ok && a.Name == name {
			return float64(x)
		}
	}
	return 0
}

// activate adds an activation to a program; ok is false for one that there is no function for.
func activate(p *ptx.Program, a ops.Activation, v int) (out int, ok bool) {
	switch a {
	case ops.ActNone, ops.ActIdentity:
		return v, true
	case ops.ActReLU2:
		return p.Do("square", p.Do("relu", v)), true
	case ops.ActReLU6:
		return p.DoC("clip", []float64{0, 6}, v), true
	case ops.ActQuickGELU:
		return p.Do("mul", v, p.Do("sigmoid", p.DoC("affine", []float64{1.702, 0}, v))), true
	}
	fn, ok := activationFn(a)
	if !ok {
		return v, false
	}
	return p.Do(fn, v), true
}

// activationFn is an activation as one function, "" for the identity.
func activationFn(a ops.Activation) (ptx.Fn, bool) {
	switch a {
	case ops.ActNone, ops.ActIdentity:
		return "", true
	case ops.ActGELUTanh:
		return "gelutanh", true
	case ops.ActReLU, ops.ActGELU, ops.ActSiLU, ops.ActSigmoid, ops.ActTanh, ops.ActHardSwish:
		return ptx.Fn(a), true
	}
	return "", false
}
