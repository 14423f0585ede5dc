package ops

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// fusedOps are the ops that passes make out of several standard ones, so that one kernel
// runs where a chain ran before. They live in the domain moec; Expand gives the chain back.
func fusedOps() []*ir.Op {
	return []*ir.Op{linearOp(), fusedAttentionOp(), skipNormOp(), fusedConvOp(), fusedPoolOp(), fusedGroupNormOp(), fusedRotaryOp()}
}

// fusedFloats are the elements of float input i in double precision.
func fusedFloats(c *ir.EvalCtx, i int, what string) ([]float64, []int, error) {
	t := c.In(i)
	if t == nil {
		return nil, nil, fmt.Errorf("%w: %s is missing", ir.ErrInput, what)
	}
	if !t.DType().IsFloat() {
		return nil, nil, fmt.Errorf("%w: %s is %s, want a float", ir.ErrType, what, t.DType())
	}
	v, err := t.Float64s()
	return v, t.Shape(), err
}

// fusedStore makes output i of a float type out of doubles.
func fusedStore(c *ir.EvalCtx, i int, dt tensor.DType, v []float64, shape ...int) error {
	out, err := c.Out(i, dt, shape...)
	if err != nil {
		return err
	}
	switch dt {
	case tensor.F32:
		for j, x := range v {
			tensor.Data[float32](out)[j] = float32(x)
		}
	case tensor.F64:
		copy(tensor.Data[float64](out), v)
	case tensor.F16:
		for j, x := range v {
			tensor.Data[tensor.Float16](out)[j] = tensor.ToFloat16(float32(x))
		}
	case tensor.BF16:
		for j, x := range v {
			tensor.Data[tensor.BFloat16](out)[j] = tensor.ToBFloat16(float32(x))
		}
	default:
		return fmt.Errorf("%w: %s, want a float", ir.ErrType, dt)
	}
	return nil
}

// roundScore is x as an element of a float type holds it.
func roundScore(dt tensor.DType, x float64) float64 {
	switch dt {
	case tensor.F16:
		return float64(tensor.ToFloat16(float32(x)).Float32())
	case tensor.BF16:
		return float64(tensor.ToBFloat16(float32(x)).Float32())
	case tensor.F32:
		return float64(float32(x))
	}
	return x
}

// fusedElems is the number of elements of a type of known shape, 0 for others.
func fusedElems(t ir.Type) int64 {
	s, ok := t.Static()
	if !ok {
		return 0
	}
	return int64(tensor.NumElems(s))
}

// fusedBytes is the size of all values of known shape.
func fusedBytes(c *ir.CostCtx) int64 {
	var n int64
	for _, l := range [][]ir.Type{c.Ins, c.Outs} {
		for _, t := range l {
			n += fusedElems(t) * int64(t.DType.Size())
		}
	}
	return n
}

// expander emits the standard ops that a fused node stands for. The first error sticks.
type expander struct {
	g   *ir.Graph
	n   *ir.Node
	err error
}

// op emits a node with attributes given as name, value pairs and returns its output.
func (e *expander) op(name string, ins []*ir.Value, attrs ...any) *ir.Value {
	op := e.g.Ops.Lookup(ir.DomainONNX, name)
	if op == nil {
		if e.err == nil {
			e.err = fmt.Errorf("%w: %s expands to %s", ir.ErrUnsupportedOp, e.n.Op, name)
		}
		return ins[0]
	}
	var a any
	if op.Attrs != nil {
		a = op.Attrs()
	}
	for i := 0; i+1 < len(attrs); i += 2 {
		if err := ir.SetAttr(a, attrs[i].(string), attrs[i+1]); err != nil && e.err == nil {
			e.err = err
		}
	}
	m := e.g.Add(op, a, ins, "")
	m.Origin = e.n.Origin
	if err := ir.InferNode(m); err != nil && e.err == nil {
		e.err = ir.NodeError(m, err)
	}
	return m.Outputs[0]
}

func (e *expander) ints(v ...int64) *ir.Value {
	return e.g.NewConst("", tensor.Of(v, len(v)))
}

// scalar is a constant of a float type without dimensions.
func (e *expander) scalar(dt tensor.DType, x float64) *ir.Value {
	t, err := ScalarOf(dt, x)
	if err != nil && e.err == nil {
		e.err = err
	}
	return e.g.NewConst("", t)
}

// ScalarOf is a scalar of a float type.
func ScalarOf(dt tensor.DType, x float64) (*tensor.Tensor, error) {
	switch dt {
	case tensor.F32:
		return tensor.Scalar(float32(x)), nil
	case tensor.F64:
		return tensor.Scalar(x), nil
	case tensor.F16:
		return tensor.Scalar(tensor.ToFloat16(float32(x))), nil
	case tensor.BF16:
		return tensor.Scalar(tensor.ToBFloat16(float32(x))), nil
	}
	return tensor.Scalar(float32(x)), fmt.Errorf("%w: %s, want a float", ir.ErrType, dt)
}
