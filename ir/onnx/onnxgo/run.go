package onnxgo

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/owulveryck/onnx-go"
	"google.golang.org/protobuf/proto"
	gt "gorgonia.org/tensor"

	"github.com/seed-c851cfd2/moec/codegen"
	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/internal/onnxpb"
	"github.com/seed-c851cfd2/moec/ir/internal/tensorpb"
	moec "github.com/seed-c851cfd2/moec/ir/onnx"
	"github.com/seed-c851cfd2/moec/ir/tensor"
	"github.com/seed-c851cfd2/moec/passes"
	"github.com/seed-c851cfd2/moec/runtime"
)

// program is the model compiled for a certain set of inputs.
type program struct {
	session *runtime.Session
	inputs  []*Node
	outputs []*Node
	names   map[*Node]string
}

// Run computes the outputs from the tensors that the inputs hold. The first run compiles
// the model; later ones reuse it for any shapes of the same ranks. An operation that moec
// does not know gives *onnx.ErrNotImplemented.
func (b *Backend) Run() error { return b.RunContext(context.Background()) }

// RunContext is Run with cancellation between operations.
func (b *Backend) RunContext(ctx context.Context) error {
	if b.compiled == nil || !b.compiled.fits(b) {
		p, err := b.compile(ctx)
		if err != nil {
			return err
		}
		b.compiled = p
	}
	p := b.compiled
	in := map[string]*tensor.Tensor{}
	for _, n := range p.inputs {
		t, err := toMoec(n.value)
		if err != nil {
			return fmt.Errorf("input %q: %w", n.name, err)
		}
		in[p.names[n]] = t
	}
	out, err := p.session.Run(ctx, in)
	if err != nil {
		return err
	}
	for _, n := range p.outputs {
		if n.value, err = fromMoec(out[p.names[n]]); err != nil {
			return fmt.Errorf("output %q: %w", n.name, err)
		}
	}
	return nil
}

// fits reports whether the values set since compilation are the inputs it was made for.
func (p *program) fits(b *Backend) bool {
	k := 0
	for _, n := range b.nodes {
		if !n.given || n.produced {
			continue
		}
		if k == len(p.inputs) || p.inputs[k] != n {
			return false
		}
		k++
	}
	return k == len(p.inputs)
}

func (b *Backend) compile(ctx context.Context) (*program, error) {
	m, p, err := b.model()
	if err != nil {
		return nil, err
	}
	raw, err := proto.Marshal(m)
	if err != nil {
		return nil, err
	}
	g, err := moec.Decode(ctx, raw, moec.Options{Limits: b.opt.Limits})
	if err != nil {
		return nil, notImplemented(err)
	}
	if _, err := passes.Run(ctx, g, passes.Default()); err != nil {
		return nil, err
	}
	prog, err := codegen.Compile(ctx, g, codegen.Target{})
	if err != nil {
		return nil, err
	}
	if p.session, err = runtime.New(prog, runtime.Options{Threads: b.opt.Threads}); err != nil {
		return nil, err
	}
	return p, nil
}

// notImplemented says an unsupported operator in onnx-go's way.
func notImplemented(err error) error {
	var e *ir.Error
	if errors.Is(err, ir.ErrUnsupportedOp) && errors.As(err, &e) {
		return &onnx.ErrNotImplemented{Operator: e.Op, Message: err.Error()}
	}
	return err
}

// model writes what the backend was told as an ONNX model, so that it takes the same road
// as every other.
func (b *Backend) model() (*onnxpb.ModelProto, *program, error) {
	p := &program{names: map[*Node]string{}}
	taken := map[string]bool{}
	for _, n := range b.nodes {
		name := n.name
		if name == "" || taken[name] {
			name = fmt.Sprintf("%s#%d", name, n.id)
		}
		taken[name] = true
		p.names[n] = name
	}
	g := &onnxpb.GraphProto{Name: ptr("onnx-go")}
	read := map[*Node]bool{}
	for i, o := range b.ops {
		np := &onnxpb.NodeProto{OpType: ptr(o.op.Name), Name: ptr(fmt.Sprintf("%s_%d", o.op.Name, i))}
		ins := o.ins
		if len(ins) == 1 && madeUp(ins[0]) {
			ins = nil
		}
		for _, n := range ins {
			read[n] = true
			if n.name == "" && !n.declared && !n.given {
				np.Input = append(np.Input, "") // an optional input that is left out
				continue
			}
			np.Input = append(np.Input, p.names[n])
		}
		for _, n := range o.outs {
			if n.name == "" {
				np.Output = append(np.Output, "")
				continue
			}
			np.Output = append(np.Output, p.names[n])
		}
		for name, v := range o.op.Attributes {
			a, err := attribute(name, v)
			if err != nil {
				return nil, nil, fmt.Errorf("operation %s: attribute %q: %w", o.op.Name, name, err)
			}
			np.Attribute = append(np.Attribute, a)
		}
		g.Node = append(g.Node, np)
	}
	for _, n := range b.nodes {
		switch {
		case n.name == "":
		case n.produced:
			if n.declared || !read[n] {
				p.outputs = append(p.outputs, n)
				g.Output = append(g.Output, &onnxpb.ValueInfoProto{Name: ptr(p.names[n])})
			}
		case n.given:
			vi, err := inputInfo(p.names[n], n.value)
			if err != nil {
				return nil, nil, err
			}
			p.inputs = append(p.inputs, n)
			g.Input = append(g.Input, vi)
		case n.value != nil && read[n]:
			t, err := toMoec(n.value)
			if err != nil {
				return nil, nil, fmt.Errorf("constant %q: %w", n.name, err)
			}
			g.Initializer = append(g.Initializer, tensorpb.Encode(p.names[n], t))
		}
	}
	m := &onnxpb.ModelProto{
		IrVersion: ptr(int64(8)), Graph: g,
		OpsetImport: []*onnxpb.OperatorSetIdProto{{Domain: ptr(""), Version: ptr(int64(b.opt.Opset))}},
	}
	return m, p, nil
}

// madeUp reports the input that onnx-go gives to operations that have none.
func madeUp(n *Node) bool {
	return !n.produced && !n.declared && !n.given && strings.HasSuffix(n.name, "/input")
}

// inputInfo declares an input of the tensor's type and rank; sizes may differ from run to run.
func inputInfo(name string, v gt.Tensor) (*onnxpb.ValueInfoProto, error) {
	t, err := toMoec(v)
	if err != nil {
		return nil, fmt.Errorf("input %q: %w", name, err)
	}
	shape := &onnxpb.TensorShapeProto{}
	for range t.Shape() {
		shape.Dim = append(shape.Dim, &onnxpb.TensorShapeProto_Dimension{})
	}
	return &onnxpb.ValueInfoProto{Name: &name, Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
		TensorType: &onnxpb.TypeProto_Tensor{ElemType: ptr(int32(t.DType().ONNX())), Shape: shape},
	}}}, nil
}

func attribute(name string, v any) (*onnxpb.AttributeProto, error) {
	a := &onnxpb.AttributeProto{Name: &name}
	switch v := v.(type) {
	case float32:
		a.Type, a.F = onnxpb.AttributeProto_FLOAT.Enum(), &v
	case int64:
		a.Type, a.I = onnxpb.AttributeProto_INT.Enum(), &v
	case string:
		a.Type, a.S = onnxpb.AttributeProto_STRING.Enum(), []byte(v)
	case []float32:
		a.Type, a.Floats = onnxpb.AttributeProto_FLOATS.Enum(), v
	case []int64:
		a.Type, a.Ints = onnxpb.AttributeProto_INTS.Enum(), v
	case []string:
		a.Type = onnxpb.AttributeProto_STRINGS.Enum()
		for _, s := range v {
			a.Strings = append(a.Strings, []byte(s))
		}
	case gt.Tensor:
		t, err := toMoec(v)
		if err != nil {
			return nil, err
		}
		a.Type, a.T = onnxpb.AttributeProto_TENSOR.Enum(), tensorpb.Encode("", t)
	default:
		return nil, fmt.Errorf("values of type %T are not supported", v)
	}
	return a, nil
}

func ptr[T any](v T) *T { return &v }
