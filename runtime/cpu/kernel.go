// Package cpu runs plan steps on the host: a table of kernels by name, each of which
// binds to the shapes of one step and then runs without allocating.
package cpu

import (
	"context"

	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// Kernel is a way to run a step.
type Kernel struct {
	Name string
	// Bind prepares a step for known shapes. It is called once per instance of the
	// program; what it returns runs many times, one run at a time.
	Bind func(b *Binding) (Bound, error)
}

// Binding is what a kernel sees of a step when it prepares for it.
type Binding struct {
	Step   *plan.Step
	Ins    []ir.Type        // logical types, of known shape; zero for absent inputs
	Outs   []ir.Type        // of known shape
	Consts []*tensor.Tensor // per input: the constant as stored (packed or not), else nil
	// Layouts are the storage layouts of constant inputs; "" is row-major.
	Layouts []string
	Device  *Device
}

// Bound is a kernel prepared for one step.
type Bound struct {
	Scratch int // bytes of scratch memory that a run needs
	Run     func(c *Call) error
}

// Call is one run of a bound kernel.
type Call struct {
	Context context.Context
	Ins     []*tensor.Tensor // as stored; nil for absent inputs
	Outs    []*tensor.Tensor // of the bound types, contents unspecified; nil where not wanted
	Scratch []byte           // 64-byte aligned, contents unspecified
}
