package cuda

import (
	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/codegen/ptx"
	"github.com/seed-c851cfd2/moec/ir"
)

// spec is what a kernel is emitted from: its sizes, types and epilogue.
type spec interface {
	Kernel() (*ptx.Kernel, error)
}

// emit makes a kernel; a node whose sizes or types it does not have is declined.
func emit(s spec) (*ptx.Kernel, error) {
	k, err := s.Kernel()
	if err != nil {
		return nil, decline("%v", err)
	}
	return k, nil
}

// launch is the choice of one kernel that reads ins and writes n's first output.
func (l *Lowering) launch(n *ir.Node, s spec, ins ...*ir.Value) (*Choice, error) {
	k, err := emit(s)
	if err != nil {
		return nil, err
	}
	args, err := l.operands(ins...)
	if err != nil {
		return nil, err
	}
	return launchOne(k, "", append(args, Operand{Value: n.Outputs[0]})...), nil
}

// launchOne is the choice of one kernel.
func launchOne(k *ptx.Kernel, note string, args ...Operand) *Choice {
	return &Choice{Kernel: plan.KernelLaunch, Launches: []Launch{{Kernel: k, Args: args, Note: note}}}
}

// operands are values or constants as arguments.
func (l *Lowering) operands(vs ...*ir.Value) ([]Operand, error) { return l.more(nil, vs...) }

// more appends operands to arguments.
func (l *Lowering) more(args []Operand, vs ...*ir.Value) ([]Operand, error) {
	for _, v := range vs {
		o, err := l.operand(v)
		if err != nil {
			return nil, err
		}
		args = append(args, o)
	}
	return args, nil
}

// operand is a value or constant as an argument.
func (l *Lowering) operand(v *ir.Value) (Operand, error) {
	if !v.IsConst() {
		if _, err := l.storage(v.Type.DType); err != nil {
			return Operand{}, err
		}
		l.read[v] = true
		return Operand{Value: v}, nil
	}
	c, err := l.constant(v)
	return Operand{Const: c}, err
}
