package cpu

import (
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/ops"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// ofTypes reports whether every present input is of known rank and one of the types.
func ofTypes(ins []*ir.Value, types ...tensor.DType) bool {
	for _, v := range ins {
		if v != nil && (!v.Type.Ranked || !slices.Contains(types, v.Type.DType)) {
			return false
		}
	}
	return true
}

// wholes are the types whose elements kernels move without looking at them.
func wholes() []tensor.DType {
	return []tensor.DType{tensor.F32, tensor.F64, tensor.F16, tensor.BF16, tensor.I64, tensor.I32, tensor.I16, tensor.I8, tensor.U8, tensor.Bool}
}

// unary takes functions of f32, and those of whole numbers that keep them whole.
func unary(_ *Selector, n *ir.Node) (Choice, bool) {
	whole := n.Is("Neg", "Abs", "Sign") && ofTypes(n.Inputs, tensor.I64, tensor.I32)
	return Choice{Kernel: "unary"}, allF32(n) && !n.Is("Sign") || whole
}

// binary takes arithmetic on one type: f32, and whole numbers except where they divide.
func binary(_ *Selector, n *ir.Node) (Choice, bool) {
	if len(n.Inputs) != 2 { // Min and Max take any number
		return Choice{}, false
	}
	ok := allF32(n)
	if !n.Is("Div") && !n.Is("Pow") {
		ok = ok || ofTypes(n.Inputs, tensor.I64) || ofTypes(n.Inputs, tensor.I32)
	}
	return Choice{Kernel: "binary"}, ok
}

func compare(_ *Selector, n *ir.Node) (Choice, bool) {
	ok := allF32(n) || ofTypes(n.Inputs, tensor.I64) || ofTypes(n.Inputs, tensor.I32) || n.Is("Equal") && ofTypes(n.Inputs, tensor.Bool)
	return Choice{Kernel: "binary"}, ok
}

func logic(_ *Selector, n *ir.Node) (Choice, bool) {
	return Choice{Kernel: "binary"}, ofTypes(n.Inputs, tensor.Bool)
}

func logic1(_ *Selector, n *ir.Node) (Choice, bool) {
	return Choice{Kernel: "unary"}, ofTypes(n.Inputs, tensor.Bool)
}

func where(_ *Selector, n *ir.Node) (Choice, bool) {
	return Choice{Kernel: "where"}, ofTypes(n.Inputs, wholes()...)
}

// cast takes the conversions of masks, ids and lengths.
func cast(_ *Selector, n *ir.Node) (Choice, bool) {
	from, to := n.Inputs[0].Type.DType, n.Attrs.(*ops.CastAttrs).To
	ok := from == to && slices.Contains(wholes(), to)
	switch from {
	case tensor.Bool:
		ok = ok || to == tensor.F32 || to == tensor.I64 || to == tensor.I32
	case tensor.I64:
		ok = ok || to == tensor.Bool || to == tensor.F32
	case tensor.I32:
		ok = ok || to == tensor.Bool || to == tensor.F32 || to == tensor.I64
	}
	return Choice{Kernel: "cast"}, ok
}

func clip(_ *Selector, n *ir.Node) (Choice, bool) {
	return Choice{Kernel: "clip"}, allF32(n) || ofTypes(n.Inputs, tensor.I64) || ofTypes(n.Inputs, tensor.I32)
}

// move takes ops that copy elements to where shapes alone say.
func move(_ *Selector, n *ir.Node) (Choice, bool) {
	data := n.Inputs[:1]
	if n.Is("Concat") {
		data = n.Inputs
	}
	return Choice{Kernel: "move"}, ofTypes(data, wholes()...)
}

// pad takes pads that are known before the run; an input that is not makes the kernel fall back.
func pad(_ *Selector, n *ir.Node) (Choice, bool) {
	return Choice{Kernel: "pad"}, ofTypes(n.Inputs[:1], wholes()...)
}

// resize takes f32 of any mode.
func resize(_ *Selector, n *ir.Node) (Choice, bool) {
	return Choice{Kernel: "resize"}, ofTypes(n.Inputs[:1], tensor.F32)
}

func gather(_ *Selector, n *ir.Node) (Choice, bool) {
	return Choice{Kernel: "gather"}, ofTypes(n.Inputs[:1], wholes()...) && ofTypes(n.Inputs[1:2], tensor.I64, tensor.I32)
}

func gatherElements(_ *Selector, n *ir.Node) (Choice, bool) {
	return Choice{Kernel: "gather_elements"}, ofTypes(n.Inputs[:1], wholes()...) && ofTypes(n.Inputs[1:2], tensor.I64, tensor.I32)
}

// reduce takes f32 reductions over constant axes.
func reduce(_ *Selector, n *ir.Node) (Choice, bool) {
	axes := input(n, 1)
	return Choice{Kernel: "reduce"}, ofTypes(n.Inputs[:1], tensor.F32) && (axes == nil || axes.IsConst())
}
