package ops

import (
	"fmt"
	"math"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Body is a way to write an op of the feedforward family in ops that other runtimes know.
type Body string

// The bodies. Ops for which they make no difference have one.
const (
	// BodyPortable computes all experts or values and masks: quick for many tokens.
	BodyPortable Body = "portable"
	// BodyGather gathers the weights each token selected: quick for few tokens.
	BodyGather Body = "gather"
	// BodyORT uses onnxruntime's com.microsoft.MoE; what that cannot hold is refused.
	BodyORT Body = "ort"
)

var negInf = math.Inf(-1)

// Bodies lists the bodies in the order they are documented.
func Bodies() []Body { return []Body{BodyPortable, BodyGather, BodyORT} }

// ExpandBody writes n in other ops inside g, as Op.Expand does, in the given body.
func ExpandBody(body Body, g *ir.Graph, n *ir.Node) ([]*ir.Value, error) {
	switch body {
	case BodyPortable, BodyGather, BodyORT:
	default:
		return nil, fmt.Errorf("no body %q; choose portable, gather or ort", string(body))
	}
	switch {
	case n.Is("moec::MoE") && body == BodyORT:
		return expandMoEForORT(g, n)
	case n.Is("moec::MoE"):
		return expandMoE(body, g, n)
	case n.Is("moec::PKM"):
		return expandPKM(body, g, n)
	case n.Op.Expand == nil:
		return nil, fmt.Errorf("%w: %s has no expansion", ir.ErrUnsupportedOp, n.Op)
	}
	return n.Op.Expand(g, n)
}

// ffExpander adds to expander what the bodies of the family share: x as a matrix of
// tokens, and the way back.
type ffExpander struct {
	expander
	dt tensor.DType
	x  *ir.Value // as given
}

func newFFExpander(g *ir.Graph, n *ir.Node) *ffExpander {
	x := n.Inputs[0]
	e := &ffExpander{expander: expander{g: g, n: n}, dt: x.Type.DType, x: x}
	if !x.Type.Ranked {
		e.fail("the rank of its input is not known")
	}
	return e
}

func (e *ffExpander) fail(format string, args ...any) {
	if e.err == nil {
		e.err = fmt.Errorf("%w: %s cannot be written in standard ops: %s", ir.ErrShape, e.n.Op, fmt.Sprintf(format, args...))
	}
}

// in is input i, nil when absent.
func (e *ffExpander) in(i int) *ir.Value {
	if i >= len(e.n.Inputs) {
		return nil
	}
	return e.n.Inputs[i]
}

// wants reports whether output i is asked for.
func (e *ffExpander) wants(i int) bool { return i < len(e.n.Outputs) && e.n.Outputs[i] != nil }

// sizes are the dims of a parameter, which must be known.
func (e *ffExpander) sizes(i int) []int {
	v := e.in(i)
	if v == nil {
		return make([]int, 3)
	}
	s, ok := v.Type.Static()
	if !ok {
		e.fail("the shape %s of parameter %q is not known", v.Type, v.Name)
		return make([]int, 3)
	}
	return s
}

// many emits a node with several outputs.
func (e *ffExpander) many(name string, outs int, ins []*ir.Value, attrs ...any) []*ir.Value {
	first := e.op(name, ins, attrs...)
	if first.Def == nil || e.err != nil {
		return make([]*ir.Value, outs)
	}
	n := first.Def
	for i := 1; i < outs; i++ {
		v := e.g.NewValue("", ir.Type{})
		v.Def, v.Index = n, i
		n.Outputs = append(n.Outputs, v)
	}
	if err := ir.InferNode(n); err != nil && e.err == nil {
		e.err = ir.NodeError(n, err)
	}
	return n.Outputs
}

// un, bin: one and two operands; do nothing once something failed.
func (e *ffExpander) un(name string, a *ir.Value, attrs ...any) *ir.Value {
	if e.err != nil {
		return a
	}
	return e.op(name, []*ir.Value{a}, attrs...)
}

func (e *ffExpander) bin(name string, a, b *ir.Value, attrs ...any) *ir.Value {
	if e.err != nil {
		return a
	}
	return e.op(name, []*ir.Value{a, b}, attrs...)
}

// plus is a + b; b may be absent.
func (e *ffExpander) plus(a, b *ir.Value) *ir.Value {
	if b == nil {
		return a
	}
	return e.bin("Add", a, b)
}

func (e *ffExpander) num(x float64) *ir.Value { return e.scalar(e.dt, x) }

func (e *ffExpander) where(cond, a, b *ir.Value) *ir.Value {
	if e.err != nil {
		return a
	}
	return e.op("Where", []*ir.Value{cond, a, b})
}

// mask makes a u8 mask bool.
func (e *ffExpander) mask(m *ir.Value) *ir.Value {
	if m == nil || m.Type.DType == tensor.Bool {
		return m
	}
	return e.un("Cast", m, "to", tensor.Bool)
}

// rows reshapes v, whose leading dims are those of x, to [tokens, dims...].
func (e *ffExpander) rows(v *ir.Value, dims ...int) *ir.Value {
	if v == nil || e.err != nil || e.x.Type.Rank() == 2 && v.Type.Rank() == len(dims)+1 {
		return v
	}
	shape := []int64{-1}
	for _, d := range dims {
		shape = append(shape, int64(d))
	}
	return e.bin("Reshape", v, e.ints(shape...))
}

// lead reshapes v of shape [tokens, dims...] so that it has the leading dims of x.
func (e *ffExpander) lead(v *ir.Value, dims ...int) *ir.Value {
	if e.err != nil || e.x.Type.Rank() == 2 && v.Type.Rank() == len(dims)+1 {
		return v
	}
	tail := make([]int64, len(dims))
	for i, d := range dims {
		tail[i] = int64(d)
	}
	shape := e.un("Shape", e.x, "end", int64(-1))
	if len(tail) > 0 {
		shape = e.op("Concat", []*ir.Value{shape, e.ints(tail...)}, "axis", int64(0))
	}
	return e.bin("Reshape", v, shape, "allowzero", int64(1))
}

// filled is a tensor of the given shape full of x.
func (e *ffExpander) filled(shape *ir.Value, x float64) *ir.Value {
	one, err := ScalarOf(e.dt, x)
	if err != nil {
		e.fail("%v", err)
		return shape
	}
	return e.un("ConstantOfShape", shape, "value", one.Reshape(1))
}

// linear is x w + b.
func (e *ffExpander) linear(x, w, b *ir.Value) *ir.Value { return e.plus(e.bin("MatMul", x, w), b) }

func (e *ffExpander) act(a Activation, x *ir.Value) *ir.Value {
	if e.err != nil {
		return x
	}
	return e.activation(a, x)
}

// reduce is a reduction over axes.
func (e *ffExpander) reduce(name string, v *ir.Value, keep bool, axes ...int64) *ir.Value {
	k := int64(0)
	if keep {
		k = 1
	}
	return e.bin(name, v, e.ints(axes...), "keepdims", k)
}

// dropped is h with inverted dropout: h * scale where kept, else 0.
func (e *ffExpander) dropped(h, keep *ir.Value, rate float32) *ir.Value {
	if keep == nil {
		return h
	}
	if p := decimal(rate); p > 0 {
		h = e.bin("Mul", h, e.num(1/(1-p)))
	}
	return e.where(e.mask(keep), h, e.num(0))
}

func expandMLP(g *ir.Graph, n *ir.Node) ([]*ir.Value, error) {
	e := newFFExpander(g, n)
	h := e.act(n.Attrs.(*MLPAttrs).Activation, e.linear(e.x, e.in(MLPInW1), e.in(MLPInB1)))
	return []*ir.Value{e.linear(h, e.in(MLPInW2), e.in(MLPInB2))}, e.err
}

func expandGatedMLP(g *ir.Graph, n *ir.Node) ([]*ir.Value, error) {
	e := newFFExpander(g, n)
	h := e.act(n.Attrs.(*GatedMLPAttrs).Activation, e.linear(e.x, e.in(GatedInWg), e.in(GatedInBg)))
	h = e.bin("Mul", h, e.linear(e.x, e.in(GatedInWu), e.in(GatedInBu)))
	return []*ir.Value{e.linear(h, e.in(GatedInWd), e.in(GatedInBd))}, e.err
}

func expandTopKMLP(g *ir.Graph, n *ir.Node) ([]*ir.Value, error) {
	e, a := newFFExpander(g, n), n.Attrs.(*TopKMLPAttrs)
	f := e.sizes(MLPInW2)[0]
	h := e.act(a.Activation, e.linear(e.x, e.in(MLPInW1), e.in(MLPInB1)))
	h = e.dropped(h, e.in(TopKInKeep), a.Dropout)
	if a.K < int64(f) {
		v := h
		if a.UseNorm {
			v = e.bin("Mul", v, e.reduce("ReduceL2", e.in(MLPInW2), false, 1))
		}
		if a.Magnitude {
			v = e.un("Abs", v)
		}
		top := e.many("TopK", 2, []*ir.Value{v, e.ints(a.K)}, "axis", int64(-1))[0]
		least := e.bin("Gather", top, e.ints(a.K-1), "axis", int64(-1)) // [..., 1]
		h = e.where(e.bin("GreaterOrEqual", v, least), h, e.num(0))
	}
	outs := make([]*ir.Value, len(n.Outputs))
	outs[TopKOutY] = e.linear(h, e.in(MLPInW2), e.in(MLPInB2))
	if e.wants(TopKOutHidden) {
		outs[TopKOutHidden] = h
	}
	return outs, e.err
}
