package onnx

import (
	"context"
	"fmt"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/internal/onnxpb"
	"github.com/seed-c851cfd2/moec/ir/internal/tensorpb"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

// exporter turns one graph into a ModelProto.
type exporter struct {
	ctx      context.Context
	ops      ir.OpSet
	opt      ExportOptions
	weights  []weight
	opset    int    // the lowest that says what was written so far
	opsetFor string // the op that raised it last
	domains  map[string]bool
	funcs    map[string][]*exportedFunc // by op
	order    []*exportedFunc
	missing  []error
}

// frame is one graph being written: what its values are called.
type frame struct {
	ex    *exporter
	outer *frame
	names map[*ir.Value]string
	// vals and nodes are the names taken, shared with subgraphs: ONNX forbids shadowing.
	vals, nodes names
	// consts are the tensors that are initializers of this graph, by their identity: a
	// subgraph shares the constants of the graphs around it.
	consts map[*tensor.Tensor]string
	gp     *onnxpb.GraphProto
	// inline writes constants as Constant nodes: functions have no initializers.
	inline bool
}

func (ex *exporter) mainGraph(g *ir.Graph) (*onnxpb.GraphProto, error) {
	f := ex.newFrame(graphName(g))
	// Inputs and outputs keep their names whatever else is called so.
	for _, v := range append(slices.Clone(g.Inputs), g.Outputs...) {
		f.name(v)
	}
	for _, v := range g.Inputs {
		f.gp.Input = append(f.gp.Input, valueInfo(f.name(v), v.Type))
	}
	if err := f.body(g); err != nil {
		return nil, err
	}
	written := map[string]bool{}
	for _, v := range g.Outputs {
		name := f.ref(v)
		if written[name] { // a second output of the same value needs a name of its own
			name = f.identity(name)
		}
		written[name] = true
		f.gp.Output = append(f.gp.Output, valueInfo(name, v.Type))
	}
	return f.gp, nil
}

func (ex *exporter) newFrame(name string) *frame {
	return &frame{
		ex: ex, names: map[*ir.Value]string{}, vals: newNames(), nodes: newNames(),
		consts: map[*tensor.Tensor]string{}, gp: &onnxpb.GraphProto{Name: &name},
	}
}

func graphName(g *ir.Graph) string {
	if g.Name == "" {
		return "main" // the checker wants one
	}
	return g.Name
}

// body writes the nodes.
func (f *frame) body(g *ir.Graph) error {
	for i, n := range g.Nodes {
		if i%256 == 0 {
			if err := f.ex.ctx.Err(); err != nil {
				return err
			}
		}
		if err := f.node(n); err != nil {
			return ir.NodeError(n, err)
		}
	}
	return nil
}

// name is what a value of this graph is called in the file.
func (f *frame) name(v *ir.Value) string {
	if s, ok := f.names[v]; ok {
		return s
	}
	s := f.vals.take(v.Name)
	f.names[v] = s
	return s
}

// ref is the name by which a node reads v, "" for none. Constants are written when they
// are first read.
func (f *frame) ref(v *ir.Value) string {
	if v == nil {
		return ""
	}
	if !v.IsConst() {
		return f.name(v)
	}
	for o := f; o != nil; o = o.outer {
		if s, ok := o.consts[v.Const]; ok && (o != f || f.names[v] == "" || f.names[v] == s) {
			return s
		}
	}
	s := f.name(v)
	f.consts[v.Const] = s
	if f.inline {
		p := tensorpb.Encode("", v.Const)
		f.gp.Node = append(f.gp.Node, &onnxpb.NodeProto{OpType: ptr("Constant"), Output: []string{s}, Attribute: []*onnxpb.AttributeProto{
			{Name: ptr("value"), Type: onnxpb.AttributeProto_TENSOR.Enum(), T: p},
		}})
		f.ex.needType(v.Const.DType())
		return s
	}
	f.gp.Initializer = append(f.gp.Initializer, f.ex.initializer(s, v.Const))
	return s
}

// initializer is the message for a constant; numbers get their bytes when it is known
// which file they go to.
func (ex *exporter) initializer(name string, t *tensor.Tensor) *onnxpb.TensorProto {
	ex.needType(t.DType())
	if t.DType() == tensor.String || len(t.Bytes()) < 1024 {
		return tensorpb.Encode(name, t)
	}
	p := tensorpb.Header(name, t)
	ex.weights = append(ex.weights, weight{p, t})
	return p
}

// identity adds a node that copies a value and returns the copy's name.
func (f *frame) identity(from string) string {
	to := f.vals.take(from + "_copy")
	f.gp.Node = append(f.gp.Node, &onnxpb.NodeProto{
		Name: ptr(f.nodes.take(to)), OpType: ptr("Identity"), Input: []string{from}, Output: []string{to},
	})
	f.ex.domains[""] = true
	return to
}

// subgraph writes a body: its captures become what they stand for outside.
func (f *frame) subgraph(sub *ir.Graph, n *ir.Node) (*onnxpb.GraphProto, error) {
	in := f.ex.newFrame(graphName(sub))
	in.outer, in.vals, in.nodes, in.inline = f, f.vals, f.nodes, f.inline
	own := len(sub.Inputs) - n.Captures
	if own < 0 {
		return nil, fmt.Errorf("%w: subgraph %q takes fewer inputs than are captured", ir.ErrGraph, sub.Name)
	}
	for _, v := range sub.Inputs[:own] {
		in.gp.Input = append(in.gp.Input, valueInfo(in.name(v), v.Type))
	}
	for i, v := range sub.Inputs[own:] {
		in.names[v] = f.ref(n.Inputs[len(n.Inputs)-n.Captures+i])
	}
	if err := in.body(sub); err != nil {
		return nil, err
	}
	var used []string
	for _, v := range sub.Outputs {
		name := in.ref(v)
		if v.Def == nil || slices.Contains(used, name) { // runtimes want outputs that a node of the body makes
			name = in.identity(name)
		}
		used = append(used, name)
		in.gp.Output = append(in.gp.Output, valueInfo(name, v.Type))
	}
	return in.gp, nil
}

func valueInfo(name string, t ir.Type) *onnxpb.ValueInfoProto {
	vi := &onnxpb.ValueInfoProto{Name: &name}
	if t.DType == tensor.Invalid {
		return vi
	}
	tt := &onnxpb.TypeProto_Tensor{ElemType: ptr(int32(t.DType.ONNX()))}
	if t.Ranked {
		tt.Shape = &onnxpb.TensorShapeProto{}
		for _, d := range t.Shape {
			p := &onnxpb.TensorShapeProto_Dimension{}
			switch {
			case d.IsKnown():
				p.Value = &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: d.Size}
			case d.Name != "":
				p.Value = &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: d.Name}
			}
			tt.Shape.Dim = append(tt.Shape.Dim, p)
		}
	}
	vi.Type = &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{TensorType: tt}}
	return vi
}
