package ir

import (
	"context"
	"math"
	"slices"

	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Domains of operators.
const (
	DomainONNX      = ""              // ai.onnx
	DomainML        = "ai.onnx.ml"    // classical machine learning
	DomainMicrosoft = "com.microsoft" // onnxruntime's contributed ops
	DomainMoec      = "moec"          // ours: the feedforward family and fused ops
)

// Op is the meaning of a kind of node. There is one Op per (domain, name): the
// meaning of its newest version; import rewrites older versions into it.
type Op struct {
	Domain, Name string
	Since        int    // the operator-set version whose meaning this is
	Doc          string // one sentence

	// Attrs returns a pointer to a new attribute struct holding the defaults, nil if
	// the op has no attributes. Its exported fields carry tags `attr:"name"`; see Attr.
	Attrs func() any

	MinIn, MaxIn   int // number of inputs, captures aside; MaxIn -1: any number
	MinOut, MaxOut int

	// Infer computes the outputs' types from the inputs' and reports what is wrong
	// with them. It must not fail for what it merely does not know.
	Infer func(*InferCtx) error

	// Eval computes the outputs: slow, plainly right, the op's definition.
	Eval func(*EvalCtx) error

	// Cost estimates the work for inputs and outputs of known shape; nil: an
	// elementwise pass over the outputs.
	Cost func(*CostCtx) Cost

	// Expand rewrites the node into standard ONNX ops inside g, for export and for
	// checking, and returns the values that replace its outputs; nil when the op is
	// standard already.
	Expand func(g *Graph, n *Node) ([]*Value, error)

	// Random marks ops whose output is not a function of their inputs: never folded,
	// shared or reordered.
	Random bool
}

// String is "Name" or "domain::Name".
func (o *Op) String() string {
	if o.Domain == "" {
		return o.Name
	}
	return o.Domain + "::" + o.Name
}

// Cost is the work of one node: floating-point operations, and bytes of operands and
// results that must move at least once.
type Cost struct {
	FLOPs, Bytes int64
}

// CostCtx is what Cost sees.
type CostCtx struct {
	Attrs     any
	Ins, Outs []Type // all of known shape; zero for absent ones
}

// InferCtx is what Infer sees of a node, and where it puts the answer. The same
// struct serves the compiler, with symbolic dims, and the runtime, with known ones.
type InferCtx struct {
	Attrs  any
	Ins    []Type           // zero for an absent optional input
	Consts []*tensor.Tensor // per input: its value when already known, else nil
	Syms   [][]Dim          // per input: the elements of a small integer tensor as dims, where known
	Outs   []Type           // one per output, to be filled
	// OutSyms are the elements of integer outputs as dims, where Infer knows them:
	// how Shape -> Gather -> Concat -> Reshape stays symbolic.
	OutSyms [][]Dim
	// Sub infers the i-th subgraph for the given inputs, captures not included.
	Sub func(i int, ins []Type) ([]Type, error)
}

// NumIn is the number of inputs, captures not included.
func (c *InferCtx) NumIn() int { return len(c.Ins) }

// Has reports whether input i is present.
func (c *InferCtx) Has(i int) bool { return i < len(c.Ins) && c.Ins[i].DType != tensor.Invalid }

// In is the type of input i, the zero Type when it is absent.
func (c *InferCtx) In(i int) Type {
	if i >= len(c.Ins) {
		return Type{}
	}
	return c.Ins[i]
}

// Const is the value of input i if it is known already, else nil.
func (c *InferCtx) Const(i int) *tensor.Tensor {
	if i >= len(c.Consts) {
		return nil
	}
	return c.Consts[i]
}

// Dims are the elements of integer input i (a scalar or a vector) as dims; ok is
// false when not even their number is known.
func (c *InferCtx) Dims(i int) (d []Dim, ok bool) {
	if t := c.Const(i); t != nil {
		if t.Len() > 1024 {
			return nil, false
		}
		v, err := t.Int64s()
		if err != nil {
			return nil, false
		}
		d = make([]Dim, len(v))
		for j, n := range v {
			d[j] = Dim{Size: n} // may be negative: an axis, or -1 in a Reshape
		}
		return d, true
	}
	if i < len(c.Syms) && c.Syms[i] != nil {
		return c.Syms[i], true
	}
	return nil, false
}

// SetOut states the type of output i.
func (c *InferCtx) SetOut(i int, t Type) {
	if i < len(c.Outs) {
		c.Outs[i] = t
	}
}

// SetDims states the elements of integer output i.
func (c *InferCtx) SetDims(i int, d []Dim) {
	if i < len(c.Outs) {
		for len(c.OutSyms) < len(c.Outs) {
			c.OutSyms = append(c.OutSyms, nil)
		}
		c.OutSyms[i] = d
	}
}

// EvalCtx is what Eval sees of a node.
type EvalCtx struct {
	Context context.Context
	Attrs   any
	Ins     []*tensor.Tensor // nil for an absent optional input; captures not included
	Outs    []*tensor.Tensor // one per output, to be filled through Out or Set
	// Want tells which outputs somebody asked for; an Eval may skip the others.
	Want []bool
	// OutTypes are what inference knows of the outputs, where it ran: all that is left
	// to go by for the outputs of a loop that never runs its body.
	OutTypes []Type
	// Sub runs the i-th subgraph on its own inputs; captures are added for it.
	Sub func(i int, ins []*tensor.Tensor) ([]*tensor.Tensor, error)
	// Alloc makes the memory of output i; nil means tensor.New. Its contents are
	// unspecified, not zero, when Alloc is set.
	Alloc func(i int, dt tensor.DType, shape []int) *tensor.Tensor
	// MaxElems bounds the elements of one output; 0 means no bound. Out returns
	// ErrLimit beyond it.
	MaxElems int
}

// In is input i, nil when absent.
func (c *EvalCtx) In(i int) *tensor.Tensor {
	if i >= len(c.Ins) {
		return nil
	}
	return c.Ins[i]
}

// Has reports whether input i is present.
func (c *EvalCtx) Has(i int) bool { return c.In(i) != nil }

// Out makes output i and returns it for writing. Every element must be written.
func (c *EvalCtx) Out(i int, dt tensor.DType, shape ...int) (*tensor.Tensor, error) {
	n, ok := tensor.CheckedElems(shape)
	if !ok || c.MaxElems > 0 && n > c.MaxElems || slices.Contains(shape, math.MaxInt) { // a size cut off to an int
		return nil, limitError(shape, c.MaxElems)
	}
	var t *tensor.Tensor
	if c.Alloc != nil && i < len(c.Outs) && dt != tensor.String {
		t = c.Alloc(i, dt, shape)
	} else {
		t = tensor.New(dt, shape...)
	}
	c.Set(i, t)
	return t, nil
}

// Set makes t output i; for results that are views of an input or made elsewhere.
func (c *EvalCtx) Set(i int, t *tensor.Tensor) {
	if i < len(c.Outs) {
		c.Outs[i] = t
	}
}
