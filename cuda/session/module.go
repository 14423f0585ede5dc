package session

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/cuda"
	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

// module is a loaded module and its text, parsed.
type module struct {
	mod  cuda.Module
	text *syntax.Module
}

// kernel is an entry point and the sizes of its parameters, in bytes.
type kernel struct {
	cuda.Kernel
	params []int
}

// takes checks arguments against the parameters: the driver takes as many as the kernel has, of the kernel's sizes,
// from whatever memory it is given.
func (k *kernel) takes(args []any) error {
	if len(args) != len(k.params) {
		return fmt.Errorf("%w: %d arguments, the kernel takes %d", plan.ErrFormat, len(args), len(k.params))
	}
	for i, a := range args {
		size := 4
		if _, ok := a.(cuda.Ptr); ok {
			size = 8
		}
		if size != k.params[i] {
			return fmt.Errorf("%w: argument %d has %d bytes, the kernel's parameter %d", plan.ErrFormat, i, size, k.params[i])
		}
	}
	return nil
}

// kernel loads a module on its first use.
func (s *Session) kernel(l *plan.Launch) (*kernel, error) {
	if k, ok := s.kernels[l.Kernel]; ok {
		return k, nil
	}
	m, ok := s.modules[l.Module]
	if !ok {
		text, ok := s.program.ModuleText(l.Module)
		if !ok {
			return nil, fmt.Errorf("the program has no module %q", l.Module)
		}
		parsed, err := syntax.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("module %s: %w", l.Module, err)
		}
		mod, err := s.dev.Load(text)
		if err != nil {
			return nil, fmt.Errorf("module %s: %w", l.Module, err)
		}
		m = &module{mod, parsed}
		s.modules[l.Module] = m
	}
	found, err := m.mod.Kernel(l.Kernel)
	if err != nil {
		return nil, err
	}
	f := m.text.Func(l.Kernel)
	if f == nil || !f.Entry {
		return nil, fmt.Errorf("%w: module %s has no kernel %s", plan.ErrFormat, l.Module, l.Kernel)
	}
	k := &kernel{Kernel: found}
	for _, p := range f.Params {
		k.params = append(k.params, p.Size())
	}
	s.kernels[l.Kernel] = k
	return k, nil
}
