package emu

import (
	"fmt"

	"github.com/seed-c851cfd2/moec/cuda/emu/syntax"
)

// Module is a parsed PTX file whose kernels are ready to launch. It is
// immutable and may be used by several devices at once.
type Module struct {
	Version string // PTX version of the text, such as "7.0"
	Target  string // such as "sm_80"

	ast      *syntax.Module
	programs map[string]*program
	names    []string
	symbols  map[string]*syntax.Var
}

// Parse reads PTX text and decodes every kernel in it. Errors name the line;
// an instruction that the emulator does not know is one of them.
func Parse(src string) (*Module, error) {
	ast, err := syntax.Parse(src)
	if err != nil {
		return nil, err
	}
	m := &Module{
		Version: ast.Version, Target: ast.Target, ast: ast,
		programs: map[string]*program{}, symbols: map[string]*syntax.Var{},
	}
	for _, v := range ast.Vars {
		if old := m.symbols[v.Name]; old == nil || old.Extern {
			m.symbols[v.Name] = v
		}
	}
	for _, f := range ast.Funcs {
		if !f.Entry || f.Extern {
			continue
		}
		if m.programs[f.Name] != nil {
			return nil, &syntax.Error{Line: f.Line, Msg: fmt.Sprintf("kernel %s is defined twice", f.Name)}
		}
		p, err := compile(m, f)
		if err != nil {
			return nil, err
		}
		m.programs[f.Name] = p
		m.names = append(m.names, f.Name)
	}
	return m, nil
}

// Kernels lists the kernels in the order of the text.
func (m *Module) Kernels() []string { return append([]string(nil), m.names...) }

// KernelInfo describes what a launch of a kernel must provide.
type KernelInfo struct {
	Params       []Param
	ParamBytes   int // size of the packed parameter block
	StaticShared int // bytes of shared memory the kernel declares
	LocalBytes   int // bytes of local memory per thread
	ReqNTid      [3]int
	MaxNTid      [3]int
	Instructions int
}

// Kernel describes the kernel called name; false when the module has none.
func (m *Module) Kernel(name string) (KernelInfo, bool) {
	p := m.programs[name]
	if p == nil {
		return KernelInfo{}, false
	}
	return KernelInfo{
		Params: append([]Param(nil), p.params...), ParamBytes: p.paramBytes,
		StaticShared: p.staticShared, LocalBytes: p.localBytes,
		ReqNTid: p.fn.ReqNTid, MaxNTid: p.fn.MaxNTid, Instructions: len(p.code),
	}, true
}
