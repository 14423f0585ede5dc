package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// vec reads the elements of a float tensor as float64. The zero vec stands for an absent
// input.
type vec struct {
	s []float32
	d []float64
}

// vecOf views t, widening the 16-bit types. Infer has checked the type.
func vecOf(t *tensor.Tensor) (vec, error) {
	if t == nil {
		return vec{}, nil
	}
	switch t.DType() {
	case tensor.F32:
		return vec{s: tensor.Data[float32](t)}, nil
	case tensor.F64:
		return vec{d: tensor.Data[float64](t)}, nil
	case tensor.F16, tensor.BF16:
		d, err := t.Float64s()
		return vec{d: d}, err
	}
	return vec{}, fmt.Errorf("%w: %s, want f32, f64, f16 or bf16", ir.ErrType, t.DType())
}

// load copies len(out) elements from off on.
func (v vec) load(out []float64, off int) {
	if v.d != nil {
		copy(out, v.d[off:off+len(out)])
		return
	}
	for i, x := range v.s[off : off+len(out)] {
		out[i] = float64(x)
	}
}

// axpy adds a times the len(out) elements from off on.
func (v vec) axpy(out []float64, a float64, off int) {
	if v.d != nil {
		for i, x := range v.d[off : off+len(out)] {
			out[i] += a * x
		}
		return
	}
	for i, x := range v.s[off : off+len(out)] {
		out[i] += a * float64(x)
	}
}

// dot multiplies x with the len(x) elements from off on and adds up.
func (v vec) dot(x []float64, off int) float64 {
	sum := 0.0
	if v.d != nil {
		for i, y := range v.d[off : off+len(x)] {
			sum += x[i] * y
		}
		return sum
	}
	for i, y := range v.s[off : off+len(x)] {
		sum += x[i] * float64(y)
	}
	return sum
}

// vecsOf views the inputs of a node, absent ones too, up to n of them.
func vecsOf(c *ir.EvalCtx, ins ...int) ([]vec, error) {
	out := make([]vec, len(ins))
	for j, i := range ins {
		var err error
		if out[j], err = vecOf(c.In(i)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// storeRow rounds vals into t from off on.
func storeRow(t *tensor.Tensor, off int, vals []float64) {
	switch t.DType() {
	case tensor.F32:
		out := tensor.Data[float32](t)[off:]
		for i, x := range vals {
			out[i] = float32(x)
		}
	case tensor.F64:
		copy(tensor.Data[float64](t)[off:], vals)
	case tensor.F16:
		out := tensor.Data[tensor.Float16](t)[off:]
		for i, x := range vals {
			out[i] = tensor.ToFloat16(float32(x))
		}
	case tensor.BF16:
		out := tensor.Data[tensor.BFloat16](t)[off:]
		for i, x := range vals {
			out[i] = tensor.ToBFloat16(float32(x))
		}
	}
}

// maskOf reads a bool or u8 mask; nil when absent.
func maskOf(t *tensor.Tensor) []bool {
	switch {
	case t == nil:
		return nil
	case t.DType() == tensor.Bool:
		return tensor.Data[bool](t)
	}
	m := make([]bool, t.Len())
	for i, b := range tensor.Data[uint8](t) {
		m[i] = b != 0
	}
	return m
}

// apply is the activation of one number.
func (a Activation) apply(x float64) float64 {
	f, ok := a.fn()
	if !ok {
		return x // Infer has refused it
	}
	return f(x)
}

func sigmoidOf(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func softPlus(x float64) float64 { return math.Max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

// normalise overwrites s with exp(s) over its sum; by the formula, so +Inf makes NaN.
func normalise(s []float64) {
	l := logSumExp(s)
	for i := range s {
		s[i] = math.Exp(s[i] - l)
	}
}

// logSumExp is log(sum(exp(s))); -Inf for no elements.
func logSumExp(s []float64) float64 {
	m := math.Inf(-1)
	for _, x := range s {
		m = math.Max(m, x)
	}
	sum := 0.0
	for _, x := range s {
		sum += math.Exp(x - m)
	}
	return m + math.Log(sum)
}

// ranksBefore is the order of the family: higher first, then lower index, NaN last.
func ranksBefore(a float64, i int, b float64, j int) bool {
	switch {
	case a > b:
		return true
	case a < b:
		return false
	case math.IsNaN(a) != math.IsNaN(b):
		return math.IsNaN(b)
	}
	return i < j
}

// checkEval applies the checks of infer to the tensors given and demands the required
// inputs, so that Eval fails on shapes that do not fit instead of reading out of range.
func checkEval(c *ir.EvalCtx, infer func(*ir.InferCtx) error, required ...int) error {
	for _, i := range required {
		if !c.Has(i) {
			return fmt.Errorf("%w: input %d is missing", ir.ErrGraph, i)
		}
	}
	ic := &ir.InferCtx{Attrs: c.Attrs, Ins: make([]ir.Type, len(c.Ins)), Outs: make([]ir.Type, len(c.Outs))}
	for i, t := range c.Ins {
		if t != nil {
			ic.Ins[i] = ir.TypeOf(t)
		}
	}
	return infer(ic)
}

// wanted reports whether anybody asked for output i.
func wanted(c *ir.EvalCtx, i int) bool { return i < len(c.Want) && c.Want[i] }

// leadingShape is the shape of t before its last n dims, followed by dims.
func leadingShape(t *tensor.Tensor, n int, dims ...int) []int {
	return append(append([]int(nil), t.Shape()[:t.Rank()-n]...), dims...)
}

// linearRow is one linear layer: out = bias + x W, W being [len(x), len(out)] from off on and
// the bias from biasOff on.
func linearRow(out, x []float64, w vec, off int, bias vec, biasOff int) {
	if bias.s != nil || bias.d != nil {
		bias.load(out, biasOff)
	} else {
		clear(out)
	}
	for d, a := range x {
		w.axpy(out, a, off+d*len(out))
	}
}
