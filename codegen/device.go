package codegen

import (
	"slices"

	"github.com/seed-c851cfd2/moec/codegen/cuda"
	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/codegen/plan/expr"
	"github.com/seed-c851cfd2/moec/ir"
)

// deviceFunc is the model's own function being put into the plan of a device.
type deviceFunc struct {
	b      *builder
	l      *cuda.Lowering
	f      *plan.Func
	consts map[int]int // values of f that stand for constants, by constant
	value  func(*ir.Value) int
	used   map[string]bool // symbols in expressions
}

// constant gives a constant of a choice a value of the function.
func (d *deviceFunc) constant(c *plan.Const) int {
	key := constKey{c.Data, c.Layout}
	ci, ok := d.b.consts[key]
	if !ok {
		ci = len(d.b.p.Consts)
		d.b.consts[key] = ci
		d.b.p.Consts = append(d.b.p.Consts, c)
	}
	if id, ok := d.consts[ci]; ok {
		return id
	}
	id := len(d.f.Values)
	d.consts[ci] = id
	d.f.Values = append(d.f.Values, plan.Value{Name: c.Name, Type: ir.MakeType(c.DType, ir.Dims(c.Shape...)...), Const: ci})
	return id
}

// input is the value that stands for a constant input of a step on the device, stored as the launches read it, so
// that nothing is stored twice.
func (d *deviceFunc) input(n *ir.Node, i int, c *cuda.Choice) (int, error) {
	if k := c.Pack[i]; k != nil {
		return d.constant(k), nil
	}
	k, err := d.l.Constant(n.Inputs[i])
	if err != nil {
		return 0, err
	}
	return d.constant(k), nil
}

// expr prints an expression and remembers its symbols.
func (d *deviceFunc) expr(e expr.Expr) string {
	for _, s := range e.Symbols() {
		d.used[s] = true
	}
	return e.String()
}

// launches puts a choice's launches and their variants into its step.
func (d *deviceFunc) launches(st *plan.Step, c *cuda.Choice) {
	v := d.variant(c.Launches, c.Temps)
	st.Launches, st.Temps = v.Launches, v.Temps
	for _, v := range c.Also {
		st.Also = append(st.Also, d.value(v))
	}
	for _, cv := range c.Variants {
		v := d.variant(cv.Launches, cv.Temps)
		v.Reorders = cv.Reorders
		v.When = cv.When.String()
		d.expr(cv.When.Left)
		d.expr(cv.When.Right)
		st.Variants = append(st.Variants, v)
	}
}

func (d *deviceFunc) variant(launches []cuda.Launch, temps []plan.Temp) plan.Variant {
	v := plan.Variant{Temps: temps}
	for _, t := range temps {
		if e, err := expr.Parse(t.Bytes); err == nil {
			d.expr(e)
		}
	}
	for _, l := range launches {
		k := l.Kernel
		out := plan.Launch{
			Module: k.Name, Kernel: k.Name, Block: k.Threads, Shared: k.DynamicShared, Note: l.Note,
			FLOPs: d.expr(k.Cost.FLOPs), Bytes: d.expr(k.Cost.Bytes),
		}
		for i, e := range k.Grid {
			out.Grid[i] = d.expr(e)
		}
		next := 0
		for _, p := range k.Params {
			if p.Scalar {
				out.Args = append(out.Args, "u32:"+d.expr(p.Value))
				continue
			}
			out.Args = append(out.Args, d.operand(l.Args[next]))
			next++
		}
		if !slices.ContainsFunc(d.b.p.Modules, func(m plan.Module) bool { return m.Name == k.Name }) {
			d.b.p.Modules = append(d.b.p.Modules, plan.Module{Name: k.Name, Text: k.PTX})
		}
		v.Launches = append(v.Launches, out)
	}
	return v
}

func (d *deviceFunc) operand(o cuda.Operand) string {
	switch {
	case o.Value != nil:
		return plan.ValueArg(d.value(o.Value))
	case o.Const != nil:
		return plan.ValueArg(d.constant(o.Const))
	}
	return plan.TempArg(o.Temp)
}

// symbols binds the names that the launches use.
func (d *deviceFunc) symbols() {
	for _, s := range d.l.Symbols() {
		if d.used[s.Name] {
			d.f.Symbols = append(d.f.Symbols, plan.Symbol{Name: s.Name, Value: d.value(s.Value), Axis: s.Axis})
		}
	}
}
