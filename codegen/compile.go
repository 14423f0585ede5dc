// Package codegen turns a graph into a program: it numbers the values, picks a kernel
// for every node and packs constants the way the kernels read them.
//
//	passes -> ir.Graph -> codegen.Compile -> plan.Program -> runtime
package codegen

import (
	"context"
	"fmt"
	"slices"

	"github.com/seed-c851cfd2/moec/codegen/cpu"
	"github.com/seed-c851cfd2/moec/codegen/cuda"
	"github.com/seed-c851cfd2/moec/codegen/plan"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/passes"
)

// Producer is what artifacts say made them.
const Producer = "moec 0.1"

// Target says what to compile for.
type Target struct {
	Device    string // "cpu" (default) or "cuda"
	GPU       string // for cuda: "3090", "a100", "h100", "h200", "generic"
	Precision string // "f32" (default), "f16", "bf16", "int8"
}

// Compile makes the program for a target. The graph must be sorted and inferred, as
// passes.Run leaves it; it is not changed. The same graph and target give the same
// program on any machine.
func Compile(ctx context.Context, g *ir.Graph, t Target) (*plan.Program, error) {
	if t.Device == "" {
		t.Device = "cpu"
	}
	if t.Precision == "" {
		t.Precision = "f32"
	}
	var sel selector
	switch t.Device {
	case "cpu":
		s, err := cpu.NewSelector(t.Precision)
		if err != nil {
			return nil, err
		}
		sel = s
		t.GPU = ""
	case "cuda":
		s, err := cpu.NewSelector("f32") // of what runs on the host: bodies of control flow
		if err != nil {
			return nil, err
		}
		sel = s
		if t.GPU == "" {
			t.GPU = "generic"
		}
	default:
		return nil, fmt.Errorf("no code generator for device %q; there are cpu and cuda", t.Device)
	}
	if t.Device == "cpu" && (convolves(g) || t.Precision != "f32") {
		g = g.Clone()
		if _, err := passes.Run(ctx, g, passes.Options{Pipeline: passes.HostLayout(t.Precision != "f32")}); err != nil {
			return nil, err
		}
	}
	b := &builder{
		ctx: ctx, sel: sel, consts: map[constKey]int{},
		p: &plan.Program{Producer: Producer, Target: plan.Target{Device: t.Device, GPU: t.GPU, Precision: t.Precision}},
	}
	if t.Device == "cuda" {
		l, err := cuda.Lower(g, b.p.Target)
		if err != nil {
			return nil, err
		}
		b.device, g = l, l.Graph()
	}
	if _, err := b.function(g); err != nil {
		return nil, err
	}
	return b.p, nil
}

// convolves reports whether g or a subgraph has a convolution.
func convolves(g *ir.Graph) bool {
	return slices.ContainsFunc(g.Nodes, func(n *ir.Node) bool {
		return n.Is("Conv", "moec::Conv") || slices.ContainsFunc(n.Subgraphs, convolves)
	})
}

// selector picks the kernel of a node.
type selector interface {
	Select(n *ir.Node) (cpu.Choice, error)
}

// constKey identifies a stored constant: one tensor may be stored under several layouts.
type constKey struct {
	data   any
	layout string
}

type builder struct {
	ctx    context.Context
	sel    selector
	p      *plan.Program
	consts map[constKey]int
	device *cuda.Lowering // of the model's own function; nil on the CPU
}

func (b *builder) function(g *ir.Graph) (int, error) {
	f := &plan.Func{Name: g.Name}
	index := len(b.p.Funcs)
	b.p.Funcs = append(b.p.Funcs, f)
	ids := map[*ir.Value]int{}
	constIDs := map[int]int{}
	add := func(v *ir.Value) int {
		id, ok := ids[v]
		if !ok {
			id = len(f.Values)
			ids[v] = id
			pv := plan.Value{Name: v.Name, Type: v.Type, Const: -1}
			f.Values = append(f.Values, pv)
		}
		return id
	}
	for _, v := range g.Inputs {
		f.Inputs = append(f.Inputs, add(v))
	}
	var dev *deviceFunc
	if b.device != nil && index == 0 {
		dev = &deviceFunc{b: b, l: b.device, f: f, consts: constIDs, value: add, used: map[string]bool{}}
	}
	nodes := g.Nodes
	if dev != nil {
		nodes = dev.l.Nodes()
	}
	for _, n := range nodes {
		if err := b.ctx.Err(); err != nil {
			return 0, err
		}
		unread := func(v *ir.Value) bool { return v == nil || len(v.Users()) == 0 && !g.IsOutput(v) }
		if !slices.ContainsFunc(n.Outputs, func(v *ir.Value) bool { return !unread(v) }) {
			continue // nobody reads it; kernels may count on an output
		}
		c, onDevice, err := b.choose(dev, n)
		if err != nil {
			return 0, ir.NodeError(n, err)
		}
		st := &plan.Step{Name: n.Name, Op: n.Op, Attrs: n.Attrs, Kernel: c.Kernel, Captures: n.Captures, Origin: n.Origin, Note: c.Note}
		for i, v := range n.Inputs {
			switch {
			case v == nil:
				st.In = append(st.In, -1)
			case v.IsConst() && onDevice != nil:
				id, err := dev.input(n, i, onDevice)
				if err != nil {
					return 0, ir.NodeError(n, err)
				}
				st.In = append(st.In, id)
			case v.IsConst():
				id, err := b.constant(f, constIDs, v, c.Pack[i])
				if err != nil {
					return 0, ir.NodeError(n, err)
				}
				st.In = append(st.In, id)
			default:
				st.In = append(st.In, add(v))
			}
		}
		for _, v := range n.Outputs {
			if unread(v) {
				st.Out = append(st.Out, -1)
			} else {
				st.Out = append(st.Out, add(v))
			}
		}
		for _, sub := range n.Subgraphs {
			// Bodies come after their holder; the number is known only once it is built.
			i, err := b.function(sub)
			if err != nil {
				return 0, ir.NodeError(n, err)
			}
			st.Subs = append(st.Subs, i)
		}
		if onDevice != nil {
			dev.launches(st, onDevice)
		}
		f.Steps = append(f.Steps, st)
	}
	if dev != nil {
		dev.symbols()
	}
	for _, v := range g.Outputs {
		if v.IsConst() {
			id, err := b.constant(f, constIDs, v, nil)
			if err != nil {
				return 0, err
			}
			// An output that is a constant keeps its own name.
			f.Values = append(f.Values, f.Values[id])
			f.Values[len(f.Values)-1].Name = v.Name
			f.Outputs = append(f.Outputs, len(f.Values)-1)
			continue
		}
		f.Outputs = append(f.Outputs, add(v))
	}
	return index, nil
}

// choose picks the kernel of a node; onDevice is nil for what the host runs.
func (b *builder) choose(dev *deviceFunc, n *ir.Node) (c cpu.Choice, onDevice *cuda.Choice, err error) {
	if dev == nil {
		c, err = b.sel.Select(n)
		return c, nil, err
	}
	d := dev.l.Choice(n)
	c = cpu.Choice{Kernel: d.Kernel, Note: d.Note}
	if d.Kernel == plan.KernelLaunch || d.Kernel == plan.KernelInside {
		return c, d, nil
	}
	return c, nil, nil
}

// constant stores a constant under a layout, once, and gives it a value of f; ids are
// the values of f that stand for constants already, by constant.
func (b *builder) constant(f *plan.Func, ids map[int]int, v *ir.Value, pack cpu.Packer) (int, error) {
	layout := ""
	if pack != nil {
		layout = pack.Layout()
	}
	key := constKey{v.Const, layout}
	ci, ok := b.consts[key]
	if !ok {
		c := &plan.Const{Name: v.Name, DType: v.Const.DType(), Shape: v.Const.Shape(), Layout: layout, Data: v.Const}
		if pack != nil {
			data, err := pack.Pack(v.Const)
			if err != nil {
				return 0, fmt.Errorf("packing %q: %w", v.Name, err)
			}
			c.Data = data
		}
		ci = len(b.p.Consts)
		b.consts[key] = ci
		b.p.Consts = append(b.p.Consts, c)
	}
	if id, ok := ids[ci]; ok {
		return id, nil
	}
	ids[ci] = len(f.Values)
	f.Values = append(f.Values, plan.Value{Name: v.Name, Type: v.Type, Const: ci})
	return ids[ci], nil
}
