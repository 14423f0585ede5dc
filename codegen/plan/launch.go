package plan

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/seed-c851cfd2/moec/codegen/plan/expr"
)

// Arg is a parsed argument of a launch.
type Arg struct {
	Value int       // index into Func.Values, or -1
	Temp  int       // index into Step.Temps, or -1
	Expr  expr.Expr // of a number, when both are -1
}

// ParseArg reads an argument of a launch.
func ParseArg(s string) (Arg, error) {
	if e, ok := strings.CutPrefix(s, "u32:"); ok {
		x, err := expr.Parse(e)
		return Arg{Value: -1, Temp: -1, Expr: x}, err
	}
	if len(s) > 1 && (s[0] == 'v' || s[0] == 't') {
		if n, err := strconv.Atoi(s[1:]); err == nil && n >= 0 {
			if s[0] == 'v' {
				return Arg{Value: n, Temp: -1}, nil
			}
			return Arg{Value: -1, Temp: n}, nil
		}
	}
	return Arg{}, fmt.Errorf("%w: %q is no argument of a launch", ErrFormat, s)
}

// ModuleText finds the text of a module.
func (p *Program) ModuleText(name string) (string, bool) {
	for _, m := range p.Modules {
		if m.Name == name {
			return m.Text, true
		}
	}
	return "", false
}

// checkLaunches holds a function's launches to what they may name.
func checkLaunches(p *Program, f *Func) error {
	for _, s := range f.Symbols {
		if s.Value < 0 || s.Value >= len(f.Values) || s.Axis < 0 {
			return fmt.Errorf("%w: symbol %q of axis %d of value %d", ErrFormat, s.Name, s.Axis, s.Value)
		}
	}
	inside := map[int]bool{}
	for _, st := range f.Steps {
		for _, v := range st.Out {
			inside[v] = st.Kernel == KernelInside
		}
	}
	for _, st := range f.Steps {
		for _, v := range st.Also {
			if v < 0 || !inside[v] || len(st.Launches) == 0 {
				return fmt.Errorf("%w: step %q leaves value %d, which no step inside it makes", ErrFormat, st.Name, v)
			}
		}
		if len(st.Variants) > 0 && len(st.Launches) == 0 {
			return fmt.Errorf("%w: step %q has variants of launches and none for all sizes", ErrFormat, st.Name)
		}
		for _, v := range append([]Variant{{Launches: st.Launches, Temps: st.Temps}}, st.Variants...) {
			if err := v.check(p, f); err != nil {
				return fmt.Errorf("%w: step %q: %w", ErrFormat, st.Name, err)
			}
		}
		for _, v := range st.Variants {
			if len(v.Launches) == 0 {
				return fmt.Errorf("%w: step %q launches nothing when %s", ErrFormat, st.Name, v.When)
			}
			if _, err := expr.ParseCond(v.When); err != nil {
				return fmt.Errorf("%w: step %q: %w", ErrFormat, st.Name, err)
			}
		}
	}
	return nil
}

// check holds launches to the modules, values and temporaries there are.
func (v *Variant) check(p *Program, f *Func) error {
	var exprs []string
	for _, t := range v.Temps {
		exprs = append(exprs, t.Bytes)
	}
	for _, l := range v.Launches {
		if _, ok := p.ModuleText(l.Module); !ok {
			return fmt.Errorf("launch of %s from module %q, which is not there", l.Kernel, l.Module)
		}
		if l.Block < 1 || l.Block > 1024 || l.Shared < 0 {
			return fmt.Errorf("launch of %s with %d threads and %d bytes of shared memory", l.Kernel, l.Block, l.Shared)
		}
		exprs = append(exprs, l.Grid[:]...)
		for _, a := range l.Args {
			x, err := ParseArg(a)
			if err != nil {
				return err
			}
			if x.Value >= len(f.Values) || x.Temp >= len(v.Temps) {
				return fmt.Errorf("launch of %s with argument %s", l.Kernel, a)
			}
		}
	}
	for _, e := range exprs {
		if _, err := expr.Parse(e); err != nil {
			return err
		}
	}
	return nil
}

// Variant is how to launch the step for given dimensions: the first of its Variants whose condition holds, else the
// launches for all sizes. With sameOrder, variants that add in another order are passed over, so that a row's bits do
// not depend on how many rows there are.
func (s *Step) Variant(dims map[string]int64, sameOrder bool) (Variant, error) {
	for _, v := range s.Variants {
		if v.Reorders && sameOrder {
			continue
		}
		c, err := expr.ParseCond(v.When)
		if err != nil {
			return v, err
		}
		if ok, err := c.Holds(dims); ok || err != nil {
			return v, err
		}
	}
	return Variant{Launches: s.Launches, Temps: s.Temps}, nil
}

// ValueArg prints the memory of a value as an argument.
func ValueArg(v int) string { return "v" + strconv.Itoa(v) }

// TempArg prints a Temp of the step as an argument.
func TempArg(t int) string { return "t" + strconv.Itoa(t) }
