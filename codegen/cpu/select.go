// Package cpu picks the host kernel of every node and how its weights are packed.
package cpu

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/codegen/plan/layout"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Choice is the kernel of a node.
type Choice struct {
	Kernel string
	Note   string         // why, for the plan's text
	Pack   map[int]Packer // constant inputs that are stored packed
}

// Packer brings a constant into the order its kernel reads.
type Packer interface {
	Layout() string // the name the plan stores
	Pack(t *tensor.Tensor) (*tensor.Tensor, error)
}

// Selector picks kernels at a precision.
type Selector struct {
	packed layout.Precision // of the weights of matrix products
	rules  map[string]func(*Selector, *ir.Node) (Choice, bool)
}

// NewSelector checks the precision and builds the table of rules.
func NewSelector(precision string) (*Selector, error) {
	for _, p := range []layout.Precision{layout.F32, layout.BF16, layout.I8} {
		if p.String() == precision {
			return &Selector{packed: p, rules: rules()}, nil
		}
	}
	return nil, fmt.Errorf("no CPU programs at precision %q; choose f32, bf16 or int8", precision)
}

// rules lists, per op, who may take a node. A rule that declines leaves the node to
// the reference kernel.
func rules() map[string]func(*Selector, *ir.Node) (Choice, bool) {
	return map[string]func(*Selector, *ir.Node) (Choice, bool){
		"MatMul":                matmul,
		"moec::Linear":          matmul,
		"moec::Attention":       attention,
		"moec::MLP":             mlp,
		"moec::GatedMLP":        mlp,
		"moec::MoE":             moe,
		"moec::TopKMLP":         topKMLP,
		"moec::PKM":             pkm,
		"moec::Rotary":          rotary,
		"LayerNormalization":    norm,
		"RMSNormalization":      norm,
		"moec::SkipNorm":        norm,
		"InstanceNormalization": instanceNorm,
		"Softmax":               softmax,
		"Conv":                  conv,
		"moec::Conv":            conv,
		"moec::Pool":            poolLast,
		"moec::GroupNorm":       groupNorm,
		"MaxPool":               pool,
		"AveragePool":           pool,
		"GlobalAveragePool":     globalPool,
		"BatchNormalization":    batchNorm,
		"RNN":                   recurrent,
		"GRU":                   recurrent,
		"LSTM":                  recurrent,
		"Add":                   binary,
		"Sub":                   binary,
		"Mul":                   binary,
		"Div":                   binary,
		"Pow":                   binary,
		"Min":                   binary,
		"Max":                   binary,
		"And":                   logic,
		"Or":                    logic,
		"Xor":                   logic,
		"Equal":                 compare,
		"Less":                  compare,
		"LessOrEqual":           compare,
		"Greater":               compare,
		"GreaterOrEqual":        compare,
		"Not":                   logic1,
		"Where":                 where,
		"Cast":                  cast,
		"Clip":                  clip,
		"Relu":                  unary,
		"Sigmoid":               unary,
		"Tanh":                  unary,
		"Gelu":                  unary,
		"HardSigmoid":           unary,
		"HardSwish":             unary,
		"LeakyRelu":             unary,
		"Swish":                 unary,
		"Neg":                   unary,
		"Abs":                   unary,
		"Sign":                  unary,
		"Sqrt":                  unary,
		"Reciprocal":            unary,
		"Exp":                   unary,
		"Log":                   unary,
		"Erf":                   unary,
		"Sin":                   unary,
		"Cos":                   unary,
		"Floor":                 unary,
		"Ceil":                  unary,
		"Round":                 unary,
		"Transpose":             move,
		"Slice":                 move,
		"Expand":                move,
		"Concat":                move,
		"Split":                 move,
		"Pad":                   pad,
		"Resize":                resize,
		"Tile":                  move,
		"Gather":                gather,
		"GatherElements":        gatherElements,
		"ReduceSum":             reduce,
		"ReduceMean":            reduce,
		"ReduceMax":             reduce,
		"ReduceMin":             reduce,
		"ReduceL1":              reduce,
		"ReduceL2":              reduce,
		"ReduceSumSquare":       reduce,
		"Reshape":               view,
		"Squeeze":               view,
		"Unsqueeze":             view,
		"Flatten":               view,
		"Identity":              view,
	}
}

// Select picks a node's kernel; the reference kernel runs whatever has no other.
func (s *Selector) Select(n *ir.Node) (Choice, error) {
	if rule, ok := s.rules[n.Op.String()]; ok {
		if c, ok := rule(s, n); ok {
			return c, nil
		}
	}
	return Choice{Kernel: plan.KernelRef}, nil
}

// view takes ops whose output is the input's memory under another shape.
func view(_ *Selector, n *ir.Node) (Choice, bool) {
	if n.Inputs[0] == nil || n.Inputs[0].IsConst() || n.Inputs[0].Type.DType == tensor.String {
		return Choice{}, false
	}
	return Choice{Kernel: plan.KernelView}, true
}
