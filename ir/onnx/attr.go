package onnx

import (
	"errors"
	"fmt"
	"slices"

	"github.com/seed-c851cfd2/moec/ir"
	"github.com/seed-c851cfd2/moec/ir/internal/onnxpb"
	"github.com/seed-c851cfd2/moec/ir/onnx/internal/schema"
	"github.com/seed-c851cfd2/moec/ir/tensor"
)

func asNodeError(err error, ne **ir.Error) bool {
	return errors.As(err, ne) && (len((*ne).Origin) > 0 || (*ne).Op != "")
}

// readAttrs decodes the attributes of a node, those that refer to the attributes of the
// function around it resolved.
func (c *call) readAttrs(np *onnxpb.NodeProto) error {
	seen := map[string]bool{}
	bodies := map[string]*onnxpb.GraphProto{}
	for _, a := range np.Attribute {
		name := a.GetName()
		if name == "" {
			return fmt.Errorf("%w: an attribute has no name", ir.ErrAttr)
		}
		if seen[name] {
			return fmt.Errorf("%w: %s is given twice", ir.ErrAttr, clip(name))
		}
		seen[name] = true
		a, err := c.s.resolve(a)
		if err != nil {
			return err
		}
		if a == nil {
			continue
		}
		if a.GetType() == onnxpb.AttributeProto_GRAPH && a.G != nil {
			bodies[name] = a.G
			continue
		}
		v, err := c.s.im.attrValue(a)
		if err != nil {
			return fmt.Errorf("%w: %s %w", ir.ErrAttr, clip(name), err)
		}
		c.attrs = append(c.attrs, ir.Attr{Name: name, Value: v})
	}
	return c.orderBodies(bodies)
}

// orderBodies lists the subgraphs in the op's order.
func (c *call) orderBodies(bodies map[string]*onnxpb.GraphProto) error {
	if c.domain != ir.DomainONNX {
		if len(bodies) > 0 {
			return fmt.Errorf("%w: subgraphs of %s", ir.ErrUnsupportedOp, plainText(c.key()))
		}
		return nil
	}
	var order []string
	switch c.name {
	case "If":
		order = []string{"then_branch", "else_branch"}
	case "Loop", "Scan", "SequenceMap":
		order = []string{"body"}
	}
	for _, name := range order {
		if bodies[name] == nil {
			return fmt.Errorf("%w: %s is missing", ir.ErrAttr, name)
		}
		c.graphs = append(c.graphs, bodies[name])
		delete(bodies, name)
	}
	for name := range bodies {
		return fmt.Errorf("%w: %s has no subgraph %s", ir.ErrAttr, plainText(c.key()), clip(name))
	}
	return nil
}

// resolve follows ref_attr_name to the call of the function; nil when the call leaves
// the attribute out.
func (s *scope) resolve(a *onnxpb.AttributeProto) (*onnxpb.AttributeProto, error) {
	ref := a.GetRefAttrName()
	if ref == "" {
		return a, nil
	}
	if s.attrs == nil {
		return nil, fmt.Errorf("%w: %s has ref_attr_name %s outside of a function", ir.ErrAttr, clip(a.GetName()), clip(ref))
	}
	r, ok := s.attrs[ref]
	if !ok {
		return nil, fmt.Errorf("%w: %s refers to %s, which the function does not declare", ir.ErrAttr, clip(a.GetName()), clip(ref))
	}
	if r == nil {
		return nil, nil
	}
	if a.GetType() != r.GetType() && a.GetType() != onnxpb.AttributeProto_UNDEFINED {
		return nil, fmt.Errorf("%w: %s is %s, but refers to %s, which is %s", ir.ErrAttr, clip(a.GetName()), a.GetType(), clip(ref), r.GetType())
	}
	return r, nil
}

// attrValue is the value of an attribute as ir.Attr holds it. The field must be the one
// that the type names; writers of proto3 leave zeros and empty lists out.
func (im *importer) attrValue(a *onnxpb.AttributeProto) (any, error) {
	type form struct {
		typ onnxpb.AttributeProto_AttributeType
		has bool
	}
	for _, f := range []form{
		{onnxpb.AttributeProto_FLOAT, a.F != nil},
		{onnxpb.AttributeProto_INT, a.I != nil},
		{onnxpb.AttributeProto_STRING, a.S != nil},
		{onnxpb.AttributeProto_TENSOR, a.T != nil},
		{onnxpb.AttributeProto_GRAPH, a.G != nil},
		{onnxpb.AttributeProto_SPARSE_TENSOR, a.SparseTensor != nil},
		{onnxpb.AttributeProto_TYPE_PROTO, a.Tp != nil},
		{onnxpb.AttributeProto_FLOATS, len(a.Floats) > 0},
		{onnxpb.AttributeProto_INTS, len(a.Ints) > 0},
		{onnxpb.AttributeProto_STRINGS, len(a.Strings) > 0},
		{onnxpb.AttributeProto_TENSORS, len(a.Tensors) > 0},
		{onnxpb.AttributeProto_GRAPHS, len(a.Graphs) > 0},
		{onnxpb.AttributeProto_SPARSE_TENSORS, len(a.SparseTensors) > 0},
		{onnxpb.AttributeProto_TYPE_PROTOS, len(a.TypeProtos) > 0},
	} {
		if f.has && f.typ != a.GetType() {
			return nil, fmt.Errorf("says it is %s but holds %s", a.GetType(), f.typ)
		}
	}
	switch a.GetType() {
	case onnxpb.AttributeProto_FLOAT:
		return a.GetF(), nil
	case onnxpb.AttributeProto_INT:
		return a.GetI(), nil
	case onnxpb.AttributeProto_STRING:
		return string(a.S), nil
	case onnxpb.AttributeProto_FLOATS:
		return append([]float32{}, a.Floats...), nil
	case onnxpb.AttributeProto_INTS:
		return append([]int64{}, a.Ints...), nil
	case onnxpb.AttributeProto_STRINGS:
		out := make([]string, len(a.Strings))
		for i, b := range a.Strings {
			out[i] = string(b)
		}
		return out, nil
	case onnxpb.AttributeProto_TENSOR:
		return im.tensors.Decode(a.T)
	case onnxpb.AttributeProto_SPARSE_TENSOR:
		return im.sparse(a.SparseTensor)
	case onnxpb.AttributeProto_UNDEFINED:
		return nil, errors.New("has no type")
	}
	return nil, fmt.Errorf("has type %s: %w", a.GetType(), ir.ErrUnsupportedType)
}

// structOf makes the op's attribute struct from what the call has.
func (c *call) structOf(op *ir.Op) (any, error) {
	var attrs any
	if op.Attrs != nil {
		attrs = op.Attrs()
	}
	for _, a := range c.attrs {
		if !ir.HasAttr(attrs, a.Name) {
			if slices.Contains(harmless, a.Name) {
				continue
			}
			return nil, fmt.Errorf("%w: %s has no attribute %s", ir.ErrAttr, op, clip(a.Name))
		}
		if err := ir.SetAttr(attrs, a.Name, a.Value); err != nil {
			return nil, err
		}
	}
	known, _ := schema.Lookup(op.String())
	for _, name := range known.Required {
		if ir.HasAttr(attrs, name) && c.attr(name) == nil {
			return nil, fmt.Errorf("%w: %s needs %q", ir.ErrAttr, op, name)
		}
	}
	return attrs, nil
}

// harmless are attributes that exporters leave on nodes although the op's definition
// lacks them; they never change a result.
var harmless = []string{
	"consumed_inputs",           // in-place hints of ONNX before IR version 3, still written by some converters
	"seed",                      // of Dropout, which does nothing at inference
	"onnx_opset_version_origin", // left by version converters
}

// attr is the value of an attribute, nil when it was not given.
func (c *call) attr(name string) any {
	for _, a := range c.attrs {
		if a.Name == name {
			return a.Value
		}
	}
	return nil
}

// take removes an attribute and returns its value, nil when it was not given.
func (c *call) take(name string) any {
	for i, a := range c.attrs {
		if a.Name == name {
			c.attrs = slices.Delete(c.attrs, i, i+1)
			return a.Value
		}
	}
	return nil
}

// set gives an attribute a value, replacing one it had.
func (c *call) set(name string, v any) {
	c.take(name)
	c.attrs = append(c.attrs, ir.Attr{Name: name, Value: v})
}

// takeInt removes an integer attribute.
func (c *call) takeInt(name string, def int64) (int64, error) {
	return takeAs(c, name, def)
}

func takeAs[T any](c *call, name string, def T) (T, error) {
	switch v := c.take(name).(type) {
	case nil:
		return def, nil
	case T:
		return v, nil
	default:
		return def, fmt.Errorf("%w: %q cannot be %T", ir.ErrAttr, name, v)
	}
}

// constant turns a Constant node into a constant.
func (c *call) constant() error {
	if len(c.attrs) != 1 || len(c.outs) != 1 || len(c.ins) > 0 {
		return fmt.Errorf("%w: Constant needs exactly one value and one output, has %d attributes", ir.ErrAttr, len(c.attrs))
	}
	a := c.attrs[0]
	var t *tensor.Tensor
	ok := true
	switch v := a.Value.(type) {
	case *tensor.Tensor:
		t, ok = v, a.Name == "value" || a.Name == "sparse_value"
	case float32:
		t, ok = tensor.Scalar(v), a.Name == "value_float"
	case int64:
		t, ok = tensor.Scalar(v), a.Name == "value_int"
	case string:
		t, ok = tensor.OfStrings([]string{v}), a.Name == "value_string"
	case []float32:
		t, ok = tensor.Of(v, len(v)), a.Name == "value_floats"
	case []int64:
		t, ok = tensor.Of(v, len(v)), a.Name == "value_ints"
	case []string:
		t, ok = tensor.OfStrings(v, len(v)), a.Name == "value_strings"
	}
	if !ok {
		return fmt.Errorf("%w: Constant has no attribute %s of that kind", ir.ErrAttr, clip(a.Name))
	}
	o := c.outs[0]
	return c.s.define(o, c.s.g.NewConst(c.s.final(o), t))
}
